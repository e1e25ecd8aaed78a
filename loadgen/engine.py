"""Drives a plan on real brokers: prepares them, starts the processes, applies the faults, waits for the drain and reads all back."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from confluent_kafka import KafkaError

from loadgen import incidents as incident_sources
from loadgen.actions import Actions
from loadgen.admin import EMBEDDED, Admin, AdminError, connection
from loadgen.audit import AuditError, audit
from loadgen.autoscaling import Autoscalers
from loadgen.children import ChildError
from loadgen.clusters.foreign import ForeignKafka
from loadgen.clusters.local import LocalKafka
from loadgen.clusters.model import Cluster, ClusterError
from loadgen.control_link import ControlLink, Fleet, Ui
from loadgen.crash_loops import CrashLoops
from loadgen.crew import ASSIGNED_WITHIN_S, Crew
from loadgen.emitted import unsent
from loadgen.foreign_admin import ForeignAdmin
from loadgen.gate import Gate, Open
from loadgen.gauges import Sampler
from loadgen.java.jvms import Pause, read_pauses
from loadgen.lab import Lab, needs_watchdog
from loadgen.offsets import BrokersLag, Committed, GroupOffsets, ShareOffsets, offsets_of, unrecorded
from loadgen.own_programs import AbsentError, OwnPrograms
from loadgen.recorder import Progress, Recorder
from loadgen.records import new_run_id
from loadgen.refuse import cannot, fleet_cannot
from loadgen.refuse_own import undeclared
from loadgen.run_clock import RunClock
from loadgen.schedule import EXACT_NS, Schedule
from loadgen.validity import clock_reasons, invalid_reasons, limits, timed_after
from loadgen.warm_up import WarmUp, warm_up
from loadgen.watchdog.client import Watchdog
from rundata.dataset import RunWriter
from rundata.operations import arranged
from rundata.rows import LOG_RECORD, NONE
from rundata.so_far import holds_since
from rundata.tables import Gauge, Incident, Phase, RunData
from rundata.transactions import settled
from scenarios.expectations import Expectation
from scenarios.files import LoadedScenario
from scenarios.plan import Plan
from scenarios.quantities import MILLISECOND, SECOND
from scenarios.retries import all_topics

START_AHEAD_NS = 700 * MILLISECOND
"""Time 0 lies so far ahead when it is told to the processes."""
FLEET_START_AHEAD_NS = 3 * SECOND
"""The same where it has to travel to Locust workers."""
TICK_NS = 50 * MILLISECOND
CORES_FOR_OTHERS = 2
SPIN_NS = 200_000
HALT_WITHIN_S = 10.0
OUTSIDE_GRACE_NS = SECOND
"""So long after the load records of the user's own programs may be on their way that were sent before its end."""
COMMITTED_WITHIN_S = 1.0
"""A coordinator that says what groups have committed while they drain is not waited for any longer."""

Tell = Callable[[Progress], None]


class DriveError(Exception):
    """A scenario that cannot be driven here, or a run whose preparation failed; the message holds every reason."""


def drive(
    loaded: LoadedScenario,
    plan: Plan,
    cluster: Cluster,
    writer: RunWriter,
    *,
    progress: Tell,
    ui: Ui | None = None,
    fleet: Fleet | None = None,
    warm: bool = True,
    warm_s: float = 60.0,
    gate: Gate | None = None,
) -> RunData:
    """Run the plan on the cluster, write it to the dataset and return it.

    `warm_s` is the longest warm-up; `gate` may hold the load and faults back. `about["state"]` tells whether the run is complete or was
    interrupted (and `about["incomplete"]` why), `about["invalid"]` why a complete one says nothing. Ctrl-C leaves a dataset that opens,
    and goes on as KeyboardInterrupt.
    """
    fleet_refuses = fleet_cannot(loaded.scenario) if fleet is not None else ()
    if refused := [*cannot(loaded.scenario, cluster), *fleet_refuses, *undeclared(plan)]:
        raise DriveError(f"{loaded.source} cannot be driven here:\n" + "\n".join(f"  {reason}" for reason in refused))
    run = _Run(plan, cluster, writer, progress, ui, fleet, gate or Open())
    try:
        run.prepare(warm_s if warm else 0.0)
        run.load()
        return run.finish()
    except KeyboardInterrupt:
        run.incomplete.append("interrupted by Ctrl-C")
        run.finish_at_once()
        raise
    except BaseException as error:
        writer.state("interrupted", incomplete=[*run.incomplete, str(error)])
        raise
    finally:
        run.close()


@dataclass
class _Every:
    """Something that is done at an interval."""

    interval_ns: int
    do: Callable[[], None]
    due_ns: int = 0


@dataclass
class _Run:
    """One live run from preparation to the finished dataset."""

    plan: Plan
    cluster: Cluster
    writer: RunWriter
    tell: Tell
    ui: Ui | None
    fleet: Fleet | None = None
    gate: Gate = field(default_factory=Open)
    incomplete: list[str] = field(default_factory=list)
    """Why the run did not go to its end."""
    warmed: WarmUp | None = None
    started: bool = False
    healed_ns: int = 0
    end_ns: int = 0

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        self.run_id = new_run_id()
        self.admin = _admin(self.cluster, self.plan)
        self.recorder = Recorder(self.plan, self.writer)
        self.sampler = Sampler()
        self.folder = self.writer.folder / "processes"
        self.crew = Crew(
            self.plan,
            self.cluster,
            self.folder,
            self.run_id,
            (self.admin.scratch_topic, self.admin.scratch_partitions),
            self._spin_ns(),
        )
        self.control = ControlLink(self.plan, self.folder, self.ui, self.fleet)
        if self.fleet is not None:
            self.crew.remote, self.crew.hear_remote = self.control.start_remote, self.control.hear
        self.clock: RunClock | None = None
        self.schedule: Schedule | None = None
        self.lab: Lab | None = None
        self.people: Actions | None = None
        self.crash_loops: CrashLoops | None = None
        self.scalers: Autoscalers | None = None
        self.watchdog: Watchdog | None = None
        self.own_programs = OwnPrograms(self.plan, self.admin, self.writer.folder, self.run_id)
        self.offsets: dict[str, GroupOffsets | ShareOffsets] = {}
        """By group that has been asked about: what its coordinator holds."""
        self.lags: dict[str, BrokersLag] = {}
        self.lost: dict[str, set[int]] = {}
        """By group: emitted events of which it has heard nothing, and that nobody will send any more, at the last look."""

    def _spin_ns(self) -> int:
        """Spin before each send only where there is a core for it: elsewhere it takes the time of those that it waits for."""
        scenario = self.plan.scenario
        processes = sum(p.count for p in scenario.producers.values()) + sum(g.members for g in scenario.groups.values())
        spare = (psutil.cpu_count() or 1) - processes - scenario.brokers.nodes - CORES_FOR_OTHERS
        return SPIN_NS if spare >= 0 else 0

    # ---- before time 0 ---------------------------------------------------------------------------------------------

    def prepare(self, warm_s: float) -> None:
        """Make topics and start offsets, start all processes, warm them, and wait until every member has its share."""
        self.writer.state("preparing", brokers=self._brokers())
        self.crew.clients.prepare(lambda text: self._say("preparing", text))
        self._say("preparing", "creating topics")
        self.control.start()
        foreign = isinstance(self.cluster, ForeignKafka)
        if foreign or needs_watchdog(self.plan.scenario):
            self.watchdog = Watchdog(connection(self.cluster), private=not foreign)
        self.admin.prepare(self.watchdog)
        self.admin.commit_start_offsets()
        self.control.gather(lambda text: self._say("preparing", text))
        self._say("preparing", "starting producers and members")
        self.crew.start()
        if warm_s > 0:
            self.warmed = warm_up(
                self.crew, connection(self.cluster), warm_s, lambda text: self._say("warming up", text)
            )
        self.admin.restore_leaders()
        try:
            self.own_programs.wait(lambda text: self._say("preparing", text))
        except AbsentError as error:
            raise DriveError(str(error)) from None
        self._say("preparing", "waiting for the groups' assignments")
        self.crew.wait(self.crew.assigned, ASSIGNED_WITHIN_S, "assigning every partition to a member")
        self.control.wait_for_start(self.crew, lambda text: self._say("preparing", text))
        self.gate.ready()

    def _brokers(self) -> dict[str, Any]:
        return {
            "implementation": self.cluster.implementation,
            "version": self.cluster.version,
            "nodes": self.cluster.nodes,
            "proxies": self.cluster.proxies is not None,
        }

    def _say(self, phase: str, message: str) -> None:
        self.tell(Progress(phase, message, planned=len(self.plan), duration_ns=self.plan.scenario.duration))

    # ---- the load --------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Start the clock, apply the faults at their instants, and watch until everything has ended."""
        self.clock = clock = RunClock.starting_in(START_AHEAD_NS if self.fleet is None else FLEET_START_AHEAD_NS)
        self.lab = Lab(self.plan, self.cluster, self.crew, self.admin, clock, self.recorder.next_poll_id, self.watchdog)
        self.crew.begin(clock.start_ns, clock.start_unix_ns)
        self.own_programs.begin(clock.start_unix_ns)
        self.started = True
        self.writer.state("running", clock_start=clock.start_text)
        self.people = Actions(
            self.plan, self.crew, self.admin, clock, self.recorder.next_poll_id, self._holds_since, self._come_back
        )
        self.crash_loops = CrashLoops(self.crew, clock, self.recorder.next_poll_id)
        self.scalers = Autoscalers(
            self.plan.scenario, self.admin, self.crew, clock, self.recorder.next_poll_id, self._come_back
        )
        self.schedule = Schedule(self.plan, self.lab, self.people, self.gate, clock.now_ns, self.incomplete.append)
        repeated = [
            _Every(SECOND // 2, self._watch),
            _Every(SECOND, self._sample),
            _Every(2 * SECOND, self._collect),
            _Every(SECOND // 2, lambda: self.own_programs.watch(clock.now_ns())),
            _Every(SECOND, self._ask_committed),
            _Every(SECOND, self._give_up_lost),
            _Every(SECOND // 10, self.crew.look),
            _Every(SECOND // 10, self.crash_loops.look),
            _Every(SECOND // 10, self.scalers.advance),
        ]
        try:
            while not self._over(self.schedule.left):
                self._step(clock, self.schedule, repeated)
        except (ClusterError, ChildError) as error:  # whatever has died, what was recorded so far is worth keeping
            self.incomplete.append(str(error))
        self.end_ns = clock.now_ns()
        if not self.healed_ns:
            self.healed_ns = self.end_ns

    def _step(self, clock: RunClock, schedule: Schedule, repeated: list[_Every]) -> None:
        """Do what is due, and sleep to the next instant that matters."""
        now = clock.now_ns()
        schedule.do_what_is_due()
        assert self.people is not None
        self.people.advance()
        exact_ns = schedule.next_ns(now + SECOND)
        for each in repeated:
            if each.due_ns <= clock.now_ns() < exact_ns - EXACT_NS:
                each.due_ns = clock.now_ns() + each.interval_ns
                each.do()
        self._sleep_until(min(exact_ns, clock.now_ns() + TICK_NS))

    def _come_back(self) -> set[str]:
        """Return the members that are gone and will be started again, by the end of a fault, of a crash loop's wait, or of an action's step."""
        assert self.lab is not None
        assert self.crash_loops is not None
        assert self.people is not None
        return self.lab.come_back() | self.crew.come_back() | self.crash_loops.come_back() | self.people.come_back()

    def _holds_since(self, expectation: Expectation, since_ns: int) -> bool:
        """Whether an expectation holds of what was intended since an instant."""
        assert self.clock is not None
        self.recorder.take()
        operations = arranged(self.recorder.operations(self.crew.started_ns()))
        now_ns = self.clock.now_ns()
        plan, operations, _, _ = self.own_programs.written_down(operations, np.zeros(0, LOG_RECORD))
        return holds_since(expectation, plan, operations, since_ns=since_ns, now_ns=now_ns, engine="driven")

    def _sleep_until(self, at_ns: int) -> None:
        assert self.clock is not None
        remaining = at_ns - self.clock.now_ns()
        if remaining > 0:
            time.sleep(remaining / SECOND)
            self.sampler.overslept(self.clock.now_ns() - at_ns)

    def _over(self, faults_left: bool) -> bool:
        """Whether the load has ended, the faults are healed and the groups have drained, or the time for that is over."""
        assert self.clock is not None
        scenario, now = self.plan.scenario, self.clock.now_ns()
        assert self.people is not None
        left = faults_left or self.people.busy()
        if now >= scenario.duration and not left and not self.healed_ns:
            self.healed_ns = now
            self.writer.state("draining")
        if self.incomplete or now >= scenario.duration + scenario.drain:
            return True
        if self.own_programs.producers and now < scenario.duration + OUTSIDE_GRACE_NS:
            return False  # what their last moment brought has yet to be read
        return bool(self.healed_ns) and self.crew.finished() and self._drained()

    def _drained(self) -> bool:
        self.recorder.take()
        awaited = (self.crew.started_ns() != NONE) & ~(self.crew.abandoned & ~self.recorder.answered)
        if not self.recorder.all_ended(int(np.count_nonzero(awaited))):
            return False
        # What a group has committed, a member may still be working on.
        return not self.recorder.passed_some or self.crew.settled()

    def _ask_committed(self) -> None:
        """While the groups drain, ask what they have committed: only that tells of events that a killed member had in hand."""
        if not self.healed_ns:
            return
        for group, what in self.plan.scenario.groups.items():
            if not what.external and self.recorder.lag()[group]:
                with suppress(AdminError):
                    self.recorder.learn_committed(group, self._offsets_of(group).read(COMMITTED_WITHIN_S))

    def _give_up_lost(self) -> None:
        """While the groups drain, wait no longer for what a member that was killed had emitted and not sent.

        A group that has committed all that its brokers hold, a second after that member was gone, will never hear of it.
        """
        if not self.healed_ns:
            return
        living = self.crew.living_logs()
        self.recorder.take()
        for group, what in self.plan.scenario.groups.items():
            if what.external or what.share_group or what.commit in ("auto", "before_work"):
                continue  # what it has committed it may not have handled
            before, self.lost[group] = self.lost.get(group, set()), self.recorder.lost(group, living)
            if gone := before & self.lost[group]:
                with suppress(AdminError):
                    if self._lag_of(group).read(COMMITTED_WITHIN_S)[0] == 0:
                        self.recorder.forget(group, gone)

    def _lag_of(self, group: str) -> BrokersLag:
        if group not in self.lags:
            self.lags[group] = BrokersLag(self.admin, self.plan.scenario, group)
        return self.lags[group]

    def _offsets_of(self, group: str) -> GroupOffsets | ShareOffsets:
        if group not in self.offsets:
            self.offsets[group] = offsets_of(self.admin, self.plan.scenario, group)
        return self.offsets[group]

    def _watch(self) -> None:
        """Show the progress, and notice who has died or asked to stop."""
        self._show()
        self.incomplete += self.crew.deaths()
        self.incomplete += self.control.endings()
        self.incomplete += self._dead_brokers()

    def _show(self) -> None:
        """Show what is recorded by now, here and on Locust's page."""
        assert self.clock is not None
        assert self.lab is not None
        self.recorder.take()
        now, scenario = self.clock.now_ns(), self.plan.scenario
        running = now < scenario.duration
        left_ns = (scenario.duration if running else scenario.duration + scenario.drain) - now
        shown = self.recorder.progress("running" if running else "draining", now, left_ns, self.lab.in_effect())
        self.tell(shown)
        self.control.show(shown, self.recorder.summaries())

    def _dead_brokers(self) -> list[str]:
        assert self.lab is not None
        ended = self.lab.hurt()
        nodes = range(1, self.cluster.nodes + 1)
        return [f"broker {node} has died" for node in nodes if node not in ended and not self.cluster.alive(node)]

    def _sample(self) -> None:
        assert self.clock is not None
        pids = {worker.name: worker.pid for worker in self.crew.all() if worker.running and worker.pid}
        pids |= {"driver": psutil.Process().pid, **self.control.pids()}
        if self.cluster.implementation == EMBEDDED:
            brokers = {"brokers": self.cluster.pid(1)}
        else:
            brokers = {f"broker {node}": self.cluster.pid(node) for node in range(1, self.cluster.nodes + 1)}
        running = {name: pid for name, pid in brokers.items() if pid is not None}
        now_ns = self.clock.now_ns()
        self.sampler.sample(
            now_ns,
            pids | running,
            [name for name in self.crew.names.processes if self.crew.clients.is_java(name)],
        )
        self.sampler.sample_waits(now_ns, running)

    def _collect(self) -> None:
        self.writer.collect()

    # ---- afterwards ------------------------------------------------------------------------------------------------

    def finish(self) -> RunData:
        """Undo the faults, end the processes in good order, read all topics back and write the dataset."""
        assert self.lab is not None
        if self.incomplete:
            self._halt()
        self._end_scalers()
        self.incomplete += self.lab.undo_all()
        self.crew.stop_producers()
        self.crew.stop_members()
        self.crew.stop_watcher()
        self._show()
        self._say("reading back", "reading every topic from its first to its last offset")
        held = self._committed()
        log, extents = self._audit()
        self.admin.see_off(self.crew.unparted())
        self.admin.remove_scratch()
        run = self._data(log, extents, held)
        self.writer.finish(run, "interrupted" if self.incomplete else "complete")
        return run

    def _end_scalers(self) -> None:
        """Let nobody look at lags any more."""
        if self.scalers is not None:
            self.scalers.end()

    def _halt(self) -> None:
        """Let the producers send nothing more, and wait a little for what is under way."""
        for worker in self.crew.producers.values():
            if worker.running:
                worker.tell("halt")
        until = time.monotonic() + HALT_WITHIN_S
        while not self.crew.finished() and time.monotonic() < until:
            self.crew.hear()
            time.sleep(0.05)

    def finish_at_once(self) -> None:
        """Write what there is: no drain and no audit, since somebody is waiting for the prompt."""
        if not self.started:
            self.writer.state("interrupted", incomplete=self.incomplete)
            return
        assert self.lab is not None
        assert self.clock is not None
        self.end_ns = self.end_ns or max(0, self.clock.now_ns())
        self.healed_ns = self.healed_ns or self.end_ns
        self._end_scalers()
        self.lab.undo_all()
        self.crew.stop_producers()
        self.crew.stop_members()
        self.crew.stop_watcher()
        self.recorder.take()
        self.writer.finish(self._data(np.zeros(0, LOG_RECORD), (), {}), "interrupted")

    def _audit(self) -> tuple[Any, Any]:
        assert self.clock is not None
        try:
            topics = {name: self.admin.partitions(name) for name in all_topics(self.plan.scenario)}
            self.admin.wait_leaders_known(list(topics))
            transactional = any(group.commit == "transaction" for group in self.plan.scenario.groups.values())
            transactional |= any("transactional.id" in each.settings for each in self.plan.scenario.producers.values())
            return audit(
                connection(self.cluster),
                topics,
                self.run_id,
                self.clock.start_unix_ns,
                transactional=transactional,
                look=self.own_programs.sizes.look if self.own_programs.producers else None,
            )
        except (AdminError, AuditError) as error:
            self.incomplete.append(f"the topics could not be read back: {error}")
            return np.zeros(0, LOG_RECORD), ()

    def _committed(self) -> dict[str, Committed]:
        """Return what the coordinators hold for each group; without it nobody knows what was passed over, so the run is incomplete."""
        held: dict[str, Committed] = {}
        try:
            for group in self.plan.scenario.groups:
                held[group] = self._offsets_of(group).read()
        except AdminError as error:
            self.incomplete.append(str(error))
        return held

    def _data(self, log: Any, extents: Any, held: Mapping[str, Committed]) -> RunData:
        assert self.lab is not None
        assert self.clock is not None
        operations = settled(arranged(self._rows(held)), log)
        self.incomplete += timed_after(operations, self.crew.names, self.clock.now_ns())
        plan, operations, log, wrong = self.own_programs.written_down(operations, log)
        self.incomplete += [wrong] if wrong else []
        of_plan = np.flatnonzero((operations["event_id"] >= 0) & (operations["event_id"] < len(plan)))
        operations["schema_version"][of_plan] = plan.schema_version[operations["event_id"][of_plan]]
        found = self._incidents()
        return RunData(
            plan=plan,
            engine="driven",
            operations=operations,
            log=log,
            extents=extents,
            faults=self.lab.records(plan, found, operations, log),
            actions=self.people.records() if self.people is not None else (),
            incidents=tuple(found),
            phases=self._phases(),
            gauges=tuple(self._gauges()),
            end_ns=self.end_ns,
            error_names={int(code): KafkaError(int(code)).name() for code in np.unique(operations["error"]) if code},
            about=self._about(operations),
        )

    def _rows(self, held: Mapping[str, Committed]) -> Any:
        """Return what was recorded, and what processes that were killed could not record; of a long run too large to be copied for nothing."""
        assert self.clock is not None
        rows = self.recorder.operations(self.crew.started_ns())
        committed = unrecorded(rows, self.crew.names, held, self.clock.now_ns())
        rows = _with(rows, committed, *self.crew.remembered(rows))
        return _with(rows, unsent(self.plan, rows))

    def _gauges(self) -> list[Gauge]:
        assert self.clock is not None
        pauses = [*self.crew.clients.pauses(), *self._pauses_of_brokers()]
        return [*self.sampler.gauges, *self.crew.jvms.gauges(self.clock.start_ns, self.end_ns, pauses)]

    def _pauses_of_brokers(self) -> Iterator[tuple[str, list[Pause]]]:
        for node in range(1, self.cluster.nodes + 1):
            for log in self.cluster.pause_logs(node):
                yield f"broker {node}", read_pauses(log)

    def _incidents(self) -> list[Incident]:
        assert self.clock is not None
        assert self.lab is not None
        found = [
            *incident_sources.from_members(self.crew.heard, self.clock),
            *self.lab.incidents,
            *(self.people.incidents if self.people is not None else ()),
            *(self.crash_loops.incidents if self.crash_loops is not None else ()),
            *(self.scalers.incidents if self.scalers is not None else ()),
            *(
                ()
                if not isinstance(self.cluster, LocalKafka)
                else incident_sources.from_logs(self.cluster.log_dir, self.plan, self.clock, self.crew.member_ids)
            ),
        ]
        return sorted(found, key=lambda each: (each.time_ns, each.kind, each.where))

    def _phases(self) -> tuple[Phase, ...]:
        scenario = self.plan.scenario
        load_end = min(scenario.duration, self.end_ns)
        warm = min(scenario.warm_up, load_end)
        phases = [
            Phase("warm-up", 0, warm),
            Phase("measure", warm, load_end),
            Phase("heal", load_end, max(load_end, self.healed_ns)),
            Phase("drain", max(load_end, self.healed_ns), self.end_ns),
        ]
        return tuple(each for each in phases if each.end_ns > each.begin_ns)

    def _about(self, operations: Any) -> dict[str, Any]:
        late = {
            name: int(worker.said["bye"]["late_p99_ns"])
            for name, worker in self.crew.members.items()
            if "bye" in worker.said
        }
        assert self.clock is not None
        blocks = self.crew.jvms.blocks_from(self.clock.start_ns)
        return {
            "state": "interrupted" if self.incomplete else "complete",
            "clock_start": self.clock.start_text,
            "clock_error_ns": self.clock.error_ns,
            "brokers": self._brokers(),
            "incomplete": self.incomplete,
            "invalid": [
                *invalid_reasons(self.plan, operations, self._gauges(), late, blocks),
                *clock_reasons(self.clock.stepped_ns(), self.clock.now_ns()),
                *(self.schedule.late if self.schedule is not None else ()),
            ],
            "notes": self.admin.notes,
            "seconds": round(time.monotonic() - self.began, 3),
            "driver": {
                "spin_ns": self.crew.spin_ns,
                "warm_up": asdict(self.warmed) if self.warmed else None,
                "member_late_p99_ns": late,
                "thread_cpu_s": self._said_at_the_end("run_cpu_s"),
                "process_cpu_s": self._said_at_the_end("cpu_s"),
                "java": self.crew.clients.versions(),
                **asdict(limits(self.plan, operations, blocks)),
            },
        }

    def _said_at_the_end(self, figure: str) -> dict[str, float]:
        """Return what processes said of themselves: CPU of the thread that works from time 0 to its end, or of the process from its start."""
        said = {worker.name: worker.said.get("bye", {}) for worker in self.crew.all()}
        return {name: round(bye[figure], 6) for name, bye in said.items() if figure in bye}

    def close(self) -> None:
        """End whatever still runs, and remove what only the run needed."""
        if self.lab is not None:
            self.lab.undo_all()
            self.lab.close()
        if self.people is not None:
            self.people.close()
        if self.watchdog is not None:
            self.watchdog.close()
        self.own_programs.close()
        for asked in (*self.offsets.values(), *self.lags.values()):
            asked.close()
        self.crew.close()
        self.admin.see_off(self.crew.unparted())
        self.control.close()
        _tidy(self.folder)
        if self.scalers is not None:
            self.scalers.close()


def _admin(cluster: Cluster, plan: Plan) -> Admin:
    return ForeignAdmin(cluster, plan) if isinstance(cluster, ForeignKafka) else Admin(cluster, plan)


def _with(rows: Any, *more: Any) -> Any:
    """Return rows with others behind them; themselves where there are none."""
    others = [each for each in more if len(each)]
    return np.concatenate([rows, *others]) if others else rows


def _tidy(folder: Path) -> None:
    """Remove arrays and specifications, and logs that say nothing; a log with words in it stays for whoever wonders."""
    for path in folder.glob("*"):
        if path.suffix != ".log" or not path.stat().st_size:
            path.unlink()
    if not any(folder.iterdir()):
        shutil.rmtree(folder)
