"""What both kinds of members have: a handler as the scenario says, and a way to end."""

import contextlib
import time
from pathlib import Path
from typing import Protocol

from loadgen.child import Child, DriverGone, Leaving
from loadgen.member_calls import Calls
from loadgen.member_dedupe import Memory, OwnMemory, SharedMemory
from loadgen.member_letters import Letters
from loadgen.member_lookup import Lookup
from loadgen.member_rows import MemberRows
from loadgen.member_sends import Clients, Emitter, Forwarder
from loadgen.member_work import Handler, Stopped

_FINISH_WITHIN_NS = 10_000_000_000
"""A member that is asked to leave finishes what it has in hand, as frameworks do, unless that takes longer."""


def handler_of(child: Child, rows: MemberRows, lookup: Lookup, clients: Clients) -> Handler:
    """Return the handler of a member's group, with what it calls, remembers, emits and hands on to other topics."""
    emitter = Emitter(child, rows, lookup, clients) if child.spec.get("emits") else None
    return Handler(
        child,
        rows,
        lookup,
        letters=_letters_of(child, rows, clients),
        calls=Calls(child) if child.spec.get("calls") else None,
        memory=memory_of(child),
        emit=None if emitter is None else emitter.emit,
        store=None if emitter is None else emitter.store,
    )


def _letters_of(child: Child, rows: MemberRows, clients: Clients) -> Letters | None:
    policy = child.spec["failures"]
    if policy is None or (policy["dead_letter"] is None and policy["retry"]["where"] != "topic"):
        return None
    return Letters(child, rows, Forwarder(clients))


def memory_of(child: Child) -> Memory | None:
    """Return the group's memory of event ids, or the member's own; None where it has none."""
    dedupe = child.spec.get("dedupe")
    if not dedupe:
        return None
    if dedupe["store"] == "member":
        return OwnMemory(dedupe["window_ns"])
    return SharedMemory(Path(dedupe["file"]), dedupe["window_ns"])


class Attending(Protocol):
    """A member as it goes from its start to its end."""

    handler: Handler
    began_cpu_s: float
    """What the thread had spent at time 0."""

    def run(self) -> None:
        """Poll and work until asked to leave, or until the policy ends the member."""

    def leave(self) -> None:
        """Leave the group in good order."""


def attend(child: Child, member: Attending) -> None:
    """Be a member until the driver, the policy or a signal ends it, and say at the end how it went."""
    child.finish_within(_FINISH_WITHIN_NS)
    child.say("ready")
    stopped = False
    try:
        with contextlib.suppress(Leaving):
            member.run()
    except Stopped:
        stopped = True
    except DriverGone:
        raise
    except Exception:
        # Whatever has gone wrong: the group shall not wait for the end of its session.
        with contextlib.suppress(Exception):
            member.leave()
        raise
    member.leave()
    late = member.handler.late
    child.say(
        "bye",
        at=time.perf_counter_ns(),
        stopped=stopped,
        late_p50_ns=late.quantile_ns(0.5),
        late_p99_ns=late.quantile_ns(0.99),
        cpu_s=time.process_time(),
        thread_cpu_s=time.thread_time(),
        run_cpu_s=time.thread_time() - member.began_cpu_s,
    )
