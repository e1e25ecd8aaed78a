"""The run's child processes as one crew: what each is told, who is assigned what, and who has died."""

import pickle
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import TopicPartition
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from loadgen.admin import public_connection, security_of
from loadgen.children import ChildError, Worker, file_name, python_module, wait_until
from loadgen.clients import Clients, client_id
from loadgen.clusters.model import Cluster
from loadgen.clusters.security import for_children
from loadgen.group_spec import behaviour, dedupe, intervals, of_member, services, skews
from loadgen.java.columns import emitted_columns, own_places, save_payload
from loadgen.java.jvms import Jvms
from loadgen.java.security import java_security
from loadgen.member_dedupe import SharedMemory
from loadgen.member_outbox import SUFFIX as OUTBOX
from loadgen.member_work import Interval
from loadgen.payloads import values_of
from loadgen.recorder import event_types
from loadgen.remote import RemoteWorker
from rundata.rows import NONE
from rundata.tables import Names
from scenarios.actions import Deploy
from scenarios.clients import consumer_settings, producer_settings
from scenarios.derived import Derived
from scenarios.disturbances import NOT_AGAIN
from scenarios.occurrences import FOR_EVER_NS
from scenarios.plan import LONGEST_WORK_NS, NO_KEY, Plan, hand_overs
from scenarios.quantities import format_duration
from scenarios.retries import all_topics, retry_topics
from scenarios.schema import Dedupe, Group
from scenarios.streams import stream, uniforms

READY_WITHIN_S = 60.0
ASSIGNED_WITHIN_S = 90.0
LEAVE_WITHIN_S = 20.0
_ROWS_PER_SEGMENT = 16_384
"""2 MB each, allocated at once; a full log goes on in a new segment."""


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
        self.owned: dict[str, set[tuple[str, int]]] = {}
        self.heard: list[tuple[int, str, str, str]] = []
        """What members said: instant on the clock, kind, who, detail."""
        self.jvms = Jvms()
        """What the Java processes say of themselves."""
        self.member_ids: dict[str, str] = {}
        """Who had which id from the coordinator, as the brokers' logs name members."""
        self.ended_by_policy: set[str] = set()
        self.remote: Callable[[str, Mapping[str, Any]], RemoteWorker] | None = None
        """Starts a producer process under a Locust worker; None where they are children of the driver."""
        self.hear_remote: Callable[[], None] = lambda: None
        self.versions: dict[str, Deploy | None] = {}
        """By member: the version that it was last replaced by."""
        self._incarnations: dict[str, int] = {}
        self._asked_to_settle: set[int] = set()
        """Processes that were asked to say when they have nothing in hand."""
        self.abandoned = np.zeros(len(plan), np.bool_)
        """Events that a producer process had in its hands or behind it when it was killed: nobody will hear more of them."""
        self.relays: list[Worker] = []
        """The processes that send what members have put into outboxes."""
        self.dependencies: Worker | None = None
        """The process of the services that groups call."""
        self._sockets: tempfile.TemporaryDirectory[str] | None = None
        folder.mkdir()
        self._arrays = self._save_arrays()
        self._derived = self._save_derived()
        self._payloads = self._save_payloads()
        self._save_memories()

    # ---- what each is told -----------------------------------------------------------------------------------------

    def _save_arrays(self) -> dict[str, str]:
        plan = self.plan
        arrays: dict[str, NDArray[Any]] = {
            "intended_ns": plan.intended_ns,
            "size_bytes": plan.size_bytes,
            "key": plan.key,
            "poison": plan.poison,
            "producer": plan.producer,
            "started_ns": np.full(len(plan), NONE, np.int64),
        }
        for group in plan.scenario.groups:
            arrays[f"work_ns.{group}"] = plan.work_ns[group]
            arrays[f"failing_tries.{group}"] = plan.failing_tries[group]
            if plan.undecodable[group].any():
                arrays[f"undecodable.{group}"] = plan.undecodable[group]
        for index, name in enumerate(plan.producers):
            for number in range(1, plan.scenario.producers[name].count + 1):
                own = np.flatnonzero((plan.producer == index) & (plan.process == number)).astype(np.int64)
                arrays |= {f"{key}.{name}/{number}": array for key, array in _schedule(plan, own).items()}
        if self._has_java_chain():
            arrays |= emitted_columns(plan, self._types_of_places())
        return {name: self._save(name, array) for name, array in arrays.items()}

    def _has_java_chain(self) -> bool:
        groups = self.plan.scenario.groups.values()
        return any(group.client == "java" for group in groups) and any(group.emits for group in groups)

    def _save_derived(self) -> str | None:
        """Write what tells of emitted events; None where there are none."""
        if not any(group.emits for group in self.plan.scenario.groups.values()):
            return None
        path = self.folder / "derived.pickle"
        path.write_bytes(pickle.dumps(Derived(self.plan)))
        return str(path)

    def _save_payloads(self) -> dict[str, str]:
        """Write the values of producers that send the user's own; return the file of each."""
        found = {}
        for name, producer in self.plan.scenario.producers.items():
            if producer.payload is None:
                continue
            values = values_of(producer.payload, self.plan.seed)
            path = self.folder / f"{file_name(name)}.payload"
            if producer.client == "java":
                key = f"payload_ends.{name}"
                self._arrays[key] = self._save(key, save_payload(path, values))
            else:
                path.write_bytes(pickle.dumps(values))
            found[name] = str(path)
        return found

    def _save_memories(self) -> None:
        """Make the memory of event ids of each group whose members share one."""
        most = len(self.plan) * (1 + len(Derived(self.plan).places))
        for name, group in self.plan.scenario.groups.items():
            if isinstance(group.dedupe, Dedupe) and group.dedupe.store == "shared":
                SharedMemory.create(self._memory(name), most)

    def _memory(self, group: str) -> Path:
        return self.folder / f"{file_name(group)}.ids"

    def _save(self, name: str, array: NDArray[Any]) -> str:
        path = self.folder / f"{file_name(name)}.npy"
        np.save(path, array)
        return str(path)

    def started_ns(self) -> NDArray[np.int64]:
        """Return when each event was handed to its client, NONE for those that were not."""
        if not len(self.plan):
            return np.zeros(0, np.int64)
        return np.array(open_memmap(self._arrays["started_ns"], mode="r"))

    def _common(self, name: str, rows_of: str | None = None) -> dict[str, Any]:
        """Return what every process is told; `rows_of` is the process whose rows it writes, where that is not its own name."""
        owner = rows_of or name
        number = self._incarnations[owner] = self._incarnations.get(owner, 0) + 1
        suffix = "" if number == 1 else f".{number}"
        return {
            "name": name,
            "run_id": self.run_id,
            "rows": str(self.folder.parent / f"{file_name(owner)}{suffix}.rows"),
            "capacity": _ROWS_PER_SEGMENT,
            "incarnation": number,
            "connection": self.clients.connection(name),
            "scratch_topic": self.scratch_topic,
            "scratch_partitions": self.scratch_partitions,
            **self.clients.extra(name),
        }

    def _worker(self, name: str, spec: Mapping[str, Any]) -> Any:
        if self.remote is not None and name.rpartition("/")[0] in self.plan.scenario.producers:
            return self.remote(name, spec)
        command = self.clients.command(name, Path(spec["rows"]).stem)
        security = security_of(self.cluster)
        own = java_security(security) if self.clients.is_java(name) else security
        return Worker(name, command, spec, self.folder, for_children(own))

    def _producer_spec(self, name: str) -> dict[str, Any]:
        producer_name = name.rpartition("/")[0]
        producer = self.plan.scenario.producers[producer_name]
        own = self.plan.producer == self.plan.producers.index(producer_name)
        settings = producer_settings(self.plan.scenario, producer_name)
        largest = int(self.plan.size_bytes[own].max()) if own.any() else 32
        keyed = bool(own.any()) and int(self.plan.key[own][0]) != NO_KEY
        return {
            **self._common(name),
            "settings": {
                **self.clients.connection(name),
                **settings.native,
                "client.id": client_id(self.plan.scenario, name),
            },
            "topic": producer.topic,
            "key_prefix": f"{producer_name}-" if keyed else None,
            "largest_bytes": largest,
            "payload": self._payloads.get(producer_name),
            "skews": skews(self.plan, name),
            "spin_ns": self.spin_ns,
            "scratch_bytes": max(0, min(1000, int(producer.size.mean) - 32)),
            "arrays": {
                **{
                    key: self._arrays[f"{key}.{name}"]
                    for key in ("events", "due_ns", "again")
                    if f"{key}.{name}" in self._arrays
                },
                **{key: self._arrays[key] for key in ("intended_ns", "size_bytes", "key", "poison", "started_ns")},
                **self._of_owner("payload_ends", producer_name),
            },
            "codes": {
                "process": self.names.processes.index(name),
                "topic": self.names.topics.index(producer.topic),
                "event_type": int(event_types(self.plan)[self.plan.producers.index(producer_name)]),
            },
        }

    def _member_spec(self, name: str, first_poll_id: int, rows_of: str | None = None) -> dict[str, Any]:
        group_name = name.rpartition("/")[0]
        group = self.plan.scenario.groups[group_name]
        settings = consumer_settings(self.plan.scenario, group_name)
        native = {k: v for k, v in settings.native.items() if not (group.share_group and k == "enable.auto.commit")}
        return {
            **self._common(name, rows_of),
            **behaviour(self.plan.scenario, group_name),
            **intervals(self.plan, name),
            "settings": {
                **self.clients.connection(name),
                **of_member(native, name),
                "client.id": client_id(self.plan.scenario, name),
                "group.id": group_name,
            },
            "group": group_name,
            "protocol": settings.protocol,
            "max_poll_records": settings.max_poll_records,
            "first_poll_id": first_poll_id,
            "start_ns": self.start_ns,
            "seed": self.plan.seed,
            **self._version(name),
            "in_headers": bool(self._payloads),
            "dedupe": dedupe(group, str(self._memory(group_name))),
            "outbox_file": self._outbox_file(name, group),
            "derived": self._derived,
            "chain": own_places(self.plan, group_name) if self._derived and self.clients.is_java(name) else None,
            "dependencies": self._socket() if group.calls else None,
            "arrays": {
                **self._of_owner("failing_tries", group_name),
                **self._of_owner("undecodable", group_name),
                **self._emitted(name, group_name),
                "work_ns": self._work(name),
                "key": self._arrays["key"],
                "producer": self._arrays["producer"],
            },
            "codes": {
                "process": self.names.processes.index(name),
                "group": self.names.groups.index(group_name),
                "topics": {topic: code for code, topic in enumerate(self.names.topics)},
                "event_type_of_producer": [int(code) for code in event_types(self.plan)],
                "event_type_of_place": self._types_of_places(),
            },
        }

    def _of_owner(self, array: str, owner: str) -> dict[str, str]:
        """Return the file of an array that a producer or group may have."""
        path = self._arrays.get(f"{array}.{owner}")
        return {} if path is None else {array: path}

    def _emitted(self, member: str, group: str) -> dict[str, str]:
        """Return the columns of emitted events that a Java member looks things up in."""
        if self._derived is None or not self.clients.is_java(member):
            return {}
        common = ("emitted_ids", "emitted_key", "emitted_type", "emitted_size", "emitted_poison")
        return {
            **{array: self._arrays[array] for array in common},
            **self._of_owner("emitted_work_ns", group),
            **self._of_owner("emitted_failing_tries", group),
        }

    def _version(self, member: str) -> dict[str, Any]:
        """Return in what a deployed version differs from the first one."""
        version = self.versions.get(member)
        if version is None:
            return {}
        told: dict[str, Any] = {} if version.decodes is None else {"decodes": version.decodes}
        if version.fails:
            told["failing"] = [
                *intervals(self.plan, member)["failing"],
                asdict(Interval(0, FOR_EVER_NS, share=version.fails)),
            ]
        return told

    def _work(self, member: str) -> str:
        """Return the file of the times that a member works: a version's own are drawn with the plan's numbers."""
        group, version = member.rpartition("/")[0], self.versions.get(member)
        if version is None or version.work is None:
            return self._arrays[f"work_ns.{group}"]
        name = f"work_ns.{group}.{version.version}"
        if name not in self._arrays:
            draws = uniforms(
                stream(self.plan.seed, "group", group, "work", replication=self.plan.replication), len(self.plan)
            )
            work = np.rint(np.minimum(version.work.quantile(draws), LONGEST_WORK_NS)).astype(np.int64)
            self._arrays[name] = self._save(name, np.where(self.plan.work_ns[group] > 0, work, 0))
        return self._arrays[name]

    def _types_of_places(self) -> list[int]:
        """Return the code of the type of what each place emits."""
        types, groups = self.names.event_types, self.plan.scenario.groups
        return [
            types.index(groups[place.group].emits[place.emit].event or groups[place.group].emits[place.emit].topic)
            for place in Derived(self.plan).places
        ]

    # ---- starting --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all processes and wait until the clients are connected."""
        if self.plan.scenario.dependencies:
            self._start_dependencies()
        self._start_relays()
        for name in self.names.processes:
            group = name.rpartition("/")[0]
            if (
                group in self.plan.scenario.groups
                and int(name.rpartition("/")[2]) > self.plan.scenario.groups[group].members
            ):
                continue  # joins when the group is scaled
            if group in self.plan.scenario.groups and self.plan.scenario.groups[group].external:
                continue  # is the user's own program
            if group in self.plan.scenario.producers:
                self.producers[name] = self._worker(name, self._producer_spec(name))
            else:
                self.start_member(name, 0)
        self.wait(
            lambda: all("ready" in worker.said for worker in self.all()), READY_WITHIN_S, "connecting the clients"
        )

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
        self.members[name] = self._worker(name, self._member_spec(name, first_poll_id))

    def helper(self, name: str, module: str, what: Mapping[str, Any]) -> Worker:
        """Start a process that does something beside the run."""
        spec = {"connection": public_connection(self.cluster), "run_id": self.run_id, "arrays": {}, **what}
        return Worker(name, python_module(module), spec, self.folder, for_children(security_of(self.cluster)))

    def replayer(self, group: str, name: str, places: list[TopicPartition], rate_hz: float | None) -> Worker:
        """Start a process that handles what lies in the log from some places once more, as the group's first member would."""
        spec = self._member_spec(f"{group}/1", 0, rows_of=name)
        of_no_member = {**spec["codes"], "process": NONE}
        froms = [(each.topic, each.partition, each.offset) for each in places]
        what = {"codes": of_no_member, "from": froms, "rate_hz": rate_hz}
        return Worker(
            name,
            python_module("loadgen.replay_process"),
            {**spec, **what},
            self.folder,
            for_children(security_of(self.cluster)),
        )

    def _start_relays(self) -> None:
        """Start the relay of each group with an outbox."""
        for name, group in self.plan.scenario.groups.items():
            if any(what.outbox is not None for what in group.emits):
                relay = f"{name}-outbox"
                spec = self._member_spec(f"{name}/1", 0, rows_of=relay)
                where = {"outbox_folder": str(self.folder), "outbox": self._outbox(name)}
                self.relays.append(
                    Worker(
                        relay,
                        python_module("loadgen.outbox_process"),
                        {**spec, **where, "outbox_file": None},
                        self.folder,
                        for_children(security_of(self.cluster)),
                    )
                )

    def _outbox_file(self, member: str, group: Group) -> str | None:
        """Return where an incarnation of a member stores what goes through its outbox."""
        if all(what.outbox is None for what in group.emits):
            return None
        name, _, number = member.rpartition("/")
        return str(self.folder / f"{self._outbox(name)}{number}.{self._incarnations.get(member, 0)}{OUTBOX}")

    def _outbox(self, group: str) -> str:
        """Return what the names of the files begin with that are a group's outbox."""
        return f"outbox-{self.names.groups.index(group)}-"

    def all(self) -> list[Worker]:
        """Return the processes that are part of the run now."""
        others = [self.dependencies] if self.dependencies is not None else []
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

    def begin(self, start_ns: int) -> None:
        """Tell everybody the instant at which the clock starts."""
        self.start_ns = start_ns
        for worker in self.all():
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
        """Let a member leave (SIGTERM) or crash (SIGKILL)."""
        worker = self.members[name]
        worker.signal(number)
        if number == signal.SIGKILL:
            worker.process.wait()
        return worker

    def replace_member(self, name: str, first_poll_id: int) -> None:
        """Start a member again after it crashed or left."""
        old = self.members[name]
        old.end(LEAVE_WITHIN_S)
        self.gone.append(old)
        self.start_member(name, first_poll_id)

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
        self.producers[name] = self._worker(name, self._producer_spec(name))
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


def _schedule(plan: Plan, own: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Return a process's events in the order in which they are handed over; when, and which again, where faults disturb that."""
    if not plan.late_ns[own].any() and not (plan.again_ns[own] != NOT_AGAIN).any():
        return {"events": own}
    events, due_ns, again = hand_overs(plan, own)
    return {"events": events, "due_ns": due_ns, "again": again}


def _range_shares(partitions: list[int], members: int) -> list[int]:
    """Return how many partitions each member gets from the range assignor, topic by topic."""
    return [sum(count // members + (place < count % members) for count in partitions) for place in range(members)]
