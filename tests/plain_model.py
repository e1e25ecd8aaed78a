"""The executable specification: the rules of docs/model.md as a plain SimPy program, message by message, without haste.

Every station is a short SimPy process, in `plain_producers`, `plain_brokers`, `plain_members`, `plain_groups` and beside them; here is what holds them
together: the controller that elects leaders, the run's end, and what is recorded.
"""

import itertools
from collections import Counter
from collections.abc import Generator, Hashable, Iterator
from typing import Any

import numpy as np
import simpy

from plain_actions import Actions
from plain_autoscaling import autoscale
from plain_brokers import (
    COORDINATING,
    OFFSETS,
    OFFSETS_PARTITIONS,
    TRANSACTIONS,
    TRANSACTIONS_PARTITIONS,
    Partition,
    Request,
)
from plain_clock import Clock, Control, Phase, Signal
from plain_compaction import Compaction
from plain_cores import Cores
from plain_deletion import Deletion
from plain_dependencies import Service
from plain_emits import FIRST_SENDING, Emitting
from plain_failures import Controller, Failures
from plain_groups import Group
from plain_growth import Growth
from plain_links import Links
from plain_member_state import Delivery
from plain_members import Member
from plain_producers import Client
from plain_quotas import Quotas
from plain_reassignment import Reassignments
from plain_recording import Recording
from plain_replays import Replayer
from plain_rest import Rests
from plain_rules import Rules
from plain_shares import ShareGroup
from plain_transactions import InTransactions, Transactions
from plain_wrong_clocks import WrongClocks
from rundata.tables import Incident, Names, RunData
from scenarios.clients import broker_setting, topic_setting
from scenarios.derived import Derived
from scenarios.faults import (
    AddPartitions,
    BrokerCrash,
    BrokerPause,
    BrokerStop,
    ClockSkew,
    Cut,
    DiskFull,
    DiskStall,
    HostCrash,
    LeaderMove,
    MemberCrash,
    MemberLeave,
    MemberPause,
    PollStall,
    ProducerCrash,
    ProducerPause,
    Reassign,
    SlowLink,
    Throttle,
)
from scenarios.partitioners import coordinator_partition
from scenarios.plan import Plan, hand_overs, replica_assignment
from scenarios.profiles import Profile
from scenarios.quantities import SECOND
from scenarios.retries import most_partitions
from scenarios.targets import BrokerTarget
from sim.draws import Draws
from sim.emitters import emitters
from sim.replaying import replaying

Process = Generator[simpy.Event, Any, None]


class Model(Recording):
    """All stations of one run, the controller that elects leaders, and what is recorded."""

    def __init__(self, plan: Plan, profile: Profile, draws: Draws, rules: Rules) -> None:
        self.plan, self.profile, self.draws, self.rules = plan, profile, draws, rules
        self.clock, self.names = Clock(), Names.of(plan.scenario)
        self.fired: Counter[str] = Counter()
        self.rows: list[dict[str, int]] = []
        self.incidents: list[Incident] = []
        self.over = False
        self.news = Signal(self.clock)
        self.open: set[Hashable] = set()
        """What the end of the run waits for: sends, records, pairs of a group and a record, commits under way."""
        self.handed: dict[int, tuple[int, Partition]] = {}
        self.unavailable: set[int] = set()
        """Brokers from the begin of a fault until they are in sync again."""
        self.down: set[int] = set()
        self.parted: set[tuple[int | None, int]] = set()
        """Pairs of brokers of which the second cannot fetch from the first."""
        self.stalled: set[int] = set()
        """Brokers whose disks take no writes."""
        self.cut_off: set[int] = set()
        self.reset: set[int] = set()
        self.no_requests: set[int] = set()
        self.no_answers: set[int] = set()
        """Brokers that no client reaches; of them those that refuse connections, or are cut off in one direction."""
        self.silent: set[int] = set()
        """Brokers that hang."""
        self.stale_until_ns: dict[int, int] = {}
        """By broker: until when it takes itself for the leader of what it led."""
        self.numbers: dict[int, int] = {}
        """Where a sending is to go, if its client knows of other partitions than the plan."""
        self.called: dict[int, int] = {}
        """When the application called its client with an event, which may then have blocked."""
        self.derived = Derived(plan)
        self.sizes: dict[int, int] = {}
        """What `record_size` said before."""
        self.sendings: list[tuple[int, int]] = []
        """Each sending of an emitted event: which, and when it was intended."""
        self.waiting_for: dict[int, tuple[Member, int, Delivery]] = {}
        """By sending: whose member, and life, and delivery waits for its answer."""
        self.unheard: set[int] = set()
        """Sendings whose member died."""
        self.brokers = list(range(1, plan.scenario.brokers.nodes + 1))
        self.partitions = {topic: self._partitions_of(topic) for topic in self.names.topics}
        self.offsets, self.coordinators = self._offsets_partitions(), self._coordinators_of_transactions()
        self.all_partitions = [p for several in self.partitions.values() for p in several] + self.offsets
        self.all_partitions += sorted(set(self.coordinators.values()), key=lambda partition: partition.number)
        for place, partition in enumerate(self.all_partitions):
            partition.place = place
        replay = replaying(plan.scenario)
        self.knowers = range(len(self.names.processes) + len(replay) + len(emitters(plan.scenario)))
        """Codes of everyone who knows leaders: processes, members, who replays, and members' emitting clients."""
        everybody = [(code, partition) for code in self.knowers for partition in self.all_partitions]
        self.known = {(code, partition): partition.leader for code, partition in everybody}
        """Whom clients and members take for a partition's leader."""
        self.controller = Controller(self)
        self.reassignments, self.growth = Reassignments(self), Growth(self)
        self.failures, self.links = Failures(self), Links(self)
        self.quotas = Quotas(self)
        self.cores, self.rests = Cores(self), Rests(self)
        self.wrong_clocks = WrongClocks(self)
        self.clients = self._clients()
        self.services = {name: Service(self, name, n) for n, name in enumerate(plan.scenario.dependencies)}
        self.transactions = Transactions(self)
        self.groups = {
            name: (ShareGroup if group.share_group else Group)(self, name)
            for name, group in plan.scenario.groups.items()
        }
        self.replayers = {what.number: Replayer(self.groups[what.group], what) for what in replay}
        emitting = [Emitting(self, what) for what in emitters(plan.scenario)]
        of_members = [client for client in emitting if client.what.kind == "member"]
        self.emitting = {(client.what.entity, client.what.number): client for client in of_members}
        relays = [client for client in emitting if client.what.kind == "relay"]
        self.relays = {(client.what.group, client.what.number): client for client in relays}
        redrives = [client for client in emitting if client.what.kind == "redrive"]
        self.redrivers = {(client.what.number, client.what.topic): client for client in redrives}
        self.sent_for: dict[int, int] = {}
        """By sending of a relay: the member that stored it; of a redrive NONE, since it leaves no row."""
        self.headers: dict[Hashable, tuple[int, Partition]] = {}
        """By token of what is a dead letter or was one: how often it was redriven, and where it was first read."""
        self.clients += emitting
        if broker_setting(plan.scenario, "auto.leader.rebalance.enable") and rules.preferred_leader:
            self.clock.process(self._check_leaders())
        Compaction(self, Deletion(self))
        for index, planned in enumerate(plan.faults):
            self._start_fault(index, planned.fault)
        self.actions = Actions(self)
        for name, what in plan.scenario.groups.items():
            if what.autoscaler is not None:
                self.clock.process(autoscale(self.groups[name], what.autoscaler))
        for event in range(len(plan)):
            self.open.add(("send", event))

    def _partitions_of(self, topic: str) -> list[Partition]:
        # A retry topic is as the topic that it belongs to.
        own = topic if topic in self.plan.topics else topic.rsplit(".retry.", 1)[0]
        copy = 0 if own == topic else int(topic.rsplit(".", 1)[1])
        least = int(topic_setting(self.plan.scenario, own, "min.insync.replicas"))
        later: list[list[int]] = [[]] * (most_partitions(self.plan.scenario, topic) - len(self.plan.replicas(topic)))
        found = [
            Partition(self, topic, number, replicas, least, copy)
            for number, replicas in enumerate([*self.plan.replicas(topic), *later])
        ]
        for partition in found:
            unclean = topic_setting(self.plan.scenario, own, "unclean.leader.election.enable")
            partition.is_unclean = bool(unclean) and self.rules.unclean_elections
        return found

    def _offsets_partitions(self) -> list[Partition]:
        nodes = len(self.brokers)
        numbers = sorted({coordinator_partition(name, OFFSETS_PARTITIONS) for name in self.plan.scenario.groups})
        replicas = replica_assignment(OFFSETS_PARTITIONS, min(3, nodes), nodes)
        return [Partition(self, OFFSETS, number, replicas[number], 1) for number in numbers]

    def _coordinators_of_transactions(self) -> dict[str, Partition]:
        """Return by member the partition whose leader coordinates its transactions."""
        nodes, scenario = len(self.brokers), self.plan.scenario
        replicas = replica_assignment(TRANSACTIONS_PARTITIONS, min(3, nodes), nodes)
        numbers = dict[str, int]()
        for name in self.names.processes:
            owner, number = name.rsplit("/", 1)
            is_member = owner in scenario.groups and scenario.groups[owner].commit == "transaction"
            own_id = owner if is_member else ""
            if owner in scenario.producers:
                own_id = str(scenario.producers[owner].settings.get("transactional.id", ""))
            if own_id:
                numbers[name] = coordinator_partition(f"{own_id}-{number}", TRANSACTIONS_PARTITIONS)
        found = {number: Partition(self, TRANSACTIONS, number, replicas[number], 1) for number in numbers.values()}
        return {name: found[number] for name, number in numbers.items()}

    def _clients(self) -> list[Client]:
        clients = []
        for code, name in enumerate(self.names.processes):
            producer, number = name.rsplit("/", 1)
            if producer in self.plan.scenario.producers:
                index = self.plan.producers.index(producer)
                own = (self.plan.producer == index) & (self.plan.process == int(number))
                events, due_ns, again = hand_overs(self.plan, np.flatnonzero(own))
                sendings = [self._sending(int(e), is_again) for e, is_again in zip(events, again, strict=True)]
                in_transactions = name in self.coordinators and self.rules.producers_transactions
                kind = InTransactions if in_transactions else Client
                clients.append(kind(self, name, code, sendings, due_ns.tolist(), again.tolist()))
        return clients

    def _sending(self, event: int, is_again: bool) -> int:
        """Return what stands for sending an event: itself, or a number of its own for the second time."""
        if not is_again:
            return event
        self.fired["sent a second time"] += 1
        sending = FIRST_SENDING + len(self.sendings)
        self.sendings.append((event, int(self.plan.intended_ns[event])))
        self.open.add(("send", sending))
        return sending

    def entity(self, code: int) -> int:
        """Return the process that a code belongs to."""
        client = next((client for client in self.emitting.values() if client.code == code), None)
        return code if client is None else client.what.entity

    def event_of(self, sending: int) -> int:
        """Return the event that is sent: a planned one is its own sending."""
        return self.sendings[sending - FIRST_SENDING][0] if sending >= FIRST_SENDING else sending

    def planned_number(self, sending: int) -> int:
        """Return which partition a planned event is to go to, as far as its client knows now."""
        return self.numbers.get(sending, int(self.plan.partition[self.event_of(sending)]))

    def size_of(self, sending: int) -> int:
        """Return the size of an event's value."""
        return self.record_size(self.event_of(sending))

    def record_size(self, event: int) -> int:
        """Return the size of a record's value by its event."""
        if event not in self.sizes:
            self.sizes[event] = int(self.derived.size_bytes(np.array([event]))[0])
        return self.sizes[event]

    def dead_letter_request(
        self, code: int, partition: Partition, event: int, token: Hashable, at_ns: int, due_ns: int
    ) -> Request:
        """Return the request that brings one event to a dead-letter topic or a retry topic."""
        return Request(code, partition, [(event, token, at_ns)], True, simpy.Event(self.clock), due_ns=due_ns)

    def members(self) -> Iterator[Member]:
        """Yield every member of every group."""
        for group in self.groups.values():
            yield from group.all_members

    # ---- leaders that move ---------------------------------------------------------------------------------------

    def _check_leaders(self) -> Process:
        """Give every partition back to its preferred replica, whenever the controller looks and that is in sync."""
        scenario = self.plan.scenario
        interval_ns = int(broker_setting(scenario, "leader.imbalance.check.interval.seconds")) * SECOND
        for check in itertools.count():
            yield self.clock.control(self.draws.leader_check_ns() + check * interval_ns, Control.leader_check)
            for partition in self.all_partitions:
                preferred = partition.replicas[0] if partition.replicas else 0
                if not self.may_lead(partition, preferred):
                    continue
                self.fired["preferred leader"] += 1
                self.move(
                    partition,
                    preferred,
                    [self.draws.moved_ns(self.entity(code), check) for code in self.knowers],
                )

    def move(self, partition: Partition, broker: int, takes_ns: list[int]) -> None:
        """Let another replica in sync lead; the old leader refuses what it has not finished."""
        assert partition.leader is not None
        partition.cut_back(self.clock.now)
        self.forget(partition)
        for client in self.clients:
            client.refused(partition.leader, partition)
        partition.leader = broker
        partition.epoch += 1
        partition.unfollowed = False
        partition.replicas_changed()
        if partition.topic not in COORDINATING:
            self.incident("election", str(partition), f"leader {broker}")
        for code, wait_ns in enumerate(takes_ns):
            self.clock.process(self.discover(code, partition, partition.epoch, self.clock.now + wait_ns))
        self.news.give()

    # ---- brokers that fail ---------------------------------------------------------------------------------------

    def _start_fault(self, index: int, fault: object) -> None:
        match fault:
            case BrokerCrash() | BrokerStop() | BrokerPause() | HostCrash() | DiskFull() | DiskStall():
                self.failures.begin(index, fault)
            case Cut():
                self.clock.process(self.links.cut(index, fault))
            case Throttle():
                self.clock.process(self.quotas.throttle(index, fault))
            case SlowLink():
                self.clock.process(self.links.slow(index, fault))
            case AddPartitions():
                self.clock.process(self.growth.add(index, fault))
            case Reassign():
                self.clock.process(self.reassignments.reassign(index, fault))
            case ClockSkew():
                self.clock.process(self.wrong_clocks.set_wrong(index, fault))
            case LeaderMove():
                self.clock.process(self._leader_move(index, fault))
            case ProducerCrash() | ProducerPause():
                self.clock.process(self._producer_fault(index, fault))
            case MemberCrash() | MemberLeave():
                self.clock.process(self.groups[fault.member.group].member_fault(index, fault))
            case MemberPause() | PollStall():
                self.clock.process(self.groups[fault.member.group].hang_fault(index, fault))

    def _leader_move(self, index: int, fault: LeaderMove) -> Process:
        """Move a partition's leadership to a replica in sync, and back."""
        planned = self.plan.faults[index]
        partition = self.partitions[fault.partition.topic][fault.partition.partition]
        yield self.clock.control(planned.begin_ns, Control.begin, index)
        before, to = partition.leader, fault.to
        if to is None:
            place = partition.replicas.index(before) if before in partition.replicas else 0
            to = partition.replicas[(place + 1) % len(partition.replicas)]
        if not self.may_lead(partition, to) or not self.rules.leader_moves:
            self.fired["leader move without effect"] += 1
            return
        self.fired["leader move"] += 1
        assert before is not None
        self.move(partition, to, [self.draws.moved_back_ns(self.entity(c), index, back=False) for c in self.knowers])
        if planned.stays or not self.rules.leaders_move_back:
            return
        yield self.clock.control(planned.end_ns, Control.end, index)
        if partition.leader == to and self.may_lead(partition, before):
            self.fired["leader moved back"] += 1
            self.move(
                partition, before, [self.draws.moved_back_ns(self.entity(c), index, back=True) for c in self.knowers]
            )

    def may_lead(self, partition: Partition, broker: int) -> bool:
        is_able = self.controller.is_up() and broker in partition.in_sync and broker not in self.unavailable
        return is_able and partition.leader not in (None, broker) and partition.leader not in self.unavailable

    def members_forget(self, partition: Partition) -> None:
        for code in self.knowers:
            if self.is_member(code) or partition.topic in COORDINATING:
                self.known[code, partition] = None
        self._release(partition)

    # ---- links that are cut --------------------------------------------------------------------------------------

    def _producer_fault(self, index: int, fault: ProducerCrash | ProducerPause) -> Process:
        """Let a producer's processes hang, or die and come back."""
        planned, target = self.plan.faults[index], fault.producer
        yield self.clock.control(planned.begin_ns, Control.begin, index)
        for client in self.clients:
            if client.code >= len(self.names.processes):
                continue
            name, _, number = self.names.processes[client.code].rpartition("/")
            if name == target.producer and target.process in (0, int(number)):
                self.fired[fault.kind] += 1
                if isinstance(fault, ProducerCrash) and self.rules.producers_die:
                    client.dies(planned.end_ns)
                    self.growth.starts_again(client.code, planned.end_ns)
                elif self.rules.producers_hang:
                    client.falls_asleep(planned.end_ns)

    def goes_on(self, broker: int, length_ns: int) -> None:
        self.silent.discard(broker)
        for partition in self.all_partitions:
            for request in partition.requests:
                if request.hung_at == broker:
                    request.goes_on(length_ns)
        for client in self.clients:
            client.connections[broker].goes_on(length_ns)
        self.news.give()

    def told(self, client: Client, broker: int, at_ns: int) -> Process:
        yield self.clock.control(at_ns, Control.election, client.code)
        client.told(broker)

    def resolve(self, target: BrokerTarget) -> int | None:
        if target.role == "number":
            return target.number
        if target.role == "controller":
            return self.controller.active
        partition = self.partitions[target.topic][target.partition]
        if target.role == "leader" or partition.leader is None:
            return partition.leader
        followers = [b for b in partition.replicas if b != partition.leader and b not in self.unavailable]
        return followers[0] if followers else None

    def lose(self, broker: int) -> list[Partition]:
        """Stop a broker: its partitions have no leader, what no follower has is gone; return the partitions it led."""
        self.down.add(broker)
        led = [partition for partition in self.all_partitions if partition.leader == broker]
        for partition in led:
            partition.leader = None
            partition.cut_back(self.clock.now)
            self.forget(partition)
        self.stops(broker)
        for partition in self.all_partitions:
            if broker in partition.in_sync:
                partition.replicas_changed()
        for client in self.clients:
            client.lost_broker(broker)
        self.news.give()
        return led

    def stops(self, broker: int) -> None:
        """Note what a broker has of everything that it fetches no longer."""
        for partition in self.all_partitions:
            partition.stops(broker)

    def elect(self, broker: int, led: list[Partition], index: int) -> None:
        """Take a lost broker out of the in-sync sets and give its partitions to the next in line."""
        for partition in self.all_partitions:
            if broker in partition.in_sync and len(partition.in_sync) > 1:
                partition.leaves(broker)
                if partition.leader is not None:
                    self._stands_until(partition, self.draws.answers_again_ns(index), index, "takeover")
        for partition in led:
            alive = [b for b in partition.replicas if b in partition.in_sync and b not in self.down | {broker}]
            up = [b for b in partition.replicas if b not in self.unavailable]
            eligible = [b for b in up if b in partition.eligible]
            if alive:
                heir = alive[0 if self.rules.elected_in_order else -1]
                self.leads(heir, partition, self.clock.now, index)
                self._stands_until(partition, self.draws.followed_ns(index, heir), index, "early followers")
            elif eligible:
                self._leads_as_eligible(eligible[0], partition, index)
            elif up and partition.is_unclean:
                self._leads_uncleanly(up[0], partition, index)
            else:
                self.fired["no leader left"] += 1
        for partition in self.all_partitions:
            partition.replicas_changed()

    def _stands_until(self, partition: Partition, drawn_ns: int, index: int, why: str) -> None:
        """Let the followers of a lost broker's successor ask a backoff late if they asked before it led; let its other leaders answer late."""
        until_ns = self.clock.now + drawn_ns - self.draws.elected_ns(index)
        stopped = isinstance(self.plan.faults[index % len(self.plan.faults)].fault, BrokerStop)
        applies = self.rules.takeover if why == "takeover" else self.rules.early_followers
        if stopped or until_ns <= self.clock.now or partition.in_sync == [partition.leader] or not applies:
            return
        self.fired[why] += 1
        partition.unfollowed = True
        self.clock.process(self._goes_on(partition, partition.epoch, until_ns, index))

    def _goes_on(self, partition: Partition, epoch: int, at_ns: int, index: int) -> Process:
        yield self.clock.control(at_ns, Control.in_sync, index)
        if partition.epoch == epoch:
            partition.unfollowed = False
            partition.replicas_changed()

    def _leads_as_eligible(self, broker: int, partition: Partition, index: int) -> None:
        """Let a replica lead that has what is visible, since nobody in sync is up."""
        self.fired["eligible replica leads"] += 1
        partition.cut_to_visible()
        partition.eligible |= set(partition.in_sync)
        partition.eligible.discard(broker)
        partition.in_sync = [broker]
        self.leads(broker, partition, self.clock.now, index)

    def _leads_uncleanly(self, broker: int, partition: Partition, index: int) -> None:
        """Let a replica lead that is out of sync, since nobody in sync or eligible is up."""
        self.fired["unclean election"] += 1
        partition.cut_to(broker)
        partition.eligible, partition.in_sync = set(), [broker]
        self.incident("unclean election", str(partition))
        self.leads(broker, partition, self.clock.now, index)

    def leads(self, broker: int, partition: Partition, elected_ns: int, index: int) -> None:
        partition.kept.pop(broker, None)
        partition.leader = broker
        partition.unfollowed = False
        partition.epoch += 1
        partition.led_since_ns = self.clock.now
        self.news.give()
        if partition.topic not in COORDINATING:
            self.incident("election", str(partition), f"leader {broker}")
        fault = self.plan.faults[index % len(self.plan.faults)].fault
        for code in self.knowers:
            entity = self.entity(code)
            discovery_ns = self.draws.discovered_ns(entity, index, str(partition)) - self.draws.elected_ns(index)
            at_ns = elected_ns + discovery_ns
            if self.is_member(code) and isinstance(fault, BrokerPause):
                at_ns = max(elected_ns, min(self.draws.told_ns(entity, index), self.draws.silence_ns(entity, index)))
            elif self.is_member(code) and isinstance(fault, Cut) and fault.channel == "both":
                at_ns = max(elected_ns, self.draws.told_ns(entity, index))
            self.clock.process(self.discover(code, partition, partition.epoch, at_ns))

    def is_member(self, code: int) -> bool:
        return code not in {client.code for client in self.clients}

    def discover(self, code: int, partition: Partition, epoch: int, at_ns: int) -> Process:
        yield self.clock.control(at_ns, Control.election, code)
        hangs = self.is_member(code) and partition.leader in self.silent
        reachable = partition.leader is not None and partition.leader not in self.cut_off and not hangs
        if reachable and partition.epoch == epoch:
            is_new = self.known[code, partition] is None
            self.learns(code, partition)
            if is_new:
                self.growth.found(code, partition)

    def learns(self, code: int, partition: Partition) -> None:
        if self.known[code, partition] is not None:
            return
        self.known[code, partition] = partition.leader
        for client in self.clients:
            if client.code == code and partition in client.partitions:
                client.learned()
        self.news.give()

    def knows(self, code: int, partition: Partition) -> bool:
        """Whether a client or member knows where the partition's leader is."""
        return self.known[code, partition] is not None

    def forget(self, partition: Partition) -> None:
        for code in self.knowers:
            self.known[code, partition] = None
        self._release(partition)

    def _release(self, partition: Partition) -> None:
        """Let share groups forget who has what of a partition that changes its leader."""
        for group in self.groups.values():
            if isinstance(group, ShareGroup):
                group.release_partition(partition)

    def is_back(self, broker: int, index: int) -> None:
        self.unavailable.discard(broker)
        self.down.discard(broker)
        for partition in self.all_partitions:
            self.comes_back(broker, partition, index)
        self.news.give()

    def comes_back(self, broker: int, partition: Partition, index: int) -> None:
        """Let a broker, and whoever else has caught up, be in sync again, and lead where nobody else can."""
        if partition.leader is None and partition.in_sync == [broker]:
            partition.cut_to_written(broker)
            self.leads(broker, partition, self.clock.now, index)
        elif partition.leader is None and broker in partition.eligible:
            self._leads_as_eligible(broker, partition, index)
        elif partition.leader is None and partition.is_unclean and broker in partition.replicas:
            self._leads_uncleanly(broker, partition, index)
        if partition.leader is not None:
            able = [b for b in partition.replicas if b not in self.unavailable and b not in partition.copying]
            caught_up = [b for b in able if (partition.leader, b) not in self.parted]
            partition.in_sync = [b for b in partition.replicas if b in partition.in_sync or b in caught_up]
            partition.fetches()
            partition.eligible -= set(partition.replicas if not partition.has_too_few else partition.in_sync)
        partition.replicas_changed()

    # ---- the run --------------------------------------------------------------------------------------------------

    def _is_done(self) -> bool:
        """Whether everything has ended, and nobody has something in hand that is committed already."""
        in_hand = [member for member in self.members() if member.has_in_hand and self.rules.ends_with_empty_hands]
        self.fired["committed and in hand at the end"] += not self.open and bool(in_hand)
        return not self.open and not in_hand

    def run(self) -> RunData:
        """Run until everything has ended, or until the drain is over."""
        clock, scenario = self.clock, self.plan.scenario
        earliest_ns = max([scenario.duration, *(p.end_ns for p in (*self.plan.faults, *self.plan.actions))])
        latest_ns = scenario.duration + scenario.drain
        earliest_ns = min(earliest_ns, latest_ns)
        clock.at(earliest_ns, Phase.end)
        clock.at(latest_ns, Phase.end)
        while not (clock.now >= earliest_ns and clock.peek() > clock.now and self._is_done()):
            if clock.now == latest_ns and (clock.peek() > clock.now or clock.next_phase() >= Phase.control):
                self.fired["drain was over"] += 1
                break
            clock.step()
        if self.rules.final_commit:
            for member in self.members():
                member.commit_at_the_end()
        self.over = True
        return self._run_data()


def simulate_plainly(
    plan: Plan, profile: Profile, *, chance: int = 0, rules: Rules | None = None
) -> tuple[RunData, Counter[str]]:
    """Run the plain model; return what happened and how often each rule fired."""
    model = Model(plan, profile, Draws(plan, profile, plan.seed, chance), rules or Rules())
    return model.run(), +model.fired
