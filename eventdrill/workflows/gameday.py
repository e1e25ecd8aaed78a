"""Game days in a directory of plain files: planned from a prediction, rehearsed in the simulator, run live under watch, and scored."""

import hashlib
import json
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
    from reports.gameday import Course, Hypothesis, Rules
    from rundata.tables import RunData

PLAN, SCENARIO, PREDICTION, NOTES, STOP = "gameday.json", "scenario.yaml", "prediction.json", "notes.md", "STOP"
REPLICATIONS = 100
ROLES = {
    "owner": "decides whether the day begins, goes on and ends; speaks for the system",
    "coordinator": "leads through the timeline, says each step aloud, holds the stop",
    "reporter": "writes notes with times: who saw what, when, and what was done",
    "observer": "watches dashboards and alerts as on any other day, and does not know the surprises",
}


def course(run: "RunData") -> "Course":
    """Return how a simulated run went, every half second, as a live one tells it."""
    from reports.gameday import STEP_S, Course
    from reports.traces import LAG_STEP_NS, lag_by_group
    from rundata.rows import Kind, Outcome

    every = int(STEP_S * SECOND / LAG_STEP_NS)
    rows = run.operations[run.operations["kind"] == Kind.send]
    lag = {group: values[::every].astype(np.float64) for group, values in lag_by_group(run).items()}
    return Course(lag, float((rows["outcome"] != Outcome.ok).sum()))


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
    telling: Telling = SILENT,
) -> "GameDay":
    """Predict a scenario, lock the prediction, and write the plan of a game day into a new or empty folder."""
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
    rules = make_rules(drawn.series)
    low, high = _band(drawn.series)
    prediction = {
        "scenario_sha256": _sha256(work.loaded.text),
        "seed": work.plan.seed,
        "replications": replications,
        "profile": work.profile.model_dump(mode="json"),
        "indicators": {name: each.to_json() for name, each in sorted(estimates.items())},
        "band_90": {"low": low, "high": high},
        "stop_rules": rules.to_json(),
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
        "ask_before": ["start"],
    }
    (folder / PLAN).write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    (folder / NOTES).write_text(f"# Notes of {found.scenario}\n\n", "utf-8")
    day = open_day(folder)
    _write_plan(day)
    return day


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

    folder = _numbered(day.folder / "rehearsals")
    surprise = draw_surprise(day, surprise_seed)
    plan_ = make_plan(surprise.loaded.scenario, day.about["seed"])
    about = {"profile": day.profile.profile, "rehearsal": True}
    writer = RunWriter(folder / "run", plan_, about, engine="simulated", text=surprise.loaded.text)
    run = simulate(plan_, day.profile, chance=surprise_seed + 1)
    writer.finish(run)
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
    _write_outcome(day, folder, folder / "run", stop=None if stop is None else stop.text, rehearsal=True)
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
    telling: Telling = SILENT,
    show: Callable[[str], None] = lambda _address: None,
) -> Path:
    """Drive the day on real brokers under watch, and return the folder of what happened; a stop ends it and undoes its faults.

    Stops come from the rules, from `touch STOP` in the day's folder, from Ctrl-C, and from the page's button.
    """
    from eventdrill.workflows.gameday_live import drive_under_watch

    (day.folder / STOP).unlink(missing_ok=True)
    if "start" in day.about.get("ask_before", ()) and not ask("start brokers and load now?"):
        raise KeyboardInterrupt("nothing was started")
    folder = _numbered(day.folder / "runs")
    note(day, f"run {folder.name} begins")
    stopped = drive_under_watch(day, folder, telling, show)
    note(day, f"run {folder.name} ends" + (f", stopped: {stopped}" if stopped else ""))
    (folder / "outcome.json").write_text(json.dumps({"stopped": stopped}) + "\n", "utf-8")
    return folder


def note(day: GameDay, text: str) -> None:
    """Add a line with its time to the notes."""
    with (day.folder / NOTES).open("a", encoding="utf-8") as file:
        file.write(f"- {_now()}: {text}\n")


# ---- the score -----------------------------------------------------------------------------------------------------


def score(day: GameDay, number: int | None = None) -> dict[str, Any]:
    """Judge a live run, the last one by default, and write score and postmortem beside it."""
    runs = day.folder / "runs"
    numbers = sorted(int(each.name) for each in runs.iterdir() if each.name.isdecimal()) if runs.is_dir() else []
    if not numbers or (number is not None and number not in numbers):
        raise WrongInputError(
            f"{day.folder} has no run {'yet' if number is None else number}; `eventdrill gameday run` drives one"
        )
    folder = runs / str(number if number is not None else numbers[-1])
    try:
        stopped = json.loads((folder / "outcome.json").read_text("utf-8"))["stopped"]
    except OSError:
        stopped = "the driver ended without a word"
    return _write_outcome(day, folder, folder / "run", stop=stopped, rehearsal=False)


def _write_outcome(
    day: GameDay, folder: Path, run_folder: Path, *, stop: str | None, rehearsal: bool
) -> dict[str, Any]:
    from reports import gameday
    from reports.document import markdown, write_document
    from reports.gameday_page import postmortem_document
    from rundata.dataset import open_run

    opened = open_run(run_folder)
    seen = [(row["at_s"], row["lag"]) for row in read_watch(folder) if row["phase"] in ("running", "draining")]
    if rehearsal:
        seen = [
            (step * gameday.STEP_S, {group: float(values[step]) for group, values in course(opened.data).lag.items() if step < len(values)})
            for step in range(max(map(len, course(opened.data).lag.values()), default=0))
        ]  # fmt: skip
    band = day.prediction["band_90"]
    low, high = ({group: np.array(each) for group, each in band[side].items()} for side in ("low", "high"))
    scored = [
        gameday.score(each, opened.measured, invalid=opened.invalid if stop is None else (), stopped=None if rehearsal else stop)
        for each in day.hypotheses
    ]  # fmt: skip
    document = {
        "gameday": day.about["gameday"],
        "run": str(run_folder.relative_to(day.folder)),
        "stopped": stop,
        "data": {"valid": not opened.invalid, "reasons": list(opened.invalid), "state": opened.state},
        "hypotheses": [
            {**asdict(each.hypothesis), "outcome": each.outcome, "observed": each.observed, "inside": each.inside, "reason": each.reason}
            for each in scored
        ],
        "detection": detection(opened.data, seen, day.rules),
        "calibration": {
            "inside_band_90": gameday.share_inside(seen, low, high),
            "inside_interval": [each.inside for each in scored if each.inside is not None],
        },
        "prediction_sha256": day.about["prediction_sha256"],
        "timeline": timeline(opened.data, seen, day.rules, stop),
    }  # fmt: skip
    notes = (day.folder / NOTES).read_text("utf-8") if (day.folder / NOTES).exists() else ""
    (folder / "score.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", "utf-8")
    page = postmortem_document(day.loaded.scenario, document, notes, seen, low, high, rehearsal=rehearsal)
    write_document(folder / "postmortem.html", page)
    (folder / "postmortem.md").write_text(markdown(page), "utf-8")
    return document


def detection(
    run: "RunData", seen: Sequence[tuple[float, Mapping[str, float]]], rules: "Rules"
) -> list[dict[str, Any]]:
    """Return for each fault when an incident told of it, and when lag first left its predicted band."""
    from reports.gameday import Watch

    watch, found = Watch(rules), []
    for fault in run.faults:
        begin, end = fault.began_ns / SECOND, max(fault.ended_ns / SECOND, fault.began_ns / SECOND + 30)
        told = [i for i in run.incidents if fault.began_ns <= i.time_ns <= end * SECOND]
        outside = [at for at, lag in seen if begin <= at <= end and any(lag[g] > watch.limit(g, at) for g in lag)]
        found.append(
            {
                "fault": fault.label,
                "began": begin,
                "first_incident": told[0].kind if told else None,
                "after": (told[0].time_ns / SECOND - begin) if told else None,
                "outside_band_after": outside[0] - begin if outside else None,
            }
        )
    return found


def timeline(
    run: "RunData", seen: Sequence[tuple[float, Mapping[str, float]]], rules: "Rules", stop: str | None
) -> list[dict[str, Any]]:
    """Return what happened in the order of its times: faults, incidents, the stop."""
    entries = [{"at_s": f.began_ns / SECOND, "what": f"{f.label} begins", "detail": f.proof} for f in run.faults]
    entries += [{"at_s": f.ended_ns / SECOND, "what": f"{f.label} ends", "detail": ""} for f in run.faults]
    entries += [
        {"at_s": i.time_ns / SECOND, "what": f"{i.kind} {i.where}", "detail": i.detail} for i in run.incidents[:60]
    ]
    if stop is not None:
        entries.append({"at_s": run.end_ns / SECOND, "what": "stopped", "detail": stop})
    return sorted(entries, key=lambda each: float(str(each["at_s"])))


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
