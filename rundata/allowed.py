"""What a configuration allows to go wrong, in words: acks and idempotence of producers, commits of groups, settings of topics."""

from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rundata.books import Books
from rundata.chains import emits_name, emitting, sending_settings, sent_to
from rundata.rows import NEVER, Kind
from scenarios.actions import Redrive, Replay, ResetOffsets
from scenarios.clients import broker_setting, consumer_settings, is_compacted, topic_setting
from scenarios.faults import AddPartitions, ClockSkew, DeleteRecords, Duplicates, HostCrash, Late, Retention
from scenarios.quantities import MILLISECOND, format_duration
from scenarios.retries import all_topics, retry_topics
from scenarios.schema import Dedupe, EveryCommit, Group, Scenario

MOVES = ("assignment", "revocation", "rebalance", "session expired", "eviction", "restart")
"""Incidents after which a group reads on from committed offsets."""


class Allowed:
    """By producer, group and topic: why something is allowed, or "" where it is not."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._scenario = books.scenario

    @cached_property
    def loses(self) -> tuple[str, ...]:
        """Why each producer may lose acknowledged events."""
        return tuple(self._loses(name) for name in self._books.plan.producers)

    def _loses(self, name: str) -> str:
        if why := self._is_cut([sent_to(self._scenario, name)]):
            return why
        match sending_settings(self._scenario, name).acks:
            case "1":
                return f"{name} has acks=1: what the followers do not have yet is lost with its leader"
            case "0":
                return f"{name} has acks=0: nobody says whether a broker took the event"
            case "all":
                return ""

    def _is_cut(self, topics: Iterable[str]) -> str:
        """Return why the logs of topics may be cut back, although what is lost was acknowledged, read and committed."""
        for topic in topics:
            if topic in self._scenario.topics and topic_setting(
                self._scenario, topic, "unclean.leader.election.enable"
            ):
                return f"{topic} is led by a replica out of sync rather than by nobody (unclean.leader.election.enable)"
            crashes = any(isinstance(fault, HostCrash) for fault in self._scenario.faults)
            if crashes and topic in self._scenario.topics and self._scenario.replication_of(topic) == 1:
                return f"{topic} has one replica, whose machine dies with what is not on its disk (host_crash)"
        return ""

    @cached_property
    def repeats_sends(self) -> tuple[str, ...]:
        """Why each producer may append an event twice; what a group emits for an event follows again when it handles that event again."""
        why = {name: self._client_repeats(name) for name in self._books.plan.producers}
        handles_again = dict(zip(self._scenario.groups, self.repeats_effects, strict=True))
        # Around a chain once for each of its links, at most; then nothing changes any more.
        for _ in self._scenario.groups:
            for group, emit, _ in emitting(self._scenario):
                name = emits_name(group, emit)
                if name in why:  # else nothing was emitted
                    why[name] = why[name] or self._emits_again(group, handles_again[group], why)
        return tuple(why[name] for name in self._books.plan.producers)

    def _emits_again(self, group: str, handles_again: str, repeats: Mapping[str, str]) -> str:
        """Return why a group's effect may come twice, and what it emits with it: by its own doing, or since its events are repeated."""
        if handles_again:
            return f"{group} emits again what follows from an event: {handles_again}"
        if remembers(self._scenario.groups[group]):
            return ""
        topics = self._scenario.groups[group].topics
        repeated = [why for name, why in repeats.items() if why and sent_to(self._scenario, name) in topics]
        return f"{group} emits for each copy of an event: {repeated[0]}" if repeated else ""

    def _client_repeats(self, name: str) -> str:
        """Return why a producer's own client may append an event twice."""
        if is_own_program(self._scenario, name):
            return f"{name} is your own program, which may send an event again"
        if any(isinstance(each, Duplicates) and each.producer == name for each in self._scenario.faults):
            return f"{name} sends events again (fault duplicates)"
        if any(isinstance(each, Redrive) for each in self._scenario.actions):
            return "dead letters are sent again (action redrive)"
        if sending_settings(self._scenario, name).idempotence:
            return ""
        return f"{name} is not idempotent: a batch whose answer was lost is sent and appended again"

    @cached_property
    def reorders(self) -> tuple[str, ...]:
        """Why each producer may append events in another order than it sent them."""
        return tuple(self._reorders(name) for name in self._books.plan.producers)

    def _reorders(self, name: str) -> str:
        if is_own_program(self._scenario, name):
            return f"{name} is your own program: in which order it sent is known by its clocks only"
        settings = sending_settings(self._scenario, name)
        if settings.idempotence or settings.in_flight == 1:
            return self._is_cut([sent_to(self._scenario, name)])
        return f"{name} is not idempotent and has several requests in flight: one that is sent again overtakes none, but is overtaken"

    @cached_property
    def _grown(self) -> frozenset[str]:
        """Topics that get more partitions."""
        return frozenset(each.topic for each in self._scenario.faults if isinstance(each, AddPartitions))

    @cached_property
    def reorders_keys(self) -> tuple[str, ...]:
        """Why each producer's events of a key may be in another order than they were intended."""
        late = {each.producer for each in self._scenario.faults if isinstance(each, Late)}
        moved = {
            name: f"{name} sends to {producer.topic}, where keys move to other partitions (fault add_partitions)"
            for name, producer in self._scenario.producers.items()
            if producer.topic in self._grown
        }
        moved |= {
            emits_name(
                group, emit
            ): f"{group} emits to {topic}, where keys move to other partitions (fault add_partitions)"
            for group, emit, topic in emitting(self._scenario)
            if topic in self._grown
        }
        order = dict(zip(self._scenario.groups, self.gives_up_order, strict=True))
        emitted = {emits_name(group, emit): order[group] for group, emit, _ in emitting(self._scenario)}
        return tuple(
            f"{name} hands some events over late, behind later ones of their keys (fault late)"
            if name in late
            else moved.get(name) or emitted.get(name) or why
            for name, why in zip(self._books.plan.producers, self.reorders, strict=True)
        )

    @cached_property
    def gives_up_order(self) -> tuple[str, ...]:
        """Why each group may handle the events of a key in another order than it reads them."""
        again = any(isinstance(each, Redrive) for each in self._scenario.actions)
        late = "dead letters are sent again, behind later events of their keys (action redrive)" if again else ""
        return tuple(_out_of_order(name, group) or late for name, group in self._scenario.groups.items())

    @cached_property
    def interrupted(self) -> tuple[bool, ...]:
        """Whether each group could be made to read again: by a fault, or by partitions that moved after the start."""
        run = self._books.run
        if self._books.plan.faults or run.faults or self._books.plan.actions:
            return (True,) * len(self._books.groups)
        return tuple(
            any(
                incident.kind in MOVES and incident.time_ns > 0 and incident.where.rpartition("/")[0] in (group, "")
                and incident.where.split("/")[0] == group
                for incident in run.incidents
            )
            for group in self._books.groups
        )  # fmt: skip

    @cached_property
    def redelivers(self) -> tuple[str, ...]:
        """Why each group may be given the same offset again."""
        return tuple(
            f"{name} is a share group: what is released, or not acknowledged in time, is delivered again"
            if group.share_group
            else f"{name} reads again what it had not committed ({commit_words(group)}) when a member ends or partitions move"
            if interrupted
            else ""
            for (name, group), interrupted in zip(self._scenario.groups.items(), self.interrupted, strict=True)
        )

    @cached_property
    def reads_back(self) -> tuple[str, ...]:
        """Why each group's members may go back to an earlier offset by themselves."""
        return tuple(
            f"{name} reads a batch again whose transaction was aborted (commit: transaction)"
            if group.commit == "transaction"
            else self._is_cut(group.topics)
            for name, group in self._scenario.groups.items()
        )

    @cached_property
    def repeats_effects(self) -> tuple[str, ...]:
        """Why each group may handle an event again that it was given again."""
        replayed = {each.group for each in self._scenario.actions if isinstance(each, Replay)}
        return tuple(
            ""
            if remembers(group)
            else f"{name} handles once more what lies in its log (action replay)"
            if name in replayed
            else ""
            if group.commit in ("before_work", "transaction")
            else why
            for (name, group), why in zip(self._scenario.groups.items(), self.redelivers, strict=True)
        )

    @cached_property
    def reads_aborted(self) -> tuple[str, ...]:
        """Why each group may be given records of a transaction that is aborted."""
        return tuple(
            f"{name} has isolation.level read_uncommitted: it handles what is aborted later"
            if consumer_settings(self._scenario, name).isolation == "read_uncommitted"
            else ""
            for name in self._scenario.groups
        )

    @cached_property
    def handles_aborted(self) -> tuple[str, ...]:
        """Why each group may handle a producer's event that its transaction takes back."""
        written = {p.topic for p in self._scenario.producers.values() if "transactional.id" in p.settings}
        return tuple(
            why if written & set(group.topics) else ""
            for group, why in zip(self._scenario.groups.values(), self.reads_aborted, strict=True)
        )

    @cached_property
    def remembers(self) -> tuple[bool, ...]:
        """Whether each group passes over events whose effect its members know of together."""
        return tuple(remembers(group) for group in self._scenario.groups.values())

    @cached_property
    def shares(self) -> NDArray[np.bool_]:
        """Whether each group is a share group, whose members take records of one partition side by side."""
        return np.asarray([group.share_group for group in self._scenario.groups.values()], np.bool_)

    @cached_property
    def passes(self) -> tuple[str, ...]:
        """Why each group may commit beyond what it has not handled."""
        words = {
            "auto": "commits what was handed over, finished or not",
            "before_work": "commits before it works, so a crash in between passes over events",
        }
        forward = {
            each.group: f"{each.group}'s offsets are set to {each.to.written()} (action reset_offsets)"
            for each in self._scenario.actions
            if isinstance(each, ResetOffsets) and each.to.place != "earliest"
        }
        late = {
            name: f"{name} begins at the end of partitions that came late (fault add_partitions, auto.offset.reset: latest)"
            for name, group in self._scenario.groups.items()
            if self._grown.intersection(group.topics)
            and consumer_settings(self._scenario, name).auto_offset_reset == "latest"
        }
        return tuple(
            forward[name]
            if name in forward
            else f"{name} is a share group: events are given up that were delivered too often (group.share.delivery.count.limit)"
            if group.share_group
            else f"{name} {words[group.commit]} (commit: {group.commit})"
            if isinstance(group.commit, str) and group.commit in words
            else late.get(name) or self._is_cut(group.topics)
            for name, group in self._scenario.groups.items()
        )

    @cached_property
    def deletes(self) -> tuple[str, ...]:
        """Why a group that comes back may find records of each topic gone that it had in hand and not handled."""
        return tuple(self._deletes(name) for name in self._books.plan.topics)

    def _deletes(self, topic: str) -> str:
        if topic in self._deleted_by_hand:
            return f"records of {topic} are deleted (fault delete_records)"
        if self._deleted_at_any_time(topic):
            return f"{topic} deletes by size, or is compacted (retention.bytes, cleanup.policy)"
        kept_ns = self._kept_ns(topic)
        return "" if kept_ns == NEVER else f"{topic} keeps records for {format_duration(kept_ns)} only (retention.ms)"

    def deleted_from_ns(self, events: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the first instant at which deletion may have taken each event's record."""
        plan = self._books.plan
        topic = plan.topic[events]
        kept_ns = np.asarray([self._kept_ns(each) for each in plan.topics], np.int64)[topic]
        since_ns = np.asarray([self._deleted_since_ns(each) for each in plan.topics], np.int64)[topic]
        by_age = plan.intended_ns[events] + np.where(kept_ns == NEVER, 0, kept_ns)
        return np.minimum(np.where(kept_ns == NEVER, NEVER, by_age), since_ns)

    def _deleted_since_ns(self, topic: str) -> int:
        return 0 if self._deleted_at_any_time(topic) else self._deleted_by_hand.get(topic, NEVER)

    @cached_property
    def _deleted_by_hand(self) -> dict[str, int]:
        """By topic: from when on its records, or those of a partition, are deleted by hand."""
        found = dict[str, int]()
        for planned in self._books.plan.faults:
            fault = planned.fault
            if isinstance(fault, DeleteRecords):
                topic = str(fault.topic if fault.partition is None else fault.partition.topic)
                found[topic] = min(found.get(topic, NEVER), planned.begin_ns)
        return found

    def _deleted_at_any_time(self, topic: str) -> bool:
        if topic not in self._scenario.topics:
            return False
        by_size = int(topic_setting(self._scenario, topic, "retention.bytes")) >= 0
        wrong_clocks = any(isinstance(fault, ClockSkew) for fault in self._scenario.faults)
        return by_size or is_compacted(self._scenario, topic) or (wrong_clocks and self._kept_ns(topic) != NEVER)

    def _kept_ns(self, topic: str) -> int:
        """Return the shortest time for which a topic keeps its records; NEVER where it keeps them for good."""
        if topic not in self._scenario.topics:
            return NEVER
        kept_ms = int(topic_setting(self._scenario, topic, "retention.ms"))
        changed = [each.to for each in self._scenario.faults if isinstance(each, Retention) and each.topic == topic]
        return min([NEVER if kept_ms < 0 else kept_ms * MILLISECOND, *changed])

    @cached_property
    def stops(self) -> tuple[str, ...]:
        """Why each group may stand still for good."""
        return tuple(self._stops(name, group) for name, group in self._scenario.groups.items())

    def _stops(self, name: str, group: Group) -> str:
        if group.failures is None:
            return f"{name} has no `failures`: it tries an event that can never work again and again, and its partition stands still"
        words = {
            "stop": "stops at an event it cannot handle",
            "crash": "dies of an event it cannot handle, again and again",
        }
        then = group.failures.then
        return f"{name} {words[then]} (then: {then})" if then in words else ""

    @cached_property
    def compacts(self) -> tuple[str, ...]:
        """Why each topic's log may have holes."""
        rows, names = self._books.whole.transactional, self._books.run.names.topics
        sent = np.unique(rows["topic"][rows["kind"] == Kind.send]).tolist()
        written = {names[code] for code in sent} | _written_in_transactions(self._scenario)
        return tuple(
            f"{name} is compacted"
            if "compact"
            in str(topic.settings.get("cleanup.policy", broker_setting(self._scenario, "log.cleanup.policy")))
            else f"{name} is written in transactions, whose ends take an offset each"
            if name in written
            else ""
            for name, topic in all_topics(self._scenario).items()
        )


def is_own_program(scenario: Scenario, producer: str) -> bool:
    """Whether a producer is the user's own program; what groups emit has no producer of that name."""
    return producer in scenario.producers and scenario.producers[producer].external


def remembers(group: Group) -> bool:
    """Whether no effect comes twice, because all members of a group remember the events that had theirs."""
    return isinstance(group.dedupe, Dedupe) and group.dedupe.store == "shared"


def _out_of_order(name: str, group: Group) -> str:
    if group.failures is not None and group.failures.retry.where == "topic":
        return f"{name} retries by topic: what comes behind a failed event does not wait for it"
    if group.share_group:
        return f"{name} is a share group: its members take events as they come"
    if group.workers > 1 and group.ordered_by == "none":
        return f"{name} has {group.workers} workers that keep no order"
    return ""


def _written_in_transactions(scenario: Scenario) -> set[str]:
    """Return the topics to which producers or groups write in transactions."""
    found = {producer.topic for producer in scenario.producers.values() if "transactional.id" in producer.settings}
    for name, group in scenario.groups.items():
        if group.commit == "transaction":
            found |= {what.topic for what in group.emits} | set(retry_topics(scenario, name))
            found |= {group.topic_of_dead_letters} if group.topic_of_dead_letters else set()
    return found


def commit_words(group: Group) -> str:
    """Return a group's commit mode as the scenario writes it."""
    if isinstance(group.commit, EveryCommit):
        return f"commit: {{every: {group.commit.every / 1e9:g}s}}"
    return f"commit: {group.commit}"
