"""Predicts a scenario, locks the prediction, drives it on real brokers, compares, and says how far the two agree."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventdrill.errors import FAILED, HELD, SAYS_NOTHING, WrongInputError
from eventdrill.workflows import drive as driving
from eventdrill.workflows import simulate as simulating
from eventdrill.workflows.places import FOREIGN, Place, start_cluster
from eventdrill.workflows.prediction import REPLICATIONS, Prediction, predict
from eventdrill.workflows.sources import Source, loaded
from eventdrill.workflows.telling import SILENT, Telling
from rundata.run import Run
from scenarios.faults import Hook
from scenarios.files import LoadedScenario
from scenarios.profiles import Profile

if TYPE_CHECKING:
    from loadgen.clusters.model import Cluster
    from reports.agreement import Verdict
    from reports.capacity import Capacity
    from rundata.replications import Estimate
    from rundata.tables import RunData

GIVEN_REPLICATIONS = 24
"""With the observed instants put in, only service times and unseen phases are left to vary."""
WARM_UP_S = 60.0


@dataclass(frozen=True, eq=False)
class Verification:
    """A prediction, what was observed, and how far they agree."""

    folder: Path
    prediction: Prediction
    observed: tuple[Run, ...]
    """The live runs; the first one is judged."""
    given: "Mapping[str, Estimate]"
    """What the simulator says with the observed instants put in; empty where none were seen."""
    agreement: "Mapping[str, Verdict]"
    capacity: "tuple[Capacity, ...]" = ()
    notices: tuple[str, ...] = ()
    """What a reader has to know before anything else, such as what these brokers do not prove."""

    @property
    def page(self) -> Path:
        """Where the page lies."""
        return self.folder / "report.html"

    @property
    def exit_code(self) -> int:
        """3 where the run says nothing; 1 where an expectation or check failed, or a verdict is `differs`; else 0."""
        if any(run.invalid for run in self.observed):
            return SAYS_NOTHING
        differs = any(verdict.verdict == "differs" for verdict in self.agreement.values())
        return FAILED if differs or not all(map(_held, (self.prediction.run, *self.observed))) else HELD

    def to_json(self) -> dict[str, Any]:
        """Return the document that `verify --json` prints."""
        from dataclasses import asdict

        from reports.agreement import agreement_json, overall
        from reports.sources import sources_sentence

        return {
            "predicted": self.prediction.run.to_json(),
            "observed": self.observed[0].to_json(),
            "agreement": agreement_json(self.agreement),
            "verdict": overall(self.agreement),
            "look_first": sources_sentence(self.agreement) or None,
            "prediction": self.prediction.to_json(),
            "capacity": [_finite(asdict(each)) for each in self.capacity],
            "notices": list(self.notices),
        }


def _finite(value: Any) -> Any:
    """Return a document in which a number that JSON cannot hold is null."""
    match value:
        case dict():
            return {key: _finite(each) for key, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value


def _held(run: Run) -> bool:
    return all(each.held for each in run.expectations) and all(check.valid for check in run.checks.values())


def verify(
    scenario: Source,
    *,
    on: str = "local",
    client_settings: Path | str | None = None,
    profile: Profile | str | Path | None = None,
    repeats: int = 1,
    replications: int = REPLICATIONS,
    jobs: int | str | None = None,
    seed: int | None = None,
    settings: Sequence[str] = (),
    out: Path | str,
    telling: Telling = SILENT,
) -> Verification:
    """Return how far the simulator's prediction of a scenario agrees with runs of it on real brokers.

    `on` and `client_settings` are those of `drive`: `HOST:PORT` is a system that the scenario's `target` names. `out` is a new or empty
    folder for the runs, the locked prediction, `verify.json` and the page. Without `profile` the scenario's is taken.
    """
    work = prepare(scenario, on=on, client_settings=client_settings, profile=profile, seed=seed, settings=settings)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise WrongInputError(f"{folder} is not empty, and nothing is ever overwritten; name another folder")
    return work.run(folder, repeats=repeats, replications=replications, jobs=jobs, telling=telling)


def prepare(
    scenario: Source,
    *,
    on: str,
    client_settings: Path | str | None = None,
    profile: Profile | str | Path | None = None,
    seed: int | None = None,
    settings: Sequence[str] = (),
) -> "Prepared":
    """Check everything that can be wrong on either side, before anything starts; a system of somebody else's is asked who it is last."""
    found = loaded(scenario, settings)
    _refuse_hooks(found)
    simulation = simulating.prepare(found, seed=seed, profile=profile)
    return Prepared(
        simulation, driving.prepare_anywhere(found, on=on, client_settings=client_settings, seed=seed), seed
    )


def _refuse_hooks(found: LoadedScenario) -> None:
    """Refuse faults of which only their owner knows what they do, and has not said so."""
    reasons = [
        f"{found.source}: faults[{index}].fault is hook; what its commands do only their owner knows, so that it cannot be predicted. If it "
        "amounts to a fault of a broker, say so: `like: {fault: broker_crash, broker: 2}` (or broker_stop, broker_pause); else leave it out "
        "here, and drive it with `eventdrill drive`"
        for index, fault in enumerate(found.scenario.faults)
        if isinstance(fault, Hook) and fault.like is None
    ]
    if reasons:
        raise WrongInputError("\n".join(reasons))


@dataclass(frozen=True)
class Prepared:
    """A verification that can begin."""

    simulation: simulating.Simulation
    drive: driving.Drive
    seed: int | None = None

    def acts(self, repeats: int) -> list[str]:
        """Return all that it would do to a system that EventDrill did not start."""
        again = [f"all of that {repeats} times, one after the other"] if repeats > 1 else []
        return [*self.drive.acts(), *again]

    def run(
        self,
        folder: Path,
        *,
        repeats: int = 1,
        replications: int = REPLICATIONS,
        jobs: int | str | None = None,
        telling: Telling = SILENT,
        warm_s: float = WARM_UP_S,
    ) -> Verification:
        """Predict, then start the brokers, or take those that are there, drive, and compare."""
        system = self.drive.system
        work = Work(
            self.drive.loaded,
            folder,
            self.seed,
            repeats,
            replications,
            jobs,
            telling,
            warm_s,
            notices=self._notices(),
            about={} if system is None else {FOREIGN: system.cluster_id},
            modelled=self.simulation.loaded,
        )
        prediction = work.predict(self.simulation.profile)
        with system or start_cluster(self.drive.on, self.drive.spec, telling.say) as cluster:
            observed = work.drive(cluster, prediction)
        return work.compare(prediction, observed)

    def _notices(self) -> tuple[str, ...]:
        """Return what a reader must know before anything else."""
        hooks = [each for each in self.drive.loaded.scenario.faults if isinstance(each, Hook) and each.like is not None]
        return (
            *(notices_of(self.drive.on) if self.drive.system is None else notices_there(self.drive.system.cluster_id)),
            *(
                f"What the commands of `{each.label}` do was predicted as {each.like.fault} of broker {each.like.broker}, because the scenario says so."
                for each in hooks
                if each.like is not None
            ),
        )


def notices_of(on: Place) -> tuple[str, ...]:
    """Return what a reader must know of brokers that were started for the run."""
    if on == "local":
        return ()
    return (
        "Driven on the cluster that librdkafka carries inside one process, not on Apache Kafka: the clients are real, the brokers "
        "are not. It keeps its log in memory, does not replicate, and has no controller, so it proves nothing about lost events, "
        "fencing, elections, or what a broker takes; the profile describes a real Kafka, and figures that differ say nothing.",
    )


def notices_there(cluster_id: str) -> tuple[str, ...]:
    """Return what a reader must know of brokers that EventDrill did not start."""
    return (
        f"Driven on brokers that EventDrill did not start (cluster {cluster_id}). It sees neither their CPU time nor their logs: whether "
        "they are as fast, and as little asked by others, as when the profile was measured it cannot tell, so a difference may be theirs.",
    )


@dataclass(frozen=True)
class Work:
    """The steps of a verification, for brokers that run already or are started for it."""

    loaded: LoadedScenario
    folder: Path
    seed: int | None = None
    repeats: int = 1
    replications: int = REPLICATIONS
    jobs: int | str | None = None
    telling: Telling = SILENT
    warm_s: float = WARM_UP_S
    """The longest warm-up of a live run."""
    notices: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    """What run.json of the live runs is to hold besides."""
    modelled: LoadedScenario | None = None
    """What is predicted, if that is written in another way than what is driven: hooks as the faults that they are like."""

    @property
    def model(self) -> LoadedScenario:
        """What is predicted."""
        return self.modelled or self.loaded

    def predict(self, profile: Profile) -> Prediction:
        """Simulate, and write the prediction and its page before anything is driven."""
        from eventdrill.workflows.pages import prediction_page

        prediction = predict(
            self.model,
            profile,
            self.folder,
            seed=self.seed,
            replications=self.replications,
            jobs=self.jobs,
            telling=self.telling,
        )
        page = self.folder / "prediction.html"
        prediction_page(page, prediction, self.notices)
        self.telling.say(f"predicted, and locked as {prediction.sha256[:12]}: {page}")
        return prediction

    def drive(self, cluster: "Cluster", prediction: Prediction) -> tuple[Run, ...]:
        """Drive the plan as often as wanted; each run's dataset knows which prediction it was made against."""
        return tuple(self._drive_once(cluster, prediction, number) for number in range(1, self.repeats + 1))

    def _drive_once(self, cluster: "Cluster", prediction: Prediction, number: int) -> Run:
        from loadgen.engine import drive
        from rundata.dataset import RunWriter, open_run
        from scenarios.plan import make_plan

        folder = self.folder / ("driven" if number == 1 else f"driven-{number}")
        if self.repeats > 1:
            self.telling.say(f"live run {number} of {self.repeats}")
        about = {"profile": prediction.profile.profile, "prediction": prediction.to_json(), **self.about}
        seed = prediction.plan.seed
        plan = prediction.plan if self.model is self.loaded else make_plan(self.loaded.scenario, seed)
        writer = RunWriter(folder, plan, about, engine="driven", text=self.loaded.text)
        try:
            with self.telling.display() as watch:
                drive(self.loaded, plan, cluster, writer, progress=watch, warm_s=self.warm_s)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{folder} opens, and says that it is incomplete") from None
        return open_run(folder)

    def compare(self, prediction: Prediction, observed: tuple[Run, ...]) -> Verification:
        """Judge, size, and write `verify.json` and the page."""
        from eventdrill.workflows.doubts import doubts
        from eventdrill.workflows.instants import impossible
        from eventdrill.workflows.pages import verification_page
        from eventdrill.workflows.record import remember
        from reports import agreement

        first, *repeats = observed
        given = self._given(prediction, first)
        verdicts = agreement.judge(
            self.loaded.scenario,
            prediction.estimates,
            first.measured,
            [run.measured for run in repeats],
            given=given,
            fitted=prediction.fitted,
            limited="; ".join(first.invalid) or None,
            doubts=doubts(first.data, prediction.profile),
            sources=self._sources(prediction, first),
        )
        result = Verification(
            self.folder,
            prediction,
            observed,
            given,
            verdicts,
            self._capacity(prediction),
            (*self.notices, *impossible(first.data)),
        )
        text = json.dumps(result.to_json(), indent=2, allow_nan=False, ensure_ascii=False)
        (self.folder / "verify.json").write_text(text + "\n", "utf-8")
        verification_page(result)
        remember(result)
        return result

    def _sources(self, prediction: Prediction, observed: Run) -> dict[str, dict[str, float]]:
        """Return what explains each figure's difference; nothing where the run says nothing of the model."""
        from eventdrill.workflows.differences import STEPS, sources_of
        from eventdrill.workflows.doubts import played
        from reports.agreement import judged_names

        if observed.invalid or played(observed.data):
            return {}
        names, data = judged_names(self.model.scenario), self._as_modelled(prediction, observed.data)
        with self.telling.bar("simulated again, part after part as observed", STEPS) as update:
            return sources_of(prediction.estimates, prediction.plan, prediction.profile, data, names, update)

    def _given(self, prediction: Prediction, observed: Run) -> "Mapping[str, Estimate]":
        """Return what the simulator says once fence, election and assignments are known to it, and what own programs have sent."""
        from rundata.replications import summarise
        from scenarios.outside import outside_topics
        from sim.experiments import Replications, replicate
        from sim.observed import Observed

        if not self.model.scenario.faults:
            return {}
        data = self._as_modelled(prediction, observed.data)
        count = min(GIVEN_REPLICATIONS, self.replications)
        with self.telling.bar("simulated runs with the observed instants", count) as update:
            again: Replications[None] = replicate(
                self.model.scenario,
                prediction.profile,
                seed=prediction.plan.seed,
                replications=count,
                jobs=self.jobs or os.cpu_count() or 1,
                same_plan=True,
                vary_profile=True,
                observed=Observed.from_run(data),
                plan=data.plan if outside_topics(self.model.scenario) else None,
                progress=lambda done, _total: update(done),
            )
        return summarise(again.measured)

    def _as_modelled(self, prediction: Prediction, run: "RunData") -> "RunData":
        """Return a run as one of what was predicted: with the faults that its hooks are like."""
        if self.model is self.loaded:
            return run
        return replace(run, plan=replace(run.plan, scenario=self.model.scenario, faults=prediction.plan.faults))

    def _capacity(self, prediction: Prediction) -> "tuple[Capacity, ...]":
        """Return the fewest members of each group that has an objective."""
        from reports.capacity import fewest_members
        from scenarios.plan import make_plan
        from sim.engine import simulate

        scenario = self.model.scenario
        of = {objective.of for objective in scenario.objectives.values()}
        groups = [name for name, group in scenario.groups.items() if of & {None, name, *group.topics}]
        if groups:
            self.telling.say("simulating other numbers of members")
        return tuple(
            fewest_members(
                scenario,
                group,
                lambda changed: simulate(make_plan(changed, prediction.plan.seed), prediction.profile),
            )
            for group in groups
        )
