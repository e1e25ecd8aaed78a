"""Groups that are the user's own program: their commits are watched, and their effects read from a topic or a file that they write.

The program takes an event's id from the header `eventdrill-id` and writes it with what it has done: as a header of a record in the topic of
effects, or as a line `{"event": 17}` of the file (with `"at"`, a Unix time in seconds, where the reading would be too late). An event that
another program of the user's sent without a number is told by its place: `eventdrill-from: orders/0/17`, or `{"from": "orders/0/17"}`. Of a
program that tells of no effects, what it has committed beyond counts as done.
"""

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from numpy.typing import NDArray

from loadgen.admin import AdminError, connection
from loadgen.offsets import GroupOffsets
from loadgen.records import headers_of
from rundata.row_log import RowLog
from rundata.rows import NEVER, NONE, OPERATION, Kind, Outcome, new_operations
from rundata.tables import Names
from scenarios.headers import HEADER_FROM, HEADER_ID, HEADER_RUN
from scenarios.outside import id_of_number, outside_topics, place_of
from scenarios.schema import EffectsFile, EffectsTopic

if TYPE_CHECKING:
    from loadgen.admin import Admin
    from scenarios.plan import Plan

_WITHIN_S = 10.0
_CAPACITY = 16_384


class ExternalGroup:
    """One such group: what it has committed and done so far goes into a row log, like a member's own rows."""

    def __init__(self, plan: "Plan", admin: "Admin", group: str, folder: Path, run_id: int) -> None:
        self._plan = plan
        self._admin = admin
        self._group = group
        self._run_id = run_id
        names = Names.of(plan.scenario)
        self._row = new_operations(1)
        self._row["process"], self._row["group"] = names.processes.index(f"{group}/1"), names.groups.index(group)
        self._log = RowLog.create(folder / f"{group}-external.rows", _CAPACITY)
        self._committed: dict[tuple[str, int], int] = {}
        self._offsets = GroupOffsets(admin, plan.scenario, group)
        self.start_unix_ns = 0
        self._effects = plan.scenario.groups[group].effects
        self._outside = outside_topics(plan.scenario).keys() & set(plan.scenario.groups[group].topics)
        """Topics of its own that other programs of the user's write to."""
        self._file_at = 0
        self._reader: Consumer | None = None
        if isinstance(self._effects, EffectsTopic):
            self._reader = self._read_from_now(self._effects.topic)
        elif isinstance(self._effects, EffectsFile):
            path = Path(self._effects.file)
            self._file_at = path.stat().st_size if path.exists() else 0

    def _read_from_now(self, topic: str) -> Consumer:
        reader = Consumer(
            {**connection(self._admin.cluster), "group.id": "eventdrill-effects", "enable.auto.commit": False}
        )
        partitions = reader.list_topics(topic, timeout=_WITHIN_S).topics[topic].partitions
        ends = [
            TopicPartition(topic, number, reader.get_watermark_offsets(TopicPartition(topic, number), _WITHIN_S)[1])
            for number in partitions
        ]
        reader.assign(ends)
        return reader

    def watch(self, now_ns: int) -> None:
        """Record what was committed and done since the last look."""
        self._watch_commits(now_ns)
        if self._reader is not None:
            for message in self._reader.consume(10_000, 0.0):
                self._effect_of(message)
        elif isinstance(self._effects, EffectsFile):
            self._read_file(Path(self._effects.file), now_ns)

    def _watch_commits(self, now_ns: int) -> None:
        asked = time.monotonic_ns()
        with suppress(AdminError):  # no coordinator just now: the next look will tell
            held = self._offsets.read(_WITHIN_S)
            now_ns += (
                time.monotonic_ns() - asked
            )  # what the answer holds may have been committed while it was on its way
            for (topic, partition), offset in held.items():
                if self._committed.get((topic, partition)) != offset:
                    self._committed[topic, partition] = offset
                    self._append(
                        kind=Kind.commit, topic=self._plan.topics.index(topic), partition=partition, offset=offset,
                        started_ns=now_ns, ended_ns=now_ns,
                    )  # fmt: skip

    def _effect_of(self, message: Message) -> None:
        if message.error() is not None:
            return
        at_ns, headers = message.timestamp()[1] * 1_000_000 - self.start_unix_ns, headers_of(message)
        if self._outside:
            with suppress(ValueError):  # records of something else are none of ours
                self._took_effect_outside(
                    headers[HEADER_FROM].decode() if HEADER_FROM in headers else int(headers.get(HEADER_ID, b"")), at_ns
                )
        elif headers.get(HEADER_RUN) == str(self._run_id).encode() and HEADER_ID in headers:
            self._took_effect(int(headers[HEADER_ID]), at_ns)

    def _read_file(self, path: Path, now_ns: int) -> None:
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(self._file_at)
            raw = file.read()
        whole, newline, _ = raw.rpartition(b"\n")
        self._file_at += len(whole) + len(newline)
        for line in whole.splitlines():
            with suppress(ValueError, TypeError, KeyError):  # lines of something else are none of ours
                said = json.loads(line)
                at_ns = round(said["at"] * 1e9) - self.start_unix_ns if "at" in said else now_ns
                if self._outside:
                    self._took_effect_outside(said["from"] if "from" in said else int(said["event"]), at_ns)
                else:
                    self._took_effect(int(said["event"]), at_ns)

    def _took_effect_outside(self, which: str | int, at_ns: int) -> None:
        """Record an effect on an event that another program sent: by its number, or by its place."""
        topics = self._plan.topics
        event = place_of(which, topics) if isinstance(which, str) else id_of_number(which)
        for kind in (Kind.delivery, Kind.try_):
            self._append(
                event_id=event, root_id=event, kind=kind, attempt=kind == Kind.try_, started_ns=at_ns, ended_ns=at_ns,
                partition=NONE, offset=NONE,
            )  # fmt: skip

    def _took_effect(self, event: int, at_ns: int) -> None:
        if not 0 <= event < len(self._plan):
            return
        plan = self._plan
        # When it was handed to the program nobody but the program knows: no earlier than sent, no later than done.
        at_ns = max(at_ns, int(plan.intended_ns[event]))
        for kind in (Kind.delivery, Kind.try_):
            self._append(
                event_id=event, root_id=event, key=plan.key[event], intended_ns=plan.intended_ns[event], kind=kind,
                attempt=kind == Kind.try_, started_ns=at_ns, ended_ns=at_ns, topic=plan.topic[event], partition=NONE,
                offset=NONE,
            )  # fmt: skip

    def _append(self, **fields: Any) -> None:
        row: np.ndarray[Any, np.dtype[np.void]] = np.empty(1, OPERATION)
        row[:] = self._row
        row["outcome"] = Outcome.ok
        for name, value in fields.items():
            row[name] = value
        self._log.extend(row)

    def begin(self, start_unix_ns: int) -> None:
        """Tell it when time 0 is."""
        self.start_unix_ns = start_unix_ns

    def close(self) -> None:
        """Let go of what it reads and writes."""
        if self._reader is not None:
            self._reader.close()
        self._offsets.close()
        self._log.close()


def done_by_commits(plan: "Plan", operations: NDArray[np.void], log: NDArray[np.void]) -> NDArray[np.void]:
    """Return effects of groups that are the user's own programs and tell of none: what they have committed beyond counts as done, from then on."""
    names = Names.of(plan.scenario)
    found = [new_operations(0)]
    for name, group in plan.scenario.groups.items():
        if group.external and group.effects is None:
            code = names.groups.index(name)
            event, done_ns = _committed_beyond(
                operations, log, plan, code, [names.topics.index(each) for each in group.topics]
            )
            rows = new_operations(len(event))
            rows["process"], rows["group"], rows["outcome"] = names.processes.index(f"{name}/1"), code, Outcome.ok
            rows["event_id"] = rows["root_id"] = event
            rows["key"], rows["intended_ns"], rows["topic"] = (
                plan.key[event],
                plan.intended_ns[event],
                plan.topic[event],
            )
            rows["started_ns"] = rows["ended_ns"] = np.maximum(done_ns, plan.intended_ns[event])
            tries = rows.copy()
            rows["kind"], tries["kind"], tries["attempt"] = Kind.delivery, Kind.try_, 1
            found += [rows, tries]
    return np.concatenate(found)


def _committed_beyond(
    operations: NDArray[np.void], log: NDArray[np.void], plan: "Plan", group: int, topics: list[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the events of some topics that a group has committed beyond, and when it first had."""
    sends = operations[
        (operations["kind"] == Kind.send) & (operations["outcome"] == Outcome.ok) & (operations["offset"] >= 0)
    ]
    columns = ("event_id", "topic", "partition", "offset")
    event, topic, partition, offset = (np.concatenate([sends[c], log[c]]).astype(np.int64) for c in columns)
    mine = (event >= 0) & (event < len(plan)) & np.isin(topic, topics)
    event, topic, partition, offset = event[mine], topic[mine], partition[mine], offset[mine]
    done_ns = np.full(len(plan), NEVER, np.int64)
    commits = operations[
        (operations["kind"] == Kind.commit) & (operations["outcome"] == Outcome.ok) & (operations["group"] == group)
    ]
    commits = commits[np.argsort(commits["ended_ns"], kind="stable")]
    for place in {(int(t), int(p)) for t, p in zip(commits["topic"], commits["partition"], strict=True)}:
        own = commits[(commits["topic"] == place[0]) & (commits["partition"] == place[1])]
        there = np.flatnonzero((topic == place[0]) & (partition == place[1]))
        first = np.searchsorted(np.maximum.accumulate(own["offset"]), offset[there], side="right")
        np.minimum.at(done_ns, event[there], np.append(own["ended_ns"], NEVER)[first])
    done = np.flatnonzero(done_ns != NEVER)
    return done, done_ns[done]


def wait_for_member(admin: "Admin", group: str, within_s: float) -> bool:
    """Wait until somebody has joined a group; tell whether that came true."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        with suppress(KafkaException):
            if admin.client.describe_consumer_groups([group])[group].result(_WITHIN_S).members:
                return True
        time.sleep(0.2)
    return False
