"""What people can do about each fault: undo it, soften it beforehand, and notice it. Every kind of fault and harmful action is here; a test holds that."""

from collections.abc import Iterable
from dataclasses import dataclass

_HEALED = "EventDrill does it at the fault's end and at once on a stop, also when its driver dies"
_ITSELF = "nothing to undo: it ends with its time"


@dataclass(frozen=True)
class Remedy:
    """One fault's way back, what would have softened it, and its sign."""

    rollback: str
    prevents: tuple[str, ...]
    """What would have kept the damage small, the surest first."""
    sign: str
    """What shows it on a dashboard."""


_BROKER = (
    "three replicas, min.insync.replicas 2 and acks all, so that nothing acknowledged is lost",
    "a shorter broker.session.timeout.ms, so that the controller notices sooner",
    "clients that wait the outage out (delivery.timeout.ms above it, buffers for its events)",
)
_MEMBER = (
    "one member more than the load needs, so that the others keep up meanwhile",
    "static membership or a shorter session timeout, so that its partitions move in time",
    "handlers that may safely do an event twice: idempotency keys with a dedupe window",
)
_SLOW = (
    "members for the slow case, or an autoscaler by lag (up to one for each partition)",
    "a time limit on what the handler waits for, and a circuit breaker before it",
    "more partitions, since a partition has one member at a time",
)
_FAILING = (
    "a bounded number of tries with backoff, in a retry topic rather than in place",
    "a dead-letter topic that somebody drains, so that one event cannot stop a partition",
    "validation before the handler's work",
)
_LINK = (
    "replicas and clients in several racks, so that no one link is the only way",
    "timeouts that fit the link: request.timeout.ms, session timeouts, max.poll.interval.ms",
)
_TOPIC = (
    "a change window with the groups' lag at nothing, and the change tried in a drill first",
    "clients that refresh their metadata often enough (topic.metadata.refresh.interval.ms)",
)
_DATA = (
    "retention longer than the longest outage and its catch-up: `eventdrill capacity drain` tells",
    "an alert on the time that is left until loss, not on lag alone",
    "tiered storage or an archive for what may have to be read again",
)

REMEDIES: dict[str, Remedy] = {
    "broker_crash": Remedy(
        f"start the broker again; {_HEALED}", _BROKER, "partitions without a leader, in-sync replicas"
    ),
    "broker_stop": Remedy(
        f"start the broker again; {_HEALED}", _BROKER, "in-sync replicas, leaders moved in good order"
    ),
    "broker_pause": Remedy(
        f"let the process go on (SIGCONT); {_HEALED}",
        _BROKER,
        "requests that time out, then partitions without a leader",
    ),
    "rolling_restart": Remedy(
        f"start what is down and wait for its replicas before the next; {_HEALED}",
        ("one broker at a time, each back in sync before the next", *_BROKER[:2]),
        "in-sync replicas, elections one after another",
    ),
    "disk_stall": Remedy(
        f"release the disk; {_HEALED}", _BROKER, "produce requests that take long, replicas that fall behind"
    ),
    "disk_full": Remedy(
        f"free the space and start the broker again; {_HEALED}",
        ("an alert on free space long before it ends", "retention by size beside retention by time", *_BROKER[:1]),
        "free space, a broker that stops",
    ),
    "host_crash": Remedy(
        "start the host and its broker again; what was only in memory comes from the other replicas",
        _BROKER,
        "a broker gone without a word, partitions without a leader",
    ),
    "clock_skew": Remedy(
        "set the clock right; time stamps already written stay",
        ("clocks that are watched and disciplined", "time from the broker (message.timestamp.type=LogAppendTime)"),
        "retention that acts early or late, latencies below nothing",
    ),
    "cut": Remedy(
        f"connect the link again; {_HEALED}", _LINK, "in-sync replicas, fenced brokers, requests that time out"
    ),
    "slow_link": Remedy(f"take the delay away; {_HEALED}", _LINK, "request times, replicas that fall behind"),
    "producer_crash": Remedy(
        f"start the producer again; {_HEALED}. What was in its buffer is gone",
        (
            "an outbox: the event is stored with what caused it, and sent from there",
            "smaller buffers and linger, since what is in them is lost",
        ),
        "events acknowledged against events planned",
    ),
    "producer_pause": Remedy(
        f"let the process go on (SIGCONT); {_HEALED}",
        (
            "several producers, so that one that hangs holds back little",
            "an alert on the rate of events, not on errors alone",
        ),
        "events per second of that producer",
    ),
    "surge": Remedy(
        _ITSELF,
        (
            "members for the peak, or an autoscaler that starts faster than the backlog grows",
            "a rate limit or a queue before the slow part",
            "more partitions, since a partition has one member at a time",
        ),
        "events per second, then lag",
    ),
    "poison": Remedy(
        "nothing to undo: look at the dead-letter topic, mend the handler, and redrive",
        _FAILING,
        "failed tries, dead letters, a partition that stands still",
    ),
    "duplicates": Remedy(
        "nothing to undo: effects done twice are to be found and reversed",
        (
            "an idempotent producer, or transactions",
            "idempotency keys with a dedupe window at least as long as the resend",
        ),
        "effects against distinct events",
    ),
    "oversized": Remedy(
        _ITSELF,
        (
            "a size limit checked where the event is made",
            "max.message.bytes and max.request.size that agree",
            "large parts stored elsewhere, with a reference in the event",
        ),
        "refused sends",
    ),
    "late": Remedy(
        _ITSELF,
        ("event time in the event, and windows that wait for late ones", "an alert on the age of what arrives"),
        "age of events on arrival",
    ),
    "schema_change": Remedy(
        "deploy the version before again, readers or writers first as the compatibility mode says",
        (
            "a registry with a compatibility mode, checked in CI",
            "the deploy order that the mode asks for",
            "a canary member that reads the new version first",
        ),
        "decode errors by version",
    ),
    "member_crash": Remedy(
        f"start the member again; its partitions come back with the next rebalance. {_HEALED}",
        _MEMBER,
        "members of the group, rebalances, lag",
    ),
    "member_leave": Remedy(
        "start the member again; its partitions come back with the next rebalance",
        _MEMBER,
        "members of the group, rebalances",
    ),
    "member_pause": Remedy(
        f"let the process go on (SIGCONT); {_HEALED}",
        (*_MEMBER[:2], "a fencing token where a member that wakes up late must not write"),
        "lag of its partitions, session timeouts",
    ),
    "rolling_deploy": Remedy(
        "deploy the version before again, one member at a time",
        (
            "cooperative assignment and static membership, so that a deploy is no rebalance storm",
            "a canary, and a rollback that is tried beforehand",
        ),
        "rebalances, lag during the deploy",
    ),
    "poll_stall": Remedy(
        _ITSELF,
        ("max.poll.interval.ms above the longest work, or less of it in one poll", "work in a pool beside the polling"),
        "evictions, lag of its partitions",
    ),
    "slow_work": Remedy(
        "nothing to undo: handlers are fast again for tries that begin after the end",
        _SLOW,
        "lag in events and in seconds, time of handlers",
    ),
    "failing_work": Remedy(
        "nothing to undo: tries succeed again after the end; redrive what lies in the dead-letter topic",
        _FAILING,
        "failed tries, dead letters",
    ),
    "leader_move": Remedy(f"move the leader back; {_HEALED}", _TOPIC, "elections, requests to the wrong broker"),
    "retention": Remedy(
        f"set the retention back; {_HEALED}. What it has taken is gone",
        _DATA,
        "time left until loss, the oldest offset",
    ),
    "delete_records": Remedy(
        "what was deleted is gone from the topic; read it from the archive",
        _DATA,
        "the oldest offset, offsets out of range",
    ),
    "reassign": Remedy(
        f"move the replicas back; {_HEALED}",
        ("a throttle on the copying", *_TOPIC[:1]),
        "in-sync replicas, network of the brokers",
    ),
    "add_partitions": Remedy(
        "partitions cannot be taken away; a new topic with the old count is the way back",
        (
            "enough partitions from the start: adding some moves keys",
            "groups drained before the change, so that no key is in two partitions",
        ),
        "order within each key",
    ),
    "dependency_down": Remedy(
        f"the service is back; {_HEALED}",
        (
            "a circuit breaker with a time limit on each call",
            "retries in a retry topic, so that partitions go on",
            "an answer that is good enough without the service",
        ),
        "failed calls, open breakers, lag",
    ),
    "dependency_slow": Remedy(f"the service is fast again; {_HEALED}", _SLOW, "time of calls, lag in seconds"),
    "throttle": Remedy(
        f"take the quota away; {_HEALED}",
        ("quotas set from measured peaks, with room", "an alert on throttle times"),
        "throttle times of clients, buffers that fill",
    ),
    "deploy": Remedy(
        "deploy the version before again, one member at a time; redrive what lies in the dead-letter topic",
        ("a canary that is watched and rolled back by itself", "tests with recorded events before the deploy"),
        "failed tries by version, rebalances, lag during the deploy",
    ),
    "reset_offsets": Remedy(
        "set the offsets to where they were; what was done meanwhile is to be found and reversed",
        (
            "a memory of event ids with a dedupe window longer than the way back",
            "a dry run that shows the offsets before they are set",
        ),
        "offsets that go back, deliveries of known ids",
    ),
    "hook": Remedy(
        "what the hook's own `undo` does; EventDrill calls it at the fault's end and on a stop",
        ("depends on what the hook breaks: write it into the runbook",),
        "what the runbook names",
    ),
}


def prevented_by(kinds: Iterable[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Return for each kind of fault, once, what would have kept its damage small."""
    return [(kind, REMEDIES[kind].prevents) for kind in dict.fromkeys(kinds)]
