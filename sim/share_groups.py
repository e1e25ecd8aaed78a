"""Share groups, as SimPy processes: every member reads some partitions beside others. What is acquired by whom is the kernel's."""

from sim.assignors import Assignment, Seat
from sim.clock import Control
from sim.groups import Group, Process


def share_assignment(seats: list[Seat], partitions: list[int]) -> Assignment:
    """Return who reads what: as many members on each partition as on any other, as few as that takes."""
    members = len(seats)
    if members > len(partitions):
        return {seat: [partitions[index % len(partitions)]] for index, seat in enumerate(seats)}
    return {seat: partitions[index::members] for index, seat in enumerate(seats)}


class ShareGroup(Group):
    """A share group: who is a member, and who reads which partitions."""

    def _begin(self) -> None:
        """Have everybody read from time 0."""
        for member in self.first_members:
            member.start(assigned=True)
        self.joined = [self.members[number - 1].seat for number in self.system.draws.join_order(self.code)]
        self.target = share_assignment(self.joined, self._known(self.partitions))
        for seat, partitions in self.target.items():
            self._tell_assignment(seat, partitions)
            seat.member.gets(partitions)

    def _reassign(self, cause: str) -> None:
        """Decide who is to read what; each hears of it at its next heartbeat."""
        number, self.rebalances = self.rebalances, self.rebalances + 1
        self.system.incident("rebalance", self.name, cause=cause)
        self.target = share_assignment(self.joined, self._known(self.partitions))
        for seat, partitions in self.target.items():
            self.clock.process(self._hear(seat, partitions, number))

    def _hear(self, seat: Seat, partitions: list[int], number: int) -> Process:
        yield self.clock.control(self.clock.now + self._learn(seat, number), Control.rebalance, seat.member.code)
        yield from self._until_heard(seat)
        if number == self.rebalances - 1 and seat.is_live:
            self._tell_assignment(seat, partitions)
            seat.member.reads(partitions)
