"""Libraries' pages that nobody looks at are given back, and nothing else is."""

import subprocess
import sys
from pathlib import Path

import pytest

from sim.code_pages import unwritten

SMAPS = """\
55d0a000-55d0b000 r-xp 00001000 fe:00 11                         /usr/bin/python3
Anonymous:             0 kB
7f0000000000-7f0000100000 r--p 00000000 fe:00 12                 /opt/some where/libcode.so.1
Rss:                1024 kB
Anonymous:             0 kB
7f0000100000-7f0000300000 r-xp 00100000 fe:00 12                 /opt/some where/libcode.so.1
Rss:                2048 kB
Anonymous:             0 kB
7f0000300000-7f0000301000 r--p 00300000 fe:00 12                 /opt/some where/libcode.so.1
Rss:                   4 kB
Anonymous:             4 kB
7f0000301000-7f0000302000 rw-p 00301000 fe:00 12                 /opt/some where/libcode.so.1
Anonymous:             0 kB
7f0000302000-7f0000402000 rw-p 00000000 00:00 0
Anonymous:             0 kB
7f0000402000-7f0000502000 r--p 00000000 00:00 0
Anonymous:             0 kB
7f0000502000-7f0000602000 r--s 00000000 fe:00 13                 /opt/shared.so
Anonymous:             0 kB
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                  [stack]
Anonymous:             0 kB
"""

RUN = """
import sys
from sim import code_pages
from sim.stretches import long_run
from test_sim_code_pages import llvm_mb
imported_mb = llvm_mb()
from test_sim_stretches import CRASH, long_run, scenario
if sys.argv[1] == "kept":
    code_pages.give_back_code = lambda: None
found = long_run(scenario(duration="8m", faults=[{**CRASH, "at": "4m"}]))
print(imported_mb, llvm_mb(), sorted((name, one.value) for name, one in found.measured.items()))
"""
"""A member that crashes, so that both the kernel and what quiet stretches take are loaded."""


def llvm_mb() -> float:
    """Return how much of LLVM's code lies in this process's memory."""
    found_kb, is_llvm = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *others = line.split()
        if not first.endswith(":"):
            is_llvm = "libllvmlite" in line
        elif is_llvm and first == "Rss:":
            found_kb += int(others[0])
    return found_kb / 1024


def test_only_what_cannot_have_been_written_to_is_given_back() -> None:
    assert list(unwritten(SMAPS)) == [(0x7F0000000000, 0x7F0000100000), (0x7F0000100000, 0x7F0000300000)]
    written = SMAPS.replace("Rss:                2048 kB\nAnonymous:             0 kB", "Anonymous:             8 kB")
    assert list(unwritten(written)) == [(0x7F0000000000, 0x7F0000100000)]


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells what lies in memory")
def test_a_long_run_keeps_nothing_of_the_compiler_and_says_the_same() -> None:
    """What imports and what loading took is gone; where it is not given back, as planted here, it is seen."""
    told = {}
    for how in ("given back", "kept"):
        command = [sys.executable, "-c", RUN, how]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parent)
        imported_mb, in_the_end_mb, figures = done.stdout.split(" ", 2)
        told[how] = figures
        assert (float(in_the_end_mb) < 8) is (how == "given back"), in_the_end_mb
        assert float(imported_mb) < 25  # 42 where nothing is given back between LLVM and what needs it

    assert told["given back"] == told["kept"]
