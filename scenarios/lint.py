"""What a valid scenario should be asked about: settings that the simulator ignores, and common mistakes that can be seen before a run."""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

from scenarios import lint_chains, lint_upkeep
from scenarios.clients import BROKER_DEFAULTS, as_int, consumer_settings, producer_settings, topic_setting
from scenarios.errors import Path, Problem, close_word, format_path
from scenarios.expectations import IndicatorName
from scenarios.faults import BrokerCrash, BrokerStop, FailingWork, MemberCrash, MemberLeave, Poison, Surge
from scenarios.files import LoadedScenario, problems_at
from scenarios.finding import Finding
from scenarios.load import busiest_partition, expected_events, handling_ns, peak_rate_hz, poisoned, waits_ns
from scenarios.occurrences import plan_faults
from scenarios.profiles import IDEAL, shipped_profiles
from scenarios.quantities import MILLISECOND, SECOND, format_duration
from scenarios.schema import Group, Scenario, Settings
from scenarios.settings import client_system, known_settings
from scenarios.yaml_text import read_yaml

Rule = Callable[[Scenario], Iterator[Finding]]

MODELLED: Mapping[str, frozenset[str]] = {
    "brokers": frozenset(
        {
            "auto.leader.rebalance.enable",
            "broker.heartbeat.interval.ms",
            "broker.session.timeout.ms",
            "controller.quorum.fetch.timeout.ms",
            "group.initial.rebalance.delay.ms",
            "transaction.abort.timed.out.transaction.cleanup.interval.ms",
            "group.consumer.heartbeat.interval.ms",
            # The least and the most of groups' timers only say what a client or the brokers may have, and that is checked.
            "group.consumer.max.heartbeat.interval.ms",
            "group.consumer.max.session.timeout.ms",
            "group.consumer.min.heartbeat.interval.ms",
            "group.consumer.min.session.timeout.ms",
            "group.consumer.session.timeout.ms",
            "group.max.session.timeout.ms",
            "group.min.session.timeout.ms",
            "leader.imbalance.check.interval.seconds",
            "log.retention.bytes",
            "log.retention.check.interval.ms",
            "log.retention.ms",
            "log.roll.ms",
            "log.segment.bytes",
            "min.insync.replicas",
            "replica.fetch.backoff.ms",
            "replica.lag.time.max.ms",
        }
    ),
    "topics": frozenset({"min.insync.replicas", "retention.bytes", "retention.ms", "segment.bytes", "segment.ms"}),
    "producers": frozenset(
        {
            "acks",
            "request.required.acks",
            "enable.idempotence",
            "linger.ms",
            "queue.buffering.max.ms",
            "batch.size",
            "batch.num.messages",
            "max.in.flight",
            "max.in.flight.requests.per.connection",
            "socket.timeout.ms",
            "request.timeout.ms",
            "delivery.timeout.ms",
            "message.timeout.ms",
            "retry.backoff.ms",
            "retry.backoff.max.ms",
            "queue.buffering.max.messages",
            "queue.buffering.max.kbytes",
            "buffer.memory",
            "max.block.ms",
            "max.request.size",
            "metadata.max.age.ms",
            "topic.metadata.refresh.interval.ms",
        }
    ),
    "groups": frozenset(
        {
            "group.protocol",
            "session.timeout.ms",
            "heartbeat.interval.ms",
            "group.instance.id",
            "partition.assignment.strategy",
            "max.poll.interval.ms",
            "max.poll.records",
            "auto.commit.interval.ms",
            "socket.timeout.ms",
            "fetch.wait.max.ms",
            "fetch.max.wait.ms",
            "fetch.min.bytes",
            "fetch.max.bytes",
            "fetch.message.max.bytes",
            "max.partition.fetch.bytes",
            "request.timeout.ms",
            "enable.auto.commit",
            "isolation.level",
            "auto.offset.reset",
            "metadata.max.age.ms",
            "topic.metadata.refresh.interval.ms",
        }
    ),
}
"""By section: the settings that the simulator acts upon."""
_MANY_EVENTS = 20_000_000


def warnings(scenario: Scenario | LoadedScenario) -> list[Problem]:
    """Return what is probably a mistake, and settings that the simulator ignores; with lines for a loaded scenario."""
    return _problems(scenario, _WARNINGS)


def notes(scenario: Scenario | LoadedScenario) -> list[Problem]:
    """Return what is worth knowing and may well be meant."""
    return _problems(scenario, _NOTES)


def _problems(scenario: Scenario | LoadedScenario, rules: tuple[Rule, ...]) -> list[Problem]:
    bare = scenario.scenario if isinstance(scenario, LoadedScenario) else scenario
    found = [(finding.path, finding.message) for rule in rules for finding in rule(bare)]
    if isinstance(scenario, LoadedScenario):
        return problems_at(found, read_yaml(scenario.text, scenario.source))
    return [Problem(format_path(path), message) for path, message in found]


# ---- settings -------------------------------------------------------------------------------------------------------


def _all_settings(scenario: Scenario) -> Iterator[tuple[str, Path, Settings, str]]:
    yield "brokers", ("brokers", "settings"), scenario.brokers.settings, "kafka-broker"
    for name, topic in scenario.topics.items():
        yield "topics", ("topics", name, "settings"), topic.settings, "kafka-topic"
    for name, producer in scenario.producers.items():
        yield "producers", ("producers", name, "settings"), producer.settings, client_system(producer)
    for name, group in scenario.groups.items():
        yield "groups", ("groups", name, "settings"), group.settings, client_system(group)


def _ignored_settings(scenario: Scenario) -> Iterator[Finding]:
    for section, place, settings, system in _all_settings(scenario):
        known = known_settings(system)
        receiver = {"brokers": "the brokers", "topics": "the topic"}.get(section, "the live client")
        for name in settings:
            scope = known[name].scope if name in known else "*"
            if name not in known and name not in MODELLED[section]:
                close = close_word(name, list(known))
                hint = f"; did you mean {close!r}?" if close else ""
                message = f"is unknown to {receiver}, which will ignore it, and so will the simulator{hint}"
                yield Finding((*place, name), message)
            elif scope == ("C" if section == "producers" else "P") and section in ("producers", "groups"):
                whose = "consumers" if scope == "C" else "producers"
                yield Finding((*place, name), f"is a setting of {whose}, so the client ignores it here; remove it")
            elif name not in MODELLED[section]:
                yield Finding(
                    (*place, name), f"goes to {receiver} and changes nothing in the simulator, which does not model it"
                )


def _profile(scenario: Scenario) -> Iterator[Finding]:
    from pathlib import Path as FilePath

    known = {IDEAL.profile, "local-kafka", *shipped_profiles()}
    if scenario.profile not in known and not FilePath(scenario.profile).is_file():
        message = (
            f"is {scenario.profile!r}, and there is no profile or file of that name yet; `calibrate --out` writes one"
        )
        yield Finding(("profile",), message)


# ---- losing and doubling --------------------------------------------------------------------------------------------


def _loses_with_one_broker(scenario: Scenario) -> Iterator[Finding]:
    for name in dict.fromkeys(producer.topic for producer in scenario.producers.values()):
        place: Path = ("topics", name)
        replication = scenario.replication_of(name)
        least = as_int(topic_setting(scenario, name, "min.insync.replicas"))
        strict = any(
            p.topic == name and producer_settings(scenario, producer).acks == "all"
            for producer, p in scenario.producers.items()
        )
        if replication == 1:
            message = "is 1: while its broker is away the topic is gone, and with its disk the events; use 3"
            yield Finding((*place, "replication"), message)
        elif least == 1 and strict:
            message = (
                f"lets acks: all be given by the leader alone, so events can be lost with one broker; "
                f"set min.insync.replicas to {replication - 1 if replication > 2 else 2}"
            )
            yield Finding((*place, "settings", "min.insync.replicas"), message)
        elif least == replication and strict:
            message = f"is {least} of {replication} replicas: one broker away stops every write; use {max(1, replication - 1)}"
            yield Finding((*place, "settings", "min.insync.replicas"), message)


def _acks(scenario: Scenario) -> Iterator[Finding]:
    for name, producer in scenario.producers.items():
        resolved = producer_settings(scenario, name)
        place: Path = ("producers", name, "settings")
        given = next((n for n in ("acks", "request.required.acks") if n in producer.settings), "acks")
        if resolved.acks != "all":
            what = "the leader alone has" if resolved.acks == "1" else "nobody has"
            message = f"is {resolved.acks}: events are reported as sent that {what} stored, and a broker's crash loses them; use acks: all"
            yield Finding((*place, given), message)
        elif not resolved.idempotence:
            message = (
                "is off: a send that is tried again after a broker's failure can be stored twice and out of order; "
                "set enable.idempotence: true"
            )
            yield Finding((*place, "enable.idempotence"), message)


def _at_most_once(scenario: Scenario) -> Iterator[Finding]:
    for name, group in scenario.groups.items():
        place: Path = ("groups", name, "commit")
        if group.commit == "auto" and group.client == "librdkafka":
            message = (
                "is auto: librdkafka commits what was handed over, finished or not, so a crash skips up to a whole poll; "
                "use after_batch or {every: 1s}"
            )
            yield Finding(place, message)


def _poison(scenario: Scenario) -> Iterator[Finding]:
    for name, group in scenario.groups.items():
        if not poisoned(scenario, name):
            continue
        if group.failures is None:
            message = (
                "is missing, and some events are poison: each is tried for ever and stops its partition; "
                "add failures: {retry: {attempts: 3}, then: dead_letter, dead_letter: TOPIC}"
            )
            yield Finding(("groups", name, "failures"), message)
        elif group.failures.then == "stop":
            message = "is stop, and some events are poison: each ends a member, until none is left; use dead_letter"
            yield Finding(("groups", name, "failures", "then"), message)
        elif group.failures.then == "crash":
            message = "is crash, and some events are poison: each kills its member again and again; use dead_letter"
            yield Finding(("groups", name, "failures", "then"), message)


def _failing_without_retry(scenario: Scenario) -> Iterator[Finding]:
    for name, group in scenario.groups.items():
        failing = any(isinstance(fault, FailingWork) and fault.group == name for fault in scenario.faults)
        if group.failures is None or group.failures.retry.attempts > 1:
            continue
        if failing or group.failures.transient is not None:
            message = (
                "is 1, so a failure that would have passed is final; retry: {attempts: 3, backoff: 100ms} tries again"
            )
            yield Finding(("groups", name, "failures", "retry", "attempts"), message)


def _for_one_worker(scenario: Scenario) -> Iterator[Finding]:
    for name, group in scenario.groups.items():
        if group.workers == 1 and group.ordered_by != "partition":
            yield Finding(
                ("groups", name, "ordered_by"),
                "is about several workers, and there is one; add `workers: 4`, or remove it",
            )
        if group.workers == 1 and group.in_hand != Group.model_fields["in_hand"].default:
            yield Finding(
                ("groups", name, "in_hand"),
                "is about several workers, and there is one; add `workers: 4`, or remove it",
            )


# ---- too slow -------------------------------------------------------------------------------------------------------


def _too_slow(scenario: Scenario) -> Iterator[Finding]:
    for name, group in scenario.groups.items():
        place: Path = ("groups", name, "members")
        partitions = sum(scenario.topics[topic].partitions for topic in group.topics)
        if group.members > partitions and not group.share_group:
            message = (
                f"is {group.members}, and there are {partitions} partitions to read: "
                f"{group.members - partitions} would be idle; raise partitions, or use {partitions}"
            )
            yield Finding(place, message)
        needed_ns = handling_ns(scenario, name)
        mean_hz = expected_events(scenario, group.topics) * SECOND / scenario.duration
        members = group.autoscaler.max if group.autoscaler is not None else group.members
        working = members if group.share_group else min(members, partitions)
        at_once, who = working * group.workers, "members" if group.workers == 1 else "workers"
        if group.ordered_by == "partition" and not group.share_group:
            at_once = min(at_once, partitions)
        busy, peak = mean_hz * needed_ns / SECOND, peak_rate_hz(scenario, group.topics) * needed_ns / SECOND
        if busy >= at_once:
            message = (
                f"is {group.members}: {mean_hz:.4g} events/s of {format_duration(needed_ns)} each keep {busy:.3g} {who} busy, "
                f"so the group never keeps up; it needs more than {int(busy / group.workers)}"
                + (" and as many partitions" if busy >= partitions else "")
            )
            yield Finding(place, message)
            continue
        if peak >= at_once:
            message = (
                f"is {group.members}: at the peak {peak:.3g} {who} would be busy, so lag grows until the load falls; "
                f"use {int(peak / group.workers) + 1}"
            )
            yield Finding(place, message)
            continue
        hottest = busiest_partition(scenario, name)
        if hottest is not None and hottest.share_of_member >= 1:
            message = (
                f"holds back {name}: partition {hottest.topic}/{hottest.partition} gets {hottest.share:.0%} of the events, "
                f"{hottest.share_of_member:.2g} times what one member can handle, and members do not share a partition; spread the keys"
            )
            yield Finding(("topics", hottest.topic, "partitions"), message)


def _poll_interval(scenario: Scenario) -> Iterator[Finding]:
    for name, group in scenario.groups.items():
        resolved = consumer_settings(scenario, name)
        limit = format_duration(resolved.max_poll_interval_ns)
        retry = group.failures.retry if group.failures else None
        tries = retry.attempts if retry else 1
        waits = waits_ns(retry, tries - 1) if retry and retry.where == "in_place" else 0.0
        longest = (tries if retry and retry.where == "in_place" else 1) * group.work.mean + waits
        if retry and longest > resolved.max_poll_interval_ns:
            message = (
                f"keeps a failing event for {_for_ever(longest)} in place, longer than max.poll.interval.ms ({limit}): "
                "the member is put out of its group, and the event comes again; lower attempts or backoff"
            )
            yield Finding(("groups", name, "failures", "retry"), message)
        elif resolved.max_poll_records * group.work.mean > resolved.max_poll_interval_ns:
            message = (
                f"is {format_duration(group.work.mean)} per event: a full poll of {resolved.max_poll_records} takes longer than "
                f"max.poll.interval.ms ({limit}), and the member is put out of its group; lower max.poll.records"
            )
            yield Finding(("groups", name, "work"), message)


def _for_ever(length_ns: float) -> str:
    return format_duration(length_ns) if length_ns < 1e18 else "centuries"


def _retention(scenario: Scenario) -> Iterator[Finding]:
    run_ns = scenario.duration + scenario.drain
    for name, topic in scenario.topics.items():
        kept = as_int(topic_setting(scenario, name, "retention.ms"))
        if 0 <= kept * MILLISECOND < run_ns:
            own = "retention.ms" in topic.settings
            place: Path = (
                ("topics", name, "settings", "retention.ms") if own else ("brokers", "settings", "log.retention.ms")
            )
            message = (
                f"is {format_duration(kept * MILLISECOND)}, shorter than the run with its drain ({format_duration(run_ns)}): "
                "a group that falls behind may lose events unread; keep them longer"
            )
            yield Finding(place, message)


# ---- faults and statements ------------------------------------------------------------------------------------------


def _fault_times(scenario: Scenario) -> Iterator[Finding]:
    for index, fault in enumerate(scenario.faults):
        for at in fault.at or ():
            if at < scenario.warm_up and not isinstance(fault, Surge | Poison):
                message = f"is {format_duration(at)}, within the warm-up of {format_duration(scenario.warm_up)}, which is not measured; begin later"
                yield Finding(("faults", index, "at"), message)
        end = max((at + (fault.length_ns or 0) for at in fault.at or ()), default=0)
        if end > scenario.duration + scenario.drain:
            message = f"lasts until {format_duration(end)}, beyond the end of the drain, so nothing recovers; shorten it, or lengthen the drain"
            yield Finding(("faults", index, "for"), message)


def _statements(scenario: Scenario) -> Iterator[Finding]:
    keyless = all(producer.key == "none" for producer in scenario.producers.values())
    for index, expectation in enumerate(scenario.expect):
        name: IndicatorName = expectation.indicator
        if name.kind == "inversions" and keyless:
            yield Finding(("expect", index), "asks for the order per key, and no producer has keys; give one a `key`")
        if not scenario.groups and name.kind in ("gap", "latency", "lag", "drain_time", "consumed", "delivery"):
            yield Finding(
                ("expect", index), f"asks for {name.kind}, and no group reads anything; add one under `groups`"
            )


def _size_of_plan(scenario: Scenario) -> Iterator[Finding]:
    events = expected_events(scenario, tuple(scenario.topics))
    if events > _MANY_EVENTS:
        message = (
            f"makes about {events:.2g} events: simulate takes them in stretches, and whoever drives them needs a plan of some "
            f"{events * 100 / 1e9:.2g} GB; lower the rate or the duration for a first try"
        )
        yield Finding(("duration",), message)


def _unread_topics(scenario: Scenario) -> Iterator[Finding]:
    used = {topic for group in scenario.groups.values() for topic in (*group.topics, group.topic_of_dead_letters)}
    used |= {producer.topic for producer in scenario.producers.values()}
    used |= {emits.topic for group in scenario.groups.values() for emits in group.emits}
    for name in scenario.topics:
        if name not in used:
            yield Finding(("topics", name), "is used by no producer and no group")


def _eager_rebalances(scenario: Scenario) -> Iterator[Finding]:
    for name in scenario.groups:
        leaving = any(isinstance(f, MemberCrash | MemberLeave) and f.member.group == name for f in scenario.faults)
        if leaving and consumer_settings(scenario, name).protocol == "classic":
            message = "leaves group.protocol at classic: every member stops while one comes or goes; consumer moves only its partitions"
            yield Finding(("groups", name, "settings"), message)


def _long_gap(scenario: Scenario) -> Iterator[Finding]:
    """Two broker faults closer together than a fence and a return overlap in effect."""
    session_ns = (
        as_int(scenario.brokers.settings.get("broker.session.timeout.ms", BROKER_DEFAULTS["broker.session.timeout.ms"]))
        * MILLISECOND
    )
    crashes = [f for f in plan_faults(scenario, scenario.seed) if isinstance(f.fault, BrokerCrash | BrokerStop)]
    for one, other in pairwise(crashes):
        if other.begin_ns < one.end_ns + session_ns:
            index = other.index
            message = f"begins at {format_duration(other.begin_ns)}, before the broker that fell at {format_duration(one.begin_ns)} can be back in sync"
            yield Finding(("faults", index), message)


_WARNINGS: tuple[Rule, ...] = (
    _ignored_settings,
    _profile,
    _loses_with_one_broker,
    _acks,
    _at_most_once,
    _poison,
    _failing_without_retry,
    _for_one_worker,
    _too_slow,
    _poll_interval,
    _retention,
    _fault_times,
    _statements,
    _size_of_plan,
    lint_chains.repeats,
    lint_chains.emitted_twice,
    lint_chains.order_of_keys,
    lint_chains.schema_order,
    lint_chains.validated_first,
    lint_chains.dead_letter_loops,
    lint_chains.dead_letters_by_hand,
    lint_chains.no_way_back,
    lint_chains.unguarded_calls,
    lint_chains.offsets_past_data,
    lint_chains.commits_without_a_pause,
    lint_chains.rebalances_on_deploy,
    lint_upkeep.kept_for_nothing,
    lint_upkeep.missed_from_the_start,
    lint_upkeep.unwatched_archives,
    lint_upkeep.slow_scaling,
    lint_upkeep.too_many_series,
    lint_upkeep.secrets_in_files,
    lint_upkeep.personal_data,
    lint_upkeep.retention_that_comes_late,
    lint_upkeep.unused_lengths,
)
_NOTES: tuple[Rule, ...] = (
    lint_chains.undrained_dead_letters,
    _unread_topics,
    _eager_rebalances,
    _long_gap,
    lint_upkeep.sweeps_aside,
    lint_upkeep.long_polls,
)
