"""The proxies: whose connection it is, and what a cut, a reset and a slow link do to real sockets."""

import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from loadgen.clusters.layout import Endpoint
from loadgen.clusters.processes import identify
from loadgen.proxies.client import Done, Proxies
from loadgen.proxies.rules import Flow, Match, Mode, Peer, Rule, client_id_in, peer_of

MS = 1_000_000


# ---- who it is -----------------------------------------------------------------------------------------------------


def hello(client_id: str) -> bytes:
    """Build the beginning of a request as every Kafka client sends it first: ApiVersions 3, correlation 7."""
    head = struct.pack(">hhih", 18, 3, 7, len(client_id)) + client_id.encode()
    return struct.pack(">i", len(head)) + head


def test_the_client_id_is_read_as_soon_as_it_has_come():
    data = hello("broker-2-fetcher-0")

    assert client_id_in(data) == "broker-2-fetcher-0"
    assert [client_id_in(data[:size]) for size in (0, 13, 14, 31)] == [None] * 4
    assert client_id_in(hello("")) == ""
    assert client_id_in(b"\x16\x03\x01" + b"\xff" * 20) == ""  # no Kafka at all


@pytest.mark.parametrize(
    ("listener", "client_id", "peer"),
    [
        ("CLIENT", "shop-1", Peer("clients")),
        ("CLIENT", "7", Peer("clients")),
        ("CLIENT", "eventdrill-driver", Peer("others")),
        ("INTERNAL", "broker-2-fetcher-0", Peer("broker 2")),
        ("INTERNAL", "3", Peer("broker 3")),
        ("CONTROLLER", "raft-client-12", Peer("broker 12", "metadata")),
        ("CONTROLLER", "12", Peer("broker 12", "heartbeat")),
        ("CONTROLLER", "kafka-ui", Peer("others")),
    ],
)
def test_peers_are_known_by_their_client_ids(listener, client_id: str, peer: Peer):
    assert peer_of(listener, client_id) == peer


def test_a_rule_meets_one_listener_peer_and_channel():
    match = Match(100, "CONTROLLER", "broker 2", "heartbeat")

    assert match.meets(100, "CONTROLLER", Peer("broker 2", "heartbeat"))
    assert not match.meets(100, "CONTROLLER", Peer("broker 2", "metadata"))
    assert not match.meets(100, "CONTROLLER", Peer("broker 1", "heartbeat"))
    assert not match.meets(1, "CONTROLLER", Peer("broker 2", "heartbeat"))
    assert Match(100, "CONTROLLER").meets(100, "CONTROLLER", Peer("broker 1", "metadata"))


def test_a_rule_travels_as_it_is():
    rule = Rule(matches=(Match(1, "CLIENT", flow="in"),), mode="slow", delay_ns=5, jitter_ns=2, bytes_per_s=9)

    assert Rule.read(rule.plain()) == rule


# ---- what becomes of bytes -----------------------------------------------------------------------------------------


class Echo:
    """A node that sends everything back, but for the first request that names its client."""

    def __init__(self) -> None:
        self.echoed = 0
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(50)
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        with accepted, contextlib.suppress(OSError):
            while data := accepted.recv(1 << 16):
                accepted.sendall(data)
                self.echoed += len(data)

    def close(self) -> None:
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    node = Echo()
    yield node
    node.close()


@pytest.fixture
def proxies() -> Iterator[Proxies]:
    kept = Proxies()
    yield kept
    kept.close()


@pytest.fixture(autouse=True)
def opened() -> Iterator[list[socket.socket]]:
    """Close what a test has opened."""
    yield _opened
    while _opened:
        _opened.pop().close()


_opened: list[socket.socket] = []


def connect(port: int, client_id: str) -> socket.socket:
    """Connect and say who it is, which may not be heard."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=5)
    _opened.append(sock)
    sock.sendall(hello(client_id))
    return sock


def call(port: int, client_id: str) -> socket.socket:
    """Connect and say who it is; gives the connection when the answer has come."""
    sock = connect(port, client_id)
    assert receive(sock, len(hello(client_id))) == hello(client_id)
    return sock


def receive(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := sock.recv(size - len(data))):
        data += more
    return data


def silent(sock: socket.socket, for_s: float = 0.2) -> bool:
    """Tell whether nothing comes."""
    sock.settimeout(for_s)
    try:
        return sock.recv(1) is None
    except TimeoutError:
        return True
    finally:
        sock.settimeout(5)


def doors(proxies: Proxies, echo: Echo) -> dict[str, int]:
    """Stand before three listeners, all of them the echo's."""
    endpoints = [Endpoint(1, "CLIENT", echo.port), Endpoint(1, "INTERNAL", echo.port), Endpoint(100, "CONTROLLER", echo.port)]  # fmt: skip
    return {each.listener: port for each, port in proxies.advertise(endpoints).items()}


def rule(
    mode: Mode, listener="INTERNAL", peer: str | None = "broker 2", node: int = 1, flow: Flow = "both", **how: int
) -> Rule:
    return Rule(matches=(Match(node, listener, peer, flow=flow),), mode=mode, **how)


@pytest.mark.live
def test_bytes_pass_as_they_are_in_both_directions_and_ends_are_told(proxies: Proxies, echo: Echo):
    sock = call(doors(proxies, echo)["CLIENT"], "shop-1")
    data = os.urandom(3_000_000)

    threading.Thread(target=sock.sendall, args=(data,)).start()
    assert receive(sock, len(data)) == data
    sock.shutdown(socket.SHUT_WR)
    assert sock.recv(1) == b""


@pytest.mark.live
def test_a_silent_cut_holds_one_peer_and_lets_its_bytes_through_afterwards(proxies: Proxies, echo: Echo):
    """Broker 2's connection hears nothing and nothing is lost; broker 3's goes on; a new one of broker 2 waits too."""
    port = doors(proxies, echo)["INTERNAL"]
    two, three = call(port, "broker-2-fetcher-0"), call(port, "broker-3-fetcher-0")

    assert proxies.begin("cut", rule("silent"), for_s=60) == Done(1, 0, 0)
    two.sendall(b"held")
    three.sendall(b"passed")
    late = connect(port, "broker-2-fetcher-1")

    assert receive(three, 6) == b"passed"
    assert silent(two)
    assert silent(late)
    assert proxies.in_force() == ["cut"]
    assert proxies.end("cut") == Done(1, 1, 4)
    assert receive(two, 4) == b"held"
    assert receive(late, len(hello("broker-2-fetcher-1"))) == hello("broker-2-fetcher-1")


@pytest.mark.live
def test_one_direction_can_be_cut_alone(proxies: Proxies, echo: Echo):
    """What goes to the node arrives; only its answers are held back, and come in order later."""
    sock = call(doors(proxies, echo)["CLIENT"], "shop-1")
    proxies.begin("half", rule("silent", "CLIENT", "clients", flow="out"), for_s=60)

    sock.sendall(b"one")
    assert silent(sock)
    sock.sendall(b"two")
    until = time.monotonic() + 5
    while echo.echoed < len(hello("shop-1")) + 6 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.2)  # the last step, from its node into the proxy, shows nowhere

    assert proxies.end("half").waited_bytes == 6
    assert receive(sock, 6) == b"onetwo"


@pytest.mark.live
def test_a_reset_ends_connections_and_refuses_new_ones_until_it_is_over(proxies: Proxies, echo: Echo):
    port = doors(proxies, echo)["INTERNAL"]
    two, three = call(port, "broker-2-fetcher-0"), call(port, "broker-3-fetcher-0")

    proxies.begin("reset", rule("reset"), for_s=60)

    with pytest.raises(ConnectionResetError):
        two.recv(1)
    again = connect(port, "broker-2-fetcher-0")
    with pytest.raises(ConnectionResetError):
        again.recv(1)
    three.sendall(b"on")
    assert receive(three, 2) == b"on"
    assert proxies.end("reset") == Done(1, 1, 0)
    call(port, "broker-2-fetcher-0")


@pytest.mark.live
def test_a_brokers_heartbeats_can_be_cut_without_its_metadata(proxies: Proxies, echo: Echo):
    port = doors(proxies, echo)["CONTROLLER"]
    metadata, heartbeat = call(port, "raft-client-2"), call(port, "2")

    proxies.begin("c", Rule(matches=(Match(100, "CONTROLLER", "broker 2", "heartbeat"),), mode="silent"), for_s=60)
    metadata.sendall(b"a")
    heartbeat.sendall(b"b")

    assert metadata.recv(1) == b"a"
    assert silent(heartbeat)


@pytest.mark.live
def test_a_slow_link_delays_each_way_and_keeps_the_order(proxies: Proxies, echo: Echo):
    """A delay of 50 ms each way is 100 ms there and back; jitter of 20 ms each way reorders nothing."""
    sock = call(doors(proxies, echo)["CLIENT"], "shop-1")

    proxies.begin("slow", rule("slow", "CLIENT", "clients", delay_ns=50 * MS), for_s=60)
    began = time.perf_counter()
    sock.sendall(b"x")
    sock.recv(1)
    assert 0.100 <= time.perf_counter() - began < 0.19  # twice would be 0.2
    proxies.end("slow")

    proxies.begin("jitter", rule("slow", "CLIENT", "clients", delay_ns=25 * MS, jitter_ns=20 * MS), for_s=60)
    sent = bytes(range(100))
    for each in sent:
        sock.sendall(bytes([each]))
        time.sleep(0.001)
    assert receive(sock, 100) == sent


@pytest.mark.live
def test_a_slow_links_bandwidth_is_shared_by_its_connections(proxies: Proxies, echo: Echo):
    """Two connections send 100 kB each over a link of 400 kB/s: the last byte is back 0.5 s later."""
    port = doors(proxies, echo)["CLIENT"]
    socks = [call(port, "shop-1"), call(port, "shop-2")]
    proxies.begin("narrow", rule("slow", "CLIENT", "clients", flow="in", bytes_per_s=400_000), for_s=60)

    began = time.perf_counter()
    for sock in socks:
        sock.sendall(b"x" * 100_000)
    for sock in socks:
        assert len(receive(sock, 100_000)) == 100_000
    assert 0.48 <= time.perf_counter() - began < 0.9


@pytest.mark.live
def test_a_rule_that_nobody_ends_expires(proxies: Proxies, echo: Echo):
    sock = call(doors(proxies, echo)["CLIENT"], "shop-1")

    proxies.begin("forgotten", rule("silent", "CLIENT", "clients"), for_s=0.4)
    sock.sendall(b"x")
    began = time.perf_counter()
    assert sock.recv(1) == b"x"

    assert 0.3 < time.perf_counter() - began < 3
    assert proxies.in_force() == []
    assert proxies.end("forgotten").expired


@pytest.mark.live
def test_a_node_that_is_down_resets_its_callers(proxies: Proxies):
    nobody = socket.socket()
    nobody.bind(("127.0.0.1", 0))
    (port,) = proxies.advertise([Endpoint(1, "CLIENT", nobody.getsockname()[1])]).values()
    nobody.close()

    sock = connect(port, "shop-1")
    with pytest.raises(ConnectionResetError):
        sock.recv(1)


OWNER = """
import time
from loadgen.proxies.client import Proxies
print(Proxies().pid, flush=True)
time.sleep(300)
"""


@pytest.mark.live
def test_proxies_end_with_an_owner_that_is_killed():
    owner = subprocess.Popen([sys.executable, "-P", "-c", OWNER], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.stdout.close()
    assert identify(pid) is not None

    owner.kill()
    owner.wait()

    until = time.monotonic() + 5
    while identify(pid) is not None and time.monotonic() < until:
        time.sleep(0.02)
    assert identify(pid) is None
