"""The bookkeeping: each pair ends as exactly one thing, and tallies do not depend on how rows come in blocks."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rundata.books import Books, End
from rundata.counts import inverted_pairs
from rundata.indicators import measure
from rundata.measurement import among
from rundata.operations import arranged
from rundata.pairs import Block, HandlingTally, SendTally
from rundata.rows import NEVER, Outcome
from rundata.tables import RunData
from rundata.whole import Whole
from runs import Build, clean_run, without_audit

FEW = settings(max_examples=40, deadline=None)
"""Runs are slow to draw, and the machine that runs the tests may be busy."""


def ends(run: RunData) -> list[str]:
    return [End(code).name for code in Books.of(run).pairs.end.tolist()]


# ---- ends ----------------------------------------------------------------------------------------------------------


def test_each_end_is_recognised() -> None:
    """One event for each way in which a pair can end, in one run."""
    build = Build()
    effect, dead, skipped, expired, passed, lost, refused, pending = (build.event(float(n)) for n in range(8))
    build.firsts["orders", 0] = 1
    build.send(expired, offset=0, logged=False)
    for event in (effect, dead, skipped, passed):
        build.send(event, offset=1 + [effect, dead, skipped, passed].index(event))
    build.send(lost, logged=False, offset=9)
    build.send(refused, outcome=Outcome.failed)
    build.send(pending, offset=5)
    build.handle(effect, 0.1, 0.2)
    build.deliver(dead, 1.1)
    build.try_(dead, 1.1, 1.2, ok=False)
    build.dead_letter(dead, 1.2, 1.3)
    build.deliver(skipped, 2.1)
    build.skip(skipped, 2.2)
    build.commit(5, 9.0)

    assert ends(build.run()) == [
        "effect",
        "dead_lettered",
        "skipped",
        "expired",
        "passed",
        "lost",
        "refused",
        "pending",
    ]


def test_the_first_end_that_applies_counts() -> None:
    """An event that took effect and was dead-lettered by another member as well ended with its effect."""
    build = Build()
    event = build.event(1.0)
    build.send(event)
    build.deliver(event, 1.1)
    build.dead_letter(event, 1.2, 1.3)
    build.handle(event, 2.0, 2.5, member=2)

    assert ends(build.run()) == ["effect"]


def test_a_dead_letter_of_unknown_outcome_is_settled_by_the_audit() -> None:
    """What arrived counts as dead-lettered; what did not was committed beyond, and is passed."""
    build = Build()
    arrived, vanished = build.event(1.0), build.event(2.0)
    for event, logged in ((arrived, True), (vanished, False)):
        build.send(event)
        build.deliver(event, event + 1.1)
        build.dead_letter(event, event + 1.2, None, logged=logged)
    build.commit(2, 3.0)

    assert ends(build.run()) == ["dead_lettered", "passed"]


def test_an_unknown_send_is_settled_by_the_audit() -> None:
    """Found in the log and not yet read it is pending; not found it was refused."""
    build = Build()
    found, gone = build.event(1.0), build.event(2.0)
    build.send(found, outcome=Outcome.unknown, offset=0)
    build.send(gone, outcome=Outcome.unknown)

    assert ends(build.run()) == ["pending", "refused"]


def test_an_event_that_was_never_sent_is_refused() -> None:
    """Its producer crashed before it could send: not acknowledged, and not in the log."""
    build = Build()
    build.event(1.0)

    assert ends(build.run()) == ["refused"]


def test_a_pair_is_passed_only_when_all_its_records_are() -> None:
    """Of an event that is in the log twice, one record is still to be read."""
    build = Build()
    event = build.event(1.0)
    build.send(event)
    build.append("orders", 0, event)
    build.commit(1, 3.0)
    assert ends(build.run()) == ["pending"]

    build.commit(2, 4.0)
    assert ends(build.run()) == ["passed"]


def test_a_commit_that_went_back_takes_nothing_for_passed() -> None:
    """The last commit counts, since the group reads on from there."""
    build = Build()
    build.send(build.event(1.0))
    build.commit(1, 3.0)
    build.commit(0, 4.0)

    assert ends(build.run()) == ["pending"]


def test_without_offsets_the_time_tells_whether_retention_took_an_event() -> None:
    """With acks 0 nobody knows offsets: older than the oldest record left means expired, younger means lost."""
    build = Build({"producers": {"shop": {"settings": {"acks": "0", "enable.idempotence": False}}}})
    old, kept, young = build.event(1.0), build.event(2.0), build.event(3.0)
    build.firsts["orders", 0] = 5
    build.send(old, offset=-1, logged=False)
    build.send(kept, offset=5)
    build.send(young, offset=-1, logged=False)

    assert ends(build.run())[::2] == ["expired", "lost"]


def test_compaction_takes_only_what_has_a_later_record_of_its_key() -> None:
    """Of three acknowledged events that are not in the compacted log, one gave way to a later one of its key."""
    build = Build({"topics": {"orders": {"settings": {"cleanup.policy": "compact"}}}})
    for number, key in enumerate((1, 2, 1, 2)):
        build.send(build.event(float(number), key=key), offset=number, logged=number == 2)

    assert ends(build.run()) == ["expired", "lost", "pending", "lost"]


def test_without_an_audit_nothing_is_lost() -> None:
    """A run that was cut short has not read its topics back: acknowledged events are pending, failed ones refused."""
    build = Build()
    acked, failed = build.event(1.0), build.event(2.0)
    build.send(acked)
    build.send(failed, outcome=Outcome.failed)

    assert ends(without_audit(build.run())) == ["pending", "refused"]


def test_aborted_records_are_not_in_the_log() -> None:
    build = Build()
    event = build.event(1.0)
    build.append("orders", 0, event, aborted=True)
    build.send(event, logged=False, outcome=Outcome.failed)

    assert ends(build.run()) == ["refused"]


def test_a_dead_letter_is_no_record_of_its_event() -> None:
    """The dead-letter topic carries the event's id, and says nothing about whether the event is in its own topic."""
    build = Build()
    event = build.event(1.0)
    build.send(event, logged=False, offset=0)
    build.append("orders.dlq", 0, event)

    assert ends(build.run()) == ["lost"]


def test_groups_end_apart() -> None:
    """The same event took effect in one group and is pending in the other."""
    build = Build({"groups": {"audit": {"topics": ["orders"], "work": "1ms"}}})
    event = build.event(1.0)
    build.send(event)
    build.handle(event, 1.1, 1.2, group="audit")

    assert ends(build.run()) == ["pending", "effect"]
    assert Books.of(build.run()).groups == ("work", "audit")


# ---- blocks --------------------------------------------------------------------------------------------------------


@st.composite
def lively_runs(draw: st.DrawFn) -> RunData:
    """Runs in which events are sent, lost, repeated, tried, given up and committed at random."""
    build = Build({"groups": {"audit": {"topics": ["orders"], "work": "1ms"}}})
    times = sorted(draw(st.lists(st.integers(0, 90), min_size=1, max_size=12)))
    for at in (time / 10 for time in times):
        event = build.event(
            at, partition=draw(st.integers(0, 1)), key=draw(st.integers(0, 2)), process=draw(st.integers(1, 2))
        )
        for _ in range(draw(st.integers(0, 2))):
            build.send(
                event,
                ended=draw(st.sampled_from([at + 0.1, at + 2.0])),
                outcome=draw(st.sampled_from(list(Outcome))),
                logged=draw(st.booleans()),
            )
        for group in ("work", "audit"):
            for _ in range(draw(st.integers(0, 2))):
                then = at + draw(st.integers(1, 30)) / 10
                build.deliver(event, then, group=group)
                match draw(st.integers(0, 3)):
                    case 0:
                        build.try_(event, then, then + 0.1, group=group)
                    case 1:
                        build.try_(event, then, then + 0.1, group=group, ok=False)
                        build.skip(event, then + 0.1, group=group)
                    case 2:
                        build.dead_letter(event, then, draw(st.sampled_from([None, then + 0.2])), group=group)
                    case _:
                        build.try_(event, then, None, group=group)
            build.commit(draw(st.integers(0, 12)), at + 3, partition=draw(st.integers(0, 1)), group=group)
    return build.run()


def arrays(tally: SendTally | HandlingTally) -> dict[str, Any]:
    return {name: value.tolist() for name, value in vars(tally).items()}


@FEW
@given(run=lively_runs(), data=st.data())
def test_tallies_do_not_depend_on_blocks_or_their_order(run: RunData, data: st.DataObject) -> None:
    """Rows in random blocks, each in its own tally, merged in random order, give what all rows at once give."""
    rows, events, groups = run.operations, len(run.plan), len(run.names.groups)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    blocks = data.draw(st.permutations(np.split(rows, cuts)))
    whole = Block(rows, events)

    sends, handling = SendTally(events), HandlingTally(groups, events)
    for block in blocks:
        sends.merge(SendTally(events).take(Block(block, events)))
        handling.merge(HandlingTally(groups, events).take(Block(block, events)))

    assert arrays(sends) == arrays(SendTally(events).take(whole))
    assert arrays(handling) == arrays(HandlingTally(groups, events).take(whole))


def test_one_send_of_each_event_says_the_same_at_once() -> None:
    """Answered, failed, unknown and without an end; where one event is sent twice, or not at all, it is looked at row by row."""
    build = Build()
    ok, failed, unknown, open_, last = (build.event(float(n), partition=n % 2) for n in range(5))
    for number, (event, outcome) in enumerate(
        zip((ok, failed, unknown), (Outcome.ok, Outcome.failed, Outcome.unknown), strict=True)
    ):
        build.send(event, outcome=outcome, ended=number + 0.5)
    build.send(open_, outcome=Outcome.unknown, ended=None)
    rows = arranged(build.run().operations)
    for events, some in ((4, rows), (5, rows), (4, np.concatenate([rows, rows[:1]]))):
        block = Block(some, events)
        assert arrays(SendTally.of(block, events)) == arrays(SendTally(events).take(block))
    assert last == 4


@FEW
@given(run=lively_runs())
def test_pairs_are_inverted_where_a_later_event_of_their_line_took_effect_before(run: RunData) -> None:
    books = Books.of(run)
    pairs, plan = books.pairs, books.plan
    lines = list(
        zip(pairs.group.tolist(), plan.process[pairs.event].tolist(), plan.key[pairs.event].tolist(), strict=True)
    )
    effects = pairs.effect_ns.tolist()
    later = [
        [effects[other] for other in range(number + 1, len(lines)) if lines[other] == line]
        for number, line in enumerate(lines)
    ]

    expected = [
        effect != NEVER and effect > min(behind, default=NEVER) for effect, behind in zip(effects, later, strict=True)
    ]
    assert inverted_pairs(books).tolist() == expected


@FEW
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 4), st.integers(0, 3)), max_size=30))
def test_commits_of_each_owner_come_in_the_order_of_time_and_then_of_offsets(
    rows: list[tuple[int, int, int, int]],
) -> None:
    whole = SimpleNamespace(partitions=3, groups=2)
    columns = np.array(rows, np.int64).reshape(-1, 4).T

    found = Whole.commits_by_owner(whole, *columns)  # type: ignore[arg-type]  # of a whole it takes these numbers alone

    expected = {
        owner: sorted((end, offset) for *its, end, offset in rows if tuple(its) == owner)
        for owner in {row[:2] for row in rows}
    }
    assert {owner: list(zip(*map(np.ndarray.tolist, told), strict=True)) for owner, told in found.items()} == expected


@pytest.mark.parametrize("apart", [1, 10**12])
def test_values_are_among_others_however_far_these_lie_apart(apart: int) -> None:
    chance = np.random.default_rng(1)
    known, values = chance.integers(5, 60, 40) * apart, chance.integers(0, 70, 90) * apart

    assert among(values, known).tolist() == np.isin(values, known).tolist()
    assert not among(values, known[:0]).any()


@FEW
@given(run=lively_runs())
def test_ends_add_up_to_the_pairs(run: RunData) -> None:
    """Each pair has one end, and the indicators that count ends add up to all pairs."""
    measured = measure(run)
    books = Books.of(run)
    lost_pairs = int((books.pairs.end == End.lost).sum())
    effects = int((books.pairs.end == End.effect).sum())
    skipped = int((books.pairs.end == End.skipped).sum())
    refused = int((books.pairs.end == End.refused).sum())
    counted = [measured[name].value for name in ("passed", "expired", "pending", "dead_lettered")]

    assert sum(value or 0 for value in counted) + effects + skipped + lost_pairs + refused == 2 * len(run.plan)
    assert measured["delivery"].value == pytest.approx(effects / (2 * len(run.plan)))


@FEW
@given(run=lively_runs(), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_rows_does_not_matter(run: RunData, seed: int) -> None:
    """Shuffled rows are put in order first, so that every figure stays the same."""
    shuffled = run.operations[np.random.default_rng(seed).permutation(len(run.operations))]
    other = RunData(run.plan, run.engine, shuffled, run.log, run.extents, end_ns=run.end_ns)

    assert measure(other) == measure(
        RunData(run.plan, run.engine, run.operations, run.log, run.extents, end_ns=run.end_ns)
    )


@FEW
@given(run=lively_runs())
def test_quantiles_rise_and_never_exceed_the_maximum(run: RunData) -> None:
    measured = measure(run)
    names = ("p50", "p90", "p95", "p99", "p999", "max")
    figures = [m.value if m.value is not None else np.inf for m in (measured[f"latency.{name}"] for name in names)]

    assert figures == sorted(figures)


def test_deliveries_of_one_pair_are_numbered_in_time() -> None:
    build = Build({"groups": {"audit": {"topics": ["orders"], "work": "1ms"}}})
    event = build.event(1.0)
    build.send(event)
    for at, group in ((2.0, "work"), (3.0, "audit"), (4.0, "work")):
        build.deliver(event, at, group=group)

    rows = arranged(build.run().operations[::-1].copy())

    assert rows["delivery_number"].tolist() == [0, 1, 1, 2]


def test_a_run_travels_without_what_was_derived_from_it() -> None:
    """Pickling leaves the books out, so that a run sent to another process stays small."""
    run = clean_run(2)
    Books.of(run)

    assert "_books" in vars(run)
    assert "_books" not in run.__getstate__()
    assert run.__getstate__().keys() == set(run.__dataclass_fields__)


def test_times_that_never_came_are_never() -> None:
    build = Build()
    build.event(1.0)
    books = Books.of(build.run())

    assert books.sends.acked_ns.tolist() == [NEVER]
