"""Faults of links: which connections are meant, the rule that the proxies get, and the probe that proves it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from loadgen.lab.applied import Applied, Tools, seconds
from loadgen.lab.brokers import resolve
from loadgen.proxies.rules import CLIENTS, Channel, Flow, Match, Rule
from loadgen.wire import ask_versions
from scenarios import faults
from scenarios.occurrences import PlannedFault
from scenarios.targets import LinkEnd

PROBE_S = 0.5
"""How long a probe waits for an answer that shall not come."""
_BACK: dict[Flow, Flow] = {"both": "both", "in": "out", "out": "in"}
_CONTROLLER = "controller"

Party = int | str
"""A broker, `clients`, or `controller`."""


def begin(tools: Tools, planned: PlannedFault, fault: faults.Cut | faults.SlowLink) -> Applied:
    """Put the rule in force."""
    proxies = tools.cluster.proxies
    assert proxies is not None, "links have faults only behind proxies"
    ends = [_parties(tools, end) for end in fault.between]
    if LinkEnd("brokers") in fault.between:  # all others
        named = next(i for i, end in enumerate(fault.between) if end.role != "brokers")
        ends[1 - named] = [each for each in ends[1 - named] if each not in ends[named]]
    target = ", ".join(_described(end, parties) for end, parties in zip(fault.between, ends, strict=True))
    found = tuple(matches(ends[0], ends[1], fault, tools.controllers))
    if not found:
        return Applied(planned, target, tools.clock.now_ns(), "no effect: there was no such link")
    name = f"{planned.index}.{planned.begin_ns}"
    done = proxies.begin(name, _rule(fault, found), for_s=tools.expiry_s(planned) or 0.0)
    nodes = tuple(each for each in {*ends[0], *ends[1]} if isinstance(each, int))
    applied = Applied(planned, target, tools.clock.now_ns(), f"{done.connections} connections met", nodes=nodes)

    def undo() -> str:
        ended = proxies.end(name)
        words = [f"ended at {seconds(tools.clock.now_ns())}"]
        words += [f"{ended.refused} new ones kept out"] if ended.refused else []
        words += [f"{ended.waited_bytes} bytes had waited"] if ended.waited_bytes else []
        words += ["by the proxies themselves: it was overdue"] if ended.expired else []
        return ", ".join(words)

    applied.undo = undo
    return applied


def probe(tools: Tools, fault: faults.Cut | faults.SlowLink) -> str:
    """Ask over one of the links as its own peers would; gives in words what came of it."""
    ends = [_parties(tools, end) for end in fault.between]
    match = next(matches(ends[0], ends[1], fault, tools.controllers), None)
    if match is None:
        return ""
    port = tools.port(match.node, match.listener)
    took_s = ask_versions(port, client_id_of(match), PROBE_S if isinstance(fault, faults.Cut) else 30.0)
    if isinstance(took_s, str):
        return f"a probe {took_s}"
    return f"a probe was answered after {took_s * 1000:.1f} ms"


def client_id_of(match: Match) -> str:
    """Return a client id by which the proxies take a caller for the peer that a rule is about."""
    number = (match.peer or "").removeprefix("broker ")
    if match.listener == "CLIENT":
        return "eventdrill-probe"
    if match.listener == "INTERNAL":
        return f"broker-{number}-probe"
    return f"raft-client-{number}" if match.channel == "metadata" else number


def matches(
    first: Iterable[Party], second: Iterable[Party], fault: faults.Cut | faults.SlowLink, controllers: tuple[int, ...]
) -> Iterator[Match]:
    """Yield the connections between two ends. `to` means the bytes that go to the second end, `from` those that come from it."""
    second = list(second)
    channel: Channel = "" if fault.channel == "both" else fault.channel
    towards: dict[str, Flow] = {"both": "both", "to": "in", "from": "out"}
    for one in first:
        for other in second:
            yield from _between(one, other, towards[fault.direction], channel, controllers)


def _between(one: Party, other: Party, flow: Flow, channel: Channel, controllers: tuple[int, ...]) -> Iterator[Match]:
    """Yield the connections of a pair; `flow` is that of connections that the first opens to the second."""
    if other == CLIENTS or (one == _CONTROLLER and other != _CONTROLLER):
        one, other, flow = other, one, _BACK[flow]
    if one == CLIENTS and isinstance(other, int):
        yield Match(other, "CLIENT", CLIENTS, flow=flow)
    elif isinstance(one, int) and other == _CONTROLLER:
        for node in controllers:
            if node != one:
                yield Match(node, "CONTROLLER", f"broker {one}", channel, flow)
                if one in controllers:  # controllers call one another, to vote
                    yield Match(one, "CONTROLLER", f"broker {node}", channel, _BACK[flow])
    elif isinstance(one, int) and isinstance(other, int) and one != other:
        yield Match(other, "INTERNAL", f"broker {one}", flow=flow)
        yield Match(one, "INTERNAL", f"broker {other}", flow=_BACK[flow])


def _rule(fault: faults.Cut | faults.SlowLink, found: tuple[Match, ...]) -> Rule:
    if isinstance(fault, faults.Cut):
        whole = tuple(replace(each, flow="both") for each in found) if fault.mode == "reset" else found
        return Rule(matches=whole, mode=fault.mode)
    return Rule(
        matches=found,
        mode="slow",
        delay_ns=fault.delay,
        jitter_ns=fault.jitter,
        bytes_per_s=0 if fault.bandwidth is None else max(1, round(fault.bandwidth)),
    )


def _parties(tools: Tools, end: LinkEnd) -> list[Party]:
    match end.role:
        case "clients":
            return [CLIENTS]
        case "controller":
            return [_CONTROLLER]
        case "brokers":
            return list(range(1, tools.cluster.nodes + 1))
        case "broker" | "rack":
            assert end.broker is not None
            return list(resolve(tools, end.broker))


def _described(end: LinkEnd, parties: list[Party]) -> str:
    nodes = ", ".join(f"broker {each}" for each in parties if isinstance(each, int))
    written = str(end)
    return nodes if nodes == written else f"{nodes} ({written})" if nodes else written
