"""A driver whose own disk is full in the middle of a run: it says so, leaves no process behind, and what was recorded opens."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from live_runs import SMALL, drive_embedded, load
from loadgen.clusters import disks
from rundata.dataset import open_run

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(disks.cannot_have() is not None, reason="a small file system of its own takes root"),
]
BUSY = (
    "producers.shop.arrivals=3000/s",
    "producers.shop.poison=0%",
    "groups.fulfilment.failures={then: skip}",
    "groups.fulfilment.work=0ms",
    "duration=6s",
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    at = tmp_path / "small"
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", str(at)], check=True)
    yield at
    subprocess.run(["umount", str(at)], check=True)


def test_a_full_disk_ends_the_run_with_its_reason_and_what_was_recorded_opens(small_disk: Path) -> None:
    """Members need a second segment of rows at 3,000/s, for which there is no room, and the driver none for its tables."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}

    with pytest.raises(OSError, match=r"cannot be written \(No space left on device\); free some space"):
        drive_embedded(load(SMALL, BUSY), small_disk / "run")

    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    run = open_run(small_disk / "run").data
    assert run.about["state"] == "interrupted"
    assert any("no room for" in reason or "No space" in reason for reason in run.about["incomplete"])
    assert len(run.operations) > 10_000
