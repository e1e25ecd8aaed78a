"""Replays: what lies in a group's topics at an instant is handled once more, by a process beside its members. The kernel moves its records."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from sim import kernel
from sim import world as at
from sim.clock import Signal
from sim.dependencies import interval_ns
from sim.replaying import Replaying
from sim.world import NONE, World

if TYPE_CHECKING:
    from sim.system import System


class Replayer:
    """A process that reads from given offsets up to what is there, with the handler of a group, and commits nothing."""

    def __init__(self, system: "System", what: Replaying) -> None:
        self.system, self.code, self.name = system, what.code, what.name
        self.index = what.code - int(system.world.scalars[at.PRODUCERS])
        self.group = system.groups[what.group]
        self.is_busy = self.was_stopped = False
        self.ended = Signal(system.clock)
        self._first_row = 0

    def begin(self, start_of: Callable[[int], int], rate_hz: float | None) -> None:
        """Read each partition of the group's own topics from an offset up to what is visible now."""
        w = self.system.at_now()
        row = w.member[self.index]
        self.is_busy, self.was_stopped, self._first_row = True, False, int(w.scalars[at.ROWS])
        row[[at.RING_HEAD, at.RING_COUNT, at.RING_EVENTS, at.BATCH_LEFT]] = 0
        w.own_marked[self.index] = NONE
        w.breaker[self.index] = 0
        w.mp[self.index] = 0
        row[at.REPLAYS], row[at.PACE_NS] = 1, 0 if rate_hz is None else interval_ns(rate_hz)
        row[at.PACED_NS] = self.system.clock.now
        row[at.VERSION] = w.member[self.group.members[0].index, at.VERSION]
        self.system.growth.reader_starts(self.code)
        for partition in self.group.own_partitions:
            self._owns(w, partition, start_of(partition))
        row[at.GENERATION] += 1
        w.mb[self.index, :, at.PARKED] = at.IS_PARKED
        w.mb[self.index, :, at.PARKED_NS] = self.system.clock.now
        w.answer[self.index, :, :, at.A_TO] = w.answer[self.index, :, :, at.A_FROM]
        kernel.enter_poll_loop(w, self.index)
        kernel.wake_fetches(w, self.index)

    def _owns(self, w: World, partition: int, start: int) -> None:
        end = int(w.part[partition, at.VISIBLE_END])
        if end <= start:
            return
        self.group.ownerships += 1
        mp = w.mp[self.index, partition]
        mp[at.OWNED], mp[at.READ_TO] = self.group.ownerships, end
        mp[[at.POSITION, at.GIVEN, at.FINISHED, at.ASKED, at.HELD_FROM, at.HELD_TO, at.COLLECTED]] = start

    def do_duty(self) -> None:
        """End: everything that was there is through."""
        w = self.system.at_now()
        row = w.member[self.index]
        row[at.GENERATION] += 1
        row[[at.RING_COUNT, at.RING_EVENTS, at.BATCH_LEFT]] = 0
        row[at.STATE] = at.IDLE
        w.worker[row[at.FIRST_WORKER], at.WK_STATE] = at.AT_WORK
        w.mb[self.index, :, at.PARKED] = at.ON_ITS_WAY
        w.mp[self.index] = 0
        self.is_busy = False
        self.ended.give()

    def stop(self) -> None:
        """End by the policy for failures."""
        self.was_stopped = True
        self.do_duty()

    def dies(self) -> None:
        """Die of an event; nobody starts a replay again."""
        self.system.at_now().member[self.index, at.LIFE] += 1
        self.stop()

    def settled(self) -> None:
        """Go on after a commit, which a replay does not make."""
        raise AssertionError(f"{self.name} committed")

    def evict(self) -> None:
        """Be put out of the group, of which a replay is no member."""
        raise AssertionError(f"{self.name} was evicted")

    def raises(self) -> None:
        """End by an error of its client, of which a replay has none: it goes on with the first record that is left."""
        raise AssertionError(f"{self.name} raised")

    def looks_again(self) -> None:
        """See whether anything is left to read."""
        if self.is_busy and self.system.world.member[self.index, at.STATE] == at.POLLING:
            kernel.poll_at(self.system.at_now(), self.index, self.system.clock.now)

    def words(self) -> str:
        """Say what was done since the begin."""
        w = self.system.world
        rows = w.rows[self._first_row : int(w.scalars[at.ROWS])]
        delivered = np.count_nonzero(
            (rows[:, at.O_PROCESS] == self.code) & (rows[:, at.O_KIND] == kernel.KIND_DELIVERY)
        )
        stopped = ", and stopped there by the handler's policy" if self.was_stopped else ""
        return f"{delivered} events handed over once more{stopped}"
