"""What a world knows of events before they happen: keys, sizes, how long each version works on them and how often it fails, where their dead letters go."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from scenarios.derived import Derived
from scenarios.faults import FailingWork, SlowWork
from scenarios.partitioners import key_hash
from scenarios.plan import ALWAYS_FAILS, Plan
from scenarios.retries import partition_counts
from sim import world as at
from sim.far import Near
from sim.versions import versions
from sim.world import NEVER, NONE, Ints


class Foreknown:
    """Columns of planned events, and of those that follow from them."""

    def __init__(self, plan: Plan, derived: Derived, places: dict[str, int], room: Near) -> None:
        self.plan, self.derived, self.places, self.room = plan, derived, places, room
        self.versions = versions(plan.scenario)
        self.groups = [*plan.scenario.groups]
        self.letter_stages = max((len(counts) for counts in self._counts_of_letters().values()), default=1)
        """How many numbers of partitions a topic of dead letters may have, at most."""

    def by_event(self, make: Callable[[Ints], NDArray[Any]], rows: int, dtype: DTypeLike) -> NDArray[Any]:
        """Return what is made of planned events, a column for each."""
        found = self.room.zeros((rows, len(self.plan)), dtype)
        for some in self.room.parts(len(self.plan)):
            found[:, some] = make(np.arange(some.start, some.stop, dtype=np.int64))
        return found

    def identities(self) -> Ints:
        """Return a row for each planned event."""
        identity: Ints = self.room.zeros((len(self.plan), at.N_IDENTITY))
        for some in self.room.parts(len(self.plan)):
            ids = np.arange(some.start, some.stop, dtype=np.int64)
            identity[some, at.V_ID], identity[some, at.V_KEY] = ids, self.keys_of(ids)
            identity[some, at.V_SIZE] = self.plan.size_bytes[some]
        return identity

    def emitted(self, ids: Ints, sizes: Ints) -> Ints:
        """Return a row for each event that may be emitted."""
        rows = np.zeros((len(ids), at.N_IDENTITY), np.int64)
        rows[:, at.V_ID], rows[:, at.V_SIZE], rows[:, at.V_KEY] = ids, sizes, self.keys_of(ids)
        emits = np.array([place.emit for place in self.derived.places], np.int64)
        rows[:, at.V_EMIT], rows[:, at.V_HASH] = emits[self.derived.place_of(ids)], self._hashes_of(ids)
        return rows

    def work_of(self, ids: Ints) -> Ints:
        """Return how long each version works on events."""
        rows = [self.derived.work_ns(name, ids, version) for name, version in self.versions]
        return np.array(rows, np.int64).reshape(len(rows), len(ids))

    def failing_of(self, ids: Ints) -> NDArray[np.int16]:
        """Return how many tries of events fail in each version."""
        rows = [self.derived.failing_tries(name, ids, version) for name, version in self.versions]
        failing = np.array(rows, np.int16).reshape(len(rows), len(ids))
        failing[:, self.derived.poison(ids)] = ALWAYS_FAILS
        return failing

    def _counts_of_letters(self) -> dict[str, list[int]]:
        """Return for each group that has dead letters how many partitions their topic may have."""
        scenario = self.plan.scenario
        topics = {name: what.topic_of_dead_letters for name, what in scenario.groups.items()}
        return {name: partition_counts(scenario, topic) for name, topic in topics.items() if topic is not None}

    def dead_letter_parts_of(self, ids: Ints) -> NDArray[np.int32]:
        """Return where each group's dead letter of each event goes: by key as its client does, else by event; for each number of partitions."""
        groups = self.plan.scenario.groups
        found = np.zeros((len(groups) * self.letter_stages, len(ids)), np.int32)
        for name, counts in self._counts_of_letters().items():
            code, first = self.groups.index(name), self.places[f"{groups[name].topic_of_dead_letters}/0"]
            hashes = ids
            if counts != [1]:
                keys = [(event, self.derived.key_text(event)) for event in ids.tolist()]
                client = groups[name].client
                hashes = np.array([e if key is None else key_hash(client, key.encode()) for e, key in keys], np.int64)
            for stage in range(self.letter_stages):
                row = stage * len(groups) + code
                found[row] = first + hashes % counts[min(stage, len(counts) - 1)]
        return found

    def keys_of(self, ids: Ints) -> Ints:
        """Return a number for each event's key, NONE without one; keys of several producers are told apart."""
        if not len(self.plan):
            return np.full(len(ids), NONE, np.int64)
        key, several = self.derived.key_of(ids), len(self.plan.scenario.producers)
        return np.where(key < 0, NONE, key * several + self.plan.producer[self.derived.root_of(ids)])

    def _hashes_of(self, ids: Ints) -> Ints:
        """Return the hash of each event's key, as its client makes it, or NONE without one."""
        roots, keys, places = self.derived.root_of(ids), self.derived.key_of(ids), self.derived.places
        clients = [self.plan.scenario.groups[place.group].client for place in places]
        is_java = np.array([client == "java" for client in clients], np.int64)[self.derived.place_of(ids)]
        ways = np.stack([self.plan.producer[roots].astype(np.int64), keys, is_java], axis=1)
        _, one, inverse = np.unique(ways, axis=0, return_index=True, return_inverse=True)
        texts = [self.plan.key_text(int(roots[i])) for i in one.tolist()]
        found = [
            NONE if text is None else key_hash("java" if java else "librdkafka", text.encode())
            for text, java in zip(texts, is_java[one].tolist(), strict=True)
        ]
        return np.array(found, np.int64)[inverse.reshape(-1)]

    def intervals(self, kind: type[SlowWork] | type[FailingWork]) -> tuple[Ints, NDArray[np.float64]]:
        """Return when work is slow, or fails, by a fault or by a version; and by how much."""
        rows, values = [], []
        for planned in self.plan.faults:
            fault = planned.fault
            if not isinstance(fault, kind):
                continue
            plus = fault.plus if isinstance(fault, SlowWork) else 0
            rows.append((self.groups.index(fault.group), planned.begin_ns, planned.end_ns, plus, NONE))
            values.append(fault.factor if isinstance(fault, SlowWork) else fault.share)
        for code, (name, version) in enumerate(self.versions if kind is FailingWork else ()):
            if version is not None and version.fails:
                rows.append((self.groups.index(name), 0, NEVER, 0, code))
                values.append(version.fails)
        return np.array(rows, np.int64).reshape(len(rows), at.N_SLOW), np.array(values, np.float64)
