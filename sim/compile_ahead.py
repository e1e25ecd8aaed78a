"""Compiles the simulator in processes of their own, which can be ended: the compiler is deaf to Ctrl-C for half a minute.

The largest function contains nearly all others, so one process would compile for over two minutes while other cores idle. What
its two halves call is compiled beside each other first; whoever comes later finds it in the compiler's cache.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sim.crew import end_with

if TYPE_CHECKING:
    from scenarios.plan import Plan
    from scenarios.profiles import Profile

_MARK = "EVENTDRILL_COMPILES_AHEAD"
"""Set in the processes that compile for another one."""
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
_TINY_IN_ONE_PASS = """\
scenario: tiny
profile: ideal
duration: 1s
warm_up: 100ms
drain: 1s
brokers: {kind: kafka, nodes: 1}
topics: {a: {}}
producers:
  p:
    topic: a
    key: {uniform: 9}
    settings: {linger.ms: 0}
    arrivals: [{rate: 9/s, for: 500ms}, {rate: 9/s, spacing: even, for: 400ms}, {rate: 400000000/s, for: 100ns}, {rate: 9/s, for: 99999900ns}]
groups: {g: {topics: [a], work: {exponential: 1ms}}}
"""
"""Chance and none, and forty events at a time: so each function of a single pass is called."""


def compile_ahead() -> None:
    """Fill the compiler's cache; on Ctrl-C end at once. Where that fails, whoever simulates compiles for himself."""
    if _MARK in os.environ:
        return
    with _compiling("brokers", stdout=subprocess.DEVNULL) as process:
        try:
            process.wait()
        except BaseException:
            process.kill()
            raise


def compile_all() -> None:
    """Compile what is not compiled yet: for those whose own time is limited, as a test's is."""
    _simulate()
    quiet_stretches()


def _compiling(half: str, stdout: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "sim.compile_ahead", half, str(os.getpid())],
        env={**os.environ, _MARK: "1"},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
    )


def main() -> None:
    """Compile one half, as long as the process that waits for it lives; the one of brokers goes on with everything when both are done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who waits hears it
    half, parent = sys.argv[1:]
    end_with(int(parent))
    if half == "members":
        _compile_members()
        return
    with _compiling("members", stdout=subprocess.PIPE) as other:
        _compile_brokers()
        assert other.stdout is not None
        other.stdout.read(1)
        _simulate()


def _compile_brokers() -> None:
    from sim.kernel.loop import hangs, is_short, step_of_brokers
    from sim.kernel.producers import is_put_off

    _compile([step_of_brokers, is_put_off, is_short, hangs])


def _compile_members() -> None:
    from sim import kernel
    from sim.kernel.loop import step_of_members

    _compile([step_of_members])
    os.write(1, b".")
    quiet_stretches()
    _compile([getattr(kernel, name) for name in kernel.__all__ if name != "advance"])


def _compile(functions: Sequence[Any]) -> None:
    """Compile what Numba made of functions of a world and whole numbers."""
    import inspect

    import numba

    from sim.engine import first_world
    from sim.world import push

    type_of: Any = numba.typeof
    world = type_of(first_world(*_tiny()))

    def compile_for_world(function: Any) -> None:
        numbers = len(inspect.signature(function.py_func).parameters) - 1
        function.compile((world, *[numba.int64] * numbers))

    of_numba: Any = push
    if not of_numba.signatures:
        compile_for_world(push)
        of_numba.disable_compile()  # forty callers with constants would get forty of their own
    for function in functions:
        compile_for_world(function)


def quiet_stretches() -> None:
    """Simulate stretches without faults, in both ways."""
    from scenarios.files import load_text
    from scenarios.profiles import IDEAL, load_profile
    from sim.stretches.flow import flow
    from sim.stretches.ideal import Ideal

    plan, profile = _tiny()
    for each in (profile, load_profile("local-kafka")):
        flow(plan, each)
    scenario = load_text(_TINY_IN_ONE_PASS, "tiny").scenario
    Ideal(scenario, IDEAL, seed=0).told(scenario.measured_ns)


def _simulate() -> None:
    from sim.engine import simulate

    simulate(*_tiny())


def _tiny() -> "tuple[Plan, Profile]":
    from scenarios.files import load_text
    from scenarios.plan import make_plan
    from scenarios.profiles import IDEAL

    return make_plan(load_text(_TINY, "tiny").scenario), IDEAL


if __name__ == "__main__":
    main()
