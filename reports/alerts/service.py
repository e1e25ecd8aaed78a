"""Metrics of the user's own processes, as a well-kept service would export them, and the counters of its objectives.

A member can only tell of what it has handled: while nothing arrives, its histogram is silent, and what is late shows when it is over.
`objective_events_total` is counted by somebody who knows what was meant to happen, and who calls an event bad at its deadline.
"""

from collections.abc import Iterator

import numpy as np

from reports.alerts.scrapes import Scraping, Target, counter
from reports.alerts.series import Bools, Series
from reports.alerts.system import Nanos, Spans, System
from reports.slo_events import judged_events
from rundata.books import Books
from rundata.pairs import Rows
from rundata.rows import NEVER, Outcome
from scenarios.quantities import SECOND

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The default of Prometheus' clients, which ends at 10 s: what is later than that is all alike."""


def service_series(system: System, scraping: Scraping) -> Iterator[Series]:
    """Yield the series of producers and members, each process a target of its own, and of the objectives."""
    books = Books.of(system.run)
    for number, process in enumerate(system.run.names.processes):
        name = process.rpartition("/")[0]
        down = system.process_down(process)
        target = Target.of({"job": name, "instance": process}, scraping, down)
        yield target.up()
        if name in books.scenario.groups:
            yield from _member(books, target, number, name, down)
        else:
            yield from _producer(books, target, number, books.scenario.producers[name].topic, down)
    yield from _objectives(system, scraping)


def _member(books: Books, target: Target, process: int, group: str, down: Spans) -> Iterator[Series]:
    tries, at_ns = books.block.tries, target.at_ns
    mine = (tries["process"] == process) & (tries["ended_ns"] != NEVER)
    done, failed = mine & (tries["outcome"] == Outcome.ok), mine & (tries["outcome"] == Outcome.failed)
    labels = {"group": group}
    yield from target.series("events_handled_total", labels, counter(_sorted(tries, done), at_ns, down))
    yield from target.series("events_failed_total", labels, counter(_sorted(tries, failed), at_ns, down))
    letters = books.block.dead_letters
    given_up = (letters["process"] == process) & (letters["ended_ns"] != NEVER)
    yield from target.series("events_dead_lettered_total", labels, counter(_sorted(letters, given_up), at_ns, down))
    yield from _histogram(target, tries, done, labels, down)


def _sorted(rows: Rows, chosen: Bools) -> Nanos:
    return np.sort(rows["ended_ns"][chosen])


def _histogram(target: Target, tries: Rows, done: Bools, labels: dict[str, str], down: Spans) -> Iterator[Series]:
    order = np.argsort(tries["ended_ns"][done], kind="stable")
    ended = tries["ended_ns"][done][order]
    took_s = (ended - tries["intended_ns"][done][order]) / SECOND
    for bound in (*BOUNDS_S, np.inf):
        le = {"le": "+Inf" if np.isinf(bound) else f"{bound:g}"}
        counted = counter(ended[took_s <= bound], target.at_ns, down)
        yield from target.series("event_latency_seconds_bucket", {**labels, **le}, counted)
    yield from target.series("event_latency_seconds_count", labels, counter(ended, target.at_ns, down))
    yield from target.series("event_latency_seconds_sum", labels, counter(ended, target.at_ns, down, took_s))


def _producer(books: Books, target: Target, process: int, topic: str, down: Spans) -> Iterator[Series]:
    sends, at_ns = books.block.sends, target.at_ns
    mine = (sends["process"] == process) & (sends["ended_ns"] != NEVER)
    labels = {"topic": topic}
    for name, outcome in (("events_sent_total", Outcome.ok), ("send_errors_total", Outcome.failed)):
        counted = counter(_sorted(sends, mine & (sends["outcome"] == outcome)), at_ns, down)
        yield from target.series(name, labels, counted)


def _objectives(system: System, scraping: Scraping) -> Iterator[Series]:
    run = system.run
    if not run.plan.scenario.objectives:
        return
    target = Target.of({"job": "objectives", "instance": "objectives"}, scraping, [])
    yield target.up()
    for name, objective in run.plan.scenario.objectives.items():
        events = judged_events(run, objective)
        order = np.argsort(events.known_ns, kind="stable")
        known, bad_share = events.known_ns[order], events.bad_share[order]
        labels = {"objective": name}
        total, bad = counter(known, target.at_ns, []), counter(known, target.at_ns, [], bad_share)
        yield from target.series("objective_events_total", labels, total)
        yield from target.series("objective_bad_events_total", labels, bad)
