"""An outbox: what follows from an effect is stored with it, and a relay sends it later. The store is a file of each member, which outlives it.

A frame is one effect's events, written in one piece: a member that is killed leaves all of them or none.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".outbox"
_HEAD = struct.Struct("<IH")
"""Bytes of the frame, and how many events it holds."""
_EVENT = struct.Struct("<qqqqhhiI")
"""Child, root, cause, effect's instant, process, index of the `emits`, bytes of the key (-1: none) and of the value."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One event that waits to be sent."""

    child: int
    root: int
    cause: int
    effect_ns: int
    process: int
    emit: int
    key: bytes | None
    value: bytes


class Outbox:
    """A member's own store."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def store(self, events: list[Stored]) -> None:
        """Keep what follows from one effect."""
        body = b"".join(
            _EVENT.pack(
                each.child, each.root, each.cause, each.effect_ns, each.process, each.emit,
                -1 if each.key is None else len(each.key), len(each.value),
            )
            + (each.key or b"")
            + each.value
            for each in events
        )  # fmt: skip
        os.write(self._file, _HEAD.pack(len(body), len(events)) + body)


class Stores:
    """All stores of a group's members, read as they grow."""

    def __init__(self, folder: Path, beginning: str) -> None:
        self._folder = folder
        self._beginning = beginning
        self._at: dict[Path, int] = {}

    def new(self) -> Iterator[Stored]:
        """Yield what was stored since the last look."""
        for path in sorted(self._folder.glob(f"{self._beginning}*{SUFFIX}")):
            with path.open("rb") as file:
                file.seek(self._at.get(path, 0))
                raw = file.read()
            end = 0
            while len(raw) - end >= _HEAD.size and len(raw) - end - _HEAD.size >= _HEAD.unpack_from(raw, end)[0]:
                size, count = _HEAD.unpack_from(raw, end)
                yield from _events(raw, end + _HEAD.size, count)
                end += _HEAD.size + size
            self._at[path] = self._at.get(path, 0) + end


def _events(raw: bytes, at: int, count: int) -> Iterator[Stored]:
    for _ in range(count):
        child, root, cause, effect_ns, process, emit, key_bytes, value_bytes = _EVENT.unpack_from(raw, at)
        at += _EVENT.size
        key = None if key_bytes < 0 else raw[at : at + key_bytes]
        at += max(0, key_bytes)
        yield Stored(child, root, cause, effect_ns, process, emit, key, raw[at : at + value_bytes])
        at += value_bytes
