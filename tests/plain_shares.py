"""Share groups of the plain model: records that members acquire for a while, one by one acknowledged, released or given up on."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import simpy

from plain_clock import Control, Phase
from plain_groups import Assignment, Group
from plain_member_state import Delivery, Read, Seat
from rundata.rows import Kind
from scenarios.clients import broker_setting
from scenarios.quantities import MILLISECOND

if TYPE_CHECKING:
    from plain_brokers import Partition
    from plain_members import Member

Process = Generator[simpy.Event, Any, None]


@dataclass(eq=False)
class Acquisition:
    """Records of one partition that a member has for a while."""

    member: "Member"
    partition: "Partition"
    offsets: list[int] = field(default_factory=list)


class ShareGroup(Group):
    """A share group: who is a member, who reads which partitions, and who has acquired which record."""

    is_share = True

    def _begin(self) -> None:
        scenario = self.model.plan.scenario
        self.lock_ns, self.limit, self.most_locks = (
            int(broker_setting(scenario, f"group.share.{name}")) * factor
            for name, factor in (
                ("record.lock.duration.ms", MILLISECOND),
                ("delivery.count.limit", 1),
                ("partition.max.record.locks", 1),
            )
        )
        self.holder: dict[tuple[Partition, int], Acquisition] = {}
        self.counts: dict[tuple[Partition, int], int] = {}
        self.done: set[tuple[Partition, int]] = set()
        self.acquisitions: list[Acquisition] = []
        self.kept: dict[tuple[Partition, int], tuple[bool, int]] = {}
        """By partition and offset of what was cut off: whether that was done, and how often it was delivered."""
        for member in self.first_members:
            member.start(assigned=True)
        self.joined = [self.all_members[number - 1].seat for number in self.model.draws.join_order(self.code)]
        for seat, partitions in self._shares().items():
            seat.member.gets(partitions)

    def _shares(self) -> Assignment:
        members, partitions = len(self.joined), self._known(self.partitions)
        return {
            seat: [
                partition
                for place, partition in enumerate(partitions)
                if (
                    index % len(partitions) == place
                    if members > len(partitions) and self.model.rules.partitions_are_shared
                    else place % members == index
                )
            ]
            for index, seat in enumerate(self.joined)
        }

    def _reassign(self) -> None:
        number, self.rebalances = self.rebalances, self.rebalances + 1
        self.model.incident("rebalance", self.name)
        for seat, partitions in self._shares().items():
            self.model.fired["partition shared"] += len(self.joined) > len(self._known(self.partitions))
            self.clock.process(self._hear(seat, partitions, number))

    def _hear(self, seat: Seat, partitions: list["Partition"], number: int) -> Process:
        yield self.clock.control(self.clock.now + self._learn(seat, number), Control.rebalance, seat.member.code)
        yield from self._until_heard(seat)
        if number == self.rebalances - 1 and seat.is_live:
            self.model.incident("assignment", seat.member.name, " ".join(map(str, partitions)))
            seat.member.reads(partitions)

    # ---- records ---------------------------------------------------------------------------------------------------

    def available(self, partition: "Partition") -> list[int]:
        """Return the first run of records that a member can acquire."""
        start = self.committed.get(partition, 0)
        found: list[int] = []
        there = [n for n in range(start, partition.visible_end) if partition.log[n].gone != "cut off"]
        for offset in there[: self.most_locks if self.model.rules.most_locks else None]:
            place = (partition, offset)
            if self.is_given_up(place):
                continue
            if place in self.holder or place in self.done:
                if found and self.model.rules.one_run:
                    break
                continue
            found.append(offset)
        return found

    def acquire(self, member: "Member", reads: list[Read]) -> list[Read]:
        """Let a fetch acquire what it found, no more than a poll takes."""
        found: list[Read] = []
        by_partition: dict[Partition, Acquisition] = {}
        for read in reads[: self.settings.max_poll_records if self.model.rules.most_acquired else None]:
            if read.partition not in by_partition:
                by_partition[read.partition] = Acquisition(member, read.partition)
            acquisition = by_partition[read.partition]
            place = (read.partition, read.offset)
            acquisition.offsets.append(read.offset)
            self.holder[place] = acquisition
            self.counts[place] = self.counts.get(place, 0) + 1
            found.append(Read(read.event, read.partition, read.offset, read.ownership, read.due_ns, acquisition))
        for acquisition in by_partition.values():
            self.acquisitions.append(acquisition)
            if self.model.rules.lock_ends:
                self.clock.process(self._lock(acquisition))
        return found

    def _lock(self, acquisition: Acquisition) -> Process:
        yield self.clock.at(self.clock.now + self.lock_ns, Phase.end)
        if self._release_run(acquisition):
            self.model.fired["lock over"] += 1
            self._moved(acquisition.member, acquisition.partition, self.clock.now)

    def _release(self, place: tuple["Partition", int]) -> None:
        """Let a record be acquired again, or be given up on where it was delivered too often, or is not in the log any more."""
        del self.holder[place]
        if self.counts[place] >= self.limit and self.model.rules.delivery_limit:
            self.model.fired["delivered too often"] += 1
            self._finish(place)
        elif self._is_not_there(place):
            self._finish(place)

    def _is_not_there(self, place: tuple["Partition", int]) -> bool:
        """Whether a record is deleted, or compaction took it out."""
        rules, (partition, offset) = self.model.rules, place
        is_gone = bool(partition.log[offset].gone) and rules.gone_given_up
        return is_gone or (offset < partition.start and rules.deleted_given_up)

    def give_up_below(self, partition: "Partition", offset: int) -> None:
        """Give up on what can be acquired before an offset, since it is deleted; what somebody has stays with him."""
        if not self.model.rules.deleted_given_up:
            return
        for below in range(partition.start, offset):
            if (partition, below) not in self.holder and (partition, below) not in self.done:
                self.model.fired["deleted from a share group"] += 1
                self.done.add((partition, below))
        self.committed[partition] = self._start_of(partition)

    def give_up_gone(self, partition: "Partition") -> None:
        """Give up on what can be acquired of what compaction took out of a log; what somebody has stays with him."""
        if not self.model.rules.gone_given_up:
            return
        for offset in range(self.committed.get(partition, 0), partition.visible_end):
            place = (partition, offset)
            if partition.log[offset].gone and place not in self.holder and place not in self.done:
                self.model.fired["compacted in a share group"] += 1
                self.done.add(place)
        self.committed[partition] = self._start_of(partition)

    def cut_off(self, partition: "Partition", numbers: list[int]) -> None:
        """Keep what is known of the offsets of records that are about to be cut off: it is not with the leader of before, and goes by offsets."""
        for number in numbers:
            place = (partition, number)
            assert place not in self.holder
            if self.model.rules.kept_by_offset:
                self.kept[partition, partition.offset(number)] = place in self.done, self.counts.get(place, 0)

    def sees(self, partition: "Partition", begin: int, end: int) -> None:
        """Take records that became visible for what was known of their offsets before a cut."""
        for number in range(begin, end):
            place = (partition, number)
            is_done, count = self.kept.pop((partition, partition.offset(number)), (False, 0))
            if is_done:
                self.model.fired["known before it was there"] += 1
                self._finish(place)
            elif count:
                self.model.fired["known before it was there"] += 1
                self.counts[place] = count
        self.committed[partition] = self._start_of(partition)

    def _start_of(self, partition: "Partition") -> int:
        """Return where the partition begins: behind all that is done."""
        offset = self.committed.get(partition, 0)
        while offset < partition.visible_end and (partition, offset) in self.done:
            offset += 1
        return offset

    def is_given_up(self, place: tuple["Partition", int]) -> bool:
        """Whether nobody sees a record any more that is not in the log."""
        return place in self.done and bool(place[0].log[place[1]].gone)

    def _finish(self, place: tuple["Partition", int]) -> None:
        self.done.add(place)
        self.model.open.discard((self, *place))

    def _release_run(self, acquisition: Acquisition) -> bool:
        places = [(acquisition.partition, offset) for offset in acquisition.offsets]
        held = [place for place in places if self.holder.get(place) is acquisition]
        for place in held:
            self._release(place)
        return bool(held)

    def release_all(self, member: "Member") -> None:
        """Release all that a member has acquired: it is gone, and its connections with it."""
        if not self.model.rules.release_of_the_dead:
            return
        for acquisition in self.acquisitions:
            if acquisition.member is member:
                self.model.fired["released with its member"] += self._release_run(acquisition)
        for partition in self.partitions:
            self._moved(member, partition, self.clock.now)

    def release_partition(self, partition: "Partition") -> None:
        """Release all that is acquired of a partition: its leader, which alone knew of these deliveries, is gone."""
        for acquisition in self.acquisitions if self.model.rules.release_with_the_leader else ():
            if acquisition.partition is not partition:
                continue
            for offset in acquisition.offsets:
                if self.holder.get((partition, offset)) is acquisition and self.model.rules.forgets_deliveries:
                    self.model.fired["deliveries forgotten"] += 1
                    self.counts[partition, offset] -= 1
            if self._release_run(acquisition):
                self.model.fired["released with its leader"] += 1
                self._moved(acquisition.member, partition, self.clock.now)

    def take(self, member: "Member", answers: Iterable[Delivery], begun_ns: int) -> None:
        """Let acknowledgements count, as far as their records are still acquired from where they were."""
        for delivery in answers:
            read = delivery.read
            place = (read.partition, read.offset)
            if self.holder.get(place) is not read.acquisition and self.model.rules.late_answers_do_not_count:
                self.model.fired["acknowledged too late"] += 1
            elif delivery.released and self.model.rules.handlers_release:
                self.model.fired["released by its handler"] += 1
                self._release(place)
            else:
                self.holder.pop(place, None)
                self._finish(place)
        for partition in self.partitions:
            self._moved(member, partition, begun_ns)

    def _moved(self, member: "Member", partition: "Partition", begun_ns: int) -> None:
        """Let the partition's start move behind what is done."""
        offset = self._start_of(partition)
        if offset > self.committed.get(partition, 0):
            times = {"started_ns": begun_ns, "ended_ns": self.clock.now}
            self.model.row(Kind.commit, member.code, partition, group=self.code, offset=offset, **times)
            self.committed[partition] = offset
        self.model.news.give()
