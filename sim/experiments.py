"""Simulates one scenario many times, on several processes, with equal results however many these are."""

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeVar

from rundata.indicators import Measurement, measure
from rundata.rows import new_operations
from rundata.tables import RunData
from scenarios.plan import Plan, make_plan
from scenarios.profiles import Measured, OneLeader, Profile, Rest, SharedCores
from scenarios.schema import Scenario
from scenarios.streams import stream
from sim.crew import Crew, of_size
from sim.engine import simulate
from sim.observed import NOTHING_OBSERVED, Observed
from sim.stretches.flow import as_run, flow, flows

T = TypeVar("T")
Operations = Literal["all", "none"]
Progress = Callable[[int, int], None]
_CHUNKS_PER_JOB = 8
"""Small enough that no process waits long for the last one, and that a display moves."""
_LARGEST_CHUNK = 8


@dataclass(frozen=True, eq=False)
class Replications(Generic[T]):
    """What many runs of one scenario showed."""

    first: RunData
    """Replication 0: the plan that is driven with that seed, at the profile's own figures."""
    measured: list[dict[str, Measurement]]
    """The indicators of each replication, the first one's first."""
    series: list[T]
    """What the caller wanted of each replication besides; empty if nothing."""


@dataclass(frozen=True)
class _Experiment(Generic[T]):
    """All that a process needs to run any replication."""

    scenario: Scenario
    profile: Profile
    seed: int
    same_plan: bool
    vary_profile: bool
    observed: Observed
    series: Callable[[RunData], T] | None
    plan: Plan | None = None

    def run(self, replication: int) -> RunData:
        plan = self.plan
        if plan is None:
            plan = make_plan(self.scenario, self.seed, 0 if self.same_plan else replication)
        profile = varied(self.profile, self.seed, replication) if self.vary_profile else self.profile
        if replication > 0 and self.series is None and self.observed is NOTHING_OBSERVED and flows(plan.scenario):
            found = flow(plan, profile, chance=replication)  # of this one only the figures are kept
            if found is not None:
                return as_run(plan, profile, found)
        return simulate(plan, profile, chance=replication, observed=self.observed)

    def look_at(self, run: RunData) -> tuple[dict[str, Measurement], list[T]]:
        return measure(run), [self.series(run)] if self.series is not None else []

    def several(self, numbers: Sequence[int]) -> list[tuple[dict[str, Measurement], list[T]]]:
        return [self.look_at(self.run(number)) for number in numbers]


def replicate(
    scenario: Scenario,
    profile: Profile,
    *,
    seed: int,
    replications: int,
    jobs: int | str | Crew = 1,
    same_plan: bool,
    vary_profile: bool,
    observed: Observed = NOTHING_OBSERVED,
    series: Callable[[RunData], T] | None = None,
    operations: Operations = "all",
    progress: Progress | None = None,
    earlier: Replications[T] | None = None,
    plan: Plan | None = None,
) -> Replications[T]:
    """Simulate a scenario `replications` times and measure each run; `series` picks what else to keep of a run.

    With `same_plan` only chance differs between them, else each has a plan of its own; `vary_profile` also draws the scale of
    each measured time from its uncertainty. Replication 0 is always the plan and profile as they are. With operations
    `none` the first run is returned without them: what it measured is in `measured`. `jobs` is a number of processes, a cluster
    (`dask:ADDRESS`, `ray:ADDRESS`), or a crew that the caller keeps for more. What `earlier` holds of the same is not run again.
    `plan` stands in place of the scenario's own, such as that of a run beside programs that send what they send.
    """
    assert replications >= 1
    experiment = _Experiment(scenario, profile, seed, same_plan, vary_profile, observed, series, plan)
    tell = progress or (lambda _done, _total: None)
    if earlier is None:
        first = experiment.run(0)
        found = [experiment.look_at(first)]
        if operations == "none":
            first = replace(first, operations=new_operations(0), about={**first.about, "operations": "none"})
    else:
        first, kept = earlier.first, [[one] for one in earlier.series] or [[] for _ in earlier.measured]
        found = list(zip(earlier.measured, kept, strict=True))
    tell(len(found), replications)
    # Closed at once whatever happens: an exception's traceback would keep the generator, and with it its processes.
    with of_size(jobs) as crew, closing(_in_chunks(experiment, range(len(found), replications), crew)) as parts:
        for part in parts:
            found += part
            tell(len(found), replications)
    return Replications(first, [one for one, _ in found], [kept for _, several in found for kept in several])


def varied(profile: Profile, seed: int, replication: int) -> Profile:
    """Return the profile with each measured time's scale, and that of CPU times, drawn from its uncertainty; replication 0 keeps it as it is."""
    if replication == 0:
        return profile
    changes = dict[str, Measured | SharedCores | Rest | OneLeader]()
    for name in Profile.model_fields:
        value = getattr(profile, name)
        if isinstance(value, Measured):
            changes[name] = _rescaled(value, seed, name, replication)
        elif isinstance(value, OneLeader):
            # The same brokers: as much slower or faster as where several lead.
            parts = {part: own for part in OneLeader.model_fields if (own := getattr(value, part)) is not None}
            changes[name] = OneLeader(
                **{part: _rescaled(measured, seed, part, replication) for part, measured in parts.items()}
            )
        elif isinstance(value, SharedCores) and value.scale_sd > 0:
            factor = _factor(value, seed, name, replication)
            changes[name] = value.model_copy(
                update={"request_us": factor * value.request_us, "event_us": factor * value.event_us}
            )
        elif isinstance(value, Rest) and value.scale_sd > 0:
            factor = _factor(value, seed, name, replication)
            changes[name] = value.model_copy(
                update={"broker_us": factor * value.broker_us, "all_us": factor * value.all_us}
            )
    return profile.model_copy(update=changes)


def _rescaled(part: Measured, seed: int, name: str, replication: int) -> Measured:
    if part.scale_sd == 0:
        return part
    factor = _factor(part, seed, name, replication)
    return part.model_copy(update={"quantiles_us": tuple(q * factor for q in part.quantiles_us)})


def _factor(value: Measured | SharedCores | Rest, seed: int, name: str, replication: int) -> float:
    z = float(stream(seed, "profile", name, "scale", replication=replication).standard_normal())
    return math.exp(value.scale_sd * z)


# ---- many processes ------------------------------------------------------------------------------------------------

_Found = list[tuple[dict[str, Measurement], list[T]]]


def _in_chunks(experiment: _Experiment[T], numbers: range, crew: Crew) -> Generator[_Found[T], None, None]:
    """Yield what the replications showed, chunk after chunk in their order."""
    size = max(1, min(_LARGEST_CHUNK, math.ceil(len(numbers) / (max(crew.size, 1) * _CHUNKS_PER_JOB))))
    if crew.size == 1:
        size = 1  # nothing is handed over, so that there is nothing to save
    yield from crew.each(experiment.several, [numbers[n : n + size] for n in range(0, len(numbers), size)])
