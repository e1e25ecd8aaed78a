"""Where logs end that differ: what a replica has that does not fetch, what an unclean election cuts off, and which offsets follow.

The world counts records of a partition without ever using a number twice: where an unclean election cuts a log back, what was cut off keeps its
numbers, and what is appended then comes behind. Its offsets are those numbers less what was cut off.
"""

from typing import TYPE_CHECKING

import numpy as np

from scenarios.clients import topic_setting
from scenarios.quantities import SECOND
from scenarios.targets import LogPosition
from sim import kernel
from sim import world as at
from sim.world import Ints

DIRTY_NS, WRITES_BACK_NS = 30 * SECOND, 5 * SECOND
"""How long Linux keeps what is written in memory, and how often it looks (vm.dirty_expire_centisecs, vm.dirty_writeback_centisecs)."""

if TYPE_CHECKING:
    from sim.replicas import Replicas
    from sim.system import System


class LogEnds:
    """Logs of a system's replicas that are out of sync, and offsets after unclean elections."""

    def __init__(self, system: "System") -> None:
        self.system, scenario = system, system.plan.scenario
        unclean = {t for t in scenario.topics if topic_setting(scenario, t, "unclean.leader.election.enable")}
        self.unclean = [p for p in system.partitions if p.is_users and system.owner_of(p.topic) in unclean]
        """Partitions that are led by anybody rather than by nobody."""
        self.kept: dict[tuple[int, int], int] = {}
        """By partition and a replica that does not fetch: up to where it has the log."""
        self.cuts: dict[int, list[tuple[int, int]]] = {}
        """By partition: from which number on, and how far, its offsets lie below the numbers."""
        self.written: dict[tuple[int, int], int] = {}
        """By partition and a replica whose machine died: up to where the log was on its disk."""

    # ---- what replicas have ------------------------------------------------------------------------------------------

    def stops(self, broker: int, leaders: set[int] | None = None) -> None:
        """Note what a broker has of partitions, of certain leaders or all, that it fetches no longer."""
        for partition in self.unclean:
            leader = int(self.system.world.part[partition.number, at.LEADER])
            if broker in partition.replicas and (leaders is None or leader in leaders):
                self.leaves(partition, broker)

    def leaves(self, partition: "Replicas", broker: int) -> None:
        """Note what a replica has that is not in sync any more, unless that is known."""
        if partition not in self.unclean or (partition.number, broker) in self.kept:
            return
        world, now = self.system.world, self.system.clock.now
        end = int(world.part[partition.number, at.LOG_LEN])
        while end > 0 and world.request[world.log[partition.number, end - 1, at.L_REQUEST], at.R_REPLICATED] > now:
            end -= 1
        self.kept[partition.number, broker] = end

    def fetches(self, partition: "Replicas") -> None:
        """Forget what replicas had that have caught up."""
        leader = int(self.system.world.part[partition.number, at.LEADER])
        for broker in partition.in_sync:
            if broker not in self.system.unavailable and (leader, broker) not in self.system.parted:
                self.kept.pop((partition.number, broker), None)
                self.written.pop((partition.number, broker), None)

    def begins_empty(self, partition: "Replicas", brokers: list[int]) -> None:
        """Note that new replicas have nothing yet."""
        if partition in self.unclean:
            self.kept.update(dict.fromkeys(((partition.number, broker) for broker in brokers), 0))

    def drops(self, partition: "Replicas") -> None:
        """Forget what brokers had that are no replicas any more."""
        for broker in [b for number, b in self.kept if number == partition.number and b not in partition.replicas]:
            del self.kept[partition.number, broker]

    def was_cut(self, partition: int) -> None:
        """Note that a log became shorter: nobody has more of it."""
        end = int(self.system.world.part[partition, at.LOG_LEN])
        for (number, broker), kept in self.kept.items():
            if number == partition:
                self.kept[number, broker] = min(kept, end)

    def may_be_led_by(self, broker: int, partition: "Replicas") -> bool:
        """Whether a broker may lead a partition although it is out of sync."""
        return partition in self.unclean and broker in partition.replicas

    # ---- machines that die ---------------------------------------------------------------------------------------------

    def loses_cache(self, broker: int) -> None:
        """Note what a broker has on its disk, as its machine dies."""
        first_ns = self.system.draws.writes_back_ns(broker)
        for partition in self.system.partitions:
            if partition.is_users and broker in partition.replicas:
                self.written[partition.number, broker] = self._written(partition.number, first_ns)

    def _written(self, number: int, first_ns: int) -> int:
        """Return up to where a log is on a disk: the kernel wakes every 5 s, and writes a file of which something waits for 30 s as a whole."""
        world, now = self.system.world, self.system.clock.now
        records = world.log[number, : int(world.part[number, at.LOG_LEN])]
        appended_ns = world.request[records[:, at.L_REQUEST], at.R_APPENDED]
        end = 0
        while end < len(appended_ns):
            waits_ns = int(appended_ns[end]) + DIRTY_NS - first_ns
            wakes_ns = first_ns + max(0, -(-waits_ns // WRITES_BACK_NS)) * WRITES_BACK_NS
            if wakes_ns > now:
                break
            end = int(np.searchsorted(appended_ns, wakes_ns, side="right"))
        return end

    def cut_to_written(self, partition: "Replicas", broker: int) -> int:
        """Cut a log back to what its leader, which was alone in sync, has on its disk; return how many visible records are lost."""
        end = int(self.system.world.part[partition.number, at.LOG_LEN])
        written = self.written.pop((partition.number, broker), end)
        if written >= end:
            return 0
        self.kept[partition.number, broker] = written
        return self.cut_to(partition, broker)

    # ---- unclean elections -------------------------------------------------------------------------------------------

    def cut_to(self, partition: "Replicas", broker: int) -> int:
        """Cut a log back to what its new leader has; return how many visible records are lost."""
        world, number = self.system.at_now(), partition.number
        kernel.cut_to_visible(world, number)
        self.was_cut(number)
        end = int(world.part[number, at.VISIBLE_END])
        part = world.part[number]
        begin = max(min(self.kept.pop((number, broker), end), end), int(part[at.LOG_START]))
        states = world.log[number, begin:end, at.L_TXN]
        cut_off, lost = begin + np.flatnonzero(states != at.TRUNCATED), int(np.count_nonzero(states >= at.NONE))
        if not len(cut_off):
            return 0
        self._keep_by_offset(number, cut_off, end)
        world = self.system.at_now()
        segments = self.system.segments.of(partition)
        shift = end - self.offset_of(number, int(cut_off[0]))
        self.cuts.setdefault(number, []).append((end, shift))
        self.erase(number, cut_off, at.TRUNCATED)
        self.system.segments.count_again(number, segments)
        while part[at.STABLE_END] < end and not self._is_open(int(world.log[number, part[at.STABLE_END], at.L_TXN])):
            part[at.STABLE_END] += 1
        return lost

    def _keep_by_offset(self, partition: int, cut_off: Ints, end: int) -> None:
        """Let what share groups know of offsets hold for the records that come to have them: it is kept by offset, and not in the log."""
        world, more = self.system.world, len(cut_off)
        for group in range(len(world.group)):
            if not world.reads[group, partition] or world.group[group, at.LOCK_NS] == 0:
                continue
            known = np.flatnonzero(world.share[group, partition, end:] | world.left[group, partition, end:])
            last = end + more + (int(known[-1]) + 1 if len(known) else 0)
            while last > world.share.shape[-1]:
                world = self.system.with_longer_logs()
            for states in (world.share[group, partition], world.left[group, partition]):
                states[end + more :] = states[end:-more].copy()
                states[end : end + more] = states[cut_off]

    def erase(self, partition: int, numbers: Ints, how: int) -> None:
        """Take records out of a log, by compaction or since no leader has them any more; nobody waits for those."""
        world = self.system.at_now()
        world.scalars[at.HOLES] = 1
        world.log[partition, numbers, at.L_TXN] = how
        for group in range(len(world.group)):
            if world.reads[group, partition]:
                closed = world.closed[group, partition]
                world.scalars[at.OPEN] -= np.count_nonzero(closed[numbers] == 0)
                closed[numbers] = 1
        if len(world.share):
            kernel.give_up_gone(world, partition)
        for replayer in self.system.replayers:
            replayer.looks_again()

    def _is_open(self, transaction: int) -> bool:
        return transaction >= 0 and int(self.system.world.txn[transaction, at.TX_STATE]) == at.TX_OPEN

    # ---- places and offsets -----------------------------------------------------------------------------------------------------

    def number_at(self, partition: int, place: LogPosition) -> int:
        """Return the number of the record at a place in a partition, among what is visible."""
        part = self.system.world.part[partition]
        first, end = int(part[at.LOG_START]), int(part[at.VISIBLE_END])
        match place.place:
            case "earliest":
                return first
            case "latest":
                return end
            case "offset":
                return min(max(self.number_of(partition, place.value), first), end)
            case "ago":
                records = self.system.world.log[partition, first:end]
                is_late = self.system.wrong_clocks.times_of(records) >= self.system.clock.now - place.value
                late = np.flatnonzero(is_late & (records[:, at.L_TXN] >= at.NONE))
                return first + int(late[0]) if len(late) else end

    def offset_of(self, partition: int, number: int) -> int:
        """Return the offset of a record by its number."""
        return int(self.offsets_of(np.array([partition]), np.array([number]))[0])

    def offsets_of(self, partitions: Ints, numbers: Ints) -> Ints:
        """Return the offsets of records by their numbers."""
        offsets = numbers.copy()
        for partition, cuts in self.cuts.items():
            for from_number, shift in cuts:
                behind = (partitions == partition) & (numbers >= from_number)
                offsets[behind] = numbers[behind] - shift
        return offsets

    def number_of(self, partition: int, offset: int) -> int:
        """Return the number of the latest record that had an offset."""
        for from_number, shift in reversed(self.cuts.get(partition, [])):
            if offset + shift >= from_number:
                return offset + shift
        return offset
