"""Game days: a directory of plain files from plan to postmortem, stops by rule, file and signal, a locked prediction, a watchdog."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from eventdrill.command_line import app
from eventdrill.errors import WrongInputError
from eventdrill.workflows import gameday, gameday_score
from eventdrill.workflows.gameday_live import StoppedError, Teller
from eventdrill.workflows.gameday_watchdog import Watchdog
from loadgen.recorder import Progress
from page_data import leader_crash, made_up_run
from reports.slo import assess
from rundata.run import Run
from scenarios.files import load_text

DAY = """\
scenario: day
seed: 3
about: A member dies for a while.
owner: team-orders
profile: ideal
duration: 8s
warm_up: 1s
drain: 20s
brokers: {kind: kafka, nodes: 3, settings: {group.min.session.timeout.ms: 1000, group.initial.rebalance.delay.ms: 100}}
topics: {orders: {partitions: 4, replication: 3}}
producers: {shop: {topic: orders, arrivals: 100/s, key: {uniform: 200}, settings: {acks: all, enable.idempotence: true, linger.ms: 5}}}
groups:
  fulfilment:
    topics: [orders]
    members: 2
    work: 1ms
    commit: {every: 1s}
    settings: {session.timeout.ms: 2000, heartbeat.interval.ms: 300}
faults: [{fault: member_crash, member: fulfilment/1, at: 3s, for: 2s}]
objectives: {fast: {indicator: latency, of: fulfilment, below: 500ms, target: 99%}}
expect: [lost == 0, "gap[orders] < 20s"]
"""


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day that has been planned, to be copied."""
    folder = tmp_path_factory.mktemp("day")
    gameday.plan(load_text(DAY, "day.yaml"), folder / "day", replications=40, jobs=1)
    return folder / "day"


@pytest.fixture
def day(planned: Path, tmp_path: Path) -> gameday.GameDay:
    for path in planned.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return gameday.open_day(tmp_path)


def test_a_plan_is_a_directory_of_plain_files(day: gameday.GameDay) -> None:
    """Hypotheses with predictions, stop rules that rarely fire, rollback, roles, messages; readable without us."""
    names = {path.name for path in day.folder.iterdir()}
    plan = (day.folder / "plan.md").read_text()

    assert names == {
        "gameday.json",
        "scenario.yaml",
        "prediction.json",
        "rules.yml",
        "notes.md",
        "plan.md",
        "plan.html",
    }
    assert [(each.text, each.chance) for each in day.hypotheses] == [("lost == 0", 1.0), ("gap[orders] < 20s", 1.0)]
    assert day.rules.chance <= 0.05
    for text in (
        "What we believe will happen",
        "start the member again",
        "team-orders",
        "touch STOP",
        "coordinator",
        "BEFORE",
    ):
        assert text in plan


@pytest.mark.parametrize(
    ("name", "said"),
    [("prediction.json", "is not the one that was locked"), ("scenario.yaml", "was changed after the prediction")],
)
def test_what_was_locked_cannot_be_changed(day: gameday.GameDay, name: str, said: str) -> None:
    path = day.folder / name
    path.write_text(path.read_text() + "\n# a little better\n")
    with pytest.raises(WrongInputError, match=said):
        gameday.open_day(day.folder)


def test_a_rehearsal_has_a_surprise_that_only_the_facilitator_reads(day: gameday.GameDay) -> None:
    """Drawn by its number: the same one again, and others for other numbers."""
    made = gameday.rehearse(day, surprise_seed=1)
    found = json.loads((made / "score.json").read_text())

    assert (made / "facilitator.md").read_text().count("Surprise: fault ") == 1
    assert "Surprise" not in (day.folder / "plan.md").read_text()
    assert gameday.draw_surprise(day, 1).text == gameday.draw_surprise(day, 1).text
    assert len({gameday.draw_surprise(day, number).text for number in range(6)}) > 3
    assert "rehearsed in the simulator" in (made / "postmortem.html").read_text()
    assert {each["fault"] for each in found["detection"]} == {"member_crash", "surprise"}
    assert found["budget"]["fast"]["spent_by"].keys() >= {"member_crash", "surprise"}


def test_a_folder_that_is_no_day_is_refused(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["gameday", "run", str(tmp_path), "--yes"])
    assert (found.exit_code, "is no game day" in found.stderr) == (2, True)


def test_a_scenario_without_hypotheses_makes_no_day(tmp_path: Path) -> None:
    with pytest.raises(WrongInputError, match="a game day needs hypotheses"):
        gameday.plan(load_text(DAY.replace('expect: [lost == 0, "gap[orders] < 20s"]\n', ""), "day.yaml"), tmp_path)


def test_nobody_who_agrees_means_that_nothing_starts(day: gameday.GameDay) -> None:
    with pytest.raises(KeyboardInterrupt, match="nothing was started"):
        gameday.run(day, ask=lambda _question: False)
    assert not (day.folder / "runs").exists()


def moment(at_s: float, lag: int, phase: str = "running") -> Progress:
    return Progress(phase, at_ns=round(at_s * 1e9), lag={"fulfilment": lag})


def teller(day: gameday.GameDay, *asked: str) -> "contextlib.closing[Teller]":
    return contextlib.closing(Teller(day, day.folder, lambda _state: None, asked))


def test_a_fault_waits_for_a_person_and_the_prediction_stands_still(day: gameday.GameDay) -> None:
    """Held at second 3 and let in at second 5: from then on the prediction's clock is two seconds behind."""
    with teller(day, "faults") as one:
        one.tell(moment(3, 0))
        assert (one.may_begin("member_crash"), one.waiting) == (False, "member_crash")
        one.tell(moment(5, 0))
        gameday.go(day, "Ada")
        assert (one.may_begin("member_crash"), one.may_begin("member_crash"), one.waiting) == (True, True, None)
        one.tell(moment(6, 0))

    rows = [each for each in gameday.read_watch(day.folder) if not each["message"]]
    assert [(each["at_s"], each["predicted_s"], each["waiting"]) for each in rows] == [
        (3.0, 3.0, None), (5.0, 3.0, "member_crash"), (6.0, 4.0, None),
    ]  # fmt: skip
    assert "did: member_crash may begin (Ada)" in (day.folder / "notes.md").read_text()


def test_a_word_that_was_said_before_lets_nothing_in(day: gameday.GameDay) -> None:
    """And a fault that nobody asked to wait does not."""
    with teller(day, "member_crash") as one, teller(day) as other:
        gameday.go(day)
        assert one.may_begin("member_crash") is False
        assert other.may_begin("member_crash") is True
        one.missed("member_crash")
    assert "member_crash was never let in: the load had ended" in (day.folder / "notes.md").read_text()


def test_the_load_waits_and_a_stop_ends_the_waiting(day: gameday.GameDay) -> None:
    with teller(day, "load") as one, teller(day, "load") as other:
        threading.Timer(0.5, gameday.go, (day,)).start()
        one.ready()
        threading.Timer(0.5, (day.folder / "STOP").write_text, ("Ada: not today\n",)).start()
        with pytest.raises(StoppedError):
            other.ready()
    assert other.stopped == "Ada: not today"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("lunch", "--ask-before 'lunch' is no step; there is start, load, faults and member_crash, slow_work"),
        ("slow_work", "slow_work cannot wait, since its instants are in the planned events"),
        ("member_crash", "slow_work cannot wait, since its instants are in the planned events, and what waits shifts all"),
        ("faults", "slow_work cannot wait"),
    ],
)  # fmt: skip
def test_what_cannot_wait_is_refused_before_anything_is_simulated(tmp_path: Path, asked: str, said: str) -> None:
    text = DAY.replace("for: 2s}]", "for: 2s}, {fault: slow_work, group: fulfilment, factor: 3, at: 6s, for: 1s}]")
    with pytest.raises(WrongInputError, match=said.replace("(", "\\(")):
        gameday.plan(load_text(text, "day.yaml"), tmp_path / "day", ask_before=(asked,))
    assert not (tmp_path / "day").exists()


def test_limits_come_from_retention_recovery_and_budget() -> None:
    """Half of an hour; 2 members of 1 ms leave 1,900/s for 10 s; 1 % of what 30 days may have bad."""
    text = DAY.replace(
        "{partitions: 4, replication: 3}", "{partitions: 4, replication: 3, settings: {retention.ms: 3600000}}"
    )
    found = gameday.limits_of(load_text(text, "day.yaml").scenario, 10_000_000_000, 0.01)

    assert found.waiting_s == {"fulfilment": 1800}
    assert found.drain_lag == {"fulfilment": pytest.approx(19_000)}
    assert found.budget_events == {"fast": pytest.approx(0.01 * 0.01 * 100 * 30 * 86_400)}


def test_the_teller_stops_by_rule_and_by_file(day: gameday.GameDay) -> None:
    """A backlog beyond the prediction; a file that says why. The watchdog reads in the last line that it is over."""
    with teller(day) as by_rule, teller(day) as by_file:
        by_rule.tell(moment(1, 0))
        with pytest.raises(StoppedError):
            by_rule.tell(moment(2, 1_000_000))
        (day.folder / "STOP").write_text("Ada: the shop's page is slow\n")
        with pytest.raises(StoppedError):
            by_file.tell(moment(1, 0))

    assert by_rule.stopped is not None
    assert by_rule.stopped.startswith("rule `lag of fulfilment`: lag of fulfilment is 1,000,000")
    assert by_file.stopped == "Ada: the shop's page is slow"
    assert gameday.read_watch(day.folder)[-1]["phase"] == "stopping"


def test_the_page_has_a_button_for_what_waits(day: gameday.GameDay) -> None:
    (day.folder / "watch.jsonl").write_text(
        row("running", 1.0).replace('"lag": {}', '"lag": {"fulfilment": 7}, "waiting": "<fault>"')
    )
    dog = Watchdog(day.folder, day.folder, os.getpid(), "token")
    dog.write_page()

    assert "Let it begin: &lt;fault&gt;" in dog.buttons()
    assert 'action="/stop/token"' in dog.buttons()
    assert "Waiting for a person: &lt;fault&gt;" in (day.folder / "live.html").read_text()


def row(phase: str, unix_s: float) -> str:
    return json.dumps({"phase": phase, "message": "", "at_s": 1.0, "unix_s": unix_s, "lag": {}, "failed": 0, "faults": [], "left_s": 1}) + "\n"  # fmt: skip


def test_the_watchdog_stops_a_driver_that_fell_silent(day: gameday.GameDay) -> None:
    """Fifteen seconds without a word while load runs; a driver that prepares or stops may be silent."""
    dog = Watchdog(day.folder, day.folder, os.getpid())
    silent, brief, stopping = ([json.loads(row(phase, 100.0))] for phase in ("running", "running", "stopping"))

    assert dog.reason_to_stop(silent, 116.0) == "no telemetry for 15 s"
    assert dog.reason_to_stop(brief, 110.0) is None
    assert dog.reason_to_stop(stopping, 200.0) is None


def test_the_watchdog_interrupts_and_in_the_end_kills(day: gameday.GameDay) -> None:
    """A driver that sleeps is interrupted; one that is deaf is killed when its time for undoing faults is over."""
    code = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as deaf:
        assert deaf.stdout is not None
        deaf.stdout.readline()
        dog = Watchdog(day.folder, day.folder, deaf.pid)
        now = time.time()
        (day.folder / "watch.jsonl").write_text(row("running", now - 30))
        dog.look(now)
        assert (day.folder / "STOP").read_text() == "no telemetry for 15 s\n"
        assert deaf.poll() is None
        dog.look(now + 61)
        assert deaf.wait(5) == -signal.SIGKILL


def test_the_live_page_shows_the_distance_to_each_stop(day: gameday.GameDay) -> None:
    (day.folder / "watch.jsonl").write_text(row("running", 1.0).replace('"lag": {}', '"lag": {"fulfilment": 7}'))
    Watchdog(day.folder, day.folder, os.getpid()).write_page()
    page = (day.folder / "live.html").read_text()

    assert 'http-equiv="refresh"' in page
    for text in ("Is it going as predicted?", "inside the band", "Stops above"):
        assert text in page


def play(day: gameday.GameDay, stop: str | None = None) -> dict[str, Any]:
    """Run the day; with `stop` do that as soon as load runs."""

    def when_running(folder: Path) -> None:
        until = time.monotonic() + 100
        while time.monotonic() < until:
            rows = gameday.read_watch(folder / "runs" / "1") if (folder / "runs" / "1").exists() else []
            if rows and rows[-1]["phase"] == "running" and rows[-1]["at_s"] > 1.5:
                (folder / "STOP").write_text(f"{stop}\n")
                return
            time.sleep(0.1)

    if stop is not None:
        threading.Thread(target=when_running, args=(day.folder,), daemon=True).start()
    gameday.run(day)
    return gameday_score.score(day)


def test_what_a_stopped_run_never_sent_costs_nothing() -> None:
    """Cut at 24 s of 75: events planned for later are no bad ones; the crash at 20 s is what was spent until then."""
    cut = Run(made_up_run(leader_crash(), keep_until_ns=24_000_000_000))
    before, after = assess(cut.data)["fast"], assess(gameday_score.until_the_stop(cut))["fast"]

    assert before.bad > 15_000, "all that was never sent"
    assert after.good + after.bad == pytest.approx(300 * 17, rel=0.1)
    assert 0 < after.bad < 1500
    whole = Run(made_up_run(leader_crash()))
    assert gameday_score.until_the_stop(whole) is whole.data


@pytest.mark.live
def test_a_day_is_played_on_kafka_from_plan_to_postmortem(day: gameday.GameDay) -> None:
    """The member dies and comes back, the hypotheses are judged, the page and the postmortem are there."""
    found = play(day)
    folder = day.folder / "runs" / "1"

    assert found["stopped"] is None
    assert [each["outcome"] for each in found["hypotheses"]] in (["confirmed"] * 2, ["inconclusive"] * 2)
    assert found["detection"][0]["fault"] == "member_crash"
    for name in ("live.html", "postmortem.html", "postmortem.md", "score.json", "watch.jsonl"):
        assert (folder / name).stat().st_size > 100
    assert "run 1 ends" in (day.folder / "notes.md").read_text()


@pytest.mark.live
def test_a_day_is_stopped_by_a_rule_on_kafka(day: gameday.GameDay, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of 20 events, which the crash exceeds: the run ends early, everything is undone, nothing is claimed."""
    rules = day.rules
    tight = type(rules)({"fulfilment": 20.0}, rules.band_high, rules.failed_above, 0.0, 0.0)
    monkeypatch.setattr(gameday.GameDay, "rules", property(lambda _self: tight))

    found = play(day)

    assert str(found["stopped"]).startswith("rule `lag of fulfilment`")
    assert {each["outcome"] for each in found["hypotheses"]} == {"aborted"}


@pytest.mark.live
def test_a_day_is_stopped_by_hand_on_kafka(day: gameday.GameDay) -> None:
    """The file STOP, with a word in it."""
    found = play(day, stop="Ada: enough")

    assert found["stopped"] == "Ada: enough"
    assert "Ada: enough" in (day.folder / "runs" / "1" / "postmortem.md").read_text()


@pytest.mark.live
def test_a_fault_is_held_on_kafka_until_somebody_lets_it_in(day: gameday.GameDay) -> None:
    """Planned at second 3; released at second 4.5: it begins then, and lasts its two seconds."""
    day = gameday.GameDay(day.folder, {**day.about, "ask_before": ["faults"]}, day.loaded, day.prediction)

    def release() -> None:
        until = time.monotonic() + 100
        while time.monotonic() < until:
            rows = gameday.read_watch(day.folder / "runs" / "1") if (day.folder / "runs" / "1").exists() else []
            if rows and rows[-1]["waiting"] == "member_crash" and rows[-1]["at_s"] > 4.5:
                return gameday.go(day, "Ada")
            time.sleep(0.1)

    threading.Thread(target=release, daemon=True).start()
    gameday.run(day)
    (fault,) = gameday_score.score(day)["detection"]

    assert 4.5 < fault["began"] < 6.0
    assert fault["ended"] - fault["began"] == pytest.approx(2.0, abs=0.7)
    assert "did: member_crash may begin (Ada)" in (day.folder / "notes.md").read_text()
