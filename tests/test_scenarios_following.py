"""What groups emit beside the user's own programs: ids that need no plan, and what such events hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.derived import NO_CAUSE, Derived
from scenarios.files import load_text
from scenarios.following import FIRST_FOLLOWING, Following, chain_of, most_emissions
from scenarios.outside import FIRST, id_of_number, id_of_place, stand_ins
from scenarios.plan import make_plan

TEXT = """\
scenario: following
seed: 5
duration: 20s
brokers: {kind: kafka, nodes: 1}
topics: {orders: {partitions: 4}, returns: {}, mails: {}, invoices: {}, letters: {}}
producers:
  post: {topic: mails, arrivals: 10/s, key: {uniform: 5}}
  shop: {topic: orders, external: true, arrivals: 20/s, key: {uniform: 7}}
  desk: {topic: returns, external: true, arrivals: 5/s, key: {uniform: 7}}
groups:
  billing:
    topics: [orders, mails]
    work: 1ms
    emits: {topic: invoices, per_event: 2, share: 60%, size: {uniform: [50B, 90B]}, poison: 10%}
  refunds: {topics: [returns], work: 1ms, emits: {topic: letters}}
  posting:
    topics: [invoices]
    work: {exponential: 2ms}
    failures: {transient: {chance: 20%}, then: skip}
    emits: {topic: letters, share: 50%}
  archive: {topics: [letters, orders], work: 1ms}
"""
PLAN = make_plan(load_text(TEXT).scenario)
CHAIN = chain_of(PLAN)
N, PLACES = len(PLAN), 4
ORDER, RETURN = id_of_place(0, 3, 1_000_000), id_of_place(1, 0, 7)


def ids(*each: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.array(each, np.int64)


def first_that_emits() -> int:
    """An order whose effect emits, and one of whose invoices emits a letter."""
    for offset in range(100):
        order = id_of_place(0, 1, offset)
        if any(CHAIN.children(invoice, "posting") for invoice in CHAIN.children(order, "billing")):
            return order
    raise AssertionError("no order emits anything")


def test_ids_of_what_follows_lie_between_all_others():
    order = first_that_emits()
    invoices = CHAIN.children(order, "billing")

    assert isinstance(CHAIN, Following)
    assert len(invoices) == 2
    assert all(FIRST_FOLLOWING <= each < FIRST for each in invoices)
    assert CHAIN.is_emitted(ids(0, N - 1, N, invoices[0], order, -1)).tolist() == [
        False, False, True, True, False, False,
    ]  # fmt: skip


def test_an_id_tells_root_cause_place_and_hops_without_a_plan():
    order = first_that_emits()
    invoice = CHAIN.children(order, "billing")[0]
    letter = next(each[0] for i in CHAIN.children(order, "billing") if (each := CHAIN.children(i, "posting")))
    of_mail = CHAIN.child(3, "billing", 0, 1)
    some = ids(order, invoice, letter, 3, of_mail)

    assert CHAIN.root_of(some).tolist() == [order, order, order, 3, 3]
    assert CHAIN.place_of(some).tolist() == [NO_CAUSE, 0, 3, NO_CAUSE, 1]
    assert CHAIN.hops_of(some).tolist() == [0, 1, 2, 0, 1]
    assert CHAIN.cause_of(some).tolist()[:2] == [NO_CAUSE, order]
    assert CHAIN.cause_of(ids(letter))[0] in CHAIN.children(order, "billing")
    assert CHAIN.cause_of(some).tolist()[3:] == [NO_CAUSE, 3]
    assert CHAIN.topic_of(ids(invoice, letter)).tolist() == [
        PLAN.topics.index("invoices"),
        PLAN.topics.index("letters"),
    ]


ROOTS = st.one_of(
    st.builds(id_of_place, st.integers(0, 1), st.integers(0, 1023), st.integers(0, 2**32 - 1)),
    st.builds(id_of_number, st.integers(0, 2**45 - 1)),
)


@given(st.lists(st.tuples(ROOTS, st.lists(st.integers(0, PLACES - 1), max_size=6)), max_size=20))
def test_every_way_has_an_id_of_its_own_that_tells_it(ways: list[tuple[int, list[int]]]):
    assert isinstance(CHAIN, Following)
    found = {}
    for root, steps in ways:
        event = root
        for step in steps:
            event = int(CHAIN.follow(ids(event), ids(step))[0])
        found[root, tuple(steps)] = event
        back, places = CHAIN.trace(ids(event))
        assert back.tolist() == [root]
        assert [int(place[0]) for place in places if place[0] != NO_CAUSE] == steps[::-1]

    assert len(set(found.values())) == len(found)


def test_what_follows_holds_what_the_declared_chain_holds_that_stands_for_it():
    """Sizes, work, failures and shares of an order's chain are those of one declared order's, and all of these are used."""
    assert isinstance(CHAIN, Following)
    declared = np.flatnonzero(PLAN.producer == 1)
    orders = ids(*(id_of_place(0, 0, offset) for offset in range(3000)))
    like = stand_ins(declared, orders)
    plain = Derived(PLAN)

    counts, invoices = CHAIN.children_of(orders, "billing")
    usual, drawn = plain.children_of(like, "billing")

    assert counts.tolist() == usual.tolist()
    assert CHAIN.like(invoices).tolist() == drawn.tolist()
    assert CHAIN.size_bytes(invoices).tolist() == plain.size_bytes(drawn).tolist()
    assert CHAIN.poison(invoices).tolist() == plain.poison(drawn).tolist()
    assert CHAIN.work_ns("posting", invoices).tolist() == plain.work_ns("posting", drawn).tolist()
    assert CHAIN.failing_tries("posting", invoices).tolist() == plain.failing_tries("posting", drawn).tolist()
    assert CHAIN.key_of(invoices).tolist() == PLAN.key[np.repeat(like, counts)].tolist()
    assert 0.55 < (counts == 2).mean() < 0.65
    letters, further = CHAIN.children_of(invoices, "posting"), plain.children_of(drawn, "posting")
    assert letters[0].tolist() == further[0].tolist()
    assert CHAIN.like(letters[1]).tolist() == further[1].tolist()
    assert np.unique(like).tolist() == declared.tolist()


def test_events_of_ours_emit_what_they_always_did():
    mails = np.flatnonzero(PLAN.producer == 0).astype(np.int64)
    of_both = np.concatenate([mails, ids(ORDER)])

    assert CHAIN.children_of(mails, "billing")[1].tolist() == Derived(PLAN).children_of(mails, "billing")[1].tolist()
    assert CHAIN.children_of(of_both, "billing")[1][: -len(CHAIN.children(ORDER, "billing")) or None].tolist() == (
        Derived(PLAN).children_of(mails, "billing")[1].tolist()
    )
    assert CHAIN.children(RETURN, "refunds") == [int(CHAIN.child(RETURN, "refunds", 0, 0))]


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (id_of_number(2**45), "the number 35184372088832 of an event of your own program is too large"),
        (id_of_place(0, 1024, 0), "partition 1024, offset 0, which is too far"),
        (id_of_place(0, 0, 2**32), "partition 0, offset 4294967296, which is too far"),
    ],
)
def test_what_ids_have_no_room_for_is_no_silent_repeat(cause: int, words: str):
    with pytest.raises(OverflowError, match=words):
        CHAIN.child(cause, "billing", 0, 0)


def test_chains_end_where_ids_have_no_room():
    assert [most_emissions(places) for places in (1, 2, 3, 4, 10, 40_000)] == [15, 9, 7, 6, 4, 0]
    event = ORDER
    for _ in range(most_emissions(PLACES)):
        event = CHAIN.child(event, "posting", 0, 0)
    with pytest.raises(OverflowError, match="too many emissions behind it"):
        CHAIN.child(event, "posting", 0, 0)


def test_a_scenario_without_own_programs_has_no_such_ids():
    plan = make_plan(
        load_text(TEXT, "following", ["producers.shop.external=false", "producers.desk.external=false"]).scenario
    )

    assert type(chain_of(plan)) is Derived
