"""Quiet stretches of one topic and one group in which only work takes time: in one pass, without a plan in memory, and with their figures."""

from dataclasses import dataclass

import numpy as np

from rundata.backlog import HELD_NS, STEP_NS
from rundata.books import Books
from rundata.folding import Folded
from rundata.tables import RunData
from rundata.whole import Told
from rundata.windows import WindowsSum
from scenarios.clients import consumer_settings, producer_settings
from scenarios.distributions import Constant
from scenarios.plan import Plan, empty_plan
from scenarios.profiles import IDEAL, Measured, Profile
from scenarios.quantities import SECOND
from scenarios.schema import EveryCommit, Producer, Scenario
from sim import world as at
from sim.stretches import ideal_kernel as kernel
from sim.stretches.flow import flows, run_of
from sim.stretches.ideal_figures import Counted, partial_of, settled
from sim.stretches.ideal_kernel import Line, new_line
from sim.stretches.ideal_plan import MOST_KEYS, Events, key_count
from sim.stretches.inputs import LoadedDraws
from sim.stretches.owners import has_enough_replicas, leaders, owners
from sim.stretches.senders import TakesMoreError
from sim.world import Ints

BLOCK_EVENTS = 1 << 14
_LARGEST_BYTES = 1 << 12
_LEAST_BUFFERED = 1 << 10
_AHEAD = 1 << 12
"""Lag is kept of so many instants ahead, which is some six minutes."""
assert (kernel.STEP_NS, kernel.SECOND_NS) == (STEP_NS, SECOND)
_MODES = {"after_batch": at.AFTER_BATCH, "after_event": at.AFTER_EVENT}
_OTHERWISE = frozenset(
    {
        "profile", "about", "measured_on", "brokers_said", "not_measured", "phases", "load_slope", "load_base_hz",
        "rejoin", "discovery", "member_discovery", "restart", "election", "early_followers", "parked_followers", "takeover", "catch_up",
    }
)  # fmt: skip
"""Fields of a profile that say nothing of a stretch without faults, in which no time grows with the load."""


def is_ideal_line(scenario: Scenario, profile: Profile) -> bool:
    """Whether in a scenario nothing can fail, nothing but work takes time, and one group reads what one producer sends to the one topic."""
    if not (len(scenario.topics) == len(scenario.producers) == len(scenario.groups) == 1):
        return False
    ((topic, what),) = scenario.topics.items()
    (group,) = scenario.groups.values()
    return (
        _is_ideal(profile)
        and group.topics == (topic,)
        and what.partitions < 1 << 15
        and (isinstance(group.commit, EveryCommit) or group.commit in _MODES)
        and scenario.warm_up % STEP_NS == scenario.duration % STEP_NS == 0
        and not any("/" in (each.indicator.where or "") for each in scenario.expect)
        and _sends_at_once(scenario, what.partitions)
        and flows(scenario)
    )


def _is_ideal(profile: Profile) -> bool:
    names = [name for name in type(profile).model_fields if name not in _OTHERWISE]
    values = [(getattr(profile, name), getattr(IDEAL, name)) for name in names]
    return all(own.quantiles_us[-1] == 0 if isinstance(own, Measured) else own == ideal for own, ideal in values)


def _sends_at_once(scenario: Scenario, partitions: int) -> bool:
    """Whether each event is on its way when it is intended, its partition is planned, and there is always room for it."""
    ((name, producer),) = scenario.producers.items()
    settings, size = producer_settings(scenario, name), producer.size
    return (
        producer.recorded is None
        and all(part.spacing in ("poisson", "even") for part in producer.rated(scenario.duration))
        and (producer.count == 1 or producer.share == "arrivals")
        and producer.key != "sequence"
        and 0 < _keys(producer, partitions) <= MOST_KEYS
        and isinstance(size, Constant)
        and size.value <= min(_LARGEST_BYTES, settings.largest_bytes)
        and settings.linger_ns == 0
        and settings.buffer_events >= _LEAST_BUFFERED
        and settings.buffer_bytes >= _LEAST_BUFFERED * _LARGEST_BYTES
        and min(settings.delivery_timeout_ns, settings.request_timeout_ns, settings.acks_timeout_ns) > 0
    )


def _keys(producer: Producer, partitions: int) -> int:
    """Return how many keys a producer may use; 0 where its client chooses partitions."""
    return key_count(producer) if producer.keyed else int(partitions == 1)


@dataclass(frozen=True, eq=False)
class Ideal:
    """One such stretch."""

    scenario: Scenario
    profile: Profile
    seed: int
    replication: int = 0
    chance: int = 0
    at_once: int = BLOCK_EVENTS

    def told(self, window_ns: int, *, windows: bool = True) -> tuple[RunData, Folded]:
        """Return a run without events and what the stretch says, as `rundata.folding.fold` does; TakesMoreError where it takes more than these rules."""
        scenario, nothing = self.scenario, empty_plan(self.scenario, self.seed, self.replication)
        line, counted = self._line(nothing), Counted.nothing()
        found = WindowsSum(scenario.warm_up, scenario.duration, window_ns)
        self._pass(
            Events(scenario, self.seed, self.replication, leaders(nothing), self.at_once),
            line,
            counted,
            found if windows else None,
        )
        end_ns = max(scenario.duration, int(counted.times[kernel.T_LAST]))
        if end_ns > scenario.duration + scenario.drain:
            raise TakesMoreError
        run = run_of(nothing, self.profile, np.zeros(len(line.owner), np.int64), end_ns)
        frame = Books(run, Told(run, lambda _whole: {}))
        folded = Folded(partial_of(frame, line, counted), found.windows(frame), settled(line))
        frame.forget()
        return run, folded

    def _pass(self, events: Events, line: Line, counted: Counted, windows: WindowsSum | None) -> None:
        latency, size = np.zeros(0, np.int64), np.zeros(0)
        for times, part, work in events.blocks():
            if len(latency) < len(times):
                latency, size = np.zeros(len(times), np.int64), np.zeros(len(times))
            own = latency[: len(times)]
            kernel.read(line, times, part, work, own)
            _check(line)
            kernel.count_times(line.settings, times, own, size, size.view(np.int64), counted.bins, counted.times)
            if windows is not None:
                _add(windows, times, own)
        kernel.look_on(line, self.scenario.duration + 1)
        _check(line)

    def _line(self, nothing: Plan) -> Line:
        if not has_enough_replicas(nothing):
            raise TakesMoreError
        scenario = self.scenario
        ((name, group),) = scenario.groups.items()
        settings, duration_ns = consumer_settings(scenario, name), scenario.duration
        stretch = np.zeros(kernel.N_SETTINGS, np.int64)
        stretch[kernel.Z_WARM_UP], stretch[kernel.Z_DURATION] = scenario.warm_up, duration_ns
        stretch[kernel.Z_HALF_NS] = (scenario.warm_up + duration_ns) // 2
        stretch[kernel.Z_HELD_FROM_NS] = duration_ns - HELD_NS
        if isinstance(group.commit, EveryCommit):
            stretch[kernel.Z_MODE], stretch[kernel.Z_INTERVAL] = at.EVERY, group.commit.every
        else:
            stretch[kernel.Z_MODE] = _MODES[group.commit]
        stretch[kernel.Z_MAX_POLL] = settings.max_poll_records
        stretch[kernel.Z_POLL_INTERVAL] = settings.max_poll_interval_ns
        owner = owners(nothing, LoadedDraws(nothing, self.profile, self.chance, 0.0), 0, np.zeros(1, np.int64))
        return new_line(owner, group.members, len(owner), stretch, _AHEAD)


def _check(line: Line) -> None:
    if line.s[kernel.S_PROBLEM]:
        raise TakesMoreError


def _add(windows: WindowsSum, times: Ints, latency: Ints) -> None:
    """Add acknowledgements, which come at once, and effects."""
    place = np.zeros(len(times), np.int64)
    windows.take(0, times, place, place, place)
    windows.take(1, times + latency, latency, place, place)
