"""A clock of each node's own: the machine's, and as many milliseconds more as a file beside the node's data says.

The node's JVM reads the file each time that it asks what time of day it is (`loadgen/java/clock`).
"""

from pathlib import Path

SUFFIX = ".clock"
PROPERTY = "eventdrill.clock"
"""By which a JVM is told of the file."""
_BYTES = 8


def file_of(data: Path) -> Path:
    """Give the file of the node that keeps its data there."""
    return data.with_name(data.name + SUFFIX)


def make(data: Path) -> Path:
    """Give a node a clock that is right."""
    file = file_of(data)
    file.write_bytes(bytes(_BYTES))
    return file


def set_wrong(data: Path, by_ms: int) -> None:
    """Set a node's clock wrong by so many milliseconds; 0 sets it right."""
    with file_of(data).open("r+b") as file:  # in place: whoever has mapped it sees it at once
        file.write(by_ms.to_bytes(_BYTES, "little", signed=True))


def wrong_by_ms(data: Path) -> int:
    """Tell by how much a node's clock is wrong; 0 for one without a clock of its own."""
    file = file_of(data)
    return int.from_bytes(file.read_bytes(), "little", signed=True) if file.exists() else 0
