"""How fast a host's brokers work: the CPU time that they take for what they are asked.

A fixed loop (`loadgen.gauges.host_pace_s`) does not see slower memory or caches, which neighbours on the same machine share. The brokers' own CPU
time does: over thirteen runs of `leader-crash` it explained nine tenths of the variance of how far medians lay from their predictions.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from rundata.tables import RunData
from scenarios.plan import Plan
from scenarios.profiles import NO_CORES, Profile, SharedCores
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
CPU_SD = 0.18
"""Over fifteen runs beside one calibration the brokers took so much more or less CPU time (relative standard deviation) for what they were asked."""
WARM_CPU_SD = 0.12
"""The same over 52 runs beside three full calibrations of warm brokers. By 22 of them above 400 requests/s, it is as much: so far off was the CPU time of
a request with which the median latency would have been as observed."""
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
    line = _line([(asked_hz(run.plan, each), taken) for each in stretches if (taken := _cores(run, each)) is not None])
    if line is None:
        return {}
    idle, each_s, mean_hz = line
    return {IDLE: round(idle, 4), PER_REQUEST: round(each_s * 1e6, 2), ASKED_HZ: round(mean_hz, 1)}


def cores_of(
    run: RunData, stretches: Sequence[Stretch], profile: Profile, count: int, scale_sd: float = CPU_SD
) -> SharedCores:
    """Return that brokers and clients wait for so many cores, and what they take of them: brokers by a straight line through stretches of different rates.

    What clients take is taken from the others, but not with requests: they spend it when an event is handed over and when it is handled, which
    after an outage is long before a request that carries it, or long after. The profile says how long fetches take, so how many there are. Nobody
    waits where brokers are not on this machine (their CPU time is not seen then), or where no such line can be.
    """
    plan, seen = run.plan, list[tuple[Stretch, float, float]]()
    for each in stretches:
        brokers, clients = _cores(run, each), _clients_cores(run, each)
        if brokers is not None and clients is not None:
            seen.append((each, brokers, clients))
    of_brokers = _line([(served_hz(plan, each, profile), brokers) for each, brokers, _ in seen])
    if of_brokers is None:
        return NO_CORES
    taken = of_brokers[0] + float(np.mean([clients for _, _, clients in seen]))
    if taken >= count:
        return NO_CORES
    return SharedCores(
        count=count,
        taken=round(taken, 3),
        request_us=round(of_brokers[1] * 1e6, 2),
        scale_sd=scale_sd,
    )


def served_hz(plan: Plan, stretch: Stretch, profile: Profile) -> float:
    """Return about how many requests a second brokers serve where what comes while a fetch is under way goes with the next one, as in the simulator."""
    scenario, served = plan.scenario, 0.0
    follows_s = max(0.0, profile.produce.mean_us - profile.produce_leader.mean_us) / 1e6
    fetches_s = (profile.fetch.mean_us + profile.fetch_turnaround.mean_us) / 1e6
    by_leader, followers = defaultdict[int, float](float), 1
    for name, produced_hz in zip(plan.producers, requests_by_producer(plan, *stretch), strict=True):
        topic, by_reader = scenario.producers[name].topic, defaultdict[tuple[str, int, int], float](float)
        replicas = plan.replicas(topic)
        followers = max(followers, scenario.replication_of(topic) - 1)
        for number, (leader, *_) in enumerate(replicas):
            by_leader[leader] += produced_hz / len(replicas)
            for group_name, group in scenario.groups.items():
                if topic in group.topics:
                    by_reader[group_name, number * group.members // len(replicas), leader] += produced_hz / len(
                        replicas
                    )
        served += produced_hz + sum(_fetches_hz(hz, fetches_s) for hz in by_reader.values())
    return served + followers * sum(_fetches_hz(hz, follows_s) for hz in by_leader.values())


def _fetches_hz(appended_hz: float, lasts_s: float) -> float:
    """Return how many fetches a second bring what is appended at random: the next leaves when one is back, or at what is appended after that."""
    return 1 / (lasts_s + math.exp(-appended_hz * lasts_s) / appended_hz) if appended_hz > 0 else 0.0


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float, float] | None:
    """Return what is taken at rest, for one more a second, and the mean rate; None where rates differ too little, or no such line can be."""
    if len(points) < 2:
        return None
    rates_hz, cores = np.asarray(points).T
    if np.ptp(rates_hz) < rates_hz.mean() / 4:
        return None
    slope, idle = np.polyfit(rates_hz, cores, 1)
    if slope <= 0 or idle < 0:
        return None
    return float(idle), float(slope), float(rates_hz.mean())


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
    nodes = run.plan.scenario.brokers.nodes
    return _taken(run, stretch, lambda where: where.startswith("broker "), nodes)


def _clients_cores(run: RunData, stretch: Stretch) -> float | None:
    """Return the same of everything else that belongs to the run: producers, members, the driver itself."""
    others = {each.where for each in run.gauges if each.name == "cpu_share"} - {"host"}
    others = {where for where in others if not where.startswith("broker ")}
    return _taken(run, stretch, others.__contains__, len(others))


def _taken(run: RunData, stretch: Stretch, counts: Callable[[str], bool], processes: int) -> float | None:
    """Return how many cores some processes took together, over the samples that show all of them."""
    begin_ns, end_ns = stretch
    by_time: dict[int, dict[str, float]] = {}
    for each in run.gauges:
        if each.name == "cpu_share" and counts(each.where) and begin_ns < each.time_ns <= end_ns:
            by_time.setdefault(each.time_ns, {})[each.where] = each.value
    whole = [sum(shares.values()) for shares in by_time.values() if len(shares) == processes]
    return float(np.mean(whole)) if len(whole) >= 3 else None
