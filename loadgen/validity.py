"""Whether a live run says something about the brokers: where its own driver or host was the limit it says nothing, and why."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadgen.gauges import values
from loadgen.outcomes import QUEUE_FULL
from rundata.rows import NONE, Kind
from rundata.tables import Gauge, Names
from scenarios.disturbances import NOT_AGAIN
from scenarios.faults import ProducerCrash, ProducerPause
from scenarios.plan import Plan
from scenarios.quantities import format_duration

LATENESS_P99_NS = 5_000_000
LATENESS_SHARE = 0.2
"""A sender may be late by 5 ms in one of a hundred events, or by a fifth of the acknowledgement p99 where that is more: late sends then
change the figures by less than the tolerance of the 99th percentile."""
MEMBER_LATE_P99_NS = 20_480_000
"""Handlers may end so much later than planned in one of a hundred tries (a sleep wakes late, or the host holds it up)."""
THREAD_SHARE = 0.9
BUSY_FOR_S = 3
STEAL_SHARE = 0.1
JIT_SHARE = 0.5
"""A JVM that is warm compiles a few percent of a core; one that is not shows its interpreter in every figure."""
_QUEUE = frozenset({"queue.buffering.max.messages", "queue.buffering.max.kbytes"})
CLOCK_STEP_NS = 50_000_000
CLOCK_SLEW = 0.001
"""A time of day that is disciplined may drift by half of this share; whoever sets it moves all that brokers stamp."""
STALL_S = 0.25
"""The driver's own loop may wake so late once; a host that stands still for longer than that shows in every figure."""


@dataclass(frozen=True)
class Limits:
    """The figures behind a verdict, for the record."""

    lateness_p50_ns: int
    lateness_p99_ns: int
    lateness_max_ns: int
    ack_p99_ns: int


Blocks = Mapping[str, list[tuple[int, int]]]
"""By process: stretches in which its client's `send` held it up, from the start of the run."""


def limits(plan: Plan, operations: NDArray[np.void], blocks: Blocks | None = None) -> Limits:
    """Return how late the senders were, of the planned events intended after the warm-up; what their client held up is not their doing.

    What members emit has no plan to be late for: an outbox holds it back on purpose.
    """
    planned = (operations["kind"] == Kind.send) & (operations["event_id"] < len(plan))
    sends = operations[planned & (operations["intended_ns"] >= plan.scenario.warm_up)]
    names = Names.of(plan.scenario).processes
    theirs = [
        n for n, name in enumerate(names) if (p := plan.scenario.producers.get(name.rpartition("/")[0])) and p.external
    ]
    sends = sends[~np.isin(sends["process"], theirs)]  # the user's own programs are no part of the driver
    if not len(sends):
        return Limits(0, 0, 0, 0)
    due = _due_ns(plan, sends)
    held = _together(blocks or {}, _in_transactions(sends, names))
    late = sends["started_ns"] - np.maximum(due, _held_until(plan, sends, held))
    ended = sends["ended_ns"] != np.iinfo(np.int64).max
    acks = (sends["ended_ns"] - due)[ended]
    p50, p99 = (int(np.quantile(late, q, method="inverted_cdf")) for q in (0.5, 0.99))
    return Limits(p50, p99, int(late.max()), int(np.quantile(acks, 0.99, method="inverted_cdf")) if len(acks) else 0)


def _due_ns(plan: Plan, sends: NDArray[np.void]) -> NDArray[np.int64]:
    """Return when each send was due: as intended, but for what faults of the scenario's own hand over later, again, or when a process is back."""
    due: NDArray[np.int64] = sends["intended_ns"].astype(np.int64)
    planned = np.flatnonzero((sends["event_id"] >= 0) & (sends["event_id"] < len(plan)))
    event, started = sends["event_id"][planned], sends["started_ns"][planned]
    due[planned] += plan.late_ns[event]
    again_ns = plan.again_ns[event]
    second = (again_ns != NOT_AGAIN) & (started >= again_ns)
    due[planned[second]] = again_ns[second]
    for code, name in enumerate(Names.of(plan.scenario).processes):
        own = np.flatnonzero(sends["process"] == code)
        for begin_ns, end_ns in _absences(plan, name):
            back = sends["started_ns"][own]
            back_ns = int(back[back >= end_ns].min(initial=np.iinfo(np.int64).max))
            missed = own[(due[own] >= begin_ns) & (due[own] < back_ns)]
            due[missed] = np.minimum(back_ns, sends["started_ns"][missed])
    return due


def _absences(plan: Plan, process: str) -> list[tuple[int, int]]:
    """Return the stretches in which a fault keeps a producer's process from sending."""
    producer, _, number = process.rpartition("/")
    return [
        (each.begin_ns, each.end_ns)
        for each in plan.faults
        if isinstance(each.fault, ProducerCrash | ProducerPause)
        and each.fault.producer.producer == producer
        and each.fault.producer.process in (0, int(number))
    ]


def _held_until(plan: Plan, sends: NDArray[np.void], blocks: Blocks) -> NDArray[np.int64]:
    """Return for each send until when an earlier one, or it itself, was held up by the client; the least number where none was."""
    held = np.full(len(sends), np.iinfo(np.int64).min)
    for code, name in enumerate(Names.of(plan.scenario).processes):
        if not blocks.get(name):
            continue
        own = np.flatnonzero(sends["process"] == code)
        begins, ends = np.array(sorted(blocks[name]), np.int64).T
        last = np.searchsorted(begins, sends["started_ns"][own], side="right") - 1
        until = np.minimum(ends[np.maximum(last, 0)], sends["started_ns"][own])
        held[own] = np.where(last >= 0, until, held[own])
    return held


def _together(one: Blocks, other: Blocks) -> Blocks:
    return {name: [*one.get(name, ()), *other.get(name, ())] for name in {*one, *other}}


def _in_transactions(sends: NDArray[np.void], names: Sequence[str]) -> Blocks:
    """Return by process the stretches from the last send of a transaction to its end; what comes due meanwhile is the next one's."""
    found: dict[str, list[tuple[int, int]]] = {}
    inside = sends[sends["transaction_id"] != NONE]
    for code in np.unique(inside["process"]).tolist():
        own = inside[inside["process"] == code]
        _, first, number = np.unique(own["transaction_id"], return_index=True, return_inverse=True)
        last_ns = np.zeros(len(first), np.int64)
        np.maximum.at(last_ns, number, own["started_ns"])
        found[names[code]] = list(zip((last_ns + 1).tolist(), own["ended_ns"][first].tolist(), strict=True))
    return found


def invalid_reasons(
    plan: Plan,
    operations: NDArray[np.void],
    gauges: Iterable[Gauge],
    member_late_p99_ns: Mapping[str, int],
    blocks: Blocks | None = None,
) -> list[str]:
    """Return why the run says nothing; an empty list where it does."""
    gauges = list(gauges)
    return [
        *_late_senders(limits(plan, operations, blocks)),
        *_full_queues(plan, operations),
        *_busy(plan, gauges),
        *_late_members(member_late_p99_ns),
        *_jvms(plan, gauges),
    ]


def clock_reasons(stepped_ns: int, run_ns: int) -> list[str]:
    """Return why instants that brokers stamp say nothing: the time of day was set while the run went on."""
    if abs(stepped_ns) <= CLOCK_STEP_NS + CLOCK_SLEW * run_ns:
        return []
    return [
        f"this machine's time of day was set by {stepped_ns / 1e9:+.3f} s during the run, and with it the instants of elections, fences and "
        "records in the brokers' logs: let the clock be adjusted smoothly (chrony, ntpd -x), and run it again"
    ]


def timed_after(operations: NDArray[np.void], names: Names, end_ns: int) -> list[str]:
    """Return which processes have recorded what had not happened yet: they never learned when time 0 was, and no figure of theirs counts."""
    late = operations["process"][operations["started_ns"] > end_ns]
    return [
        f"{np.count_nonzero(late == code)} operations of {names.process(code)} are timed after the run's end: its clock is wrong, or it never heard of time 0"
        for code in np.unique(late).tolist()
    ]


def _late_senders(found: Limits) -> list[str]:
    allowed = max(LATENESS_P99_NS, int(LATENESS_SHARE * found.ack_p99_ns))
    if found.lateness_p99_ns <= allowed:
        return []
    late, most = format_duration(found.lateness_p99_ns), format_duration(allowed)
    return [
        f"the senders ran {late} behind the plan (p99; at most {most}): lower the rate, or use more processes or cores"
    ]


def _full_queues(plan: Plan, operations: NDArray[np.void]) -> list[str]:
    """Look for events that librdkafka's queue refused at once, unless the scenario has set its size: then that is what it is about.

    A Java client's full buffer blocks, as long as its application lets it.
    """
    own = [
        name
        for name, producer in plan.scenario.producers.items()
        if producer.client == "librdkafka" and not _QUEUE & set(producer.settings)
    ]
    codes = [code for code, name in enumerate(Names.of(plan.scenario).processes) if name.rpartition("/")[0] in own]
    refused = (operations["kind"] == Kind.send) & (operations["error"] == QUEUE_FULL)
    full = np.count_nonzero(refused & np.isin(operations["process"], codes))
    if not full:
        return []
    return [f"the clients' own queue was full for {full} events: raise queue.buffering.max.messages, or lower the rate"]


def _busy(plan: Plan, gauges: list[Gauge]) -> list[str]:
    reasons = []
    for name in plan.scenario.producers:
        for number in range(1, plan.scenario.producers[name].count + 1):
            busy = _longest(values(gauges, "thread_share", f"{name}/{number}"), THREAD_SHARE)
            if busy >= BUSY_FOR_S:
                reasons.append(
                    f"{name}/{number} used over {THREAD_SHARE:.0%} of a core for {busy} s: raise producers.{name}.count"
                )
    stolen = values(gauges, "steal_share", "host")
    if stolen and float(np.mean(stolen)) > STEAL_SHARE:
        reasons.append(f"other machines took {np.mean(stolen):.0%} of this host's cores: run it on a quieter host")
    stalls = values(gauges, "oversleep_s", "host")
    if stalls and max(stalls) > STALL_S:
        reasons.append(f"the host stood still for {max(stalls):.2f} s: run it on a quieter host")
    return reasons


def _longest(shares: list[float], limit: float) -> int:
    longest = here = 0
    for share in shares:
        here = here + 1 if share > limit else 0
        longest = max(longest, here)
    return longest


def _late_members(late_p99_ns: Mapping[str, int]) -> list[str]:
    late = {name: ns for name, ns in late_p99_ns.items() if ns > MEMBER_LATE_P99_NS}
    if not late:
        return []
    name = max(late, key=lambda each: late[each])
    return [
        f"{len(late)} members ended their work late, {name} by {format_duration(late[name])} (p99; at most "
        f"{format_duration(MEMBER_LATE_P99_NS)}): use fewer members or processes, or more cores"
    ]


def _jvms(plan: Plan, gauges: list[Gauge]) -> list[str]:
    """Look for JVMs that stood still, or were still compiling after the warm-up: their noise, not the system's."""
    measured = [each for each in gauges if each.time_ns > plan.scenario.warm_up]
    reasons = []
    for name in Names.of(plan.scenario).processes:
        pauses, compiling = (values(measured, gauge, name) for gauge in ("jvm_pause_s", "jit_share"))
        if pauses and max(pauses) > STALL_S:
            reasons.append(f"the JVM of {name} stood still for {max(pauses):.2f} s: use fewer processes, or more cores")
        if compiling and float(np.mean(compiling)) > JIT_SHARE:
            reasons.append(
                f"the JVM of {name} was still compiling ({np.mean(compiling):.0%} of a core): give it a longer warm_up"
            )
    return reasons
