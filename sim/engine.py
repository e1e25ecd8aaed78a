"""Simulates a plan: SimPy decides what changes the system, the kernel moves the events in between, and a run comes out."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rundata.chains import types_of_places
from rundata.operations import BLOCK_ROWS, order_of, words
from rundata.rows import INSTANT, LOG_RECORD, MOST_ATTEMPTS, NEVER, Kind, Outcome, new_operations
from rundata.so_far import holds_since
from rundata.tables import Extent, FaultRecord, Phase, RunData
from rundata.transactions import settled
from scenarios.expectations import Expectation
from scenarios.plan import Plan
from scenarios.profiles import Profile
from sim import kernel
from sim import world as at
from sim.actions import Actions
from sim.building import Builder
from sim.clock import key_of
from sim.compile_ahead import compile_ahead
from sim.compiled import must_compile
from sim.dependencies import proof_of
from sim.draws import Draws
from sim.far import NEAR, Near
from sim.members import Member
from sim.observed import NOTHING_OBSERVED, Observed
from sim.replays import Replayer
from sim.system import System
from sim.world import NONE, Ints, World

Columns = Mapping[str, Callable[[], Ints]]
"""How to make each column of some rows."""
_SCATTERED_ROWS = 1 << 12
"""Requests of one partition lie among those of all others, so what so many records ask of them is most pages of a wide range."""
_CONTROL_KEY = key_of(at.CONTROL)
_HAND_OVER_KEY = key_of(at.HAND_OVER)


def simulate(
    plan: Plan,
    profile: Profile,
    *,
    chance: int = 0,
    observed: Observed = NOTHING_OBSERVED,
    operations: Literal["all", "none"] = "all",
    instants: bool = True,
    room: Near = NEAR,
) -> RunData:
    """Return what happens to a plan on the system of a profile.

    `chance` numbers the random inputs that the plan does not fix (0 is the first replication); `observed` gives instants
    instead of drawing them; without `operations` only log, incidents and faults are kept, without `instants` no stages. The large arrays
    of what happens lie in `room`.
    """
    tell_of_compiling()
    with _wrapping_numbers():
        run = Played(plan, profile, chance, observed, room)
        run.play()
        return run.data(keep_operations=operations == "all", keep_instants=operations == "all" and instants)


def play(plan: Plan, profile: Profile, *, chance: int = 0, room: Near = NEAR) -> "Played":
    """Return a run that is over, from which rows can be taken in parts; its large arrays lie in some place."""
    tell_of_compiling()
    with _wrapping_numbers():
        run = Played(plan, profile, chance, NOTHING_OBSERVED, room)
        run.play()
    return run


def first_world(plan: Plan, profile: Profile) -> World:
    """Return the arrays of a run before anything has happened."""
    return Played(plan, profile, 0, NOTHING_OBSERVED).builder.world()


def tell_with(tell: Callable[[str], None]) -> None:
    """Choose who tells what a first run on this machine waits for; otherwise a line goes to standard error."""
    _telling[0] = tell


def _to_standard_error(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


_telling: list[Callable[[str], None]] = [_to_standard_error]


@cache
def tell_of_compiling() -> None:
    """Compile what is not compiled yet, and say so: a first run on a machine waits for that."""
    if must_compile():
        _telling[0]("compiling the simulator, once on this machine: a minute or two")
        compile_ahead()


@contextlib.contextmanager
def _wrapping_numbers() -> Iterator[None]:
    """Let 64-bit hashes wrap silently also where the kernel runs uncompiled."""
    with np.errstate(over="ignore"):
        yield


class Played:
    """One simulated run."""

    def __init__(self, plan: Plan, profile: Profile, chance: int, observed: Observed, room: Near = NEAR) -> None:
        self.plan, self.profile = plan, profile
        draws = Draws(plan, profile, plan.seed, chance, observed)
        self.system = System(plan, draws)
        coordinators = [self.system.coordinator_of(name) for name in self.system.names.groups]
        self.builder = Builder(plan, draws, chance, self.system.places, coordinators, room)
        scenario = plan.scenario
        self.latest_ns = scenario.duration + scenario.drain
        ends = [
            scenario.duration,
            *(fault.end_ns for fault in plan.faults),
            *(action.end_ns for action in plan.actions),
        ]
        self.earliest_ns = min(max(ends), self.latest_ns)

    def play(self) -> None:
        """Let everything happen."""
        system = self.system
        system.world = self.builder.world()
        system.growth.supply, system.grown = self.builder.supply, self.builder.grown
        system.begin(system.world)
        self.actions = Actions(system, self.builder.redrivers(), judge=self._holds_since, reserve=self._reserve)
        clock = system.clock
        clock.at(self.earliest_ns, at.END)
        clock.at(self.latest_ns, at.END)
        clock.at(
            self.latest_ns, at.CONTROL
        )  # a bound for the kernel: what ends at that instant has ended, nothing begins
        while not self._is_over():
            if clock.now == self.latest_ns and self._next_key() >= _CONTROL_KEY:
                break
            self._step()
        self._commit_at_the_end()
        self._check_conservation()

    @property
    def now_ns(self) -> int:
        """How far the run is: the later of both clocks."""
        return max(self.system.clock.now, int(self.system.world.scalars[at.NOW]))

    def _is_over(self) -> bool:
        world, clock = self.system.world, self.system.clock
        if world.scalars[at.OPEN] != 0 or self.now_ns < self.earliest_ns:
            return False
        heap_is_later = world.scalars[at.HEAP] == 0 or world.heap[0, 0] > self.now_ns
        return bool(heap_is_later and clock.peek() > self.now_ns) and not kernel.has_in_hand(world)

    def _next_key(self) -> int:
        """Return the priority of what comes next at this instant, or one after everything."""
        world, clock = self.system.world, self.system.clock
        keys = [key_of(at.WORK + 1)]
        if clock.peek() == self.now_ns:
            keys.append(clock.next_key())
        if world.scalars[at.HEAP] and world.heap[0, 0] <= self.now_ns:
            keys.append(int(world.heap[0, 1]))
        return min(keys)

    def _step(self) -> None:
        """Let the kernel come to the next instant of control, or to a member that needs it, and do what is due there."""
        system, clock = self.system, self.system.clock
        why = kernel.advance(system.world, int(clock.peek()), clock.next_key(), self.earliest_ns)
        match why:
            case at.REACHED:
                if not self._is_over():
                    self._keep_retries()
                    clock.step()
            case at.SHORT:
                system.world = self.builder.grown(system.world)
            case _:
                self._turn_to(why)

    def _keep_retries(self) -> None:
        """Have so many random inputs for retries that control never finds too few."""
        proc = self.system.world.proc
        needed = int((proc[:, at.RETRIES] + proc[:, at.PARTS] * (self.builder.brokers + 1)).max(initial=0))
        while needed >= self.system.world.retry.shape[-1]:
            self.system.world.scalars[at.WANT] = at.WANT_RETRIES
            self.system.world = self.builder.grown(self.system.world)

    def _reserve(self, sendings: int) -> None:
        """Have room for so many more sendings, each of them expected."""
        world = self.system.world
        for want, used, array in ((at.WANT_EVENTS, at.SENDINGS, "event"), (at.WANT_HEAP, at.HEAP, "heap")):
            while world.scalars[used] + sendings + self._kept_free(want, world) > len(getattr(world, array)):
                world.scalars[at.WANT] = want
                self.system.world = world = self.builder.grown(world)

    @staticmethod
    def _kept_free(want: int, world: World) -> int:
        """Return how much of an array is kept free of what is expected: half of the heap, for what comes besides."""
        return len(world.heap) // 2 if want == at.WANT_HEAP else 0

    def _turn_to(self, why: int) -> None:
        """Put the clock of control to the kernel's instant and let a member do its duty."""
        system = self.system
        clock, index = system.clock, int(system.world.scalars[at.WHO])
        now = int(system.world.scalars[at.NOW])
        reached = clock.at(now, at.END)
        while not reached.processed:
            clock.step()
        readers: list[Member | Replayer] = [member for group in system.groups.values() for member in group.members]
        readers += self.actions.replayers.values()
        member = next(each for each in readers if each.index == index)
        match why:
            case at.DUTY:
                member.do_duty()
            case at.SETTLED:
                member.settled()
            case at.STOPPED:
                member.stop()
            case at.LATE:
                member.evict()
            case at.DIED:
                member.dies()
            case at.RAISED:
                member.raises()
        while clock.peek() == now and clock.next_key() < _CONTROL_KEY:
            clock.step()

    def _commit_at_the_end(self) -> None:
        """Let every member leave in good order: what is finished is committed, and that is recorded."""
        world, system = self.system.world, self.system
        world.scalars[at.NOW] = min(self.now_ns, self.latest_ns)
        for group in system.groups.values():
            if world.group[group.code, at.INTERVAL] == 0:
                continue
            progress = kernel.what_is_done(world, group.code)
            for member in (member for member in group.members if member.alive and not member.evicted):
                for partition in group.partitions:
                    mp = world.mp[member.index, partition]
                    if mp[at.OWNED] and mp[progress] != world.committed[group.code, partition]:
                        while world.scalars[at.ROWS] + 1 >= len(world.rows):
                            world.scalars[at.WANT] = at.WANT_ROWS
                            system.world = world = self.builder.grown(world)
                        kernel.note_commit(
                            world, member.index, partition, int(mp[progress]), int(world.scalars[at.NOW])
                        )

    def _check_conservation(self) -> None:
        """Assert that every visible record has ended once for each group of its topic, or is still open."""
        world = self.system.world
        for group in self.system.groups.values():
            open_pairs = 0
            for partition in group.partitions:
                end = int(world.part[partition, at.VISIBLE_END])
                closed = int(np.count_nonzero(world.closed[group.code, partition, :end]))
                assert not world.closed[group.code, partition, end:].any(), f"{group.name} ended what was not visible"
                assert world.committed[group.code, partition] <= end, (
                    f"{group.name} committed beyond the high watermark"
                )
                open_pairs += end - closed
            assert open_pairs == 0 or self.now_ns >= self.latest_ns, f"{open_pairs} of {group.name} open before the end"

    def _holds_since(self, expectation: Expectation, since_ns: int) -> bool:
        """Whether an expectation holds of what was intended since an instant."""
        now_ns = self.now_ns
        operations = self._operations()
        return holds_since(expectation, self.plan, operations, since_ns=since_ns, now_ns=now_ns, engine="simulated")

    # ---- what comes out --------------------------------------------------------------------------------------------

    @property
    def end_ns(self) -> int:
        """When the run was over."""
        return min(self.now_ns, self.latest_ns)

    def data(self, *, keep_operations: bool, keep_instants: bool, keep_log: bool = True) -> RunData:
        """Return what happened."""
        plan, scenario, end_ns = self.plan, self.plan.scenario, self.end_ns
        phases = (
            Phase("warm-up", 0, scenario.warm_up),
            Phase("measure", scenario.warm_up, scenario.duration),
            Phase("drain", scenario.duration, end_ns),
        )
        log = self._log() if keep_log else np.zeros(0, LOG_RECORD)
        extents, faults = self._extents(end_ns), tuple(self._faults(end_ns))
        instants = self._instants() if keep_instants else np.zeros(0, INSTANT)
        has_transactions = self.system.world.scalars[at.TXNS] > 0
        operations = self._operations() if keep_operations else new_operations(0)
        return RunData(
            plan=plan,
            engine="simulated",
            operations=settled(operations, log) if has_transactions else operations,
            instants=instants,
            log=log,
            extents=extents,
            faults=faults,
            actions=tuple(self.actions.records(end_ns)),
            incidents=tuple(self.system.incidents),
            phases=phases,
            end_ns=end_ns,
            about={
                "profile": self.profile.profile,
                "brokers": {
                    "implementation": "simulated",
                    "version": scenario.brokers.version,
                    "nodes": scenario.brokers.nodes,
                },
                "operations": "all" if keep_operations else "none",
            },
        )

    def topic_and_number(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return topic codes and partition numbers of the world's partitions; NONE stays NONE."""
        first = self.builder.first_place
        topic = np.searchsorted(first, places, side="right") - 1
        number = places - first[np.maximum(topic, 0)]
        return np.where(places == NONE, NONE, topic), np.where(places == NONE, NONE, number)

    def _operations(self) -> NDArray[np.void]:
        """Return all rows so far in the order of their start, each written where it belongs: they are most of what a run takes."""
        world = self.system.world
        event, found = world.event[: int(world.scalars[at.SENDINGS])], world.rows[: int(world.scalars[at.ROWS])]
        sent = np.flatnonzero((event[:, at.CALLED_NS] != NONE) & (event[:, at.E_MEMBER] != at.REDRIVER))
        done = np.flatnonzero(found[:, at.O_VALID] == 1)
        events, order = self._events(), self._order(sent, done)
        rows = new_operations(len(order))
        for first in range(0, len(rows), BLOCK_ROWS):
            block, some = words(rows[first : first + BLOCK_ROWS]), order[first : first + BLOCK_ROWS]
            sends = some < len(sent)
            block[sends] = words(self.sends(event[sent[some[sends]]], events))
            block[~sends] = words(self.members_rows(found[done[some[~sends] - len(sent)]], events))
            self.builder.room.give_back()
        return rows

    def _order(self, sent: NDArray[np.intp], done: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the order of sends and then members' rows: by start, kind, event and process."""
        world = self.system.world
        ids, identities, events = (
            world.identity[:, at.V_ID],
            world.event[sent, at.IDENTITY],
            world.rows[done, at.O_EVENT],
        )
        columns = {
            "started_ns": (world.event[sent, at.CALLED_NS], world.rows[done, at.O_STARTED]),
            "kind": (np.full(len(sent), int(Kind.send)), world.rows[done, at.O_KIND]),
            "event_id": (ids[identities], np.where(events == NONE, NONE, ids[np.maximum(events, 0)])),
            "process": (
                self._senders(world.event[sent, at.E_MEMBER], identities),
                self._of_scenario(world.rows[done, at.O_PROCESS]),
            ),
        }
        return order_of({name: np.concatenate(both) for name, both in columns.items()}, ("kind", "event_id", "process"))

    def sends(self, own: Ints, events: "EventColumns") -> NDArray[np.void]:
        """Return the rows of some sendings."""
        rows = new_operations(len(own))
        rows["kind"], rows["attempt"] = Kind.send, 1
        _tell_events(rows, own[:, at.IDENTITY], events)
        for name, make in self.told_of_sends(lambda number: own[:, number]).items():
            rows[name] = make()
        emitted = own[:, at.INTENDED] != NONE
        rows["intended_ns"][emitted] = own[emitted, at.INTENDED]
        return rows

    def told_of_sends(self, column: Callable[[int], Ints]) -> Columns:
        """Return how to make each column of rows about some sendings, of which these are columns of the world, that does not follow from their events."""
        world = self.system.world

        @cache
        def parts() -> Ints:
            return np.where(column(at.SENT_PART) == NONE, column(at.PART), column(at.SENT_PART))

        @cache
        def places() -> tuple[Ints, Ints]:
            topic, number = self.topic_and_number(parts())
            unsent = topic == NONE
            topic[unsent] = self.plan.topic[column(at.IDENTITY)[unsent]]
            return topic, number

        inside = column(at.E_TXN) != NONE
        # Answered or given up, and in a transaction of which the producer has not heard the end.
        is_waiting = inside & np.isin(column(at.E_TXN), world.proc[: self.builder.processes, at.P_TXN])

        def transaction() -> Ints:
            found = np.full(len(inside), NONE, np.int64)
            found[inside] = world.txn[column(at.E_TXN)[inside], at.TX_ID]
            return found

        def offset() -> Ints:
            return np.where(is_waiting, NONE, self.system.log_ends.offsets_of(parts(), column(at.SENT_OFFSET)))

        def outcome() -> Ints:
            given_up = column(at.GIVEN_UP)
            ok = (column(at.SENT_ENDED) != NEVER) & (given_up == 0) & ~is_waiting
            refused = ((given_up == at.REFUSED) | (given_up == at.ABORTED)) & ~is_waiting
            return np.where(ok, np.int64(Outcome.ok), np.where(refused, np.int64(Outcome.failed), Outcome.unknown))

        return {
            "started_ns": lambda: column(at.CALLED_NS),
            "ended_ns": lambda: np.where(is_waiting, NEVER, column(at.SENT_ENDED)),
            "topic": lambda: places()[0],
            "partition": lambda: places()[1],
            "offset": offset,
            "process": lambda: self._senders(column(at.E_MEMBER), column(at.IDENTITY)),
            "outcome": outcome,
            "transaction_id": transaction,
        }

    def _senders(self, members: Ints, identities: Ints) -> Ints:
        """Return the code of whoever sent: a producer's process, or a member."""
        plan, code = self.plan, members + self.builder.processes
        planned = members == NONE
        first = np.concatenate([[0], np.cumsum([p.count for p in plan.scenario.producers.values()])])
        events = identities[planned]
        code[planned] = first[plan.producer[events]] + plan.process[events] - 1
        return code

    def _of_scenario(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return codes of processes; who replays is none of the scenario's."""
        return np.where(codes < len(self.system.names.processes), codes, NONE)

    def _events(self) -> "EventColumns":
        """Columns of operations by event: planned ones first, then those that could be emitted."""
        plan, world, derived = self.plan, self.system.world, self.builder.derived
        ids, planned = world.identity[:, at.V_ID], len(plan)
        intended = np.concatenate([plan.intended_ns, np.full(len(ids) - planned, NEVER)])
        emitted = world.event[planned : int(world.scalars[at.SENDINGS])]
        np.minimum.at(intended, emitted[:, at.IDENTITY], emitted[:, at.INTENDED])
        of_place = np.array(types_of_places(plan.scenario), np.int64)
        columns = {
            "event_id": ids,
            "root_id": derived.root_of(ids),
            "cause_id": derived.cause_of(ids),
            "key": derived.key_of(ids),
            "intended_ns": intended,
            "event_type": np.concatenate([self._types_of(plan.producer), of_place[derived.place_of(ids[planned:])]]),
        }
        return EventColumns(0, columns)

    def _types_of(self, producers: NDArray[np.int16]) -> Ints:
        scenario, types = self.plan.scenario, self.system.names.event_types
        return np.array([types.index(p.event or name) for name, p in scenario.producers.items()], np.int64)[producers]

    def members_rows(self, found: Ints, events: "EventColumns") -> NDArray[np.void]:
        """Return the rows of what members did."""
        event, rows = found[:, at.O_EVENT], new_operations(len(found))
        for name, make in self.told_of_members(lambda number: found[:, number]).items():
            rows[name] = make()
        known = event != NONE
        _tell_events(rows, event[known], events, known)
        return rows

    def told_of_members(self, column: Callable[[int], Ints]) -> Columns:
        """Return how to make each column of rows about what members did, of which these are columns of the world, that does not follow from their events."""

        @cache
        def places() -> tuple[Ints, Ints]:
            return self.topic_and_number(column(at.O_PART))

        def offset() -> Ints:
            behind = (column(at.O_KIND) == Kind.commit).astype(np.int64)  # a commit is one more than what it covers
            offsets: Ints = self.system.log_ends.offsets_of(column(at.O_PART), column(at.O_OFFSET) - behind) + behind
            return offsets

        return {
            "kind": lambda: column(at.O_KIND),
            "group": lambda: column(at.O_GROUP),
            "process": lambda: self._of_scenario(column(at.O_PROCESS)),
            "topic": lambda: places()[0],
            "partition": lambda: places()[1],
            "offset": offset,
            "started_ns": lambda: column(at.O_STARTED),
            "ended_ns": lambda: column(at.O_ENDED),
            "attempt": lambda: np.minimum(column(at.O_ATTEMPT), MOST_ATTEMPTS),
            "poll_id": lambda: column(at.O_POLL),
            "transaction_id": lambda: column(at.O_TXN),
            "retry_due_ns": lambda: column(at.O_RETRY),
            "outcome": lambda: column(at.O_OUTCOME),
            "delivery_number": lambda: np.where(column(at.O_EVENT) == NONE, 0, column(at.O_NUMBER)),
        }

    def _instants(self) -> NDArray[np.void]:
        """Return what only a simulator knows of each delivery."""
        world = self.system.world
        found = world.rows[: int(world.scalars[at.ROWS])]
        found = found[(found[:, at.O_VALID] == 1) & (found[:, at.O_KIND] == Kind.delivery)]
        request = world.request[world.log[found[:, at.O_PART], found[:, at.O_OFFSET], at.L_REQUEST]]
        rows = np.zeros(len(found), INSTANT)
        rows["event_id"], rows["group"] = found[:, at.O_EVENT], found[:, at.O_GROUP]
        rows["process"] = self._of_scenario(found[:, at.O_PROCESS])
        rows["batched_ns"], rows["served_ns"], rows["visible_ns"] = (
            request[:, column] for column in (at.R_MADE, at.R_BEGUN, at.R_SEEN_NS)
        )
        rows["arrived_ns"], rows["delivered_ns"] = found[:, at.O_CAME_NS], found[:, at.O_STARTED]
        return rows[np.lexsort((rows["event_id"], rows["process"], rows["delivered_ns"]))]

    def _log(self) -> NDArray[np.void]:
        numbers = [np.arange(*self.extent(place)) for place in range(self.builder.users)]
        parts = [self.records(np.full(len(some), place), some) for place, some in enumerate(numbers)]
        return np.concatenate(parts) if parts else np.zeros(0, LOG_RECORD)

    def extent(self, place: int) -> tuple[int, int]:
        """Return the first place in a partition's log that is kept, and the end of the log."""
        return int(self.system.world.part[place, at.LOG_START]), int(self.system.world.part[place, at.LOG_LEN])

    def records(self, places: Ints, numbers: Ints) -> NDArray[np.void]:
        """Return the records at some places of partitions' logs."""
        world = self.system.world
        records = world.log[places, numbers]
        there = world.request[:, at.R_APPENDED][records[:, at.L_REQUEST]] <= self.end_ns
        there &= records[:, at.L_TXN] >= NONE  # neither compacted nor cut off
        if not there.all():
            records, places, numbers = records[there], places[there], numbers[there]
        rows = np.zeros(len(records), LOG_RECORD)
        rows["topic"], rows["partition"] = self.topic_and_number(places)
        rows["offset"] = self.system.log_ends.offsets_of(places, numbers)
        rows["event_id"] = world.identity[:, at.V_ID][records[:, at.L_EVENT]]
        rows["time_ns"] = self.system.wrong_clocks.times_of(records)
        rows["leader_epoch"] = records[:, at.L_EPOCH]
        own = records[:, at.L_TXN]
        if (own != NONE).any():
            rows["aborted"] = (own != NONE) & (world.txn[own, at.TX_STATE] != at.TX_COMMITTED)
        return rows

    def _extents(self, end_ns: int) -> tuple[Extent, ...]:
        places = [partition for partition in self.system.partitions if partition.is_users and partition.replicas]
        found = []
        for partition in places:
            world, number, offset_of = self.system.world, partition.number, self.system.log_ends.offset_of
            first, end = self.extent(number)
            requests = world.log[number, first:end, at.L_REQUEST]
            appended = sum(
                int(np.count_nonzero(world.request[:, at.R_APPENDED][requests[some]] <= end_ns))
                for some in self.builder.room.parts(end - first, _SCATTERED_ROWS)
            )
            end = first + appended
            found.append(Extent(*_split(partition.name), offset_of(number, first), offset_of(number, end)))
        return tuple(found)

    def _faults(self, end_ns: int) -> Iterator[FaultRecord]:
        proofs = {int(row[at.DF_FAULT]): proof_of(row) for row in self.system.world.dep_fault} | self.system.proofs
        for index, planned in enumerate(self.plan.faults):
            if planned.begin_ns > end_ns:
                continue
            yield FaultRecord(
                label=planned.label,
                kind=planned.fault.kind,
                target=self.system.targets.get(index, ""),
                planned_begin_ns=planned.begin_ns,
                planned_end_ns=planned.end_ns,
                began_ns=planned.begin_ns,
                ended_ns=min(planned.end_ns, end_ns),
                proof=proofs.get(index, "in the plan of every event"),
            )


@dataclass(frozen=True)
class EventColumns:
    """What rows of operations say of the event that they are about: columns of events from a first one on."""

    first: int
    columns: Mapping[str, Ints]


def _tell_events(
    rows: NDArray[np.void], identities: Ints, events: EventColumns, which: slice | NDArray[np.bool_] = slice(None)
) -> None:
    """Fill in what follows from the event of each row."""
    for name, values in events.columns.items():
        rows[name][which] = values[identities - events.first]


def _split(name: str) -> tuple[str, int]:
    topic, number = name.rsplit("/", 1)
    return topic, int(number)
