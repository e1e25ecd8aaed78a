"""Simulates a quiet stretch with loops over arrays in place of the kernel; where something could fail, or time out, it says so."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from rundata.books import Books, Records
from rundata.folding import Part
from rundata.pairs import HandlingTally, SendTally
from rundata.rows import LOG_RECORD, NEVER, NONE, new_operations
from rundata.shards import stretch
from rundata.tables import Extent, Phase, RunData
from rundata.whole import Commits, Told, Whole
from scenarios.clients import is_compacted, may_expire
from scenarios.disturbances import NOT_AGAIN
from scenarios.plan import Plan, empty_plan
from scenarios.profiles import Profile
from scenarios.schema import Group, Scenario
from sim import world as at
from sim.building import Builder
from sim.draws import Draws
from sim.stretches import flow_kernel as kernel
from sim.supply import Drawn
from sim.system import System
from sim.world import Ints, World


def flows(scenario: Scenario) -> bool:
    """Whether nothing in a scenario can fail or change who leads, reads or sends, so that its stretches are quiet."""
    return (
        not scenario.faults
        and not scenario.actions
        and not may_expire(scenario)
        and not any(is_compacted(scenario, topic) for topic in scenario.topics)
        and all(
            each.client == "librdkafka" and each.poison == 0 and str(each.settings.get("acks", "all")) != "0"
            for each in scenario.producers.values()
        )
        and all(_flows(group) for group in scenario.groups.values())
    )


def _flows(group: Group) -> bool:
    failures = group.failures
    return (
        group.client == "librdkafka"
        and group.reads == "poll"
        and group.workers == 1
        and group.commit != "transaction"
        and group.dedupe == "none"
        and not any(name in _OF_FETCHES for name in group.settings)
        and not (group.emits or group.calls or group.share_group or group.external or group.autoscaler)
        and (failures is None or (failures.transient is None and failures.retry.where == "in_place"))
    )


_OF_FETCHES = frozenset(
    {"fetch.min.bytes", "fetch.max.bytes", "fetch.message.max.bytes", "max.partition.fetch.bytes", "isolation.level"}
)
"""Settings by which an answer holds something else than all that is visible."""


@dataclass(frozen=True, eq=False)
class Committed:
    """The commits of a group: when each ended, of which partition, its offset, and when it began."""

    ended_ns: Ints
    partition: Ints
    offset: Ints
    begun_ns: Ints


@dataclass(frozen=True, eq=False)
class Flow:
    """What became of every event of a quiet stretch."""

    handed_ns: Ints
    acked_ns: Ints
    partition: Ints
    """Numbered over all topics."""
    offset: Ints
    visible_ns: Ints
    delivered_ns: Ints
    """By group and event; NEVER where the group does not read it."""
    effect_ns: Ints
    commits: tuple[Committed, ...]
    end_ns: int

    def of(self, first: int, end: int) -> "Flow":
        """Return what became of some events."""
        some = slice(first, end)
        return Flow(
            self.handed_ns[some],
            self.acked_ns[some],
            self.partition[some],
            self.offset[some],
            self.visible_ns[some],
            self.delivered_ns[:, some],
            self.effect_ns[:, some],
            self.commits,
            self.end_ns,
        )

    def commits_of(self, _whole: Whole) -> Commits:
        """Return the commits by group and partition, in the order of time."""
        found: Commits = {}
        for group, made in enumerate(self.commits):
            # Members' commits follow one another, and those at the end come last: those of a partition are in order.
            order = np.argsort(made.partition.astype(np.int32), kind="stable")
            partition = made.partition[order]
            firsts = np.flatnonzero(np.diff(partition, prepend=-1))
            for first, end in zip(firsts, np.append(firsts, len(order))[1:], strict=True):
                found[group, int(partition[first])] = made.ended_ns[order[first:end]], made.offset[order[first:end]]
        return found


def flow(plan: Plan, profile: Profile, *, chance: int = 0) -> Flow | None:
    """Return what happens to the plan of a scenario that flows, as `simulate` would; None where it takes more than that after all."""
    return _Flowing(plan, profile, chance).flow()


@dataclass(frozen=True, eq=False)
class _Sent:
    """What producers do: by event when it is acknowledged, its offset, and when it can be read; and the order of appends."""

    acked_ns: Ints
    offset: Ints
    visible_ns: Ints
    appended: Ints


_FIRST_DRAWS = 512
"""Of each random input so many at first, and twice as many when they run out."""


class _Flowing:
    """One quiet stretch."""

    def __init__(self, plan: Plan, profile: Profile, chance: int) -> None:
        self.plan, self.profile = plan, profile
        self.draws = Draws(plan, profile, plan.seed, chance)
        # Settings, leaders and assignments are those of a world in which nothing is sent. It is a ring of references, which stays in
        # memory for a while, so the draws that it holds are not to hold the events.
        nothing = self.draws.plan = empty_plan(plan.scenario, plan.seed, plan.replication)
        system = System(nothing, self.draws)
        coordinators = [system.coordinator_of(name) for name in system.names.groups]
        self.builder = Builder(nothing, self.draws, chance, system.places, coordinators)
        self.world: World = self.builder.world()
        system.world = self.world
        system.begin(self.world)
        self.parts = self.builder.users
        self._nodes = range(1, self.builder.brokers + 1)
        codes = range(self.builder.processes)
        self._requests = {
            "produce": Drawn.per_broker(codes, self._nodes, self.draws.produce),
            "leader": Drawn.per_broker(codes, self._nodes, self.draws.leader),
            "acknowledge": Drawn.per_broker(codes, self._nodes, self.draws.acknowledge),
        }

    def flow(self) -> Flow | None:
        """Let everything flow."""
        plan, world = self.plan, self.world
        if (
            world.part[: self.parts, [at.HALTED, at.TOO_FEW]].any()
            or (plan.again_ns != NOT_AGAIN).any()
            or plan.late_ns.any()
        ):
            return None
        handed, order, sticky, sender = self._senders()
        part = np.where(plan.partition == NONE, NONE, self.builder.first_place[plan.topic] + plan.partition)
        part = part.astype(np.int64)
        sent = self._sent(handed, order, sticky, sender, part)
        if sent is None:
            return None
        acked, offset = sent.acked_ns, sent.offset
        delivered = np.full((len(world.group), len(plan)), NEVER, np.int64)
        effect = np.full_like(delivered, NEVER)
        commits = []
        for group in range(len(world.group)):
            found = self._read(group, part, sent, delivered[group], effect[group])
            if found is None:
                return None
            commits.append(found)
        ended = [
            self._ended_ns(group, *rows, part, offset) for group, rows in enumerate(zip(effect, commits, strict=True))
        ]
        end_ns = self._end_ns(acked, ended, commits)
        effect[effect > end_ns] = NEVER  # the run is over before
        if end_ns > plan.scenario.duration + plan.scenario.drain:
            return None
        finished = tuple(self._final(group, one, part, end_ns) for group, one in enumerate(commits))
        return Flow(handed, acked, part, offset, sent.visible_ns, delivered, effect, finished, end_ns)

    # ---- producers ---------------------------------------------------------------------------------------------------

    def _senders(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Return when each event is handed over, each process's events in that order, choices of partitions, and the processes' places."""
        plan, handed = self.plan, np.zeros(len(self.plan), np.int64)
        sender = np.zeros((self.builder.processes, kernel.N_SENDER), np.int64)
        orders, choices, first, process = [], [], 0, 0
        lane = plan.producer.astype(np.int64) * (int(plan.process.max(initial=0)) + 1) + plan.process
        for index, producer in enumerate(plan.scenario.producers.values()):
            partitions = plan.scenario.topics[producer.topic].partitions
            for number in range(1, producer.count + 1):
                own = np.flatnonzero(lane == index * (int(plan.process.max(initial=0)) + 1) + number)
                send = self.draws.send(process).onward()(len(own))
                if len(own):
                    handed[own] = np.maximum.accumulate(plan.intended_ns[own] + send)
                chooses = producer.key == "none" and partitions > 1
                choices.append(
                    self.draws.sticky(process, partitions).onward()(len(own))
                    if chooses
                    else np.zeros(len(own), np.int64)
                )
                orders.append(own)
                sender[process, [kernel.T_NEXT, kernel.T_LAST]] = first, first + len(own)
                sender[process, kernel.T_UNTIL] = -1
                self.world.proc[process, at.FIRST_EVENT] = first
                first, process = first + len(own), process + 1
        return handed, np.concatenate(orders), np.concatenate(choices), sender

    def _sent(self, handed: Ints, order: Ints, sticky: Ints, sender: Ints, part: Ints) -> _Sent | None:
        count, processes, world = len(self.plan), self.builder.processes, self.world
        queue = np.zeros((processes, self.parts, kernel.N_FLOW_QUEUE), np.int64)
        queue[:, :, [kernel.F_HEAD, kernel.F_TAIL]] = NONE
        link = np.zeros((processes, self.builder.brokers + 1, kernel.N_LINK), np.int64)
        link[:, :, [kernel.L_HEAD, kernel.L_TAIL]] = NONE
        acked, offset, visible = (np.full(count, NEVER, np.int64) for _ in range(3))
        found = _Sent(acked, offset, visible, np.zeros(count, np.int64))
        sending = kernel.Sending(
            s=np.zeros(kernel.N_SCALARS, np.int64),
            heap=np.zeros((4 * count + processes * (self.parts + self.builder.brokers) + 64, 4), np.int64),
            proc=world.proc,
            sender=sender,
            queue=queue,
            link=link,
            request=np.zeros((count + 1, kernel.N_BATCH), np.int64),
            leads=world.part[: self.parts, at.LEADER].copy(),
            log_end=np.zeros(self.parts, np.int64),
            last_appended=np.zeros(self.parts, np.int64),
            last_visible=np.zeros(self.parts, np.int64),
            order=order,
            sticky=sticky,
            handed=handed,
            size=self.plan.size_bytes.astype(np.int64),
            part=part,
            following=np.full(count, NONE, np.int64),
            acked=acked,
            offset=offset,
            visible=visible,
            appended=found.appended,
            **self._of_requests(_FIRST_DRAWS),
            costs=world.costs,
        )
        kernel.produce_all(sending)
        while sending.s[kernel.S_PROBLEM] == kernel.SHORT:
            sending.s[kernel.S_PROBLEM] = 0
            sending = sending._replace(**self._of_requests(2 * sending.produce.shape[-1], sending))
            kernel.produce_all(sending)
        return None if sending.s[kernel.S_PROBLEM] else found

    def _of_requests(self, count: int, sending: kernel.Sending | None = None) -> dict[str, Any]:
        return {name: drawn.array(count, getattr(sending, name, None)) for name, drawn in self._requests.items()}

    # ---- members -----------------------------------------------------------------------------------------------------

    def _read(self, group: int, part: Ints, sent: _Sent, delivered: Ints, effect: Ints) -> Committed | None:
        world, brokers = self.world, self.builder.brokers
        members = np.flatnonzero(world.member[:, at.GROUP] == group)
        owned = world.mp[members[0] : members[-1] + 1, : self.parts, at.OWNED] > 0
        owner = np.where(owned.any(axis=0), owned.argmax(axis=0), NONE)
        lane_of = np.where(owner == NONE, NONE, owner * (brokers + 1) + world.part[: self.parts, at.LEADER])
        in_lane = np.zeros(len(members) * (brokers + 1) + 1, np.int64)  # the last one is nobody's
        np.add.at(in_lane, lane_of, np.bincount(part, minlength=self.parts))
        firsts = np.cumsum(in_lane[:-1]) - in_lane[:-1]
        ends, mine = firsts.copy(), np.zeros(int(in_lane[:-1].sum()), np.int64)
        kernel.lay_out(sent.appended, part, sent.visible_ns, lane_of, firsts, ends, mine)
        lane = np.zeros((len(members), brokers + 1, kernel.N_LANE), np.int64)
        lane[:, :, kernel.G_END] = ends.reshape(len(members), brokers + 1)
        lane[:, :, kernel.G_NEXT] = firsts.reshape(len(members), brokers + 1)
        reader = np.zeros((len(members), kernel.N_READER), np.int64)
        reader[:, kernel.M_DUE] = world.group[group, at.INTERVAL]
        reader[:, kernel.M_DONE] = reader[:, kernel.M_CAME] = lane[:, 0, kernel.G_NEXT]
        counts = [np.flatnonzero(each) for each in owned]
        own_first = np.concatenate([[0], np.cumsum([len(each) for each in counts])]).astype(np.int64)
        scalars = np.zeros(kernel.N_READING, np.int64)
        scalars[kernel.C_LARGEST_BYTES] = int(self.plan.size_bytes.max(initial=1))
        codes = range(self.builder.processes + int(members[0]), self.builder.processes + int(members[-1]) + 1)
        calls = self._calls(codes)
        of_member = int((lane[:, -1, kernel.G_END] - lane[:, 0, kernel.G_NEXT]).max(initial=0)) + 1
        reading = kernel.Reading(
            s=scalars,
            group=world.group[group].copy(),
            times=world.times,
            lane=lane,
            reader=reader,
            own=np.concatenate(counts).astype(np.int64),
            own_first=own_first,
            given=np.zeros(self.parts, np.int64),
            finished=np.zeros(self.parts, np.int64),
            asked=np.zeros(self.parts, np.int64),
            came=np.zeros(len(mine), np.int64),
            seen=sent.visible_ns[mine],
            event=mine,
            part=part[mine],
            work=self.plan.work_ns[self.builder.names.groups[group]],
            delivered=delivered,
            effect=effect,
            commits=np.zeros((len(mine) + 1, kernel.N_COMMIT_ROW), np.int64),
            **self._of_calls(_FIRST_DRAWS, calls),
            overshoot=Drawn.per_entity([self.draws.overshoot(code) for code in codes]).array(of_member),
        )
        kernel.read_all(reading)
        while scalars[kernel.C_PROBLEM] == kernel.SHORT:
            scalars[kernel.C_PROBLEM] = 0
            reading = reading._replace(**self._of_calls(2 * reading.wake.shape[-1], calls, reading))
            kernel.read_all(reading)
        if scalars[kernel.C_PROBLEM]:
            return None
        rows = reading.commits[: scalars[kernel.C_ROWS]]
        return Committed(*(rows[:, column] for column in range(kernel.N_COMMIT_ROW)))

    def _of_calls(self, count: int, calls: dict[str, Drawn], reading: kernel.Reading | None = None) -> dict[str, Any]:
        return {name: drawn.array(count, getattr(reading, name, None)) for name, drawn in calls.items()}

    def _calls(self, codes: range) -> dict[str, Drawn]:
        draws = self.draws
        return {
            "fetch": Drawn.per_broker(codes, self._nodes, draws.fetch),
            "turnaround": Drawn.per_broker(codes, self._nodes, draws.turnaround),
            "wake": Drawn.per_entity([draws.wake(code) for code in codes]),
            "commit_time": Drawn.per_entity([draws.commit(code) for code in codes]),
        }

    def _ended_ns(self, group: int, effect: Ints, made: Committed, part: Ints, offset: Ints) -> int:
        """Return when the last of a group's pairs has ended: by its effect, or because a commit lies beyond it."""
        mine = np.flatnonzero(effect != NEVER)
        ended = effect[mine].copy()
        if self.world.group[group, at.MODE] in (at.AUTO, at.BEFORE_WORK):
            for p in np.unique(made.partition).tolist():
                rows, own = made.partition == p, part[mine] == p
                beyond = np.searchsorted(made.offset[rows], offset[mine][own], side="right")
                ended[own] = np.minimum(ended[own], np.append(made.ended_ns[rows], NEVER)[beyond])
        return int(ended.max(initial=0))

    def _end_ns(self, acked: Ints, ended: list[int], commits: list[Committed]) -> int:
        """Return when the run ends: everything is answered and has ended, and no commit is under way."""
        end_ns = max(self.plan.scenario.duration, int(acked.max(initial=0)), *ended)
        while True:
            under_way = [
                int(one.ended_ns[(one.begun_ns <= end_ns) & (one.ended_ns > end_ns)].max(initial=0)) for one in commits
            ]
            if not any(under_way):
                return end_ns
            end_ns = max(under_way)

    def _final(self, group: int, made: Committed, part: Ints, end_ns: int) -> Committed:
        """Return the commits that were begun by the end, and what is committed at it by groups that commit at an interval."""
        kept = made.begun_ns <= end_ns
        ended, partition, offset, begun = (
            column[kept] for column in (made.ended_ns, made.partition, made.offset, made.begun_ns)
        )
        if self.world.group[group, at.INTERVAL]:
            reads = self.world.reads[group, : self.parts] > 0
            finished = np.where(reads, np.bincount(part, minlength=self.parts), 0)
            last = np.zeros(self.parts, np.int64)
            np.maximum.at(last, partition, offset)
            new = np.flatnonzero(finished != last)
            ended, begun = (np.concatenate([times, np.full(len(new), end_ns)]) for times in (ended, begun))
            partition, offset = np.concatenate([partition, new]), np.concatenate([offset, finished[new]])
        return Committed(ended, partition, offset, begun)


# ---- as a run --------------------------------------------------------------------------------------------------------


def as_run(plan: Plan, profile: Profile, found: Flow) -> RunData:
    """Return a run without rows, whose books are those of a quiet stretch: its indicators are measured like any other's."""
    run = _run_of(plan, profile, found)
    vars(run)["_books"] = FlowBooks(run, found, Told(run, found.commits_of))
    return run


def parts_of(plan: Plan, profile: Profile, found: Flow, at_once: int) -> tuple[Books, Iterator[Part]]:
    """Return the same as books of a run without events, and those of its parts in the order of time."""
    run = _run_of(plan, profile, found)
    whole = Told(run, found.commits_of)

    def parts() -> Iterator[Part]:
        for first in range(0, max(1, len(plan)), at_once):
            end = min(first + at_once, len(plan))
            until_ns = int(plan.intended_ns[end]) if end < len(plan) else NEVER
            books = FlowBooks(replace(run, plan=stretch(plan, first, end)), found.of(first, end), whole, first)
            yield Part(books, until_ns)

    return Books(replace(run, plan=stretch(plan, 0, 0)), whole), parts()


def _run_of(plan: Plan, profile: Profile, found: Flow) -> RunData:
    scenario = plan.scenario
    counts = np.bincount(found.partition, minlength=sum(topic.partitions for topic in scenario.topics.values()))
    places = [(name, number) for name, topic in scenario.topics.items() for number in range(topic.partitions)]
    return RunData(
        plan=plan,
        engine="simulated",
        operations=new_operations(0),
        log=np.zeros(0, LOG_RECORD),
        extents=tuple(Extent(*place, 0, int(end)) for place, end in zip(places, counts, strict=False)),
        phases=(
            Phase("warm-up", 0, scenario.warm_up),
            Phase("measure", scenario.warm_up, scenario.duration),
            Phase("drain", scenario.duration, found.end_ns),
        ),
        end_ns=found.end_ns,
        about={"profile": profile.profile, "operations": "none"},
    )


class FlowBooks(Books):
    """The books of a run, or of a part of one, in which everything came once and in order: from its arrays, without rows."""

    def __init__(self, run: RunData, found: Flow, whole: Whole, first_event: int = 0) -> None:
        super().__init__(run, whole, first_event)
        self._found = found
        sends = self.sends = SendTally(0)
        sends.handed_ns, sends.acked_ns, sends.closed_ns = found.handed_ns, found.acked_ns, found.acked_ns
        sends.position, sends.sends = found.offset, np.broadcast_to(np.int64(1), self.events)
        sends.partition = found.partition - self.first_partition[self.plan.topic]
        sends.unknown = np.broadcast_to(np.False_, self.events)
        handling = self.handling = HandlingTally.of_one_value(len(self.groups), self.events)
        once = (found.delivered_ns != NEVER).astype(np.int64)
        handling.delivered_ns, handling.effect_ns = found.delivered_ns, found.effect_ns
        handling.deliveries = once
        handling.effects = handling.tries = (found.effect_ns != NEVER).astype(np.int64)
        self.block.sends = _Sends(found)  # type: ignore[assignment]  # the columns that are asked for
        # A process hands a key's events over in order, to one partition, which one member handles in order.
        self.once("inverted pairs", lambda: np.zeros(len(self.pairs.event), np.bool_))

    @cached_property
    def logged(self) -> Records:
        """Every event is in its log once."""
        return Records(np.arange(self.events), self._found.partition, self._found.offset)

    @cached_property
    def records_in_order(self) -> Records:
        """In a whole run offsets count from 0 in each partition, so each record has its place."""
        found = self._found
        if self.events < len(self.whole.plan):
            return super().records_in_order
        counts = np.bincount(found.partition, minlength=int(self.first_partition[-1]))
        event, first = np.zeros(self.events, np.int64), np.cumsum(counts) - counts
        event[first[found.partition] + found.offset] = np.arange(self.events)
        return Records(event, found.partition[event], found.offset[event])


class _Sends:
    """The sends of a quiet stretch as rows: one for each event, and each of them answered."""

    def __init__(self, found: Flow) -> None:
        count = len(found.handed_ns)
        self._columns = {
            "event_id": np.arange(count),
            "started_ns": found.handed_ns,
            "ended_ns": found.acked_ns,
            "root_id": np.arange(count),
        }
        self.ok = np.ones(count, np.bool_)

    def __len__(self) -> int:
        return len(self.ok)

    def __getitem__(self, name: str) -> Ints:
        return self._columns[name]
