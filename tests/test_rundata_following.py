"""What groups emitted beside the user's own programs, when the run is over: rows of one plan, figures and checks like those of all events."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadgen.emitted import Emitted
from loadgen.refuse import cannot
from rundata.checks import check
from rundata.dataset import open_run, save
from rundata.indicators import measure
from rundata.operations import number_deliveries
from rundata.outside import as_written
from rundata.rows import LEFT_OUT, LOG_RECORD, NONE, Kind, Outcome, new_operations
from rundata.tables import Extent, RunData
from scenarios.derived import Derived
from scenarios.files import load_text
from scenarios.following import FIRST_FOLLOWING, WrittenPlan, chain_of, with_stand_ins
from scenarios.outside import FIRST, id_of_place, stand_ins
from scenarios.plan import make_plan
from scenarios.profiles import IDEAL
from sim.engine import simulate

TEXT = """\
scenario: following
seed: 5
duration: 4s
drain: 4s
brokers: {kind: kafka, nodes: 1}
topics: {orders: {partitions: 2, replication: 1}, mails: {partitions: 1, replication: 1}, invoices: {partitions: 1, replication: 1}}
producers:
  shop: {topic: orders, external: true, arrivals: 5/s, key: {uniform: 9}}
  post: {topic: mails, arrivals: {rate: 1/s, spacing: even}, key: {uniform: 9}}
groups:
  billing: {topics: [orders, mails], work: 1ms, emits: {topic: invoices, per_event: 2, size: {uniform: [50B, 900B]}}}
  posting: {topics: [invoices], work: {exponential: 2ms}}
"""
MS = 1_000_000
ORDERS, MAILS, INVOICES = 0, 1, 2
DECLARED = make_plan(load_text(TEXT).scenario)
CHAIN = chain_of(DECLARED)
EARLY, FIRST_ORDER, SECOND_ORDER = (id_of_place(ORDERS, 0, offset) for offset in range(3))
MAIL = int(np.flatnonzero(DECLARED.producer == 1)[1])
"""Of 1.5 s; the orders are of -0.1, 0.2 and 2 s."""
SENT_MS = {EARLY: -100, FIRST_ORDER: 200, MAIL: 1500, SECOND_ORDER: 2000}

Rows = np.ndarray[tuple[int], np.dtype[np.void]]


def row(kind: Kind, event: int, at_ms: float, **fields: Any) -> Rows:
    found = new_operations(1)
    found["event_id"] = found["root_id"] = event
    found["kind"], found["outcome"], found["attempt"] = kind, Outcome.ok, 1
    found["intended_ns"] = found["started_ns"] = found["ended_ns"] = round(at_ms * MS)
    for name, value in fields.items():
        found[name] = value
    return found


def record(event: int, topic: int, offset: int, at_ms: float) -> Rows:
    found = np.zeros(1, LOG_RECORD)
    found["event_id"], found["topic"], found["offset"], found["time_ns"] = event, topic, offset, round(at_ms * MS)
    return found


def handled(event: int, group: int, at_ms: float, topic: int, offset: int, **fields: Any) -> list[Rows]:
    where = {
        "group": group,
        "topic": topic,
        "partition": 0,
        "offset": offset,
        "process": 2 + group,
        "poll_id": offset,
        **fields,
    }
    return [row(kind, event, at_ms, **where) for kind in (Kind.delivery, Kind.try_)]


def as_it_ran() -> tuple[list[Rows], list[Rows]]:
    """Operations and log of a run in which each order and mail is billed 10 ms later, twice, and each invoice posted 20 ms after that."""
    rows, log, at = list[Rows](), list[Rows](), 0
    for offset, (cause, sent) in enumerate(SENT_MS.items()):
        topic = MAILS if cause == MAIL else ORDERS
        place = 0 if cause == MAIL else offset - (offset > 2)
        rows.append(
            row(
                Kind.send,
                cause,
                sent,
                topic=topic,
                partition=0,
                offset=place,
                process=topic,
                key=offset,
                ended_ns=(sent + 1) * MS,
            )
        )
        log.append(record(cause if cause == MAIL else NONE, topic, place, sent))
        rows += handled(cause, 0, sent + 10, topic, place)
        for child in CHAIN.children(cause, "billing"):
            made = {
                "root_id": cause,
                "cause_id": cause,
                "topic": INVOICES,
                "partition": 0,
                "offset": at,
                "group": 0,
                "process": 2,
            }
            rows.append(row(Kind.send, child, sent + 10, **made, ended_ns=(sent + 12) * MS))
            log.append(record(child, INVOICES, at, sent + 11))
            rows += handled(child, 1, sent + 30, INVOICES, at, root_id=cause, intended_ns=(sent + 10) * MS)
            at += 1
    return rows, log


def run_of(rows: list[Rows], log: list[Rows]) -> RunData:
    ends = {ORDERS: 3, MAILS: 1, INVOICES: 8}
    extents = tuple(Extent(DECLARED.topics[topic], 0, 0, end) for topic, end in ends.items())
    extents += (Extent("orders", 1, 0, 0),)
    table = np.concatenate(log)
    table = table[np.lexsort((table["offset"], table["topic"]))]
    run = RunData(
        DECLARED, "driven", np.concatenate(rows), table, extents=extents, end_ns=8_000 * MS, about={"state": "complete"}
    )
    return as_written(run)


@pytest.fixture(scope="module")
def run() -> RunData:
    return run_of(*as_it_ran())


def test_what_follows_counts_on_from_where_its_root_has_come_to_stand(run: RunData):
    """The plan: mail, order at 0.2 s, mails at 0.5, 1.5, ...: ids of invoices are those that this plan gives."""
    plan, rows = run.plan, run.operations
    assert plan.intended_ns.tolist() == [200 * MS, 500 * MS, 1500 * MS, 2000 * MS, 2500 * MS, 3500 * MS]
    invoices = rows[(rows["kind"] == Kind.send) & (rows["topic"] == INVOICES)]

    expected = [len(plan) + cause * 2 + place for cause in (0, 2, 3) for place in (0, 1)]
    assert invoices["event_id"].tolist() == expected
    assert invoices["cause_id"].tolist() == invoices["root_id"].tolist() == [0, 0, 2, 2, 3, 3]
    posted = rows[(rows["group"] == 1) & (rows["kind"] == Kind.try_)]
    assert posted["event_id"].tolist() == expected
    of_orders = np.isin(posted["root_id"], [0, 3])
    assert posted["key"][of_orders].tolist() == [1, 1, 3, 3]


def test_what_follows_from_an_event_before_time_0_is_left_out_and_nobodys_fault(run: RunData):
    of_invoices = run.log["event_id"][run.log["topic"] == INVOICES]

    assert of_invoices[:2].tolist() == [LEFT_OUT, LEFT_OUT]
    assert (of_invoices[2:] >= len(run.plan)).all()
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}
    assert measure(run)["unexpected"].value == 0


def test_figures_are_those_of_the_chain(run: RunData):
    """Three causes in the load, two invoices each; every invoice is posted 30 ms after its root was sent."""
    found = measure(run)

    assert found["delivery[posting]"].value == 1
    assert found["latency[posting].p50"].value == pytest.approx(0.02)
    assert found["chain_latency[posting].p50"].value == pytest.approx(0.03)
    assert found["lost"].value == 0


def test_what_follows_is_as_large_as_what_was_declared_in_its_place(run: RunData):
    """The run's own plan, and the one that is read from its folder, draw what the members drew."""
    assert isinstance(run.plan, WrittenPlan)
    like = stand_ins(np.flatnonzero(DECLARED.producer == 0), np.array([FIRST_ORDER]))
    declared = CHAIN.size_bytes(CHAIN.children_of(like, "billing")[1]).tolist()
    first = np.array([len(run.plan), len(run.plan) + 1])
    of_the_mail = np.array([len(run.plan) + 4, len(run.plan) + 5])

    assert chain_of(run.plan).size_bytes(first).tolist() == declared
    assert len(set(declared)) == 2
    mails = CHAIN.size_bytes(np.array(CHAIN.children(MAIL, "billing"))).tolist()
    assert chain_of(run.plan).size_bytes(of_the_mail).tolist() == mails


def test_a_run_that_is_simulated_again_emits_what_it_emitted():
    """Half of all effects emit, drawn by what was declared in place of each: of these four other ones than by their own places in the plan."""
    plan = make_plan(load_text(TEXT, "following", ["groups.billing.emits.share=50%"]).scenario)
    written = with_stand_ins(plan, {"billing": np.arange(len(plan), dtype=np.int64)[::-1].copy()}, len(plan))

    rows = simulate(written, IDEAL).operations

    effects = rows["event_id"][(rows["kind"] == Kind.try_) & (rows["group"] == 0)]
    emitted = sorted(rows["event_id"][(rows["kind"] == Kind.send) & (rows["event_id"] >= len(plan))].tolist())
    by_place, as_drawn = Derived(plan), chain_of(written)
    assert emitted == sorted(as_drawn.children_of(effects.astype(np.int64), "billing")[1].tolist())
    assert emitted != sorted(by_place.children_of(effects.astype(np.int64), "billing")[1].tolist())


def test_a_run_with_such_a_chain_opens_as_it_was(run: RunData, tmp_path: Path):
    save(run, tmp_path / "run", text=TEXT)

    again = open_run(tmp_path / "run").data

    assert isinstance(again.plan, WrittenPlan)
    assert again.log.tolist() == run.log.tolist()
    figures = {name: each.value for name, each in measure(run).items()}
    assert {name: each.value for name, each in measure(again).items()} == figures
    ids = np.arange(len(run.plan), len(run.plan) + 2 * len(run.plan))
    assert chain_of(again.plan).work_ns("posting", ids).tolist() == chain_of(run.plan).work_ns("posting", ids).tolist()


def test_an_invoice_that_was_acknowledged_and_is_gone_is_lost():
    rows, log = as_it_ran()
    gone = next(n for n, each in enumerate(log) if each["topic"][0] == INVOICES and each["offset"][0] == 3)
    found = check(run_of(rows, log[:gone] + log[gone + 1 :]))

    assert found["lost"].count == 1
    assert not found["lost"].valid


def test_an_invoice_that_nobody_emitted_is_unexpected():
    rows, log = as_it_ran()
    foreign = CHAIN.child(id_of_place(ORDERS, 1, 5), "billing", 0, 1)
    found = measure(run_of(rows, [*log, record(NONE, INVOICES, 8, 3000)]))
    assert found["unexpected"].value == 1
    # One that follows from an order which is no event of the load is not.
    assert measure(run_of(rows, [*log, record(foreign, INVOICES, 8, 3000)]))["unexpected"].value == 0


def test_a_run_waits_for_what_follows_from_the_load_and_for_no_more():
    """Invoices of an order count as open from its effect on, once the order is known to be one of the load's."""
    known = set[int]()
    emitted = Emitted(DECLARED, known.__contains__)
    emitted.take(np.concatenate([*handled(EARLY, 0, -90, ORDERS, 0), *handled(FIRST_ORDER, 0, 210, ORDERS, 1)]))
    emitted.take(np.concatenate(handled(MAIL, 0, 1510, MAILS, 0)))
    assert (emitted.open("posting"), emitted.open("billing")) == (2, 0)  # those of the mail

    known.add(FIRST_ORDER)
    assert emitted.open("posting") == 4
    first = CHAIN.children(FIRST_ORDER, "billing")[0]
    assert first >= FIRST_FOLLOWING
    emitted.take(np.concatenate(handled(first, 1, 230, INVOICES, 0)))
    assert emitted.open("posting") == 3


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ([], ""),
        (["topics.orders.partitions=1025"], "topics.orders.partitions is 1025, and shop, which writes there, is your own program"),
        (["groups.posting.emits={topic: orders, share: 10%}"], "topics.orders is written by shop, your own program, and by groups.posting.emits[0]"),
        (["groups.posting.emits={topic: invoices, share: 10%}"], "groups emit more than 7 times in a row what follows from an event of shop"),
        (["groups.posting.emits={topic: invoices, share: 10%, hops: 7}"], ""),
    ],
)  # fmt: skip
def test_only_chains_that_ids_have_no_room_for_are_refused(settings: list[str], reason: str):
    found = cannot(load_text(TEXT, "following", settings).scenario, implementation="librdkafka-mock")

    assert found == [] if not reason else any(each.startswith(reason) for each in found), found


def test_deliveries_of_programs_events_are_counted_although_their_ids_fill_64_bits():
    """The first event of all, read by group 0 of six: its pair's number is the least there is. Handed over twice, as its effect says."""
    rows = new_operations(4)
    rows["kind"] = [Kind.delivery, Kind.delivery, Kind.try_, Kind.delivery]
    rows["event_id"], rows["group"] = [FIRST, FIRST, FIRST, 7], [0, 0, 0, 4]
    rows["started_ns"] = rows["ended_ns"] = [MS, 2 * MS, 3 * MS, 4 * MS]

    number_deliveries(rows)

    assert rows["delivery_number"].tolist() == [1, 2, 2, 1]
