"""Simulates one scenario many times, on several processes, with equal results however many these are."""

import math
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Generic, Literal, TypeVar

from rundata.indicators import Measurement, measure
from rundata.rows import new_operations
from rundata.tables import RunData
from scenarios.plan import make_plan
from scenarios.profiles import Measured, Profile
from scenarios.schema import Scenario
from scenarios.streams import stream
from sim.engine import simulate
from sim.observed import NOTHING_OBSERVED, Observed

T = TypeVar("T")
Operations = Literal["all", "none"]
Progress = Callable[[int, int], None]
_CHUNKS_PER_JOB = 8
"""Small enough that no process waits long for the last one, and that a display moves."""
_LARGEST_CHUNK = 8
_PARENT_EVERY_S = 1.0


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

    def run(self, replication: int) -> RunData:
        plan = make_plan(self.scenario, self.seed, 0 if self.same_plan else replication)
        profile = varied(self.profile, self.seed, replication) if self.vary_profile else self.profile
        return simulate(plan, profile, chance=replication, observed=self.observed)

    def look_at(self, run: RunData) -> tuple[dict[str, Measurement], list[T]]:
        return measure(run), [self.series(run)] if self.series is not None else []


def replicate(
    scenario: Scenario,
    profile: Profile,
    *,
    seed: int,
    replications: int,
    jobs: int = 1,
    same_plan: bool,
    vary_profile: bool,
    observed: Observed = NOTHING_OBSERVED,
    series: Callable[[RunData], T] | None = None,
    operations: Operations = "all",
    progress: Progress | None = None,
) -> Replications[T]:
    """Simulate a scenario `replications` times and measure each run; `series` picks what else to keep of a run.

    With `same_plan` only chance differs between them, else each has a plan of its own; `vary_profile` also draws the scale of
    each measured time from its uncertainty. Replication 0 is always the plan and profile as they are. With operations
    `none` the first run is returned without them: what it measured is in `measured`.
    """
    assert replications >= 1
    experiment = _Experiment(scenario, profile, seed, same_plan, vary_profile, observed, series)
    first = experiment.run(0)
    found = [experiment.look_at(first)]
    tell = progress or (lambda _done, _total: None)
    tell(1, replications)
    if operations == "none":
        first = replace(first, operations=new_operations(0), about={**first.about, "operations": "none"})
    # Closed at once whatever happens: an exception's traceback would keep the generator, and with it its processes.
    with closing(_in_chunks(experiment, range(1, replications), jobs)) as parts:
        for part in parts:
            found += part
            tell(len(found), replications)
    return Replications(first, [one for one, _ in found], [kept for _, several in found for kept in several])


def varied(profile: Profile, seed: int, replication: int) -> Profile:
    """Return the profile with each measured time's scale drawn from its uncertainty; replication 0 keeps it as it is."""
    if replication == 0:
        return profile
    changes = {}
    for name in Profile.model_fields:
        value = getattr(profile, name)
        if isinstance(value, Measured) and value.scale_sd > 0:
            z = float(stream(seed, "profile", name, "scale", replication=replication).standard_normal())
            factor = math.exp(value.scale_sd * z)
            changes[name] = value.model_copy(update={"quantiles_us": tuple(q * factor for q in value.quantiles_us)})
    return profile.model_copy(update=changes)


# ---- many processes ------------------------------------------------------------------------------------------------

_Found = list[tuple[dict[str, Measurement], list[T]]]


def _in_chunks(experiment: _Experiment[T], numbers: range, jobs: int) -> Generator[_Found[T], None, None]:
    """Yield what the replications showed, chunk after chunk in their order."""
    if jobs == 1 or len(numbers) < 2:
        yield from (_chunk(experiment, numbers[n : n + 1]) for n in range(len(numbers)))
        return
    from joblib import Parallel, delayed

    size = max(1, min(_LARGEST_CHUNK, math.ceil(len(numbers) / (jobs * _CHUNKS_PER_JOB))))
    chunks = [numbers[begin : begin + size] for begin in range(0, len(numbers), size)]
    parallel = Parallel(n_jobs=jobs, backend="loky", return_as="generator", max_nbytes=None)
    with _deaf_to_ctrl_c():
        parts = parallel(delayed(_chunk)(experiment, chunk, os.getpid()) for chunk in chunks)
    try:
        for part in parts:  # noqa: UP028  # `yield from` would close the parts too, before the warning is silenced
            yield part
    finally:
        # Idle processes would hold memory and wake up while real brokers are measured; after Ctrl-C they would work on.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that work was given up, which is what is meant
            parts.close()
            _end_processes()


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Let processes that start now never hear Ctrl-C: this one does and ends them, and they would each print a traceback.

    They inherit the blocked signal; one that comes meanwhile waits here until the end, and is not lost.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_processes() -> None:
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True, kill_workers=True)


def _chunk(experiment: _Experiment[T], numbers: range, parent: int | None = None) -> _Found[T]:
    if parent is not None:
        _end_with(parent)
    return [experiment.look_at(experiment.run(number)) for number in numbers]


@cache
def _end_with(parent: int) -> None:
    """Let this process end when its parent does, which a killed one cannot tell."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_EVERY_S)
        os._exit(1)

    threading.Thread(target=watch, name="ends with its parent", daemon=True).start()
