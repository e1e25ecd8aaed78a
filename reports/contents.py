"""What a page is made of: the runs with everything that is derived from them, computed once for HTML and Markdown alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from reports.agreement import Verdict, overall
from reports.capacity import Capacity
from reports.prevention import Prevented
from reports.record import Coverage
from reports.slo import ObjectiveReport, assess
from reports.traces import Band, Trace, trace
from rundata.rows import NEVER
from rundata.run import Run
from rundata.tables import FaultRecord
from scenarios.plan import Plan
from scenarios.profiles import Profile
from scenarios.schema import Scenario

MOCK = "librdkafka-mock"


@dataclass(frozen=True, eq=False)
class Column:
    """One run of a page, and what it is called there."""

    label: str
    run: Run
    is_prediction: bool = False

    @cached_property
    def trace(self) -> Trace:
        """The series that figures draw."""
        return trace(self.run.data)

    @cached_property
    def objectives(self) -> dict[str, ObjectiveReport]:
        """What became of each objective."""
        return assess(self.run.data)


@dataclass(frozen=True, eq=False)
class Contents:
    """Everything that a page says."""

    columns: tuple[Column, ...]
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    lag_bands: Mapping[str, Band] = field(default_factory=dict)
    capacity: tuple[Capacity, ...] = ()
    profile: Profile | None = None
    prediction_sha256: str | None = None
    given_notices: tuple[str, ...] = ()
    record: tuple[Coverage, ...] = ()
    """How the intervals of earlier predictions did."""
    prevented: tuple[Prevented, ...] = ()
    """What measures bought that were simulated."""

    @property
    def kind(self) -> Literal["verification", "prediction", "run", "comparison"]:
        """Which of its questions a page can answer."""
        if self.verdicts:
            return "verification"
        if len(self.columns) > 1:
            return "comparison"
        return "prediction" if self.columns[0].run.data.engine == "simulated" else "run"

    @property
    def scenario(self) -> Scenario:
        """What was tried."""
        return self.plan.scenario

    @property
    def plan(self) -> Plan:
        """The plan of the run that the page is about."""
        return self.main.run.data.plan

    @property
    def main(self) -> Column:
        """The run that a page is about: the first live one, else the first."""
        return next((column for column in self.columns if not column.is_prediction), self.columns[0])

    @property
    def predicted(self) -> Column | None:
        """The prediction, where there is one."""
        return next((column for column in self.columns if column.is_prediction), None)

    @property
    def live(self) -> tuple[Column, ...]:
        """The runs that are no prediction."""
        return tuple(column for column in self.columns if not column.is_prediction)

    @cached_property
    def faults(self) -> tuple[FaultRecord, ...]:
        """The faults as they happened in the main run; those that it did not reach as planned."""
        happened = sorted(self.main.run.data.faults, key=lambda fault: fault.planned_begin_ns)
        if happened:
            return tuple(map(_as_planned_if_never, happened))
        planned = self.plan.faults
        return tuple(
            FaultRecord(f.label, f.fault.kind, "", f.begin_ns, f.end_ns, f.begin_ns, f.end_ns, "") for f in planned
        )

    @cached_property
    def notices(self) -> list[str]:
        """What a reader must know before anything else: what a run does not prove."""
        said = list(self.given_notices)
        for column in self.columns:
            run = column.run
            name = f"The {column.label} run" if len(self.columns) > 1 else "This run"
            if not run.complete:
                why = "; ".join(str(reason) for reason in run.data.about.get("incomplete", ()))
                said.append(
                    f"{name} is incomplete (state: {run.state}{'; ' + why if why else ''}). Its figures cover what was recorded until "
                    "then, and events that were still under way look unfinished."
                )
            elif run.invalid:
                said.append(f"{name} says nothing about the system: {'; '.join(run.invalid)}.")
            if implementation(run) == MOCK and not self.given_notices:
                said.append(
                    f"{name} used the cluster that librdkafka carries inside one process, not Apache Kafka. It keeps its log in memory, "
                    "does not replicate and has no controller: it proves nothing about lost events, fencing or elections."
                )
        if self._scenarios_differ():
            said.append(
                "These runs are not of one and the same scenario. What was tried, and the faults in the figures, are those of the "
                f"{self.main.label} run."
            )
        return said

    def _scenarios_differ(self) -> bool:
        """Whether the runs come from different scenarios; a difference in seed is none."""
        return any(column.run.data.plan.scenario != self.scenario for column in self.columns)

    @property
    def outcome(self) -> str:
        """The worst verdict."""
        return overall(self.verdicts)


def _as_planned_if_never(fault: FaultRecord) -> FaultRecord:
    if fault.began_ns == NEVER:
        return replace(fault, began_ns=fault.planned_begin_ns, ended_ns=fault.planned_end_ns)
    return fault


def implementation(run: Run) -> str:
    """Return what played the brokers."""
    brokers = run.data.about.get("brokers") or {}
    fallback = "simulated" if run.data.engine == "simulated" else "unknown"
    return str(brokers.get("implementation", fallback)) if isinstance(brokers, Mapping) else fallback


def contents(
    runs: Sequence[Run],
    *,
    verdicts: Mapping[str, Verdict] | None = None,
    lag_bands: Mapping[str, Band] | None = None,
    capacity: Sequence[Capacity] = (),
    profile: Profile | None = None,
    prediction_sha256: str | None = None,
    notices: Sequence[str] = (),
    record: Sequence[Coverage] = (),
    prevented: Sequence[Prevented] = (),
) -> Contents:
    """Return a page's contents; with verdicts, or before any live run, the first simulated run is the prediction."""
    if not runs:
        raise ValueError("a page needs at least one run")
    return Contents(
        columns=_columns(runs, predicts=bool(verdicts) or len(runs) == 1),
        verdicts=verdicts or {},
        lag_bands=lag_bands or {},
        capacity=tuple(capacity),
        profile=profile,
        prediction_sha256=prediction_sha256,
        given_notices=tuple(notices),
        record=tuple(record),
        prevented=tuple(prevented),
    )


def _columns(runs: Sequence[Run], *, predicts: bool) -> tuple[Column, ...]:
    predicted = predicts and runs[0].data.engine == "simulated"
    labels = _labels(runs, predicts=predicts)
    return tuple(Column(label, run, predicted and run is runs[0]) for label, run in zip(labels, runs, strict=True))


def _labels(runs: Sequence[Run], *, predicts: bool) -> list[str]:
    """Return what runs are called beside each other: by their scenarios where these tell them apart, else by their engines, counted."""
    names, engines = [run.data.plan.scenario.scenario for run in runs], [run.data.engine for run in runs]
    if not predicts and len(set(engines)) == 1 and len(set(names)) == len(names):
        return names
    labels = []
    for number, engine in enumerate(engines):
        prediction = predicts and number == 0 and engine == "simulated"
        word = "predicted" if prediction else ("observed" if predicts and len(runs) > 1 else engine)
        labels.append(f"{word} {engines[: number + 1].count(engine)}" if engines.count(engine) > 1 else word)
    return labels
