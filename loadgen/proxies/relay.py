"""One proxied connection: two sockets, and for each direction a pump that passes, holds or delays its bytes."""

from __future__ import annotations

import contextlib
import fcntl
import random
import selectors
import socket
import struct
import termios
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from loadgen.proxies.rules import Peer

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
BUFFER_BYTES = 1 << 18
MOST_QUEUED_BYTES = 4 << 20
"""What a slow link keeps per connection and direction before it stops reading, as a TCP window would."""
PIECE_S = 0.01
"""Under a bandwidth bytes are passed on in pieces that take so long, so that they flow instead of arriving at once."""
SMALLEST_PIECE_BYTES = 1024
_RESET = struct.pack("ii", 1, 0)

_buffer = bytearray(BUFFER_BYTES)
_view = memoryview(_buffer)

Wake = Callable[[int, "Pump"], None]
"""Asks for a flush of a pump at an instant of time.monotonic_ns."""


@dataclass
class Shaper:
    """One direction of a slow link, shared by its connections."""

    delay_ns: int
    jitter_ns: int
    bytes_per_s: int
    random: random.Random
    free_ns: int = 0
    """When the last byte accepted so far has gone through the bottleneck."""

    def arrives_ns(self, at_ns: int, size: int) -> int:
        """Tell when bytes that come at an instant reach the other side."""
        if self.bytes_per_s:
            self.free_ns = max(self.free_ns, at_ns) + size * 1_000_000_000 // self.bytes_per_s
            at_ns = self.free_ns
        return at_ns + self.delay_ns + round(self.random.uniform(-self.jitter_ns, self.jitter_ns))


def linger_not(sock: socket.socket) -> None:
    """Let closing reset the connection."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def close_with_reset(sock: socket.socket) -> None:
    """End a connection at once."""
    linger_not(sock)
    sock.close()


class End:
    """One socket of a connection, and what is waited for on it."""

    __slots__ = ("mask", "reads", "relay", "sock", "writes")

    def __init__(self, relay: Relay, sock: socket.socket) -> None:
        self.relay = relay
        self.sock = sock
        self.mask = 0
        self.reads: Pump
        self.writes: Pump

    def update(self) -> None:
        """Wait for what the pumps can use now. A socket on which nothing is awaited is not watched at all: even its end shall wait."""
        mask = (READ if self.reads.wants_bytes() else 0) | (WRITE if self.writes.blocked else 0)
        if mask == self.mask:
            return
        selector = self.relay.selector
        if not self.mask:
            selector.register(self.sock, mask, self.ready)
        elif not mask:
            selector.unregister(self.sock)
        else:
            selector.modify(self.sock, mask, self.ready)
        self.mask = mask

    def ready(self, mask: int) -> None:
        """Move bytes."""
        if mask & READ and self.mask & READ:
            self.reads.read()
        if mask & WRITE and self.mask & WRITE:
            self.writes.flush()


@dataclass(eq=False)
class Pump:
    """One direction of a connection."""

    relay: Relay
    source: End
    sink: End
    held: bool = False
    shapers: tuple[Shaper, ...] = ()
    blocked: bool = False
    """The sink takes no more for now."""
    ended: bool = False
    """The source has said its last."""
    closed: bool = False
    """... and the sink has been told."""
    queue: deque[tuple[int, bytes]] = field(default_factory=deque)
    queued_bytes: int = 0
    last_ns: int = 0

    def wants_bytes(self) -> bool:
        """Tell whether bytes that have come would be taken now."""
        return not (self.held or self.ended or self.queued_bytes > (MOST_QUEUED_BYTES if self.shapers else 0))

    def read(self) -> None:
        """Take what has come, and pass it on at once where nothing stands against it."""
        try:
            size = self.source.sock.recv_into(_buffer, self._piece_bytes())
        except BlockingIOError:
            return
        except OSError:
            self.relay.reset()
            return
        if not size:
            self.ended = True
            self.flush()
            return
        sent = 0
        if not self.queue and not self.shapers:
            try:
                sent = self.sink.sock.send(_view[:size])
            except BlockingIOError:
                pass
            except OSError:
                self.relay.reset()
                return
            if sent == size:
                return
        self.take(bytes(_view[sent:size]))

    def _piece_bytes(self) -> int:
        slowest = min((each.bytes_per_s for each in self.shapers if each.bytes_per_s), default=0)
        return max(SMALLEST_PIECE_BYTES, int(slowest * PIECE_S)) if slowest else BUFFER_BYTES

    def take(self, data: bytes) -> None:
        """Pass bytes on when their time has come."""
        at_ns = time.monotonic_ns()
        for shaper in self.shapers:
            at_ns = shaper.arrives_ns(at_ns, len(data))
        self.last_ns = at_ns = max(at_ns, self.last_ns)  # jitter reorders no bytes: this is TCP
        self.queue.append((at_ns, data))
        self.queued_bytes += len(data)
        self.flush()

    def flush(self) -> None:
        """Pass on what is due."""
        self.blocked = False
        if not self.held:
            self._send_due()
        if self.relay.alive:
            self.source.update()
            self.sink.update()

    def _send_due(self) -> None:
        while self.queue:
            due_ns, data = self.queue[0]
            if due_ns > time.monotonic_ns():
                self.relay.wake(due_ns, self)
                return
            try:
                sent = self.sink.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.relay.reset()
                return
            self.queued_bytes -= sent
            if sent < len(data):
                self.queue[0] = (due_ns, data[sent:])
                self.blocked = True
                return
            self.queue.popleft()
        if self.ended and not self.closed:
            self.closed = True
            with contextlib.suppress(OSError):
                self.sink.sock.shutdown(socket.SHUT_WR)
            self.relay.end_if_done()

    def waiting_bytes(self) -> int:
        """Count what is held back here: in the queue, and in the kernel for us to read."""
        size = bytearray(4)
        with contextlib.suppress(OSError):
            fcntl.ioctl(self.source.sock, termios.FIONREAD, size)
        return self.queued_bytes + int.from_bytes(size, "little")


class Relay:
    """A connection from a peer to the node behind the proxy."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        accepted: socket.socket,
        node: socket.socket,
        peer: Peer,
        wake: Wake,
        gone: Callable[[Relay], None],
    ) -> None:
        self.selector = selector
        self.peer = peer
        self.wake = wake
        self.gone = gone
        self.alive = True
        self.outer, self.inner = End(self, accepted), End(self, node)
        self.inward = Pump(self, self.outer, self.inner)
        self.outward = Pump(self, self.inner, self.outer)
        self.outer.reads = self.inner.writes = self.inward
        self.inner.reads = self.outer.writes = self.outward
        self.inward.blocked = True  # until the node has accepted
        self.outer.update()
        self.inner.update()

    def shape(self, inward: tuple[bool, tuple[Shaper, ...]], outward: tuple[bool, tuple[Shaper, ...]]) -> None:
        """Set for each direction whether it is held and how it is slowed; what was held goes on."""
        for pump, (held, shapers) in ((self.inward, inward), (self.outward, outward)):
            pump.held, pump.shapers = held, shapers
        for pump in (self.inward, self.outward):
            if self.alive:
                pump.flush()

    def reset(self) -> None:
        """End the connection at once, as a dead process or a firewall that refuses would."""
        for end in (self.outer, self.inner):
            linger_not(end.sock)
        self.close()

    def end_if_done(self) -> None:
        """Close when both directions have ended."""
        if self.inward.closed and self.outward.closed:
            self.close()

    def close(self) -> None:
        """Close both sockets."""
        if not self.alive:
            return
        self.alive = False
        for end in (self.outer, self.inner):
            if end.mask:
                self.selector.unregister(end.sock)
                end.mask = 0
            end.sock.close()
        self.gone(self)
