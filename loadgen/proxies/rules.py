"""Which connections a fault on a link is about, and what it does to them; plain data that travels as JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from loadgen.clusters.layout import Listener

Flow = Literal["both", "in", "out"]
"""Which bytes: `in` are those that go to the node behind the proxy, `out` those that come from it."""
Mode = Literal["silent", "reset", "slow"]
Channel = Literal["", "heartbeat", "metadata"]
"""What a broker's connection to its controller is for; other connections have none."""

CLIENTS = "clients"
OTHERS = "others"
DRIVER_ID = "eventdrill-driver"
"""The client id of what the driver asks for its own purposes."""
_FETCHER = re.compile(r"broker-(\d+)-")
_RAFT = re.compile(r"raft-client-(\d+)\Z")
_NUMBER = re.compile(r"\d+\Z")


@dataclass(frozen=True)
class Peer:
    """Who has opened a connection."""

    name: str
    channel: Channel = ""


@dataclass(frozen=True)
class Match:
    """Connections to one listener, from one peer or from all."""

    node: int
    listener: Listener
    peer: str | None = None
    channel: Channel = ""  # "": any
    flow: Flow = "both"

    def meets(self, node: int, listener: Listener, peer: Peer) -> bool:
        """Tell whether a connection is meant."""
        return (
            (node, listener) == (self.node, self.listener)
            and self.peer in (None, peer.name)
            and self.channel in ("", peer.channel)
        )


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What happens on the links that any of the matches means."""

    matches: tuple[Match, ...]
    mode: Mode
    delay_ns: int = 0
    jitter_ns: int = 0  # up to so much more or less than the delay
    bytes_per_s: int = 0  # in each direction, shared by the link's connections; 0: no limit

    def plain(self) -> dict[str, Any]:
        """Give it as it travels."""
        return asdict(self)

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Rule:
        """Read what `plain` wrote."""
        return cls(**{**plain, "matches": tuple(Match(**each) for each in plain["matches"])})


def peer_of(listener: Listener, client_id: str) -> Peer:
    """Tell who is behind a connection from the client id of its first request.

    What the driver itself asks is no part of the experiment, and is never cut off. Followers fetch as
    `broker-2-fetcher-0`. To a controller a broker goes as `raft-client-2` for metadata and as `2` for all that it asks:
    registration and heartbeats, changes of the ISR, and what it forwards for clients.
    """
    if listener == "CLIENT":
        return Peer(OTHERS if client_id == DRIVER_ID else CLIENTS)
    if raft := _RAFT.match(client_id):
        return Peer(f"broker {raft[1]}", "metadata")
    if fetcher := _FETCHER.match(client_id):
        return Peer(f"broker {fetcher[1]}")
    if _NUMBER.match(client_id):
        return Peer(f"broker {client_id}", "heartbeat" if listener == "CONTROLLER" else "")
    return Peer(OTHERS)


HEADER_BYTES = 14
LONGEST_ID_BYTES = 4096


def client_id_in(head: bytes) -> str | None:
    """Read the client id from the first bytes of a connection, None while they are too few.

    A request begins with its size (4 bytes), API key (2), version (2), correlation id (4) and the client id, two bytes of
    length first. What is no such request has the empty id.
    """
    if len(head) < HEADER_BYTES:
        return None
    length = int.from_bytes(head[12:14], "big", signed=True)
    if not 0 <= length <= LONGEST_ID_BYTES:
        return ""
    if len(head) < HEADER_BYTES + length:
        return None
    return head[HEADER_BYTES : HEADER_BYTES + length].decode(errors="replace")
