"""What a calibration's crashes show: elections, how clients find new leaders, what these wait for, catching up, and rebalances."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rundata.rows import NEVER
from rundata.tables import RunData
from scenarios.clients import broker_setting
from scenarios.profiles import Measured, Profile, measured
from scenarios.quantities import MILLISECOND
from sim.observed import Observed

_WAITED = 0.65
"""Beyond so much of a wait of its followers a new leader's first acknowledgement waited for it: producers find it in some 0.2 s."""
_BEHIND_OTHERS_NS = 300 * MILLISECOND
"""Leaders that stay answer sooner after an election; what took longer stood behind requests that waited for a new leader's followers."""
_BASE_WEIGHT = 10
"""Failovers of the base count as at most so many samples beside those that were measured."""


def failover(run: RunData, base: Profile) -> dict[str, Measured | float]:
    """Return what crashes showed of elections, discoveries, catching up and rebalances, beside what the base knows of them."""
    seen = Observed.from_run(run)
    crashes = range(len(run.plan.faults))
    election = [seen.elected_ns[n] - seen.fence_ns[n] for n in crashes if n in seen.elected_ns and n in seen.fence_ns]
    takeover = [
        took_ns for n, at_ns in seen.answered_ns.items() if (took_ns := at_ns - seen.elected_ns[n]) < _BEHIND_OTHERS_NS
    ]
    catch_up = [
        seen.back_in_sync_ns[n] - seen.registered_ns[n]
        for n in crashes
        if n in seen.back_in_sync_ns and n in seen.registered_ns
    ]
    leaders = _new_leaders(run, seen)
    followed = {
        (leader.fault, partition)
        for leader in leaders
        if not (leader.were_early or leader.were_parked)
        for partition in leader.partitions
    }
    first: dict[tuple[int, str], int] = {}
    for (fault, who, partition), at_ns in seen.discovered_ns.items():
        if (fault, partition) in followed:
            first[fault, who] = min(at_ns - seen.elected_ns[fault], first.get((fault, who), NEVER))
    producers, members = run.plan.scenario.producers, run.plan.scenario.groups
    # Producers find the new leaders together, so that a crash is one sample of theirs.
    by_crash = [
        [ns for (of, who), ns in first.items() if of == n and who.rpartition("/")[0] in producers] for n in crashes
    ]
    base_weight = min(base.discovery.samples, _BASE_WEIGHT)

    def share(known: float, seen: list[bool]) -> float:
        return round((known * base_weight + sum(seen)) / max(1, base_weight + len(seen)), 3)

    return {
        "election": pooled(base.election, election),
        "discovery": pooled(base.discovery, [int(np.median(each)) for each in by_crash if each]),
        "member_discovery": pooled(
            base.member_discovery, [ns for (_, who), ns in first.items() if who.rpartition("/")[0] in members]
        ),
        "early_followers": share(base.early_followers, [leader.were_early for leader in leaders]),
        "parked_followers": share(base.parked_followers, [leader.were_parked for leader in leaders]),
        "takeover": pooled(base.takeover, takeover),
        "catch_up": pooled(base.catch_up, catch_up),
        "rejoin": pooled(base.rejoining, took) if (took := rejoins(run)) else base.rejoin,
    }


def rejoins(run: RunData) -> list[int]:
    """Return how long each rebalance took from all members' being back (by the coordinator's log) to their having their partitions.

    A member counts whose next news is an assignment; of one rebalance the median counts, since all are told at once.
    """
    found = []
    ends = [
        i for i in run.incidents if i.kind == "rebalance" and i.detail.startswith("rebalance end") and i.time_ns > 0
    ]
    for end in ends:
        until_ns = min(
            (
                i.time_ns
                for i in run.incidents
                if i.kind == "rebalance" and i.where == end.where and i.time_ns > end.time_ns
            ),
            default=NEVER,
        )
        told: dict[str, int] = {}
        for incident in run.incidents:
            if (
                incident.kind == "assignment"
                and incident.where.rpartition("/")[0] == end.where
                and end.time_ns <= incident.time_ns < until_ns
            ):
                told.setdefault(incident.where, incident.time_ns - end.time_ns)
        if told:
            found.append(int(np.median([*told.values()])))
    return found


@dataclass(frozen=True)
class _NewLeader:
    """A broker that took partitions over from one that was lost."""

    fault: int
    partitions: tuple[str, ...]
    were_early: bool
    """Whether its followers asked before it led: then no partition of it acknowledges before they ask again."""
    were_parked: bool
    """Whether they had a fetch under way, or had one again: then none acknowledges before that is over."""


def _new_leaders(run: RunData, seen: Observed) -> list[_NewLeader]:
    """Return the new leaders after each crash, told apart by when the first of their partitions acknowledged."""
    backoff_ns, held_ns = (
        int(broker_setting(run.plan.scenario, name)) * MILLISECOND
        for name in ("replica.fetch.backoff.ms", "replica.fetch.wait.max.ms")
    )
    taken: dict[tuple[int, str], set[str]] = {}
    for fault, elected_ns in seen.elected_ns.items():
        for incident in run.incidents:
            if incident.kind == "election" and seen.fence_ns.get(fault, NEVER) <= incident.time_ns <= elected_ns:
                taken.setdefault((fault, incident.detail), set()).add(incident.where)
    found = []
    for (fault, _leader), partitions in taken.items():
        took_ns = [
            at_ns - seen.elected_ns[fault]
            for (of, who, partition), at_ns in seen.discovered_ns.items()
            if of == fault and partition in partitions and who.rpartition("/")[0] in run.plan.scenario.producers
        ]
        if took_ns:
            were_early = (waited_ns := min(took_ns)) > _WAITED * backoff_ns
            were_parked = waited_ns - were_early * backoff_ns > _WAITED * held_ns
            found.append(_NewLeader(fault, tuple(sorted(partitions)), were_early, were_parked))
    return found


def pooled(base: Measured, samples_ns: Sequence[int]) -> Measured:
    """Return a distribution of the base's quantiles and new samples, the base counting as at most ten."""
    if not samples_ns:
        return base
    weight = min(base.samples, _BASE_WEIGHT)
    known = base.quantile_ns((np.arange(weight) + 0.5) / weight) if weight else np.zeros(0, np.int64)
    together = np.sort(np.concatenate([known, np.asarray(samples_ns, np.int64)]))
    return measured(np.maximum(together, 0)).model_copy(update={"samples": len(samples_ns) + weight})
