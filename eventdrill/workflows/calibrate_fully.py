"""The whole calibration, some five minutes: sizes, acks, low rates, one partition, rising load up to saturation, crashes, a check on a run held back.

Five runs on topics of their own, whose plans no scenario shares, and a sixth that the finished profile has to predict. On a system that
EventDrill did not start none of its brokers dies, and load rises only where its owner allows harm.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eventdrill.errors import SaysNothingError
from eventdrill.workflows.calibrate import (
    SIMULATIONS,
    Ints,
    answered_by_leaders,
    answers,
    batches,
    circumstances,
    corrected,
    fit_parts,
    heard,
    of_topic,
    placed,
    relative_slope,
    residuals,
    too_few_commits,
    with_load_left,
)
from eventdrill.workflows.calibrate_brokers import at_the_limit, by_brokers, driven
from eventdrill.workflows.calibrate_calm import CALM_HZ, CALM_LINGER_MS, CALM_STEP_S, CALM_WARM_UP_S, with_calm
from eventdrill.workflows.calibrate_client import with_sleeps
from eventdrill.workflows.calibrate_failing import failover
from eventdrill.workflows.calibrate_one_leader import one_leader_text, with_one_leader
from eventdrill.workflows.calibrate_there import HERE, Ground, taken_over
from eventdrill.workflows.doubts import doubts_of
from eventdrill.workflows.pace import WARM_CPU_SD, Stretch, cores_of
from rundata.indicators import measure
from rundata.rows import NEVER, Kind, Outcome
from rundata.tables import RunData
from scenarios.files import LoadedScenario, load_text
from scenarios.plan import make_plan
from scenarios.profiles import Measured, OneLeader, Profile, measured
from scenarios.quantities import SECOND
from sim.engine import simulate

if TYPE_CHECKING:
    from loadgen.clusters.model import Cluster
    from loadgen.exporters import Exporter, Readings
    from loadgen.recorder import Progress

SEEDS = {
    "steady": 30_011,
    "calm": 30_059,
    "one leader": 30_071,
    "rising": 30_013,
    "failing": 30_029,
    "held back": 30_047,
}
"""Apart from any scenario's default, so that no calibration sees a plan that it will be judged on."""
STEADY_HZ, STEADY_WARM_UP_S, STEADY_STEP_S = (100, 300, 800), 10, 12
RISING_HZ, RISING_STEP_S = (1500, 3000, 6000), 5
LEAST_SCALE_SD = 0.12
"""So sure is none, of warm brokers. Of forty steady states' medians 26 of 28 lay inside with it at lingers up to 5 ms; at longer ones 12 of 19, for want of
rests."""
_SETTLE_S = 1
"""Of each step, left out: what the step before left behind."""
_WAITS_AT = (0.5, 0.75, 0.9, 0.95)
"""Quantiles of answers at the highest steady rate that tell how long they waited for cores."""
_MOST_TAKEN, _TRIES = 0.6, 25
_SATURATED = 5.0
"""A step whose answers take so many times those of the lowest rate is beyond what the brokers bear."""
HELD_BACK = ("latency.p50", "latency.p95", "latency.p99")
_NO_CRASHES = "no broker was killed: EventDrill did not start them, or was to leave them running"
_NO_SATURATION = "not looked for: the target does not allow harm"
_SHOWS = {
    "steady": "sizes, acks",
    "calm": "rests of brokers, requests of several events",
    "one leader": "a single partition",
    "rising": "rising load",
    "failing": "two crashes of brokers and one of a member",
    "held back": "a run that was held back",
}


def _arrivals(steps: Sequence[tuple[int, int]]) -> str:
    return "[" + ", ".join(f"{{for: {seconds}s, rate: {rate}/s}}" for seconds, rate in steps) + "]"


_SAFE = "settings: {acks: all, enable.idempotence: true, linger.ms: 5}"
_STEADY_S = STEADY_WARM_UP_S + STEADY_STEP_S * len(STEADY_HZ)


def _texts(ground: Ground) -> dict[str, str]:
    """Return the texts of the calibration's scenarios on some ground."""
    steady, safe, calm, rising, failing, held_back = map(
        ground.name, ("steady", "steady-acks-1", "calm", "rising", "failing", "held-back")
    )
    first, second, topic = ground.name("first"), ground.name("second"), ground.topic(6)
    return {
        "steady": f"""
scenario: calibration-steady
about: Three rates, sizes from small to large, and a slow stream with acks 1 that shows the leader's part alone.
duration: {_STEADY_S}s
warm_up: {STEADY_WARM_UP_S}s
drain: 5s
{ground.head}
topics: {{{steady}: {topic}, {safe}: {topic}}}
producers:
  source:
    topic: {steady}
    count: 3
    {_SAFE}
    arrivals: {_arrivals([(STEADY_WARM_UP_S, STEADY_HZ[1]), *((STEADY_STEP_S, rate) for rate in STEADY_HZ)])}
    key: {{uniform: 5000}}
    size: {{lognormal: {{mean: 1KiB, cv: 1.5}}}}
  leader:
    topic: {safe}
    settings: {{acks: 1, linger.ms: 5, max.in.flight.requests.per.connection: 5}}
    arrivals: 60/s
    key: {{uniform: 5000}}
    size: 300B
groups:
  {first}: {{topics: [{steady}], members: 3, work: 500us, commit: {{every: 1s}}}}
  {second}: {{topics: [{safe}], members: 2, work: 500us, commit: after_batch}}
""",
        "calm": f"""
scenario: calibration-calm
about: Rates so low that brokers rest between requests, which carry several events where they linger for long.
duration: {CALM_WARM_UP_S + CALM_STEP_S * len(CALM_HZ)}s
warm_up: {CALM_WARM_UP_S}s
drain: 5s
{ground.head}
topics: {{{calm}: {topic}}}
producers:
  source:
    topic: {calm}
    settings: {{acks: all, enable.idempotence: true, linger.ms: {CALM_LINGER_MS}}}
    arrivals: {_arrivals([(CALM_WARM_UP_S, CALM_HZ[0]), *((CALM_STEP_S, rate) for rate in CALM_HZ)])}
    key: {{uniform: 5000}}
    size: 300B
groups:
  {first}: {{topics: [{calm}], members: 2, work: 500us, commit: {{every: 1s}}}}
""",
        "one leader": one_leader_text(ground),
        "rising": f"""
scenario: calibration-rising
about: Load that rises until the brokers take several times as long as when they are calm.
duration: {len(RISING_HZ) * RISING_STEP_S}s
drain: 10s
{ground.head}
topics: {{{rising}: {topic}}}
producers:
  source:
    topic: {rising}
    count: 3
    {_SAFE}
    arrivals: {_arrivals([(RISING_STEP_S, rate) for rate in RISING_HZ])}
    key: {{uniform: 5000}}
    size: 300B
groups:
  {first}: {{topics: [{rising}], members: 3, work: 1us, commit: {{every: 1s}}}}
""",
        "failing": f"""
scenario: calibration-failing
about: Two brokers die, so that clients have to find new leaders, and between them a member, so that its group rebalances without and with it.
duration: 68s
drain: 15s
{ground.head}
topics: {{{failing}: {topic}}}
producers:
  source: {{topic: {failing}, count: 3, {_SAFE}, arrivals: 250/s, key: {{uniform: 5000}}, size: 300B}}
groups:
  {first}: {{topics: [{failing}], members: 3, work: 500us, commit: {{every: 1s}}, settings: {{session.timeout.ms: 6000}}}}
  {second}: {{topics: [{failing}], members: 3, work: 500us, commit: {{every: 1s}}}}
faults:
  - {{fault: broker_crash, broker: leader of {failing}/0, at: 6s, for: 12s}}
  - {{fault: member_crash, member: {first}/2, at: 24s, for: 10s}}
  - {{fault: broker_crash, broker: leader of {failing}/1, at: 42s, for: 12s}}
""",
        "held back": f"""
scenario: calibration-held-back
about: A run that the fit never saw, to tell how well the profile predicts.
duration: 18s
warm_up: 3s
drain: 5s
{ground.head}
topics: {{{held_back}: {topic}}}
producers:
  source: {{topic: {held_back}, count: 3, {_SAFE}, arrivals: 450/s, key: {{zipf: {{values: 1000, exponent: 0.8}}}}, size: 500B}}
groups:
  {first}: {{topics: [{held_back}], members: 3, work: {{exponential: 1ms}}, commit: {{every: 1s}}}}
""",
    }


def scenario(name: str, ground: Ground = HERE) -> LoadedScenario:
    """Return one of the calibration's scenarios: steady, calm, one leader, rising, failing, held back."""
    return load_text(_texts(ground)[name], f"the calibration's {name} scenario")


def calibrate_fully(
    cluster: "Cluster",
    folder: Path,
    *,
    base: Profile,
    progress: Callable[[str], None],
    watch: "Callable[[Progress], None]" = lambda _state: None,
    ground: Ground = HERE,
    exporters: "Sequence[Exporter]" = (),
) -> Profile:
    """Drive the calibration's scenarios on a cluster, fit a profile to them and return it, its errors on the held-back run included.

    With exporters the brokers' own times take the place of what clients conclude.
    """
    base = with_sleeps(base)
    found = {}
    for name in names_on(ground):
        loaded = scenario(name, ground)
        progress(f"measuring the brokers, {name}: {loaded.scenario.duration // SECOND} s")
        found[name] = _driven(name, loaded, cluster, folder / name.replace(" ", "-"), watch, exporters)
    progress("fitting a profile to what was measured")
    runs = {name: run for name, (run, _) in found.items()}
    read = {name: readings for name, (_, readings) in found.items() if exporters and name in _READ}
    return placed(fit_fully(runs, base, read), cluster)


def _driven(
    name: str,
    loaded: LoadedScenario,
    cluster: "Cluster",
    folder: Path,
    watch: "Callable[[Progress], None]",
    exporters: "Sequence[Exporter]",
) -> "tuple[RunData, Readings]":
    """Drive one of the runs, and read exporters in it where its times count."""
    from loadgen.engine import drive
    from rundata.dataset import RunWriter

    plan = make_plan(loaded.scenario, SEEDS[name])
    writer = RunWriter(folder, plan, text=loaded.text)
    run, readings = driven(
        lambda tell: drive(loaded, plan, cluster, writer, progress=tell, warm=name == "steady"),
        watch,
        exporters if name in _READ else (),
        [(step.begin_ns, step.end_ns) for step in _READ.get(name, ())],
    )
    if run.about["incomplete"]:
        raise SaysNothingError(f"the calibration ({name}) came to nothing: {'; '.join(run.about['incomplete'])}")
    return run, readings


def names_on(ground: Ground) -> list[str]:
    """Return which of the calibration's runs there are on some ground."""
    left_out = {
        "one leader": ground.nodes == 1,  # of whom all other runs tell
        "rising": not ground.may_saturate,
        "failing": not ground.may_crash,
    }
    return [name for name in SEEDS if not left_out.get(name, False)]


def fit_fully(runs: Mapping[str, RunData], base: Profile, read: "Mapping[str, Readings] | None" = None) -> Profile:
    """Return the profile that the calibration's runs show; its `measured_on` tells its errors on the run that was held back.

    Without a rising or a failing run it does not tell where saturation begins, and keeps what the base knows of failovers.
    """
    steady, rising = runs["steady"], runs.get("rising")
    profile, about = fit_steady(steady, rising, base, runs["calm"])
    profile = profile.model_copy(
        update={"not_measured": taken_over(base, crashes=None if "failing" in runs else _NO_CRASHES)}
    )
    if rising is None:
        about["saturation"] = _NO_SATURATION
    if read:
        profile = _by_brokers(profile, about, steady, read)
    if "one leader" in runs:
        profile = with_one_leader(runs["one leader"], profile)
    if "failing" in runs:
        profile = profile.model_copy(update=failover(runs["failing"], base))
    about |= {
        **circumstances(steady, [(each.begin_ns, each.end_ns) for each in _STEADY_STEPS]),
        "rates": ", ".join(map(str, (*CALM_HZ[:1], *STEADY_HZ, *(RISING_HZ if rising is not None else ()))))
        + " events/s",
    }
    about |= held_back(runs["held back"], profile)
    profile = as_sure_as(drift_of(runs["held back"], profile), profile)
    judged = (name for name in ("steady", "failing", "held back") if name in runs)
    if doubts := [reason for name in judged for reason in doubts_of(runs[name])]:
        about["doubtful"] = "; ".join(dict.fromkeys(doubts))
    return profile.model_copy(
        update={
            "profile": "calibrated",
            "about": f"Measured on the brokers at hand: {', '.join(_SHOWS[name] for name in runs)}.",
            "measured_on": about,
        }
    )


def _by_brokers(
    profile: Profile, about: Mapping[str, object], steady: RunData, read: "Mapping[str, Readings]"
) -> Profile:
    """Return the profile with the brokers' own times at the middle rate, and their load."""
    steps = [(each.begin_ns, each.end_ns) for each in _STEADY_STEPS]
    profile = by_brokers(
        profile,
        steady,
        read["steady"],
        steps[len(steps) // 2],
        steps,
        part=lambda run: of_topic(run, _topic_of(run, "source")),
    )
    if "rising" in read:
        last = _RISING_STEPS[-1]
        said = at_the_limit(profile.brokers_said, about, read["rising"], (last.begin_ns, last.end_ns))
        profile = profile.model_copy(update={"brokers_said": said})
    return profile


# ---- service times -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Step:
    """A stretch of a run with one rate."""

    begin_ns: int
    end_ns: int


def _steps(warm_up_s: int, length_s: int, count: int) -> list[_Step]:
    begins = [warm_up_s + number * length_s for number in range(count)]
    return [_Step((begin + _SETTLE_S) * SECOND, (begin + length_s) * SECOND) for begin in begins]


_STEADY_STEPS = _steps(STEADY_WARM_UP_S, STEADY_STEP_S, len(STEADY_HZ))
_RISING_STEPS = _steps(0, RISING_STEP_S, len(RISING_HZ))
_READ = {"steady": _STEADY_STEPS, "rising": _RISING_STEPS}
"""In which runs, and where, exporters are read."""


def fit_steady(
    steady: RunData, rising: RunData | None, base: Profile, calm: RunData | None = None
) -> tuple[Profile, dict[str, str | int | float]]:
    """Return service times with their dependence on size, load and rests, and where the brokers were saturated; rests are the base's without a calm run.

    The times are those of the middle rate, to which the load is relative; where what load adds is waiting for cores, of the lowest one, too, whose
    answers have a shorter tail. Answers at the highest rate are others in shape, and pooled with those of a calm one they fit neither.
    """
    own, step = of_topic(steady, _topic_of(steady, "source")), _STEADY_STEPS[len(_STEADY_STEPS) // 2]
    borne = borne_steps(own)
    stretches = [(each.begin_ns, each.end_ns) for each in borne]
    parts = residuals(own, step.begin_ns, step.end_ns)
    beyond = [] if rising is None else list(_medians(rising, rising, _RISING_STEPS))
    slope, base_hz, about = load_of(list(_medians(steady, own, _STEADY_STEPS)), beyond)
    per_kib = size_cost(own, _STEADY_STEPS[:2])
    safe = residuals(of_topic(steady, _topic_of(steady, "leader")), step.begin_ns, step.end_ns)
    profile = fit_parts(parts, base, _scale_sd(own), fast=safe.answer)
    profile = profile.model_copy(update={"acknowledge": heard(parts.delivery, profile.acknowledge)})
    acknowledge_ns = round(profile.acknowledge.median_us * 1e3)
    took, kib = _requests(own, step.begin_ns, step.end_ns)
    without = np.maximum(took - acknowledge_ns - np.rint(1e3 * per_kib * kib).astype(np.int64), 50_000)
    profile = profile.model_copy(
        update={"produce": measured(without, scale_sd=profile.produce.scale_sd), "produce_us_per_kib": per_kib}
    )
    if too_few_commits(safe) is None:
        profile = profile.model_copy(update={"commit": measured(safe.commit)})
    leader_ns = np.maximum(safe.answer - acknowledge_ns, 20_000)
    ceiling = np.asarray(profile.produce.quantiles_us)
    below = np.minimum(np.asarray(measured(leader_ns).quantiles_us), ceiling)
    profile = profile.model_copy(
        update={"produce_leader": Measured(quantiles_us=tuple(below.tolist()), samples=len(leader_ns))}
    )
    rested = profile.model_copy(
        update={
            "load_slope": 0.0,  # at this step's rate nothing is slower than at this step's rate
            "load_base_hz": base_hz,
            "cores": cores_of(steady, stretches, profile, os.cpu_count() or 1, WARM_CPU_SD),
        }
    )
    again = partial(_at_rest, steady)
    if not rested.cores.count:
        fitted = again(rested) if calm is None else with_calm(calm, again(rested), again)
        return fitted.model_copy(update={"load_slope": slope}), about
    fitted = again(with_cores_taken(steady, own, again(rested), borne[-1]))
    if calm is not None:
        fitted = with_calm(calm, fitted, again)
    part = partial(of_topic, topic=_topic_of(steady, "source"))
    return with_load_left(steady, fitted, stretches, part=part), about


def _at_rest(steady: RunData, profile: Profile) -> Profile:
    """Return the profile that shows at the calm rates what was seen there."""
    part = partial(of_topic, topic=_topic_of(steady, "source"))
    fitted = corrected(steady, profile, stretches=_calm_stretches(profile), part=part)
    if not profile.sleep_step_us:
        return fitted
    leaders = partial(of_topic, topic=_topic_of(steady, "leader"))
    return answered_by_leaders(steady, fitted, stretches=_calm_stretches(profile), part=leaders)


def _calm_stretches(profile: Profile) -> list[Stretch]:
    """Return where times by themselves show: at the lower two rates where what load adds is waiting for cores, else at the middle one, the load's base."""
    calm = _STEADY_STEPS[:2] if profile.cores.count else _STEADY_STEPS[1:2]
    return [(each.begin_ns, each.end_ns) for each in calm]


def borne_steps(own: RunData) -> list[_Step]:
    """Return the steady steps that the brokers bore, of which there are two at least: what was saturated tells of the backlog, not of the brokers."""
    calm, *busier = _STEADY_STEPS[1:]
    lowest_ns, *_ = (took for _, took in _medians(own, own, _STEADY_STEPS))
    borne = (step for step in busier for _, took in _medians(own, own, [step]) if took <= _SATURATED * lowest_ns)
    return [_STEADY_STEPS[0], calm, *borne]


def with_cores_taken(steady: RunData, own: RunData, profile: Profile, step: _Step) -> Profile:
    """Return the profile with as much of the cores taken by others as lets answers in a step, the busiest that was borne, wait as they did.

    What processes of the run take was measured; what else keeps a core, the kernel and neighbours, shows only in how long the run's wait.
    """
    cores = profile.cores
    seen_ns = np.quantile(np.maximum(answers(own, step.begin_ns, step.end_ns), 1), _WAITS_AT)
    found = list[tuple[float, float]]()
    for taken in np.linspace(0.0, _MOST_TAKEN * cores.count, _TRIES):
        tried = profile.model_copy(update={"cores": cores.model_copy(update={"taken": round(float(taken), 3)})})
        again = [simulate(steady.plan, tried, chance=chance) for chance in range(SIMULATIONS)]
        shown = [answers(of_topic(one, _topic_of(steady, "source")), step.begin_ns, step.end_ns) for one in again]
        shown_ns = np.quantile(np.maximum(np.concatenate(shown), 1), _WAITS_AT)
        found.append((float(np.square(np.log(shown_ns / seen_ns)).sum()), tried.cores.taken))
    return profile.model_copy(update={"cores": cores.model_copy(update={"taken": min(found)[1]})})


def _topic_of(run: RunData, producer: str) -> str:
    return run.plan.scenario.producers[producer].topic


def _medians(run: RunData, part: RunData, steps: Sequence[_Step]) -> Iterator[tuple[float, float]]:
    """Yield of each step the requests/s of the whole run, which are the brokers' load, and the median of the part's answers in ns."""
    for step in steps:
        took, asked = answers(part, step.begin_ns, step.end_ns), answers(run, step.begin_ns, step.end_ns)
        if len(took):
            yield len(asked) / ((step.end_ns - step.begin_ns) / SECOND), float(np.median(took))


def load_of(
    steps: Sequence[tuple[float, float]], rising: Sequence[tuple[float, float]] = ()
) -> tuple[float, float, dict[str, str | int | float]]:
    """Return how much answers slow per further 100 requests/s, relative to the middle one of the steps, that one's rate, and where saturation began."""
    calm_ns = min(steps)[1]
    slope, mean_hz = relative_slope([(rate, took) for rate, took in steps if took <= _SATURATED * calm_ns])
    base_hz = sorted(steps)[len(steps) // 2][0]
    beyond = sorted(rate for rate, took in (*steps, *rising) if took > _SATURATED * calm_ns)
    return (
        round(slope / (1 + slope * (base_hz - mean_hz) / 100), 4),
        round(base_hz, 1),
        {"saturated_requests_hz": round(beyond[0], 1)} if beyond else {},
    )


def size_cost(run: RunData, steps: Sequence[_Step]) -> float:
    """Return what a request takes longer for each KiB, in us, from steps so calm that hardly any waits for another; 0 if that is not sure.

    Least squares with a level for each step, over all but each step's slowest twentieth. Requests of one record each do not
    tell what a record costs; that is left to the base.
    """
    apart_kib, apart_us = [], []
    for step in steps:
        took, kib = _requests(run, step.begin_ns, step.end_ns)
        usual = took <= np.quantile(took, 0.95)
        apart_kib.append(kib[usual] - kib[usual].mean())
        apart_us.append((took[usual] - took[usual].mean()) / 1e3)
    x, y = np.concatenate(apart_kib), np.concatenate(apart_us)
    slope = float((x * y).sum() / (x**2).sum())
    error = float(np.sqrt(((y - slope * x) ** 2).sum() / (len(x) - len(steps) - 1) / (x**2).sum()))
    return round(slope, 3) if slope > 2 * error else 0.0


def _requests(run: RunData, begin_ns: int, end_ns: int = NEVER) -> tuple[Ints, NDArray[np.float64]]:
    """Return what each request took, and its KiB."""
    rows = run.operations
    inside = (rows["started_ns"] >= begin_ns) & (rows["started_ns"] < end_ns)
    sends = rows[inside & (rows["kind"] == Kind.send) & (rows["outcome"] == Outcome.ok)]
    found = batches(run, sends)
    sizes = run.plan.size_bytes[sends["event_id"]].astype(np.float64)
    return found.answer_ns, np.add.reduceat(sizes[found.order], found.begins) / 1024


def _scale_sd(run: RunData) -> float:
    """Return the relative spread of medians of 2 s within each of the lower two steps: how far the system drifts from itself, waiting for cores apart."""
    steps = _STEADY_STEPS[:2]
    apart: list[float] = []
    for step in steps:
        edges = range(step.begin_ns, step.end_ns - 2 * SECOND + 1, 2 * SECOND)
        medians = [float(np.median(took)) for at in edges if len(took := answers(run, at, at + 2 * SECOND))]
        if medians:
            apart += (np.log(medians) - np.mean(np.log(medians))).tolist()
    freedom = max(1, len(apart) - len(steps))
    return round(max(LEAST_SCALE_SD, float(np.sqrt(np.sum(np.square(apart)) / freedom))), 4)


# ---- the check -----------------------------------------------------------------------------------------------------


def held_back(run: RunData, profile: Profile) -> dict[str, str | int | float]:
    """Return the relative errors of the profile's prediction of a run that it was not fitted to."""
    shown = [measure(simulate(run.plan, profile, chance=chance)) for chance in range(5)]
    seen = measure(run)
    errors: dict[str, str | int | float] = {}
    for name in HELD_BACK:
        values = [one[name].value for one in shown]
        observed = seen[name].value
        if observed and None not in values:
            predicted = float(np.median([value for value in values if value is not None]))
            errors[f"held_back_error_{name.rpartition('.')[2]}"] = round(predicted / observed - 1, 4)
    return errors


def drift_of(run: RunData, profile: Profile) -> float:
    """Return by how much the median latency of a run that was held back lies off its prediction, in median answers: so far brokers had moved by then.

    Of the latency everything but the brokers' times is planned or measured to a few per cent; answers alone would blame the brokers for what
    the fit puts at the wrong side of the acknowledgement.
    """
    seen, shown = (measure(each)["latency.p50"].value for each in (run, simulate(run.plan, profile)))
    if seen is None or shown is None:
        return 0.0
    return abs(seen - shown) * SECOND / float(np.median(answers(run, run.plan.scenario.warm_up)))


def as_sure_as(drift: float, profile: Profile) -> Profile:
    """Return a profile whose service times are no surer than their drift from the first run of a calibration to its last."""
    scale_sd = round(max(profile.produce.scale_sd, drift), 4)
    sure, own = _as_sure(profile, scale_sd), profile.one_leader
    if own is not None:
        sure["one_leader"] = own.model_copy(update=_as_sure(own, scale_sd))
    return profile.model_copy(update=sure)


def _as_sure(times: Profile | OneLeader, scale_sd: float) -> dict[str, object]:
    return {
        name: part.model_copy(update={"scale_sd": scale_sd})
        for name, part in (("produce", times.produce), ("fetch", times.fetch))
    }
