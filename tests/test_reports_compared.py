"""Two runs with different clients side by side: what the files say, what the clients do because of it, and what came out otherwise."""

from functools import cache
from typing import Any

import pytest

from page_data import leader_crash, made_up_run
from reports.contents import contents
from reports.page import render
from reports.sections.compared import _ratio, compared
from reports.words import NARROW
from rundata.run import Run
from test_reports_page import Parsed


@cache
def run_with(client: str, expected: str = "lost == 0", work: str = "1ms", reader: str = "librdkafka") -> Run:
    producers = {
        "shop": {"topic": "orders", "client": client, "arrivals": "20/s", "key": {"uniform": 500}},
        "till": {"topic": "slips", "arrivals": "40/s"},
    }
    topics = {"orders": {"partitions": 6}, "slips": {"partitions": 1}}
    groups = {"fulfilment": {"topics": ["orders"], "work": work, "commit": "auto", "client": reader}}
    scenario = leader_crash(
        topics=topics, producers=producers, groups=groups, faults=[], objectives={}, expect=[expected]
    )
    return Run(made_up_run(scenario, engine="driven"))


def named(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    return {row["name"]: row["cells"] for row in rows}


def test_what_the_clients_do_is_said_beside_what_the_files_say():
    found = compared(contents([run_with("librdkafka"), run_with("java")]))

    assert found is not None
    assert named(found["file"]) == {"producers.shop.client": ["librdkafka", "java"]}
    clients = named(found["clients"])
    assert clients["shop: waits for a silent leader"] == [f"60{NARROW}s", f"30{NARROW}s"]
    assert clients["shop: idempotent"] == ["no", "yes"]
    assert clients["shop: a key's partition is its"] == ["crc32", "murmur2"]
    assert clients["shop: when its buffer is full"] == [
        "the event is refused at once",
        f"send() blocks, for 60{NARROW}s at most",
    ]
    assert "shop: linger" not in clients  # 5 ms with both
    share, words = found["moved"].split("%")  # five keys in six; events without are not counted
    assert words.strip() == "of the events with keys lie in another partition in driven 2 than in driven 1."
    assert 78 < float(share) < 88


def test_what_a_crash_in_mid_batch_costs_follows_from_what_clients_commit():
    found = compared(contents([run_with("java"), run_with("java", reader="java")]))

    assert found is not None
    assert named(found["clients"])[f"fulfilment: commits every 5{NARROW}s"] == [
        "what was handed over, finished or not",
        "what earlier polls handed over",
    ]


def test_figures_come_with_those_that_are_expected_first():
    """The second group works ten times as long; its latency is expected, and so comes before what differs more."""
    expected = "latency[fulfilment].p50 < 1s"
    found = compared(contents([run_with("java", expected), run_with("java", expected, "40ms")]))

    assert found is not None
    assert found["clients"] == []
    assert found["moved"] == ""
    names = [row["name"] for row in found["figures"]]
    assert names[0] == "latency[fulfilment].p50"
    assert len(names) > 3
    sizes = [row["size"] for row in found["figures"][1:]]
    assert sizes == sorted(sizes, reverse=True)
    assert min(sizes) > 0.09
    assert len({tuple(row["cells"]) for row in found["figures"]}) == len(names)  # no figure under two names


@pytest.mark.parametrize(
    ("value", "text"), [(2.0, "×2"), (0.187, "×0.187"), (97_400.0, "over ×1,000"), (1e-5, "under ×0.001")]
)
def test_beyond_a_thousand_times_as_much_a_ratio_says_no_more(value: float, text: str):
    assert _ratio(value) == text


def test_runs_of_one_scenario_have_no_such_section():
    assert compared(contents([run_with("java")] * 2)) is None
    assert compared(contents([run_with("java")])) is None


def test_the_page_shows_the_section():
    page = render(contents([run_with("librdkafka"), run_with("java")]))

    assert Parsed(page).problems == []
    assert "What differs between the runs" in page
    assert "lie in another partition in driven 2 than in driven 1" in page
    assert f"send() blocks, for 60{NARROW}s at most" in page
