"""The page for those who are called: which group is behind, what fails, which runbook, which alert, what was going on at that time."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from reports.alerts.on_run import Alerted, alerted
from reports.alerts.system import System
from reports.contents import Column, Contents
from reports.disturbers import disturbers
from reports.document import Block, Cell, Document, Section, Small, Table, Tile
from reports.drawing import MUTED, RUNS, Canvas, Drawing, Key, count_axis, draw, mark_faults, time_axis
from reports.figure_parts import fault_keys, joined, lines_of
from reports.figures import lag_over_time
from reports.incidents import story
from reports.remedies import REMEDIES
from reports.runbooks import runbook_link
from reports.views.failing import Failing, failing_events
from reports.views.faults import broke, broke_table
from reports.words import DASH, count_text, percent, time_text, value_text
from rundata.rows import Kind, Outcome
from rundata.tables import RunData
from scenarios.around import Owned
from scenarios.quantities import SECOND
from scenarios.schema import Scenario

_MOST_ENTRIES = 60
_RESTARTS = ("restart", "eviction", "session expired")


def on_call_document(contents: Contents) -> Document:
    """Return the page about the main run."""
    main, scenario = contents.main, contents.scenario
    run, alerts = main.run.data, alerted(main.run.data)
    failing = failing_events(run)
    return Document(
        kicker=f"For those who are called · {main.label}",
        headline=scenario.scenario,
        subtitle=f"seed {run.plan.seed} · {run.engine} · " + (f"owner {scenario.owner}" if scenario.owner else "no owner named"),
        lead=scenario.about.strip(),
        notices=tuple(contents.notices),
        tiles=(*_lag_tiles(contents), _error_tile(main, failing), _replica_tile(run), _alert_tile(alerts)),
        sections=(
            Section("lag", "Which group is behind?", _lag(contents), "Lag"),
            Section("first", "Where to look first", _runbooks(scenario), "Runbooks"),
            Section("alerts", "Which alerts fire, and when?", _alerts(alerts), "Alerts"),
            Section("errors", "What fails?", (*_errors_figure(contents), *_failing(failing)), "Errors"),
            Section("replicas", "Are replicas in sync, and is every partition led?", _replicas(contents), "Replicas"),
            Section("broke", "What broke, and what helps?", (*broke_table(broke(main, alerts)), *_helps(run)), "What broke"),
            Section("story", "What happened, in its order", _story(contents), "What happened"),
        ),
    )  # fmt: skip


# ---- tiles ---------------------------------------------------------------------------------------------------------


def _lag_tiles(contents: Contents) -> list[Tile]:
    tiles = []
    for group in list(contents.scenario.groups)[:3]:
        lag = contents.main.trace.lag[group]
        peak, last = int(lag.max(initial=0)), int(lag[-1]) if len(lag) else 0
        at = value_text(float(np.argmax(lag)) / 10, "s") if peak else ""
        detail = f"at most {count_text(peak)}, at {at}" if peak else "it never fell behind"
        tiles.append(
            Tile(
                f"How far behind is {group} at the end?",
                f"{count_text(last)} events",
                detail,
                "lag",
                "bad" if last else "good",
            )
        )
    return tiles


def _error_tile(main: Column, failing: Sequence[Failing]) -> Tile:
    errors = main.run.estimates.get("errors")
    value = None if errors is None else errors.value
    most = f"most: {failing[0].event_type} in {failing[0].group}" if failing else "no try failed"
    return Tile(
        "How much fails?",
        DASH if value is None else percent(value),
        f"of all tries; {most}",
        "errors",
        "bad" if value else "good",
    )


def _replica_tile(run: RunData) -> Tile:
    short = under_replicated(run)[1]
    most = int(short.max(initial=0))
    partitions = sum(len(System(run).partitions(topic)) for topic in run.plan.scenario.topics)
    return Tile(
        "How many partitions lacked a replica?",
        f"{most} of {partitions}" if most else "none",
        "at the worst moment",
        "replicas",
        "bad" if most else "good",
    )


def _alert_tile(alerts: Alerted) -> Tile:
    if alerts.judged is None:
        return Tile("Which alert fired first?", DASH, alerts.reason, "alerts", "unsure")
    if not alerts.fired:
        return Tile("Which alert fired first?", "none", "no rule saw anything", "alerts", "unsure")
    first = alerts.fired[0]
    at = value_text((first.fired_ms or 0) / 1000, "s")
    return Tile(
        "Which alert fired first?",
        first.rule.name,
        f"{first.rule.severity}, at {at}; {len(alerts.fired)} in all",
        "alerts",
        "bad",
    )


# ---- lag and runbooks ----------------------------------------------------------------------------------------------


def _lag(contents: Contents) -> tuple[Block, ...]:
    if not contents.scenario.groups:
        return ("No group reads anything.",)
    lines = lines_of(None, [(contents.main.label, contents.main.trace)])
    estimates = contents.main.run.estimates
    rows: list[tuple[Cell | str, ...]] = []
    for group, what in contents.scenario.groups.items():
        restarts, age, drain = (
            estimates.get(f"{name}")
            for name in (f"restarts[{group}].count", f"lag_age[{group}].max", f"drain_time[{group}]")
        )
        rows.append(
            (
                Cell(group, under=", ".join(what.topics)),
                *(DASH if e is None else value_text(e.value, "s", e.at_least) for e in (age, drain)),
                DASH if restarts is None or restarts.value is None else count_text(restarts.value),
                str(what.members),
            )
        )
    heads = ("Group", "Oldest event waited", "Longest drain", "Members that came back", "Members")
    return (
        lag_over_time(contents.scenario, lines, contents.lag_bands, contents.faults),
        Table(heads, tuple(rows), frozenset({1, 2, 3, 4})),
    )


def _runbooks(scenario: Scenario) -> tuple[Block, ...]:
    owned: list[tuple[str, Owned]] = [
        *((f"group {name}", group) for name, group in scenario.groups.items()),
        *((f"topic {name}", topic) for name, topic in scenario.topics.items()),
        *((f"producer {name}", producer) for name, producer in scenario.producers.items()),
    ]
    rows = tuple(
        (name, each.owner or scenario.owner or DASH, _runbook(each.runbook or scenario.runbook)) for name, each in owned
    )
    said = () if any(each.runbook for _, each in owned) or scenario.runbook else (
        Small("No part of the scenario names a runbook: `runbook: https://...` beside `owner`, on the scenario, a topic, a group or a producer."),
    )  # fmt: skip
    return (Table(("Part", "Owner", "Runbook"), rows), *said)


def _runbook(address: str | None) -> Cell:
    return Cell(address or DASH, link=runbook_link(address))


def _alerts(alerts: Alerted) -> tuple[Block, ...]:
    if alerts.judged is None:
        return (f"It cannot be told: {alerts.reason}.",)
    if not alerts.fired:
        return ("No rule fired. The rules are those that `eventdrill alerts rules` makes of the scenario.",)
    rows = []
    for span in alerts.fired[:_MOST_ENTRIES]:
        sent = alerts.message_ms(span)
        labels = ", ".join(f"{key} {value}" for key, value in span.labels if key not in ("alertname", "severity"))
        rows.append(
            (
                Cell(span.rule.name, under=labels),
                span.rule.severity or DASH,
                time_text((span.fired_ms or 0) * 1_000_000),
                DASH if sent is None else time_text(sent * 1_000_000),
                "still" if span.ended_ms is None else time_text(span.ended_ms * 1_000_000),
                ", ".join(each.label for each in alerts.about(span)) or "nothing that was wrong",
                _runbook(span.rule.annotations.get("runbook_url")),
            )
        )
    heads = ("Alert", "Severity", "Fired", "Message", "Ended", "About", "Runbook")
    return (
        Table(heads, tuple(rows), frozenset({2, 3, 4})),
        Small(
            "Rules of the scenario on the metrics of this run, scraped and evaluated every 5 s, after a calm time that went on as the run did before "
            "its first fault; messages as Alertmanager groups them."
        ),
    )


# ---- errors --------------------------------------------------------------------------------------------------------


def _failing(failing: Sequence[Failing]) -> tuple[Block, ...]:
    if not failing:
        return ("No try failed.",)
    rows = tuple(
        (
            Cell(each.event_type, under=each.group),
            f"{count_text(each.tries)} of {count_text(each.of)}",
            count_text(each.events),
            each.error,
            ", ".join(map(str, each.samples)),
        )
        for each in failing
    )
    return (
        Table(("Event type", "Failed tries", "Events", "Mostly", "For example"), rows, frozenset({1, 2})),
        Small("`eventdrill explain DIR EVENT` tells the story of an event by its number."),
    )


def _errors_figure(contents: Contents) -> tuple[Drawing | str, ...]:
    """Return failed tries a second of each group, with faults, deploys and members that came back over them."""
    run = contents.main.run.data
    rows = run.operations[(run.operations["kind"] == Kind.try_) & (run.operations["outcome"] != Outcome.ok)]
    again = [i for i in run.incidents if i.kind in _RESTARTS and i.time_ns > 0]
    if not len(rows) and not again and not run.actions:
        return ()
    edges = np.arange(0, max(run.end_ns, SECOND) + SECOND, SECOND)
    groups = run.names.groups[: len(RUNS)]

    def panel(axis: Axes, canvas: Canvas) -> None:
        for number, group in enumerate(groups):
            times = rows["ended_ns"][rows["group"] == number]
            axis.step(edges[:-1] / SECOND, np.histogram(times, edges)[0], where="post", color=RUNS[number], label=group)
        axis.set_title("failed tries a second")
        time_axis(axis, canvas, int(edges[-1]))
        count_axis(axis)
        mark_faults(axis, contents.faults)
        for incident in again:
            axis.axvline(incident.time_ns / SECOND, ymax=0.07, color=MUTED, linewidth=1.4)
        for action in run.actions:
            axis.axvline(action.began_ns / SECOND, color=MUTED, linewidth=1.4, linestyle="--")

    keys = [Key(group, RUNS[number], "line") for number, group in enumerate(groups)]
    keys += [Key("a process ended or came back", MUTED, "thin")] if again else []
    keys += [Key("an action, such as a deploy", MUTED, "thin-dashed")] if run.actions else []
    came = "once" if len(again) == 1 else f"{count_text(len(again))} times"
    caption = f"{count_text(len(rows))} tries failed; {came} a member or broker was thrown out or came back."
    return (
        draw(
            "errors", [panel], title="Errors and restarts", alt="Failed tries a second of " + joined(groups) + ", with faults and deploys.",
            caption=caption, legend=[*keys, *fault_keys(contents.faults)], height=0.85,
        ),
    )  # fmt: skip


# ---- replicas and the rest -----------------------------------------------------------------------------------------


def under_replicated(run: RunData) -> "tuple[np.ndarray, np.ndarray, np.ndarray]":
    """Return instants, a second apart, how many partitions had fewer replicas in sync than copies, and how many had no leader."""
    scenario = run.plan.scenario
    at_ns = np.arange(0, max(run.end_ns, SECOND), SECOND)
    system = System(run)
    short, leaderless = np.zeros(len(at_ns), np.int64), np.zeros(len(at_ns), np.int64)
    for topic in scenario.topics:
        for partition in system.partitions(topic):
            short += system.in_sync(topic, partition, at_ns) < scenario.replication_of(topic)
            leaderless += system.leader(topic, partition, at_ns) == 0
    return at_ns, short, leaderless


def _replicas(contents: Contents) -> tuple[Block, ...]:
    at_ns, short, leaderless = under_replicated(contents.main.run.data)
    if not short.any() and not leaderless.any():
        return ("Every partition had all its replicas in sync and a leader, all the time.",)

    def panel(axis: Axes, canvas: Canvas) -> None:
        axis.step(at_ns / SECOND, short, where="post", color=RUNS[0], label="too few replicas in sync")
        axis.step(at_ns / SECOND, leaderless, where="post", color=RUNS[2], label="no leader")
        axis.set_title("partitions")
        time_axis(axis, canvas, int(at_ns[-1]) + SECOND)
        count_axis(axis)
        mark_faults(axis, contents.faults)

    lacked, led = (count_text(int((each > 0).sum())) for each in (short, leaderless))
    seconds = f"{lacked} s with a partition that lacked a replica, {led} s with one that had no leader."
    return (
        draw(
            "replicas", [panel], title="Partitions in danger", alt="How many partitions lacked a replica in sync, or a leader, over time.",
            caption=seconds, height=0.85,
            legend=[Key("too few replicas in sync", RUNS[0], "line"), Key("no leader", RUNS[2], "line"), *fault_keys(contents.faults)],
        ),
    )  # fmt: skip


def _helps(run: RunData) -> tuple[Block, ...]:
    kinds = dict.fromkeys(fault.kind for fault in disturbers(run))
    if not kinds:
        return ()
    rows = tuple((kind.replace("_", " "), REMEDIES[kind].rollback, REMEDIES[kind].sign) for kind in kinds)
    return (Table(("Fault", "The way back", "What shows it"), rows),)


def _story(contents: Contents) -> tuple[Block, ...]:
    run = contents.main.run.data
    faults = sorted(run.faults, key=lambda fault: fault.planned_begin_ns)
    entries = story(run.incidents, faults, max(run.end_ns, 1))
    rows = tuple(
        (e.time, Cell(f"{e.fault} {e.sentence}".strip(), under=e.detail), e.since or DASH)
        for e in entries[:_MOST_ENTRIES]
    )
    more = (
        (Small(f"{len(entries) - _MOST_ENTRIES} more in the table incidents of the run."),)
        if len(entries) > _MOST_ENTRIES
        else ()
    )
    return (Table(("At", "What", "After"), rows), *more) if rows else ("Nothing beyond the load itself.",)
