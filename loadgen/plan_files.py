"""What a run's processes read of the plan: columns in files that each of them maps, the user's own values, and the memories that they share."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from loadgen.children import file_name
from loadgen.java.columns import emitted_columns, save_payload
from loadgen.member_dedupe import SharedMemory
from loadgen.payloads import values_of
from rundata.chains import types_of_places
from rundata.rows import NONE
from scenarios.actions import Deploy
from scenarios.derived import Derived
from scenarios.disturbances import NOT_AGAIN
from scenarios.following import chain_of
from scenarios.plan import LONGEST_WORK_NS, Plan, hand_overs
from scenarios.schema import Dedupe
from scenarios.streams import stream, uniforms


class PlanFiles:
    """The files of one run, by what is in them: `work_ns.fulfilment`, `events.shop/1`."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._groups = plan.scenario.groups
        self._columns: dict[str, str] = {}
        self.derived = self._save_derived()
        """What tells of emitted events; None where there are none."""
        for name, array in self._arrays().items():
            self._save(name, array)
        self.payloads = self._save_payloads()
        """By producer whose values are the user's own: those values."""
        self._save_memories()

    # ---- reading

    def columns(self, *names: str) -> dict[str, str]:
        """Return the files of columns that are always there."""
        return {name: self._columns[name] for name in names}

    def of(self, owner: str, *names: str) -> dict[str, str]:
        """Return the files of columns that a process, a producer or a group may have."""
        return {name: self._columns[f"{name}.{owner}"] for name in names if f"{name}.{owner}" in self._columns}

    def started_ns(self) -> NDArray[np.int64]:
        """Return when each event was handed to its client, NONE for those that were not."""
        if not len(self._plan):
            return np.zeros(0, np.int64)
        return np.array(open_memmap(self._columns["started_ns"], mode="r"))

    def memory(self, group: str) -> Path:
        """Return the file of the event ids that a group's members remember together."""
        return self._folder / f"{file_name(group)}.ids"

    def work(self, group: str, version: Deploy | None) -> dict[str, str]:
        """Return the columns of how long a group, or a deployed version of it, works on each event, and how often it fails."""
        if version is None:
            return self.of(group, "work_ns", "failing_tries", "undecodable")
        columns = self.of(group, "work_ns", "failing_tries", "undecodable")
        if version.work is not None:
            columns |= self._of_version(group, version, "work_ns", self._work_ns)
        if version.decodes is not None:
            columns |= self._of_version(group, version, "failing_tries", self._failing_tries)
            columns |= self._of_version(group, version, "undecodable", self._undecodable)
        return columns

    # ---- deployed versions

    def _of_version(self, group: str, version: Deploy, name: str, make: Any) -> dict[str, str]:
        owner = f"{group}.{version.version}"
        if f"{name}.{owner}" not in self._columns:
            self._save(f"{name}.{owner}", make(group, version))
        return self.of(owner, name)

    def _work_ns(self, group: str, version: Deploy) -> NDArray[np.int64]:
        """Return the times that a version works: its own, drawn with the plan's numbers."""
        assert version.work is not None
        plan = self._plan
        draws = uniforms(stream(plan.seed, "group", group, "work", replication=plan.replication), len(plan))
        work = np.rint(np.minimum(version.work.quantile(draws), LONGEST_WORK_NS)).astype(np.int64)
        return np.where(plan.work_ns[group] > 0, work, 0)

    def _failing_tries(self, group: str, version: Deploy) -> NDArray[np.int16]:
        failing = Derived(self._plan).failing_tries(group, np.arange(len(self._plan), dtype=np.int64), version)
        return failing.astype(np.int16)

    def _undecodable(self, group: str, version: Deploy) -> NDArray[np.bool_]:
        """Return the events of schema versions later than those that a version can decode."""
        assert version.decodes is not None
        later: NDArray[np.bool_] = self._plan.undecodable[group] & (self._plan.schema_version > version.decodes)
        return later

    # ---- writing

    def _arrays(self) -> dict[str, NDArray[Any]]:
        plan = self._plan
        arrays: dict[str, NDArray[Any]] = {
            "intended_ns": plan.intended_ns,
            "size_bytes": plan.size_bytes,
            "key": plan.key,
            "poison": plan.poison,
            "producer": plan.producer,
            "started_ns": np.full(len(plan), NONE, np.int64),
        }
        for group in self._groups:
            arrays[f"work_ns.{group}"] = plan.work_ns[group]
            arrays[f"failing_tries.{group}"] = plan.failing_tries[group]
            if plan.undecodable[group].any():
                arrays[f"undecodable.{group}"] = plan.undecodable[group]
        for index, name in enumerate(plan.producers):
            for number in range(1, plan.scenario.producers[name].count + 1):
                own = np.flatnonzero((plan.producer == index) & (plan.process == number)).astype(np.int64)
                arrays |= {f"{key}.{name}/{number}": array for key, array in _schedule(plan, own).items()}
        if self.derived and any(group.client == "java" for group in self._groups.values()):
            arrays |= emitted_columns(plan, types_of_places(plan.scenario))
        return arrays

    def _save(self, name: str, array: NDArray[Any]) -> None:
        path = self._folder / f"{file_name(name)}.npy"
        np.save(path, array)
        self._columns[name] = str(path)

    def _save_derived(self) -> str | None:
        if not any(group.emits for group in self._groups.values()):
            return None
        path = self._folder / "derived.pickle"
        path.write_bytes(pickle.dumps(chain_of(self._plan)))
        return str(path)

    def _save_payloads(self) -> dict[str, str]:
        found = {}
        for name, producer in self._plan.scenario.producers.items():
            if producer.payload is None:
                continue
            values = values_of(producer.payload, self._plan.seed)
            path = self._folder / f"{file_name(name)}.payload"
            if producer.client == "java":
                self._save(f"payload_ends.{name}", save_payload(path, values))
            else:
                path.write_bytes(pickle.dumps(values))
            found[name] = str(path)
        return found

    def _save_memories(self) -> None:
        """Make the memory of event ids of each group whose members share one."""
        most = len(self._plan) * (1 + len(Derived(self._plan).places))
        for name, group in self._groups.items():
            if isinstance(group.dedupe, Dedupe) and group.dedupe.store == "shared":
                SharedMemory.create(self.memory(name), most)


def _schedule(plan: Plan, own: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Return a process's events in the order in which they are handed over; when, and which again, where faults disturb that."""
    if not plan.late_ns[own].any() and not (plan.again_ns[own] != NOT_AGAIN).any():
        return {"events": own}
    events, due_ns, again = hand_overs(plan, own)
    return {"events": events, "due_ns": due_ns, "again": again}
