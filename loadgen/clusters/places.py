"""Where clusters keep things: the cache, the state, and throw-away data in memory where there is room."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

ROOM_IN_MEMORY_BYTES = 2 << 30
"""What a run may need: a few hundred MB of payload, three times over, and sparse index files."""


def cache_dir() -> Path:
    """Give the user's cache of jars and what is made from them."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eventdrill" / "kafka"


def state_dir() -> Path:
    """Give the directory that names the clusters that run."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "eventdrill" / "clusters"


def scratch_dirs() -> list[Path]:
    """List the directories that can hold a cluster's data, the best first."""
    return [place for place in (Path("/dev/shm"), Path(tempfile.gettempdir())) if place.is_dir()]


def scratch_dir() -> Path:
    """Choose memory where it has room (containers often grant 64 MB only), else the directory for temporary files."""
    best, *_, last = [*scratch_dirs(), Path(tempfile.gettempdir())]
    return best if os.access(best, os.W_OK) and shutil.disk_usage(best).free >= ROOM_IN_MEMORY_BYTES else last
