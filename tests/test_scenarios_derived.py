"""Emitted events and retry copies: their ids tell where they come from, and all they hold follows from the ids."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenario_text import WHOLE, changed
from scenarios.derived import NO_CAUSE, Derived, Place
from scenarios.files import load_text
from scenarios.plan import make_plan
from scenarios.quantities import MILLISECOND, SECOND
from scenarios.retries import retry_due_ns, retry_topic, retry_topics, retry_wait_ns
from scenarios.schema import Retry

EMITS = """    emits:
      - {topic: shipments, event: Shipped, per_event: 2, share: 50%, size: {uniform: [100B, 200B]}, poison: 10%}
      - {topic: mails, event: Mailed}
"""
TEXT = changed(
    ("  orders.dlq:", "  shipments: {partitions: 4}\n  mails: {}\n  orders.dlq:"),
    ("    commit: {every: 1s}\n", EMITS + "    commit: {every: 1s}\n"),
    ("  analytics:\n", "  shipping: {topics: [shipments], work: {exponential: 3ms}, emits: {topic: mails, event: Sent}, "
     "failures: {transient: {chance: 30%, attempts: 2}, then: skip}}\n  analytics:\n"),
)  # fmt: skip
DERIVED = Derived(make_plan(load_text(TEXT).scenario))
N = DERIVED.planned


def ids(*each: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.array(each, np.int64)


def test_the_places_are_numbered_in_the_order_of_the_file() -> None:
    assert DERIVED.places == (
        Place("fulfilment", 0, 0), Place("fulfilment", 0, 1), Place("fulfilment", 1, 0), Place("shipping", 0, 0),
    )  # fmt: skip


def test_an_id_tells_cause_place_root_and_how_many_emissions_lie_behind() -> None:
    shipment = DERIVED.child(7, "fulfilment", 0, 1)
    mail = DERIVED.child(shipment, "shipping", 0, 0)

    assert shipment == N + 7 * 4 + 1
    assert DERIVED.cause_of(ids(7, shipment, mail)).tolist() == [NO_CAUSE, 7, shipment]
    assert DERIVED.place_of(ids(7, shipment, mail)).tolist() == [NO_CAUSE, 1, 3]
    assert DERIVED.root_of(ids(7, shipment, mail)).tolist() == [7, 7, 7]
    assert DERIVED.hops_of(ids(7, shipment, mail)).tolist() == [0, 1, 2]
    assert DERIVED.is_emitted(ids(7, shipment)).tolist() == [False, True]


@given(st.lists(st.tuples(st.integers(0, N - 1), st.lists(st.integers(0, 3), max_size=8)), max_size=30))
def test_no_two_ways_to_an_event_give_the_same_id(ways: list[tuple[int, list[int]]]) -> None:
    def follow(root: int, steps: list[int]) -> int:
        for step in steps:
            place = DERIVED.places[step]
            root = DERIVED.child(root, place.group, place.emit, place.k)
        return root

    distinct = {(root, tuple(steps)) for root, steps in ways}

    assert len({follow(root, list(steps)) for root, steps in distinct}) == len(distinct)


def test_a_chain_that_64_bits_cannot_count_is_no_silent_repeat() -> None:
    with pytest.raises(OverflowError, match="too many emissions behind it"):
        DERIVED.child(2**62, "shipping", 0, 0)


def test_a_repeated_effect_emits_the_same_events_again() -> None:
    emitted = [DERIVED.children(event, "fulfilment") for event in range(400)]

    assert emitted == [DERIVED.children(event, "fulfilment") for event in range(400)]
    assert {len(each) for each in emitted} == {1, 3}
    assert 160 < sum(len(each) == 3 for each in emitted) < 240
    assert DERIVED.children(5, "analytics") == []


def test_hops_end_a_circle() -> None:
    derived = Derived(make_plan(load_text(WHOLE).scenario))
    first = derived.child(3, "shipping", 1, 0)
    second = derived.child(first, "shipping", 1, 0)

    assert first in derived.children(3, "shipping")
    assert second in derived.children(first, "shipping")
    assert derived.child(second, "shipping", 1, 0) not in derived.children(second, "shipping")


def test_what_an_emitted_event_holds_follows_from_its_id() -> None:
    children = ids(*(DERIVED.child(cause, "fulfilment", 0, 0) for cause in range(2000)))
    both = np.concatenate([ids(3), children])
    sizes, work = DERIVED.size_bytes(children), DERIVED.work_ns("shipping", children)

    assert sizes.min() >= 100 and sizes.max() <= 200 and 145 < sizes.mean() < 155
    assert 2.7 * MILLISECOND < work.mean() < 3.3 * MILLISECOND
    assert 0.07 < DERIVED.poison(children).mean() < 0.13
    assert 0.26 < (DERIVED.failing_tries("shipping", children) == 2).mean() < 0.34
    assert np.array_equal(DERIVED.work_ns("shipping", children[::-1])[::-1], work)
    assert DERIVED.size_bytes(both)[0] == DERIVED.plan.size_bytes[3]
    assert DERIVED.work_ns("fulfilment", both)[0] == DERIVED.plan.work_ns["fulfilment"][3]
    assert set(DERIVED.topic_of(children).tolist()) == {DERIVED.plan.topics.index("shipments")}


def test_an_emitted_event_has_its_roots_key_and_a_type_of_its_own() -> None:
    shipment = DERIVED.child(7, "fulfilment", 0, 1)

    assert DERIVED.key_text(shipment) == DERIVED.plan.key_text(7)
    assert DERIVED.key_of(ids(shipment, 7)).tolist() == [DERIVED.plan.key[7]] * 2
    assert DERIVED.event_type_of(shipment) == "Shipped"
    assert DERIVED.event_type_of(DERIVED.child(shipment, "shipping", 0, 0)) == "Sent"


def test_another_seed_draws_other_values_for_the_same_ids() -> None:
    other = Derived(make_plan(load_text(TEXT).scenario, seed=2))
    children = ids(*range(N * 2, N * 2 + 100))

    assert not np.array_equal(other.work_ns("shipping", children), DERIVED.work_ns("shipping", children))


# ---- retries --------------------------------------------------------------------------------------------------------


def test_retry_topics_are_named_by_topic_and_try() -> None:
    text = changed(("backoff: 20ms", "where: topic, backoff: 20ms"), ("topics: [orders]", "topics: [orders, audit]"),
                   ("  orders.dlq:", "  audit: {}\n  orders.dlq:"))  # fmt: skip
    scenario = load_text(text).scenario

    assert retry_topic("orders", 2) == "orders.retry.2"
    assert retry_topics(scenario, "fulfilment") == (
        "orders.retry.1",
        "orders.retry.2",
        "audit.retry.1",
        "audit.retry.2",
    )
    assert retry_topics(scenario, "analytics") == ()


def test_a_copy_is_due_when_its_wait_is_over() -> None:
    retry = Retry(attempts=4, backoff="100ms", factor=2)  # type: ignore[arg-type]  # validated as in a file

    assert [retry_wait_ns(retry, tried) // MILLISECOND for tried in (1, 2, 3)] == [100, 200, 400]
    assert retry_due_ns(retry, 2, 5 * SECOND) == 5 * SECOND + 200 * MILLISECOND
