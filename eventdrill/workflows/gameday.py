"""Game days in a directory of plain files: planned from a prediction, rehearsed in the simulator, run live under watch, and scored."""

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eventdrill.errors import WrongInputError
from eventdrill.workflows import drive as driving
from eventdrill.workflows.places import Place
from eventdrill.workflows.simulate import Jobs
from eventdrill.workflows.simulate import prepare as prepare_simulation
from eventdrill.workflows.sources import Source
from eventdrill.workflows.telling import SILENT, Telling
from scenarios.errors import ScenarioError
from scenarios.files import LoadedScenario, load_text
from scenarios.plan import make_plan
from scenarios.profiles import Profile
from scenarios.quantities import SECOND

if TYPE_CHECKING:
    from reports.gameday import Course, Hypothesis, Limits, Rules
    from rundata.tables import RunData
    from scenarios.schema import Scenario

PLAN, SCENARIO, PREDICTION, NOTES, RULES = "gameday.json", "scenario.yaml", "prediction.json", "notes.md", "rules.yml"
REHEARSALS = "rehearsals"
STOP, GO = "STOP", "GO"
"""Files that people make: the run stops, or what waits for them goes on."""
REPLICATIONS = 100
ROLES = {
    "owner": "decides whether the day begins, goes on and ends; speaks for the system",
    "coordinator": "leads through the timeline, says each step aloud, holds the stop",
    "reporter": "writes notes with times: who saw what, when, and what was done",
    "observer": "watches dashboards and alerts as on any other day, and does not know the surprises",
}


def course(run: "RunData") -> "Course":
    """Return how a simulated run went, every half second, as a live one tells it."""
    from loadgen.recorder import budgets_of
    from reports.gameday import STEP_S, Course
    from reports.slo import assess_objective
    from reports.traces import LAG_STEP_NS, lag_by_group
    from rundata.rows import Kind, Outcome
    from rundata.series import lag_age

    every = int(STEP_S * SECOND / LAG_STEP_NS)
    rows = run.operations[run.operations["kind"] == Kind.send]
    lag = {group: values[::every].astype(np.float64) for group, values in lag_by_group(run).items()}
    scenario = run.plan.scenario
    bad = {name: assess_objective(run, name, scenario.objectives[name]).bad for name in budgets_of(scenario)}
    waiting = {group: float(lag_age(run, group)[1].max(initial=0)) / SECOND for group in scenario.groups}
    return Course(lag, float((rows["outcome"] != Outcome.ok).sum()), bad, waiting)


def limits_of(scenario: "Scenario", recover_ns: int | None, budget_share: float | None) -> "Limits":
    """Return the limits that no prediction decides: half of the retention, the recovery objective, what the day may cost."""
    from eventdrill.workflows.capacity import capacity_hz
    from loadgen.recorder import budgets_of
    from reports.gameday import Limits
    from scenarios.clients import topic_setting
    from scenarios.load import expected_events

    waiting, drains = {}, {}
    for name, group in scenario.groups.items():
        kept = [int(topic_setting(scenario, topic, "retention.ms")) for topic in group.topics]
        kept = [each for each in kept if each >= 0]
        if kept:
            waiting[name] = min(kept) / 2000
        spare_hz = capacity_hz(scenario, name) - expected_events(scenario, group.topics) * SECOND / scenario.duration
        if recover_ns is not None and math.isfinite(spare_hz):
            drains[name] = max(0.0, spare_hz) * recover_ns / SECOND
    budgets = {}
    for name, (of, _) in budgets_of(scenario).items() if budget_share is not None else ():
        objective = scenario.objectives[name]
        groups = scenario.groups if of is None else (of,)
        measured = sum(expected_events(scenario, scenario.groups[each].topics) for each in groups)
        forecast = measured * objective.period / scenario.duration
        budgets[name] = (budget_share or 0.0) * (1 - objective.target) * forecast
    return Limits(waiting, drains, (recover_ns or 0) / SECOND, budgets)


def plan(
    scenario: Source,
    folder: Path,
    *,
    seed: int | None = None,
    settings: Sequence[str] = (),
    profile: Profile | str | Path | None = None,
    replications: int = REPLICATIONS,
    jobs: Jobs = None,
    on: Place = "local",
    ask_before: Sequence[str] = ("start",),
    recover_ns: int | None = None,
    budget_share: float | None = None,
    rules: Path | None = None,
    telling: Telling = SILENT,
) -> "GameDay":
    """Predict a scenario, lock the prediction, and write the plan of a game day into a new or empty folder.

    `recover_ns` and `budget_share` make further stop rules; `rules` are the alerts that the score judges, by default the scenario's own.
    """
    from reports.gameday import hypotheses, make_rules
    from rundata.replications import summarise
    from sim.experiments import replicate

    work = prepare_simulation(scenario, seed=seed, settings=settings, profile=profile)
    found = work.loaded.scenario
    if not found.expect:
        raise WrongInputError(f"{work.loaded.source}: a game day needs hypotheses; add `expect: [lost == 0]`")
    if not found.groups:
        raise WrongInputError(f"{work.loaded.source}: no group reads, so there is nothing to watch")
    driving.prepare(work.loaded, on=on, seed=seed)
    check_waits(found, ask_before)
    alert_rules = _rules_text(found, rules)
    with telling.bar("simulated runs", replications) as update:
        drawn = replicate(
            found,
            work.profile,
            seed=work.plan.seed,
            replications=replications,
            jobs=jobs or os.cpu_count() or 1,
            same_plan=True,
            vary_profile=True,
            series=course,
            progress=lambda done, _total: update(done),
        )
    estimates = summarise(drawn.measured)
    stops = make_rules(drawn.series, limits_of(found, recover_ns, budget_share))
    low, high = _band(drawn.series)
    prediction = {
        "scenario_sha256": _sha256(work.loaded.text),
        "seed": work.plan.seed,
        "replications": replications,
        "profile": work.profile.model_dump(mode="json"),
        "indicators": {name: each.to_json() for name, each in sorted(estimates.items())},
        "band_90": {"low": low, "high": high},
        "stop_rules": stops.to_json(),
        "hypotheses": [asdict(each) for each in hypotheses(found, drawn.measured, estimates)],
    }
    text = json.dumps(prediction, indent=1, sort_keys=True, allow_nan=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SCENARIO).write_text(work.loaded.text, "utf-8")
    (folder / PREDICTION).write_text(text, "utf-8")
    about = {
        "gameday": found.scenario,
        "on": on,
        "seed": work.plan.seed,
        "planned": _now(),
        "prediction_sha256": _sha256(text),
        "owner": found.owner or "",
        "roles": dict.fromkeys(ROLES, ""),
        "ask_before": list(ask_before),
    }
    (folder / RULES).write_text(alert_rules, "utf-8")
    (folder / PLAN).write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    (folder / NOTES).write_text(f"# Notes of {found.scenario}\n\n", "utf-8")
    day = open_day(folder)
    _write_plan(day)
    return day


def check_waits(scenario: "Scenario", ask_before: Sequence[str]) -> None:
    """Refuse to wait before what is no step of the day, before faults that cannot wait, and before faults that such a one follows."""
    from loadgen.gate import can_wait

    labels = {fault.label: can_wait(fault) for fault in scenario.faults}
    for name in ask_before:
        if name not in ("start", "load", "faults", *labels):
            raise WrongInputError(
                f"--ask-before {name!r} is no step; there is start, load, faults and {', '.join(labels) or 'no fault'}"
            )
        first = min((_begins_ns(f) for f in scenario.faults if name in ("faults", f.label)), default=None)
        stuck = [f.label for f in scenario.faults if first is not None and not can_wait(f) and _begins_ns(f) >= first]
        if stuck:
            raise WrongInputError(
                f"--ask-before {name}: {stuck[0]} cannot wait, since its instants are in the planned events, and what waits shifts all that comes "
                "after it; ask before `load`"
            )


def _begins_ns(fault: Any) -> int:
    at = getattr(fault, "at", None)
    return min(at) if isinstance(at, tuple | list) and at else int(at or 0)


def _rules_text(scenario: "Scenario", rules: Path | None) -> str:
    """Return the alert rules that the score judges, read once so that wrong ones are refused now."""
    from reports.alerts.defaults import default_rules
    from reports.alerts.rules import read_rules, rules_yaml

    if rules is None:
        return rules_yaml(default_rules(scenario).groups)
    read_rules(rules)
    return rules.read_text("utf-8")


def _band(courses: "Sequence[Course]") -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    low, high = {}, {}
    for group in courses[0].lag:
        longest = max(len(each.lag[group]) for each in courses)
        stacked = np.stack([np.pad(each.lag[group], (0, longest - len(each.lag[group]))) for each in courses])
        lower, upper = np.quantile(stacked, (0.05, 0.95), axis=0)
        low[group], high[group] = lower.round(1).tolist(), upper.round(1).tolist()
    return low, high


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


@dataclass(frozen=True, eq=False)
class GameDay:
    """A planned game day, as its files say."""

    folder: Path
    about: Mapping[str, Any]
    loaded: LoadedScenario
    prediction: Mapping[str, Any]

    @property
    def rules(self) -> "Rules":
        """When a live run is stopped."""
        from reports.gameday import rules_of

        return rules_of(self.prediction["stop_rules"])

    @property
    def hypotheses(self) -> "list[Hypothesis]":
        """What should hold."""
        from reports.gameday import Hypothesis

        return [
            Hypothesis(**{**each, "interval": tuple(each["interval"]) if each["interval"] else None})
            for each in self.prediction["hypotheses"]
        ]

    @property
    def profile(self) -> Profile:
        """The profile that the prediction was made with."""
        return Profile.model_validate(self.prediction["profile"], strict=False)


def open_day(folder: Path) -> GameDay:
    """Return a planned game day; refuse a folder that is none, or whose prediction or scenario was changed after it was locked."""
    try:
        about = json.loads((folder / PLAN).read_text("utf-8"))
        text = (folder / PREDICTION).read_text("utf-8")
        scenario = (folder / SCENARIO).read_text("utf-8")
    except (OSError, json.JSONDecodeError) as error:
        raise WrongInputError(f"{folder} is no game day ({error}); `eventdrill gameday plan FILE` writes one") from None
    if _sha256(text) != about["prediction_sha256"]:
        raise WrongInputError(
            f"{folder / PREDICTION} is not the one that was locked; restore it, or plan a new game day"
        )
    prediction = json.loads(text)
    if _sha256(scenario) != prediction["scenario_sha256"]:
        raise WrongInputError(f"{folder / SCENARIO} was changed after the prediction; plan a new game day with it")
    return GameDay(folder, about, load_text(scenario, str(folder / SCENARIO)), prediction)


def _write_plan(day: GameDay) -> None:
    from reports.document import markdown, write_document
    from reports.gameday_page import plan_document

    document = plan_document(day.loaded.scenario, day.about, day.prediction, day.hypotheses, day.rules, ROLES)
    write_document(day.folder / "plan.html", document)
    (day.folder / "plan.md").write_text(markdown(document), "utf-8")


# ---- rehearsal -----------------------------------------------------------------------------------------------------


def rehearse(day: GameDay, *, surprise_seed: int = 0) -> Path:
    """Play the day in the simulator, with a surprise that only the facilitator knows, and write both into a new folder."""
    from rundata.dataset import RunWriter
    from sim.engine import simulate

    folder = _numbered(day.folder / REHEARSALS)
    surprise = draw_surprise(day, surprise_seed)
    plan_ = make_plan(surprise.loaded.scenario, day.about["seed"])
    about = {"profile": day.profile.profile, "rehearsal": True}
    writer = RunWriter(folder / "run", plan_, about, engine="simulated", text=surprise.loaded.text)
    run = simulate(plan_, day.profile, chance=surprise_seed + 1)
    writer.finish(run)
    from eventdrill.workflows.gameday_score import write_outcome
    from reports.gameday import first_stop

    stop = first_stop(day.rules, course(run))
    lines = [
        f"# For the facilitator only: surprises of rehearsal {folder.name}",
        "",
        surprise.text,
        "",
        f"The stop rules {'do not fire' if stop is None else f'fire at {stop.at_s:g} s: {stop.text}'}.",
        "",
        "Ask, in this order: what do you see? since when? what do you believe it is? what would you do now? how would you know that it helped?",
    ]
    (folder / "facilitator.md").write_text("\n".join(lines) + "\n", "utf-8")
    write_outcome(day, folder, stop=stop.text if stop else None, rehearsal=True, stopped_s=stop.at_s if stop else None)
    return folder


@dataclass(frozen=True)
class Surprise:
    """What the others do not know."""

    loaded: LoadedScenario
    text: str


def draw_surprise(day: GameDay, seed: int) -> Surprise:
    """Draw a further fault at a random time that the simulator can play: slower handlers, failing work, or a member that dies."""
    from eventdrill.workflows.trials import variant
    from sim.refuse import cannot

    scenario = day.loaded.scenario
    rng = np.random.default_rng(np.random.SeedSequence([day.about["seed"], seed, 7]))
    group = list(scenario.groups)[int(rng.integers(len(scenario.groups)))]
    at = int(scenario.warm_up + rng.uniform(0.2, 0.7) * scenario.measured_ns)
    lasts = int(rng.uniform(0.08, 0.2) * scenario.measured_ns)
    member = 1 + int(rng.integers(scenario.groups[group].members))
    timing = {"at": f"{at // 1_000_000}ms", "for": f"{lasts // 1_000_000}ms", "name": "surprise"}
    drawn: list[dict[str, Any]] = [
        {"fault": "slow_work", "group": group, "factor": round(float(rng.uniform(2, 6)), 1), **timing},
        {"fault": "failing_work", "group": group, "share": f"{round(float(rng.uniform(10, 40)))}%", **timing},
        {"fault": "member_crash", "member": f"{group}/{member}", **timing},
    ]
    own = [each.model_dump(mode="json", by_alias=True, exclude_unset=True) for each in scenario.faults]
    for number in rng.permutation(len(drawn)):
        chosen = drawn[int(number)]
        try:
            changed = variant(day.loaded, {"faults": [*own, chosen]})
        except ScenarioError:  # such as a member that a planned fault has down at that time
            continue
        if not cannot(changed.scenario):
            said = ", ".join(f"{key} {value}" for key, value in chosen.items() if key != "name")
            return Surprise(changed, f"Surprise: {said}.")
    raise WrongInputError(f"no surprise fits this scenario at that time; draw another: --surprise {seed + 1}")


def _numbered(parent: Path) -> Path:
    parent.mkdir(exist_ok=True)
    number = 1 + max((int(each.name) for each in parent.iterdir() if each.name.isdecimal()), default=0)
    folder = parent / str(number)
    folder.mkdir()
    return folder


# ---- live ----------------------------------------------------------------------------------------------------------


def run(
    day: GameDay,
    *,
    ask: Callable[[str], bool] = lambda _question: True,
    wait: bool = True,
    telling: Telling = SILENT,
    show: Callable[[str], None] = lambda _address: None,
) -> Path:
    """Drive the day on real brokers under watch, and return the folder of what happened; a stop ends it and undoes its faults.

    Stops come from the rules, from `touch STOP` in the day's folder, from Ctrl-C, and from the page's button. Steps that the day asks
    before wait for a person (`go`, the page's button) unless `wait` is false.
    """
    from eventdrill.workflows.gameday_live import drive_under_watch

    asked = day.about.get("ask_before", ()) if wait else ()
    check_waits(day.loaded.scenario, asked)
    for name in (STOP, GO):
        (day.folder / name).unlink(missing_ok=True)
    if "start" in asked and not ask("start brokers and load now?"):
        raise KeyboardInterrupt("nothing was started")
    folder = _numbered(day.folder / "runs")
    note(day, f"run {folder.name} begins")
    stopped = drive_under_watch(day, folder, telling, show, asked)
    note(day, f"run {folder.name} ends" + (f", stopped: {stopped}" if stopped else ""))
    (folder / "outcome.json").write_text(json.dumps({"stopped": stopped}) + "\n", "utf-8")
    return folder


def note(day: GameDay, text: str, kind: str = "") -> None:
    """Add a line with its time to the notes; `kind` is `saw` or `did` for what people saw and did, and empty for the day's own lines."""
    with (day.folder / NOTES).open("a", encoding="utf-8") as file:
        file.write(f"- {_now()}: {kind + ': ' if kind else ''}{text}\n")


def go(day: GameDay, who: str = "") -> None:
    """Let what waits for a person go on."""
    (day.folder / GO).write_text(who or "a person's word", "utf-8")


def read_watch(folder: Path) -> list[dict[str, Any]]:
    """Return what a live run told as it went; a last line that was cut short is left out."""
    path = folder / "watch.jsonl"
    if not path.exists():
        return []
    rows = []
    for line in path.read_text("utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows
