"""Builds the world of a run from its plan and random inputs, and lets its arrays grow when the kernel runs short."""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rundata.tables import Names, most_members
from scenarios.clients import (
    ProducerSettings,
    broker_setting,
    consumer_settings,
    producer_settings,
    transaction_timeout_ns,
)
from scenarios.disturbances import NOT_AGAIN
from scenarios.faults import FailingWork, SlowWork
from scenarios.following import derived_of
from scenarios.partitioners import partition_of
from scenarios.plan import CLIENT_CHOOSES, Plan, hand_overs
from scenarios.quantities import MILLISECOND
from scenarios.retries import all_topics, most_partitions, retry_topic, retry_topics
from scenarios.schema import CollectReads, Dedupe, EveryCommit, Failures, Group
from sim import world as at
from sim.actions import Redriver
from sim.dependencies import dependency_faults, dependency_rows, group_calls
from sim.draws import Draws
from sim.emitters import emitters
from sim.far import NEAR, Near
from sim.foreknown import Foreknown
from sim.kernel.replays import AT_ONCE as REPLAYED_AT_ONCE
from sim.kernel.resting import LONG_AGO
from sim.replaying import replaying
from sim.supply import Supply
from sim.transactional import TRANSACTIONS_TOPIC, coordinated
from sim.world import NEVER, NONE, Ints, World

_FIRST_DRAWS = 1024
_MODES = {
    "after_batch": at.AFTER_BATCH,
    "before_work": at.BEFORE_WORK,
    "after_event": at.AFTER_EVENT,
    "auto": at.AUTO,
    "transaction": at.TRANSACTION,
}
_ORDERS = {"none": at.BY_NOTHING, "key": at.BY_KEY, "partition": at.BY_PARTITION}
_THEN = {"dead_letter": at.DEAD_LETTER, "skip": at.SKIP, "stop": at.STOP, "crash": at.CRASH, "release": at.RELEASE}
_RESETS = {"earliest": at.TO_EARLIEST, "latest": at.TO_LATEST, "none": at.TO_NOTHING}
_AHEAD = {
    "any": at.ANY,
    "other partitions": at.OTHER_PARTITIONS,
    "other brokers": at.OTHER_BROKERS,
    "nothing": at.NOTHING_AHEAD,
    "when called": at.WHEN_CALLED,
}
_ACKS = {"0": at.ACKS_0, "1": at.ACKS_1, "all": at.ACKS_ALL}


class Builder:
    """What a world is made from, and how its arrays grow."""

    def __init__(
        self,
        plan: Plan,
        draws: Draws,
        chance: int,
        places: dict[str, int],
        coordinators: list[int],
        room: Near = NEAR,
    ) -> None:
        self.plan, self.draws, self.chance, self.places, self.coordinators = plan, draws, chance, places, coordinators
        self.room = room
        """Where large arrays lie."""
        self.names = Names.of(plan.scenario)
        self.brokers = plan.scenario.brokers.nodes
        self.users = sum(most_partitions(plan.scenario, topic) for topic in all_topics(plan.scenario))
        self.processes = sum(producer.count for producer in plan.scenario.producers.values())
        self.readers = [name for name in plan.scenario.groups for _ in range(most_members(plan.scenario, name))]
        self.readers += [replay.group for replay in replaying(plan.scenario)]
        """The group of everyone who reads: of each member, and of each who replays."""
        self.members = len(self.readers)
        self.emitters, self.derived = emitters(plan.scenario), derived_of(plan)
        self.foreknown = Foreknown(plan, self.derived, places, room)
        self.supply = Supply(draws, self.processes, self.members, self.brokers, self.emitters)
        first_of_topic = [places[f"{topic}/0"] for topic in self.names.topics]
        self.first_place = np.asarray(first_of_topic, np.int64)
        self.partition = self._partitions()

    def _partitions(self) -> Ints:
        plan, found = self.plan, self.room.zeros(len(self.plan))
        for some in self.room.parts(len(plan)):
            chosen = plan.partition[some] == CLIENT_CHOOSES
            found[some] = np.where(chosen, NONE, self.first_place[plan.topic[some]] + plan.partition[some])
        return found

    def world(self) -> World:
        """Return the world at time 0, with the first events of each process expected."""
        plan, groups = self.plan, len(self.names.groups)
        foreknown = self.foreknown
        count, parts, room = len(plan), len(self.places), self.room
        proc, proc_events, sticky, handed, sent = self._producers()
        sendings = len(sent)
        capacity = self._log_capacity()
        scalars = np.zeros(at.N_SCALARS, np.int64)
        scalars[[at.CHANCE, at.SEED, at.OPEN]] = self.chance, plan.seed, sendings
        scalars[[at.SENDINGS, at.PRODUCERS, at.FIRST_EMITTING]] = (
            sendings,
            self.processes,
            self.processes + self.members,
        )
        group, backoff = self._groups()
        scalars[at.LARGEST_BYTES] = int(plan.size_bytes.max(initial=1))
        at_once = [REPLAYED_AT_ONCE] if replaying(plan.scenario) else []
        largest = int(max([*group[:, at.MAX_POLL], *group[:, at.COLLECT_EVENTS], *at_once], default=1))
        scalars[at.MOST] = largest
        scalars[at.FREE_CALL] = NONE
        part = np.zeros((parts, at.N_PART), np.int64)
        part[:, [at.LAST_REQ, at.PENDING]] = NONE
        senders = len(proc)
        conn = np.full((senders, self.brokers + 1, at.N_CONN), NONE, np.int64)
        counted = [
            at.C_SERVED,
            at.C_LAST_ANSWER,
            at.C_UNANSWERED,
            at.C_FAILURES,
            at.C_DRAIN,
            at.C_SENT,
            at.C_CAME_NS,
            at.C_MUTED_NS,
            at.C_NEW,
            at.C_WOKE_NS,
            at.C_IS_LATE,
        ]
        conn[:, :, counted] = 0
        conn[:, :, at.C_TIMEOUT] = NEVER
        for row, code in enumerate(self.supply.senders):
            phases_ns = [] if proc[row, at.JAVA] else self.draws.request_scans_ns(code, self.brokers)
            conn[row, 1 : 1 + len(phases_ns), at.C_SCAN] = phases_ns
        queue = np.zeros((senders, self.users, at.N_QUEUE), np.int64)
        queue[:, :, [at.Q_HEAD, at.Q_TAIL]] = NONE
        slow, factor = foreknown.intervals(SlowWork)
        fail, share = foreknown.intervals(FailingWork)
        profile = self.draws.profile
        world = World(
            scalars=scalars,
            heap=np.zeros((4096, 7), np.int64),
            proc=proc,
            proc_events=proc_events,
            sticky=sticky,
            event=self._events(handed, sent, proc_events),
            queue=queue,
            conn=conn,
            request=room.zeros((room.room_for(count + 1024, 8 * at.N_REQ), at.N_REQ)),
            part=part,
            broker=self._broker_rows(),
            link=np.zeros((self.brokers + 1, 2, at.N_LINK), np.int64),
            pair=np.zeros((self.brokers + 1, self.brokers + 1, at.N_PAIR), np.int64),
            quota=np.zeros((len(plan.scenario.producers) + 1 + groups, self.brokers + 1, at.N_QUOTA), np.int64),
            in_sync=np.zeros((parts, self.brokers + 1), np.uint8),
            log=room.zeros((self.users, capacity, at.N_LOG)),
            knows=np.zeros((self.processes + self.members + len(self.emitters), parts), np.int64),
            group=group,
            reads=self._reads(parts),
            committed=np.zeros((groups, self.users), np.int64),
            latest=np.zeros((groups, self.users), np.int64),
            left=room.zeros((groups, self.users, capacity), np.int16),
            identity=foreknown.identities(),
            relay=self._relays(),
            child_first=room.full((groups, count), NONE),
            child_count=room.zeros((groups, count)),
            closed=room.zeros((groups, self.users, capacity), np.uint8),
            deliveries=room.zeros((groups, count)),
            work=foreknown.by_event(foreknown.work_of, len(foreknown.versions), np.int64),
            failing=foreknown.by_event(foreknown.failing_of, len(foreknown.versions), np.int16),
            backoff=backoff,
            dead_letter_part=foreknown.by_event(
                foreknown.dead_letter_parts_of, groups * foreknown.letter_stages, np.int32
            ),
            retry_part=self._retry_parts(),
            tried_before=self._tried_before(),
            marked=room.full((groups, count), NONE),
            own_marked=np.full((self.members, count if self._has_own_memory else 0), NONE, np.int64),
            slow=slow,
            slow_factor=factor,
            fail=fail,
            fail_share=share,
            member=self._member_rows(),
            mp=np.zeros((self.members, self.users, at.N_MP), np.int64),
            mb=np.zeros((self.members, self.brokers + 1, at.N_MB), np.int64),
            answer=np.zeros((self.members, self.brokers + 1, self.users, at.N_ANSWER), np.int64),
            ring=np.zeros((self.members, 1024, at.N_RANGE), np.int64),
            hand=np.zeros((self.members, min(_FIRST_DRAWS, int(scalars[at.MOST])), at.N_HAND), np.int64),
            worker=self._worker_rows(),
            commit=room.zeros((room.room_for(count + 1024, 8 * at.N_COMMIT), at.N_COMMIT)),
            item=room.zeros((room.room_for(count + 4096, 32), 4)),
            share=np.zeros((self._sharing, self.users, capacity), np.int32),
            acquisition=np.zeros((1024, at.N_ACQUISITION), np.int64),
            txn=np.zeros((1024, at.N_TXN), np.int64),
            rows=room.zeros((room.room_for(3 * count * max(1, groups) + 4096, 8 * at.N_ROW), at.N_ROW)),
            **{name: self.supply.array(name, _FIRST_DRAWS) for name in _SUPPLIED},
            group_call=group_calls(plan.scenario),
            breaker=np.zeros((self.members, group_calls(plan.scenario).shape[1], at.N_BREAKER), np.int64),
            dependency=dependency_rows(plan.scenario),
            dependency_fails=np.array([what.fails for what in plan.scenario.dependencies.values()], np.float64),
            calling=np.zeros((64, at.N_CALLING), np.int64),
            dep_fault=dependency_faults(plan)[0],
            dep_factor=dependency_faults(plan)[1],
            costs=np.array([profile.produce_us_per_kib, profile.produce_us_per_record, profile.oversleep]),
            times=np.array(
                [round(1000 * us) for us in (profile.handle_us, profile.poll_us, profile.sleep_step_us)], np.int64
            ),
            core_times=np.array(self.draws.core_times(), np.int64),
            cores=np.zeros(profile.cores.count, np.int64),
            rest=np.array(profile.rest.costs_ns, np.int64),
            asked=np.full(self.brokers + 1, LONG_AGO, np.int64),
        )
        for process in range(self.processes):
            if proc[process, at.NEXT_EVENT] < proc[process, at.LAST_EVENT]:
                first = proc_events[proc[process, at.NEXT_EVENT]]
                kernel_push(world, int(world.event[first, at.HANDED]), process, int(proc[process, at.NEXT_EVENT]))
        return world

    # ---- parts -------------------------------------------------------------------------------------------------------

    def _events(self, handed: Ints, sent: Ints, proc_events: Ints) -> Ints:
        """Return a row for each sending."""
        plan, count = self.plan, len(self.plan)
        event = self.room.full((len(sent), at.N_EVENT), NONE)
        for some in self.room.parts(len(sent)):
            own, which = event[some], sent[some]
            own[:, at.HANDED], own[:, at.SIZE], own[:, at.PART] = (
                handed[some],
                plan.size_bytes[which],
                self.partition[which],
            )
            own[:, at.SENT_ENDED], own[:, at.GIVEN_UP], own[:, at.IDENTITY] = NEVER, 0, which
        event[count:, at.INTENDED] = plan.intended_ns[sent[count:]]
        for some in self.room.parts(len(sent)):
            event[proc_events[some], at.RANK] = np.arange(some.start, some.stop)
        return event

    def _producers(self) -> tuple[Ints, Ints, Ints, Ints, Ints]:
        """Return the processes' rows, their sendings one process after another, their choices; hand-over and event of each sending.

        A planned event is its own sending; those that go a second time come behind.
        """
        plan, scenario = self.plan, self.plan.scenario
        proc = np.zeros((self.processes, at.N_PROC), np.int64)
        repeated = int(np.count_nonzero(plan.again_ns != NOT_AGAIN))
        count, room = len(plan) + repeated, self.room
        handed, sent, own_events, choices = (room.zeros(count) for _ in range(4))
        for some in room.parts(count):
            sent[some] = np.arange(some.start, some.stop)
        process, first, last = 0, 0, len(plan)
        for index, (name, producer) in enumerate(scenario.producers.items()):
            settings = producer_settings(scenario, name)
            partitions = scenario.topics[producer.topic].partitions
            for number in range(1, producer.count + 1):
                own = np.flatnonzero((plan.producer == index) & (plan.process == number))
                events, due_ns, again = hand_overs(plan, own)
                room.give_back()
                own, more = events, int(np.count_nonzero(again))
                if more:
                    own = events.copy()
                    own[again] = np.arange(last, last + more)
                sent[own], last = events, last + more
                due_ns += self.draws.send(process).onward()(len(own))
                handed[own] = np.maximum.accumulate(due_ns, out=due_ns)
                mine = slice(first, first + len(own))
                own_events[mine] = own
                if producer.key == "none" and partitions > 1:
                    choices[mine] = self.draws.sticky(process, partitions).onward()(len(own))
                room.give_back()
                row = proc[process]
                self._set_client(row, settings, producer.topic, producer.client)
                row[at.P_OWNER] = index
                row[at.FIRST_EVENT] = row[at.NEXT_EVENT] = row[at.EXPIRES] = first
                row[at.LAST_EVENT] = first = first + len(own)
                process += 1
        for code, place in self._coordinators_of_transactions():
            if code < self.processes:
                proc[code, at.P_COORDINATOR] = place
        if self.emitters:
            proc = np.concatenate([proc, np.zeros((self.members, at.N_PROC), np.int64), self._emitting()])
        return proc, own_events, choices, handed, sent

    def _coordinators_of_transactions(self) -> Iterator[tuple[int, int]]:
        """Yield each process that sends in transactions, with the partition whose leader coordinates them."""
        for name, number in coordinated(self.plan.scenario).items():
            yield self.names.processes.index(name), self.places.get(f"{TRANSACTIONS_TOPIC}/{number}", NONE)

    def _set_client(self, row: Ints, settings: ProducerSettings, topic: str, client: str) -> None:
        """Set how a client sends."""
        row[at.JAVA], row[at.REQUEST_BYTES] = client == "java", settings.request_bytes
        row[at.BUFFER_EVENTS], row[at.BUFFER_BYTES] = settings.buffer_events, settings.buffer_bytes
        row[at.MAX_BLOCK_NS] = NONE if settings.max_block_ns is None else settings.max_block_ns
        row[at.BLOCKED_UNTIL] = row[at.BACK_NS] = NONE
        row[at.LARGEST] = settings.largest_bytes
        row[at.LINGER], row[at.BATCH_BYTES] = settings.linger_ns, settings.batch_bytes
        row[at.BATCH_EVENTS] = settings.batch_events
        row[at.DELIVERY_NS], row[at.REQUEST_NS] = settings.delivery_timeout_ns, settings.request_timeout_ns
        row[at.ACKS_NS] = settings.acks_timeout_ns
        row[at.BACKOFF_NS], row[at.MOST_BACKOFF_NS] = settings.retry_backoff_ns, settings.retry_backoff_max_ns
        row[at.IN_FLIGHT] = NONE if settings.in_flight is None else settings.in_flight
        row[at.ACKS], row[at.IDEMPOTENT] = _ACKS[settings.acks], settings.idempotence
        row[at.FIRST_PART], row[at.PARTS] = self.places[f"{topic}/0"], most_partitions(self.plan.scenario, topic)
        row[at.P_KNOWS] = self.draws.partitions_of(topic)
        row[at.UNTIL] = -1
        row[[at.P_COORDINATOR, at.P_TXN, at.P_LATEST_TXN, at.P_COMMIT_BEGUN, at.P_BROKEN_NS]] = NONE
        row[at.P_TXN_TIMEOUT] = settings.transaction_timeout_ns

    def _emitting(self) -> Ints:
        """Return the rows of the clients with which members send what they emit."""
        rows = np.zeros((len(self.emitters), at.N_PROC), np.int64)
        for row, emitter in zip(rows, self.emitters, strict=True):
            self._set_client(row, emitter.settings, emitter.topic, "java" if emitter.is_java else "librdkafka")
            row[at.P_MEMBER] = emitter.entity - self.processes if emitter.kind == "member" else NONE
            row[at.P_EMIT], row[[at.BOX_HEAD, at.BOX_TAIL, at.LOOKS_AT]] = emitter.number, NONE
            if emitter.kind == "relay":
                outbox = self.plan.scenario.groups[emitter.group].emits[emitter.number].outbox
                assert outbox is not None
                row[at.LOOKS_EVERY] = outbox.every
            row[at.FIRST_EVENT], row[at.P_OWNER] = len(self.plan), len(self.plan.scenario.producers)
        return rows

    def _relays(self) -> Ints:
        """Return the relay of each group's emits, NONE where members send by themselves."""
        groups = self.plan.scenario.groups
        found = np.full((len(groups), max((len(what.emits) for what in groups.values()), default=0)), NONE, np.int64)
        for emitter in self.emitters:
            if emitter.kind == "relay":
                found[self.names.groups.index(emitter.group), emitter.number] = emitter.code
        return found

    def redrivers(self) -> dict[tuple[int, str], Redriver]:
        """Return who sends dead letters again, by action of the scenario and topic."""
        return {
            (each.number, each.topic): Redriver(
                each.code, self.draws.send(each.code), partial(self._redriven_to, each.topic)
            )
            for each in self.emitters
            if each.kind == "redrive"
        }

    def _redriven_to(self, topic: str, event: int, partitions: int) -> int:
        key, first = self.derived.key_text(event), self.places[f"{topic}/0"]
        if key is None:
            return first if partitions == 1 else NONE
        return first + partition_of("librdkafka", key.encode(), partitions)

    def _log_capacity(self) -> int:
        """Return room for all events of the fullest partition, and some that come twice; the kernel asks for more."""
        known = self.partition[self.partition != NONE]
        chosen = len(self.partition) - len(known)
        fullest = int(np.bincount(known).max()) if len(known) else 0
        return fullest + chosen + 256

    def _groups(self) -> tuple[Ints, Ints]:
        scenario = self.plan.scenario
        group = np.zeros((len(scenario.groups), at.N_GROUP), np.int64)
        backoffs: list[list[int]] = []
        for code, (name, what) in enumerate(scenario.groups.items()):
            settings, row = consumer_settings(scenario, name), group[code]
            row[at.MAX_POLL], row[at.COORDINATOR] = settings.max_poll_records, self.coordinators[code]
            row[at.POLL_INTERVAL] = settings.max_poll_interval_ns
            row[at.AHEAD], row[at.AT_CALLS] = _AHEAD[settings.fetches_ahead], _commits_at_calls(what)
            row[at.ONE_COMMIT] = _commits_at_calls(what) and settings.protocol == "consumer"
            row[at.LEAST_BYTES], row[at.FETCH_WAIT] = settings.fetch_min_bytes, settings.fetch_wait_ns
            row[at.PART_BYTES], row[at.ANSWER_BYTES] = settings.fetch_partition_bytes, settings.fetch_bytes
            row[at.READ_COMMITTED] = settings.isolation == "read_committed"
            row[at.TXN_TIMEOUT] = transaction_timeout_ns(scenario, name)
            row[at.EMITS], row[at.CALLS] = len(what.emits), len(what.calls)
            row[at.RESETS_TO] = _RESETS[settings.auto_offset_reset]
            row[at.WORKERS], row[at.IN_HAND], row[at.ORDERED_BY] = what.workers, what.in_hand, _ORDERS[what.ordered_by]
            row[at.BY_TOPIC] = bool(retry_topics(scenario, name))
            if isinstance(what.dedupe, Dedupe):
                row[at.DEDUPE_NS], row[at.DEDUPE_OWN] = what.dedupe.window, what.dedupe.store == "member"
            match what.commit:
                case EveryCommit(every=interval_ns):
                    row[at.MODE], row[at.INTERVAL] = at.EVERY, interval_ns
                case "auto":
                    row[at.MODE], row[at.INTERVAL] = at.AUTO, settings.auto_commit_interval_ns
                case mode:
                    row[at.MODE] = _MODES[mode]
            if isinstance(what.reads, CollectReads):
                row[at.COLLECT_EVENTS] = what.reads.collect.events
                row[at.COLLECT_TIMEOUT] = what.reads.collect.timeout
            backoffs.append(self._backoffs(what.failures, row))
            if what.share_group:
                self._set_shares(row, what)
        longest = max((len(each) for each in backoffs), default=1)
        backoff = np.array([each + each[-1:] * (longest - len(each)) for each in backoffs], np.int64)
        return group, backoff.reshape(len(backoffs), longest)

    def _set_shares(self, row: Ints, group: Group) -> None:
        """Set how a share group acquires records."""
        lock_ms, limit, most = (
            int(broker_setting(self.plan.scenario, f"group.share.{name}"))
            for name in ("record.lock.duration.ms", "delivery.count.limit", "partition.max.record.locks")
        )
        row[at.LOCK_NS], row[at.DELIVERY_LIMIT], row[at.MOST_LOCKS] = lock_ms * MILLISECOND, limit, most
        row[at.LEAST_BYTES] = 1

    @property
    def _sharing(self) -> int:
        """How many groups need to know of each record who has it: all, where one is a share group."""
        groups = self.plan.scenario.groups.values()
        return len(groups) if any(group.share_group for group in groups) else 0

    def _backoffs(self, failures: Failures | None, row: Ints) -> list[int]:
        if failures is None:
            return [0]
        row[at.ATTEMPTS], row[at.THEN] = failures.retry.attempts, _THEN[failures.then]
        retry = failures.retry
        return [round(retry.backoff * retry.factor**attempt) for attempt in range(retry.attempts)]

    def _reads(self, parts: int) -> NDArray[np.uint8]:
        scenario = self.plan.scenario
        reads = np.zeros((len(scenario.groups), parts), np.uint8)
        for code, what in enumerate(scenario.groups.values()):
            for topic in (*what.topics, *retry_topics(scenario, self.names.groups[code])):
                first = self.places[f"{topic}/0"]
                reads[code, first : first + most_partitions(scenario, topic)] = 1
        return reads

    def _retry_parts(self) -> Ints:
        """Return where copies for the next try go: to the partition of the same number, modulo how many retry topics have (they do not grow)."""
        scenario = self.plan.scenario
        found = np.full((len(scenario.groups), self.users), NONE, np.int64)
        for code, what in enumerate(scenario.groups.values()):
            by_topic = what.failures is not None and what.failures.retry.where == "topic"
            for topic in what.topics if by_topic else ():
                assert what.failures is not None
                chain = [topic, *(retry_topic(topic, copy) for copy in range(1, what.failures.retry.attempts))]
                for one, following in pairwise(chain):
                    first, partitions = self.places[f"{one}/0"], most_partitions(scenario, one)
                    numbers = np.arange(partitions) % self.draws.partitions_of(following)
                    found[code, first : first + partitions] = self.places[f"{following}/0"] + numbers
        return found

    def _tried_before(self) -> Ints:
        found = np.zeros(self.users, np.int64)
        for name in self.names.topics[len(self.plan.topics) :]:
            first = self.places[f"{name}/0"]
            found[first : first + self.draws.partitions_of(name)] = int(name.rpartition(".")[2])
        return found

    @property
    def _has_own_memory(self) -> bool:
        groups = self.plan.scenario.groups.values()
        return any(isinstance(group.dedupe, Dedupe) and group.dedupe.store == "member" for group in groups)

    def _broker_rows(self) -> Ints:
        rows = np.zeros((self.brokers + 1, at.N_BROKER), np.int64)
        rows[:, [at.FOLLOWERS_LEAVE_NS, at.FOLLOWERS_BACK_NS]] = NONE
        return rows

    def _member_rows(self) -> Ints:
        rows = np.zeros((self.members, at.N_MEMBER), np.int64)
        groups = [self.names.groups.index(name) for name in self.readers]
        rows[:, at.GROUP] = rows[:, at.VERSION] = rows[:, at.LETTERS] = groups
        rows[:, at.CODE] = np.arange(self.members) + self.processes
        rows[:, [at.POLL_AT, at.LATE_AT, at.LATE_TIMER]] = NEVER
        rows[:, [at.LAST_COMMIT, at.TXN]] = NONE
        rows[:, at.FIRST_WORKER] = np.concatenate([[0], np.cumsum(self._workers)])[: self.members]
        rows[:, at.TXN_COORDINATOR] = NONE
        for code, place in self._coordinators_of_transactions():
            if code >= self.processes:
                rows[code - self.processes, at.TXN_COORDINATOR] = place
        for emitter in (each for each in reversed(self.emitters) if each.kind == "member"):
            rows[emitter.entity - self.processes, at.FIRST_EMITTER] = emitter.code
        return rows

    @property
    def _workers(self) -> Ints:
        return np.array([self.plan.scenario.groups[name].workers for name in self.readers], np.int64)

    def _worker_rows(self) -> Ints:
        rows = np.zeros((int(self._workers.sum()), at.N_WORKER), np.int64)
        rows[:, at.WK_MEMBER] = np.repeat(np.arange(self.members), self._workers)
        rows[:, at.WK_HAND] = NONE
        rows[:, [at.DL_OFFSET, at.DL_PART, at.DL_REQUEST]] = NONE
        return rows

    # ---- growth ------------------------------------------------------------------------------------------------------

    def grown(self, world: World) -> World:
        """Return the world with more room for what the kernel wants."""
        grown = self.room.grown
        match int(world.scalars[at.WANT]):
            case at.WANT_HEAP:
                return world._replace(heap=_doubled(world.heap))
            case at.WANT_REQUESTS:
                return world._replace(request=grown(world.request))
            case at.WANT_ROWS:
                return world._replace(rows=grown(world.rows))
            case at.WANT_COMMITS:
                return world._replace(commit=grown(world.commit))
            case at.WANT_ITEMS:
                return world._replace(item=grown(world.item))
            case at.WANT_SERVICES:
                return self._supplied(world, "produce", "leader", "acknowledge")
            case at.WANT_LOGS:
                return world._replace(
                    log=grown(world.log, 1),
                    closed=grown(world.closed, 2),
                    left=grown(world.left, 2),
                    share=grown(world.share, 2),
                )
            case at.WANT_FETCHES:
                return self._supplied(world, "fetch", "turnaround")
            case at.WANT_RING:
                return world._replace(ring=_unrolled(world))
            case at.WANT_WAKES:
                return self._supplied(world, "wake")
            case at.WANT_TRIES:
                return self._supplied(world, "overshoot", "dead_letter")
            case at.WANT_COMMIT_TIMES:
                return self._supplied(world, "commit_time")
            case at.WANT_HAND:
                return world._replace(hand=_doubled(world.hand, 1))
            case at.WANT_EMIT_SENDS:
                return self._supplied(world, "emit_send")
            case at.WANT_CHILDREN:
                return self._with_children(world)
            case at.WANT_EVENTS:
                return world._replace(event=grown(world.event))
            case at.WANT_EMIT_STICKY:
                return self._supplied(world, "emit_sticky")
            case at.WANT_CALLINGS:
                return world._replace(calling=_doubled(world.calling))
            case at.WANT_TAKES:
                return self._supplied(world, "takes")
            case at.WANT_TXNS:
                return world._replace(txn=_doubled(world.txn))
            case at.WANT_ACQUISITIONS:
                return world._replace(acquisition=_doubled(world.acquisition))
            case at.WANT_RETRIES:
                return self._supplied(world, "retry")
            case at.WANT_PRODUCER_COMMITS:
                return self._supplied(world, "producer_commit")
            case other:
                raise AssertionError(f"the kernel wants {other}, which nothing provides")

    def _with_children(self, world: World) -> World:
        """Return the world with all events that effects of those known so far can emit."""
        known, derived, groups = world.identity[:, at.V_ID], self.derived, self.plan.scenario.groups
        first, count = world.child_first.copy(), world.child_count.copy()
        children: list[Ints] = [np.zeros(0, np.int64)]
        total = len(known)
        for code, (name, what) in enumerate(groups.items()):
            new = np.flatnonzero(first[code] == NONE) if what.emits else np.zeros(0, np.int64)
            counts, own = derived.children_of(known[new], name)
            first[code, new], count[code, new] = total + np.cumsum(counts) - counts, counts
            total += len(own)
            children.append(own)
        ids = np.concatenate(children)
        sizes = derived.size_bytes(ids)
        world.scalars[at.LARGEST_BYTES] = max(int(world.scalars[at.LARGEST_BYTES]), int(sizes.max(initial=1)))
        return world._replace(
            identity=np.concatenate([world.identity, self.foreknown.emitted(ids, sizes)]),
            child_first=_wider(first, len(ids), NONE),
            child_count=_wider(count, len(ids), 0),
            deliveries=_wider(world.deliveries, len(ids), 0),
            marked=_wider(world.marked, len(ids), NONE),
            own_marked=_wider(world.own_marked, len(ids) if self._has_own_memory else 0, NONE),
            work=np.concatenate([world.work, self.foreknown.work_of(ids)], axis=1),
            failing=np.concatenate([world.failing, self.foreknown.failing_of(ids)], axis=1),
            dead_letter_part=np.concatenate([world.dead_letter_part, self.foreknown.dead_letter_parts_of(ids)], axis=1),
        )

    def _supplied(self, world: World, *names: str) -> World:
        arrays = {name: getattr(world, name) for name in names}
        more: dict[str, Any] = {
            name: self.supply.array(name, 2 * known.shape[-1], known, self.room) for name, known in arrays.items()
        }
        return world._replace(**more)


_SUPPLIED = (
    "produce", "leader", "acknowledge", "retry", "fetch", "turnaround", "wake", "overshoot", "commit_time", "dead_letter",
    "emit_send", "emit_sticky", "takes", "producer_commit",
)  # fmt: skip


def _commits_at_calls(group: Group) -> bool:
    """Whether only calls commit (Java's auto commit); otherwise the client, or the handler between two events, does it, too."""
    return group.client == "java" and group.commit == "auto"


def kernel_push(world: World, time_ns: int, process: int, number: int) -> None:
    """Expect a process's first event."""
    at.push(world, time_ns, at.HAND_OVER, process, 0, at.ON_HAND_OVER, process, number, 0)


def _wider(array: NDArray[Any], more: int, value: int) -> NDArray[Any]:
    return np.concatenate([array, np.full((len(array), more), value, array.dtype)], axis=1)


def _doubled(array: NDArray[Any], axis: int = 0) -> NDArray[Any]:
    return np.concatenate([array, np.zeros_like(array)], axis=axis)


def _unrolled(world: World) -> Ints:
    """Return the members' queues with twice the room, each beginning at 0."""
    ring = world.ring
    grown = np.zeros((ring.shape[0], 2 * ring.shape[1], ring.shape[2]), np.int64)
    for member in range(ring.shape[0]):
        head, count = int(world.member[member, at.RING_HEAD]), int(world.member[member, at.RING_COUNT])
        grown[member, :count] = ring[member, (head + np.arange(count)) % ring.shape[1]]
        world.member[member, at.RING_HEAD] = 0
    return grown
