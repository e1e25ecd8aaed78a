"""How long people wait for the command line: the best of several starts, against Python's own start on the same machine."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

EVENTDRILL = str(Path(sys.executable).with_name("eventdrill"))
TIMES = 5


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        peer = best([sys.executable, "-c", "pass"], folder)
        print(f"python -c pass: {peer:.3f} s")
        for arguments in (["--help"], ["simulate", "--help"], ["check", "leader-crash"], ["list"]):
            report("eventdrill " + " ".join(arguments), best([EVENTDRILL, *arguments], folder), peer)
        out = iter(range(1_000))
        simulate = [EVENTDRILL, "simulate", "leader-crash", "--json", "--out"]
        report(
            "eventdrill simulate leader-crash",
            min(once([*simulate, str(next(out))], folder) for _ in range(TIMES)),
            peer,
        )


def report(what: str, seconds: float, peer: float) -> None:
    print(f"{what}: {seconds:.3f} s, {seconds / peer:.1f} times python -c pass")


def best(command: list[str], folder: str) -> float:
    return min(once(command, folder) for _ in range(TIMES))


def once(command: list[str], folder: str) -> float:
    """Return the wall time of one start; an expectation that fails (1) is an end like any other."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode not in (0, 1):
        sys.exit(done.stderr.decode())
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
