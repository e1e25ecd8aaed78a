"""A disk of each node's own: an ext4 in a file, mounted where the node keeps its data, so that it can stall, or lose what nobody had written yet.

Linux can do both to a file system and to no single process: stop all writes to it (FIFREEZE), and shut it down without its journal, as when
the machine loses power (EXT4_IOC_SHUTDOWN). Both, and mounting, need root. Whoever removes a node's data releases its disk first.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from loadgen.clusters.model import ClusterError

if sys.platform == "linux":
    import fcntl

SIZE_BYTES = 4 << 30
"""Of the file, which takes only as much as is written."""
SUFFIX = ".disk"
_FREEZE, _THAW, _SHUTDOWN = 0xC0045877, 0xC0045878, 0x8004587D
_NO_LOG_FLUSH = struct.pack("I", 2)
_CAP_SYS_ADMIN = 1 << 21


def cannot_have() -> str | None:
    """Tell why nodes cannot have disks of their own here, None where they probably can; mounts nothing."""
    if sys.platform != "linux":
        return "only on Linux can a node have a disk of its own"
    status = Path("/proc/self/status").read_text()
    capable = next(line for line in status.splitlines() if line.startswith("CapEff")).split()[1]
    if not int(capable, 16) & _CAP_SYS_ADMIN:
        return "only root can give a node a disk of its own (an ext4 in a file, mounted): run it as root"
    if not os.access("/dev/loop-control", os.W_OK):
        return "there are no loop devices (/dev/loop-control), with which a node would get a disk of its own"
    if missing := [name for name in ("mkfs.ext4", "mount", "umount") if shutil.which(name) is None]:
        return f"{missing[0]} is not there, which makes a disk of a node's own: install e2fsprogs and mount"
    return None


def make(at: Path) -> None:
    """Make a disk and mount it at a directory, which is made too."""
    file = _file(at)
    at.mkdir()
    with file.open("wb") as disk:
        disk.truncate(SIZE_BYTES)
    lazily = "lazy_itable_init=1,lazy_journal_init=1"
    _run("mkfs.ext4", "-q", "-F", "-m", "0", "-J", "size=16", "-E", lazily, str(file))
    _mount(at)
    (at / "lost+found").rmdir()  # Kafka takes every directory for a partition's


def _file(at: Path) -> Path:
    return at.with_name(at.name + SUFFIX)


def _mount(at: Path) -> None:
    _run("mount", "-o", "loop", str(_file(at)), str(at))


def flush(at: Path) -> None:
    """Have all of it written, as after an orderly start of the machine."""
    with _opened(at) as descriptor:
        ctypes.CDLL(None, use_errno=True).syncfs(descriptor)


def stall(at: Path) -> None:
    """Let every write wait."""
    with _opened(at) as descriptor:
        fcntl.ioctl(descriptor, _FREEZE, 0)


def go_on(at: Path) -> None:
    """Let writes through again; a disk that is not stalled is let alone."""
    with _opened(at) as descriptor, contextlib.suppress(OSError):
        fcntl.ioctl(descriptor, _THAW, 0)


def lose_unwritten(at: Path) -> None:
    """Shut the disk down as when its machine loses power: what had not been written is gone. All that is tried fails until `remount`."""
    with _opened(at) as descriptor:
        fcntl.ioctl(descriptor, _SHUTDOWN, _NO_LOG_FLUSH)


def remount(at: Path) -> None:
    """Mount it again, as a machine does that comes back; nobody may be using it."""
    for command in remounting(at):
        _run(*command)


def remounting(at: Path) -> list[list[str]]:
    """Return the commands that mount it again, one after another."""
    return [["umount", str(at)], ["mount", "-o", "loop", str(_file(at)), str(at)]]


def bytes_in(at: Path) -> int:
    """Return how much the partitions' segments hold, written or not."""
    return sum(path.stat().st_size for path in at.glob("*/*.log"))


def mounted_below(directory: Path) -> list[Path]:
    """List the disks that are mounted in a directory."""
    if sys.platform != "linux":
        return []
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [path for mount in mounts if directory in (path := Path(mount)).parents]


def let_go(directory: Path) -> None:
    """Let all disks in a directory go on: a process that waits for one cannot even be killed."""
    for at in mounted_below(directory):
        go_on(at)


def release(directory: Path) -> None:
    """Unmount all disks in a directory, in use or not."""
    for at in mounted_below(directory):
        with contextlib.suppress(ClusterError):
            _run("umount", "-l", str(at))


@contextlib.contextmanager
def _opened(at: Path) -> Iterator[int]:
    descriptor = os.open(at, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"a node's own disk: `{' '.join(command)}` failed: {done.stderr.strip()}")
