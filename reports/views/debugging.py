"""The page for those who look for the cause: partitions, traces of single events, dead letters, times of handlers, commits, backpressure."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from reports.contents import Contents
from reports.document import Block, Cell, Code, Document, Section, Small, Table, Tile
from reports.drawing import RUNS, Canvas, Key, count_axis, draw, duration_axis, mark_faults, time_axis
from reports.figure_parts import fault_keys, joined
from reports.views.failing import Failing, error_words, failing_events
from reports.words import DASH, count_text, percent, time_text, value_text
from rundata import series, story
from rundata.books import Books, End
from rundata.rows import NEVER, Kind, Outcome
from rundata.stages import stages
from rundata.tables import RunData
from scenarios.quantities import SECOND
from scenarios.retries import most_partitions

_MOST_PARTITIONS, _MOST_LETTERS, _BINS = 60, 20, 40
Floats = NDArray[np.float64]


def debugging_document(contents: Contents) -> Document:
    """Return the page about the main run."""
    main, scenario = contents.main, contents.scenario
    run = main.run.data
    letters = _letters(run)
    return Document(
        kicker=f"For those who look for the cause · {main.label}",
        headline=scenario.scenario,
        subtitle=f"seed {run.plan.seed} · {run.engine} · {count_text(len(run.plan))} planned events",
        lead=scenario.about.strip(),
        notices=tuple(contents.notices),
        tiles=_tiles(run, len(letters)),
        sections=(
            Section("partitions", "Which topic and partition?", _partitions(contents), "Partitions"),
            Section("traces", "What became of single events?", _traces(run), "Traces"),
            Section("letters", "What was given up lately?", _letter_blocks(run, letters), "Dead letters"),
            Section("work", "How long do handlers take?", _work(run), "Handlers"),
            Section("commits", "How often is progress saved, and who holds whom up?", _commits(run), "Commits"),
        ),
    )


def _tiles(run: RunData, letters: int) -> tuple[Tile, ...]:
    found = stages(run)
    slowest = DASH if not len(found.event) else value_text(float(found.latency_ns.max()) / SECOND, "s")
    failing = failing_events(run)
    hot = _hottest(run)
    return (
        Tile("Which partition has most?", hot[0], hot[1], "partitions"),
        Tile("How long did the slowest event take?", slowest, "its story is below", "traces"),
        _failing_tile(failing),
        Tile("How many were given up?", count_text(letters), "dead-lettered or skipped", "letters", "bad" if letters else "good"),
    )  # fmt: skip


def _failing_tile(failing: Sequence[Failing]) -> Tile:
    if not failing:
        return Tile("What fails?", "nothing", "no try failed", "traces", "good")
    most = failing[0]
    return Tile("What fails?", most.event_type, f"in {most.group}: {most.error}", "traces", "bad")


def _hottest(run: RunData) -> tuple[str, str]:
    books = Books.of(run)
    known = books.partition[books.acked & (books.partition >= 0)]
    if not len(known):
        return DASH, "nothing was acknowledged"
    counts = np.bincount(known, minlength=int(books.first_partition[-1]))
    at = int(np.argmax(counts))
    return books.partition_name(at), f"{percent(round(float(counts[at]) / len(known), 4))} of all events"


# ---- partitions ----------------------------------------------------------------------------------------------------


def _partitions(contents: Contents) -> tuple[Block, ...]:
    run = contents.main.run.data
    books, scenario = Books.of(run), contents.scenario
    rows, seconds = [], max(scenario.measured_ns, 1) / SECOND
    outages = series.outages(run)
    for topic in scenario.topics:
        for partition in range(most_partitions(scenario, topic)):
            name, number = (
                f"{topic}/{partition}",
                int(books.first_partition[books.plan.topics.index(topic)]) + partition,
            )
            mine = books.acked & (books.partition == number)
            pairs = books.pairs
            handled = pairs.measured & (pairs.partition == number) & (pairs.effect_ns != NEVER)
            lag = int(series.lag(run, name)[1].max(initial=0))
            stood = max((o.end_ns - o.begin_ns for o in outages if o.place == name), default=0)
            rows.append(
                (name, float((mine & books.measured).sum()) / seconds, float(handled.sum()) / seconds, lag, stood)
            )
    table = Table(
        ("Partition", "Accepted", "Finished by all groups", "Peak lag", "Stood still"),
        tuple(
            (name, f"{_rate(came)}", f"{_rate(done)}", count_text(lag), value_text(stood / SECOND, "s") if stood else DASH)
            for name, came, done, lag, stood in rows[:_MOST_PARTITIONS]
        ),
        frozenset({1, 2, 3, 4}),
    )  # fmt: skip
    more = (
        (Small(f"{len(rows) - _MOST_PARTITIONS} more partitions are left out."),)
        if len(rows) > _MOST_PARTITIONS
        else ()
    )
    return (*_topic_figure(contents), table, *more)


def _rate(hz: float) -> str:
    return f"{count_text(round(hz, 1))}/s"


def _topic_figure(contents: Contents) -> tuple[Block, ...]:
    run = contents.main.run.data
    topics = [t for t in contents.scenario.topics if series.rate(run, "acknowledged", t)[1].any()][: len(RUNS)]
    if not topics:
        return ("Nothing was acknowledged.",)

    def panel(axis: Axes, canvas: Canvas) -> None:
        for number, topic in enumerate(topics):
            begins, hz = series.rate(run, "acknowledged", topic)
            axis.step(begins / SECOND, hz, where="post", color=RUNS[number], linewidth=1.3, label=topic)
        axis.set_title("acknowledged, events/s")
        time_axis(axis, canvas, max(run.end_ns, SECOND))
        count_axis(axis)
        mark_faults(axis, contents.faults)

    return (
        draw(
            "topics", [panel], title="Throughput of each topic", alt="Acknowledged events a second of " + joined(topics) + ".",
            caption="What is accepted a second; a topic that stands still is flat at nothing.",
            legend=[*(Key(topic, RUNS[n], "line") for n, topic in enumerate(topics)), *fault_keys(contents.faults)], height=0.85,
        ),
    )  # fmt: skip


# ---- traces and dead letters ---------------------------------------------------------------------------------------


def _traces(run: RunData) -> tuple[Block, ...]:
    blocks: list[Block] = []
    for title, event in _samples(run):
        blocks += [f"{title}: event {event}.", Code("\n".join(story.lines(story.tell(run, event))))]
    if not blocks:
        return ("No measured event took effect, and none failed.",)
    return (
        *blocks,
        Small("Lines with ! are what was wrong around it. `eventdrill explain DIR EVENT` tells any other."),
    )


def _samples(run: RunData) -> list[tuple[str, int]]:
    """Return events worth a look: a usual one, a slow one, the slowest, and one that failed."""
    found = stages(run)
    planned = found.event < len(run.plan)
    events, took = found.event[planned], found.latency_ns[planned]
    chosen: list[tuple[str, int]] = []
    if len(events):
        order = np.argsort(took, kind="stable")
        for title, share in (("A usual one", 0.5), ("One in a hundred", 0.99), ("The slowest", 1.0)):
            chosen.append((title, int(events[order[min(int(share * len(order)), len(order) - 1)]])))
    failing = [event for each in failing_events(run) for event in each.samples if event < len(run.plan)]
    if failing:
        chosen.append(("One that failed", failing[0]))
    return list({event: (title, event) for title, event in reversed(chosen)}.values())[::-1]


def _letters(run: RunData) -> list[int]:
    """Return places of the pairs that were given up, the latest first."""
    pairs = Books.of(run).pairs
    given = np.flatnonzero((pairs.end == End.dead_lettered) | (pairs.end == End.skipped))
    latest: list[int] = given[np.argsort(-pairs.end_ns[given], kind="stable")].tolist()
    return latest


def _letter_blocks(run: RunData, letters: Sequence[int]) -> tuple[Block, ...]:
    if not letters:
        return ("Nothing was given up.",)
    books = Books.of(run)
    pairs, plan = books.pairs, books.plan
    tries = run.operations[run.operations["kind"] == Kind.try_]
    rows = []
    for place in letters[:_MOST_LETTERS]:
        event, group = int(pairs.event[place]), int(pairs.group[place])
        mine = tries[(tries["event_id"] == event) & (tries["group"] == group)]
        code = int(mine["error"][-1]) if len(mine) else 0
        kind = run.names.event_types[int(mine["event_type"][-1])] if len(mine) else DASH
        rows.append(
            (
                Cell(str(event), under=books.groups[group]),
                time_text(int(pairs.end_ns[place])),
                kind,
                End(int(pairs.end[place])).name.replace("_", "-"),
                str(len(mine)),
                error_words(run, code),
                f"{count_text(int(plan.size_bytes[event]))} B, not kept",
            )
        )
    return (
        Table(("Event", "Given up", "Type", "How", "Tries", "Last error", "Payload"), tuple(rows), frozenset({1, 4})),
        Small(
            "Keys and payloads are left out: run datasets hold numbers, sizes and times only, so nothing personal can be in this page."
        ),
    )


# ---- handlers, commits, backpressure -------------------------------------------------------------------------------


def _work(run: RunData) -> tuple[Block, ...]:
    rows = run.operations[(run.operations["kind"] == Kind.try_) & (run.operations["ended_ns"] != NEVER)]
    took = {
        group: (rows["ended_ns"] - rows["started_ns"])[rows["group"] == number] / SECOND
        for number, group in enumerate(run.names.groups)
    }
    took = {group: times for group, times in took.items() if len(times)}
    if not took:
        return ("No handler finished a try.",)
    shown = dict(list(took.items())[: len(RUNS)])
    least = max(min(float(times.min()) for times in shown.values()), 1e-6)
    most = max(float(times.max()) for times in shown.values())
    edges = np.geomspace(least * 0.999, max(most * 1.001, least * 1.1), _BINS + 1)

    def panel(axis: Axes, canvas: Canvas) -> None:
        del canvas
        for number, (group, times) in enumerate(shown.items()):
            share = np.histogram(np.maximum(times, least), edges)[0] / len(times)
            axis.step(edges[:-1], share, where="post", color=RUNS[number], label=f"{group}, share")
        axis.set_xscale("log")
        duration_axis(axis.xaxis)
        axis.set_title("share of tries")
        axis.set_ylim(bottom=0)
        axis.tick_params(length=0)

    table = Table(
        ("Group", "Tries", "Failed", "p50", "p99", "Longest"),
        tuple(_work_row(run, group, times) for group, times in took.items()),
        frozenset({1, 2, 3, 4, 5}),
    )
    slow = max(took, key=lambda group: float(np.quantile(took[group], 0.99)))
    rare, half = (value_text(float(np.quantile(took[slow], q)), "s") for q in (0.99, 0.5))
    caption = f"One try in a hundred of {slow} takes {rare} or longer, half of them {half} at most."
    legend = [Key(group, RUNS[number], "line") for number, group in enumerate(shown)]
    alt = "How the times of handlers spread, of " + joined(list(shown)) + "."
    return (draw("work", [panel], title="Time of a try", alt=alt, caption=caption, legend=legend, height=0.85), table)


def _work_row(run: RunData, group: str, times: Floats) -> tuple[str, ...]:
    rows = run.operations[
        (run.operations["kind"] == Kind.try_) & (run.operations["group"] == run.names.groups.index(group))
    ]
    quantiles = (float(np.quantile(times, q)) for q in (0.5, 0.99, 1.0))
    failed = int(np.count_nonzero(rows["outcome"] != Outcome.ok))
    return (group, count_text(len(times)), count_text(failed), *(value_text(each, "s") for each in quantiles))


def _commits(run: RunData) -> tuple[Block, ...]:
    """Return how long commits take and how far apart they are, and how much of its time each member works: one that always does holds others up."""
    rows, tries = (run.operations[run.operations["kind"] == kind] for kind in (Kind.commit, Kind.try_))
    scenario = run.plan.scenario
    saved, busy = [], []
    for number, group in enumerate(run.names.groups):
        mine = rows[(rows["group"] == number) & (rows["ended_ns"] != NEVER)]
        took = (mine["ended_ns"] - mine["started_ns"]) / SECOND
        apart = [
            np.diff(np.unique(mine["ended_ns"][mine["process"] == p])).max(initial=0) / SECOND
            for p in np.unique(mine["process"])
        ]
        failed = int(np.count_nonzero(mine["outcome"] != Outcome.ok))
        spread = [value_text(float(np.quantile(took, q)), "s") if len(took) else DASH for q in (0.5, 0.99)]
        longest = value_text(max(apart), "s") if apart else DASH
        saved.append((group, count_text(len(mine)), count_text(failed), *spread, longest))
        busy += _busy(run, number, tries, scenario.warm_up, scenario.duration)
    if not saved:
        return ("No group reads anything.",)
    return (
        Table(("Group", "Commits", "Failed", "p50", "p99", "Longest between two of a member"), tuple(saved), frozenset({1, 2, 3, 4, 5})),
        Table(("Member", "Works", "Longest without a poll"), tuple(busy), frozenset({1, 2})),
        Small("A member that works nearly all the time has no reserve: what comes waits for it (backpressure). Commits count by partition."),
    )  # fmt: skip


def _busy(
    run: RunData, group: int, tries: NDArray[np.void], begin_ns: int, end_ns: int
) -> list[tuple[Cell | str, ...]]:
    polls = run.operations[run.operations["kind"] == Kind.delivery]
    found: list[tuple[Cell | str, ...]] = []
    workers = run.plan.scenario.groups[run.names.groups[group]].workers
    for process in np.unique(tries["process"][tries["group"] == group]).tolist():
        mine = tries[(tries["process"] == process) & (tries["ended_ns"] != NEVER)]
        inside = np.maximum(np.minimum(mine["ended_ns"], end_ns) - np.maximum(mine["started_ns"], begin_ns), 0).sum()
        at = np.unique(polls["started_ns"][polls["process"] == process])
        longest = float(np.diff(at).max(initial=0)) / SECOND
        share = float(inside) / max(end_ns - begin_ns, 1) / workers
        found.append((run.names.processes[process], percent(round(share, 3)), value_text(longest, "s")))
    return found
