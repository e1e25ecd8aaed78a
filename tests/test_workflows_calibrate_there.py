"""Calibrating a system that EventDrill did not start: what is allowed, what is left out, and what the profile says of it."""

import dataclasses
import json
from pathlib import Path

import pytest

from eventdrill.errors import WrongInputError
from eventdrill.workflows.calibrate import CALIBRATION_SEED, calibration_scenario
from eventdrill.workflows.calibrate_fully import SEEDS, fit_fully, names_on, scenario
from eventdrill.workflows.calibrate_there import HERE, Ground, There, acts_there, prepare_there, target_of
from loadgen.clusters.foreign import ForeignKafka
from loadgen.foreign import forbidden
from rundata.tables import RunData
from scenarios.around import ForeignTarget
from scenarios.errors import ScenarioError
from scenarios.plan import make_plan
from scenarios.profiles import load_profile, save_profile
from sim.engine import simulate

BASE = load_profile("local-kafka")
TARGET = ForeignTarget(cluster_id="CLUSTER", topics=("drill-*",))
HARM = ForeignTarget(cluster_id="CLUSTER", topics=("drill-*",), harm="allowed")
THERE = Ground(target=TARGET)
WRITTEN = "{cluster_id: CLUSTER, topics: [drill-*]}"


@pytest.mark.parametrize("name", [*SEEDS, "quick"])
@pytest.mark.parametrize("nodes", [1, 2, 3, 7])
def test_topics_and_groups_get_names_that_the_target_allows_and_replicas_that_the_brokers_can_have(
    name: str, nodes: int
):
    ground = Ground(nodes, HARM)
    found = (calibration_scenario(ground) if name == "quick" else scenario(name, ground)).scenario

    assert all(each.startswith("drill-eventdrill.calibration-") for each in (*found.topics, *found.groups))
    assert found.target == HARM
    assert found.brokers.nodes == nodes
    assert {topic.replication for topic in found.topics.values()} == {min(3, nodes)}
    assert {topic.settings["min.insync.replicas"] for topic in found.topics.values()} == {min(2, nodes)}
    assert [each for each in forbidden(found) if "broker_crash" not in each] == []


@pytest.mark.parametrize("name", [*SEEDS, "quick"])
def test_the_load_there_is_the_one_here(name: str):
    """Names and permission apart it is the same plan."""
    here, there = (
        make_plan((calibration_scenario(on) if name == "quick" else scenario(name, on)).scenario, 5)
        for on in (HERE, Ground(target=HARM))
    )

    assert here.intended_ns.tolist() == there.intended_ns.tolist()
    assert here.size_bytes.tolist() == there.size_bytes.tolist()


def test_no_broker_of_others_is_killed_and_load_rises_only_where_harm_is_allowed():
    assert names_on(HERE) == ["steady", "calm", "one leader", "rising", "failing", "held back"]
    assert names_on(Ground(target=HARM)) == ["steady", "calm", "one leader", "rising", "held back"]
    assert names_on(THERE) == ["steady", "calm", "one leader", "held back"]
    assert names_on(Ground(crashes=False)) == ["steady", "calm", "one leader", "rising", "held back"], (
        "brokers of our own that are to stay warm"
    )


def test_whatever_a_cluster_id_holds_stays_one_text():
    """Signs that mean something in YAML."""
    odd = ForeignTarget(cluster_id='a"}: [x] # ü\n- b', topics=("*",))

    assert calibration_scenario(Ground(target=odd)).scenario.target == odd
    assert list(calibration_scenario(Ground(target=odd)).scenario.topics) == ["eventdrill.calibration-calibration"]


def test_every_act_is_told_and_touches_only_allowed_names():
    system = ForeignKafka("b:9092", {}, "CLUSTER", (1, 2, 3))
    quick = acts_there(There(system, THERE), [(calibration_scenario(THERE), CALIBRATION_SEED)])
    fully = acts_there(There(system, THERE), [(scenario(name, THERE), SEEDS[name]) for name in names_on(THERE)])

    assert quick == [
        "create topic drill-eventdrill.calibration-calibration: 5 partitions, replication 3, min.insync.replicas=2",
        "create topic drill-eventdrill.warm-up for the warm-up",
        "commit offset 0 for group drill-eventdrill.calibration-first, then read drill-eventdrill.calibration-calibration with 3 members",
        "commit offset 0 for group drill-eventdrill.calibration-second, then read drill-eventdrill.calibration-calibration with 2 members",
        f"write {len(make_plan(calibration_scenario(THERE).scenario, CALIBRATION_SEED))} events to "
        "drill-eventdrill.calibration-calibration with 3 processes",
        "read every topic of the scenario from its first to its last record",
        "remove the topics drill-eventdrill.calibration-calibration, drill-eventdrill.warm-up",
        "remove the groups drill-eventdrill.calibration-first, drill-eventdrill.calibration-second",
    ]
    assert sum(act.startswith("remove the topics") for act in fully) == 4
    assert not [act for act in fully if act.startswith("at ")]


# ---- what is refused before anything is touched --------------------------------------------------------------------


@pytest.fixture
def untouchable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may be asked anything."""

    def connect(*_what: object) -> None:
        raise AssertionError("it was connected to")

    monkeypatch.setattr("loadgen.clusters.foreign.connect", connect)


@pytest.mark.usefixtures("untouchable")
@pytest.mark.parametrize(
    ("target", "metrics", "reason"),
    [
        (None, (), "--target is left out, so nothing may be touched on a system that EventDrill did not start"),
        ("{cluster_id: C, topics: [drill-orders]}", (), "--target: topics is drill-orders; one of them must be a beginning"),
        ("leader-crash", (), "--target leader-crash: this scenario has no target; write --target '{cluster_id"),
        (WRITTEN, ("broker1:9404",), "--metrics: 'broker1:9404' is no address of an exporter"),
        (WRITTEN, ("http://u:hunter2@b/",), "--metrics: holds a name or a password before @b"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_refused_before_anybody_is_asked(
    target: str | None, metrics: tuple[str, ...], reason: str
):
    with pytest.raises(WrongInputError) as error:
        prepare_there("b:9092", target, None, metrics)

    assert reason in str(error.value)
    assert "hunter2" not in str(error.value)


@pytest.mark.usefixtures("untouchable")
@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("{cluster_id: C, topics: [drill-*], harm: yes}", "harm"),
        ("{cluster_id: C, topic: [drill-*]}", "did you mean 'topics'"),
        ("{cluster_id: C", "--target"),
        ("nowhere.yaml", "nowhere.yaml"),
    ],
)
def test_a_target_that_cannot_be_read_is_an_error_with_its_place(target: str, reason: str):
    with pytest.raises(ScenarioError, match=reason):
        prepare_there("b:9092", target, None, ())


def test_another_cluster_than_the_one_named_is_refused(monkeypatch: pytest.MonkeyPatch):
    other = ForeignKafka("b:9092", {}, "OTHER", (4, 5))
    monkeypatch.setattr("loadgen.clusters.foreign.connect", lambda *_what: other)

    with pytest.raises(WrongInputError, match="--target: cluster_id is CLUSTER, and the system at b:9092 is OTHER"):
        prepare_there("b:9092", WRITTEN, None, ())
    there = prepare_there("b:9092", WRITTEN.replace("CLUSTER", "OTHER"), None, ())
    assert (there.system, there.ground.nodes, there.exporters) == (other, 2, ())


def test_a_target_can_be_that_of_a_scenario(tmp_path: Path):
    path = tmp_path / "drill.yaml"
    path.write_text(
        "scenario: s\nduration: 1s\nbrokers: {kind: kafka}\ntopics: {drill-a: {}}\n"
        f"target: {json.dumps(TARGET.model_dump(mode='json'))}\n"
        "producers: {p: {topic: drill-a, arrivals: 1/s}}\ngroups: {drill-g: {topics: [drill-a], work: 1ms}}\n"
    )

    assert target_of(str(path)) == target_of(WRITTEN) == TARGET


# ---- what the profile says -----------------------------------------------------------------------------------------


def driven(name: str) -> RunData:
    return dataclasses.replace(simulate(make_plan(scenario(name, THERE).scenario, SEEDS[name]), BASE), engine="driven")


def test_what_is_not_measured_there_is_the_shipped_profiles_and_the_profile_says_so(tmp_path: Path):
    """No crash and no rising load: failovers and saturation are nobody's finding; it reads back as the same."""
    profile = fit_fully({name: driven(name) for name in names_on(THERE)}, BASE)

    assert sorted(profile.not_measured) == [
        "catch_up", "discovery", "early_followers", "election", "fetch_turnaround", "handle_us", "member_discovery",
        "parked_followers", "poll_us", "rejoin", "restart", "takeover",
    ]  # fmt: skip
    assert [name for name in profile.not_measured if getattr(profile, name) != getattr(BASE, name)] == []
    assert profile.not_measured["election"].startswith("as in local-kafka: no broker was killed")
    assert profile.measured_on["saturation"] == "not looked for: the target does not allow harm"
    assert profile.measured_on["rates"] == "30, 100, 300, 800 events/s"
    assert "saturated_requests_hz" not in profile.measured_on
    assert abs(float(profile.measured_on["held_back_error_p50"])) < 0.05
    assert profile.about == (
        "Measured on the brokers at hand: sizes, acks, rests of brokers, requests of several events, a single partition, a run that was held back."
    )
    save_profile(profile, tmp_path / "there.yaml")
    assert load_profile(tmp_path / "there.yaml") == profile
    assert (
        "\n# Which of the figures below were taken over instead, from which profile, and why.\nnot_measured:\n  catch_up:"
        in (tmp_path / "there.yaml").read_text("utf-8")
    )
