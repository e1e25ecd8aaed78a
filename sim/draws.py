"""The random inputs of a simulated run, per entity and purpose, drawn or given: the n-th value never depends on how many are drawn."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from rundata.tables import Names
from scenarios import faults as fault_types
from scenarios.clients import broker_setting, consumer_settings, producer_settings
from scenarios.occurrences import PlannedFault
from scenarios.plan import LONGEST_WORK_NS, Plan
from scenarios.profiles import KNOTS, NOTHING, Measured, Profile
from scenarios.quantities import MILLISECOND, SECOND
from scenarios.retries import all_topics
from scenarios.schema import Group, Producer
from scenarios.streams import hashed_uniforms, stream, uniforms
from sim.dependencies import call_stream
from sim.emitters import emitters
from sim.observed import NOTHING_OBSERVED, Observed
from sim.replaying import replaying
from sim.transactional import TRANSACTIONS_TOPIC, transactional_ids
from sim.world import REQUEST_SCAN_NS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

HEARTBEAT_SCANS = 8
"""The controller looks for stale brokers every session / 8."""
REGISTRATION_RETRY_NS = 2 * SECOND
STALE_NS = (100 * MILLISECOND, 400 * MILLISECOND)
"""How long a broker that hung acts on as a leader after its return (one run measured 255 ms of acknowledgements)."""
HEALS_NS = (20 * MILLISECOND, 80 * MILLISECOND)
"""How long a follower takes into the in-sync set when it can fetch again (two runs: 38 and 41 ms until a producer and a member heard of it)."""
STOP_DISCOVERY_NS = (100 * MILLISECOND, 600 * MILLISECOND)
"""After an orderly stop a client finds the new leader in a time between these."""
VOTE_NS = (30 * MILLISECOND, 60 * MILLISECOND)
"""How long voters take to elect a controller (2.03 to 2.06 s were measured after a kill, 2 s of them the fetch timeout)."""
JAVA_DISCOVERY_NS = (100 * MILLISECOND, 1_200 * MILLISECOND)
"""A Java member finds a new leader in a time between these (seven failovers on Kafka 4.2); `member_discovery` is librdkafka's."""
RECONNECT_BACKOFF_NS, MOST_RECONNECTS = (100 * MILLISECOND, 10 * SECOND), 64
"""librdkafka's waits between its tries to connect to a broker: the first one, and the longest."""
RETRY_JITTER = (800_000, 1_200_000)
"""Both clients wait 80 to 120 % of a retry's nominal wait."""
FIRST_ACTION, FIRST_CRASH, FIRST_SCALER = 2**20, 2**21, 2**22
"""Numbers of actions begin here, behind those of faults; those of a member's own crashes; and those of autoscalers."""
_LEAST_BLOCK = 64


def requests_hz(plan: Plan) -> float:
    """Return about how many produce requests a second a plan makes in its measured time."""
    return sum(requests_by_producer(plan, plan.scenario.warm_up, plan.scenario.warm_up + plan.scenario.measured_ns))


def requests_by_producer(plan: Plan, begin_ns: int, end_ns: int) -> list[float]:
    """Return about how many produce requests a second each producer makes of what it is to send between two instants.

    Of each process and partition one begins with an event and takes what comes within the linger, so one for 1 + rate * linger.
    """
    scenario, length_s = plan.scenario, max(end_ns - begin_ns, 1) / SECOND
    counted = (plan.intended_ns >= begin_ns) & (plan.intended_ns < end_ns)
    requests = []
    for index, name in enumerate(plan.producers):
        linger_s = producer_settings(scenario, name).linger_ns / SECOND
        own = counted & (plan.producer == index)
        partitions = scenario.topics[scenario.producers[name].topic].partitions
        lanes = plan.process[own].astype(np.int64) * (partitions + 1) + plan.partition[own] + 1
        rates_hz = np.bincount(lanes) / length_s
        requests.append(float((rates_hz / (1 + rates_hz * linger_s)).sum()))
    return requests


class Values:
    """An endless row of whole numbers, drawn when first needed: `values[n]` one at a time, `blocks(size)` as arrays."""

    def __init__(
        self,
        generator: Callable[[], np.random.Generator] | None,
        invert: Callable[[Floats], Ints],
        constant: int = 0,
        given: Sequence[int] = (),
    ) -> None:
        """Take a fresh generator's maker (None: every value is the constant), the inverse distribution function, and given first values."""
        self._fresh = generator
        self._invert = invert
        self._constant = constant
        self._generator: np.random.Generator | None = None
        self._known = self._given = np.asarray(given, np.int64)

    def __getitem__(self, n: int) -> int:
        if n >= len(self._known):
            if self._fresh is None:
                return self._constant
            self.first(max(_LEAST_BLOCK, 2 * n))
        return int(self._known[n])

    def first(self, count: int) -> Ints:
        """Return the first `count` values."""
        missing = count - len(self._known)
        if self._fresh is None:
            return np.append(self._known[:count], np.full(max(0, missing), self._constant, np.int64))
        if self._generator is None:
            self._generator = self._fresh()
        if missing > 0:
            self._known = np.concatenate([self._known, self._invert(uniforms(self._generator, missing))])
        return self._known[:count]

    def onward(self) -> Callable[[int], Ints]:
        """Return what gives so many values at each call, from the first one on, without keeping them."""
        generator = self._fresh() if self._fresh else None
        given, reached = self._given, 0

        def more(count: int) -> Ints:
            nonlocal reached
            first = given[reached : reached + count]
            reached += count
            missing = count - len(first)
            if generator is None:
                rest = np.full(missing, self._constant, np.int64)
                return np.append(first, rest) if len(first) else rest
            drawn = self._invert(uniforms(generator, missing))
            return np.append(first, drawn) if len(first) else drawn

        return more

    def blocks(self, size: int) -> Iterator[Ints]:
        """Yield the values in blocks of `size`, from the first on, without keeping them."""
        more = self.onward()
        while True:
            yield more(size)


def _whole(u: Floats, low: int, high: int) -> Ints:
    return np.rint(low + u * (high - low)).astype(np.int64)


class Draws:
    """Every random input of one run. Processes, members and brokers go by number: codes of `Names`, brokers from 1.

    `chance` is the replication's number: equal numbers give equal values. Times of faults are instants from time 0;
    everything else is a length in ns. With `phases: aligned` each timer's phase is 0: fences come a session after the crash.
    """

    def __init__(
        self, plan: Plan, profile: Profile, seed: int, chance: int = 0, observed: Observed = NOTHING_OBSERVED
    ) -> None:
        """Take what is fixed, what was measured, the seed and number of this run's chance, and what was observed."""
        self.plan = plan
        self.profile = profile.where_one_leads() if profile.one_leader and plan.has_one_leader() else profile
        self.observed = observed
        self._seed = seed
        self._chance = chance
        self._names = Names.of(plan.scenario)
        self._entities = (
            *self._names.processes,
            *(replay.name for replay in replaying(plan.scenario)),
            *(emitter.name for emitter in emitters(plan.scenario)),
        )
        """Processes, members, who replays, and members' emitting clients."""
        self._topics = all_topics(plan.scenario)
        self._row = cache(self._make_row)
        self._discovered: dict[tuple[int, str], dict[str, int]] = {}
        for (fault, name, partition), at_ns in observed.discovered_ns.items():
            self._discovered.setdefault((fault, name), {})[partition] = at_ns
        self._random_phases = profile.phases == "random"
        over_hz = requests_hz(plan) - profile.load_base_hz if profile.load_slope else 0.0
        self._load = 1 + profile.load_slope * max(0.0, over_hz) / 100

    # ---- producers' processes ------------------------------------------------------------------------------------

    def send(self, process: int) -> Values:
        """Intended time to the client's call, by the process's events."""
        name = self._entities[process]
        given = self.observed.send_ns.get(name)
        return (
            Values(None, self.profile.send.quantile_ns, given=given)
            if given
            else self._row(name, "send", self.profile.send)
        )

    def produce(self, process: int, broker: int) -> Values:
        """How long a request occupies the connection before scaling, by the connection's requests."""
        return self._row(self._entities[process], f"produce at broker {broker}", self._loaded(self.profile.produce))

    def leader(self, process: int, broker: int) -> Values:
        """The part of it until the leader has appended, drawn with the same numbers: what takes long takes long there, too."""
        return self._row(
            self._entities[process], f"produce at broker {broker}", self._loaded(self.profile.produce_leader)
        )

    def acknowledge(self, process: int, broker: int) -> Values:
        """Response on the broker to the acknowledgement in the client."""
        return self._row(self._entities[process], f"acknowledge at broker {broker}", self.profile.acknowledge)

    def partitions_of(self, topic: str) -> int:
        """Return how many partitions a topic has."""
        return self._topics[topic].partitions

    def sticky(self, process: int, partitions: int) -> Values:
        """Partitions that the client chooses for events without keys, one after another."""

        def invert(u: Floats) -> Ints:
            return np.minimum((u * partitions).astype(np.int64), partitions - 1)

        name = self._entities[process]
        return Values(lambda: self._stream("entity", name, "sticky partition"), invert)

    def retry(self, process: int) -> Values:
        """Length of a wait before a retry, in millionths of the nominal one, by the waits of the process."""
        name = self._entities[process]
        fresh = (lambda: self._stream("entity", name, "retry")) if self._random_phases else None
        return Values(fresh, lambda u: _whole(u, *RETRY_JITTER), 1_000_000)

    def request_scans_ns(self, process: int, brokers: int) -> list[int]:
        """At which instants of each second librdkafka looks for requests to each broker that are over; nothing where phases are no matter of chance."""
        if not self._random_phases:
            return []
        phases = self._phases("entity", self._entities[process], "looks for requests that are over", brokers)
        return [int(phase * REQUEST_SCAN_NS) for phase in phases]

    # ---- members ---------------------------------------------------------------------------------------------------

    def fetch(self, member: int, broker: int) -> Values:
        """Visible at the broker to the member's queue, by the fetches of that member there."""
        return self._row(self._entities[member], f"fetch at broker {broker}", self._loaded(self.profile.fetch))

    def turnaround(self, member: int, broker: int) -> Values:
        """Records in the queue to the next fetch parked at the broker, by the fetches of that member there."""
        return self._row(self._entities[member], f"turnaround at broker {broker}", self.profile.fetch_turnaround)

    def wake(self, member: int) -> Values:
        """Record in the queue to the poll's return, by the times that the idle member woke."""
        return self._row(self._entities[member], "wake", self.profile.wake)

    def overshoot(self, member: int) -> Values:
        """Planned end of a try to its recorded end, by the member's tries."""
        return self._row(self._entities[member], "overshoot", self.profile.overshoot)

    def commit(self, member: int) -> Values:
        """Length of an offset commit, by the member's commits."""
        return self._row(self._entities[member], "commit", self.profile.commit)

    def core_times(self) -> tuple[int, int, int, int]:
        """How long a request and an event hold a core, and how long a produce request and a fetch take in the mean."""
        produce_ns, fetch_ns = (
            round(1_000 * self._loaded(part).mean_us) for part in (self.profile.produce, self.profile.fetch)
        )
        return self.profile.cores.request_ns, self.profile.cores.event_ns, produce_ns, fetch_ns

    def dead_letter(self, member: int) -> Values:
        """Length of a dead letter's produce request, acknowledgement included, by the member's dead letters."""
        return self._row(self._entities[member], "dead letter", self._loaded(self.profile.produce))

    def learn(self, member: int, interval_ns: int) -> Values:
        """Begin of a rebalance to the member's next heartbeat, which tells it, by the rebalances of its group."""
        name = self._entities[member]
        fresh = (lambda: self._stream("entity", name, "learn")) if self._random_phases else None
        return Values(fresh, lambda u: _whole(u, 0, interval_ns))

    def rejoin(self, group: int) -> Values:
        """All members back to their new assignments, by the rebalances of the group."""
        return self._row(self._names.groups[group], "rejoin", self.profile.rejoining)

    def join_order(self, group: int) -> list[int]:
        """Return the numbers (from 1) of a group's members in the order in which they joined before time 0."""
        name = self._names.groups[group]
        members = self.plan.scenario.groups[name].members
        if not self._random_phases:
            return list(range(1, members + 1))
        u = uniforms(self._stream("group", name, "join order"), members)
        return [int(index) + 1 for index in np.argsort(u, kind="stable")]

    def failing_work(self, group: int, event: int, attempt: int, delivery: int) -> float:
        """Return a number in (0, 1) for one try; it fails when that is below the share of the fault in effect."""
        return float(self.failing_work_of(group, np.asarray([event]), np.asarray([attempt]), np.asarray([delivery]))[0])

    def failing_work_of(self, group: int, events: Ints, attempts: Ints, deliveries: Ints) -> Floats:
        """Return the numbers of several tries: attempts from 1 within a delivery, deliveries of the pair from 1."""
        return hashed_uniforms(self._seed, self._chance, group, events, attempts, deliveries)

    def link_jitter(self, code: int, broker: int, kind: int, number: int) -> float:
        """Return a number in (0, 1) for one crossing of a slow link."""
        of = (np.asarray([each]) for each in (broker, kind, number))
        return float(hashed_uniforms(self._seed, self._chance, code, *of)[0])

    # ---- dependencies ------------------------------------------------------------------------------------------------

    def takes(self, dependency: str) -> Values:
        """Begin of a call's service to its end, by the calls that the dependency has begun."""
        takes = self.plan.scenario.dependencies[dependency].takes

        def invert(u: Floats) -> Ints:
            return np.rint(np.minimum(takes.quantile(u), LONGEST_WORK_NS)).astype(np.int64)

        return Values(lambda: self._stream("dependency", dependency, "takes"), invert)

    def call_fails(self, call: int, dependency: str, event: int, attempt: int) -> float:
        """Return a number in (0, 1) for the n-th call of a group's tries; it fails when that is below the dependency's share."""
        stream_of_call = call_stream(call, dependency)
        words = (np.asarray([event]), np.asarray([attempt]), 1 + 2 * self._chance)
        return float(hashed_uniforms(self._seed, stream_of_call, *words)[0])

    # ---- faults: instants from time 0 ------------------------------------------------------------------------------

    def fence_ns(self, fault: int) -> int:
        """When the controller fences the crashed broker; of a stopped one, when its old session has run out."""
        given = self.observed.fence_ns.get(fault)
        if given is not None:
            return given
        session, heartbeat = (
            self._broker_ms("broker.session.timeout.ms", 9000),
            self._broker_ms("broker.heartbeat.interval.ms", 2000),
        )
        age, scan = self._phases("fault", str(fault), "fence", 2)
        scans = session // HEARTBEAT_SCANS
        return self._planned(fault).begin_ns + session - round(age * heartbeat) + round(scan * scans)

    def elected_ns(self, fault: int) -> int:
        """When the new leaders are known: election after the fence, or after the begin of an orderly stop."""
        given = self.observed.elected_ns.get(fault)
        if given is not None:
            return given
        planned = self._planned(fault)
        begin = planned.begin_ns if isinstance(planned.fault, fault_types.BrokerStop) else self.fence_ns(fault)
        return begin + self._row(f"fault {fault}", "election", self.profile.election)[0]

    def discovered_ns(self, entity: int, fault: int, partition: str) -> int:
        """When a process or member turns to the new leader of a partition; drawn, it is one instant for all of them.

        Producers lose their connections at one instant and ask at the same growing intervals, so that all find the new leaders together.
        """
        name = self._entities[entity]
        given = self._discovered.get((fault, name))
        if given:
            return max(given.get(partition, min(given.values())), self.elected_ns(fault))
        if isinstance(self._planned(fault).fault, fault_types.BrokerStop):
            return self.elected_ns(fault) + self._refused_ns(name, f"discovery after fault {fault}")
        if self._is_member(name):
            takes_ns = self._row(name, f"discovery after fault {fault}", self._found_by_member(name))[0]
        else:
            takes_ns = self._row(f"fault {fault}", "producers' discovery", self.profile.discovery)[0]
        if partition.startswith(TRANSACTIONS_TOPIC):
            takes_ns = max(takes_ns, self._connected_ns(name, fault) - self.elected_ns(fault))
        return self.elected_ns(fault) + takes_ns

    def _connected_ns(self, name: str, fault: int) -> int:
        """When a librdkafka producer that lost the coordinator of its transactions connects to the next one.

        It tries at once, and then after waits that double from `reconnect.backoff.ms` to `reconnect.backoff.max.ms`, each times U(0.75, 1.5) and
        no longer than that; where there is no new coordinator yet, it tries the old one.
        """
        elected_ns, at_ns = self.elected_ns(fault), self._planned(fault).begin_ns
        if self.profile.is_ideal() or name not in self._connecting:
            return elected_ns
        wait_ns, most_ns = RECONNECT_BACKOFF_NS
        for u in self._phases("entity", name, f"reconnects after fault {fault}", MOST_RECONNECTS):
            if at_ns >= elected_ns:
                break
            at_ns += min(round((0.75 + 0.75 * u) * wait_ns), most_ns)
            wait_ns = min(2 * wait_ns, most_ns)
        return max(at_ns, elected_ns)

    def followed_ns(self, fault: int, leader: int) -> int:
        """When the followers of a new leader fetch from it: at once, or later.

        A backoff later if they asked before it led; and the longest wait of a fetch later if one was under way that knows nothing
        of what the leader took over, because every producer then waits for just that. Observed discoveries hold both already.
        """
        elected_ns = self.elected_ns(fault)
        early, parked = self.profile.early_followers, self.profile.parked_followers
        if not (early or parked) or any(of == fault for of, _ in self._discovered):
            return elected_ns
        asked, held = self._phases("fault", str(fault), f"followers of broker {leader}", 2)
        waits = [
            int(broker_setting(self.plan.scenario, name)) * MILLISECOND
            for name, u, share in (
                ("replica.fetch.backoff.ms", asked, early),
                ("replica.fetch.wait.max.ms", held, parked),
            )
            if u < share
        ]
        return elected_ns + sum(waits)

    def answers_again_ns(self, fault: int) -> int:
        """When leaders answer again that had waited with a lost broker in sync: brokers have their hands full with the new leaders first."""
        elected_ns = self.elected_ns(fault)
        if (given := self.observed.answered_ns.get(fault)) is not None:
            return max(given, elected_ns)
        return elected_ns + self._row(f"fault {fault}", "takeover", self.profile.takeover)[0]

    def controller_among(self, election: int, voters: Sequence[int]) -> int:
        """Return which voter the n-th election makes the active controller."""
        (u,) = self._phases("controller", str(election), "winner", 1)
        return voters[min(int(u * len(voters)), len(voters) - 1)]

    def controller_vote_ns(self, election: int, *, orderly: bool) -> int:
        """How long the other voters take to have another controller: they notice a silent one when their fetches time out."""
        timeout_ns = int(broker_setting(self.plan.scenario, "controller.quorum.fetch.timeout.ms")) * MILLISECOND
        silent_ns = 0 if orderly else timeout_ns
        if self.profile.is_ideal():
            return silent_ns
        (phase,) = self._phases("controller", str(election), "vote", 1)
        low, high = VOTE_NS
        return silent_ns + round(low + phase * (high - low))

    def controller_resigns_ns(self) -> int:
        """How long an active controller goes on without a majority: 1.5 fetch timeouts."""
        timeout_ns = int(broker_setting(self.plan.scenario, "controller.quorum.fetch.timeout.ms")) * MILLISECOND
        return timeout_ns + timeout_ns // 2

    @cached_property
    def _connecting(self) -> set[str]:
        """Processes that send in transactions with librdkafka."""
        scenario = self.plan.scenario
        owners: dict[str, Producer | Group] = {**scenario.producers, **scenario.groups}
        return {name for name in transactional_ids(scenario) if owners[name.rpartition("/")[0]].client == "librdkafka"}

    def producers_commit(self) -> bool:
        """Whether any producer sends in transactions."""
        return any("transactional.id" in producer.settings for producer in self.plan.scenario.producers.values())

    def _is_member(self, name: str) -> bool:
        return name.rsplit("/", 1)[0] in self.plan.scenario.groups

    def _found_by_member(self, name: str) -> Measured:
        """Return how long a member looks for a new leader: as measured with librdkafka, or Java's."""
        if self.profile.member_discovery == NOTHING or not self._is_java(name):
            return self.profile.member_discovery
        low, high = (limit / 1_000 for limit in JAVA_DISCOVERY_NS)
        return Measured(quantiles_us=tuple(low + (high - low) * knot for knot in KNOTS))

    def _is_java(self, member: str) -> bool:
        return self.plan.scenario.groups[member.rsplit("/", 1)[0]].client == "java"

    def leader_check_ns(self) -> int:
        """When the controller first looks whether every partition is led by its preferred replica."""
        interval_ns = int(broker_setting(self.plan.scenario, "leader.imbalance.check.interval.seconds")) * SECOND
        (phase,) = self._phases("controller", "", "leader check", 1)
        return interval_ns - round(phase * interval_ns)

    def metadata_ns(self, entity: int, age_ns: int) -> int:
        """When a process or member first asks by itself what there is of topics, which it does again whenever that is so old."""
        (phase,) = self._phases("entity", self._entities[entity], "metadata", 1)
        return age_ns - round(phase * age_ns)

    def writes_back_ns(self, broker: int) -> int:
        """When the kernel of a broker's machine first looks for what has to be written to the disk."""
        (phase,) = self._phases("broker", str(broker), "write-back", 1)
        return 5 * SECOND - round(phase * 5 * SECOND)

    def retention_look_ns(self, broker: int) -> int:
        """When a broker first looks for segments that nobody keeps any more."""
        interval_ns = int(broker_setting(self.plan.scenario, "log.retention.check.interval.ms")) * MILLISECOND
        (phase,) = self._phases("broker", str(broker), "retention look", 1)
        return interval_ns - round(phase * interval_ns)

    def cleaner_look_ns(self, broker: int) -> int:
        """When a broker first looks for logs to compact."""
        interval_ns = int(broker_setting(self.plan.scenario, "log.cleaner.backoff.ms")) * MILLISECOND
        (phase,) = self._phases("broker", str(broker), "cleaner look", 1)
        return interval_ns - round(phase * interval_ns)

    def transaction_scan_ns(self) -> int:
        """When the coordinators of transactions first look for those that are open for too long; they all look at one instant."""
        name = "transaction.abort.timed.out.transaction.cleanup.interval.ms"
        interval_ns = int(broker_setting(self.plan.scenario, name)) * MILLISECOND
        (phase,) = self._phases("transactions", "", "scan", 1)
        return interval_ns - round(phase * interval_ns)

    def moved_ns(self, entity: int, check: int) -> int:
        """How long a process or member takes to turn to the preferred leaders of the n-th check."""
        return self._refused_ns(self._entities[entity], f"discovery after leader check {check}")

    def moved_back_ns(self, entity: int, fault: int, *, back: bool) -> int:
        """How long a process or member takes to turn to the leader that somebody moved, or moved back."""
        return self._refused_ns(self._entities[entity], f"discovery after {'return of' if back else 'move'} {fault}")

    def _refused_ns(self, name: str, purpose: str) -> int:
        """How long a client takes from a leader's refusal to the new leader."""
        if self.profile.is_ideal():
            return 0
        (phase,) = self._phases("entity", name, purpose, 1)
        low, high = STOP_DISCOVERY_NS
        return round(low + phase * (high - low))

    def registered_ns(self, fault: int, fence_ns: int) -> int:
        """When the restarted broker is registered: its first try, every 2 s, after the old session has run out."""
        given = self.observed.registered_ns.get(fault)
        if given is not None:
            return given
        first = self.started_ns(fault)
        # After an orderly stop, too, the new incarnation is refused until the session of the old one has run out.
        missing = max(0, fence_ns - first)
        return first + -(-missing // REGISTRATION_RETRY_NS) * REGISTRATION_RETRY_NS

    def started_ns(self, fault: int) -> int:
        """When the process that a fault ended is up again."""
        return self._planned(fault).end_ns + self._row(f"fault {fault}", "restart", self.profile.restart)[0]

    def back_in_sync_ns(self, fault: int, registered_ns: int) -> int:
        """When the restarted broker is in the in-sync replicas again."""
        given = self.observed.back_in_sync_ns.get(fault)
        return registered_ns + self.catch_up_ns(fault) if given is None else given

    def catch_up_ns(self, fault: int) -> int:
        """How long a broker takes from its registration, or its return, into the in-sync replicas."""
        return self._row(f"fault {fault}", "catch-up", self.profile.catch_up)[0]

    def heals_ns(self, fault: int) -> int:
        """How long a follower takes into the in-sync set when it can fetch again.

        What it had asked for was held back and goes on, unless connections were reset.
        """
        cause = self._planned(fault).fault
        if isinstance(cause, fault_types.Cut) and cause.mode == "reset":
            return self.catch_up_ns(fault)
        if self.profile.is_ideal():
            return 0
        (phase,) = self._phases("fault", str(fault), "heals", 1)
        low, high = HEALS_NS
        return round(low + phase * (high - low))

    def session_expired_ns(self, member: int, fault: int, session_ns: int, heartbeat_ns: int) -> int:
        """When the coordinator gives a crashed member up: a session after its last heartbeat."""
        name = self._entities[member]
        given = self.observed.session_expired_ns.get((fault, name))
        if given is not None:
            return given
        (age,) = self._phases("entity", name, f"session after fault {fault}", 1)
        return self.begin_ns(fault) + session_ns - round(age * heartbeat_ns)

    def begin_ns(self, number: int) -> int:
        """Return when a fault or an action (from FIRST_ACTION on) begins; a member's own crash counts from time 0."""
        if number >= FIRST_CRASH:
            return 0
        if number >= FIRST_ACTION:
            return self.plan.actions[number - FIRST_ACTION].begin_ns
        return self._planned(number).begin_ns

    def stale_until_ns(self, fault: int) -> int:
        """When a broker that hung, and was fenced meanwhile, learns after its return that it leads nothing any more."""
        end_ns = self._planned(fault).end_ns
        if self.profile.is_ideal():
            return end_ns
        (phase,) = self._phases("fault", str(fault), "stale", 1)
        low, high = STALE_NS
        return end_ns + round(low + phase * (high - low))

    def lag_ns(self, leader: int, since_ns: int) -> int:
        """When a leader takes replicas that have not fetched since an instant out of its in-sync set: it looks every lag time / 2."""
        longest_ns = int(broker_setting(self.plan.scenario, "replica.lag.time.max.ms")) * MILLISECOND
        (phase,) = self._phases("broker", str(leader), f"lag check after {since_ns}", 1)
        return since_ns + longest_ns + round(phase * longest_ns / 2)

    def told_ns(self, entity: int, fault: int) -> int:
        """When a client that still takes a hung broker for the leader finds the new ones: the broker has refused it."""
        refused_ns = self._refused_ns(self._entities[entity], f"discovery after fault {fault}")
        return self.stale_until_ns(fault) + refused_ns

    def silence_ns(self, member: int, fault: int) -> int:
        """When a member whose fetch a hung broker does not answer gives up on it and finds the new leader."""
        name = self._entities[member]
        settings = consumer_settings(self.plan.scenario, name.rsplit("/", 1)[0])
        age, scan = self._phases("entity", name, f"age of its fetch at fault {fault}", 2)
        timeout_ns = settings.request_timeout_ns - round(age * settings.fetch_wait_ns)
        if not self._is_java(name):
            timeout_ns += round(scan * REQUEST_SCAN_NS)
        found_ns = self._row(name, f"discovery after silence {fault}", self._found_by_member(name))[0]
        return self._planned(fault).begin_ns + timeout_ns + found_ns

    # ---- how they are drawn ----------------------------------------------------------------------------------------

    def _stream(self, kind: str, name: str, purpose: str) -> np.random.Generator:
        return stream(self._seed, kind, name, f"simulated: {purpose}", replication=self._chance)

    def _planned(self, fault: int) -> PlannedFault:
        """Return a fault by its number: the k-th broker of a rack counts k times all faults further on."""
        return self.plan.faults[fault % len(self.plan.faults)]

    def _make_row(self, name: str, purpose: str, measured: Measured) -> Values:
        if measured.quantiles_us[0] == measured.quantiles_us[-1]:
            return Values(None, measured.quantile_ns, round(1_000 * measured.quantiles_us[0]))
        return Values(lambda: self._stream("entity", name, purpose), measured.quantile_ns)

    def _loaded(self, measured: Measured) -> Measured:
        """Return a time as it is under this plan's load."""
        if self._load == 1:
            return measured
        return measured.model_copy(update={"quantiles_us": tuple(self._load * q for q in measured.quantiles_us)})

    def _phases(self, kind: str, name: str, purpose: str, count: int) -> list[float]:
        if not self._random_phases:
            return [0.0] * count
        return [float(u) for u in uniforms(self._stream(kind, name, purpose), count)]

    def _broker_ms(self, setting: str, default: int) -> int:
        """Return a broker's setting in ms as ns."""
        return int(self.plan.scenario.brokers.settings.get(setting, default)) * MILLISECOND
