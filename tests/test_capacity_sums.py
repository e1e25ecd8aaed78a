"""Capacity by arithmetic on the command line: literal sums, one JSON document, and what is refused."""

import json
import math
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from eventdrill.command_line import app

SMALL = """\
scenario: small
duration: 10s
brokers: {kind: kafka, nodes: 3}
topics:
  orders: {partitions: 8, replication: 3, settings: {retention.ms: 3600000}}
  shipments: {partitions: 2, replication: 3, settings: {retention.ms: 3600000}}
producers: {shop: {topic: orders, arrivals: 600/s, key: {uniform: 5000}, size: 1000B}}
groups:
  fulfilment: {topics: [orders], members: 9, work: 8ms, emits: {topic: shipments, size: 500B}}
  audit: {topics: [orders], members: 1, work: 1ms}
objectives: {fast: {indicator: latency, below: 500ms, target: 99%}}
"""
PRICES = "{date: 2026-11-01, currency: EUR, storage_gb_month: 0.1, tiered_gb_month: 0.02}\n"


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SMALL)
    Path("prices.yaml").write_text(PRICES)


def asked(*words: str, code: int = 0) -> Any:
    found = CliRunner().invoke(app, ["capacity", *words, "--json"])
    assert found.exit_code == code, found.stderr
    return json.loads(found.stdout)


def test_the_law_is_fitted_to_a_file_of_points() -> None:
    """The literature's loads: alpha = beta = 0.02, so that more than 7 do less."""
    loads = [(1, 1.0), (2, 1.8868), (4, 3.0769), (6, 3.5294), (8, 3.5398), (10, 3.3557)]
    Path("points.csv").write_text("members, done\n" + "".join(f"{n},{x}\n" for n, x in loads))
    found = asked("scaling", "points.csv", "--n", "members", "--x", "done", "--at", "4")

    assert found["peak"]["value"] == pytest.approx(7.0, abs=0.05)
    assert (found["alpha"]["value"], found["beta"]["value"]) == pytest.approx((0.02, 0.02), abs=2e-4)
    assert found["alpha"]["interval"][0] <= found["alpha"]["value"] <= found["alpha"]["interval"][1]
    assert found["asked"]["x"] == pytest.approx(3.0769, abs=1e-3)
    assert found["warnings"] == []


def test_an_outage_is_drained_by_what_is_left_of_the_capacity() -> None:
    """Ten minutes at 600/s wait; 300/s are to spare, so it takes twenty."""
    found = asked("drain", "--capacity", "900/s", "--rate", "600/s", "--outage", "10m")
    assert (found["backlog"], found["drain"], found["busy"]) == (360_000, 1200, pytest.approx(2 / 3))


def test_a_replay_beyond_retention_says_what_is_gone() -> None:
    """Nine members bear 1,000/s by 8 partitions of 8 ms; of two hours back only one is left."""
    found = asked("drain", "small.yaml", "--group", "fulfilment", "--replay", "2h", code=1)

    assert (found["capacity"], found["rate"]) == (1000, pytest.approx(600))
    assert found["backlog"] == pytest.approx(2 * 3600 * 600)
    assert found["expired"] == pytest.approx(3600 * 600)
    assert found["time_left_until_loss"] == 0


def test_without_a_reserve_nothing_drains_and_no_outage_recovers() -> None:
    assert asked("drain", "--capacity", "500/s", "--rate", "600/s", "--backlog", "10", code=1)["drain"] is None
    assert asked("outage", "--capacity", "500/s", "--rate", "600/s", code=1)["longest_outage"] == 0


def test_the_longest_outage_leaves_what_the_objective_gives_time_for() -> None:
    """RTO * (c mu - lambda) / lambda: 600 * 300 / 600."""
    found = asked("outage", "--capacity", "900/s", "--rate", "600/s", "--recover-within", "10m")
    assert (found["longest_outage"], found["backlog"], found["expires_first"]) == (300, 180_000, False)
    assert asked("outage", "small.yaml", "--group", "audit", "--recover-within", "10h")["expires_first"] is True


def test_growth_that_is_named_reaches_the_capacity() -> None:
    found = asked("forecast", "--capacity", "2000/s", "--rate", "1000/s", "--growth", "10%")
    assert found["runs_out_after_days"] == pytest.approx(30 * math.log(2) / math.log(1.1))


def test_growth_is_fitted_to_measured_loads_with_an_interval() -> None:
    """Loads that double every 60 days, exactly: 60 more to twice the last; with noise the interval holds that."""
    dates = [f"2026-{9 + day // 30:02d}-{1 + day % 30:02d}" for day in range(0, 60, 10)]
    first = date.fromisoformat(dates[0]).toordinal()
    exact = [(each, 100 * 2 ** ((date.fromisoformat(each).toordinal() - first) / 60)) for each in dates]
    Path("loads.csv").write_text("date,rate\n" + "".join(f"{each},{rate:.9f}\n" for each, rate in exact))
    Path("noisy.csv").write_text(
        "date,rate\n" + "".join(f"{each},{rate * (1 + (-1) ** i * 0.02):.9f}\n" for i, (each, rate) in enumerate(exact))
    )
    found, noisy = (
        asked("forecast", "--capacity", f"{2 * exact[-1][1]:.9f}/s", "--history", name)
        for name in ("loads.csv", "noisy.csv")
    )

    assert found["runs_out_after_days"] == pytest.approx(60, abs=1e-6)
    assert found["growth"] == pytest.approx(2**0.5 - 1)
    assert noisy["interval"][0] < 60 < noisy["interval"][1]
    assert noisy["warnings"] == ["the capacity lies beyond as long again as the history of 50 days: a guess"]


def test_retention_is_stored_and_priced_hot_and_tiered() -> None:
    """600 kB/s: an hour is 6.48 GB in three copies; 10 h with 1 h hot leave 19.44 GB once. Emitted events count too."""
    found = asked("retention", "small.yaml", "--retention", "10h", "--hot", "1h", "--prices", "prices.yaml")
    orders, shipments = found["topics"]["orders"], found["topics"]["shipments"]
    now, whole, tiered = orders["kept"]

    assert (orders["bytes_per_s"], shipments["bytes_per_s"]) == (pytest.approx(600_000), pytest.approx(300_000))
    assert (now["as_configured"], now["hot_bytes"], now["hot_bytes_per_broker"]) == (
        True,
        pytest.approx(6.48e9),
        pytest.approx(2.16e9),
    )
    assert (whole["hot_bytes"], whole["tiered_bytes"]) == (pytest.approx(64.8e9), 0)
    assert (tiered["hot_bytes"], tiered["tiered_bytes"]) == (pytest.approx(6.48e9), pytest.approx(19.44e9))
    assert tiered["month_total"] == pytest.approx(0.648 + 0.3888)


def test_partitions_and_the_cluster_limit() -> None:
    assert asked("partitions", "--target", "1000/s", "--produce", "400/s", "--consume", "250/s", "--growth", "1.5") == {
        "partitions": 6, "slower": "consume", "growth": 1.5,
    }  # fmt: skip
    speeds = ("--storage", "400B/s", "--storage-network", "500B/s", "--network", "700B/s")
    found = asked("limit", "--brokers", "4", "--lost", "1", "--groups", "5", *speeds)
    assert (found["bytes_per_s"], found["bottleneck"]) == (300, "network")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("drain", "--capacity", "900/s", "--rate", "600/s"), "one of --backlog, --outage, --replay says what has to be worked off"),
        (("drain", "--outage", "1m"), "name a scenario FILE, or both --capacity and --rate"),
        (("drain", "small.yaml", "--outage", "1m"), "several groups; name one with --group: fulfilment, audit"),
        (("drain", "small.yaml", "--group", "shop", "--outage", "1m"), "--group 'shop': the scenario has fulfilment, audit"),
        (("outage", "--capacity", "900", "--rate", "600/s"), "--capacity"),
        (("forecast", "--capacity", "9/s"), "name --rate and --growth, or a --history"),
        (("scaling", "none.csv"), "none.csv cannot be read"),
        (("scaling", "points.csv"), "points.csv: there is no column 'n'; it has members, done"),
        (("scaling", "points.csv", "--n", "members", "--x", "done"), "points.csv: line 3: done is 'much'; it is a number"),
        (("retention", "small.yaml", "--hot", "1h"), "--hot says how much of a --retention stays"),
        (("limit", "--brokers", "3", "--lost", "3", "--storage", "1MiB/s", "--network", "1MiB/s"), "at least one must be left"),
        (("limit", "--brokers", "3", "--lost", "1", "--storage", "1MiB/s", "--network", "1MiB/s"), "2 brokers hold at most so many copies"),
    ],
)  # fmt: skip
def test_what_cannot_be_summed_is_refused(words: tuple[str, ...], said: str) -> None:
    Path("points.csv").write_text("members,done\n1,1\n2,much\n")
    found = CliRunner().invoke(app, ["capacity", *words])
    assert found.exit_code == 2, found.stdout
    assert said in found.stderr


def test_a_file_needs_no_verb_and_a_verb_wins_over_a_file_of_its_name() -> None:
    """`capacity FILE` is the search, whatever stands first; the help of both shows."""
    assert "there is no 'nonsense'" in CliRunner().invoke(app, ["capacity", "small.yaml", "--field", "nonsense"]).stderr
    assert "there is no 'nonsense'" in CliRunner().invoke(app, ["capacity", "--field", "nonsense", "small.yaml"]).stderr
    assert "--recover-within" in CliRunner().invoke(app, ["capacity", "search", "--help"]).stdout
