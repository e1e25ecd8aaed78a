"""Locust as the control plane: `python -P -m loadgen.control SPEC.json`. It starts the run, shows it and can stop it; it sends no event.

As a master it also carries the specifications of producer processes to Locust workers, which start them, and what they say back. The only
module that imports Locust: its import patches sockets for the whole process. What happened comes in as a summary a second, so that it
costs the same at any rate.
"""

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import gevent
from gevent import spawn
from locust import User, events, task
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner
from locust.stats import StatsEntry, stats_history

from loadgen.child import Child, DriverGone
from loadgen.children import python_module
from loadgen.remote import SHOW_AT, Host, Pings, boot

_LISTEN_S = 0.25
_REPORT_EVERY_S = 0.2
_MESSAGE = "eventdrill"


class RunUser(User):
    """Stands for the run: it is there while the run goes on."""

    fixed_count = 1

    @task
    def watch(self) -> None:
        """Let the run go on."""
        gevent.sleep(3600)


class Page:
    """Shows summaries in a Locust environment: rates, latencies and failures as its statistics, faults as its exceptions."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._faults: list[str] = []
        environment.events.request.add_listener(self._add_summary)

    def show(self, told: dict[str, Any]) -> None:
        """Show what happened since the last summary."""
        for summary in told["summaries"]:
            self._fire(summary)
        for fault in told["faults"]:
            if fault not in self._faults:
                words = "a planned fault of the scenario is in effect"
                self._environment.runner.log_exception("local", f"fault: {fault}", words)
        self._faults = told["faults"]

    def _fire(self, summary: dict[str, Any]) -> None:
        """Report a summary as one request event; Locust's own listener counts one request of it, ours the others."""
        histogram = summary["histogram"]
        latency_ms = histogram[0][0] if histogram else None
        failures = summary["failures"]
        self._environment.events.request.fire(
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
        stats = self._environment.stats
        entry = stats.get(summary["name"], summary["kind"])
        extra = _entry(stats, summary)
        entry.extend(extra)
        stats.total.extend(extra)


class Control:
    """Locust's environment and the pipe to the driver."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.ended = False
        self.environment: Any = Environment(user_classes=[RunUser], host=child.spec["scenario"])
        self.fleet: Fleet | None = None
        self.runner: Any
        if wanted := child.spec.get("workers"):
            runner = self.environment.create_master_runner(wanted["host"], wanted["port"])
            self.runner, self.fleet = runner, Fleet(runner, child, wanted["count"])
        else:
            self.runner = self.environment.create_local_runner()
        self._follow(self.environment.events)
        self.page = Page(self.environment)
        if ui := child.spec["ui"]:
            self.environment.create_web_ui(host="127.0.0.1", port=ui["port"])
            spawn(stats_history, self.runner)

    def _follow(self, events: Any) -> None:  # Locust's events come without types
        events.test_start.add_listener(lambda **_: self.child.say("start"))
        events.test_stop.add_listener(self._stopped)

    def _stopped(self, **_: Any) -> None:
        if not self.ended:
            self.child.say("stop")

    def serve(self) -> None:
        """Follow the driver until it ends this process."""
        while not self.ended:
            request = self.child.hear(_LISTEN_S if self.fleet is None else 0.02)
            if self.fleet is not None:
                gevent.sleep(0)
                self.fleet.watch()
            match request and request["do"]:
                case None:
                    pass
                case "go":
                    ui = self.child.spec["ui"]
                    if not (ui and ui["start_by_hand"]):
                        count = 1 if self.fleet is None else self.fleet.count
                        self.runner.start(count, spawn_rate=count)
                case "show":
                    self.page.show(request)  # type: ignore[arg-type]  # None was the first case
                case "remote":
                    assert self.fleet is not None
                    self.fleet.send(request["message"])  # type: ignore[index]  # None was the first case
                case "end":
                    self.ended = True
                case other:
                    raise ValueError(f"the control process knows no request {other!r}")
        self.runner.quit()


class Fleet:
    """The Locust workers of a master: who runs what, how far their clocks are off, and whether they are still there."""

    def __init__(self, runner: MasterRunner, child: Child, count: int) -> None:
        self._runner = runner
        self._child = child
        self.count = count
        self._pings: dict[str, Pings] = {}
        self._place: dict[str, str] = {}
        """By process: its worker's id."""
        self._gone: set[str] = set()
        self._told = False
        runner.register_message(_MESSAGE, self._take)

    def watch(self) -> None:
        """Measure the clocks of new workers, tell the driver when all are there, and notice who is gone."""
        for worker in [each for each in self._runner.clients.values() if each.id not in self._pings]:
            self._pings[worker.id] = Pings()
            self._ping(worker.id)
        ready = [name for name, pings in self._pings.items() if pings.enough]
        if not self._told and len(ready) >= self.count:
            self._told = True
            clocks = {name: [pings.offset_ns, pings.error_ns] for name, pings in self._pings.items()}
            self._child.say("workers", clocks=clocks)
        for name in self._pings:
            worker = self._runner.clients.get(name)
            if name not in self._gone and (worker is None or worker.state == "missing"):
                self._gone.add(name)
                lost = [process for process, place in self._place.items() if place == name]
                self._child.say("worker gone", worker=name, processes=lost)

    def _ping(self, name: str) -> None:
        self._runner.send_message(_MESSAGE, {"ping": time.perf_counter_ns()}, client_id=name)

    def _take(self, environment: Any, msg: Any, **_: Any) -> None:
        data, name = msg.data, msg.node_id
        if "pong" not in data:
            self._child.say("remote", message=data)
            return
        pings = self._pings[name]
        if data["boot"] == boot():  # one machine has one clock
            pings.count, pings.offset_ns, pings.error_ns = 10**6, 0, 0
        else:
            pings.take(data["pong"], data["at"], time.perf_counter_ns())
        if pings.enough:
            self._runner.send_message(_MESSAGE, {"clock": pings.offset_ns}, client_id=name)
        else:
            self._ping(name)

    def send(self, message: dict[str, Any]) -> None:
        """Send something to the worker of a process; a new process goes to the worker with the fewest."""
        if "start" in message:
            there = sorted(name for name in self._pings if name not in self._gone)
            counts = {name: list(self._place.values()).count(name) for name in there}
            self._place[message["start"]] = min(there, key=lambda name: counts[name])
        process = message.get("start") or message.get("tell") or message["signal"]
        self._runner.send_message(_MESSAGE, message, client_id=self._place[process])


class Follower:
    """A Locust worker that runs producer processes for a master."""

    def __init__(self, runner: WorkerRunner) -> None:
        self._runner = runner
        self._host = Host()
        runner.register_message(_MESSAGE, self._take)
        spawn(self._report)

    def _take(self, environment: Any, msg: Any, **_: Any) -> None:
        data = msg.data
        if "ping" in data:
            answer = {"pong": data["ping"], "at": time.perf_counter_ns(), "boot": boot()}
            self._runner.send_message(_MESSAGE, answer)
        elif "clock" in data:
            self._host.offset_ns = data["clock"]
        else:
            self._host.take(data)

    def _report(self) -> None:
        while True:
            for message in self._host.report():
                self._runner.send_message(_MESSAGE, message)
            gevent.sleep(_REPORT_EVERY_S)

    def close(self) -> None:
        """End the processes."""
        self._host.close()


# ---- a Locust that somebody else started ---------------------------------------------------------------------------


class Standalone:
    """A run behind the buttons of a plain `locust -f loadgen/locustfile.py`: a driver is started with the test, and ends with it."""

    def __init__(self, environment: Any, scenario: str, options: list[str]) -> None:
        self._environment = environment
        self._command = [*python_module("eventdrill"), "drive", scenario, *options]
        self._page = Page(environment)
        self._driver: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="eventdrill-locust-")
        environment.events.test_start.add_listener(self._start)
        environment.events.test_stop.add_listener(self._stop)
        environment.events.quitting.add_listener(lambda **_: self._folder.cleanup())

    def _start(self, **_: Any) -> None:
        path = Path(self._folder.name) / "show"
        path.unlink(missing_ok=True)
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(str(path))
        server.listen(1)
        self._driver = subprocess.Popen(self._command, env={**os.environ, SHOW_AT: str(path)})
        spawn(self._follow, server)
        spawn(self._wait, self._driver)

    def _follow(self, server: socket.socket) -> None:
        with server, server.accept()[0] as driver, driver.makefile("rb") as lines:
            for line in lines:
                self._page.show(json.loads(line))

    def _wait(self, driver: "subprocess.Popen[bytes]") -> None:
        while driver.poll() is None:
            gevent.sleep(_LISTEN_S)
        self._environment.process_exit_code = driver.returncode
        if self._environment.web_ui is None:
            self._environment.runner.quit()
        else:
            self._environment.runner.stop()

    def _stop(self, **_: Any) -> None:
        if self._driver is not None and self._driver.poll() is None:
            self._driver.send_signal(signal.SIGINT)


def on_init(environment: Any, **_: Any) -> None:
    """Make a Locust that was started with our locustfile part of a run: a worker of a master, or the page of a run of its own."""
    if isinstance(environment.runner, WorkerRunner):
        follower = Follower(environment.runner)
        environment.events.quitting.add_listener(lambda **_: follower.close())
        return
    scenario = os.environ.get("EVENTDRILL_SCENARIO")
    if scenario is None:
        raise SystemExit(
            "name a scenario in EVENTDRILL_SCENARIO; options of `eventdrill drive` go into EVENTDRILL_OPTIONS"
        )
    Standalone(environment, scenario, os.environ.get("EVENTDRILL_OPTIONS", "").split())


def follow_locust() -> None:
    """Let our listeners hear of the Locust that loads the locustfile."""
    events.init.add_listener(on_init)  # type: ignore[no-untyped-call]  # Locust says no types there


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
        if master := child.spec.get("master"):
            _follow_master(child, master)
            return
        control = Control(child)
        child.say("ready")
        control.serve()


def _follow_master(child: Child, master: dict[str, Any]) -> None:
    """Be a worker until the driver ends this process, or the master does."""
    environment: Any = Environment(user_classes=[RunUser], host=child.spec["scenario"])
    runner = environment.create_worker_runner(master["host"], master["port"])
    follower = Follower(runner)
    child.say("ready")
    try:
        while child.hear(0.0) is None and not child.leaving:
            gevent.sleep(_LISTEN_S)
    finally:
        follower.close()
        runner.quit()


if __name__ == "__main__":
    main()
