"""How fast a host's brokers work: the CPU time that they take for what they are asked.

A fixed loop (`loadgen.gauges.host_pace_s`) does not see slower memory or caches, which neighbours on the same machine share. The brokers' own CPU
time does: over thirteen runs of `leader-crash` it explained nine tenths of the variance of how far medians lay from their predictions.
"""

from collections.abc import Sequence

import numpy as np

from rundata.tables import RunData
from scenarios.plan import Plan
from scenarios.profiles import Profile
from scenarios.quantities import SECOND
from sim.draws import requests_by_producer

Stretch = tuple[int, int]
"""Begin and end in ns from time 0."""

IDLE = "broker_idle_cores"
PER_REQUEST = "broker_us_per_request"
ASKED_HZ = "broker_requests_hz"
_SETTLES_NS = 15 * SECOND
"""So long after a fault or an action brokers still catch up, start or compile."""
_LEAST_STRETCH_NS = 5 * SECOND
_WIDEST = 2.0
"""The line through what was measured holds between its mean rate over this and times this."""


def asked_hz(plan: Plan, stretch: Stretch) -> float:
    """Return about how many requests a second brokers serve: each produce request is fetched by every follower and every group."""
    scenario, asked = plan.scenario, 0.0
    for name, produced_hz in zip(plan.producers, requests_by_producer(plan, *stretch), strict=True):
        topic = scenario.producers[name].topic
        readers = sum(topic in group.topics for group in scenario.groups.values())
        asked += produced_hz * (scenario.replication_of(topic) + readers)
    return asked


def line_of(run: RunData, stretches: Sequence[Stretch]) -> dict[str, float]:
    """Return what brokers take when idle and per request, by a straight line through stretches of different rates; nothing where they differ too little."""
    points = [(asked_hz(run.plan, each), taken) for each in stretches if (taken := _cores(run, each)) is not None]
    if len(points) < 2:
        return {}
    rates_hz, cores = np.asarray(points).T
    if np.ptp(rates_hz) < rates_hz.mean() / 4:
        return {}
    slope, idle = np.polyfit(rates_hz, cores, 1)
    if slope <= 0 or idle < 0:
        return {}
    return {
        IDLE: round(float(idle), 4),
        PER_REQUEST: round(float(slope) * 1e6, 2),
        ASKED_HZ: round(float(rates_hz.mean()), 1),
    }


def broker_drift(run: RunData, profile: Profile) -> float | None:
    """Return by which share brokers took more CPU for what they were asked than when the profile was measured, while nothing was disturbed.

    None where either is unknown, or where the plan asks so much more or less than was measured that the line does not hold.
    """
    told = [profile.measured_on.get(name) for name in (IDLE, PER_REQUEST, ASKED_HZ)]
    if any(value is None for value in told):
        return None
    idle, per_request_us, measured_hz = (float(value) for value in told if value is not None)
    taken = expected = 0.0
    for stretch in calm(run.plan):
        cores, rate_hz = _cores(run, stretch), asked_hz(run.plan, stretch)
        if cores is not None and measured_hz / _WIDEST <= rate_hz <= measured_hz * _WIDEST:
            length_s = (stretch[1] - stretch[0]) / SECOND
            taken += cores * length_s
            expected += (idle + per_request_us / 1e6 * rate_hz) * length_s
    return taken / expected - 1 if expected else None


def calm(plan: Plan) -> list[Stretch]:
    """Return the stretches of the measured time, at least 5 s long, that lie apart from faults and actions."""
    scenario = plan.scenario
    begin_ns, found = scenario.warm_up, list[Stretch]()
    disturbed = [(each.begin_ns, each.end_ns) for each in plan.faults]
    disturbed += [(each.begin_ns, each.end_ns) for each in plan.actions]
    for from_ns, to_ns in [*sorted(disturbed), (scenario.duration, scenario.duration)]:
        if min(from_ns, scenario.duration) - begin_ns >= _LEAST_STRETCH_NS:
            found.append((begin_ns, min(from_ns, scenario.duration)))
        begin_ns = max(begin_ns, to_ns + _SETTLES_NS)
    return found


def _cores(run: RunData, stretch: Stretch) -> float | None:
    """Return how many cores all brokers together took; None where too few samples tell."""
    begin_ns, end_ns = stretch
    by_time: dict[int, dict[str, float]] = {}
    for each in run.gauges:
        if each.name == "cpu_share" and each.where.startswith("broker ") and begin_ns < each.time_ns <= end_ns:
            by_time.setdefault(each.time_ns, {})[each.where] = each.value
    whole = [sum(shares.values()) for shares in by_time.values() if len(shares) == run.plan.scenario.brokers.nodes]
    return float(np.mean(whole)) if len(whole) >= 3 else None
