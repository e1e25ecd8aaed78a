"""The process that carries the proxies of one cluster: `python -P -m loadgen.proxies.server DIRECTORY`.

It ends with its owner, in whatever way that ends. Every rule has an expiry of its own, so that links heal even while the
owner hangs. New connections over a silent link are accepted, since no program without root can keep the kernel from it,
and then hear nothing; those over a link that resets are reset after their first request is known.
"""

from __future__ import annotations

import gc
import heapq
import itertools
import random
import resource
import selectors
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadgen.clusters.keeping import LOOK_S, RefusedError, Reply, keep
from loadgen.clusters.layout import PORTS, Listener
from loadgen.proxies.relay import Pump, Relay, Shaper, close_with_reset
from loadgen.proxies.rules import HEADER_BYTES, LONGEST_ID_BYTES, Peer, Rule, client_id_in, peer_of

BACKLOG = 512
LOOPBACK = "127.0.0.1"


@dataclass(eq=False)
class Door:
    """A listening socket that stands for one listener of a node."""

    node: int
    listener: Listener
    target_port: int
    sock: socket.socket


@dataclass(eq=False)
class Arrival:
    """A connection that has not been let through: its peer is not known yet, or its link is cut."""

    door: Door
    sock: socket.socket
    head: bytes = b""
    peer: Peer | None = None


@dataclass(eq=False)
class Active:
    """A rule in force, and what it has done."""

    rule: Rule
    expires_ns: int
    inward: tuple[Shaper, ...] = ()
    outward: tuple[Shaper, ...] = ()
    connections: int = 0  # that it met when it began
    refused: int = 0  # that came while it was in force
    waited_bytes: int = 0

    def counts(self) -> Reply:
        """Give what it has done."""
        return {"connections": self.connections, "refused": self.refused, "waited_bytes": self.waited_bytes}


@dataclass
class Server:
    """All doors and connections of one cluster, and the rules in force."""

    directory: Path
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    doors: list[Door] = field(default_factory=list)
    relays: dict[Relay, Door] = field(default_factory=dict)
    arrivals: set[Arrival] = field(default_factory=set)
    rules: dict[str, Active] = field(default_factory=dict)
    ended: dict[str, Active] = field(default_factory=dict)
    """Rules that are over, and not yet asked about."""
    _timers: list[tuple[int, int, Pump]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def attach(self, selector: selectors.BaseSelector) -> None:
        """Watch sockets with the selector of the process."""
        self.selector = selector

    # ---- what the owner asks for -----------------------------------------------------------------------------------

    def serve(self, request: Mapping[str, Any]) -> Reply:
        """Answer one request."""
        try:
            match request["do"]:
                case "open":
                    return {"ports": self._open(request["endpoints"], set(request["taken"]))}
                case "begin":
                    return self._begin(request["id"], Rule.read(request["rule"]), request["for_s"], request["seed"])
                case "end":
                    return self._end(request["id"])
                case "status":
                    return {
                        "connections": len(self.relays),
                        "rules": {name: active.counts() for name, active in self.rules.items()},
                    }
                case other:
                    raise RefusedError(f"the proxies know no request {other!r}")
        except (RefusedError, OSError) as error:
            return {"error": str(error)}

    def _open(self, endpoints: list[Any], taken: set[int]) -> list[int]:
        for door in self.doors:  # of a start that did not succeed
            self.selector.unregister(door.sock)
            door.sock.close()
        self.doors.clear()
        return [self._open_door(node, listener, port, taken) for node, listener, port in endpoints]

    def _open_door(self, node: int, listener: Listener, target_port: int, taken: set[int]) -> int:
        for port in random.sample(PORTS, len(PORTS)):
            if port in taken:
                continue
            sock = socket.socket()
            try:
                sock.bind((LOOPBACK, port))
            except OSError:
                sock.close()
                continue
            self._watch(Door(node, listener, target_port, sock))
            taken.add(port)
            return port
        raise RefusedError(f"no port from {PORTS.start} to {PORTS.stop - 1} is free on {LOOPBACK}")

    def _watch(self, door: Door) -> None:
        door.sock.listen(BACKLOG)
        door.sock.setblocking(False)
        self.doors.append(door)
        self.selector.register(door.sock, selectors.EVENT_READ, lambda _mask: self._accept(door))

    def _begin(self, name: str, rule: Rule, for_s: float, seed: str) -> Reply:
        if name in self.rules:
            raise RefusedError(f"rule {name} is in force already")
        active = Active(rule, time.monotonic_ns() + round(for_s * 1e9))
        if rule.mode == "slow":
            active.inward, active.outward = (
                (Shaper(rule.delay_ns, rule.jitter_ns, rule.bytes_per_s, random.Random(f"{seed} {name} {flow}")),)
                for flow in ("in", "out")
            )
        met = [relay for relay, door in self.relays.items() if self._meets(rule, door, relay.peer)]
        active.connections = len(met)
        self.rules[name] = active
        for relay in met:
            if rule.mode == "reset":
                relay.reset()
            else:
                self._shape(relay)
        return active.counts()

    def _end(self, name: str) -> Reply:
        """End a rule and give what it did; one that has expired tells so."""
        if name in self.ended:
            return {**self.ended.pop(name).counts(), "expired": True}
        if name not in self.rules:
            raise RefusedError(f"no rule {name} is in force")
        active = self.rules[name]
        met = [relay for relay, door in self.relays.items() if self._meets(active.rule, door, relay.peer)]
        if active.rule.mode == "silent":
            active.waited_bytes = sum(p.waiting_bytes() for r in met for p in (r.inward, r.outward) if p.held)
        del self.rules[name]
        for relay in met:
            self._shape(relay)
        for arrival in list(self.arrivals):
            self._admit(arrival)
        return {**active.counts(), "expired": False}

    # ---- connections -----------------------------------------------------------------------------------------------

    def _accept(self, door: Door) -> None:
        try:
            sock, _address = door.sock.accept()
        except (BlockingIOError, ConnectionError):
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        arrival = Arrival(door, sock)
        self.arrivals.add(arrival)
        self.selector.register(sock, selectors.EVENT_READ, lambda _mask: self._identify(arrival))

    def _identify(self, arrival: Arrival) -> None:
        """Read until the client id is known."""
        try:
            data = arrival.sock.recv(HEADER_BYTES + LONGEST_ID_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        arrival.head += data
        client_id = client_id_in(arrival.head)
        if client_id is None and data:
            return
        self.selector.unregister(arrival.sock)
        arrival.peer = peer_of(arrival.door.listener, client_id or "")
        if data:
            self._admit(arrival)
        else:
            self.arrivals.discard(arrival)
            arrival.sock.close()

    def _admit(self, arrival: Arrival) -> None:
        """Connect it to its node, unless its link is cut: neither half of a cut link lets a connection come about."""
        if arrival.peer is None:
            return
        door, peer = arrival.door, arrival.peer
        cuts = [each for each in self._rules(door, peer) if each.rule.mode != "slow"]
        for active in cuts:
            active.refused += 1
        if any(each.rule.mode == "reset" for each in cuts):
            self.arrivals.discard(arrival)
            close_with_reset(arrival.sock)
        elif not cuts:
            self.arrivals.discard(arrival)
            self._connect(arrival, peer)

    def _connect(self, arrival: Arrival, peer: Peer) -> None:
        node = socket.socket()
        node.setblocking(False)
        node.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        node.connect_ex((LOOPBACK, arrival.door.target_port))
        relay = Relay(self.selector, arrival.sock, node, peer, self._wake, self._gone)
        self.relays[relay] = arrival.door
        self._shape(relay)
        if relay.alive:
            relay.inward.take(arrival.head)

    def _gone(self, relay: Relay) -> None:
        self.relays.pop(relay, None)

    @staticmethod
    def _meets(rule: Rule, door: Door, peer: Peer) -> bool:
        return any(match.meets(door.node, door.listener, peer) for match in rule.matches)

    def _rules(self, door: Door, peer: Peer) -> list[Active]:
        return [each for each in self.rules.values() if self._meets(each.rule, door, peer)]

    def _shape(self, relay: Relay) -> None:
        """Do to a connection what all rules together want."""
        door = self.relays[relay]
        held = {"in": False, "out": False}
        shapers: dict[str, list[Shaper]] = {"in": [], "out": []}
        for active in self.rules.values():
            for match in active.rule.matches:
                if match.meets(door.node, door.listener, relay.peer):
                    for flow in ("in", "out") if match.flow == "both" else (match.flow,):
                        held[flow] |= active.rule.mode == "silent"
                        shapers[flow] += active.inward if flow == "in" else active.outward
        relay.shape((held["in"], tuple(shapers["in"])), (held["out"], tuple(shapers["out"])))

    # ---- time ------------------------------------------------------------------------------------------------------

    def _wake(self, at_ns: int, pump: Pump) -> None:
        heapq.heappush(self._timers, (at_ns, next(self._numbers), pump))

    def look(self) -> float:
        """Pass on what is due and end rules that have expired; gives the time until the next of these."""
        if not self._timers and not self.rules:
            return LOOK_S
        now_ns = time.monotonic_ns()
        while self._timers and self._timers[0][0] <= now_ns:
            _at_ns, _number, pump = heapq.heappop(self._timers)
            if pump.relay.alive:
                pump.flush()
        for name in [name for name, active in self.rules.items() if active.expires_ns <= now_ns]:
            active = self.rules[name]
            self._end(name)
            self.ended[name] = active
        due_ns = [*(each.expires_ns for each in self.rules.values()), *(at for at, _, _ in self._timers[:1])]
        return min([LOOK_S, *(max(0, at - time.monotonic_ns()) / 1e9 for at in due_ns)])

    def end(self) -> None:
        """Close everything."""
        for relay in list(self.relays):
            relay.close()
        for sock in [*(door.sock for door in self.doors), *(arrival.sock for arrival in self.arrivals)]:
            sock.close()


def main() -> None:
    """Serve the owner; the argument is the directory for this process's record."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 65_536, hard))
    gc.freeze()
    keep(Path(sys.argv[1]), Server, attach=Server.attach)


if __name__ == "__main__":
    main()
