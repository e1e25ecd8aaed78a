"""Capacity plans: answers that arithmetic gives too, what is refused, and the highest rate on running brokers."""

import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eventdrill.command_line import app
from eventdrill.errors import WrongInputError
from eventdrill.verbs.capacity import live_lines
from eventdrill.workflows import capacity_live
from eventdrill.workflows.capacity import Demand, bottleneck, conditioned, prepare
from eventdrill.workflows.capacity_live import LiveLook
from eventdrill.workflows.telling import SILENT
from reports.capacity_search import Bears, Least
from scenarios.files import load_text
from scenarios.quantities import SECOND

SMALL = """\
scenario: small
seed: 3
profile: ideal
duration: 10s
warm_up: 2s
drain: 10s
brokers: {kind: kafka, nodes: 2}
topics: {orders: {partitions: 8, settings: {retention.ms: 604800000}}}
producers: {shop: {topic: orders, arrivals: {rate: 200/s, spacing: even}, key: {uniform: 5000}}}
groups: {fulfilment: {topics: [orders], members: 3, work: 8ms}}
objectives: {fast: {indicator: latency, of: fulfilment, below: 200ms, target: 95%}}
faults: [{fault: member_crash, member: fulfilment/1, at: 4s, for: 2s}]
expect: ["gap[fulfilment, member_crash] < 60s"]
"""


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SMALL)
    Path("prices.yaml").write_text("{date: 2026-11-01, currency: EUR, broker_month: 50, storage_gb_month: 0.1}\n")


def test_the_least_members_are_those_that_arithmetic_asks_for() -> None:
    """200/s of 8 ms keep 1.6 members busy: two are needed, and three bear up to 375/s, if all partitions were equal."""
    plan = prepare("small.yaml", conditions=("load",)).run(jobs=1)
    answer, document = plan.answers[0], plan.to_json()

    assert (answer.field, answer.now) == ("groups.fulfilment.members", 3)
    assert answer.found is not None
    assert (answer.found.value, answer.found.interval) == (2, (2, 2))
    assert answer.bottleneck == "the one member of fulfilment, 160% busy"
    assert 1.2 < plan.bears.factor < 1.9
    assert document["groups"]["fulfilment"]["capacity"] == 375
    assert document["groups"]["fulfilment"]["longest_outage"] == pytest.approx(60 * (375 - 200) / 200)


def test_a_forecast_needs_more() -> None:
    """Twice the load keeps 3.2 members busy."""
    plan = prepare("small.yaml", conditions=("load",), demand=Demand(forecast=2)).run(jobs=1)

    found = plan.answers[0].found
    assert found is not None
    assert found.value is not None and 4 <= found.value <= 5
    assert plan.to_json()["breaks"]["headroom"] < 0


def test_a_catch_up_needs_a_reserve() -> None:
    """After 10 s without members, 2,000 events wait; to be done within 10 s takes 400/s: more than the load alone."""
    plan = prepare("small.yaml", conditions=("catch-up",), demand=Demand(1, 10 * SECOND, 10 * SECOND)).run(jobs=1)
    found = plan.answers[0].found

    assert found is not None
    assert found.value is not None and found.value > 2
    assert plan.answers[0].bottleneck.endswith("which leaves too little to catch up in time")


def test_a_lost_broker_leaves_fewer_replicas() -> None:
    scenario = load_text(SMALL).scenario
    left = conditioned(scenario, "one broker lost", Demand())

    assert (left.brokers.nodes, left.replication_of("orders")) == (1, 1)


def test_what_cannot_lose_a_broker_says_why() -> None:
    alone = prepare("small.yaml", settings=["brokers.nodes=1"], conditions=("one broker lost",))
    strict = prepare(
        "small.yaml", settings=["topics.orders.settings={min.insync.replicas: 2}"], conditions=("one broker lost",)
    )

    assert alone.run(jobs=1).answers[0].reason == "there is no other broker"
    assert "min.insync.replicas is 2" in strict.run(jobs=1).answers[0].reason


def test_a_hot_partition_is_named() -> None:
    """Half of all events have one key: its partition alone keeps a member 80 % busy, however many there are."""
    scenario = load_text(
        SMALL.replace("{uniform: 5000}", "{hot: {share: 50%, values: 100}}").replace("members: 3", "members: 8")
    ).scenario

    assert bottleneck(scenario).startswith("partition orders/")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "objectives={}"], "there are no objectives to hold"),
        (["--field", "groups.billing.members"], "there is no 'billing'"),
        (["--field", "groups.fulfilment.work"], "is no whole number"),
        (["--outage", "soon"], "--outage is 'soon'"),
        (["--condition", "rain"], "--condition 'rain' is none; there is load, broker-lost, catch-up"),
        (["--prices", "small.yaml"], "is no price"),
        (["--jobs", "none"], "--jobs is 'none'"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_starts(arguments: list[str], said: str) -> None:
    found = CliRunner().invoke(app, ["capacity", "small.yaml", *arguments])

    assert found.exit_code == 2, found.stderr
    assert said in found.stderr
    assert not Path("runs").exists()


def test_the_command_writes_page_and_document_with_cost_and_growth() -> None:
    found = CliRunner().invoke(
        app,
        ["capacity", "small.yaml", "--jobs", "1", "--growth", "10%", "--prices", "prices.yaml", "--recover-within", "30s", "--json"],
    )  # fmt: skip
    document = json.loads(found.stdout)
    page = Path("runs/small-capacity-1/report.html").read_text()

    assert found.exit_code in (0, 1), found.stderr
    assert [each["condition"] for each in document["answers"]] == ["load", "one broker lost", "catch-up"]
    assert 'download="capacity.csv"' in page, "the load against what the objectives bear, with its numbers"
    assert 1.0 in [each["factor"] for each in document["breaks"]["looked"]]
    assert 30 < document["runs_out_after_days"] < 300
    assert document["cost"]["month"]["brokers"] == 100
    assert document["cost"]["month"]["storage"] == pytest.approx(200 * 100 * 604800 * 2 / 1e9 * 0.1)
    for text in ("What is needed", "Which load breaks it as it is?", "What it costs"):
        assert text in page


def test_a_recording_cannot_be_scaled() -> None:
    Path("times.csv").write_text("seconds\n0.1\n0.2\n")
    text = SMALL.replace("arrivals: {rate: 200/s, spacing: even}", "arrivals: {trace: times.csv, column: seconds}")
    Path("recorded.yaml").write_text(text)
    with pytest.raises((WrongInputError, ValueError)):
        prepare("recorded.yaml")


def test_bisection_brackets_the_load_that_breaks_it_within_a_tenth() -> None:
    """It holds up to 1.37 times: first a step of a quarter, then halving of the ratio; the reason of what failed stays."""

    def look(factor: float) -> LiveLook:
        return LiveLook(factor, 1.37 - factor, "" if factor <= 1.37 else "missed fast")

    found, looks = capacity_live.bisect_live(look, 1.2, SILENT)

    assert [round(each.factor, 3) for each in looks] == [1.2, 1.5, 1.342, 1.419]
    assert found.interval == (pytest.approx(1.342, abs=1e-3), pytest.approx(1.419, abs=1e-3))
    assert (looks[1].reason, len(found.looked)) == ("missed fast", 4)


def test_a_look_that_says_nothing_is_no_end_of_the_interval() -> None:
    """Above 1.2 the driver is too slow: what the brokers bear there nobody knows, and the search goes on below."""

    def look(factor: float) -> LiveLook:
        return LiveLook(factor, 0.01, "the driver was late" if factor > 1.2 else "", says_nothing=factor > 1.2)

    found, looks = capacity_live.bisect_live(look, 1.0, SILENT)

    assert [(round(each.factor, 3), each.verdict) for each in looks] == [
        (1.0, "holds"), (1.25, "cannot tell"), (1.118, "holds"), (1.182, "holds"),
    ]  # fmt: skip
    assert found.interval == (pytest.approx(1.182, abs=1e-3), math.inf)


@pytest.mark.parametrize(
    ("live", "model", "told"),
    [
        ((1.3, 1.4), (1.35, 1.45), "confirmed"),
        ((1.3, 1.34), (1.35, 1.45), "contradicted"),  # it breaks below what the model is sure of
        ((1.5, 1.6), (1.35, 1.45), "contradicted"),  # it holds above what the model is sure breaks it
        ((1.2, math.inf), (1.35, 1.45), "cannot tell"),  # it holds, and what lies above is not known
        ((2.2, math.inf), (1.0, 2.1), "contradicted"),
        ((0.0, 1.0), (0.9, 1.1), "cannot tell"),  # nothing held, and the model does not exclude that
        ((0.0, 0.8), (0.9, 1.1), "contradicted"),
    ],
)
def test_a_load_is_confirmed_where_both_intervals_meet_and_both_ends_are_known(
    live: tuple[float, float], model: tuple[float, float], told: str
) -> None:
    found = capacity_live.Confirmed(Bears(live[0], live, ()), Bears(model[0], model, ()), ())
    assert (found.load, found.to_json(100.0)["verdict"]) == (told, told)


def test_an_answer_is_confirmed_where_it_holds_and_what_is_too_little_does_not() -> None:
    good, bad = LiveLook(1.0, 0.0, ""), LiveLook(1.0, 0.0, "missed fast")
    noisy = LiveLook(1.0, 0.0, "the driver was late", says_nothing=True)

    def told(*looks: LiveLook) -> str:
        bears = Bears(1.0, (1.0, 1.1), ())
        tried = tuple((3 - n, look) for n, look in enumerate(looks))
        found = capacity_live.Confirmed(bears, bears, (), "groups.fulfilment.members", tried).to_json(100.0)["answer"]
        assert [each["verdict"] for each in found["looked"]] == [look.verdict for look in looks]
        return str(found["verdict"])

    assert told(good) == "confirmed"
    assert told(good, bad) == "confirmed"
    assert told(good, good) == "contradicted"
    assert told(bad, bad) == "contradicted"
    assert told(noisy, good) == "contradicted"
    assert told(good, noisy) == "cannot tell"
    assert told(noisy, bad) == "cannot tell"


@pytest.mark.parametrize(
    ("value", "interval", "tried"),
    [(3, (3, 3), [3, 2]), (4, (3, 4), [4, 2]), (1, (1, 1), [1]), (None, (7, None), [])],
)
def test_live_runs_try_what_the_model_is_sure_of(
    value: int | None, interval: tuple[int, int | None], tried: list[int]
) -> None:
    """Of three members it may be that they are enough, so that nothing that three do live could contradict it."""
    assert capacity_live.values_to_try(Least(value, interval, 8, ())) == tried


def test_the_command_line_says_what_running_brokers_told() -> None:
    bears = Bears(1.0, (1.0, 1.1), ())
    tried = ((3, LiveLook(1.0, 0.0, "")), (2, LiveLook(1.0, 0.0, "missed fast")))
    document = capacity_live.Confirmed(bears, bears, (), "groups.fulfilment.members", tried).to_json(200.0)

    assert live_lines(document) == [
        "on the running brokers 200/s held (1 to 1.1 times the load); the model of the same short runs says 1 to 1.1: confirmed",
        "groups.fulfilment.members on the running brokers: 3 holds, 2 fails (missed fast): confirmed",
    ]


def test_the_model_of_the_short_runs_breaks_where_arithmetic_says() -> None:
    """Three members of 8 ms bear 375/s: 1.875 times the load of 200/s, less what the hottest of eight partitions takes."""
    found = capacity_live.bears_modelled(prepare("small.yaml", conditions=("load",)))
    assert 1.4 < found.interval[0] <= found.interval[1] < 1.95


@pytest.mark.live
def test_answers_are_confirmed_on_kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two looks at the load and two at the members: 300/s of 8 ms are too much for two members, 200/s are not."""
    monkeypatch.setattr(capacity_live, "MOST_LOOKS", 2)
    text = SMALL.replace("profile: ideal", "profile: local-kafka").replace("members: 3", "members: 2")
    search = prepare(load_text(text.replace("200/s", "100/s"), "small.yaml"), conditions=("load",))
    found = capacity_live.confirm(search, search.run(jobs=1), "local", tmp_path, SILENT)

    assert [value for value, _ in found.tried] in ([1], [2, 1])
    assert len(found.looks) == 2
    assert 1.0 < found.model.interval[0] < 2.6
    assert found.live.interval[0] < found.live.interval[1]
