"""Compiles the simulator in a process of its own, which can be ended: the compiler is deaf to Ctrl-C for half a minute."""

import os
import signal
import subprocess
import sys

from sim.crew import end_with

_MARK = "EVENTDRILL_COMPILES_AHEAD"
"""Set in the process that compiles for another one."""
_TINY = """\
scenario: tiny
profile: ideal
duration: 1s
drain: 1s
brokers: {kind: kafka, nodes: 1}
topics: {a: {}}
producers: {p: {topic: a, arrivals: {rate: 2/s, spacing: even}}}
groups: {g: {topics: [a], work: 1ms, commit: {every: 1h}}}
"""
"""One event is finished and only committed at the end: so each function that Python calls is called."""


def compile_ahead() -> None:
    """Fill the compiler's cache; on Ctrl-C end at once. Where that fails, whoever simulates compiles for himself."""
    if _MARK in os.environ:
        return
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "sim.compile_ahead", str(os.getpid())],
        env={**os.environ, _MARK: "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            process.wait()
        except BaseException:
            process.kill()
            raise


def main() -> None:
    """Simulate something tiny, as long as the process that waits for it lives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who waits hears it
    end_with(int(sys.argv[1]))
    from scenarios.files import load_text
    from scenarios.plan import make_plan
    from scenarios.profiles import IDEAL
    from sim.engine import simulate
    from sim.stretches.flow import flow

    plan = make_plan(load_text(_TINY, "tiny").scenario)
    simulate(plan, IDEAL)
    flow(plan, IDEAL)


if __name__ == "__main__":
    main()
