"""Who leads which partition and who reads it in a quiet stretch: as control decides it before time 0, without a world in which it could change."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from scenarios.clients import assignor, consumer_settings, topic_setting
from scenarios.plan import Plan
from scenarios.retries import most_partitions, retry_topics
from sim.assignors import Seat, range_assignment, round_robin_assignment, uniform_assignment
from sim.draws import Draws
from sim.world import NONE, Ints

if TYPE_CHECKING:
    from sim.members import Member

Given = list[list[int]]
"""By member: its partitions."""


@dataclass(frozen=True)
class _Reader:
    """All that assignors ask of a member."""

    client_id: str


def leaders(plan: Plan) -> Ints:
    """Return the leader of each partition, topic after topic."""
    return np.asarray([replicas[0] for topic in plan.topics for replicas in plan.replicas(topic)], np.int64)


def has_enough_replicas(plan: Plan) -> bool:
    """Whether no partition refuses writes, or hides them, because it has fewer replicas than `min.insync.replicas`."""
    return all(
        min(map(len, plan.replicas(topic))) >= int(topic_setting(plan.scenario, topic, "min.insync.replicas"))
        for topic in plan.topics
    )


def owners(plan: Plan, draws: Draws, group: int, first_place: Ints) -> Ints:
    """Return by partition which member of a group has it, counted from 0; NONE where the group does not read it."""
    scenario = plan.scenario
    name = list(scenario.groups)[group]
    what = scenario.groups[name]
    assert not retry_topics(scenario, name), "a quiet stretch has no retry topics"
    topics = [
        [int(first_place[plan.topics.index(topic)]) + number for number in range(most_partitions(scenario, topic))]
        for topic in what.topics
    ]
    partitions = sorted(partition for of_topic in topics for partition in of_topic)
    if consumer_settings(scenario, name).protocol == "consumer":
        order = [number - 1 for number in draws.join_order(group)]
        given = joined_one_by_one(order, partitions)
    else:
        seats = [Seat(cast("Member", _Reader(f"{name}-{number}"))) for number in range(1, what.members + 1)]
        match assignor(scenario, name):
            case "range":
                assigned = range_assignment(seats, topics)
            case "roundrobin":
                assigned = round_robin_assignment(seats, [p for of_topic in topics for p in of_topic])
            case "sticky" | "cooperative-sticky":
                by_name = sorted(seats, key=lambda seat: seat.member.client_id)
                assigned = uniform_assignment(by_name, {}, partitions)
        given = [assigned[seat] for seat in seats]
    found = np.full(sum(most_partitions(scenario, topic) for topic in plan.topics), NONE, np.int64)
    for member, own in enumerate(given):
        found[own] = member
    return found


def joined_one_by_one(order: list[int], partitions: list[int]) -> Given:
    """Return what the uniform assignor gives to members that join in an order, each followed by a new assignment.

    As `uniform_assignment` for each of them, of which only what changes is worked out: hundreds of members and ten thousand
    partitions would take it minutes.
    """
    given: Given = [[] for _ in order]
    free = list(partitions)
    for number in range(1, len(order) + 1):
        share, extras = divmod(len(partitions), number)
        due, more = extras, list[int]()
        # Those who had more than their share keep one more as long as such are left; what is above that becomes free.
        for place in range(number):
            own = given[order[place]]
            keeps = share + (due > 0 and len(own) > share)
            due -= keeps > share
            if len(own) > keeps:
                more += own[keeps:]
                del own[keeps:]
        free = sorted(free + more)
        rest = iter(free)
        taken = 0
        for place in range(number):
            own, wanted = given[order[place]], share
            if due and len(own) <= share:
                wanted, due = share + 1, due - 1
            missing = wanted - len(own)
            if missing > 0:
                own += [next(rest) for _ in range(missing)]
                own.sort()
                taken += missing
        free = free[taken:]
    return given
