"""Locust as the control plane: `python -P -m loadgen.control SPEC.json`. It starts the run, shows it and can stop it; it sends no event.

The only module that imports Locust: its import patches sockets for the whole process. What happened comes in as a summary a second,
so that it costs the same at any rate.
"""

import contextlib
import logging
import time
from typing import Any

import gevent
from gevent import spawn
from locust import User, task
from locust.env import Environment
from locust.runners import LocalRunner
from locust.stats import StatsEntry, stats_history

from loadgen.child import Child, DriverGone

_LISTEN_S = 0.25


class RunUser(User):
    """Stands for the run: it is there while the run goes on."""

    fixed_count = 1

    @task
    def watch(self) -> None:
        """Let the run go on."""
        gevent.sleep(3600)


class Control:
    """Locust's environment and the pipe to the driver."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.ended = False
        self.environment: Any = Environment(user_classes=[RunUser], host=child.spec["scenario"])
        self.runner: LocalRunner = self.environment.create_local_runner()
        self._follow(self.environment.events)
        self._faults: list[str] = []
        if ui := child.spec["ui"]:
            self.environment.create_web_ui(host="127.0.0.1", port=ui["port"])
            spawn(stats_history, self.runner)

    def _follow(self, events: Any) -> None:  # Locust's events come without types
        events.test_start.add_listener(lambda **_: self.child.say("start"))
        events.test_stop.add_listener(self._stopped)
        events.request.add_listener(self._add_summary)

    def _stopped(self, **_: Any) -> None:
        if not self.ended:
            self.child.say("stop")

    def serve(self) -> None:
        """Follow the driver until it ends this process."""
        while not self.ended:
            request = self.child.hear(_LISTEN_S)
            match request and request["do"]:
                case None:
                    pass
                case "go":
                    ui = self.child.spec["ui"]
                    if not (ui and ui["start_by_hand"]):
                        self.runner.start(1, spawn_rate=1)
                case "show":
                    self._show(request)  # type: ignore[arg-type]  # None was the first case
                case "end":
                    self.ended = True
                case other:
                    raise ValueError(f"the control process knows no request {other!r}")
        self.runner.quit()

    def _show(self, told: dict[str, Any]) -> None:
        for summary in told["summaries"]:
            self._fire(summary)
        for fault in told["faults"]:
            if fault not in self._faults:
                self.runner.log_exception("local", f"fault: {fault}", "a planned fault of the scenario is in effect")
        self._faults = told["faults"]

    def _fire(self, summary: dict[str, Any]) -> None:
        """Report a summary as one request event; Locust's own listener counts one request of it, ours the others."""
        histogram = summary["histogram"]
        latency_ms = histogram[0][0] if histogram else None
        failures = summary["failures"]
        self.environment.events.request.fire(
            request_type=summary["kind"],
            name=summary["name"],
            response_time=latency_ms,
            response_length=0,
            exception=None if summary["count"] else RuntimeError("failed"),
            context={"eventdrill": summary, "failures": failures},
        )

    def _add_summary(self, *, context: dict[str, Any] | None = None, **_: Any) -> None:
        summary = (context or {}).get("eventdrill")
        if summary is None:
            return
        stats = self.environment.stats
        entry = stats.get(summary["name"], summary["kind"])
        extra = _entry(stats, summary)
        entry.extend(extra)
        stats.total.extend(extra)


def _entry(stats: Any, summary: dict[str, Any]) -> StatsEntry:
    """Return a summary, apart from its first request, as Locust keeps statistics."""
    extra = StatsEntry(stats, summary["name"], summary["kind"])
    histogram = [(latency, count) for latency, count in summary["histogram"]]
    failures = summary["failures"]
    if histogram:
        histogram[0] = (histogram[0][0], histogram[0][1] - 1)
    elif failures:
        failures -= 1
    second = int(time.time())
    for latency_ms, count in histogram:
        rounded = round(latency_ms) if latency_ms < 100 else round(latency_ms, -1)
        extra.response_times[rounded] = extra.response_times.get(rounded, 0) + count
        extra.total_response_time += latency_ms * count
    extra.num_requests = sum(count for _, count in histogram) + failures
    extra.num_failures = failures
    extra.num_reqs_per_sec[second] = extra.num_requests
    extra.num_fail_per_sec[second] = failures
    extra.last_request_timestamp = time.time()
    latencies = [latency for latency, count in histogram if count]
    extra.min_response_time = min(latencies, default=None)
    extra.max_response_time = max(latencies, default=0)
    return extra


def main() -> None:
    """Serve the driver."""
    logging.getLogger("locust").setLevel(logging.WARNING)
    child = Child.begin()
    with contextlib.suppress(DriverGone):
        control = Control(child)
        child.say("ready")
        control.serve()


if __name__ == "__main__":
    main()
