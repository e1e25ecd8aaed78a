"""Checks of transactions: each finds the defect that is planted, and nothing in runs without one."""

from typing import Any

import numpy as np

from rundata.checks import check
from rundata.rows import Kind, Outcome
from rundata.tables import RunData
from rundata.transactions import Transactions, settled
from runs import Build


class Transactional(Build):
    """A run in which sends, tries and commits belong to transactions."""

    def within(self, transaction: int) -> None:
        """Put the last row into a transaction."""
        self.rows[-1]["transaction_id"] = transaction

    def write(self, transaction: int, at: float, *, partition: int = 0, aborted: bool = False) -> int:
        """Write an event in a transaction; return its offset."""
        event = self.event(at, partition=partition)
        offset = self.append("orders", partition, event, at=at, aborted=aborted)
        self.send(event, offset=offset, logged=False)
        self.within(transaction)
        return offset

    def read(self, transaction: int, at: float, offset: int, *, partition: int = 0, member: int = 1) -> None:
        """Read and handle what lies at an offset, in a transaction."""
        record = next(r for r in self.log if (r["partition"], r["offset"], r["topic"]) == (partition, offset, 0))
        self.handle(record["event_id"], at, at + 0.001, member=member)
        self.rows[-1]["offset"] = offset
        self.within(transaction)

    def close(self, transaction: int, at: float, *, outcome: Outcome = Outcome.ok, member: int = 1) -> None:
        """Commit or abort it."""
        self.commit(1, at, member=member)
        self.rows[-1]["outcome"] = outcome
        self.within(transaction)


def build(**groups: Any) -> Transactional:
    return Transactional({"groups": {"work": {"settings": {"isolation.level": "read_committed"}, **groups}}})


def found(run: RunData, name: str) -> Any:
    return check(run)[name]


def test_runs_without_transactions_are_not_judged():
    run = Build()
    run.flow(1.0)

    assert found(run.run(), "transaction_atomicity").note == "no producer or group of this scenario uses transactions"


def test_whole_transactions_are_sound():
    """One committed with both its writes, one aborted with none to be seen."""
    run = build()
    run.write(1, 1.0)
    run.write(1, 1.1, partition=1)
    run.close(1, 1.2)
    run.write(2, 2.0, aborted=True)
    run.close(2, 2.1, outcome=Outcome.failed)

    atomicity = found(run.run(), "transaction_atomicity")

    assert (atomicity.valid, atomicity.count) == (True, 0)
    assert found(run.run(), "transaction_cycles").count == 0


def test_a_committed_transaction_without_one_of_its_writes_is_torn():
    run = build()
    run.write(1, 1.0)
    run.write(1, 1.1, partition=1, aborted=True)
    run.close(1, 1.2)
    run.incident(1.3, "fence", "broker 2")

    atomicity = found(run.run(), "transaction_atomicity")

    assert (atomicity.valid, atomicity.parts["committed in part"]) == (False, 1)
    assert atomicity.examples == [
        "transaction 1 of work/1, committed: seen event 0 at orders/0 offset 0; not seen event 1 at orders/1 offset 0"
        "; near it: fence of broker 2 at 1.300000 s"
    ]


def test_an_aborted_transaction_that_can_be_seen_is_torn():
    run = build()
    run.write(1, 1.0)
    run.close(1, 1.2, outcome=Outcome.failed)

    atomicity = found(run.run(), "transaction_atomicity")

    assert (atomicity.valid, atomicity.parts["aborted and seen"]) == (False, 1)


def test_a_transaction_of_unknown_end_is_whole_or_not_at_all():
    """Its member crashed before it learned the end: both writes seen are fine, one is not."""
    sound, torn = build(), build()
    for run, aborted in ((sound, False), (torn, True)):
        run.write(1, 1.0)
        run.write(1, 1.1, partition=1, aborted=aborted)

    assert found(sound.run(), "transaction_atomicity").valid
    assert found(torn.run(), "transaction_atomicity").parts["of unknown end, in part"] == 1


def test_transactions_that_read_each_other_cannot_have_come_in_turn():
    """1 read what 2 wrote, and 2 read what 1 wrote: with read_committed one of them read what was not committed."""
    run = build()
    run.write(1, 1.0)
    run.write(2, 1.1, partition=1)
    run.read(1, 1.2, 0, partition=1)
    run.read(2, 1.3, 0, member=2)
    run.close(1, 1.4)
    run.close(2, 1.5, member=2)

    cycles = found(run.run(), "transaction_cycles")

    assert (cycles.valid, cycles.parts["wr"]) == (False, 1)
    assert cycles.examples[0] == (
        "transaction 1 wrote what the next one read: orders/0 offset 0, "
        "then transaction 2 wrote what the next one read: orders/1 offset 0, then and so transaction 1 again"
    )


def test_such_a_circle_is_allowed_to_those_who_read_uncommitted():
    run = Transactional({"groups": {"work": {"settings": {"isolation.level": "read_uncommitted"}}}})
    run.write(1, 1.0)
    run.write(2, 1.1, partition=1)
    run.read(1, 1.2, 0, partition=1)
    run.read(2, 1.3, 0, member=2)
    run.close(1, 1.4)
    run.close(2, 1.5, member=2)

    cycles = found(run.run(), "transaction_cycles")

    assert (cycles.valid, cycles.count) == (True, 1)
    assert cycles.allowed == "work has isolation.level read_uncommitted: it reads what is not committed yet"


def test_writes_that_interleave_are_counted_and_allowed():
    """1 writes before 2 in one partition and behind it in the other; Kafka promises no order."""
    run = build()
    run.write(1, 1.0)
    run.write(2, 1.1)
    run.write(2, 1.2, partition=1)
    run.write(1, 1.3, partition=1)
    run.close(1, 1.4)
    run.close(2, 1.5)

    cycles = found(run.run(), "transaction_cycles")

    assert (cycles.valid, cycles.parts["ww"], cycles.parts["wr"]) == (True, 1, 0)
    assert "put transactions into no order" in cycles.allowed


def test_a_transaction_that_reads_past_what_another_wrote_makes_an_anti_dependency():
    """1 read offset 0 and not offset 1 that 2 wrote, and yet read another write of 2."""
    run = build()
    first = run.flow(0.5)
    run.write(2, 1.0)
    run.write(2, 1.1, partition=1)
    run.close(2, 1.2)
    run.read(1, 1.3, 0, partition=1)
    run.handle(first, 1.4, 1.41)
    run.rows[-1]["offset"] = 0
    run.within(1)
    run.close(1, 1.5)

    cycles = found(run.run(), "transaction_cycles")

    assert (cycles.valid, cycles.parts["rw"], cycles.parts["wr"]) == (True, 1, 0)


def test_effects_of_an_aborted_transaction_are_undone():
    run = build()
    run.flow(0.5)
    run.read(1, 1.0, 0)
    run.close(1, 1.2, outcome=Outcome.failed)
    data = run.run()

    rows = settled(data.operations, data.log)
    tries = rows[rows["kind"] == Kind.try_]

    assert tries["outcome"].tolist() == [Outcome.ok, Outcome.unknown]
    assert data.operations["outcome"].tolist() != rows["outcome"].tolist()


def test_a_transaction_takes_effect_when_the_log_shows_its_writes():
    run = build()
    run.write(1, 1.0)
    data = run.run()

    assert Transactions(data.operations, data.log).took_effect.tolist() == [True]


def test_holes_in_the_log_are_explained_by_the_ends_of_transactions():
    run = build()
    run.write(1, 1.0)
    run.event(2.0)
    run.append("orders", 0, 1, at=2.0, offset=2)
    run.send(1, offset=2, logged=False)
    run.ends["orders", 0] = 3
    run.close(1, 1.2)

    gaps = found(run.run(), "offset_gaps")

    assert (gaps.valid, gaps.count) == (True, 1)
    assert gaps.allowed == "orders is written in transactions, whose ends take an offset each"
    assert np.count_nonzero(run.run().operations["transaction_id"] == 1) == 2
