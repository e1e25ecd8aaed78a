"""What a run cost in error budget, and how many members its load needs."""

import math
from typing import Any

from reports.capacity import Capacity
from reports.contents import Contents
from reports.sections.badges import badge
from reports.slo import ObjectiveReport
from reports.words import DASH, TIMES, count_text, duration_text, percent, value_text
from scenarios.quantities import DAY


def objective_cards(contents: Contents) -> list[dict[str, Any]]:
    """Return each objective with its figures in every run."""
    names = dict.fromkeys(name for column in contents.columns for name in column.objectives)
    cards = []
    for name in names:
        reports = [(column, column.objectives[name]) for column in contents.columns if name in column.objectives]
        cards.append(
            {
                "name": name,
                "text": reports[0][1].text,
                "sentence": objective_sentence(contents.main.objectives.get(name)),
                "rows": [objective_row(column.label, report) for column, report in reports],
            }
        )
    return cards


def objective_row(label: str, report: ObjectiveReport) -> dict[str, Any]:
    """Return an objective's figures in one run, for the table that all pages share."""
    met = "unknown" if report.met is None else "held" if report.met else "missed"
    interval = report.interval if report.compliance is not None else None
    return {
        "label": label,
        "compliance": DASH if report.compliance is None else percent(report.compliance),
        "interval": "" if interval is None else f"{percent(interval[0])} to {percent(interval[1])}",
        "badge": badge(met),
        "bad": f"{count_text(report.bad)} of {count_text(report.good + report.bad)}",
        "spent": budget_text(report.spent),
        "average": _burn_text(report.average_burn),
        "fastest": _burn_text(report.worst_burn),
        "lasts": lasts_text(report),
        "by": [
            (one.fault, percent(one.bad / report.bad), count_text(one.bad))
            for one in sorted(report.spent_by, key=lambda one: -one.bad)
            if one.bad
        ],
        "reason": report.reason or "",
    }


def budget_text(share: float | None) -> str:
    """Return a share of a budget; of a budget of nothing all is spent at once."""
    return DASH if share is None else percent(share) if math.isfinite(share) else "all of it"


def _burn_text(burn: float | None) -> str:
    if burn is None:
        return DASH
    return f"{burn:.3g}{TIMES}" if math.isfinite(burn) else "no budget"


def lasts_text(report: ObjectiveReport) -> str:
    """Return how long a whole budget lasts at the run's rate of bad events."""
    lasts = report.gone_after_s
    if lasts is None:
        return DASH
    if math.isinf(lasts):
        return "for ever"
    return f"{lasts / 86_400:.3g} days" if lasts >= 2 * 86_400 else value_text(lasts, "s")


def objective_sentence(report: ObjectiveReport | None) -> str:
    """Say what a run cost an objective, and by what."""
    if report is None:
        return ""
    if report.reason is not None or report.spent is None:
        return f"It cannot be told: {report.reason}."
    period = period_words(report.period_ns)
    budget = f"At this load {period} bring {count_text(round(report.forecast))} events, of which {count_text(round(report.budget))} may be bad."
    if not report.bad:
        return f"Nothing was spent. {budget}"
    spent = percent(report.spent) if math.isfinite(report.spent) else "all"
    owners = sorted((one for one in report.spent_by if one.bad), key=lambda one: -one.bad)
    by = f", {percent(owners[0].bad / report.bad)} of it by {owners[0].fault}" if owners else ""
    return f"{budget} This run spent {spent} of that{by}."


def period_words(ns: int) -> str:
    """Return an objective's period in words."""
    days = ns / DAY
    return f"{days:g} days" if days != 1 and days >= 1 else "a day" if days == 1 else duration_text(ns)


def capacity_cards(contents: Contents) -> list[dict[str, Any]]:
    """Return for each group how many members the load needs, with what was tried."""
    return [_capacity_card(one) for one in contents.capacity]


def _capacity_card(found: Capacity) -> dict[str, Any]:
    objectives = list(found.tried[0].compliance) if found.tried else []
    drills = list(found.tried[0].spent_by_drill) if found.tried else []
    return {
        "group": found.group,
        "sentence": capacity_sentence(found),
        "objectives": objectives,
        "drills": drills,
        "rows": [
            {
                "members": one.members,
                "now": one.members == found.members_now,
                "fewest": one.members == found.fewest,
                "badge": badge("held" if one.holds else "missed"),
                "busy": percent(one.busy),
                "p99": value_text(one.p99_s, "s") if one.p99_s is not None else "never",
                "lag": count_text(one.peak_lag),
                "compliance": [_share_text(one.compliance.get(name)) for name in objectives],
                "spent": [_share_text(one.spent_by_drill.get(name)) for name in drills],
            }
            for one in found.tried
        ],
    }


def _share_text(share: float | None) -> str:
    return DASH if share is None else percent(share) if math.isfinite(share) else "all"


def capacity_sentence(found: Capacity) -> str:
    """Say how many members a group needs, and what follows."""
    if found.fewest is None:
        return f"{found.group}: {found.reason}."
    members = "1 member" if found.fewest == 1 else f"{found.fewest} members"
    said = f"The load alone needs {members} of {found.group}: {found.reason}."
    spare = found.members_now - found.fewest
    if spare < 0:
        said += f" It has {found.members_now}: {-spare} too few."
    elif spare > 0:
        said += f" It has {found.members_now}.{_what_more_buy(found)}"
    return said


def _what_more_buy(found: Capacity) -> str:
    """Say what the members beyond the fewest save of the budget when the drill strikes."""
    by_members = {one.members: one for one in found.tried}
    few, now = by_members.get(found.fewest or 0), by_members.get(found.members_now)
    if few is None or now is None or not few.spent_by_drill:
        return ""
    known = {name: share for name, share in few.spent_by_drill.items() if share is not None and math.isfinite(share)}
    if not known:
        return ""
    name = max(known, key=lambda one: known[one])
    with_few, with_now = _share_text(known[name]), _share_text(now.spent_by_drill.get(name))
    if with_few == with_now:
        return f" The others do not help in the drill: it spends {with_now} of “{name}” either way."
    return f" The others help when the faults strike: the drill spends {with_now} of the budget of “{name}”, with {found.fewest} it would be {with_few}."
