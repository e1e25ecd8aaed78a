"""The run's child processes as one crew: who is started and told what, who is assigned what, and who has died."""

import pickle
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import TopicPartition
from numpy.typing import NDArray

from loadgen.admin import public_connection, security_of
from loadgen.children import ChildError, Worker, python_module, wait_until
from loadgen.clients import Clients
from loadgen.clusters.model import Cluster
from loadgen.clusters.security import for_children
from loadgen.group_spec import services
from loadgen.java.jvms import Jvms
from loadgen.java.security import java_security
from loadgen.member_dedupe import known_events, unrecorded_effects
from loadgen.plan_files import PlanFiles
from loadgen.process_specs import WATCHER, ProcessSpecs
from loadgen.remote import RemoteWorker
from rundata.allowed import remembers
from rundata.rows import NONE
from rundata.tables import Names
from scenarios.actions import Deploy
from scenarios.clients import consumer_settings
from scenarios.outside import outside_topics
from scenarios.plan import Plan
from scenarios.quantities import format_duration
from scenarios.retries import all_topics, retry_topics
from scenarios.schema import Group

READY_WITHIN_S = 60.0
ASSIGNED_WITHIN_S = 90.0
LEAVE_WITHIN_S = 20.0


class Crew:
    """Producer processes and group members by name (`shop/1`, `fulfilment/2`)."""

    def __init__(
        self, plan: Plan, cluster: Cluster, folder: Path, run_id: int, scratch: tuple[str, int], spin_ns: int
    ) -> None:
        self.plan = plan
        self.cluster = cluster
        self.folder = folder
        self.clients = Clients(plan.scenario, cluster, folder)
        self.run_id = run_id
        self.spin_ns = spin_ns
        self.scratch_topic, self.scratch_partitions = scratch
        self.names = Names.of(plan.scenario)
        self.start_ns: int | None = None
        self.producers: dict[str, Worker] = {}
        self.members: dict[str, Worker] = {}
        self.gone: list[Worker] = []
        """Incarnations of members that have ended."""
        self._leaving: dict[str, tuple[Worker, float, Callable[[], None]]] = {}
        """By member that comes back when it has left: its process, until when it may take for that, and what to do then."""
        self._logs: dict[str, str] = {}
        """By member: the log to which its present process writes its rows."""
        self.owned: dict[str, set[tuple[str, int]]] = {}
        self.heard: list[tuple[int, str, str, str]] = []
        """What members said: instant on the clock, kind, who, detail."""
        self.jvms = Jvms()
        """What the Java processes say of themselves."""
        self.member_ids: dict[str, str] = {}
        """Who had which id from the coordinator, as the brokers' logs name members."""
        self.ended_by_policy: set[str] = set()
        self.crashed: list[tuple[int, str]] = []
        """Members that died of an event by their handler's policy: instant on the clock, and who."""
        self.remote: Callable[[str, Mapping[str, Any]], RemoteWorker] | None = None
        """Starts a producer process under a Locust worker; None where they are children of the driver."""
        self.hear_remote: Callable[[], None] = lambda: None
        self.versions: dict[str, Deploy | None] = {}
        """By member: the version that it was last replaced by."""
        self._asked_to_settle: set[int] = set()
        """Processes that were asked to say when they have nothing in hand."""
        self.abandoned = np.zeros(len(plan), np.bool_)
        """Events that a producer process had in its hands or behind it when it was killed: nobody will hear more of them."""
        self.relays: list[Worker] = []
        """The processes that send what members have put into outboxes."""
        self.dependencies: Worker | None = None
        """The process of the services that groups call."""
        self.watcher: Worker | None = None
        """The process that reads what the user's own programs write; None where all events are planned."""
        self._sockets: tempfile.TemporaryDirectory[str] | None = None
        folder.mkdir()
        self._files = PlanFiles(plan, folder)
        self._specs = ProcessSpecs(plan, self.clients, self._files, run_id, scratch, spin_ns)

    def started_ns(self) -> NDArray[np.int64]:
        """Return when each event was handed to its client, NONE for those that were not."""
        return self._files.started_ns()

    # ---- starting --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all processes and wait until the clients are connected."""
        if self.plan.scenario.dependencies:
            self._start_dependencies()
        self._start_relays()
        if outside_topics(self.plan.scenario):
            self.watcher = self.helper(WATCHER, "loadgen.watch_process", self._specs.watcher())
        for name in self.names.processes:
            owner = name.rpartition("/")[0]
            if self.clients.owner(name).external:
                continue  # is the user's own program
            if (
                owner in self.plan.scenario.groups
                and int(name.rpartition("/")[2]) > self.plan.scenario.groups[owner].members
            ):
                continue  # joins when the group is scaled
            if owner in self.plan.scenario.producers:
                self.producers[name] = self._worker(name, self._specs.producer(name))
            else:
                self.start_member(name, 0)
        self.wait(
            lambda: all("ready" in worker.said for worker in self.all()), READY_WITHIN_S, "connecting the clients"
        )

    def _worker(self, name: str, spec: Mapping[str, Any]) -> Any:
        if self.remote is not None and name.rpartition("/")[0] in self.plan.scenario.producers:
            return self.remote(name, spec)
        command = self.clients.command(name, Path(spec["rows"]).stem)
        return Worker(name, command, spec, self.folder, self._security(name))

    def _beside(self, name: str, role: str, member: str, spec: Mapping[str, Any]) -> Worker:
        """Return a process that works beside the members of a group, with the client that they have."""
        command = self.clients.command(member, Path(spec["rows"]).stem, role)
        return Worker(name, command, spec, self.folder, self._security(member))

    def _security(self, process: str) -> dict[str, str]:
        security = security_of(self.cluster)
        return for_children(java_security(security) if self.clients.is_java(process) else security)

    def _start_dependencies(self) -> None:
        path = self.folder / "dependencies.pickle"
        path.write_bytes(pickle.dumps(services(self.plan)))
        datagrams = any(group.calls and group.client == "java" for group in self.plan.scenario.groups.values())
        spec = {"socket": self._socket(), "services": str(path), "datagrams": datagrams, "arrays": {}}
        command = python_module("loadgen.dependency_process")
        self.dependencies = Worker("dependencies", command, spec, self.folder)

    def _socket(self) -> str:
        """Return the path of the dependencies' socket: in a folder of its own, because such paths must be short."""
        if self._sockets is None:
            self._sockets = tempfile.TemporaryDirectory(prefix="eventdrill-")
        return f"{self._sockets.name}/calls"

    def start_member(self, name: str, first_poll_id: int) -> None:
        """Start a member, for the first time or again."""
        self.owned[name] = set()
        spec = self._specs.member(name, first_poll_id, self.start_ns, version=self.versions.get(name))
        self.members[name] = self._worker(name, {**spec, **self._calls(name.rpartition("/")[0])})
        self._logs[name] = Path(spec["rows"]).name

    def _calls(self, group: str) -> dict[str, str | None]:
        """Return where the members of a group find the dependencies that they call."""
        return {"dependencies": self._socket() if self.plan.scenario.groups[group].calls else None}

    def helper(self, name: str, module: str, what: Mapping[str, Any]) -> Worker:
        """Start a process that does something beside the run."""
        spec = {"connection": public_connection(self.cluster), "run_id": self.run_id, "arrays": {}, **what}
        return Worker(name, python_module(module), spec, self.folder, for_children(security_of(self.cluster)))

    def replayer(self, group: str, name: str, places: list[TopicPartition], rate_hz: float | None) -> Worker:
        """Start a process that handles what lies in the log from some places once more, as the group's first member would."""
        spec = self._specs.member(f"{group}/1", 0, self.start_ns, version=self.versions.get(f"{group}/1"), rows_of=name)
        of_no_member = {**spec["codes"], "process": NONE}
        froms = [(each.topic, each.partition, each.offset) for each in places]
        what = {**self._calls(group), "codes": of_no_member, "from": froms, "rate_hz": rate_hz}
        return self._beside(name, "replay", f"{group}/1", {**spec, **what})

    def _start_relays(self) -> None:
        """Start the relay of each group with an outbox."""
        for name, group in self.plan.scenario.groups.items():
            if any(what.outbox is not None for what in group.emits):
                spec = self._specs.relay(name, self.start_ns)
                self.relays.append(self._beside(f"{name}-outbox", "relay", f"{name}/1", spec))

    def all(self) -> list[Worker]:
        """Return the processes that are part of the run now."""
        others = [each for each in (self.dependencies, self.watcher) if each is not None]
        return [*others, *self.relays, *self.producers.values(), *self.members.values()]

    def warming(self) -> list[Worker]:
        """Return the processes that warm up: all producers, and the members whose program is compiled as it runs."""
        return [
            worker
            for name, worker in {**self.producers, **self.members}.items()
            if name in self.producers or self.clients.is_java(name)
        ]

    def wait(self, done: Any, within_s: float, what: str) -> None:
        """Wait for something that the processes say."""
        wait_until(done, self.all(), within_s, what, self.hear)

    def assigned(self) -> bool:
        """Whether each partition has its owner, and every member its share."""
        return all(self._assigned(name, group) for name, group in self.plan.scenario.groups.items())

    def _assigned(self, name: str, group: Group) -> bool:
        if group.external:
            return True
        topics = {
            topic: all_topics(self.plan.scenario)[topic].partitions
            for topic in (*group.topics, *retry_topics(self.plan.scenario, name))
        }
        wanted = sorted((topic, number) for topic, count in topics.items() for number in range(count))
        owned = [self.owned[f"{name}/{number}"] for number in range(1, group.members + 1)]
        if group.share_group:  # several members may read one partition
            return all(owned) and set().union(*owned) == set(wanted)
        if sorted(place for places in owned for place in places) != wanted:
            return False
        if "partition.assignment.strategy" in group.settings:
            return True
        counts = sorted(map(len, owned))
        if consumer_settings(self.plan.scenario, name).protocol == "consumer":
            return counts[-1] - counts[0] <= 1
        return counts == sorted(_range_shares(list(topics.values()), group.members))

    def begin(self, start_ns: int, start_unix_ns: int) -> None:
        """Tell everybody the instant at which the clock starts."""
        self.start_ns = start_ns
        for worker in self.all():
            if worker is self.watcher:  # the timestamps that it reads are of the time of day
                worker.tell("start", at_ns=start_ns, unix_ns=start_unix_ns)
            else:
                worker.tell("start", at_ns=start_ns)

    # ---- hearing ---------------------------------------------------------------------------------------------------

    def hear(self) -> None:
        """Take in what the processes have said."""
        self.hear_remote()
        for worker in [*self.all(), *self.gone]:
            for message in worker.hear():
                self._note(worker, message)

    def _note(self, worker: Worker, message: Mapping[str, Any]) -> None:
        match message["event"]:
            case "assignment" | "revocation" | "lost" as kind:
                if message["member_id"]:  # one that has lost its place in the group has none
                    self.member_ids[message["member_id"]] = worker.name
                if self.members.get(worker.name) is worker:
                    self.owned[worker.name] = {(topic, number) for topic, number in message["partitions"]}
                detail = " ".join(f"{topic}/{number}" for topic, number in message["partitions"])
                self.heard.append((message["at"], "revocation" if kind == "lost" else kind, worker.name, detail))
            case "ready":
                if "at" in message:
                    self.jvms.check_clock(worker.name, message["at"])
            case "blocked":
                self.jvms.blocked(worker.name, message["at"], message["until"])
                detail = f"send() held it up for {format_duration(message['total_ns'])}"
                self.heard.append((message["at"], "blocked", worker.name, detail))
            case "jit":
                self.jvms.compiled(worker.name, message["at"], message["compiled_ms"])
            case "client error":
                self.heard.append((message["at"], "client error", worker.name, message["text"]))
            case "crashed":
                worker.expected_to_end = True
                self.crashed.append((message["at"], worker.name))
            case "bye":
                worker.expected_to_end = True
                if message.get("stopped"):
                    self.ended_by_policy.add(worker.name)
                    self.heard.append((message["at"], "stopped", worker.name, "the handler's policy ended the member"))

    def deaths(self) -> Iterator[str]:
        """Yield what became of processes that ended and should not have."""
        self.hear()
        for worker in self.all():
            if not worker.running and not worker.expected_to_end:
                self.hear()  # its goodbye may have come together with its end
                if not worker.expected_to_end:
                    worker.expected_to_end = True
                    yield worker.obituary()

    def finished(self) -> bool:
        """Whether every producer has sent all and heard of all."""
        return all("finished" in worker.said or not worker.running for worker in self.producers.values())

    def living_logs(self) -> set[str]:
        """Return the logs of rows of the members that go on."""
        return {self._logs[name] for name, worker in self.members.items() if worker.running}

    def settled(self) -> bool:
        """Whether no member has an event in hand; each is asked once. Java's client commits nothing that it has not done."""
        up = [
            w for w in self.members.values() if w.running and not w.expected_to_end and not self.clients.is_java(w.name)
        ]
        for worker in up:
            if worker.pid not in self._asked_to_settle:
                self._asked_to_settle.add(worker.pid)
                worker.tell("settle")
        self.hear()
        return all("settled" in worker.said for worker in up)

    # ---- ending ----------------------------------------------------------------------------------------------------

    def end_member(self, name: str, number: signal.Signals) -> Worker:
        """Let a member leave (SIGTERM), unless it is on its way out already, or crash (SIGKILL)."""
        worker = self.members[name]
        if number == signal.SIGKILL:
            worker.signal(number)
            worker.process.wait()
        elif not worker.expected_to_end:
            worker.signal(number)
        return worker

    def replace_member(self, name: str, first_poll_id: int) -> None:
        """Start a member again after it crashed or left."""
        old = self.members[name]
        old.end(LEAVE_WITHIN_S)
        self.gone.append(old)
        self.start_member(name, first_poll_id)

    def when_left(self, name: str, then: Callable[[], None]) -> None:
        """Do something when a member's process has ended: at once where it has, or when `look` finds it so."""
        worker = self.members[name]
        if worker.running:
            self._leaving[name] = worker, time.monotonic() + LEAVE_WITHIN_S, then
        else:
            then()

    def look(self) -> None:
        """Do what waits for members that have left by now; one that takes too long is killed, and one that others have replaced is theirs."""
        for name, (worker, until, then) in list(self._leaving.items()):
            if worker.running and time.monotonic() < until:
                continue
            del self._leaving[name]
            if self.members[name] is worker:
                worker.end(0)
                then()

    def come_back(self) -> set[str]:
        """Return the members that are on their way out, and come back when they have left."""
        return set(self._leaving)

    def crash_producer(self, name: str) -> None:
        """Kill a producer process; what its client had not sent is gone."""
        worker = self.producers[name]
        worker.signal(signal.SIGKILL)
        worker.process.wait()
        self.gone.append(worker)
        producer, _, number = name.rpartition("/")
        own = (self.plan.producer == self.plan.producers.index(producer)) & (self.plan.process == int(number))
        self.abandoned |= own & (self.started_ns() != NONE)

    def restart_producer(self, name: str) -> None:
        """Start a producer process again: it sends what was not handed to the client before, at once what is due."""
        self.producers[name] = self._worker(name, self._specs.producer(name))
        self.producers[name].tell("start", at_ns=self.start_ns)

    def stop_producers(self) -> None:
        """Let the producers give up what is not acknowledged, and end."""
        for worker in self.producers.values():
            worker.expected_to_end = True
            worker.tell("stop")
        self._end(self.producers.values())

    def stop_members(self) -> None:
        """Let the members leave in good order: all commit before the first one's leaving begins a rebalance."""
        running = [worker for worker in self.members.values() if worker.running and not worker.expected_to_end]
        for worker in running:
            worker.tell("wind up")
        with suppress(ChildError):
            wait_until(
                lambda: all("wound up" in w.said or not w.running for w in running),
                [],
                LEAVE_WITHIN_S,
                "the members' last commits",
                self.hear,
            )
        for worker in self.members.values():
            worker.signal(signal.SIGTERM)
        self._end(self.members.values())
        for relay in self.relays:
            relay.signal(signal.SIGTERM)
        self._end(self.relays)
        if self.dependencies is not None:
            self.dependencies.signal(signal.SIGTERM)
            self._end([self.dependencies])

    def remembered(self, operations: NDArray[np.void]) -> Iterator[NDArray[np.void]]:
        """Yield rows for effects that groups remember, and that members were killed before they could record."""
        for code, (name, group) in enumerate(self.plan.scenario.groups.items()):
            if remembers(group):
                yield unrecorded_effects(operations, code, *known_events(self._files.memory(name)))

    def unparted(self) -> dict[str, list[str]]:
        """Return by group the ids of members whose processes have ended without leaving it."""
        found: dict[str, list[str]] = {}
        gone = {
            each.name for each in [*self.members.values(), *self.gone] if not each.running and "bye" not in each.said
        }
        for member_id, name in self.member_ids.items():
            if name in gone:
                found.setdefault(name.rpartition("/")[0], []).append(member_id)
        return found

    def stop_watcher(self) -> None:
        """Let the watcher read what is there by now, and end."""
        if self.watcher is not None:
            self.watcher.signal(signal.SIGTERM)
            self._end([self.watcher])

    def _end(self, workers: Any) -> None:
        workers = list(workers)
        try:
            wait_until(lambda: not any(w.running for w in workers), workers, LEAVE_WITHIN_S, "ending", self.hear)
        except ChildError:
            for worker in workers:
                worker.end(0)
        self.hear()

    def close(self) -> None:
        """Kill whoever is still there."""
        for worker in [*self.all(), *self.gone]:
            worker.close()
        if self._sockets is not None:
            self._sockets.cleanup()


def _range_shares(partitions: list[int], members: int) -> list[int]:
    """Return how many partitions each member gets from the range assignor, topic by topic."""
    return [sum(count // members + (place < count % members) for count in partitions) for place in range(members)]
