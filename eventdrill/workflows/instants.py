"""Instants of a live run that the scenario's settings do not allow: the system runs with others, so that the model was asked about another system."""

from collections.abc import Iterator

from rundata.tables import FaultRecord, RunData
from scenarios.clients import broker_setting, consumer_settings
from scenarios.faults import BrokerCrash, BrokerPause, BrokerStop, Cut, MemberCrash, RollingRestart
from scenarios.quantities import MILLISECOND, SECOND, format_duration
from sim.observed import Observed

_SLACK_NS = SECOND
"""Timers fire late on a busy host, heartbeats are late there, and logs are written when they can be."""
_SCANS = 8
"""The controller looks for silent brokers every session / 8."""


def impossible(run: RunData) -> tuple[str, ...]:
    """Return in words which of a live run's random instants cannot have come from the scenario's settings."""
    seen = Observed.from_run(run)
    return (*_fences(run, seen), *_sessions(run, seen))


def _fences(run: RunData, seen: Observed) -> Iterator[str]:
    """Yield brokers that were fenced too early or too late, where the controller itself was left alone."""
    scenario = run.plan.scenario
    if scenario.brokers.controllers == "combined" or _concerns_the_controller(run):
        return
    session_ns, heartbeat_ns = (
        int(broker_setting(scenario, f"broker.{name}.ms")) * MILLISECOND
        for name in ("session.timeout", "heartbeat.interval")
    )
    for index, at_ns in seen.fence_ns.items():
        planned = run.plan.faults[index]
        if isinstance(planned.fault, BrokerCrash):
            yield from _told(
                f"The controller fenced {_record(run, index).target}",
                at_ns - _record(run, index).began_ns,
                (session_ns - heartbeat_ns, session_ns + session_ns // _SCANS),
                f"broker.session.timeout.ms ({format_duration(session_ns)}) and the heartbeats",
            )


def _concerns_the_controller(run: RunData) -> bool:
    """Whether a fault stops or cuts off the controller, whose successor begins all sessions anew."""
    for fault in [planned.fault for planned in run.plan.faults]:
        match fault:
            case BrokerCrash() | BrokerStop() | BrokerPause() if fault.target.role == "controller":
                return True
            case Cut() if "controller" in {end.role for end in fault.between}:
                return True
            case _:
                pass
    return False


def _sessions(run: RunData, seen: Observed) -> Iterator[str]:
    """Yield members whose sessions ended too early or too late, where no broker fault had a coordinator begin them anew."""
    if any(
        isinstance(each.fault, BrokerCrash | BrokerStop | BrokerPause | RollingRestart | Cut)
        for each in run.plan.faults
    ):
        return
    for (index, name), at_ns in seen.session_expired_ns.items():
        fault = run.plan.faults[index].fault
        if not isinstance(fault, MemberCrash):
            continue
        settings = consumer_settings(run.plan.scenario, fault.member.group)
        setting = "group.consumer.session.timeout.ms" if settings.protocol == "consumer" else "session.timeout.ms"
        yield from _told(
            f"The coordinator gave {name} up",
            at_ns - _record(run, index).began_ns,
            (settings.session_timeout_ns - settings.heartbeat_ns, settings.session_timeout_ns),
            f"{setting} ({format_duration(settings.session_timeout_ns)}) and the heartbeats",
        )


def _record(run: RunData, index: int) -> FaultRecord:
    planned = run.plan.faults[index]
    return next(each for each in run.faults if (each.label, each.planned_begin_ns) == (planned.label, planned.begin_ns))


def _told(what: str, took_ns: int, allowed_ns: tuple[int, int], rule: str) -> Iterator[str]:
    low_ns, high_ns = allowed_ns
    if not low_ns - _SLACK_NS <= took_ns <= high_ns + _SLACK_NS:
        took, low, high = (format_duration(round(ns, -8)) for ns in (took_ns, low_ns, high_ns))
        yield (
            f"{what} {took} after it died, and by {rule} that takes {low} to {high}: the system does not run with the scenario's settings, "
            "or a timer of it stood still. The model was asked about another system; look at its settings first."
        )
