"""The run's child processes as one crew: what each is told, who is assigned what, and who has died."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from loadgen.admin import SCRATCH_TOPIC
from loadgen.children import ChildError, Worker, file_name, wait_until
from loadgen.clients import Clients
from loadgen.clusters.model import Cluster
from loadgen.java.jvms import Jvms
from loadgen.member_work import Interval
from loadgen.recorder import event_types
from rundata.rows import NONE
from rundata.tables import Names
from scenarios import faults
from scenarios.clients import Value, consumer_settings, producer_settings
from scenarios.plan import NO_KEY, Plan
from scenarios.quantities import format_duration
from scenarios.schema import CollectReads, EveryCommit, Group

READY_WITHIN_S = 60.0
ASSIGNED_WITHIN_S = 90.0
LEAVE_WITHIN_S = 20.0
_ROWS_PER_SEGMENT = 16_384
"""2 MB each, allocated at once; a full log goes on in a new segment."""


class Crew:
    """Producer processes and group members by name (`shop/1`, `fulfilment/2`)."""

    def __init__(
        self, plan: Plan, cluster: Cluster, folder: Path, run_id: int, scratch_partitions: int, spin_ns: int
    ) -> None:
        self.plan = plan
        self.cluster = cluster
        self.folder = folder
        self.clients = Clients(plan.scenario, cluster, folder)
        self.run_id = run_id
        self.spin_ns = spin_ns
        self.scratch_partitions = scratch_partitions
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
        self._incarnations: dict[str, int] = {}
        folder.mkdir()
        self._arrays = self._save_arrays()

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
        for index, name in enumerate(plan.producers):
            for number in range(1, plan.scenario.producers[name].count + 1):
                own = np.flatnonzero((plan.producer == index) & (plan.process == number))
                arrays[f"events.{name}/{number}"] = own.astype(np.int64)
        return {name: self._save(name, array) for name, array in arrays.items()}

    def _save(self, name: str, array: NDArray[Any]) -> str:
        path = self.folder / f"{file_name(name)}.npy"
        np.save(path, array)
        return str(path)

    def started_ns(self) -> NDArray[np.int64]:
        """Return when each event was handed to its client, NONE for those that were not."""
        if not len(self.plan):
            return np.zeros(0, np.int64)
        return np.array(open_memmap(self._arrays["started_ns"], mode="r"))

    def _common(self, name: str) -> dict[str, Any]:
        number = self._incarnations[name] = self._incarnations.get(name, 0) + 1
        suffix = "" if number == 1 else f".{number}"
        return {
            "name": name,
            "run_id": self.run_id,
            "rows": str(self.folder.parent / f"{file_name(name)}{suffix}.rows"),
            "capacity": _ROWS_PER_SEGMENT,
            "connection": self.clients.connection(name),
            "scratch_topic": SCRATCH_TOPIC,
            "scratch_partitions": self.scratch_partitions,
            **self.clients.extra(name),
        }

    def _worker(self, name: str, spec: Mapping[str, Any]) -> Worker:
        return Worker(name, self.clients.command(name, Path(spec["rows"]).stem), spec, self.folder)

    def _producer_spec(self, name: str) -> dict[str, Any]:
        producer_name = name.rpartition("/")[0]
        producer = self.plan.scenario.producers[producer_name]
        own = self.plan.producer == self.plan.producers.index(producer_name)
        settings = producer_settings(self.plan.scenario, producer_name)
        largest = int(self.plan.size_bytes[own].max()) if own.any() else 32
        keyed = bool(own.any()) and int(self.plan.key[own][0]) != NO_KEY
        return {
            **self._common(name),
            "settings": {**self.clients.connection(name), **settings.native, "client.id": file_name(name)},
            "topic": producer.topic,
            "key_prefix": f"{producer_name}-" if keyed else None,
            "largest_bytes": largest,
            "spin_ns": self.spin_ns,
            "scratch_bytes": max(0, min(1000, int(producer.size.mean) - 32)),
            "arrays": {
                "events": self._arrays[f"events.{name}"],
                **{key: self._arrays[key] for key in ("intended_ns", "size_bytes", "key", "poison", "started_ns")},
            },
            "codes": {
                "process": self.names.processes.index(name),
                "topic": self.names.topics.index(producer.topic),
                "event_type": int(event_types(self.plan)[self.plan.producers.index(producer_name)]),
            },
        }

    def _member_spec(self, name: str, first_poll_id: int) -> dict[str, Any]:
        group_name = name.rpartition("/")[0]
        group = self.plan.scenario.groups[group_name]
        settings = consumer_settings(self.plan.scenario, group_name)
        return {
            **self._common(name),
            "settings": {**self.clients.connection(name), **_of_member(settings.native, name), "group.id": group_name},
            "group": group_name,
            "topics": list(group.topics),
            "protocol": settings.protocol,
            "max_poll_records": settings.max_poll_records,
            "first_poll_id": first_poll_id,
            "start_ns": self.start_ns,
            "seed": self.plan.seed,
            **_behaviour(group),
            **_intervals(self.plan, group_name),
            "arrays": {
                "work_ns": self._arrays[f"work_ns.{group_name}"],
                "failing_tries": self._arrays[f"failing_tries.{group_name}"],
                "key": self._arrays["key"],
                "producer": self._arrays["producer"],
            },
            "codes": {
                "process": self.names.processes.index(name),
                "group": self.names.groups.index(group_name),
                "topics": {topic: code for code, topic in enumerate(self.names.topics)},
                "event_type_of_producer": [int(code) for code in event_types(self.plan)],
            },
        }

    # ---- starting --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all processes and wait until the clients are connected."""
        for name in self.names.processes:
            group = name.rpartition("/")[0]
            if group in self.plan.scenario.producers:
                self.producers[name] = self._worker(name, self._producer_spec(name))
            else:
                self.start_member(name, 0)
        self.wait(
            lambda: all("ready" in worker.said for worker in self.all()), READY_WITHIN_S, "connecting the clients"
        )

    def start_member(self, name: str, first_poll_id: int) -> None:
        """Start a member, for the first time or again."""
        self.owned[name] = set()
        self.members[name] = self._worker(name, self._member_spec(name, first_poll_id))

    def all(self) -> list[Worker]:
        """Return the processes that are part of the run now."""
        return [*self.producers.values(), *self.members.values()]

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
        wanted = sorted((t, p) for t in group.topics for p in range(self.plan.scenario.topics[t].partitions))
        owned = [self.owned[f"{name}/{number}"] for number in range(1, group.members + 1)]
        if sorted(place for places in owned for place in places) != wanted:
            return False
        if "partition.assignment.strategy" in group.settings:
            return True
        counts = sorted(map(len, owned))
        if consumer_settings(self.plan.scenario, name).protocol == "consumer":
            return counts[-1] - counts[0] <= 1
        return counts == sorted(
            _range_shares([self.plan.scenario.topics[t].partitions for t in group.topics], group.members)
        )

    def begin(self, start_ns: int) -> None:
        """Tell everybody the instant at which the clock starts."""
        self.start_ns = start_ns
        for worker in self.all():
            worker.tell("start", at_ns=start_ns)

    # ---- hearing ---------------------------------------------------------------------------------------------------

    def hear(self) -> None:
        """Take in what the processes have said."""
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


def _behaviour(group: Group) -> dict[str, Any]:
    reads = group.reads
    commit = group.commit
    failures = group.failures
    return {
        "reads": {"events": reads.collect.events, "timeout_ns": reads.collect.timeout} if isinstance(reads, CollectReads) else {},
        "busy": group.busy,
        "commit": "every" if isinstance(commit, EveryCommit) else commit,
        "every_ns": commit.every if isinstance(commit, EveryCommit) else 0,
        "failures": None
        if failures is None
        else {
            "retry": {
                "attempts": failures.retry.attempts,
                "backoff_ns": failures.retry.backoff,
                "factor": failures.retry.factor,
            },
            "then": failures.then,
            "dead_letter": failures.dead_letter,
        },
    }  # fmt: skip


def _intervals(plan: Plan, group: str) -> dict[str, Any]:
    """Return the stretches in which the group's handlers are slow or fail: members follow them by the clock."""
    slow, failing = [], []
    for planned in plan.faults:
        match planned.fault:
            case faults.SlowWork() as fault if fault.group == group:
                slow.append(Interval(planned.begin_ns, planned.end_ns, fault.factor, fault.plus))
            case faults.FailingWork() as fault if fault.group == group:
                failing.append(Interval(planned.begin_ns, planned.end_ns, share=fault.share))
            case _:
                pass
    return {"slow": [asdict(each) for each in slow], "failing": [asdict(each) for each in failing]}


def _range_shares(partitions: list[int], members: int) -> list[int]:
    """Return how many partitions each member gets from the range assignor, topic by topic."""
    return [sum(count // members + (place < count % members) for count in partitions) for place in range(members)]


def _of_member(native: Mapping[str, Value], name: str) -> dict[str, Value]:
    """Return a member's settings; a static one's instance id is the group's with the member's number."""
    given = native.get("group.instance.id")
    return dict(native) if given is None else {**native, "group.instance.id": f"{given}-{name.rpartition('/')[2]}"}
