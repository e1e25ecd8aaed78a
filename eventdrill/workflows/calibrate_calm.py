"""Brokers that are rarely asked, and requests that carry several events: what either costs, by a run with low rates and batches that linger for long."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eventdrill.workflows.calibrate import Ints, batches, of_topic
from rundata.rows import Kind, Outcome
from rundata.tables import RunData
from scenarios.profiles import RESTED_MS, Profile, Rest
from scenarios.quantities import SECOND
from sim.engine import simulate

CALM_HZ, CALM_WARM_UP_S, CALM_STEP_S, CALM_LINGER_MS = (30, 100, 300), 2, 8, 50
_ROUNDS = 3
_USUAL = 0.93
"""What takes longer than so many others was held up by something else."""
_APART_MS = 2
"""Requests that follow one another more closely wait for each other."""
_ENOUGH = 100
_MOST_SD = 0.5


@dataclass(frozen=True)
class Requests:
    """Produce requests of a run, of which each broker had one before."""

    took_us: NDArray[np.float64]
    """From ready to the acknowledgement."""
    of_broker_ms: NDArray[np.float64]
    """How long before it the one before of the same broker was ready."""
    of_all_ms: NDArray[np.float64]
    """The same of any broker."""
    counts: Ints
    """How many events each carries."""
    kib: NDArray[np.float64]
    step: Ints
    """In which of the run's steps it was ready."""

    def __len__(self) -> int:
        return len(self.counts)


def requests_of(run: RunData) -> Requests:
    """Return the requests of a calm run after its warm-up; all leaders stay."""
    sends = run.operations[(run.operations["kind"] == Kind.send) & (run.operations["outcome"] == Outcome.ok)]
    found = batches(run, sends)
    first = sends[found.order[found.begins]]
    leaders = np.asarray([leader for leader, *_ in run.plan.replicas(_topic(run))])[first["partition"]]
    ready_ns = first["ended_ns"] - found.answer_ns
    of_broker_ns, of_all_ns = _since_last(ready_ns, leaders), _since_last(ready_ns, np.zeros_like(leaders))
    kib = np.add.reduceat(run.plan.size_bytes[sends["event_id"]][found.order].astype(np.float64), found.begins) / 1024
    warm_up_ns = run.plan.scenario.warm_up
    own = (ready_ns >= warm_up_ns) & (of_broker_ns > 0)
    return Requests(
        found.answer_ns[own] / 1e3,
        of_broker_ns[own] / 1e6,
        of_all_ns[own] / 1e6,
        found.counts[own],
        kib[own],
        (ready_ns[own] - warm_up_ns) // (CALM_STEP_S * SECOND),
    )


def _topic(run: RunData) -> str:
    return run.plan.scenario.producers[run.plan.producers[0]].topic


def _since_last(at_ns: Ints, whose: Ints) -> Ints:
    """Return how long before each instant the one before of the same owner was; 0 of the first ones."""
    since_ns = np.zeros(len(at_ns), np.int64)
    for owner in np.unique(whose):
        own = np.flatnonzero(whose == owner)
        own = own[np.argsort(at_ns[own], kind="stable")]
        since_ns[own[1:]] = np.diff(at_ns[own])
    return since_ns


def with_calm(calm: RunData, profile: Profile, again: Callable[[Profile], Profile]) -> Profile:
    """Return a profile with what rests of brokers and further events of a request cost, by a driven run.

    `again` fits the other times anew, which hold a part of both. Requests of the simulated run rest, too, and wait for each other; so costs are
    what lets both runs show the same ones.
    """
    seen = requests_of(of_topic(calm, _topic(calm)))
    profile = profile.model_copy(update={"produce_us_per_record": record_cost(seen, profile)})
    found, costs_us = costs_of_rests(seen), np.zeros(2)
    if found is None:
        return again(profile.model_copy(update={"rest": Rest()}))
    seen_us, scale_sd = found
    for _ in range(_ROUNDS):
        rest = Rest(broker_us=round(costs_us[0], 1), all_us=round(costs_us[1], 1), scale_sd=scale_sd)
        profile = again(profile.model_copy(update={"rest": rest}))
        shown = costs_of_rests(requests_of(simulate(calm.plan, profile)))
        if shown is None:
            break
        costs_us = np.maximum(costs_us + seen_us - shown[0], 0.0)
    rest = Rest(broker_us=round(costs_us[0], 1), all_us=round(costs_us[1], 1), scale_sd=scale_sd)
    return again(profile.model_copy(update={"rest": rest}))


def costs_of_rests(asked: Requests) -> tuple[NDArray[np.float64], float] | None:
    """Return what requests take longer after a long rest of their broker, and of all, in us, and how sure the sum is (relative); None where too few tell.

    Least squares with a level for each step, since a host may be quicker in one than in another, over requests that neither follow another closely nor are
    among the slowest.
    """
    usual = (asked.of_all_ms > _APART_MS) & (asked.took_us <= np.quantile(asked.took_us, _USUAL))
    if usual.sum() < _ENOUGH:
        return None
    of_broker, of_all = (
        np.interp(rest_ms[usual], RESTED_MS, (0.0, 0.5, 1.0)) for rest_ms in (asked.of_broker_ms, asked.of_all_ms)
    )
    levels = asked.step[usual, None] == np.unique(asked.step[usual])
    sides = np.column_stack([of_broker, of_all, levels])
    took_us = asked.took_us[usual]
    inverse = np.linalg.pinv(sides.T @ sides)
    found: NDArray[np.float64] = inverse @ sides.T @ took_us
    variance = float(np.square(took_us - sides @ found).sum()) / (len(took_us) - sides.shape[1])
    error_us = float(variance * (inverse[0, 0] + inverse[1, 1] + 2 * inverse[0, 1])) ** 0.5
    together_us = float(found[0] + found[1])
    return found[:2], round(min(_MOST_SD, error_us / together_us), 4) if together_us > 0 else 0.0


def record_cost(seen: Requests, profile: Profile) -> float:
    """Return what a request takes longer for each further event, in us, beyond its KiB; 0 if that is not sure.

    Least squares with a level for each step, over all but each step's slowest ones: of one rate, how many events came within a linger
    has to do with nothing else.
    """
    apart_count, apart_us = [], []
    took_us = seen.took_us - profile.produce_us_per_kib * seen.kib
    for number in np.unique(seen.step):
        own = seen.step == number
        own &= took_us <= np.quantile(took_us[own], _USUAL)
        if own.sum() >= 3:
            apart_count.append(seen.counts[own] - seen.counts[own].mean())
            apart_us.append(took_us[own] - took_us[own].mean())
    x, y = np.concatenate(apart_count), np.concatenate(apart_us)
    if len(x) < _ENOUGH or not (x**2).sum():
        return 0.0
    slope = float((x * y).sum() / (x**2).sum())
    error = float(np.sqrt(((y - slope * x) ** 2).sum() / max(1, len(x) - len(apart_us) - 1) / (x**2).sum()))
    return round(slope, 2) if slope > 2 * error else 0.0
