"""What each process of a run is told when it starts: one document, whose columns lie in files (`loadgen.plan_files`)."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from loadgen.children import file_name
from loadgen.clients import Clients, client_id
from loadgen.group_spec import behaviour, dedupe, intervals, of_member, skews
from loadgen.java.columns import own_places
from loadgen.member_outbox import SUFFIX as OUTBOX
from loadgen.member_work import Interval
from loadgen.plan_files import PlanFiles
from loadgen.recorder import event_types
from rundata.allowed import remembers
from rundata.chains import types_of_places
from rundata.tables import Names
from scenarios.actions import Deploy
from scenarios.clients import consumer_settings, producer_settings
from scenarios.faults import AddPartitions
from scenarios.occurrences import FOR_EVER_NS
from scenarios.outside import outside_producers, outside_topics
from scenarios.plan import NO_KEY, Plan
from scenarios.schema import Group

WATCHER = "watcher"
_ROWS_PER_SEGMENT = 16_384
"""2 MB each, allocated at once; a full log goes on in a new segment."""


class ProcessSpecs:
    """The documents of one run's processes, by name (`shop/1`); each incarnation of a process gets one of its own."""

    def __init__(
        self, plan: Plan, clients: Clients, files: PlanFiles, run_id: int, scratch: tuple[str, int], spin_ns: int
    ) -> None:
        self._plan = plan
        self._clients = clients
        self._files = files
        self._folder = clients.folder
        self._run_id = run_id
        self._scratch_topic, self._scratch_partitions = scratch
        self._spin_ns = spin_ns
        self._names = Names.of(plan.scenario)
        self._incarnations: dict[str, int] = {}
        self._outside = outside_topics(plan.scenario)

    def _common(self, name: str, rows_of: str | None = None) -> dict[str, Any]:
        """Return what every process is told; `rows_of` is the process whose rows it writes, where that is not its own name."""
        owner = rows_of or name
        number = self._incarnations[owner] = self._incarnations.get(owner, 0) + 1
        suffix = "" if number == 1 else f".{number}"
        return {
            "name": name,
            "run_id": self._run_id,
            "rows": str(self._folder.parent / f"{file_name(owner)}{suffix}.rows"),
            "capacity": _ROWS_PER_SEGMENT,
            "incarnation": number,
            "connection": self._clients.connection(name),
            "scratch_topic": self._scratch_topic,
            "scratch_partitions": self._scratch_partitions,
            **self._clients.extra(name),
        }

    def producer(self, name: str) -> dict[str, Any]:
        """Return what a producer process is told."""
        producer_name = name.rpartition("/")[0]
        producer = self._plan.scenario.producers[producer_name]
        own = self._plan.producer == self._plan.producers.index(producer_name)
        settings = producer_settings(self._plan.scenario, producer_name)
        largest = int(self._plan.size_bytes[own].max()) if own.any() else 32
        keyed = bool(own.any()) and int(self._plan.key[own][0]) != NO_KEY
        own_id = settings.transactional_id_of(int(name.rpartition("/")[2]))
        return {
            **self._common(name),
            "settings": {
                **self._clients.connection(name),
                **settings.native,
                "client.id": client_id(self._plan.scenario, name),
                **({"transactional.id": own_id} if own_id else {}),
            },
            "topic": producer.topic,
            "key_prefix": f"{producer_name}-" if keyed else None,
            "largest_bytes": largest,
            "payload": self._files.payloads.get(producer_name),
            "skews": skews(self._plan, name),
            "spin_ns": self._spin_ns,
            "scratch_bytes": max(0, min(1000, int(producer.size.mean) - 32)),
            "arrays": {
                **self._files.of(name, "events", "due_ns", "again"),
                **self._files.columns("intended_ns", "size_bytes", "key", "poison", "started_ns"),
                **self._files.of(producer_name, "payload_ends"),
            },
            "codes": {
                "process": self._names.processes.index(name),
                "topic": self._names.topics.index(producer.topic),
                "event_type": int(event_types(self._plan)[self._plan.producers.index(producer_name)]),
            },
        }

    def member(
        self,
        name: str,
        first_poll_id: int,
        start_ns: int | None,
        *,
        version: Deploy | None = None,
        rows_of: str | None = None,
    ) -> dict[str, Any]:
        """Return what a member is told; `version` is the one that it was last replaced by, `start_ns` is None before time 0 is known."""
        group_name = name.rpartition("/")[0]
        group = self._plan.scenario.groups[group_name]
        settings = consumer_settings(self._plan.scenario, group_name)
        native = {k: v for k, v in settings.native.items() if not (group.share_group and k == "enable.auto.commit")}
        chained = self._files.derived is not None and self._clients.is_java(name)
        return {
            **self._common(name, rows_of),
            **behaviour(self._plan.scenario, group_name),
            **intervals(self._plan, name),
            "settings": {
                **self._clients.connection(name),
                **of_member(native, name),
                "client.id": client_id(self._plan.scenario, name),
                "group.id": group_name,
            },
            "group": group_name,
            "protocol": settings.protocol,
            "max_poll_records": settings.max_poll_records,
            "first_poll_id": first_poll_id,
            "start_ns": start_ns,
            "seed": self._plan.seed,
            **self._fails(name, version),
            "in_headers": bool(self._files.payloads) or bool(self._outside),
            "outside": {topic: self._names.topics.index(topic) for topic in self._outside},
            "outside_producers": outside_producers(self._plan.scenario, group_name),
            "dedupe": dedupe(group, str(self._files.memory(group_name))),
            "outbox_file": self._outbox_file(name, group),
            "derived": self._files.derived,
            "chain": own_places(self._plan, group_name) if chained else None,
            "arrays": {
                **self._files.columns("key", "producer"),
                **self._files.work(group_name, version),
                **(self._emitted(group_name) if chained else {}),
            },
            "codes": {
                "process": self._names.processes.index(name),
                "group": self._names.groups.index(group_name),
                "topics": {topic: code for code, topic in enumerate(self._names.topics)},
                "event_type_of_producer": [int(code) for code in event_types(self._plan)],
                "event_type_of_place": types_of_places(self._plan.scenario),
            },
        }

    def _emitted(self, group: str) -> dict[str, str]:
        """Return the columns of emitted events that a Java member looks things up in."""
        common = ("emitted_ids", "emitted_key", "emitted_type", "emitted_size", "emitted_poison")
        return {
            **self._files.columns(*common),
            **self._files.of(group, "emitted_work_ns", "emitted_failing_tries"),
        }

    def _fails(self, member: str, version: Deploy | None) -> Mapping[str, Any]:
        """Return the share of tries that fail in a deployed version, beside what fails anyway."""
        if version is None or not version.fails:
            return {}
        always = asdict(Interval(0, FOR_EVER_NS, share=version.fails))
        return {"failing": [*intervals(self._plan, member)["failing"], always]}

    def watcher(self) -> dict[str, Any]:
        """Return what the process is told that reads what the user's own programs write."""
        producers = self._plan.scenario.producers
        return {
            "rows": str(self._folder.parent / f"{WATCHER}.rows"),
            "capacity": _ROWS_PER_SEGMENT,
            "grows": any(isinstance(fault, AddPartitions) for fault in self._plan.scenario.faults),
            "topics": {
                topic: {
                    "code": self._names.topics.index(topic),
                    "process": self._names.processes.index(f"{name}/1"),
                    "event_type": int(event_types(self._plan)[list(producers).index(name)]),
                }
                for topic, name in self._outside.items()
            },
        }

    # ---- outboxes

    def relay(self, group: str, start_ns: int | None) -> dict[str, Any]:
        """Return what the relay of a group's outbox is told. Whatever its members do, it commits nothing, and is in no transaction."""
        spec = self.member(f"{group}/1", 0, start_ns, rows_of=f"{group}-outbox")
        own = {"outbox_file": None, "commit": "after_event", "once": remembers(self._plan.scenario.groups[group])}
        return {**spec, "outbox_folder": str(self._folder), "outbox": self._outbox(group), **own}

    def _outbox_file(self, member: str, group: Group) -> str | None:
        """Return where an incarnation of a member stores what goes through its outbox."""
        if all(what.outbox is None for what in group.emits):
            return None
        name, _, number = member.rpartition("/")
        return str(self._folder / f"{self._outbox(name)}{number}.{self._incarnations.get(member, 0)}{OUTBOX}")

    def _outbox(self, group: str) -> str:
        """Return what the names of the files begin with that are a group's outbox."""
        return f"outbox-{self._names.groups.index(group)}-"
