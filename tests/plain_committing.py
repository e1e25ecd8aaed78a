"""Commits of a member in the plain model: what is finished, when it is committed, and when that counts."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import simpy

from plain_clock import Phase
from plain_links import COMMIT
from plain_member_state import Delivery, MemberState, Process, Read
from rundata.rows import NONE, Kind, Outcome

if TYPE_CHECKING:
    from plain_brokers import Partition


class Committing(MemberState):
    """What is finished, and commits of it."""

    def _commit(self, offsets: Mapping["Partition", int]) -> Process:
        """Commit and wait until it has ended."""
        yield self.clock.at(self.clock.now, Phase.work, self.code)
        yield from self._hang(Phase.work)
        yield from self._commit_at_once(offsets)

    def _commit_at_once(self, offsets: Mapping["Partition", int]) -> Process:
        """The same of a member whose turn it is."""
        self._begin_commit(offsets)
        waits = self.model.rules.commits_are_waited_for
        while waits and self.last_commit is not None and not self.last_commit.processed:
            yield self.last_commit

    def _commit_if_due(self) -> None:
        if self.group.interval_ns and self.clock.now >= self.due_ns:
            if self._has_one_under_way():
                self.model.fired["auto commit waits for the one before"] += 1
                return
            self._begin_commit(self._what_is_done())
            self.due_ns = self.clock.now + self.group.interval_ns

    def _has_one_under_way(self) -> bool:
        """Whether the client makes no auto commit because one is under way (Java's, in a `consumer` group)."""
        is_alone = self.commits_at_calls and self.group.protocol == "consumer" and self.model.rules.one_auto_commit
        return is_alone and self.last_commit is not None and not self.last_commit.processed

    def _until_commit(self) -> simpy.Event:
        """Return when a member in a call commits next, if nothing comes in between."""
        is_due = self.clock.now >= self.due_ns
        if is_due and self.last_commit is not None and self._has_one_under_way():
            return self.last_commit
        return self.clock.at(self.due_ns, Phase.poll, self.code)

    @property
    def commits_at_calls(self) -> bool:
        """Whether only calls commit (Java's auto commit)."""
        return self.group.is_java and self.group.commit == "auto" and self.model.rules.auto_commits_at_calls

    def _commit_in_between(self) -> None:
        """Commit where that is due and the client does so without being called (not Java's auto commit)."""
        if self.commits_at_calls:
            self.model.fired["auto commit waits for the call"] += self.clock.now >= self.due_ns
        else:
            self._commit_if_due()

    def _commit_in_a_moment(self, moment: simpy.Event) -> Process:
        yield moment
        yield from self._hang(Phase.work)
        self.commit_soon = False
        self._begin_commit(self.finished)

    @property
    def collects_by_calls(self) -> bool:
        """Whether the client commits what calls have returned, which the application still collects (Java's auto commit)."""
        return self.commits_at_calls and bool(self.group.collect) and self.group.interval_ns > 0

    def _is_collected(self) -> list[Read]:
        return [read for read in self.queue if read.offset < self.collected[read.partition]]

    def _call_for_more(self, enough: int) -> None:
        """Call until enough is collected or nothing is there; each call commits first what those before it returned, where that is due."""
        has = len(self._is_collected())
        while has < enough:
            self.model.fired["commit of what is collected"] += has > 0 and self.clock.now >= self.due_ns
            self._commit_if_due()
            more = list(self.queue)[has : has + self.group.settings.max_poll_records]
            if not more:
                return
            for read in more:
                self.collected[read.partition] = read.offset + 1
            has += len(more)

    def _what_is_done(self) -> Mapping["Partition", int]:
        if self.collects_by_calls and self.model.rules.collected_counts:
            return self.collected
        return self.handed_over if self.group.commit in ("auto", "before_work") else self.finished

    def _begin_commit(self, offsets: Mapping["Partition", int]) -> None:
        if self.transaction is not None:  # all of its batch, also where somebody else has the partition meanwhile
            offsets = self.handed_over
        new: Any = {p: offset for p, offset in offsets.items() if p in self.owned and offset != self.asked[p]}
        if self.group.is_share:
            new, self.answers = self.answers, []
        transaction = self.transaction
        is_fenced = self.evicted and self.model.rules.fence_of_the_evicted
        if transaction is not None and (is_fenced or not transaction.is_open):
            self._refused(new, self.clock.now)
        elif new and is_fenced:
            self.model.fired["commit refused"] += 1
        elif new or transaction is not None:
            if not self.group.is_share:
                self.asked.update(new)
            n, self.commits = self.commits, self.commits + 1
            length_ns = self.commit_time[n]
            if transaction is not None and self.model.rules.offsets_then_end:
                length_ns, self.commits = length_ns + self.commit_time[n + 1], self.commits + 1
            left_ns = 0 if self.group.is_pool else self.recorded_of[0] - self.clock.now
            length_ns = max(length_ns, left_ns * self.model.rules.commits_outlast_tries)
            self.last_commit = self.clock.process(self._committing(new, length_ns, self.last_commit))
            self.model.fired[f"commit {self.group.commit_word}"] += 1

    def _committing(self, offsets: Mapping["Partition", int], length_ns: int, before: simpy.Event | None) -> Process:
        clock, model, life, seat, coordinator = self.clock, self.model, self.life, self.seat, self.group.coordinator
        asked = [coordinator]
        if self.transaction is not None and model.rules.transactions_coordinator:
            asked.append(model.coordinators[self.name])
        begun_ns, mark = clock.now, (self, self.commits)
        model.open.add(mark)
        while True:
            if model.rules.coordinator_down:
                model.fired["coordinator down"] += not model.knows(self.code, coordinator)
                model.fired["transactions' coordinator down"] += self._knows_only(coordinator, asked)
                while not self._knows_all(asked):
                    yield model.news.wait()
            crossing_ns = model.links.there_and_back(coordinator.leader, self.code, COMMIT, begun_ns)
            timer = clock.at(clock.now + length_ns + crossing_ns, Phase.end)
            while not timer.processed and self._knows_all(asked):
                yield timer | model.news.wait()
            if not timer.processed and not model.rules.coordinator_down:
                yield timer
            if timer.processed:
                break
        if before is not None and not before.processed and model.rules.commits_in_order:
            yield before
        model.open.discard(mark)
        is_member = seat in self.group.joined or not self.model.rules.fence_of_the_evicted
        self.model.fired["commit fenced"] += self.life == life and not is_member
        transaction = self.transaction
        if self.life == life and transaction is not None and not (is_member and transaction.is_open):
            self._refused(offsets, begun_ns)
        elif self.life == life and is_member and self.group.is_share:
            self.group.take(self, offsets, begun_ns)
        elif self.life == life and is_member:
            self._committed(offsets, begun_ns)
            self.transaction = None
            self.model.transactions.end(transaction, "committed")

    def _knows_all(self, partitions: list["Partition"]) -> bool:
        return all(self.model.knows(self.code, partition) for partition in partitions)

    def _knows_only(self, coordinator: "Partition", asked: list["Partition"]) -> bool:
        return self.model.knows(self.code, coordinator) and not self._knows_all(asked)

    def _committed(self, offsets: Mapping["Partition", int], begun_ns: int) -> None:
        for partition, offset in sorted(offsets.items(), key=lambda item: self.group.place(item[0])):
            self._commit_row(partition, offset, begun_ns, Outcome.ok)
            self.group.commit_offset(partition, offset)

    def _commit_row(self, partition: "Partition", offset: int, begun_ns: int, outcome: Outcome) -> None:
        fields = {"group": self.group.code, "offset": offset, "started_ns": begun_ns, "ended_ns": self.clock.now}
        fields["transaction_id"] = NONE if self.transaction is None else self.transaction.number
        self.model.row(Kind.commit, self.code, partition, outcome=outcome, **fields)

    def _refused(self, offsets: Mapping["Partition", int], begun_ns: int) -> None:
        """Hear that a transaction's commit failed: abort it, and read its batch again where one is still a member."""
        self.model.fired["transaction refused"] += 1
        for partition, offset in offsets.items():
            self._commit_row(partition, offset, begun_ns, Outcome.failed)
        self._abort()
        if not self.evicted and self.model.rules.aborted_batches_again:
            self.model.fired["batch read again"] += 1
            self.read_again()

    def _abort(self) -> None:
        transaction, self.transaction = self.transaction, None
        self.model.transactions.end(transaction, "aborted")

    def commit_at_the_end(self) -> None:
        """Leave in good order when the run is over."""
        if self.alive and not self.evicted and self.group.interval_ns:
            done = self._what_is_done()
            self._committed(
                {p: done[p] for p in self.owned if done[p] != self.group.committed.get(p, 0)}, self.clock.now
            )

    def _settle_commits(self) -> Process:
        yield from self._flush()
        if (self.group.interval_ns or self.group.is_pool) and self.model.rules.commits_before_duties:
            self._begin_commit(self._what_is_done())
        while self.last_commit is not None and not self.last_commit.processed:
            yield self.last_commit

    def _flush(self) -> Process:
        """Wait until everything that was emitted is answered."""
        waits = self.emitting > 0 and self.model.rules.emitted_before_commit
        self.model.fired["waits for emitted events"] += waits
        while self.emitting > 0 and self.model.rules.emitted_before_commit:
            yield self.flushed.wait()
            if not self.emitting:  # unless something else of this instant has to be waited for
                yield self.clock.at(self.clock.now, Phase.work, self.code)
                yield from self._hang(Phase.work)

    def heard_of(self, delivery: Delivery) -> None:
        """Learn that one of the events that a delivery emitted is there."""
        self.emitting -= 1
        self._part_done(delivery)
        self.flushed.give()

    def _part_done(self, delivery: Delivery) -> None:
        """Note a part of a delivery as done; offsets are finished as far as nothing before them is left."""
        delivery.left -= 1
        read = delivery.read
        if self.group.is_share or delivery.left or self.owned.get(read.partition) != read.ownership:
            return
        there = self.unfinished[read.partition]
        there.pop(read.offset, None)
        done = min(there, default=self.handed_over[read.partition])
        if not self.model.rules.commit_below_the_unfinished:
            done = max(self.finished[read.partition], read.offset + 1)
        moved, self.finished[read.partition] = done > self.finished[read.partition], done
        self.model.fired["finished behind another"] += not moved and self.group.is_pool
        if (
            self.group.is_pool
            and moved
            and self.group.commit in ("after_event", "after_batch")
            and not self.commit_soon
        ):
            self.commit_soon = True
            moment = self.clock.at(self.clock.now, Phase.work, self.code)
            self.clock.process(self._while_alive(self._commit_in_a_moment(moment)))
