"""Faults and actions in words, each in one sentence without its times."""

from typing import assert_never

from reports.words import percent
from scenarios import actions, faults
from scenarios.actions import Action
from scenarios.faults import Fault
from scenarios.quantities import exact_bandwidth, exact_signed_duration, exact_size, format_duration
from scenarios.targets import BrokerTarget, LogPosition, ProducerTarget


def fault_words(fault: Fault) -> str:
    """Return what a fault does, in one sentence without its times."""
    match fault:
        case (
            faults.BrokerCrash()
            | faults.BrokerStop()
            | faults.BrokerPause()
            | faults.RollingRestart()
            | faults.DiskStall()
            | faults.DiskFull()
            | faults.HostCrash()
            | faults.ClockSkew()
        ):
            return _of_brokers(fault)
        case faults.Cut() | faults.SlowLink():
            return _of_links(fault)
        case (
            faults.ProducerCrash()
            | faults.ProducerPause()
            | faults.Surge()
            | faults.Poison()
            | faults.Duplicates()
            | faults.Oversized()
            | faults.Late()
            | faults.SchemaChange()
        ):
            return _of_producers(fault)
        case (
            faults.MemberCrash()
            | faults.MemberPause()
            | faults.MemberLeave()
            | faults.RollingDeploy()
            | faults.PollStall()
            | faults.SlowWork()
            | faults.FailingWork()
        ):
            return _of_groups(fault)
        case (
            faults.LeaderMove()
            | faults.Retention()
            | faults.DeleteRecords()
            | faults.Reassign()
            | faults.AddPartitions()
        ):
            return _of_topics(fault)
        case faults.DependencyDown():
            return f"{fault.dependency} refuses every call"
        case faults.DependencySlow():
            return f"calls of {fault.dependency} take {_longer(fault.factor, fault.plus)}"
        case faults.Throttle():
            return f"each broker holds {fault.producer or fault.group} to {exact_bandwidth(fault.rate)}"
        case faults.Hook():
            return f"`{fault.begin}` is run, then `{fault.end}`"
        case _:
            assert_never(fault)


def _of_brokers(
    fault: faults.BrokerCrash
    | faults.BrokerStop
    | faults.BrokerPause
    | faults.RollingRestart
    | faults.DiskStall
    | faults.DiskFull
    | faults.HostCrash
    | faults.ClockSkew,
) -> str:
    match fault:
        case faults.BrokerCrash():
            return f"{_brokers(fault.target)} is killed, then started again"
        case faults.BrokerStop():
            return f"{_brokers(fault.target)} is shut down in good order, then started again"
        case faults.BrokerPause():
            return f"{_brokers(fault.target)} hangs and answers nothing, then goes on"
        case faults.RollingRestart():
            which = ", ".join(map(str, fault.brokers)) if fault.brokers else "all"
            return f"brokers ({which}) are shut down in good order and started again, one after another"
        case faults.DiskStall():
            return f"the disk of {_brokers(fault.target)} takes no writes"
        case faults.DiskFull():
            return f"{_brokers(fault.target)} has no room left on its disk and fails, then starts with room again"
        case faults.HostCrash():
            return f"the machine of {_brokers(fault.target)} dies with what was not on disk yet, then comes back"
        case faults.ClockSkew():
            whose = fault.producer if fault.broker is None else _brokers(fault.broker)
            return f"the clock of {whose} is wrong by {exact_signed_duration(fault.by)}"


def _of_links(fault: faults.Cut | faults.SlowLink) -> str:
    one, other = fault.between
    which = {"both": f"between {one} and {other}", "to": f"from {one} to {other}", "from": f"from {other} to {one}"}
    channel = "" if fault.channel == "both" else f" ({fault.channel} only)"
    if isinstance(fault, faults.Cut):
        how = "packets vanish" if fault.mode == "silent" else "connections are reset and refused"
        return f"{how} {which[fault.direction]}{channel}"
    slow = f"takes {format_duration(fault.delay)} longer" if fault.delay else ""
    jitter = f", give or take {format_duration(fault.jitter)}" if fault.jitter else ""
    narrow = f"carries at most {exact_bandwidth(fault.bandwidth)}" if fault.bandwidth else ""
    return (
        f"the link {which[fault.direction]}{channel} {' and '.join(part for part in (slow + jitter, narrow) if part)}"
    )


def _of_producers(
    fault: faults.ProducerCrash
    | faults.ProducerPause
    | faults.Surge
    | faults.Poison
    | faults.Duplicates
    | faults.Oversized
    | faults.Late
    | faults.SchemaChange,
) -> str:
    match fault:
        case faults.ProducerCrash():
            return f"{_processes(fault.producer)} dies with what its client had not sent, then starts again"
        case faults.ProducerPause():
            return f"{_processes(fault.producer)} hangs, then sends what is due by then"
        case faults.Surge():
            return f"{fault.producer} sends {fault.factor:g} times as many events"
        case faults.Poison():
            return f"{_amount(fault)} of {fault.producer} can never be processed"
        case faults.Duplicates():
            after = f" after {format_duration(fault.after)}" if fault.after else ""
            return f"{_amount(fault)} of {fault.producer} are sent once more{after}"
        case faults.Oversized():
            return f"{_amount(fault)} of {fault.producer} are of {exact_size(fault.size)}"
        case faults.Late():
            return (
                f"{_amount(fault)} of {fault.producer} are handed over {format_duration(fault.by.mean)} late on average"
            )
        case faults.SchemaChange():
            broken = "all groups that read them" if fault.breaks is None else ", ".join(fault.breaks) or "no group"
            return f"{percent(fault.share)} of the events of {fault.producer} carry schema version {fault.version}, which breaks {broken}"


def _of_groups(
    fault: faults.MemberCrash
    | faults.MemberPause
    | faults.MemberLeave
    | faults.RollingDeploy
    | faults.PollStall
    | faults.SlowWork
    | faults.FailingWork,
) -> str:
    match fault:
        case faults.MemberCrash():
            return f"member {fault.member} dies without leaving, then comes back"
        case faults.MemberPause():
            return f"member {fault.member} hangs, heartbeats and all, then goes on"
        case faults.MemberLeave():
            return f"member {fault.member} leaves in good order, then comes back"
        case faults.RollingDeploy():
            return f"the members of {fault.group} leave in good order and come back, one after another"
        case faults.PollStall():
            return f"the handler of member {fault.member} hangs while its heartbeats go on"
        case faults.SlowWork():
            return f"handlers of {fault.group} take {_longer(fault.factor, fault.plus)}"
        case faults.FailingWork():
            return f"{percent(fault.share)} of the tries of {fault.group} fail"


def _of_topics(
    fault: faults.LeaderMove | faults.Retention | faults.DeleteRecords | faults.Reassign | faults.AddPartitions,
) -> str:
    match fault:
        case faults.LeaderMove():
            to = f"broker {fault.to}" if fault.to else "its next replica"
            return f"the leadership of {fault.partition} moves to {to}"
        case faults.Retention():
            return f"{fault.topic} keeps its records for {format_duration(fault.to)} only"
        case faults.DeleteRecords():
            return f"records of {fault.topic or fault.partition} are deleted up to {_position(fault.up_to)}"
        case faults.Reassign():
            return f"{fault.partition} is given the replicas {', '.join(map(str, fault.to))}"
        case faults.AddPartitions():
            return f"{fault.topic} gets {fault.to} partitions, so most keys move"


def action_words(action: Action) -> str:
    """Return what an action does, in one sentence without its times."""
    match action:
        case actions.Replay():
            return f"{action.group} handles once more what lies from {_position(action.from_)} on{_paced(action.rate)}"
        case actions.Redrive():
            return (
                f"dead letters of {action.from_} are sent to {action.to or 'where they came from'}{_paced(action.rate)}"
            )
        case actions.ResetOffsets():
            return f"the offsets of {action.group} are set to {_position(action.to)}"
        case actions.Scale():
            return f"{action.group} gets {action.to} members"
        case actions.Deploy():
            first = f", {percent(action.canary)} of it first" if action.canary is not None else ""
            back = f", and rolled back if {action.rollback_if.text}" if action.rollback_if is not None else ""
            return f"version {action.version} of {action.group} is deployed{first}{back}"
        case _:
            assert_never(action)


def _brokers(target: BrokerTarget) -> str:
    return str(target) if target.role == "rack" else f"broker ({target})"


def _processes(target: ProducerTarget) -> str:
    return f"process {target}" if target.process else target.producer


def _amount(fault: faults.Poison | faults.Duplicates | faults.Oversized | faults.Late) -> str:
    return f"{fault.events} events" if fault.events is not None else f"{percent(fault.share or 0.0)} of the events"


def _longer(factor: float, plus_ns: int) -> str:
    return f"{factor:g} times as long" + (f" and {format_duration(plus_ns)} more" if plus_ns else "")


def _position(position: LogPosition) -> str:
    match position.place:
        case "earliest":
            return "the first record"
        case "latest":
            return "the end"
        case "offset":
            return f"offset {position.value}"
        case "ago":
            return f"{format_duration(position.value)} before"


def _paced(rate_hz: float | None) -> str:
    return f", at most {rate_hz:g}/s" if rate_hz is not None else ""
