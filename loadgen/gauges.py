"""Samples of what processes and the host spend, so that a run can tell whether its driver or its host was the limit."""

import contextlib
import statistics
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import psutil

from rundata.tables import Gauge
from scenarios.quantities import SECOND, format_duration

CORE_WAIT = "core_wait_s"
"""How long in all that thread of a broker which waited longest was ready to run and had no core, since the sample before."""
_AT_WORK_NS = 1_000_000
"""From so much CPU time on since the sample before, others wait for what a thread does."""
_LONG_WAIT_S = 0.04
"""Beyond what is usual in a second, which on two cores was 0.02 s at 200 events/s and 0.1 s at 700."""
_WAITED_SHARE = 0.01
"""From so much of a stretch on, such waits reach a latency's p99."""
_AROUND = 5
"""Samples before and after; a load that grows or an outage changes what is usual."""
HOST_PACE = "host_pace_s"
_PACE_STEPS = 4_000
NEIGHBOURS = "neighbours_cores"
BUSY_NEIGHBOURS_CORES = 0.3
"""From so much on, work that is not the run's keeps the run waiting: a third of a core on a host whose own share rests for less."""
BUSY_HOST_SHARE = 0.9
_MOST_DISTURBED = 0.05
"""The share of samples that may be disturbed; a passing cron job is none of a run's business, 5 % of a run are its p95."""


def host_pace_s() -> float:
    """Return the CPU time that a fixed piece of work takes, some 0.2 ms: neighbours on the same cores make it longer, and brokers with it."""
    begin, sum_of = time.thread_time(), 0
    for step in range(_PACE_STEPS):
        sum_of += step
    return time.thread_time() - begin


class Sampler:
    """CPU shares (of one core) and memory of processes by name, and the host's own load, since the call before."""

    def __init__(self) -> None:
        self.gauges: list[Gauge] = []
        self._processes: dict[str, psutil.Process] = {}
        self._spent: dict[str, tuple[float, float, dict[int, float]]] = {}
        self._host = psutil.cpu_times()
        self._late_ns: list[int] = []
        self._waited: dict[str, tuple[int, dict[int, tuple[int, int]]]] = {}

    def overslept(self, late_ns: int) -> None:
        """Note by how much a sleep of the driver's own loop woke late: the host's noise."""
        self._late_ns.append(late_ns)

    def sample(self, at_ns: int, pids: Mapping[str, int], jvms: Collection[str] = ()) -> None:
        """Take one sample of each process that is there; a JVM's `thread_share` is that of its busiest thread, others' of the first."""
        own_s = sum(self._sample_process(at_ns, name, pid, any_thread=name in jvms) for name, pid in pids.items())
        self._sample_host(at_ns, own_s)

    def sample_waits(self, at_ns: int, pids: Mapping[str, int]) -> None:
        """Take one sample of how long processes' threads wait for a core; nothing where the system does not tell (Linux does)."""
        for name, pid in pids.items():
            now = thread_times(pid)
            before_pid, before = self._waited.get(name, (0, {}))
            self._waited[name] = (pid, now)
            if before_pid != pid or not now:
                continue
            at_work = [
                (waited - before[task][1], task)
                for task, (ran, waited) in now.items()
                if task in before and ran - before[task][0] >= _AT_WORK_NS
            ]
            # Only those are asked for their names that waited longest: each is a file to be read.
            longest_ns = next((ns for ns, task in sorted(at_work, reverse=True) if not _compiles(pid, task)), 0)
            self.gauges.append(Gauge(at_ns, CORE_WAIT, name, longest_ns / SECOND))

    def _sample_process(self, at_ns: int, name: str, pid: int, *, any_thread: bool) -> float:
        """Return the CPU time spent since the sample before, 0 for one that is new or gone."""
        try:
            process = self._processes.get(name)
            if process is None or process.pid != pid:
                process = self._processes[name] = psutil.Process(pid)
                self._spent.pop(name, None)
            with process.oneshot():
                spent = process.cpu_times()
                memory = process.memory_info()
            threads = {t.id: t.user_time + t.system_time for t in process.threads() if any_thread or t.id == pid}
        except psutil.Error:
            self._processes.pop(name, None)
            return 0.0
        now, total = time.monotonic(), spent.user + spent.system
        before = self._spent.get(name)
        self._spent[name] = (now, total, threads)
        self.gauges.append(Gauge(at_ns, "rss_bytes", name, float(memory.rss)))
        self.gauges.append(Gauge(at_ns, "own_bytes", name, float(memory.rss - getattr(memory, "shared", 0))))
        if before is None:
            return 0.0
        if now > before[0]:
            self.gauges.append(Gauge(at_ns, "cpu_share", name, (total - before[1]) / (now - before[0])))
            busiest = max((spent_s - before[2].get(each, 0.0) for each, spent_s in threads.items()), default=0.0)
            self.gauges.append(Gauge(at_ns, "thread_share", name, busiest / (now - before[0])))
        return total - before[1]

    def _sample_host(self, at_ns: int, own_s: float) -> None:
        now, before = psutil.cpu_times(), self._host
        self._host = now
        all_s = sum(now) - sum(before)
        if all_s <= 0:
            return
        busy = 1 - (now.idle - before.idle) / all_s
        cores = psutil.cpu_count() or 1
        self.gauges.append(Gauge(at_ns, "cpu_share", "host", busy))
        self.gauges.append(Gauge(at_ns, NEIGHBOURS, "host", max(0.0, busy * cores - own_s * cores / all_s)))
        if hasattr(now, "steal"):
            self.gauges.append(Gauge(at_ns, "steal_share", "host", (now.steal - before.steal) / all_s))
        self.gauges.append(Gauge(at_ns, HOST_PACE, "host", host_pace_s()))
        if self._late_ns:
            self.gauges.append(Gauge(at_ns, "oversleep_s", "host", max(self._late_ns) / SECOND))
            self._late_ns.clear()


def thread_times(pid: int) -> dict[int, tuple[int, int]]:
    """Return by thread of a process how long it ran, and was ready to run without a core, in ns; nothing where the system does not tell."""
    found = {}
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError, ValueError):  # it has ended, or this kernel does not count
                ran, waited, _ = (task / "schedstat").read_text().split()
                found[int(task.name)] = int(ran), int(waited)
    return found


def _compiles(pid: int, task: int) -> bool:
    """Whether a thread is one of a JVM's compilers, for whom nobody waits."""
    try:
        return "Compiler" in Path(f"/proc/{pid}/task/{task}/comm").read_text()
    except OSError:  # it has ended
        return True


def values(gauges: Iterable[Gauge], name: str, where: str) -> list[float]:
    """Return one gauge's samples."""
    return [each.value for each in gauges if each.name == name and each.where == where]


def disturbed(gauges: Collection[Gauge]) -> str | None:
    """Return how much of a run other work on its host took the CPU that the run needed, in words; None where it hardly did."""
    theirs, host = (values(gauges, name, "host") for name in (NEIGHBOURS, "cpu_share"))
    took = [
        cores
        for cores, share in zip(theirs, host, strict=True)
        if cores > BUSY_NEIGHBOURS_CORES and share > BUSY_HOST_SHARE
    ]
    if len(took) <= _MOST_DISTURBED * len(theirs):
        return None
    return (
        f"other work took {sum(took) / len(took):.1f} cores of a busy host in {len(took) / len(theirs):.0%} of the run"
    )


def starved(gauges: Iterable[Gauge], begin_ns: int, end_ns: int) -> str | None:
    """Return how much longer than in the seconds around a broker's threads were ready and had no core, in words; None where it hardly shows in the stretch."""
    beyond_s = defaultdict[str, float](float)
    for broker, own in _by_place(gauges, CORE_WAIT).items():
        for at, each in enumerate(own):
            usual_s = statistics.median(near.value for near in own[max(0, at - _AROUND) : at + _AROUND + 1])
            longer_s = each.value - usual_s
            if begin_ns < each.time_ns - SECOND // 2 <= end_ns and longer_s > max(_LONG_WAIT_S, 2 * usual_s):
                beyond_s[broker] += longer_s
    broker = max(beyond_s, key=lambda each: beyond_s[each], default="")
    if not broker or beyond_s[broker] <= _WAITED_SHARE * (end_ns - begin_ns) / SECOND:
        return None
    waited, stretch = format_duration(round(beyond_s[broker] * SECOND, -6)), format_duration(end_ns - begin_ns)
    return f"a thread of {broker} waited for a core for {waited} of {stretch} more than is usual in the seconds around"


def _by_place(gauges: Iterable[Gauge], name: str) -> dict[str, list[Gauge]]:
    """Return one gauge's samples by where they were taken, in order of time."""
    found = defaultdict[str, list[Gauge]](list)
    for each in gauges:
        if each.name == name:
            found[each.where].append(each)
    return found
