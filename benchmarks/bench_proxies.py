"""What a proxy before a listener costs: added latency and throughput, against no proxy and against asyncio's in the same run.

One byte stream per connection, as Kafka's clients have it: 200 bytes there and back one after another, then 64 KiB pieces in
one direction. uvloop is measured too where it is installed. Beside it: how much three brokers of this machine take from a client that sends to
them without a proxy; a proxy that passes on more than that is never what limits them.
"""

import contextlib
import importlib.util
import multiprocessing
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import psutil
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from loadgen.clusters.layout import Endpoint
from loadgen.clusters.local import start_local
from loadgen.clusters.model import ClusterSpec
from loadgen.proxies.client import Proxies

PINGS = 3_000
ROUNDS = 5
BULK_BYTES = 600_000_000
PIECE_BYTES = 65_536
BROKERS_S = 8.0
_AT_ONCE = 1_000


def main() -> None:
    with echoing() as port, Proxies() as ours, asyncio_relay(port, uvloop=False) as plain:
        (proxied,) = ours.advertise([Endpoint(1, "CLIENT", port)]).values()
        ways = {"no proxy": (port, None), "EventDrill's proxy": (proxied, ours.pid), "asyncio": plain}
        with contextlib.ExitStack() as more:
            if importlib.util.find_spec("uvloop"):
                ways["uvloop"] = more.enter_context(asyncio_relay(port, uvloop=True))
            report(ways)
    print(f"three brokers without a proxy, one replica, acks=1: {brokers_take() / 1e6:.0f} MB/s")


def report(ways: dict[str, tuple[int, int | None]]) -> None:
    """Measure in turns, so that what the machine does besides meets all alike."""
    pings: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (port, _pid) in ways.items():
            pings[name].append(round_trip_us(port))
    direct = statistics.median(pings["no proxy"])
    for name, taken in pings.items():
        middle = statistics.median(taken)
        print(f"{name}: 200 B there and back {middle:.0f} us, added per way {(middle - direct) / 2:.0f} us")
    for name, (port, pid) in ways.items():
        seconds, cpu_s = bulk(port, pid)
        print(f"{name}: {BULK_BYTES / seconds / 1e6:.0f} MB/s, {cpu_s / BULK_BYTES * 1e9:.2f} s of its CPU per GB")


def brokers_take() -> float:
    """Return how many bytes a second brokers of this machine have acknowledged, in pieces of the same size, after the first quarter of the time."""
    taken = list[float]()

    def acknowledged(error: KafkaError | None, _message: Message) -> None:
        if error is None:
            taken.append(time.perf_counter())

    with start_local(ClusterSpec(heap_mib=384), progress=lambda _text: None) as cluster:
        quietly = {"bootstrap.servers": cluster.bootstrap, "log_level": 2}
        admin = AdminClient(quietly)
        admin.create_topics([NewTopic("bulk", 3, 1)])["bulk"].result(30)
        client = Producer({**quietly, "acks": 1, "batch.size": 1_000_000})
        began, number = time.perf_counter(), 0
        while time.perf_counter() < began + BROKERS_S:
            client.poll(0.01 if len(client) >= _AT_ONCE else 0)
            if len(client) < _AT_ONCE:
                client.produce("bulk", _PIECE, partition=number % 3, on_delivery=acknowledged)
                number += 1
        client.purge()
        client.flush(10)
    after = [at for at in taken if began + BROKERS_S / 4 <= at < began + BROKERS_S]
    return len(after) * PIECE_BYTES / (BROKERS_S * 3 / 4)


def round_trip_us(port: int) -> float:
    with connected(port, b"echo") as sock:
        taken = []
        for _ in range(PINGS):
            began = time.perf_counter_ns()
            sock.sendall(bytes(200))
            receive(sock, 200)
            taken.append(time.perf_counter_ns() - began)
    return statistics.median(taken) / 1e3


def bulk(port: int, pid: int | None) -> tuple[float, float]:
    """Send a lot and wait for the other side's word that all has come; gives the time, and the relay's CPU."""
    before = psutil.Process(pid).cpu_times() if pid else None
    with connected(port, b"sink") as sock:
        began = time.perf_counter()
        for _ in range(BULK_BYTES // PIECE_BYTES):
            sock.sendall(_PIECE)
        sock.shutdown(socket.SHUT_WR)
        receive(sock, 4)
        seconds = time.perf_counter() - began
    if pid is None or before is None:
        return seconds, 0.0
    after = psutil.Process(pid).cpu_times()
    return seconds, after.user + after.system - before.user - before.system


_PIECE = bytes(PIECE_BYTES)


@contextlib.contextmanager
def connected(port: int, what: bytes) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(what + bytes(12))  # long enough for the proxy to look for a client id
        receive(sock, 4)
        yield sock


def receive(sock: socket.socket, size: int) -> None:
    while size:
        got = len(sock.recv(size))
        if not got:
            sys.exit("a connection ended in the middle")
        size -= got


# ---- the other side, and the peers: each in a process of its own ---------------------------------------------------


@contextlib.contextmanager
def process(run: Callable[..., None], *arguments: object) -> Iterator[tuple[int, int]]:
    """Run a server; gives its port and process."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    child = multiprocessing.get_context("spawn").Process(target=run, args=(theirs, *arguments), daemon=True)
    child.start()
    port = ours.recv()
    assert child.pid is not None
    try:
        yield port, child.pid
    finally:
        child.kill()
        child.join()


@contextlib.contextmanager
def echoing() -> Iterator[int]:
    with process(serve_echo) as (port, _pid):
        yield port


@contextlib.contextmanager
def asyncio_relay(port: int, *, uvloop: bool) -> Iterator[tuple[int, int | None]]:
    with process(serve_relay, port, uvloop) as found:
        yield found


def serve_echo(told: Connection) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    told.send(listening.getsockname()[1])
    buffer = bytearray(1 << 20)
    while True:
        sock, _ = listening.accept()
        with sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            kind = sock.recv(16)[:4]
            sock.sendall(b"here")
            while size := sock.recv_into(buffer):
                if kind == b"echo":
                    sock.sendall(memoryview(buffer)[:size])
            sock.sendall(b"done")


def serve_relay(told: Connection, target: int, uvloop: bool) -> None:
    import asyncio

    class Side(asyncio.Protocol):
        """Half of a connection: what comes is written to the other half."""

        def __init__(self, other: "Side | None" = None) -> None:
            self.other = other
            self.early = b""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport
            if self.other is None:
                self.opening = asyncio.ensure_future(self._open())

        async def _open(self) -> None:
            loop = asyncio.get_running_loop()
            _, self.other = await loop.create_connection(lambda: Side(self), "127.0.0.1", target)
            self.other.transport.write(self.early)

        def data_received(self, data: bytes) -> None:
            if self.other is None:
                self.early += data
            else:
                self.other.transport.write(data)

        def pause_writing(self) -> None:
            self.other.transport.pause_reading()

        def resume_writing(self) -> None:
            self.other.transport.resume_reading()

        def eof_received(self) -> bool:
            self.other.transport.write_eof()
            return True

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Side, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    if uvloop:
        import uvloop as fast

        fast.run(serve())
    else:
        asyncio.run(serve())


if __name__ == "__main__":
    main()
