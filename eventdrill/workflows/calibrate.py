"""Measures a broker with the live driver and fits the profile that the simulator takes: distributions, load, uncertainty."""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eventdrill.errors import SaysNothingError
from eventdrill.workflows.calibrate_there import HERE, Ground, taken_over
from eventdrill.workflows.doubts import doubts_of
from eventdrill.workflows.pace import Stretch, cores_of, line_of
from loadgen import gauges
from rundata.rows import NEVER, Kind, Outcome
from rundata.tables import RunData
from scenarios.clients import producer_settings
from scenarios.files import LoadedScenario, load_text
from scenarios.plan import Plan, make_plan
from scenarios.profiles import KNOTS, Measured, Profile, load_profile, measured
from scenarios.quantities import MILLISECOND, SECOND

if TYPE_CHECKING:
    from loadgen.clusters.model import Cluster
    from loadgen.exporters import Exporter
    from loadgen.recorder import Progress

Ints = NDArray[np.int64]

CALIBRATION_SEED = 20_011
"""Apart from any scenario's default, so that a calibration never sees the plan that it will be judged on."""
_WARM_UP_S, _STEP_S = 8, 8
_RATES_HZ = (240, 480)
LEAST_SCALE_SD = 0.25
"""Minutes after a calibration, thirteen medians before any fault lay 1 to 16 % off their predictions (sd 6.7 %), of which a quarter scales: so sure is none."""
_MOST_SLOPE = 0.5
"""Per 100 requests/s; what two steps of seconds show beyond it is a disturbance."""
LEAST_US = 20.0
"""No part is fitted to take less."""
_ENOUGH_COMMITS = 20
_ENOUGH_ANSWERS = 200
_AHEAD_QUANTILE = 0.05
_TOLD = np.maximum(KNOTS, 0.05)
"""Which quantiles tell two samples of some hundred apart: the quickest of all is another one each time, by half, and goes with the first that does."""
SIMULATIONS = 3
"""So many of each calibration's run tell what the simulator makes of a profile, so that their chance is less than that of the run itself."""
_RARE_STALLS = 0.01
"""Of the answers: what these were late by is no way back."""


def _text(ground: Ground) -> str:
    """Return the calibration's scenario on some ground."""
    topic = ground.name("calibration")
    return f"""\
scenario: calibration
about: Two rates on a topic of its own, with handlers that do next to nothing, so that what is left is the system's own time.
duration: {_WARM_UP_S + 2 * _STEP_S}s
warm_up: {_WARM_UP_S}s
drain: 5s
{ground.head}
topics:
  {topic}: {ground.topic(5)}
producers:
  source:
    topic: {topic}
    count: 3
    settings: {{acks: all, enable.idempotence: true, linger.ms: 5}}
    arrivals:
      - {{for: {_WARM_UP_S}s, rate: {_RATES_HZ[1]}/s}}
      - {{for: {_STEP_S}s, rate: {_RATES_HZ[0]}/s}}
      - {{for: {_STEP_S}s, rate: {_RATES_HZ[1]}/s}}
    key: {{uniform: 5000}}
    size: 300B
groups:
  {ground.name("first")}:
    topics: [{topic}]
    members: 3
    work: 1ms
    commit: {{every: 1s}}
  {ground.name("second")}:
    topics: [{topic}]
    members: 2
    work: 500us
    commit: {{every: 1s}}
"""


def calibration_scenario(ground: Ground = HERE) -> LoadedScenario:
    """Return the scenario by which a broker is measured."""
    return load_text(_text(ground), "the calibration scenario")


def calibrate(
    cluster: "Cluster",
    folder: Path,
    *,
    base: Profile,
    progress: Callable[[str], None],
    watch: "Callable[[Progress], None]" = lambda _state: None,
    ground: Ground = HERE,
    exporters: "Sequence[Exporter]" = (),
) -> Profile:
    """Drive the calibration scenario on a cluster, fit a profile to it and return it.

    What a short run without faults cannot show (election, discovery, restart) is taken from `base`; with exporters the brokers' own times
    take the place of what clients conclude.
    """
    from eventdrill.workflows.calibrate_brokers import by_brokers, driven
    from eventdrill.workflows.calibrate_client import with_sleeps
    from loadgen.engine import drive
    from rundata.dataset import RunWriter

    loaded = calibration_scenario(ground)
    base = with_sleeps(base)
    plan = make_plan(loaded.scenario, CALIBRATION_SEED)
    progress(
        f"measuring the brokers: {loaded.scenario.duration // SECOND} s at {_RATES_HZ[0]} and {_RATES_HZ[1]} events/s on a topic of its own"
    )
    writer = RunWriter(folder, plan, text=loaded.text)
    stretches = _stretches(plan)
    # Its own first seconds are the warm-up, so that brokers and clients get one at the rates that count.
    run, readings = driven(
        lambda tell: drive(loaded, plan, cluster, writer, progress=tell, warm=False), watch, exporters, stretches
    )
    if run.about["incomplete"]:
        raise SaysNothingError("the calibration came to nothing: " + "; ".join(run.about["incomplete"]))
    progress("fitting a profile to what was measured")
    profile = with_load_left(run, corrected(run, fit(run, base)), stretches)
    if exporters:
        profile = by_brokers(profile, run, readings, (stretches[0][0], stretches[-1][1]), stretches)
    return placed(profile, cluster)


@dataclass(frozen=True)
class Residuals:
    """What the parts took in a run, in ns: each array is a sample of one part."""

    send: Ints
    answer: Ints
    """Batch ready (first event plus linger) to the acknowledgement."""
    answer_at: Ints
    delivery: Ints
    """Acknowledgement to delivery, of events that found an idle member."""
    overshoot: Ints
    commit: Ints


def residuals(run: RunData, begin_ns: int = 0, end_ns: int = NEVER) -> Residuals:
    """Take a run's operations apart into the times of the parts; only what began from `begin_ns` on and ended by `end_ns` counts.

    Emitted events are left out, and so are the user's own programs.
    """
    rows = run.operations
    rows = rows[(rows["started_ns"] >= begin_ns) & (rows["ended_ns"] <= end_ns) & (rows["event_id"] < len(run.plan))]
    rows = rows[~np.isin(rows["process"], _own_programs(run))]
    sends = rows[(rows["kind"] == Kind.send) & (rows["outcome"] == Outcome.ok)]
    found = batches(run, sends)
    return Residuals(
        send=np.maximum(sends["started_ns"] - sends["intended_ns"], 0),
        answer=found.answer_ns,
        answer_at=found.at_ns,
        delivery=_idle_deliveries(rows, sends),
        overshoot=_overshoot(run, rows),
        commit=_durations(rows[rows["kind"] == Kind.commit]),
    )


def _own_programs(run: RunData) -> list[int]:
    """Return the codes of processes that are the user's own programs: when they were answered, or handed something, only they know."""
    scenario = run.plan.scenario
    own = {name for name, producer in scenario.producers.items() if producer.external}
    own |= {name for name, group in scenario.groups.items() if group.external}
    return [code for code, process in enumerate(run.names.processes) if process.rpartition("/")[0] in own]


def _linger_ns(run: RunData) -> int:
    """Return how long the first producer's client waits for more, own programs apart."""
    scenario = run.plan.scenario
    name = next((name for name, each in scenario.producers.items() if not each.external), run.plan.producers[0])
    return producer_settings(scenario, name).linger_ns


def answers(run: RunData, begin_ns: int = 0, end_ns: int = NEVER) -> Ints:
    """Return what the requests took whose first events were sent between two instants, in ns."""
    rows = run.operations
    inside = (rows["started_ns"] >= begin_ns) & (rows["started_ns"] < end_ns)
    return batches(run, rows[inside & (rows["kind"] == Kind.send) & (rows["outcome"] == Outcome.ok)]).answer_ns


@dataclass(frozen=True)
class Batches:
    """Sends grouped into the requests that carried them, by the linger rule."""

    order: Ints
    """The sends by process, partition and time."""
    begins: Ints
    """Where in that order each batch begins."""
    counts: Ints
    """How many events each took."""
    at_ns: Ints
    """When its first event was handed over."""
    answer_ns: Ints
    """From ready (that, and the linger) to the acknowledgement."""


def batches(run: RunData, sends: NDArray[np.void]) -> Batches:
    """Return the batches of some sends."""
    linger_ns = _linger_ns(run)
    order = np.lexsort((sends["started_ns"], sends["partition"], sends["process"]))
    started, ended, process, partition = (
        sends[name][order] for name in ("started_ns", "ended_ns", "process", "partition")
    )
    begins: list[int] = []
    closes, owner = 0, (-1, -1)
    for row in range(len(order)):
        # What is answered before it could have lingered went with a batch that left late.
        is_first = started[row] > closes and ended[row] - started[row] >= linger_ns
        if (process[row], partition[row]) != owner or is_first:
            owner, closes = (process[row], partition[row]), int(started[row]) + linger_ns
            begins.append(row)
    starts = np.asarray(begins, np.int64)
    first = sends[order[starts]]
    answer_ns = first["ended_ns"] - first["started_ns"] - linger_ns
    return Batches(order, starts, np.diff(np.append(starts, len(order))), first["started_ns"], answer_ns)


def _idle_deliveries(rows: NDArray[np.void], sends: NDArray[np.void]) -> Ints:
    """Return delivery minus acknowledgement where the member had nothing else to do when the record came."""
    acknowledged = dict(zip(sends["event_id"].tolist(), sends["ended_ns"].tolist(), strict=True))
    samples: list[int] = []
    for process in np.unique(rows["process"][rows["kind"] == Kind.delivery]):
        own = rows[rows["process"] == process]
        busy_with = own[(own["kind"] == Kind.try_) | (own["kind"] == Kind.commit)]
        deliveries = own[own["kind"] == Kind.delivery]
        ends = np.sort(busy_with["ended_ns"][busy_with["ended_ns"] != NEVER])
        before = np.searchsorted(ends, deliveries["started_ns"], side="right") - 1
        busy_until = np.where(before >= 0, ends[np.maximum(before, 0)], 0)
        for event, at, busy in zip(
            deliveries["event_id"].tolist(), deliveries["started_ns"].tolist(), busy_until.tolist(), strict=True
        ):
            ack = acknowledged.get(event)
            if ack is not None and busy < min(ack, at) - MILLISECOND:
                samples.append(at - ack)
    return np.asarray(samples, np.int64)


def _overshoot(run: RunData, rows: NDArray[np.void]) -> Ints:
    """Return how late a handler's first try of a poll ended against its planned work."""
    tries = rows[(rows["kind"] == Kind.try_) & (rows["outcome"] == Outcome.ok) & (rows["attempt"] == 1)]
    _, first = np.unique(np.stack([tries["process"], tries["poll_id"]], axis=1), axis=0, return_index=True)
    alone = tries[first]
    work = np.zeros(len(alone), np.int64)
    for code, group in enumerate(run.names.groups):
        own = alone["group"] == code
        work[own] = run.plan.work_ns[group][alone["event_id"][own]]
    return np.asarray(np.maximum(alone["ended_ns"] - alone["started_ns"] - work, 0), np.int64)


def too_few_commits(parts: Residuals) -> str | None:
    """Return why the base's time of a commit is kept, None where enough were seen."""
    return f"there were {len(parts.commit)} of them" if len(parts.commit) < _ENOUGH_COMMITS else None


def of_topic(run: RunData, topic: str) -> RunData:
    """Return the run with the operations of one topic."""
    rows = run.operations
    return replace(run, operations=rows[rows["topic"] == run.names.topics.index(topic)])


def _durations(rows: NDArray[np.void]) -> Ints:
    done = rows[rows["ended_ns"] != NEVER]
    return np.asarray(done["ended_ns"] - done["started_ns"], np.int64)


# ---- the fit -------------------------------------------------------------------------------------------------------


def fit(run: RunData, base: Profile) -> Profile:
    """Return a profile from a calibration run: samples as they are, to be corrected for queueing by `corrected`."""
    parts = residuals(run, run.plan.scenario.warm_up)
    slope, base_hz = _load(parts, run)
    fitted = fit_parts(parts, base, _scale_sd(parts, run))
    cores = cores_of(run, _stretches(run.plan), fitted, os.cpu_count() or 1)
    return fitted.model_copy(
        update={
            "profile": "calibrated",
            "about": "Measured on the brokers at hand, seconds before they were used.",
            "measured_on": circumstances(run, _stretches(run.plan)),
            "not_measured": taken_over(
                base,
                crashes="a quick calibration has none",
                sizes="a quick calibration has one size",
                calm="a quick calibration has no low rates",
                commits=too_few_commits(parts),
            ),
            "load_slope": 0.0 if cores.count else slope,
            "load_base_hz": base_hz,
            "cores": cores,
        }
    )


def fit_as_seen(run: RunData, base: Profile) -> Profile | None:
    """Return the times that a scenario's own run showed before its first fault, warm-up apart; None where that is too little."""
    begin_ns, end_ns = run.plan.scenario.warm_up, min((fault.begin_ns for fault in run.plan.faults), default=NEVER)
    parts = residuals(run, begin_ns, end_ns)
    if min(len(parts.answer), len(parts.delivery)) < _ENOUGH_ANSWERS:
        return None
    profile = fit_parts(parts, base, base.produce.scale_sd).model_copy(update={"profile": "as seen", "load_slope": 0.0})
    return corrected(run, profile, stretches=[(begin_ns, end_ns)])


def fit_parts(parts: Residuals, base: Profile, scale_sd: float, fast: Ints | None = None) -> Profile:
    """Return a profile with the times of these parts; what they do not show is the base's.

    `fast` are answers of requests that wait for nobody but the leader, if there were such: no way back is longer than half of what these take.
    """
    acknowledge = _acknowledge_ns(parts, base)
    if fast is not None and len(fast):
        acknowledge = min(acknowledge, int(np.median(fast) / 2))
    produce = measured(np.maximum(parts.answer - acknowledge, 50_000), scale_sd=scale_sd)
    leader_share = base.produce_leader.median_us / base.produce.median_us if base.produce.median_us else 0.0
    return base.model_copy(
        update={
            "send": measured(parts.send),
            "produce": produce,
            "one_leader": None,
            "produce_leader": rising(produce, np.asarray(produce.quantiles_us) * leader_share),
            "acknowledge": constant(acknowledge),
            "fetch": measured(np.maximum(parts.delivery + acknowledge, 0), scale_sd=produce.scale_sd),
            "wake": constant(0),
            "overshoot": measured(parts.overshoot),
            "commit": measured(parts.commit) if len(parts.commit) >= _ENOUGH_COMMITS else base.commit,
        }
    )


def _acknowledge_ns(parts: Residuals, base: Profile) -> int:
    """Return how long an answer takes back to the producer, which is a convention.

    No client sees the high watermark move, only that a member may have a record before its producer has the
    acknowledgement. So it takes as long as members are ahead, rare stalls of a producer apart.
    """
    ahead = -float(np.quantile(parts.delivery, _AHEAD_QUANTILE))
    return int(min(max(ahead, base.acknowledge.median_us * 1_000), float(np.median(parts.answer)) / 2))


def heard(delivery: Ints, acknowledge: Measured) -> Measured:
    """Return how long answers take back where members are further ahead of some than `acknowledge` is: their producers hear late of these.

    A producer's thread may have no core when an answer comes. The member that gets the record meanwhile does not wait for that, so it is in
    no event's latency. Such an answer took as long as its member was ahead, and as a fetch takes in the median.
    """
    usual_us = acknowledge.median_us
    ahead_us = -np.quantile(delivery, np.maximum(1 - np.asarray(KNOTS), _RARE_STALLS)) / 1e3
    fetch_us = max(0.0, usual_us + float(np.median(delivery)) / 1e3)
    late_us = np.where(ahead_us > usual_us, ahead_us + fetch_us, usual_us)
    return rising(acknowledge, late_us).model_copy(update={"samples": len(delivery)})


def constant(ns: int) -> Measured:
    """Return a time that is always the same."""
    return Measured(quantiles_us=(round(ns / 1_000, 2),) * len(KNOTS), samples=1)


def _load(parts: Residuals, run: RunData) -> tuple[float, float]:
    """Return how much the answers slow per further 100 requests/s, and the request rate at which they were measured."""
    steps = [parts.answer[chosen] for chosen in _steps(parts, run)]
    rates_hz = [len(step) / _STEP_S for step in steps]
    return relative_slope([(rate_hz, float(np.median(step))) for rate_hz, step in zip(rates_hz, steps, strict=True)])


def relative_slope(steps: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return how much times grow per further 100 requests/s, over their mean, and the mean rate: a straight line through the steps."""
    rates_hz, took = np.asarray(steps, np.float64).T
    apart = rates_hz - rates_hz.mean()
    slope = float((apart * (took - took.mean())).sum() / (apart**2).sum()) if apart.any() else 0.0
    return float(np.clip(round(slope / took.mean() * 100, 4), 0.0, _MOST_SLOPE)), round(float(rates_hz.mean()), 1)


def with_load_left(
    run: RunData,
    profile: Profile,
    stretches: Sequence[Stretch],
    part: Callable[[RunData], RunData] = lambda run: run,
) -> Profile:
    """Return a profile with shared cores whose answers also slow with load as much as the run's do beyond what waiting for cores explains.

    It holds for the rate at which the profile was fitted; without shared cores it stays as it is.
    """
    from sim.engine import simulate

    if not profile.cores.count:
        return profile
    shown, steps = simulate(run.plan, profile.model_copy(update={"load_slope": 0.0})), []
    for begin_ns, end_ns in stretches:
        seen_ns, shown_ns = (answers(part(each), begin_ns, end_ns) for each in (run, shown))
        if len(seen_ns) and len(shown_ns):
            rate_hz = len(answers(run, begin_ns, end_ns)) / ((end_ns - begin_ns) / SECOND)
            steps.append((rate_hz, float(np.median(seen_ns) / np.median(shown_ns))))
    slope, mean_hz = relative_slope(steps)
    at_base = 1 + slope * (profile.load_base_hz - mean_hz) / 100
    return profile.model_copy(update={"load_slope": round(slope / at_base, 4) if at_base > 0 else slope})


def _steps(parts: Residuals, run: RunData) -> list[NDArray[np.bool_]]:
    """Return which answers belong to the lower and which to the higher rate."""
    middle_ns = run.plan.scenario.warm_up + _STEP_S * SECOND
    return [parts.answer_at < middle_ns, parts.answer_at >= middle_ns]


def _stretches(plan: Plan) -> list[Stretch]:
    """Return begin and end of the lower and of the higher rate."""
    begins_ns = [plan.scenario.warm_up + number * _STEP_S * SECOND for number in range(len(_RATES_HZ))]
    return [(begin_ns, begin_ns + _STEP_S * SECOND) for begin_ns in begins_ns]


def _scale_sd(parts: Residuals, run: RunData) -> float:
    """Return the relative spread of the medians of windows within a step: how far the system drifts from itself."""
    apart: list[float] = []
    for chosen in _steps(parts, run):
        window = parts.answer_at[chosen] // (2 * SECOND)
        medians = [float(np.median(parts.answer[chosen][window == w])) for w in np.unique(window)]
        apart += (np.log(medians) - np.mean(np.log(medians))).tolist()
    freedom = max(1, len(apart) - 2)
    return round(max(LEAST_SCALE_SD, float(np.sqrt(np.sum(np.square(apart)) / freedom))), 4)


def circumstances(run: RunData, stretches: Sequence[Stretch]) -> dict[str, str | int | float]:
    """Return when, where and on what a calibration was made, and what its brokers took in stretches of different rates."""
    brokers = run.about.get("brokers", {})
    doubts = doubts_of(run)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "host": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "brokers": " ".join(str(brokers.get(key, "")) for key in ("implementation", "version")),
        "rates": f"{_RATES_HZ[0]} and {_RATES_HZ[1]} events/s",
        **_pace(run),
        **line_of(run, stretches),
        **({"doubtful": "; ".join(doubts)} if doubts else {}),
    }


def _pace(run: RunData) -> dict[str, float]:
    pace_s = gauges.values(run.gauges, gauges.HOST_PACE, "host")
    return {gauges.HOST_PACE: float(np.median(pace_s))} if pace_s else {}


def corrected(
    run: RunData,
    profile: Profile,
    *,
    rounds: int = 2,
    stretches: Sequence[Stretch] = (),
    part: Callable[[RunData], RunData] = lambda run: run,
) -> Profile:
    """Return the profile with which the simulated calibration shows the same residuals as the driven one, in `part` of both.

    What begins and ends within one of the stretches counts (all after the warm-up without any), each of them for as much as the others. The samples
    hold queueing that the simulator adds by itself; each round divides every quantile of a part by what its simulation shows too much.
    """
    from sim.engine import simulate

    stretches = stretches or [(run.plan.scenario.warm_up, NEVER)]
    seen = [residuals(part(run), *each) for each in stretches]
    answer, delivery = [each.answer for each in seen], [each.delivery for each in seen]
    for number in range(rounds):
        chances = range(number * SIMULATIONS, (number + 1) * SIMULATIONS)
        again = [part(simulate(run.plan, profile, chance=chance)) for chance in chances]
        shown = [[residuals(one, *each) for one in again] for each in stretches]
        answered = [np.concatenate([each.answer for each in some]) for some in shown]
        delivered = [np.concatenate([each.delivery for each in some]) for some in shown]
        profile = profile.model_copy(
            update={
                "produce": _rescaled(profile.produce, answer, answered),
                "fetch": shifted(profile.fetch, delivery, delivered),
            }
        )
    return profile


def _rescaled(part: Measured, seen: Sequence[Ints], shown: Sequence[Ints]) -> Measured:
    apart = np.mean([_logs(one) - _logs(other) for one, other in zip(seen, shown, strict=True)], axis=0)
    factors = np.clip(np.exp(apart), 0.3, 3.0)
    return rising(part, np.maximum(np.asarray(part.quantiles_us) * factors, LEAST_US))


def _logs(samples_ns: Ints) -> NDArray[np.float64]:
    logs: NDArray[np.float64] = np.log(np.quantile(np.maximum(samples_ns, 1), _TOLD))
    return logs


def shifted(part: Measured, seen: Sequence[Ints], shown: Sequence[Ints]) -> Measured:
    """Return a part's times less what its simulation shows too much in the mean of some stretches, quantile by quantile."""
    excess_ns = np.mean(
        [np.quantile(other, _TOLD) - np.quantile(one, _TOLD) for one, other in zip(seen, shown, strict=True)], axis=0
    )
    return rising(part, np.maximum(np.asarray(part.quantiles_us) - excess_ns / 1_000, LEAST_US))


def rising(part: Measured, quantiles_us: NDArray[np.float64]) -> Measured:
    """Return a distribution with other quantiles, which it lets rise: where they fall, the least squares that do, each for what it stands for."""
    from scipy.optimize import isotonic_regression

    edges = np.concatenate([[0.0], (np.asarray(KNOTS[1:]) + np.asarray(KNOTS[:-1])) / 2, [1.0]])
    risen = isotonic_regression(quantiles_us, weights=np.diff(edges)).x
    return part.model_copy(update={"quantiles_us": tuple(np.round(risen, 2).tolist())})


def answered_by_leaders(
    run: RunData,
    profile: Profile,
    *,
    stretches: Sequence[Stretch],
    part: Callable[[RunData], RunData] = lambda run: run,
) -> Profile:
    """Return the profile with the leader's part such that answers of leaders alone, of which there are no others in `part` of a run, come as they did.

    That their batches left late is not theirs.
    """
    from sim.engine import simulate

    seen, shown = (
        [residuals(part(each), *stretch).answer for stretch in stretches] for each in (run, simulate(run.plan, profile))
    )
    return profile.model_copy(update={"produce_leader": shifted(profile.produce_leader, seen, shown)})


def placed(profile: Profile, cluster: "Cluster") -> Profile:
    """Return the profile with where its brokers are, and with what they themselves say against it."""
    from eventdrill.workflows.calibrate_brokers import doubts_of_brokers
    from loadgen.admin import security_of
    from loadgen.clusters.foreign import ForeignKafka
    from loadgen.wire import round_trip_us

    about = dict(profile.measured_on)
    if isinstance(cluster, ForeignKafka):
        about["cluster"] = f"{cluster.cluster_id}: {cluster.nodes} brokers that EventDrill did not start"
    if not security_of(cluster) and (took_us := round_trip_us(cluster.bootstrap)) is not None:
        about["round_trip_us"] = took_us
    if doubts := doubts_of_brokers(profile):
        about["doubtful"] = "; ".join([*filter(None, [str(about.get("doubtful", ""))]), *doubts])
    return profile.model_copy(update={"measured_on": about})


def shipped_base() -> Profile:
    """Return the shipped profile whose failover figures a quick calibration keeps."""
    return load_profile("local-kafka")
