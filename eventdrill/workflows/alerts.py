"""Back-tests and suggestions of alert rules: over runs that were written before, or over months made from a scenario's simulated runs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from eventdrill.errors import WrongInputError

if TYPE_CHECKING:
    from reports.alerts.backtest import Backtest, Case, Judged, Rate
    from reports.alerts.months import Piece
    from reports.alerts.notifications import Routing
    from reports.alerts.rules import RuleFile
    from reports.alerts.series import Store
    from reports.alerts.suggest import Suggestion, Tried
    from reports.alerts.windows import Release
    from rundata.tables import RunData
    from scenarios.schema import Scenario

DAY_MS = 86_400_000
MILLISECOND_NS = 1_000_000
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Scraped:
    """How runs become series."""

    exporter: str = "kafka_exporter"
    every_ms: int = 15_000
    interval_ms: int = 60_000
    release: "Release" = 2
    page_from: float = 0.02
    """A trouble that spends this share of an objective's budget is worth a page."""


@dataclass(frozen=True)
class Months:
    """What a month made from a scenario is like."""

    days: int = 30
    faults: int = 20
    months: int = 1
    runs: int = 3
    """Simulated runs of each fault, with plans of their own."""


@dataclass(frozen=True, eq=False)
class Material:
    """What rules are judged on."""

    scenario: "Scenario"
    cases: "tuple[Case, ...]"
    rates_hz: dict[str, float]
    """By objective: events per second that count for it."""
    notes: tuple[str, ...] = ()
    """What the material itself leaves out."""


def from_runs(folders: Sequence[Path], scraped: Scraped, names: "set[str] | None" = None) -> Material:
    """Return runs as cases; each is one."""
    from reports.alerts.backtest import Case
    from reports.alerts.exporters import metrics
    from reports.alerts.months import chained
    from reports.alerts.truth import troubles

    runs = [(folder, _opened(folder)) for folder in folders]
    cases = []
    for folder, run in runs:
        store = metrics(run, scraped.exporter, every_ms=scraped.every_ms)
        end_ms = run.end_ns // MILLISECOND_NS
        kept = store if names is None else chained([store], end_ms, names)
        cases.append(Case(str(folder), kept, troubles(run, scraped.page_from), end_ms))
    first = runs[0][1]
    return Material(first.plan.scenario, tuple(cases), rates_of(first))


def _opened(folder: Path) -> "RunData":
    from rundata.dataset import open_run

    run = open_run(folder)
    if not run.keeps_operations:
        raise WrongInputError(
            f"{folder}: keeps no operations, so no metrics can be made of it; simulate it with --operations all"
        )
    return run.data


def store_of(folder: Path, exporter: str, every_ms: int) -> "Store":
    """Return the series of one run."""
    from reports.alerts.exporters import metrics

    return metrics(_opened(folder), exporter, every_ms=every_ms)


def from_scenario(
    file: str,
    scraped: Scraped,
    months: Months,
    names: "set[str] | None" = None,
    *,
    settings: Sequence[str] = (),
    seed: int | None = None,
    profile: str | None = None,
    progress: Progress = lambda _done: None,
) -> Material:
    """Return months of a scenario: its quiet run again and again, and each of its faults, in turn, at random times; or its own long time."""
    from eventdrill.workflows.simulate import prepare
    from reports.alerts.months import month

    work = prepare(file, seed=seed, settings=settings, profile=profile)
    scenario, first_seed = work.loaded.scenario, work.plan.seed
    if not list(_one_by_one(scenario)):
        raise WrongInputError(
            f"{file} has no faults, so there is nothing that an alert could see; add some under `faults`"
        )
    if is_long(scenario):
        from eventdrill.workflows.alerts_month import from_long_run

        return from_long_run(work, scraped, months, names, progress)
    done = iter(range(1, 10**6))
    runs = _Runs(work.profile, scraped, lambda: progress(next(done)))
    quiet = runs.quiet(scenario, first_seed)
    faulty = [runs.piece(each, first_seed + number) for number in range(months.runs) for each in _one_by_one(scenario)]
    cases = [
        month(
            f"{scenario.scenario}, month {number + 1}", quiet, faulty, piece_ms=scenario.duration // MILLISECOND_NS,
            length_ms=months.days * DAY_MS, faults=months.faults, seed=first_seed + number, names=names or runs.names,
        )
        for number in range(months.months)
    ]  # fmt: skip
    return Material(scenario, tuple(cases), runs.rates_hz, tuple(dict.fromkeys(runs.notes)))


LONG_NS = 86_400_000_000_000


def is_long(scenario: "Scenario") -> bool:
    """Whether a scenario lasts so long that it is itself what rules are judged on: its own load, and its faults when they happen."""
    return scenario.duration >= LONG_NS


def simulations(scenario: "Scenario", months: Months, seed: int | None) -> int:
    """Return how many runs `from_scenario` simulates, as far as that is known beforehand."""
    if not is_long(scenario):
        return 1 + months.runs * len(list(_one_by_one(scenario)))
    from eventdrill.workflows.alerts_month import stretches_of

    return stretches_of(scenario, scenario.seed if seed is None else seed)


def _one_by_one(scenario: "Scenario") -> "Iterator[Scenario]":
    """Yield the scenario with each of its faults alone and what people do about it; then, where they deploy or reset offsets, with what they do alone."""
    from reports.disturbers import HARMFUL_ACTIONS

    helpful = tuple(each for each in scenario.actions if each.kind not in HARMFUL_ACTIONS)
    for fault in scenario.faults:
        yield scenario.model_copy(update={"faults": (fault,), "actions": helpful})
    if len(helpful) < len(scenario.actions):
        yield scenario.model_copy(update={"faults": ()})


class _Runs:
    """Simulates, and keeps of each run its series and its truth."""

    def __init__(self, profile: object, scraped: Scraped, tell: Callable[[], None]) -> None:
        self.profile, self.scraped, self.tell = profile, scraped, tell
        self.names: set[str] = set()
        self.notes: list[str] = []
        self.rates_hz: dict[str, float] = {}

    def quiet(self, scenario: "Scenario", seed: int) -> "Piece":
        """Return the scenario without its faults, and without what people do."""
        calm = scenario.model_copy(update={"faults": (), "actions": ()})
        return replace(self.piece(calm, seed), troubles=())

    def piece(self, scenario: "Scenario", seed: int) -> "Piece":
        """Simulate one run."""
        from reports.alerts.exporters import metrics
        from reports.alerts.months import Piece
        from reports.alerts.truth import troubles
        from scenarios.plan import make_plan
        from sim.engine import simulate

        run = simulate(make_plan(scenario, seed), self.profile)  # type: ignore[arg-type]  # imported late
        length_ms = scenario.duration // MILLISECOND_NS
        store = metrics(run, self.scraped.exporter, every_ms=self.scraped.every_ms, closing_ms=length_ms)
        self.names |= set(store.names)
        self.rates_hz = self.rates_hz or rates_of(run)
        whole = troubles(run, self.scraped.page_from)
        self.notes += [
            f"{one.label}: what it had piled up was not worked off when its run ended, and is cut short there; a longer `duration` shows the rest"
            for one in whole
            if one.end_ms > length_ms
        ]
        found = tuple(replace(one, end_ms=min(one.end_ms, length_ms)) for one in whole)
        self.tell()
        return Piece(store, found)


def rates_of(run: "RunData") -> dict[str, float]:
    """Return by objective how many events a second count for it."""
    from reports.slo_events import judged_events
    from scenarios.quantities import SECOND

    scenario = run.plan.scenario
    return {
        name: len(judged_events(run, objective).intended_ns) / (scenario.measured_ns / SECOND)
        for name, objective in scenario.objectives.items()
    }


def judge_all(
    file: "RuleFile", material: Material, scraped: Scraped, routing: "Routing | None" = None
) -> "tuple[Backtest, list[Judged]]":
    """Run rules over all cases and score them."""
    from reports.alerts.backtest import backtest, judge

    judged = [
        judge(file, case, routing=routing, interval_ms=scraped.interval_ms, release=scraped.release)
        for case in material.cases
    ]
    return backtest(file, judged), judged


def names_read(file: "RuleFile") -> set[str] | None:
    """Return the metrics that rules read; None where a selector names none, and may read any."""
    from reports.alerts.promql import selectors

    names = {selector.name for rule in file.rules for selector in selectors(rule.tree)}
    return None if None in names else names


# ---- searched --------------------------------------------------------------------------------------------------------


def suggestions(
    material: Material, scraped: Scraped, objective: str | None, false_per_week: float
) -> "list[Suggestion]":
    """Search rules for one objective, or for each."""
    from reports.alerts.suggest import suggest

    objectives = material.scenario.objectives
    if objective is not None and objective not in objectives:
        raise WrongInputError(f"--objective {objective}: the scenario has {', '.join(objectives) or 'no objectives'}")
    cases = {
        name: [_about(case, name, scraped.page_from) for case in material.cases]
        for name in ([objective] if objective is not None else objectives)
    }
    worthy = {
        name: any(one.worth == "page" for case in found for one in case.troubles) for name, found in cases.items()
    }
    # An objective that no trouble hurt enough has nothing to search for; where that is true of all, `suggest` says so.
    return [
        suggest(
            name, objectives[name], found, false_per_week=false_per_week, interval_ms=scraped.interval_ms,
            release=scraped.release,
        )
        for name, found in cases.items()
        if worthy[name] or not any(worthy.values())
    ]  # fmt: skip


def _about(case: "Case", objective: str, page_from: float) -> "Case":
    """Return a case as one objective sees it."""
    return replace(case, troubles=tuple(trouble.about(objective, page_from) for trouble in case.troubles))


# ---- documents -------------------------------------------------------------------------------------------------------


def warnings_of(file: "RuleFile", material: Material) -> list[str]:
    """Return what is odd about rules, in themselves and for these runs."""
    from reports.alerts.burn import objective_warnings
    from reports.alerts.unreachable import file_warnings, window_warnings

    known = sorted({name for case in material.cases for name in case.store.names})
    longest = max(case.end_ms for case in material.cases)
    own = objective_warnings(material.scenario, rates_hz=material.rates_hz)
    found = [*material.notes, *file_warnings(file), *window_warnings(file, longest, known), *own]
    return list(dict.fromkeys(found))


def backtest_document(
    scores: "Backtest", material: Material, scraped: Scraped, warnings: Sequence[str]
) -> dict[str, Any]:
    """Return what `alerts backtest --json` prints."""
    return {
        "weeks": scores.weeks,
        "cases": scores.cases,
        "page_worthy": scraped.page_from,
        "troubles": {
            worth: sum(trouble.worth == worth for case in material.cases for trouble in case.troubles)
            for worth in ("page", "ticket", "harmless")
        },
        "recall": {worth: {"seen": seen, "of": of} for worth, (seen, of) in scores.recall.items()},
        "time_to_page_s": _spread(scores.to_page_s),
        "false_pages": _rate(scores.false_pages),
        "needless_pages": _rate(scores.needless_pages),
        "alerts_fired": scores.firing,
        "messages": scores.messages,
        "pages": scores.pages,
        "rules": [
            {
                "alert": one.rule.name,
                "severity": one.rule.severity,
                "labels": dict(one.rule.labels),
                "owner": one.rule.annotations.get("owner"),
                "runbook": one.rule.annotations.get("runbook_url"),
                "seen": one.seen,
                "of": one.worthy,
                "time_to_message_s": _spread(one.to_message_s),
                "false": _rate(one.false),
                "needless": one.needless,
                "fired": one.stays,
                "flaps": one.flaps,
                "reset_s": _spread(one.reset_s),
                "never_active": one.never,
            }
            for one in scores.rules
        ],
        "warnings": list(warnings),
    }


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"median": float(median(values)), "least": min(values), "most": max(values)}


def _rate(found: "Rate") -> dict[str, Any]:
    return {"per_week": found.per_week, "interval": [found.low, found.high], "count": found.count}


def suggestion_document(found: "Sequence[Suggestion]", material: Material) -> dict[str, Any]:
    """Return what `alerts suggest --json` prints."""
    from reports.alerts.burn import window_warnings

    objectives = material.scenario.objectives
    return {
        each.objective: {
            "best": _tried(each.best),
            "within_limit": each.best.false_per_week <= each.limit,
            "limit_per_week": each.limit,
            "usual": _tried(each.usual),
            "curve": [_tried(one) for one in each.curve],
            "tried": each.tried,
            "warnings": [
                said
                for window in each.best.windows
                for said in window_warnings(
                    each.objective, objectives[each.objective], window, material.rates_hz.get(each.objective)
                )
            ],
        }
        for each in found
    }


def _tried(one: "Tried") -> dict[str, Any]:
    return {
        "rules": one.text,
        "windows": [
            {
                "long_s": each.long_ms / 1000,
                "short_s": each.short_ms / 1000,
                "factor": each.factor,
                "for_s": each.for_ms / 1000,
            }
            for each in one.windows
        ],
        "seen": one.seen,
        "of": one.worthy,
        "median_time_to_page_s": one.median_s,
        "false_pages_per_week": one.false_per_week,
    }
