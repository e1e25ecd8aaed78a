"""The members of a group in a quiet stretch, block by block.

What is kept from one block to the next, apart from the events under way (`ring`): each member's records that have come and are not
handled, when it calls next, is back from its call, and commits next, and the ends of its last effect and commit; of each of its lanes (one
for each broker) the records that it has not got, the answer that is on its way, and from when on its next fetch waits at the broker; by partition
how many records were given to the application, are done, are done within the load's time, and are in a commit; of each random input
what is drawn and not used; and of commits those that may still matter when the run's end is known.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scenarios.plan import Plan
from sim import world as at
from sim.building import Builder
from sim.draws import Draws
from sim.stretches import reading_kernel as kernel
from sim.stretches.inputs import Inputs
from sim.stretches.ring import OF_GROUPS, Ring
from sim.stretches.senders import TakesMoreError
from sim.stretches.sending_kernel import ROOM, SHORT
from sim.world import NEVER, NONE, Ints

_COMMIT_ROWS = 1 << 14


@dataclass(frozen=True, eq=False)
class Committed:
    """Commits of a group, those of each partition in the order of time: when each ended, of which partition, its offset, and when it began."""

    ended_ns: Ints
    partition: Ints
    offset: Ints
    begun_ns: Ints

    @classmethod
    def joined(cls, parts: "list[Committed]") -> "Committed":
        """Return those of all parts; of none where there is none."""
        names = ("ended_ns", "partition", "offset", "begun_ns")
        none = [np.zeros(0, np.int64)]
        return cls(*(np.concatenate([*none, *(getattr(each, name) for each in parts)]) for name in names))

    def where(self, chosen: Any) -> "Committed":
        """Return some of them."""
        return Committed(self.ended_ns[chosen], self.partition[chosen], self.offset[chosen], self.begun_ns[chosen])


NO_COMMITS = Committed.joined([])


class Readers:
    """A group's members, and what became of what they read, up to an instant."""

    def __init__(self, plan: Plan, builder: Builder, draws: Draws, group: int, owner: Ints, leads: Ints, ring: Ring):
        """Take a plan without events, who owns which partition and who leads it, and where events lie."""
        self._ring, self._group, self._duration_ns = ring, group, plan.scenario.duration
        names = list(plan.scenario.groups)
        members, parts = plan.scenario.groups[names[group]].members, len(leads)
        lanes, nodes = builder.brokers + 1, range(1, builder.brokers + 1)
        first = builder.processes + builder.readers.index(names[group])
        codes = range(first, first + members)
        self.reads = owner != NONE
        """By partition: whether somebody reads it."""
        self._lane_of = np.where(self.reads, owner * lanes + leads, NONE)
        self._fetches = Inputs(
            {
                "fetch": [[draws.fetch(code, broker) for broker in nodes] for code in codes],
                "turnaround": [[draws.turnaround(code, broker) for broker in nodes] for code in codes],
            },
            with_brokers=True,
            last_is_enough=("turnaround",),
        )
        self._wakes = Inputs({"wake": [[draws.wake(code)] for code in codes]}, with_brokers=False)
        self._tries = Inputs({"overshoot": [[draws.overshoot(code)] for code in codes]}, with_brokers=False)
        self._commits = Inputs({"commit_time": [[draws.commit(code)] for code in codes]}, with_brokers=False)
        own = np.flatnonzero(self.reads)
        own = own[np.argsort(owner[own], kind="stable")]
        counts = np.bincount(owner[own], minlength=members)
        settings, profile = builder._groups()[0][group].copy(), draws.profile
        lane = np.zeros((members, lanes, kernel.N_LANE), np.int64)
        lane[:, :, kernel.G_ARRIVES_NS] = NEVER
        reader = np.zeros((members, kernel.N_READER), np.int64)
        reader[:, kernel.M_DUE] = settings[at.INTERVAL]
        scalars = np.zeros(kernel.N_READING, np.int64)
        scalars[kernel.C_LARGEST_BYTES], scalars[kernel.C_LAST_NS] = 1, self._duration_ns
        nothing = np.zeros(0, np.int64)
        self._state = kernel.Reading(
            s=scalars,
            group=settings,
            times=np.array([round(profile.handle_us * 1000), round(profile.poll_us * 1000)], np.int64),
            lane=lane,
            reader=reader,
            own=own.astype(np.int64),
            own_first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            given=np.zeros(parts, np.int64),
            finished=np.zeros(parts, np.int64),
            in_time=np.zeros(parts, np.int64),
            asked=np.zeros(parts, np.int64),
            came=nothing,
            seen=nothing,
            event=nothing,
            part=nothing,
            commits=np.zeros((_COMMIT_ROWS + 2 * int(counts.max(initial=0)), kernel.N_COMMIT_ROW), np.int64),
            **self._columns(),
            **self._fetches.arrays(),
            **self._wakes.arrays(),
            **self._tries.arrays(),
            **self._commits.arrays(),
        )
        self._last = np.zeros(parts, np.int64)
        """By partition: the last offset among the commits that were begun within the load's time."""
        self._new: list[Committed] = []
        self._late: list[Committed] = []
        self._open: list[Committed] = []

    def _columns(self) -> dict[str, Any]:
        return {name: self._ring.column(name)[self._group] for name in OF_GROUPS}

    # ---- block by block ----------------------------------------------------------------------------------------------

    def take(self, plan: Plan, *, has_grown: bool) -> None:
        """Take a block of events; `has_grown` says that the ring has."""
        scalars = self._state.s
        scalars[kernel.C_LARGEST_BYTES] = max(int(scalars[kernel.C_LARGEST_BYTES]), int(plan.size_bytes.max(initial=1)))
        if has_grown:
            self._state = self._state._replace(**self._columns())

    def go_on(self, appended: Ints, until_ns: int) -> None:
        """Read everything until an instant; `appended` are the events that came into their logs since the one before."""
        self._lay_out(appended)
        scalars = self._state.s
        scalars[kernel.C_MEMBER] = 0
        while True:
            kernel.read_all(self._state, until_ns)
            problem, scalars[kernel.C_PROBLEM] = int(scalars[kernel.C_PROBLEM]), 0
            if not problem:
                break
            if problem == SHORT:
                self._draw_on()
            elif problem == ROOM:
                self._more_rows()
            else:
                raise TakesMoreError
        self._put_aside()
        self._forget()

    def _lay_out(self, appended: Ints) -> None:
        state, ring = self._state, self._ring
        state.s[kernel.C_MASK] = ring.mask
        lanes = self._lane_of[ring.column("part")[appended & ring.mask]]
        shape = state.lane.shape[:2]
        more = np.bincount(lanes[lanes != NONE], minlength=shape[0] * shape[1]).reshape(shape).astype(np.int64)
        waiting = (state.reader[:, kernel.M_CAME] - state.reader[:, kernel.M_DONE]).sum()
        in_lanes = (state.lane[:, :, kernel.G_END] - state.lane[:, :, kernel.G_FROM]).sum()
        room = int(waiting + in_lanes + more.sum())
        came, event, seen, part = (np.empty(room, np.int64) for _ in range(4))
        kernel.make_room(state, came, event, seen, part, more)
        self._state = state._replace(came=came, event=event, seen=seen, part=part)
        kernel.lay_out(self._state, appended, ring.column("part"), ring.column("visible"), self._lane_of)

    def _draw_on(self) -> None:
        state = self._state
        member = state.reader[state.s[kernel.C_MEMBER]]
        most = min(int(member[kernel.M_CAME] - member[kernel.M_DONE]), int(state.group[at.MAX_POLL]))

        def used(column: int) -> Ints:
            return state.reader[:, column : column + 1]

        for inputs, counted, least in (
            (self._fetches, state.lane[:, :, kernel.G_FETCHED], 1),
            (self._wakes, used(kernel.M_WAKES), 1),
            (self._tries, used(kernel.M_TRIES), most + 1),
            (self._commits, used(kernel.M_COMMITS), most + 2),
        ):
            if inputs.supply(counted, least):
                state = state._replace(**inputs.arrays())
        self._state = state

    def _more_rows(self) -> None:
        """Have room for the commits of as many records as may be handled at once."""
        self._put_aside()
        state = self._state
        member = state.s[kernel.C_MEMBER]
        own = int(state.own_first[member + 1] - state.own_first[member])
        waiting = int(state.reader[member, kernel.M_CAME] - state.reader[member, kernel.M_DONE])
        need = min(waiting, int(state.group[at.MAX_POLL])) + 2 * own + 2
        if need > len(state.commits):
            self._state = state._replace(commits=np.zeros((2 * need, kernel.N_COMMIT_ROW), np.int64))

    # ---- commits -----------------------------------------------------------------------------------------------------

    def _put_aside(self) -> None:
        """Empty the rows of commits: those begun within the load's time are sure to be kept, others only if the run still lasts then."""
        scalars, rows = self._state.s, self._state.commits
        made = rows[: scalars[kernel.C_ROWS]].copy()
        scalars[kernel.C_ROWS] = 0
        found = Committed(*(made[:, column] for column in range(kernel.N_COMMIT_ROW)))
        in_time = found.begun_ns <= self._duration_ns
        sure = found.where(in_time)
        np.maximum.at(self._last, sure.partition, sure.offset)
        self._new.append(sure)
        self._late.append(found.where(~in_time))
        self._open.append(found)

    def _forget(self) -> None:
        """Forget commits that cover nothing but what took effect within the load's time, and that were over by then."""
        known = Committed.joined(self._open)
        matters = (known.ended_ns > self._duration_ns) | (known.offset > self._state.in_time[known.partition])
        self._open = [known.where(matters)]
        self._late = [Committed.joined(self._late)]

    def new_commits(self) -> Committed:
        """Return the commits that were not told yet; of those begun after the load's end nothing is told before the end is known."""
        found, self._new = Committed.joined(self._new), []
        return found

    def under_way_at(self, time_ns: int) -> int:
        """Return when the last of the commits ends that are under way at an instant after the load's end; 0 where none is."""
        known = Committed.joined(self._open)
        return int(known.ended_ns[(known.begun_ns <= time_ns) & (known.ended_ns > time_ns)].max(initial=0))

    def end(self, end_ns: int, log_end: Ints) -> Committed:
        """Return what still counts of commits when the run ends, and add those of then: groups that commit at an interval commit at the end, too."""
        late = Committed.joined(self._late)
        late = late.where(late.begun_ns <= end_ns)
        last = self._last.copy()
        np.maximum.at(last, late.partition, late.offset)
        at_end = NO_COMMITS
        if self._state.group[at.INTERVAL]:
            finished = np.where(self.reads, log_end, 0)
            new = np.flatnonzero(finished != last)
            times = np.full(len(new), end_ns)
            at_end = Committed(times, new, finished[new], times)
        self._new += [late, at_end]
        known = Committed.joined(self._open)
        return Committed.joined([known.where(known.begun_ns <= end_ns), at_end])
