"""How much a scenario needs, and how much it bears: searches with the simulator, with the bottleneck named, and on running brokers."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from eventdrill.errors import WrongInputError
from eventdrill.workflows.simulate import Jobs
from eventdrill.workflows.simulate import prepare as prepare_simulation
from eventdrill.workflows.sources import Source
from eventdrill.workflows.telling import SILENT, Telling
from eventdrill.workflows.trials import Shown, Trial, show, variant
from scenarios.errors import ScenarioError
from scenarios.faults import MemberLeave
from scenarios.files import LoadedScenario, scenario_text
from scenarios.load import busiest_partition, expected_events, handling_ns
from scenarios.profiles import Profile
from scenarios.quantities import SECOND
from scenarios.schema import Arrivals, Scenario

if TYPE_CHECKING:
    from eventdrill.workflows.capacity_live import Confirmed
    from reports.capacity_search import Bears, Least
    from sim.crew import Crew

Condition = Literal["load", "one broker lost", "catch-up"]
CONDITIONS: tuple[Condition, ...] = ("load", "one broker lost", "catch-up")
_SETTLES_NS = 5 * SECOND
_CALM: Mapping[str, Any] = {"faults": [], "actions": [], "expect": [], "agreement": {}}
"""Without faults, and without what is only said about them."""
_BUSY, _BUSY_IN_CATCH_UP = 0.7, 0.3
_MARGIN = 1.5
"""A catch-up is watched so many times longer than it may take."""


@dataclass(frozen=True)
class Demand:
    """What must hold, and under which load."""

    forecast: float = 1.0
    """Times the scenario's load."""
    outage_ns: int = 30 * SECOND
    recover_ns: int = 60 * SECOND


@dataclass(frozen=True)
class Answer:
    """The least of one field under one condition."""

    field: str
    condition: Condition
    now: int
    found: "Least | None"
    bottleneck: str
    reason: str = ""
    """Why it was not searched for."""


@dataclass(frozen=True, eq=False)
class Plan:
    """All answers for a scenario."""

    scenario: Scenario
    demand: Demand
    answers: tuple[Answer, ...]
    bears: "Bears"
    breaks_at: str
    """What is the bottleneck at the load that breaks it."""
    rate_hz: float
    """Of the scenario."""
    capacity_hz: Mapping[str, float]
    """By group: what its members can finish, by their mean work."""
    simulations: int
    cost: Mapping[str, float] = field(default_factory=dict)
    currency: str = ""
    growth: float = 0.0
    live: "Confirmed | None" = None

    def to_json(self) -> dict[str, Any]:
        """Return the document that `capacity --json` prints."""
        from reports.capacity_math import longest_outage_s, runs_out_after_days

        rate = self.rate_hz * self.demand.forecast
        bears_hz = self.bears.factor * self.rate_hz
        return {
            "scenario": self.scenario.scenario,
            "rate": self.rate_hz,
            "forecast": self.demand.forecast,
            "answers": [_answer_json(each) for each in self.answers],
            "breaks": {
                "factor": self.bears.factor, "rate": bears_hz, "interval": [_finite(x) for x in self.bears.interval],
                "bottleneck": self.breaks_at, "headroom": self.bears.factor - self.demand.forecast,
                "looked": [
                    {"factor": e.value, "verdict": e.verdict, "runs": len(e.margins), "margin": _finite(e.middle)} for e in self.bears.looked
                ],
            },
            "groups": {
                name: {
                    "capacity": hz,
                    "longest_outage": _finite(longest_outage_s(self.demand.recover_ns / SECOND, hz, rate)),
                }
                for name, hz in self.capacity_hz.items()
            },
            "runs_out_after_days": _finite(runs_out_after_days(bears_hz, rate, self.growth)) if self.growth else None,
            "cost": {"currency": self.currency, "month": dict(self.cost)} if self.cost else None,
            "live": None if self.live is None else self.live.to_json(self.rate_hz),
            "simulations": self.simulations,
        }  # fmt: skip


def _answer_json(answer: Answer) -> dict[str, Any]:
    found = answer.found
    return {
        "field": answer.field,
        "condition": answer.condition,
        "now": answer.now,
        "least": found.value if found else None,
        "interval": list(found.interval) if found else None,
        "most": found.most if found else None,
        "looked": [
            {"value": e.value, "verdict": e.verdict, "runs": len(e.margins), "margin": _finite(e.middle)}
            for e in (found.looked if found else ())
        ],
        "bottleneck": answer.bottleneck,
        **({"reason": answer.reason} if answer.reason else {}),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class Search:
    """A search that can begin."""

    loaded: LoadedScenario
    profile: Profile
    seed: int
    fields: tuple[str, ...]
    most: int | None
    demand: Demand
    conditions: tuple[Condition, ...]

    def run(
        self,
        *,
        jobs: Jobs = None,
        telling: Telling = SILENT,
        prices: Any = None,
        zones: int = 1,
        growth: float = 0.0,
    ) -> Plan:
        """Search for each field under each condition, then for the load that breaks what there is."""
        from reports.capacity_search import greatest_load
        from sim.crew import Crew

        with Crew(jobs or os.cpu_count() or 1) as crew:
            looker = _Looker(self, crew)
            answers = []
            for name in self.fields:
                for condition in self.conditions:
                    telling.say(f"searching: the least {name}, {_words(condition)}")
                    answers.append(self._answer(looker, name, condition))
            telling.say("searching: the load that breaks it")
            bears = greatest_load(lambda factor, begin, end: looker.load_margins(self.loaded, factor, begin, end))
        scenario = self.loaded.scenario
        broken = max(bears.interval[1] if math.isfinite(bears.interval[1]) else bears.factor, bears.factor)
        return Plan(
            scenario=scenario,
            demand=self.demand,
            answers=tuple(answers),
            bears=bears,
            breaks_at=bottleneck(_loaded_by(scenario, broken or 1.0)),
            rate_hz=_rate_hz(scenario),
            capacity_hz={name: capacity_hz(scenario, name) for name in scenario.groups},
            simulations=looker.count,
            cost=_cost(scenario, self.demand, prices, zones) if prices is not None else {},
            currency=prices.currency if prices is not None else "",
            growth=growth,
        )

    def _answer(self, looker: "_Looker", name: str, condition: Condition) -> Answer:
        from reports.capacity_search import least

        now = int(_value_of(self.loaded.scenario, name))
        reason = _cannot_be_asked(self.loaded.scenario, condition, self.demand)
        if reason:
            return Answer(name, condition, now, None, "", reason)
        low, most = self._range(name)
        found = least(
            low, most, lambda value, begin, end: looker.margins(name, int(value), condition, begin, end), first=now
        )
        if found.value == low:
            return Answer(name, condition, now, found, "nothing: fewer there cannot be")
        below = found.value - 1 if found.value is not None else most
        named = bottleneck(self.at(name, below, condition), _BUSY_IN_CATCH_UP if condition == "catch-up" else _BUSY)
        more = " on average, which leaves too little to catch up in time" if condition == "catch-up" else ""
        return Answer(name, condition, now, found, named + more)

    def _range(self, name: str) -> tuple[int, int]:
        scenario = self.loaded.scenario
        if name.endswith(".members"):
            group = name.split(".")[1]
            partitions = sum(scenario.topics[topic].partitions for topic in scenario.groups[group].topics)
            return 1, self.most or max(partitions, 1)
        if name == "brokers.nodes":
            return max(scenario.replication_of(topic) for topic in scenario.topics), self.most or 24
        return 1, self.most or 4 * max(1, int(_value_of(scenario, name)))

    def at(self, name: str, value: int, condition: Condition) -> Scenario:
        """Return the scenario with a field at a value, under the forecast load and a condition."""
        changed = variant(self.loaded, {name: value, **_CALM}).scenario
        return conditioned(_loaded_by(changed, self.demand.forecast), condition, self.demand)


@dataclass
class _Looker:
    """Simulates on behalf of a search, and counts."""

    search: Search
    crew: "Crew"
    count: int = 0

    def margins(self, name: str, value: int, condition: Condition, begin: int, end: int) -> list[float]:
        """Return by how much everything holds at a value, run by run; a value that makes no scenario does not hold."""
        try:
            scenario = self.search.at(name, value, condition)
        except ScenarioError:
            return [-math.inf] * (end - begin)
        return self._show(scenario, condition, begin, end)

    def load_margins(self, loaded: LoadedScenario, factor: float, begin: int, end: int) -> list[float]:
        """Return by how much the objectives hold at a multiple of the load."""
        changed = variant(loaded, _CALM).scenario
        return self._show(_loaded_by(changed, factor), "load", begin, end)

    def _show(self, scenario: Scenario, condition: Condition, begin: int, end: int) -> list[float]:
        search = self.search
        pieces = [Trial(scenario, search.profile, search.seed, (number,)) for number in range(begin, end)]
        self.count += len(pieces)
        with closing(self.crew.each(show, pieces)) as parts:
            return [margin(one, scenario, condition, search.demand) for part in parts for one in part]


def margin(shown: Shown, scenario: Scenario, condition: Condition, demand: Demand) -> float:
    """Return by how much the tightest demand holds: of objectives in shares, of a catch-up in shares of its time."""
    if condition == "catch-up":
        drains = [shown.measured[f"drain_time[{group}]"] for group in scenario.groups]
        took = [-math.inf if d.at_least is not None else 1.0 if d.value is None else 1 - d.value * SECOND / demand.recover_ns for d in drains]  # fmt: skip
        return min(took, default=1.0)
    targets = {name: objective.target for name, objective in scenario.objectives.items()}
    return min(-math.inf if share is None else share - targets[name] for name, share in shown.compliance.items())


# ---- the scenario under a condition --------------------------------------------------------------------------------


def conditioned(scenario: Scenario, condition: Condition, demand: Demand) -> Scenario:
    """Return the scenario without its faults, as it is, with a broker fewer, or with an outage of all its members."""
    match condition:
        case "load":
            return scenario
        case "one broker lost":
            left = scenario.brokers.nodes - 1
            topics = {
                name: topic.model_copy(update={"replication": min(scenario.replication_of(name), left)})
                for name, topic in scenario.topics.items()
            }
            return scenario.model_copy(
                update={"brokers": scenario.brokers.model_copy(update={"nodes": left}), "topics": topics}
            )
        case "catch-up":
            return _with_outage(scenario, demand)


def _with_outage(scenario: Scenario, demand: Demand) -> Scenario:
    """Return the mean load for as long as an outage and its catch-up take; every member leaves, and all come back at once."""
    begin = scenario.warm_up + _SETTLES_NS
    duration = begin + demand.outage_ns + int(_MARGIN * demand.recover_ns)
    faults = tuple(
        _leave(name, number, begin, demand.outage_ns)
        for name, group in scenario.groups.items()
        for number in range(1, group.members + 1)
    )
    producers = {
        name: producer.model_copy(
            update={"arrivals": (Arrivals.model_validate({"rate": f"{mean:.9f}/s"}),)}
            if (mean := mean_hz(scenario, name))
            else {}
        )
        for name, producer in scenario.producers.items()
    }
    return scenario.model_copy(update={"duration": duration, "faults": faults, "producers": producers})


def _leave(group: str, number: int, at_ns: int, for_ns: int) -> MemberLeave:
    text = {"fault": "member_leave", "member": f"{group}/{number}", "at": f"{at_ns}ns", "for": f"{for_ns}ns"}
    return MemberLeave.model_validate(text, by_alias=True)


def _loaded_by(scenario: Scenario, factor: float) -> Scenario:
    """Return the scenario with every rate multiplied."""
    if factor == 1:
        return scenario
    producers = {
        name: producer.model_copy(
            update={
                "arrivals": tuple(
                    part.model_copy(update={"rate": (part.rate[0] * factor, part.rate[1] * factor)})
                    for part in producer.rated(scenario.duration)
                )
            }
        )
        for name, producer in scenario.producers.items()
    }
    return scenario.model_copy(update={"producers": producers})


def mean_hz(scenario: Scenario, producer: str) -> float:
    """Return how many events a second a producer sends on average."""
    parts = scenario.producers[producer].rated(scenario.duration)
    events = sum(sum(p.rate) / 2 * (p.for_ns or scenario.duration) for p in parts)
    return events / scenario.duration


def _rate_hz(scenario: Scenario) -> float:
    return expected_events(scenario, tuple(scenario.topics)) * SECOND / scenario.duration


def bytes_per_s(scenario: Scenario, topic: str) -> float:
    """Return the bytes of values that come into a topic each second on average: from producers, and emitted by groups."""
    sent = sum(
        mean_hz(scenario, name) * float(producer.size.mean)
        for name, producer in scenario.producers.items()
        if producer.topic == topic
    )
    emitted = sum(
        expected_events(scenario, group.topics)
        * SECOND
        / scenario.duration
        * emits.per_event
        * emits.share
        * float(emits.size.mean)
        for group in scenario.groups.values()
        for emits in group.emits
        if emits.topic == topic
    )
    return sent + emitted


def capacity_hz(scenario: Scenario, group: str) -> float:
    """Return how many events a second a group's members can finish, by their mean work."""
    needed = handling_ns(scenario, group)
    partitions = sum(scenario.topics[topic].partitions for topic in scenario.groups[group].topics)
    return min(scenario.groups[group].members, partitions) * SECOND / needed if needed else math.inf


def bottleneck(scenario: Scenario, busy_from: float = _BUSY) -> str:
    """Name the busiest station of a scenario, with how busy it is; one that is hardly busy is none."""
    stations = []
    for name, group in scenario.groups.items():
        rate = expected_events(scenario, group.topics) * SECOND / scenario.duration
        capacity = capacity_hz(scenario, name)
        hottest = busiest_partition(scenario, name)
        stations.append((rate / capacity if capacity else math.inf, f"the {_members(group.members)} of {name}"))
        if hottest is not None:
            stations.append(
                (
                    hottest.share_of_member,
                    f"partition {hottest.topic}/{hottest.partition}, which one member of {name} handles alone",
                )
            )
    if not stations:
        return "nothing: no group reads"
    busy, name = max(stations)
    if busy < busy_from:
        return f"no handler: the busiest ({name}) is {busy:.0%} busy, so what is missed waits for brokers, timers or chance"
    return f"{name}, {busy:.0%} busy"


def _members(count: int) -> str:
    return "one member" if count == 1 else f"{count} members"


def _words(condition: Condition) -> str:
    return {"load": "for the load", "one broker lost": "with one broker lost", "catch-up": "to catch up after an outage"}[condition]  # fmt: skip


def _cannot_be_asked(scenario: Scenario, condition: Condition, demand: Demand) -> str:
    if condition == "one broker lost":
        left = scenario.brokers.nodes - 1
        if left < 1:
            return "there is no other broker"
        for name, topic in scenario.topics.items():
            if int(topic.settings.get("min.insync.replicas", 1)) > min(scenario.replication_of(name), left):
                return f"with one broker lost nothing can be written to {name}: min.insync.replicas is {topic.settings['min.insync.replicas']}"
    if condition == "catch-up" and not scenario.groups:
        return "no group reads"
    return ""


def _cost(scenario: Scenario, demand: Demand, prices: Any, zones: int) -> dict[str, float]:
    """Return a month's cost of all topics at the forecast load, by item."""
    from reports.capacity_math import monthly_cost
    from scenarios.clients import topic_setting

    total: dict[str, float] = {}
    for number, name in enumerate(scenario.topics):
        retention_ms = int(topic_setting(scenario, name, "retention.ms"))
        if retention_ms < 0:
            raise WrongInputError(
                f"topics.{name}: retention.ms is {retention_ms}, so its cost has no bound; set a retention"
            )
        found = monthly_cost(
            prices,
            ingress_bytes_s=bytes_per_s(scenario, name) * demand.forecast,
            retention_ns=retention_ms * 1_000_000,
            replicas=scenario.replication_of(name),
            brokers=scenario.brokers.nodes if number == 0 else 0,
            groups=sum(name in group.topics for group in scenario.groups.values()),
            zones=zones,
        )
        total = {item: total.get(item, 0.0) + amount for item, amount in found.items()}
    return total


# ---- before anything starts ----------------------------------------------------------------------------------------


def capacity(
    scenario: Source,
    *,
    fields: Sequence[str] = (),
    conditions: Sequence[Condition] = CONDITIONS,
    forecast: float = 1.0,
    recover_ns: int = Demand.recover_ns,
    growth: float = 0.0,
    settings: Sequence[str] = (),
    seed: int | None = None,
    profile: Profile | str | Path | None = None,
    jobs: Jobs = None,
) -> Plan:
    """Return how much a scenario needs, and how much it bears: the least of each field under each condition, by search with the simulator."""
    search = prepare(scenario, fields=fields, conditions=conditions, settings=settings, seed=seed, profile=profile)
    demand = replace(search.demand, forecast=forecast, recover_ns=recover_ns)
    return replace(search, demand=demand).run(jobs=jobs, growth=growth)


def prepare(
    scenario: Source,
    *,
    fields: Sequence[str] = (),
    most: int | None = None,
    demand: Demand | None = None,
    conditions: Sequence[Condition] = CONDITIONS,
    seed: int | None = None,
    settings: Sequence[str] = (),
    profile: Profile | str | Path | None = None,
) -> Search:
    """Check everything that can be wrong, before anything starts."""
    work = prepare_simulation(scenario, seed=seed, settings=settings, profile=profile)
    found = work.loaded.scenario
    if not found.objectives:
        raise WrongInputError(
            f"{work.loaded.source}: there are no objectives to hold; add `objectives: {{fast: {{indicator: latency, below: 500ms, target: 99%}}}}`"
        )
    recorded = [name for name, producer in found.producers.items() if producer.recorded is not None]
    if recorded:
        raise WrongInputError(
            f"{work.loaded.source}: producers.{recorded[0]} replays a recording, whose load cannot be scaled; give it a rate"
        )
    chosen = tuple(fields) or tuple(f"groups.{name}.members" for name in found.groups)
    for name in chosen:
        value = _value_of(found, name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise WrongInputError(f"--field {name} is no whole number; search for members, partitions or nodes")
        variant(work.loaded, {name: value})
    wanted = demand or Demand(outage_ns=_longest_outage(found))
    return Search(work.loaded, work.profile, work.plan.seed, chosen, most, wanted, tuple(conditions))


def _longest_outage(scenario: Scenario) -> int:
    """Return the longest fault that the scenario plans; half a minute where there is none."""
    return max((int(getattr(f, "for_ns", 0) or 0) for f in scenario.faults), default=0) or 30 * SECOND


def _value_of(scenario: Scenario, name: str) -> Any:
    from scenarios.assignments import parse_assignment

    try:
        path = parse_assignment(f"{name}=0").path
    except ValueError:
        raise WrongInputError(f"--field {name!r} is no field; it is written like groups.NAME.members") from None
    here: Any = scenario
    for part in path:
        inside = here.get(part) if isinstance(here, Mapping) else getattr(here, str(part), None)
        if inside is None:
            raise WrongInputError(f"--field {name}: there is no {part!r}; a field is written like groups.NAME.members")
        here = inside
    return here


def write(plan: Plan, folder: Path) -> Path:
    """Write document, page and Markdown, and return where the page lies."""
    from reports.capacity_page import capacity_document
    from reports.document import markdown, write_document

    (folder / "capacity.json").write_text(json.dumps(plan.to_json(), indent=1, allow_nan=False) + "\n", "utf-8")
    (folder / "scenario.yaml").write_text(scenario_text(plan.scenario), "utf-8")
    document = capacity_document(plan.scenario, plan.to_json())
    (folder / "capacity.md").write_text(markdown(document), "utf-8")
    write_document(folder / "report.html", document)
    return folder / "report.html"
