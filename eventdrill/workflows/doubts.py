"""Why a difference between a prediction and a run would not be the model's fault: the host was not the one that was measured."""

import numpy as np

from eventdrill.workflows.pace import broker_drift
from eventdrill.workflows.places import FOREIGN, IMPLEMENTATIONS
from loadgen import gauges
from loadgen.java import jvms
from reports.agreement import is_affected, judged_names
from rundata.tables import RunData
from scenarios.profiles import Profile

MOST_DRIFT = 0.07
"""Some two fifths of a latency's median are the host's work (the rest is linger), so that this moves it by half its tolerance of 5 %."""
MOST_BROKER_DRIFT = 0.10
"""Of the brokers' own CPU time: in thirteen runs of `leader-crash` medians moved by half as much, so by their tolerance of 5 %."""


def host_drift(run: RunData, profile: Profile) -> float | None:
    """Return by which share the host was slower in a run than when the profile was measured; None where either is unknown."""
    pace_s, measured_s = gauges.values(run.gauges, gauges.HOST_PACE, "host"), profile.measured_on.get(gauges.HOST_PACE)
    return float(np.median(pace_s)) / float(measured_s) - 1 if pace_s and measured_s else None


def doubts_of(run: RunData) -> tuple[str, ...]:
    """Return what a run says against itself: its driver was the limit, or a neighbour on its host."""
    return tuple(filter(None, [*run.about.get("invalid", ()), gauges.disturbed(run.gauges)]))


def other_brokers(run: RunData, profile: Profile) -> str | None:
    """Return why a run's brokers are not those that the profile describes; None where they may well be."""
    here, measured = run.about.get(FOREIGN), str(profile.measured_on.get("cluster", "")).partition(":")[0]
    if played(run):
        return "the brokers are not those that the profile describes"
    if here is not None and measured != here:
        return f"profile {profile.profile} was not measured on the brokers of cluster {here}: calibrate there"
    if here is None and measured:
        return f"profile {profile.profile} was measured on the brokers of cluster {measured}, and these are others"
    return None


def played(run: RunData) -> bool:
    """Tell whether librdkafka's own cluster played Kafka, which says nothing of a model of Kafka."""
    return bool((run.about.get("brokers") or {}).get("implementation") == IMPLEMENTATIONS["embedded"])


def doubt(run: RunData, profile: Profile) -> str | None:
    """Return what speaks against judging the model by a run, in words: other brokers, a slower host, a busy neighbour, noisy JVMs, a doubtful profile."""
    reasons = [
        other_brokers(run, profile),
        _pace(run, profile),
        _broker_pace(run, profile),
        gauges.disturbed(run.gauges),
        jvms.noise(run.gauges, run.plan.scenario.warm_up, run.end_ns),
    ]
    if doubtful := profile.measured_on.get("doubtful"):
        reasons.append(f"when the profile was measured, {doubtful}")
    return "; ".join(filter(None, reasons)) or None


def doubts(run: RunData, profile: Profile) -> dict[str, str]:
    """Return by judged figure what speaks against judging the model by it; nothing of those by which it can be judged.

    That brokers stood still is such a reason only where no fault lies in what a figure covers: after one they stand still by its doing.
    """
    scenario = run.plan.scenario
    throughout, stood_still, found = doubt(run, profile), _stood_still(run), dict[str, str]()
    for figure in judged_names(scenario):
        reasons = [throughout, None if is_affected(scenario, figure) else stood_still]
        if words := "; ".join(filter(None, reasons)):
            found[figure] = words
    return found


def _stood_still(run: RunData) -> str | None:
    """Return how long brokers or their threads stood still from the warm-up to the first fault, where it shows in the latencies of that time."""
    calm = run.plan.scenario.warm_up, min((each.begin_ns for each in run.plan.faults), default=run.end_ns)
    reasons = [jvms.brokers_stood_still(run.gauges, *calm), gauges.starved(run.gauges, *calm)]
    return "; ".join(filter(None, reasons)) or None


def _pace(run: RunData, profile: Profile) -> str | None:
    drift = host_drift(run, profile)
    if drift is None or abs(drift) <= MOST_DRIFT:
        return None
    changed = "slower" if drift > 0 else "faster"
    return f"the host was {abs(drift):.0%} {changed} than when the profile was measured"


def _broker_pace(run: RunData, profile: Profile) -> str | None:
    drift = broker_drift(run, profile)
    if drift is None or abs(drift) <= MOST_BROKER_DRIFT:
        return None
    changed = "more" if drift > 0 else "less"
    return f"the brokers took {abs(drift):.0%} {changed} CPU time for what they were asked than when the profile was measured"
