"""A long scenario as what alert rules are judged on: simulated in stretches, whose series follow each other."""

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from eventdrill.errors import WrongInputError
from eventdrill.workflows.alerts import MILLISECOND_NS, Material, Months, Progress, Scraped, names_read, rates_of
from eventdrill.workflows.simulate import Simulation
from reports.alerts.backtest import Case
from reports.alerts.defaults import default_rules
from reports.alerts.exporters import metrics
from reports.alerts.months import chained, cut
from reports.alerts.series import NAME, Store
from reports.alerts.truth import Trouble, troubles
from sim.crew import Crew
from sim.engine import simulate
from sim.stretches.long_run import LongRun, simulate_in_stretches
from sim.stretches.timeline import Timeline, TimelineError

if TYPE_CHECKING:
    from rundata.tables import RunData
    from scenarios.schema import Scenario


@dataclass(frozen=True)
class LongPiece:
    """What one stretch of a long run showed: series from 0, what was wrong, and how many events a second count."""

    store: Store
    troubles: tuple[Trouble, ...]
    rates_hz: dict[str, float]


def stretches_of(scenario: "Scenario", seed: int) -> int:
    """Return how many stretches a long run is simulated in, as far as that is known beforehand."""
    try:
        return Timeline(scenario, seed, 0).simulated()
    except TimelineError as error:
        raise WrongInputError(f"{scenario.scenario}: {error}") from None


def from_long_run(
    work: "Simulation", scraped: Scraped, months: Months, names: set[str] | None, progress: Progress
) -> Material:
    """Return a long scenario as it is simulated in stretches: exact around its faults, quiet minutes drawn from simulated ones."""
    scenario = work.loaded.scenario
    wanted = names or names_read(default_rules(scenario, scraped.exporter))
    keep = _Keep(work.profile, scraped, None if wanted is None else frozenset(wanted))
    cases, rates = [], dict[str, float]()
    try:
        with Crew(os.cpu_count() or 1) as crew:
            for number in range(months.months):
                long = simulate_in_stretches(
                    scenario, work.profile, series=keep, progress=progress, seed=work.plan.seed, replication=number, jobs=crew
                )  # fmt: skip
                case, rates = _case(f"{scenario.scenario}, {number + 1}", long, wanted)
                cases.append(case)
    except TimelineError as error:
        raise WrongInputError(f"{work.loaded.source}: {error}") from None
    return Material(scenario, tuple(cases), rates)


def _case(name: str, long: "LongRun[LongPiece]", names: set[str] | None) -> tuple[Case, dict[str, float]]:
    """Return what rules are judged on, with times from the begin of the first stretch, and the events a second of that."""
    pieces = [
        (place, piece) for place in long.placings if (piece := long.found[place.source.begin_ns].series) is not None
    ]
    lengths = [(place.end_ns - place.begin_ns) // MILLISECOND_NS for place, _ in pieces]
    first_ns = pieces[0][0].begin_ns
    troubled = [(place, piece) for place, piece in pieces if piece.troubles]
    found = [
        one.later((place.begin_ns - first_ns) // MILLISECOND_NS, f"{one.label} {number}")
        for number, (place, piece) in enumerate(troubled, 1)
        for one in piece.troubles
    ]
    store = chained([piece.store for _, piece in pieces], lengths, names)
    return Case(name, store, tuple(found), sum(lengths)), pieces[0][1].rates_hz


@dataclass(frozen=True)
class _Keep:
    """Makes a piece of each stretch where it is simulated; what leads in before it is cut off."""

    profile: Any
    scraped: Scraped
    names: frozenset[str] | None

    def __call__(self, run: "RunData") -> LongPiece:
        """Return the piece; a stretch that was simulated without rows is simulated once more with them, since metrics count rows."""
        whole = run if len(run.operations) else simulate(run.plan, self.profile, chance=run.plan.replication)
        scenario = whole.plan.scenario
        begin_ms, end_ms = scenario.warm_up // MILLISECOND_NS, scenario.duration // MILLISECOND_NS
        store = metrics(whole, self.scraped.exporter, every_ms=self.scraped.every_ms, closing_ms=end_ms)
        kept = [each for each in store.named(None) if self.names is None or dict(each.labels)[NAME] in self.names]
        length_ms = end_ms - begin_ms
        found = tuple(
            replace(one.later(-begin_ms), end_ms=min(one.end_ms - begin_ms, length_ms))
            for one in troubles(whole, self.scraped.page_from)
        )
        return LongPiece(cut(Store(kept), begin_ms, length_ms), found, rates_of(whole))
