"""Transactions of the plain model: what a member's batch sent and its offsets take effect together, or not at all."""

import itertools
from collections.abc import Generator, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import simpy

from plain_clock import Control
from scenarios.clients import broker_setting, transaction_timeout_ns
from scenarios.quantities import MILLISECOND

if TYPE_CHECKING:
    from plain_brokers import Partition
    from plain_members import Member
    from plain_model import Model

Process = Generator[simpy.Event, Any, None]


@dataclass(eq=False)
class Transaction:
    """One batch of a member."""

    member: "Member"
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
        if any(group.commit == "transaction" for group in model.plan.scenario.groups.values()):
            model.clock.process(self._abort_late())

    def begin(self, member: "Member") -> Transaction:
        """Begin a member's next transaction."""
        member.transactions += 1
        return Transaction(member, (member.code << 40) + member.transactions - 1, self.model.clock.now)

    def may_write(self, token: Hashable) -> bool:
        """Whether what stands for an event may still come into a log."""
        transaction = self.of.get(token)
        return transaction is None or transaction.is_open

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

    def _is_coordinated(self, member: "Member") -> bool:
        is_up = self.model.coordinators[member.name].leader is not None
        self.model.fired["open transaction without a coordinator"] += not is_up
        return is_up or not self.model.rules.transactions_coordinator

    def _abort_late(self) -> Process:
        """Abort what is open for too long, whenever the coordinators look; whoever has it open does not know."""
        scenario, clock = self.model.plan.scenario, self.model.clock
        name = "transaction.abort.timed.out.transaction.cleanup.interval.ms"
        interval_ns = int(broker_setting(scenario, name)) * MILLISECOND
        for look in itertools.count():
            yield clock.control(self.model.draws.transaction_scan_ns() + look * interval_ns, Control.transactions)
            for member in self.model.members():
                timeout_ns = transaction_timeout_ns(scenario, member.group.name)
                late = member.transaction
                if (
                    late
                    and late.is_open
                    and self._is_coordinated(member)
                    and late.begun_ns + timeout_ns < clock.now
                    and self.model.rules.transaction_timeout
                ):
                    self.model.fired["transaction timed out"] += 1
                    self.end(late, "aborted")
