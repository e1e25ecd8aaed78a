"""The plan of a game day as a page: hypotheses, timeline with rollbacks, blast radius, stop rules, roles, messages."""

from collections.abc import Mapping, Sequence
from typing import Any

from reports.document import Cell, Code, Document, Listing, Section, Small, Table, Tile
from reports.fault_words import fault_words
from reports.gameday import Hypothesis, Rules
from reports.remedies import REMEDIES
from reports.words import DASH, count_text, duration_text, interval_text, percent, value_text
from scenarios.around import Owned
from scenarios.schema import Scenario


def plan_document(
    scenario: Scenario,
    about: Mapping[str, Any],
    prediction: Mapping[str, Any],
    hypotheses: Sequence[Hypothesis],
    rules: Rules,
    roles: Mapping[str, str],
) -> Document:
    """Return the plan of a game day."""
    return Document(
        kicker="Game day, planned",
        headline=scenario.scenario,
        subtitle=f"Planned {about['planned']} · prediction {about['prediction_sha256'][:12]}, locked · {prediction['replications']} simulated runs",
        lead=scenario.about.strip(),
        tiles=(
            Tile("How many hypotheses?", str(len(hypotheses)), "each with its prediction", "hypotheses"),
            Tile(
                "How likely is a needless stop?",
                percent(rules.chance),
                f"at most {percent(rules.at_most)} with 95 %",
                "stops",
                "good" if rules.chance <= 0.05 else "bad",
            ),
            Tile(
                "How long does it take?",
                duration_text(scenario.duration),
                "and the drain, after brokers are up",
                "timeline",
            ),
        ),
        sections=(
            Section(
                "hypotheses",
                "What we believe will happen",
                (
                    _hypotheses(hypotheses),
                    Small(
                        "Predicted is the median of the simulated runs, and where 95 % of single runs lie; the chance is the share of them in which it holds."
                    ),
                ),
                "Hypotheses",
            ),
            Section(
                "timeline",
                "When what happens",
                (_steps(scenario, about.get("ask_before", ())), *_waits(about)),
                "Timeline",
            ),
            Section("blast", "What can be hurt", (Listing(_blast(scenario, about)),), "Blast radius"),
            Section(
                "stops",
                "When we stop",
                (
                    Listing(_stop_words(rules)),
                    Small(
                        "Limits come from one half of the simulated runs; the other half says how often they would stop a run that goes as predicted."
                    ),
                ),
                "Stop rules",
            ),
            Section(
                "roles",
                "Who does what",
                (
                    Table(
                        ("Role", "Who", "Does"),
                        tuple((role, about["roles"].get(role) or DASH, does) for role, does in roles.items()),
                    ),
                    Small("Names go into gameday.json."),
                ),
                "Roles",
            ),
            Section("watch", "What to watch", (Listing(_watch_words(scenario)),), "Watch"),
            Section("messages", "What to send", (Code(_messages(scenario, about)),), "Messages"),
        ),
    )


def _hypotheses(hypotheses: Sequence[Hypothesis]) -> Table:
    rows = tuple(
        (
            Cell(each.id, under=each.text),
            Cell(value_text(each.predicted, each.unit), under=predicted_interval(each.interval, each.unit)),
            percent(each.chance),
        )
        for each in hypotheses
    )
    return Table(("Hypothesis", "Predicted", "Holds in"), rows, frozenset({1, 2}))


def predicted_interval(interval: Any, unit: str) -> str:
    """Return where 95 % of single runs lie, in words; an end that is null is open."""
    if interval is None:
        return ""
    low, high = interval
    return interval_text((low if low is not None else 0.0, high if high is not None else float("inf")), unit)


def _steps(scenario: Scenario, asked: Sequence[str]) -> Table:
    def step(name: str, *also: str) -> str:
        return f"{name} (waits for a person)" if {name, *also} & set(asked) else name

    counted = f"the first {duration_text(scenario.warm_up)} are not counted" if scenario.warm_up else ""
    rows: list[tuple[int, str, str, str]] = [
        (-1, step("before", "start"), "everybody is there, the stop was tried, messages are out", ""),
        (0, step("load begins", "load"), counted, ""),
    ]
    for fault in scenario.faults:
        begins = getattr(fault, "at", ()) or ()
        lasts = int(getattr(fault, "for_ns", 0) or 0)
        for begin in begins if isinstance(begins, tuple | list) else (begins,):
            words = fault_words(fault)
            rows.append(
                (int(begin), step(fault.label, "faults"), words[0].upper() + words[1:], REMEDIES[fault.kind].rollback)
            )
            if lasts:
                rows.append((int(begin) + lasts, f"{fault.label} ends", "watch the drain", ""))
    rows.append((scenario.duration, "load ends", f"wait up to {duration_text(scenario.drain)} for the groups", ""))
    ordered = sorted(rows, key=lambda row: row[0])
    return Table(
        ("At", "Step", "What", "Rollback"),
        tuple((DASH if at < 0 else duration_text(at), step, what, back or DASH) for at, step, what, back in ordered),
    )


def _waits(about: Mapping[str, Any]) -> tuple[Small, ...]:
    if not set(about.get("ask_before", ())) - {"start"}:
        return ()
    return (
        Small(
            "A step that waits goes on when somebody presses the button on the live page, runs `eventdrill gameday go` on this folder, or makes a "
            "file GO in it. A fault that waits shifts its own end; the load goes on meanwhile, and the predicted band stands still."
        ),
    )


def _blast(scenario: Scenario, about: Mapping[str, Any]) -> tuple[str, ...]:
    where = (
        "a private Kafka that EventDrill starts on loopback and that ends with it"
        if about["on"] == "local"
        else "brokers inside one process of EventDrill's own"
    )
    owned: tuple[Scenario | Owned, ...] = (scenario, *scenario.topics.values(), *scenario.groups.values())
    owners = sorted({each.owner for each in owned if each.owner})
    runbooks = sorted({each.runbook for each in owned if each.runbook})
    return (
        f"It runs on {where}: nothing else is touched.",
        f"Topics: {', '.join(scenario.topics)}. Groups: {', '.join(scenario.groups)}.",
        f"Faults: {', '.join(sorted({f.kind for f in scenario.faults})) or 'none'}.",
        f"Owners to tell: {', '.join(owners) or 'none named in the scenario'}.",
        *((f"Runbooks at hand: {', '.join(runbooks)}.",) if runbooks else ()),
    )


def _stop_words(rules: Rules) -> tuple[str, ...]:
    return (
        *(f"The lag of {group} is above {count_text(limit)} events." for group, limit in rules.lag_above.items()),
        "The lag of a group has been outside its predicted band for 5 s, and is worse than when it left it.",
        *(
            f"The lag of {group} is above {count_text(round(limit))} events, more than its members work off within {rules.recover_s:g} s."
            for group, limit in rules.drain_lag.items()
        ),
        *(
            f"The oldest event of {group} waits for more than half of its retention, {value_text(limit, 's')}."
            for group, limit in rules.waiting_above_s.items()
        ),
        *(
            f"More than {count_text(limit)} events are bad for the objective {name}."
            for name, limit in rules.bad_above.items()
        ),
        f"More than {count_text(rules.failed_above)} sends have failed or are unknown.",
        "Nothing was heard from the driver for 15 s: the watchdog, a process of its own, stops it.",
        "A person says so: Ctrl-C, the page's button, `touch STOP` in this folder, or the signal USR1 or TERM.",
        f"Together these stop {percent(rules.chance)} of the runs that go as predicted (at most {percent(rules.at_most)} with 95 %).",
        *(f"No rule: {said}." for said in rules.left_out),
    )


def _watch_words(scenario: Scenario) -> tuple[str, ...]:
    groups = [
        f"{name}: lag, effects per second, rebalances" + (f" (runbook: {g.runbook})" if g.runbook else "")
        for name, g in scenario.groups.items()
    ]
    return (
        *groups,
        *(
            f"{kind.replace('_', ' ')}: {REMEDIES[kind].sign}"
            for kind in dict.fromkeys(f.kind for f in scenario.faults)
        ),
        "brokers: which are registered, leaders of each partition, replicas in sync",
        "producers: acknowledged of planned events per second, failed sends",
        "your own dashboards and alerts: note which one told you first, and when",
    )


def _messages(scenario: Scenario, about: Mapping[str, Any]) -> str:
    return (
        f"BEFORE  We play the game day `{scenario.scenario}` today. It touches: {', '.join(scenario.topics)}. It takes about "
        f"{duration_text(scenario.duration)}. To stop it: tell the coordinator, or `touch {about.get('folder', 'DIR')}/STOP`.\n"
        f"BEGIN   `{scenario.scenario}` has begun.\n"
        f"STOP    `{scenario.scenario}` was stopped because ...; its faults are undone, and we watch until the lag is gone.\n"
        f"END     `{scenario.scenario}` is over. First results: ... The postmortem follows in the same folder."
    )
