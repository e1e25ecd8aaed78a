"""A partition of the plain model: its log, its replicas, and what of it is visible."""

from collections.abc import Generator, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import simpy

from plain_clock import Control, Phase, Signal
from rundata.rows import NONE
from scenarios.clients import release
from scenarios.quantities import SECOND

if TYPE_CHECKING:
    from plain_model import Model
    from plain_transactions import Transaction

Process = Generator[simpy.Event, Any, None]
OFFSETS, OFFSETS_PARTITIONS = "__consumer_offsets", 5
TRANSACTIONS, TRANSACTIONS_PARTITIONS = "__transaction_state", 5
COORDINATING = (OFFSETS, TRANSACTIONS)
"""Topics of the brokers' own, whose leaders coordinate groups and transactions."""


HANGS_NS = 2**61
"""Added to instants that a broker which hangs does not reach."""


@dataclass(eq=False)
class Record:
    """An event in a partition's log."""

    event: int
    token: Hashable
    stamp_ns: int
    """When it was handed over, by its sender's clock."""
    leader_epoch: int
    request: "Request"
    due_ns: int
    """In a retry topic: when the next try is due."""
    transaction: "Transaction | None"
    gone: str = ""
    """What took it out of the log."""


@dataclass(eq=False)
class Request:
    """Events on their way from one sender to one partition; tokens tell the broker what it has already."""

    sender: int
    partition: "Partition"
    events: list[tuple[int, Hashable, int]]
    """Event, token, and when it was handed over."""
    idempotent: bool
    visible: simpy.Event
    appended_ns: int = 0
    replicated_ns: int = 0
    offsets: dict[Hashable, int] = field(default_factory=dict)
    """Where each token stands in the log."""
    cut: bool = False
    due_ns: int = 0
    abandoned: bool = False
    """Its sender died before it heard the answer."""
    is_too_large: bool = False
    """The broker refuses it for its size."""
    is_out_of_order: bool = False
    """The broker misses a batch before it."""
    hung_at: int | None = None
    stale: bool = False
    """Taken by a broker that is not the leader any more."""
    seen_by: int | None = None
    """Who led the partition when it became visible."""
    is_short: bool = False
    """Whether too few were in sync then, which its broker complains about."""

    def goes_on(self, length_ns: int) -> None:
        """Let what a hanging broker had not done be done so much later."""
        if not self.stale:
            self.appended_ns += length_ns - HANGS_NS if self.appended_ns >= HANGS_NS else 0
            self.replicated_ns += length_ns - HANGS_NS if self.replicated_ns >= HANGS_NS else 0


class Partition:
    """A partition's log, its replicas, and what of it is visible."""

    def __init__(
        self, model: "Model", topic: str, number: int, replicas: list[int], min_in_sync: int, copy: int = 0
    ) -> None:
        self.model, self.topic, self.number, self.replicas = model, topic, number, replicas
        self.copy = copy
        """Of a retry topic: how many tries have failed of what it holds."""
        self.min_in_sync = min_in_sync if model.rules.min_in_sync else 1
        self.leader: int | None = replicas[0] if replicas else None
        self.in_sync = list(replicas)
        self.epoch = 0
        self.led_since_ns = 0
        self.unfollowed = False
        """Whether the leader's followers asked before it led, and wait before they ask again."""
        self.mark_waits = release(model.plan.scenario.brokers.version) >= (3, 7) and model.rules.mark_waits
        """Whether nothing becomes visible while too few are in sync."""
        self.halted = self.has_too_few and self.mark_waits
        self.log: list[Record] = []
        self.requests: list[Request] = []
        self.visible_end = 0
        self.stable_end = 0
        """Up to where readers of committed records may read."""
        self.stale_end = 0
        self.eligible: set[int] = set()
        """Who left the in-sync set while it was too small."""
        self.start = 0
        """The first offset that is not deleted."""
        self.rolls: set[int] = set()
        """Offsets at which a segment begins because the one before was deleted."""
        self.watched: set[tuple[int | None, int]] = set()
        """Leaders and followers that do not fetch from them."""
        self.place = 0
        """Its number among all partitions."""
        self.is_unclean = False
        """Whether anybody leads it rather than nobody."""
        self.kept: dict[int, int] = {}
        """By replica that does not fetch: up to where it has the log."""
        self.reassigned_by: int | None = None
        """The reassignment that is under way."""
        self.adding: set[int] = set()
        """Replicas that it waits for."""
        self.copying: dict[int, int] = {}
        """By new replica that has not copied the log yet: the reassignment that added it."""
        self.cuts: list[tuple[int, int]] = []
        """From which record on, and how far, offsets lie below the records' places in `log`."""
        self.written: dict[int, int] = {}
        """By replica whose machine died: up to where the log was on its disk."""
        self.changed = Signal(model.clock)

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"

    @property
    def has_too_few(self) -> bool:
        """Whether fewer are in sync than min.insync.replicas."""
        return len(self.in_sync) < self.min_in_sync

    def begin(self, request: Request, leader_ns: int, duration_ns: int) -> None:
        """Take a request into the log; it is appended, replicated and visible after those before it."""
        now = self.model.clock.now
        before = self.requests[-1] if self.requests else None
        request.appended_ns = max(now + leader_ns, before.appended_ns if before else 0)
        size = sum(self.model.size_of(event) for event, _, _ in request.events)
        follows_ns = self.model.links.followers_take(self, request.appended_ns, size)
        replicated_ns = now + (leader_ns + duration_ns) // 2 + follows_ns
        request.replicated_ns = max(replicated_ns, before.replicated_ns if before else 0)
        duration_ns += follows_ns
        if before is not None and request.replicated_ns >= HANGS_NS:
            request.hung_at = before.hung_at
        self.requests.append(request)
        for event, token, handed_ns in request.events:
            known = self.offset_of(token) if request.idempotent and self.model.rules.dedupe_of_resent else NONE
            self.model.fired["resent and known"] += known != NONE
            if known == NONE and not self.model.transactions.may_write(token):
                self.model.fired["came after its transaction"] += 1
            elif known == NONE:
                known = len(self.log)
                transaction = self.model.transactions.of.get(token)
                stamp_ns = self.model.wrong_clocks.stamped(request.sender, handed_ns)
                self.log.append(
                    Record(
                        self.model.event_of(event), token, stamp_ns, self.epoch, request, request.due_ns, transaction
                    )
                )
                self.model.open.add(("record", self, known))
            request.offsets[token] = known
        self.model.clock.process(self._become_visible(request, before, duration_ns, len(self.log)))

    def _become_visible(self, request: Request, before: Request | None, left_ns: int, end: int) -> Process:
        """Wait for `left_ns` of time in which the partition is not halted, and for the request before."""
        clock = self.model.clock
        while True:
            while self.halted and not request.cut:
                self.model.fired["halted"] += 1
                yield self.changed.wait()
            if request.cut:
                return
            since, timer = clock.now, clock.at(clock.now + left_ns, Phase.end)
            yield timer | self.changed.wait()
            if timer.processed:
                break
            left_ns -= clock.now - since
        if before and not before.visible.triggered and self.model.rules.visible_in_order:
            self.model.fired["visible after the one before"] += 1
            yield before.visible
        if request.cut:
            return
        begin = self.visible_end
        for offset in range(begin, end):
            self.model.became_visible(self, offset)
        self.visible_end = max(begin, end)
        for group in self._share_groups():
            group.sees(self, begin, end)
        self.move_stable_end()
        request.seen_by = self.leader
        request.is_short = self.has_too_few and not self.mark_waits and self.model.rules.refused_after_append
        request.visible.succeed()
        self.model.news.give()

    def move_stable_end(self) -> None:
        """Let readers of committed records read up to the first one of an open transaction."""
        while self.stable_end < self.visible_end:
            transaction = self.log[self.stable_end].transaction
            is_there = not self.log[self.stable_end].gone
            if transaction is not None and is_there and transaction.is_open and self.model.rules.stable_end:
                self.model.fired["held back by an open transaction"] += 1
                return
            self.stable_end += 1

    def offset_of(self, token: Hashable) -> int:
        """Return where the log has what a sender sent, or NONE."""
        there = (n for n, record in enumerate(self.log) if record.token == token and record.gone != "cut off")
        return next(there, NONE)

    def leaves(self, broker: int) -> None:
        """Take a broker out of the in-sync set."""
        self.in_sync.remove(broker)
        self.stops(broker)
        version = self.model.plan.scenario.brokers.version
        if self.has_too_few and release(version) >= (4, 1) and self.model.rules.eligible_leaders:
            self.eligible.add(broker)

    def cut_back(self, now_ns: int) -> None:
        """Lose what no follower has."""
        some = self.model.rules.followers_have_some
        self._keep([r for r in self.requests if (r.replicated_ns <= now_ns if some else r.visible.triggered)])

    def cut_to_visible(self) -> None:
        """Lose what is not visible."""
        self._keep([request for request in self.requests if request.visible.triggered])

    def _keep(self, kept: list[Request]) -> None:
        lost = self.requests[len(kept) :]
        for offset, record in enumerate(self.log):
            if record.request in lost:
                self.model.open.discard(("record", self, offset))
        if not self.model.rules.loss_with_acks_1:
            return
        self.stale_end = len(self.log)
        self.kept = {broker: min(end, len(self.log) - self._records_of(lost)) for broker, end in self.kept.items()}
        self.log = [record for record in self.log if record.request not in lost]
        self.requests = kept
        for request in lost:
            request.cut = True

    def _records_of(self, requests: list[Request]) -> int:
        return sum(record.request in requests for record in self.log)

    # ---- replicas out of sync, and unclean elections -----------------------------------------------------------------

    def stops(self, broker: int) -> None:
        """Note what a replica has when it stops to fetch."""
        now = self.model.clock.now
        if broker in self.replicas and broker not in self.kept:
            self.kept[broker] = sum(record.request.replicated_ns <= now for record in self.log)

    def fetches(self) -> None:
        """Forget what replicas had that have caught up."""
        parted, unavailable = self.model.parted, self.model.unavailable
        for broker in self.in_sync:
            if broker not in unavailable and (self.leader, broker) not in parted:
                self.kept.pop(broker, None)
                self.written.pop(broker, None)

    def loses_cache(self, broker: int, wakes_ns: int) -> None:
        """Note what a replica has on its disk, to which a file is written whenever the kernel wakes and something of it waits for 30 s."""
        appended_ns = [record.request.appended_ns for record in self.log]
        end = 0
        while end < len(appended_ns):
            while wakes_ns < appended_ns[end] + 30 * SECOND and wakes_ns <= self.model.clock.now:
                wakes_ns += 5 * SECOND
            if wakes_ns > self.model.clock.now:
                break
            end = sum(at_ns <= wakes_ns for at_ns in appended_ns)
        self.written[broker] = end

    def cut_to_written(self, broker: int) -> None:
        """Cut the log back to what its leader has on its disk, which was alone in sync."""
        written = self.written.pop(broker, len(self.log))
        if written < len(self.log) and self.model.rules.page_cache:
            self.model.fired["lost with its host"] += 1
            self.kept[broker] = written
            before = sum(not record.gone for record in self.log[: self.visible_end])
            self.cut_to(broker)
            lost = before - sum(not record.gone for record in self.log[: self.visible_end])
            if lost:
                self.model.incident("lost with its host", str(self))

    def cut_to(self, broker: int) -> None:
        """Cut the log back to what a new leader has that is out of sync."""
        self.cut_to_visible()
        end = self.visible_end
        begin = min(self.kept.pop(broker, end), end) if self.model.rules.kept_by_replicas else end
        behind = [number for number in range(max(begin, self.start), end) if self.log[number].gone != "cut off"]
        self.model.fired["visible records lost"] += any(not self.log[number].gone for number in behind)
        self.model.fired["cut where records were deleted"] += self.start > 0 and bool(behind)
        for group in self._share_groups():
            group.cut_off(self, behind)
        if behind:
            self.cuts.append((end, end - self.offset(behind[0])))
            self.erase(behind, "cut off")
            self.move_stable_end()

    def _share_groups(self) -> list[Any]:
        return [group for group in self.model.groups.values() if group.is_share and self in group.partitions]

    def erase(self, numbers: list[int], how: str) -> None:
        """Take records out of the log; nobody waits for them any more."""
        for number in numbers:
            self.log[number].gone = how
            for group in self.model.groups.values():
                self.model.open.discard((group, self, number))
        for group in self._share_groups():
            group.give_up_gone(self)
        for replayer in self.model.replayers.values():
            replayer.looks_again()
        self.model.news.give()

    def offset(self, number: int) -> int:
        """Return the offset of a record by its place in `log`."""
        return number - next((shift for begin, shift in reversed(self.cuts) if number >= begin), 0)

    def number_of(self, offset: int) -> int:
        """Return the place of the latest record that had an offset."""
        return next((offset + shift for begin, shift in reversed(self.cuts) if offset + shift >= begin), offset)

    def delete_below(self, offset: int) -> None:
        """Delete what lies before an offset; nobody waits for that any more."""
        for group in self.model.groups.values():
            for below in range(self.start, offset):
                self.model.open.discard((group, self, below))
            if group.is_share:
                group.give_up_below(self, offset)
        if offset > self.start:
            self.model.fired["records deleted"] += 1
            self.model.incident("expired", str(self), f"first offset {offset}")
        self.start = max(self.start, offset)
        self.model.news.give()

    def hangs(self, broker: int) -> None:
        """Let what is not appended or replicated wait for the leader to go on."""
        now = self.model.clock.now
        for request in self.requests if self.model.rules.hung_requests_wait else ():
            if request.replicated_ns > now:
                request.hung_at = broker
            request.appended_ns += HANGS_NS if request.appended_ns > now else 0
            request.replicated_ns += HANGS_NS if request.replicated_ns > now else 0

    def _shrink(self, leader: int | None, follower: int) -> Process:
        """Take a follower that does not fetch out of the in-sync set when the leader notices."""
        clock = self.model.clock
        assert leader is not None
        at_ns = self.model.draws.lag_ns(leader, clock.now)
        yield from self.model.controller.at(at_ns, Control.in_sync, self.place)
        still = (leader, follower) in self.watched and self.leader == leader and self.model.rules.shrink_of_in_sync
        self.watched.discard((leader, follower))
        if still and follower in self.in_sync:
            self.model.fired["in-sync set shrinks"] += 1
            self.leaves(follower)
            self.replicas_changed()

    def replicas_changed(self) -> None:
        """See anew whether the high watermark may move."""
        for broker in self.in_sync:
            if (self.leader, broker) in self.model.parted and (self.leader, broker) not in self.watched:
                self.watched.add((self.leader, broker))
                self.model.clock.process(self._shrink(self.leader, broker))
        waits = [b for b in self.in_sync if b in self.model.down or (self.leader, b) in self.model.parted]
        down_in_sync = self.model.rules.stall_of_survivors and (bool(waits) or self.leader in self.model.stalled)
        self.halted = self.leader is None or down_in_sync or self.unfollowed or (self.has_too_few and self.mark_waits)
        self.changed.give()
        self.model.reassignments.news.give()
