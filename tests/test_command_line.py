"""The command line within one process: what is refused, what is printed where, and which exit code it means."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from eventdrill import errors
from eventdrill.command_line import app
from eventdrill.verbs import alerts, cluster
from eventdrill.verbs.outcome import exit_code
from loadgen.refuse import CAN as DRIVEN
from sim.refuse import CAN as SIMULATED

SMALL = """\
scenario: small
seed: 3
duration: 4s
brokers: {kind: kafka, nodes: 1}
topics: {orders: {partitions: 2}}
producers: {shop: {topic: orders, arrivals: 50/s, key: {uniform: 20}}}
groups: {fulfilment: {topics: [orders], work: 1ms}}
expect: [lost == 0]
"""
VERBS = ("demo", "init", "list", "check", "schema", "simulate", "drive", "verify", "calibrate", "report", "slo")

Ran = Any  # typer hides the type of its runner's result
Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in an empty folder that holds `small.yaml`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ".state"))
    Path("small.yaml").write_text(SMALL)
    return lambda *arguments: CliRunner().invoke(app, list(arguments), prog_name="eventdrill")


@pytest.mark.parametrize(
    "verb",
    [
        [],
        *([verb] for verb in VERBS),
        ["cluster"],
        *(["cluster", verb] for verb in cluster.VERBS),
        ["alerts"],
        *(["alerts", verb] for verb in alerts.VERBS),
    ],
)
def test_every_help_opens_with_an_example(run: Run, verb: list[str]) -> None:
    """The first two lines can be copied and run."""
    shown = run(*verb, "--help")

    first, second, *_ = shown.stdout.splitlines()
    assert (shown.exit_code, first) == (0, "Example:")
    assert second.startswith("  eventdrill " + " ".join(verb))


def test_no_verb_has_an_option_without_a_word_about_it(run: Run) -> None:
    """Every option's line goes on with what it does."""
    for verb in VERBS:
        lines = run(verb, "--help").stdout.split("Options:\n")[1].splitlines()
        bare = [
            line
            for line, after in zip(lines, [*lines[1:], ""], strict=True)
            if line.lstrip().startswith("-") and "  " not in line.strip() and not after.startswith("      ")
        ]
        assert bare == [], verb


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["simulate", "missing.yaml"], "missing.yaml"),
        (["simulate", "leader-crush"], "leader-crash"),
        (["simulate", "."], "is a folder"),
        (["simulate", "small.yaml", "--seed", "-1"], "--seed"),
        (["simulate", "small.yaml", "--seed", "ten"], "--seed"),
        (["simulate", "small.yaml", "--set", "groups.fulfilment.membrs=2"], "membrs"),
        (["simulate", "small.yaml", "--set", "nonsense"], "nonsense"),
        (["simulate", "small.yaml", "--out", "full"], "full holds something already (note.txt)"),
        (["simulate", "small.yaml", "--out", "small.yaml"], "small.yaml"),
        (["simulate", "small.yaml", "--profile", "local-kafca"], "local-kafca"),
        (["simulate", "small.yaml", "--precision", "5"], "--precision"),
        (["simulate", "small.yaml", "--precision", "0%"], "more than 0%"),
        (["simulate", "small.yaml", "--replications", "0"], "--replications"),
        (["simulate", "small.yaml", "--operations", "some"], "--operations"),
        (["simulate", "small.yaml", "--operations", "sample"], "choose all or none"),
        (["drive", "missing.yaml"], "missing.yaml"),
        (["drive", "small.yaml", "--on", "lokal"], "local, embedded and HOST:PORT"),
        (["drive", "small.yaml", "--on", "kafka.example.org:9092"], "target is left out, so nothing may be touched"),
        (["drive", "small.yaml", "--on", "a:9092,b:9092"], "target is left out, so nothing may be touched"),
        (["drive", "small.yaml", "--dry-run"], "--dry-run is for brokers that EventDrill did not start"),
        (["drive", "small.yaml", "--workers", "0"], "--workers"),
        (["drive", "small.yaml", "--join", "10.0.0.5:5557"], "add --workers N"),
        (["drive", "small.yaml", "--workers", "2", "--join", "10.0.0.5"], "such as 10.0.0.5:5557"),
        (["drive", "small.yaml", "--out", "full"], "full holds something already"),
        (["drive", "small.yaml", "--set", "brokers.version=1.1"], "1.1"),
        (["verify", "small.yaml", "--on", "localhost:9092"], "target is left out, so nothing may be touched"),
        (["verify", "small.yaml", "--on", "lokal"], "local, embedded and HOST:PORT"),
        (["verify", "small.yaml", "--dry-run"], "--dry-run is for brokers that EventDrill did not start"),
        (["demo", "--on", "localhost:9092"], "only `eventdrill drive`, `verify` and `calibrate` work"),
        (["verify", "small.yaml", "--profile", "nowhere.yaml"], "nowhere.yaml"),
        (["verify", "small.yaml", "--repeats", "0"], "--repeats"),
        (["verify", "small.yaml", "--out", "full"], "full holds something already"),
        (["demo", "--on", "mars"], "mars"),
        (["demo", "--out", "full"], "full holds something already"),
        (["demo", "--out", "full", "--replace"], "note.txt, which no demo wrote"),
        (["report", "full"], "full"),
        (["report", "missing"], "missing"),
        (["report", "full", "full"], "named twice"),
        (["report"], "DIR"),
        (["check"], "FILE"),
        (["calibrate", "--quick", "--out", "small.yaml"], "ever overwritten"),
        (["calibrate", "--quick", "--out", "no/folder.yaml"], "no folder"),
        (["calibrate", "--on", "a:9092"], "--target is left out, so nothing may be touched"),
        (["calibrate", "--on", "a:9092", "--target", "small.yaml"], "this scenario has no target"),
        (["calibrate", "--on", "lokal"], "local, embedded and HOST:PORT"),
        (["calibrate", "--dry-run"], "--dry-run is for brokers that EventDrill did not start"),
        (["calibrate", "--metrics", "http://a:9404"], "--metrics is for brokers that EventDrill did not start"),
        (["calibrate", "--target", "small.yaml"], "--target is for brokers that EventDrill did not start"),
        (["init", "small"], "ever overwritten"),
        (["init", "no/folder"], "cannot be written"),
        (["init", "two words"], "two words"),
        (["cluster", "status"], "no cluster named default runs"),
        (["cluster", "logs", "--name", "other"], "no cluster named other runs"),
        (["cluster", "up", "--name", "a b"], "cannot be named"),
        (["cluster", "up", "--version", "1.1"], "1.1"),
        (["cluster", "up", "--brokers", "0"], "--brokers"),
        (["simulat", "small.yaml"], "simulate"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_wrong_input_is_refused_in_words_before_anything_starts(run: Run, arguments: list[str], said: str) -> None:
    """Exit code 2, a message on standard error, nothing on standard output, and no file more than before."""
    Path("full").mkdir()
    Path("full/note.txt").write_text("mine")
    before = sorted(Path().rglob("*"))

    found = run(*arguments)

    assert (found.exit_code, found.stdout) == (2, "")
    assert said in found.stderr
    assert "Traceback" not in found.stderr
    assert sorted(path for path in Path().rglob("*") if ".state" not in path.parts) == before


@pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="/proc is a folder that nobody may write to, root included; Linux has it"
)
@pytest.mark.parametrize("arguments", [["simulate", "{small}"], ["simulate", "{small}", "--out", "new"], ["init"]])
def test_a_folder_that_cannot_be_written_is_wrong_input(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """The message names the folder and the way out."""
    small = str(Path("small.yaml").absolute())
    monkeypatch.chdir("/proc")

    found = run(*(argument.format(small=small) for argument in arguments))

    assert (found.exit_code, found.stdout) == (2, "")
    assert "cannot be" in found.stderr


def test_init_writes_a_scenario_that_is_valid_and_tells_what_to_do_next(run: Run) -> None:
    """Its name is the file's; standard output holds the file's name only, for scripts."""
    made = run("init", "orders")

    assert (made.exit_code, made.stdout) == (0, "orders.yaml\n")
    assert "scenario: orders\n" in Path("orders.yaml").read_text()
    checked = run("check", "orders.yaml")
    assert (checked.exit_code, checked.stdout.splitlines()[-1].split(",")[0]) == (0, "orders.yaml: valid")


def test_check_names_every_mistake_of_every_file_at_once(run: Run) -> None:
    """Two files, three mistakes, exit code 2; the valid one is called valid."""
    Path("wrong.yaml").write_text(
        SMALL.replace("4s", "4").replace("50/s", "50 per s").replace("work: 1ms", "wrok: 1ms")
    )

    found = run("check", "small.yaml", "wrong.yaml")

    assert found.exit_code == 2
    lines = found.stdout.splitlines()
    assert any(line.startswith("small.yaml: valid") for line in lines)
    assert {line.split(": ")[1].split(" ")[0] for line in lines if line.startswith("wrong.yaml:")} >= {
        "duration",
        "producers.shop.arrivals.rate",
    }


def test_check_as_json_holds_places_and_messages(run: Run) -> None:
    """One document, whatever is wrong."""
    Path("wrong.yaml").write_text(SMALL.replace("4s", "4"))

    found = run("check", "wrong.yaml", "small.yaml", "--json")

    document = json.loads(found.stdout)
    wrong, right = document["files"]
    assert (found.exit_code, document["valid"], wrong["valid"], right["valid"]) == (2, False, False, True)
    assert (wrong["problems"][0]["path"], wrong["problems"][0]["line"]) == ("duration", 3)
    assert right["problems"] == []


def test_check_finds_a_file_that_is_not_there(run: Run) -> None:
    """A missing file is a result like others: the files after it are still looked at."""
    found = run("check", "missing.yaml", "small.yaml")

    assert found.exit_code == 2
    assert "missing.yaml" in found.stdout
    assert "small.yaml: valid" in found.stdout


def test_list_as_json_names_what_there_is(run: Run) -> None:
    """The shipped scenario, the profiles, each fault, both places to run, all indicators of the specification."""
    document = json.loads(run("list", "--json").stdout)

    names = {kind: [each["name"] for each in found] for kind, found in document.items()}
    assert "leader-crash" in names["scenarios"]
    assert "ideal" in names["profiles"]
    assert names["faults"][:2] == ["broker_crash", "broker_stop"]
    assert [each["on"] for each in document["brokers"]] == ["local", "embedded"]
    assert {"latency", "lost", "gap", "drain_time", "send_lateness"} <= set(names["indicators"])


def test_list_says_which_engine_can_do_what(run: Run) -> None:
    """What `check` and the runs accept: by the engines' own lists."""
    document = json.loads(run("list", "--json").stdout)

    engines = {each["name"]: each["engines"] for each in [*document["faults"], *document["actions"]]}
    assert engines["broker_crash"] == ["simulated", "driven"]
    simulated, driven = ({word for word, able in engines.items() if name in able} for name in ("simulated", "driven"))
    assert (simulated, driven) == (SIMULATED & engines.keys(), DRIVEN & engines.keys())


def test_list_for_people_names_the_same(run: Run) -> None:
    """Every name of the document stands in the tables."""
    document = json.loads(run("list", "--json").stdout)
    shown = run("list").stdout

    assert [each["name"] for found in document.values() for each in found if each["name"] not in shown] == []


def test_schema_is_a_json_schema(run: Run) -> None:
    """It names the fields that are required."""
    document = json.loads(run("schema").stdout)

    assert {"scenario", "duration", "brokers", "topics"} <= set(document["required"])


def test_ending_a_cluster_that_does_not_run_is_harmless(run: Run) -> None:
    """A script may call it twice."""
    found = run("cluster", "down")

    assert (found.exit_code, found.stderr) == (0, "no cluster named default runs\n")


@pytest.mark.parametrize(
    ("valid", "held", "check", "code"),
    [(True, True, True, 0), (True, False, True, 1), (True, True, False, 1), (False, False, False, 3)],
)
def test_a_run_means_one_exit_code(valid: bool, held: bool, check: bool, code: int) -> None:
    """A run that says nothing outweighs what it seems to say."""
    document = {"valid": {"ok": valid, "reasons": []}, "expect": [{"held": held}], "checks": {"lost": {"valid": check}}}

    assert exit_code(document) == code


def test_a_defect_of_ours_is_no_verdict_about_the_users_system() -> None:
    """Exit code 1 says that an expectation failed; an exception of our own must not."""
    assert errors.exit_code_of(ZeroDivisionError()) is None
    assert errors.exit_code_of(OSError(28, "No space left on device")) == 3
    assert errors.exit_code_of(errors.WrongInputError("x")) == 2
