"""Words: figures as people write them, scenarios in sentences, incidents as a story."""

import math
from itertools import islice

import pytest

from page_data import leader_crash
from reports.drawing import inline_svg, letters
from reports.fault_words import action_words, fault_words
from reports.incidents import story
from reports.words import (
    arrivals_words,
    count_text,
    difference_text,
    duration_text,
    group_words,
    indicator_words,
    interval_text,
    percent,
    producer_words,
    topic_words,
    value_text,
)
from rundata.tables import FaultRecord, Incident
from scenario_text import WHOLE
from scenarios.files import load_text
from scenarios.quantities import SECOND

S = "\u202f"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "s", f"12.3{S}ms"),
        (9.876, "s", f"9.88{S}s"),
        (0.0, "s", f"0{S}s"),
        (3723.0, "s", "1h 2m 3s"),
        (0.000045, "s", f"45.0{S}µs"),
        (12345, "events", f"12{S}345"),
        (0.5, "events", "0.5"),
        (26_485_000, "events", "26.5 million"),
        (0.99948, "share", f"99.948{S}%"),
        (357.643, "1/s", f"358{S}/s"),
        (None, "s", "\u2013"),
        (math.inf, "s", "never"),
    ],
)
def test_values(value: float | None, unit: str, text: str):
    assert value_text(value, unit) == text


def test_a_value_never_reached():
    assert value_text(None, "s", at_least=12.0) == f"over{S}12.0{S}s"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0"),
        (1, "100"),
        (0.5, "50"),
        (0.12345, "12.3"),
        (0.000567, "0.0567"),
        (0.9999, "99.99"),
        (0.781, "78.1"),
        (2.5, "250"),
    ],
)
def test_shares(share: float, text: str):
    assert percent(share) == f"{text}{S}%"


@pytest.mark.parametrize(
    ("interval", "unit", "text"),
    [
        ((7.04, 10.12), "s", f"7.04 to 10.1{S}s"),
        ((0.009, 0.0108), "s", f"9.00 to 10.8{S}ms"),
        ((357.643, 357.664), "1/s", f"357.6 to 357.7{S}/s"),
        ((0, 0), "events", "always 0"),
        ((1400, 2300), "events", f"1{S}400 to 2{S}300"),
        ((1.0, math.inf), "s", f"1.00{S}s to never"),
        (None, "s", ""),
    ],
)
def test_intervals(interval: tuple[float, float] | None, unit: str, text: str):
    assert interval_text(interval, unit) == text


@pytest.mark.parametrize(
    ("difference", "count", "text"),
    [
        (0.0742, False, f"+7.4{S}%"),
        (-0.05, False, f"\u22125.0{S}%"),
        (0.0001, False, f"0{S}%"),
        (-3, True, "\u22123"),
        (0, True, "0"),
        (None, False, "\u2013"),
    ],
)
def test_differences(difference: float | None, count: bool, text: str):
    assert difference_text(difference, count=count) == text


def test_indicators_in_words():
    assert indicator_words("latency[fulfilment, before faults].p99") == "latency p99 of fulfilment, before faults"
    assert indicator_words("lag.max") == "peak lag"
    assert indicator_words("drain_time[fulfilment, slow_work]") == "drain time of fulfilment, after slow_work"
    assert indicator_words("consumed.saturated") == "finished per second while behind"


def test_the_scenario_in_words():
    scenario = leader_crash()

    assert topic_words(scenario, "orders") == "6 partitions, 3 copies of each (min.insync.replicas=2)"
    assert arrivals_words(scenario.producers["shop"]) == (
        "300/s for 20s, then 300/s rising to 400/s for 10s, then 400/s for 35s, then 300/s for 10s events"
    )
    assert producer_words(scenario.producers["shop"]).startswith("3 processes to orders: 300/s for 20s")
    assert f"1{S}000 keys, skewed (Zipf 0.9), of 400 B on average" in producer_words(scenario.producers["shop"])
    assert group_words(scenario.groups["analytics"]) == (
        "2 members of orders, 1ms of work for each event; commits every 1s; a failed event is tried once, then skipped"
    )


def test_every_fault_and_action_has_words_of_its_own():
    whole = load_text(WHOLE).scenario
    of_faults = [fault_words(fault) for fault in whole.faults]
    of_actions = [action_words(action) for action in whole.actions]

    assert len(set(of_faults)) == len(of_faults)
    assert of_faults[:5] == [
        "rack a is killed, then started again",
        "broker (1) is shut down in good order, then started again",
        "broker (leader of orders/0) hangs and answers nothing, then goes on",
        "brokers (3, 1) are shut down in good order and started again, one after another",
        "connections are reset and refused from clients to broker 1",
    ]
    assert of_faults[7] == (
        "the link between rack a and rack b takes 50ms longer, give or take 10ms and carries at most 1048576B/s"
    )
    assert of_faults[22:24] == [
        "20\u202f% of the events of shop carry schema version 2, which breaks fulfilment",
        "100\u202f% of the events of shop carry schema version 3, which breaks all groups that read them",
    ]
    assert of_actions == [
        "fulfilment handles once more what lies from 5m before on, at most 100/s",
        "fulfilment handles once more what lies from the first record on",
        "dead letters of orders.dlq are sent to orders, at most 10/s",
        "the offsets of fulfilment are set to offset 1000",
        "fulfilment gets 6 members",
        "version v2 of fulfilment is deployed, 30\u202f% of it first, and rolled back if errors[fulfilment] > 5%",
    ]


def test_incidents_that_come_together_are_one_entry():
    """Six new leaders within 50 ms read as one line; what concerns no topic of the scenario is left out."""
    faults = [FaultRecord("crash", "broker_crash", "broker 1", 20 * SECOND, 35 * SECOND, 20 * SECOND, 35 * SECOND, "")]
    incidents = [Incident(28_600_000_000 + n * 10_000_000, "election", f"orders/{n}", "leader 2") for n in range(6)]
    incidents += [
        Incident(28_500_000_000, "fence", "broker 1", ""),
        Incident(28_600_000_000, "election", "__consumer_offsets/0", "leader 2"),
    ]
    told = [(entry.time, entry.sentence, entry.detail, entry.since) for entry in story(incidents, faults, 75 * SECOND)]

    assert told == [
        (f"20.00{S}s", "crash begins", "broker 1", ""),
        (f"28.50{S}s", "The controller fenced broker 1: its session had run out", "", f"8.5{S}s after A began"),
        (f"28.60{S}s", "New leader: 6 in orders", "leader 2", f"8.6{S}s after A began"),
        (f"35.00{S}s", "crash ends", "", ""),
    ]


def test_the_alphabets_end_is_not_the_faults_end():
    """Sixty faults, one a minute: each has a name of its own, and each its place in the story."""
    names = list(islice(letters(), 60))
    faults = [
        FaultRecord(f"minute {n}", "surge", "shop", n * 60 * SECOND, (n * 60 + 10) * SECOND, n * 60 * SECOND, (n * 60 + 10) * SECOND, "seen")
        for n in range(60)
    ]  # fmt: skip

    assert (names[0], names[25], names[26], names[59], len(set(names))) == ("A", "Z", "AA", "BH", 60)
    assert {entry.fault for entry in story([], faults, 3600 * SECOND)} == set(names)


def test_durations_get_a_narrow_space():
    assert [duration_text(ns) for ns in (250_000_000, 20 * SECOND, 3723 * SECOND)] == [
        f"250{S}ms",
        f"20{S}s",
        "1h 2m 3s",
    ]
    assert count_text(999_999) == f"999{S}999"


def test_an_svg_in_a_page_keeps_its_labels_and_loses_its_addresses():
    """Coordinates are rounded; the text of a label, which may look like one, is not."""
    made = (
        '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="10pt" viewBox="0 0 10 10"><metadata>x</metadata>'
        '<path id="a" d="M 1.2345 2" clip-path="url(#b)" style="stroke: #010203"/><text style="font-family: Foo">0.01 %</text></svg>'
    )

    assert inline_svg(made, "lag-wide") == (
        '<svg class="wide" viewBox="0 0 10 10" aria-hidden="true" focusable="false">'
        '<path id="lag-wide-a" d="M 1.2 2" clip-path="url(#lag-wide-b)" style="stroke: var(--ink)"/><text style="">0.01 %</text></svg>'
    )
