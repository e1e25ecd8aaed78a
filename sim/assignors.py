"""Kafka's assignors: which member of a group is meant to have which partition."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.members import Member


@dataclass(eq=False)
class Seat:
    """A place in a group as the coordinator sees it; it outlasts a crash of its member until the session is over."""

    member: "Member"
    is_live: bool = True
    absences: int = 0
    """How often a static member came back to it."""
    hangs: int = 0
    """Counts begins and ends of pauses."""


Assignment = dict[Seat, list[int]]


def range_assignment(seats: list[Seat], topics: list[list[int]]) -> Assignment:
    """Return Kafka's range assignor: per topic, consecutive partitions to members in the order of client ids, the first ones one more."""
    in_order = sorted(seats, key=lambda seat: seat.member.client_id)
    given: Assignment = {seat: [] for seat in in_order}
    for partitions in topics if in_order else []:
        share, extras = divmod(len(partitions), len(in_order))
        begin = 0
        for index, seat in enumerate(in_order):
            end = begin + share + (index < extras)
            given[seat] += partitions[begin:end]
            begin = end
    return given


def round_robin_assignment(seats: list[Seat], partitions: list[int]) -> Assignment:
    """Return Kafka's round-robin assignor: all partitions dealt to the members in the order of client ids."""
    in_order = sorted(seats, key=lambda seat: seat.member.client_id)
    return {seat: partitions[index :: len(in_order)] for index, seat in enumerate(in_order)}


def uniform_assignment(seats: list[Seat], before: Assignment, partitions: list[int]) -> Assignment:
    """Return the uniform assignor: members in the order of joining keep what they had up to their share, the rest is dealt out."""
    if not seats:
        return {}
    share, extras = divmod(len(partitions), len(seats))
    given: Assignment = {}
    for seat in seats:
        had = [partition for partition in partitions if partition in before.get(seat, [])]
        keeps = share + (extras > 0 and len(had) > share)
        extras -= keeps > share
        given[seat] = had[:keeps]
    kept = {partition for partitions_of in given.values() for partition in partitions_of}
    rest = iter([partition for partition in partitions if partition not in kept])
    for seat in seats:
        due = share
        if extras and len(given[seat]) <= share:
            due, extras = share + 1, extras - 1
        given[seat] += [next(rest) for _ in range(due - len(given[seat]))]
    return given
