"""Transactions of the plain model: what a member's batch sent and its offsets take effect together, or not at all."""

import itertools
from collections.abc import Generator, Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import simpy

from plain_clock import Control, Phase, Signal
from plain_links import COMMIT
from plain_producers import Client
from rundata.rows import NONE, Kind, Outcome
from scenarios.clients import broker_setting, transaction_timeout_ns
from scenarios.quantities import MILLISECOND

if TYPE_CHECKING:
    from plain_brokers import Partition, Request
    from plain_members import Member
    from plain_model import Model

Process = Generator[simpy.Event, Any, None]


@dataclass(eq=False)
class Transaction:
    """One batch of a member, or what a producer's process handed over at an instant."""

    number: int
    begun_ns: int
    state: Literal["open", "committed", "aborted"] = "open"

    @property
    def is_open(self) -> bool:
        """Whether it has neither been committed nor aborted."""
        return self.state == "open"


class Transactions:
    """All transactions of a run, and the coordinators that abort those that are open for too long."""

    def __init__(self, model: "Model") -> None:
        self.model = model
        self.of: dict[Hashable, Transaction] = {}
        """By what stands for an event that is sent: the transaction that it belongs to."""
        if model.coordinators:
            model.clock.process(self._abort_late())

    def begin(self, member: "Member") -> Transaction:
        """Begin a member's next transaction."""
        member.transactions += 1
        return Transaction((member.code << 40) + member.transactions - 1, self.model.clock.now)

    def may_write(self, token: Hashable) -> bool:
        """Whether what stands for an event may still come into a log."""
        transaction = self.of.get(token)
        return transaction is None or transaction.is_open or not self.model.rules.too_late_for_its_transaction

    def end(self, transaction: Transaction | None, state: Literal["committed", "aborted"]) -> None:
        """Commit or abort; readers of committed records go on."""
        if transaction is None or not transaction.is_open:
            return
        transaction.state = state
        self.model.fired[f"transaction {state}"] += 1
        for partition in self.model.all_partitions:
            for offset in range(partition.visible_end):
                if partition.log[offset].transaction is transaction and state == "aborted":
                    self.pass_over(partition, offset)
            partition.move_stable_end()
        self.model.news.give()

    def pass_over(self, partition: "Partition", offset: int) -> None:
        """Let an aborted record be over for the groups that do not see it."""
        for group in self.model.groups.values():
            if group.passes_over(partition, offset):
                self.model.open.discard((group, partition, offset))

    def _latest(self) -> Iterator[tuple[str, Transaction | None, int]]:
        """Yield the latest transaction of everybody who has any, and how long it may be open."""
        scenario = self.model.plan.scenario
        for member in self.model.members():
            yield member.name, member.transaction, transaction_timeout_ns(scenario, member.group.name)
        for client in self.model.clients:
            if isinstance(client, InTransactions):
                yield client.name, client.latest, client.settings.transaction_timeout_ns

    def _is_coordinated(self, name: str) -> bool:
        is_up = self.model.coordinators[name].leader is not None
        self.model.fired["open transaction without a coordinator"] += not is_up
        return is_up or not self.model.rules.transactions_coordinator

    def _abort_late(self) -> Process:
        """Abort what is open for too long, whenever the coordinators look; whoever has it open does not know."""
        scenario, clock = self.model.plan.scenario, self.model.clock
        name = "transaction.abort.timed.out.transaction.cleanup.interval.ms"
        interval_ns = int(broker_setting(scenario, name)) * MILLISECOND
        for look in itertools.count():
            yield clock.control(self.model.draws.transaction_scan_ns() + look * interval_ns, Control.transactions)
            for name, late, timeout_ns in self._latest():
                if (
                    late
                    and late.is_open
                    and self._is_coordinated(name)
                    and late.begun_ns + timeout_ns < clock.now
                    and self.model.rules.transaction_timeout
                ):
                    self.model.fired["transaction timed out"] += 1
                    self.end(late, "aborted")


class InTransactions(Client):
    """A producer's process with a transactional.id: what is due at an instant is handed over together, and committed when it is answered."""

    def __init__(self, model: "Model", name: str, *more: Any) -> None:
        self.name = name
        self.transaction: Transaction | None = None
        self.latest: Transaction | None = None
        self.count_of_transactions = self.left = 0
        """Left are events that are neither answered nor given up."""
        self.taken: dict[int, tuple[Partition, int] | None] = {}
        """What is in the transaction, and where the answer says that it stands."""
        self.is_committing = self.has_failed = False
        self.broken_ns = -1
        self.gaps: dict[Partition, int] = {}
        """By partition: in which transaction, from 1, a batch was too large; less than 0: was out of order."""
        self.ended = Signal(model.clock)
        super().__init__(model, name, *more)
        self.commit_time = model.draws.commit(self.code)

    def _wait_for_its_turn(self) -> Process:
        clock = self.model.clock
        is_one = self.model.rules.one_transaction_at_a_time
        while (
            is_one and self.transaction is not None and (self.is_committing or self.transaction.begun_ns != clock.now)
        ):
            self.model.fired["waits for a producer's commit"] += 1
            yield self.ended.wait()
            yield clock.at(clock.now, Phase.hand_over, self.code)
            yield from self.sleep(Phase.hand_over)

    def _is_taken(self, event: int) -> None:
        if self.transaction is None:
            self.model.fired["producer's transaction"] += 1
            number = (self.code << 40) + self.count_of_transactions
            self.transaction = self.latest = Transaction(number, self.model.clock.now)
            self.count_of_transactions += 1
            self.taken, self.left, self.has_failed = {}, 0, False
            self.model.open.add(("transaction", self.code))
        self.taken[event] = None
        self.left += 1
        self.model.transactions.of[event] = self.transaction

    def _is_broken(self) -> bool:
        """Whether the Java client has refused something that was handed over at this instant, so that its transaction takes nothing more."""
        is_broken = self.broken_ns == self.model.clock.now
        self.model.fired["refused in a broken transaction"] += is_broken
        return is_broken and self.model.rules.broken_takes_nothing

    def _breaks(self, event: int) -> None:
        if self.is_java and self.model.rules.refusals_break_transactions:
            self.model.fired["transaction broken by a refusal"] += 1
            self.broken_ns, self.has_failed = self.model.called[event], True

    def is_out_of_order(self, partition: "Partition") -> bool:
        """Whether librdkafka counted on behind a batch that was too large, and no batch of a transaction before was refused for that."""
        gap = self.gaps.get(partition, 0)
        return gap > 0 or gap == -self.count_of_transactions < 0

    def fails_for_good(self, request: "Request") -> None:
        """Hear that a batch is too large for its topic, or out of order."""
        if not self.is_java and self.model.rules.out_of_order:
            number = self.count_of_transactions
            self.gaps[request.partition] = number if request.is_too_large else -number
        super().fails_for_good(request)

    def forgets(self) -> None:
        """Lose everything that the client knew and held."""
        self.gaps.clear()
        super().forgets()

    def _is_answered(self, event: int, partition: "Partition", offset: int) -> None:
        if self.model.is_open(event):
            self.model.open.discard(("send", event))
            self.taken[event] = (partition, offset)
            self.left -= 1

    def _is_given_up(self, event: int, partition: "Partition", outcome: Outcome = Outcome.unknown) -> None:
        self.model.open.discard(("send", event))
        self.left -= 1
        self.has_failed = True

    def is_uncommitted(self, event: int) -> bool:
        """Whether an event is answered, and its transaction has not ended."""
        return self.transaction is not None and event in self.taken

    def _end_if_all(self) -> None:
        transaction = self.transaction
        if transaction is None or self.left or self.is_blocked or self.is_committing:
            return
        if self.has_failed or not transaction.is_open:
            self.model.fired["producer's transaction failed"] += 1
            self.model.transactions.end(transaction, "aborted")
            self._finish(transaction)
        else:
            self.is_committing = True
            self.model.clock.process(self._commit(transaction, self.commit_time[self.count_of_transactions - 1]))

    def _commit(self, transaction: Transaction, length_ns: int) -> Process:
        """Commit, while a coordinator is known; what a process that dies has asked for takes its course."""
        clock, model, life, begun_ns = self.model.clock, self.model, self.life, self.model.clock.now
        coordinator = model.coordinators[self.name]
        while True:
            model.fired["producer's coordinator down"] += not model.knows(self.code, coordinator)
            waits = model.rules.producers_coordinator
            while waits and self.life == life and not model.knows(self.code, coordinator):
                yield model.news.wait()
            if self.life != life:
                return
            crossing_ns = model.links.there_and_back(coordinator.leader, self.code, COMMIT, begun_ns)
            timer = clock.at(clock.now + length_ns + crossing_ns, Phase.end)
            while not timer.processed and (model.knows(self.code, coordinator) or not waits):
                yield timer | model.news.wait()
            if timer.processed:
                break
        model.transactions.end(transaction, "committed")
        yield from self.sleep(Phase.end)
        if self.life == life:
            self._finish(transaction)

    def _finish(self, transaction: Transaction) -> None:
        """Record what became of the transaction's events, and hand over what was due meanwhile."""
        model, is_committed = self.model, transaction.state == "committed"
        for event, place in self.taken.items():
            partition, offset = place or (model.handed[event][1], NONE)
            outcome = Outcome.ok if is_committed else Outcome.failed
            fields = {"event_id": model.event_of(event), "attempt": 1, "offset": offset if is_committed else NONE}
            times = {"started_ns": model.called[event], "ended_ns": model.clock.now}
            fields["transaction_id"] = transaction.number
            model.row(Kind.send, self.code, partition, outcome=outcome, **fields, **times)
        self._leave()

    def _leave(self) -> None:
        self.model.open.discard(("transaction", self.code))
        self.transaction, self.is_committing = None, False
        self.ended.give()

    def dies(self, back_ns: int) -> None:
        """Die, and leave the transaction open; the next incarnation aborts it."""
        if self.transaction is not None:
            self.model.fired["producer died in a transaction"] += 1
            self.model.unheard |= {event for event in self.taken if not self.model.is_open(event)}
            self.model.clock.process(self._successor(self.transaction, back_ns))
            self._leave()
        super().dies(back_ns)

    def _successor(self, transaction: Transaction, back_ns: int) -> Process:
        yield self.model.clock.at(back_ns, Phase.timeout, self.code)
        if self.model.rules.successor_aborts:
            self.model.transactions.end(transaction, "aborted")
