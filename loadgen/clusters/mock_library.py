"""librdkafka's mock cluster, called in the shared library that the client's wheel brings."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from loadgen.clusters.model import ClusterError

_PRODUCER = 0
_PAUSED_MS = 3_600_000  # answers this late are answers after `resume`
_SETTINGS = {
    "group.initial.rebalance.delay.ms": "rd_kafka_mock_group_initial_rebalance_delay_ms",
    "group.consumer.session.timeout.ms": "rd_kafka_mock_set_group_consumer_session_timeout_ms",
    "group.consumer.heartbeat.interval.ms": "rd_kafka_mock_set_group_consumer_heartbeat_interval_ms",
}

SETTINGS = frozenset(_SETTINGS)
"""The broker settings that it knows."""


class MockCluster:
    """A mock cluster with all that it holds; it lives in this process."""

    def __init__(self, nodes: int, settings: Mapping[str, str]) -> None:
        self._library = _load()
        conf = self._library.rd_kafka_conf_new()
        said = ctypes.create_string_buffer(512)
        self._library.rd_kafka_conf_set(conf, b"test.mock.num.brokers", str(nodes).encode(), said, len(said))
        self._library.rd_kafka_conf_set(conf, b"log_level", b"3", said, len(said))  # it announces itself otherwise
        self._client = self._library.rd_kafka_new(_PRODUCER, conf, said, len(said))
        if not self._client:
            raise ClusterError(f"librdkafka's mock cluster does not start: {said.value.decode()}")
        self._cluster = self._library.rd_kafka_handle_mock_cluster(self._client)
        for name in _SETTINGS.keys() & settings.keys():
            getattr(self._library, _SETTINGS[name])(ctypes.c_void_p(self._cluster), ctypes.c_int(int(settings[name])))

    @property
    def version(self) -> str:
        """Give librdkafka's version."""
        return _text(self._library.rd_kafka_version_str())

    @property
    def bootstrap(self) -> str:
        """List its addresses."""
        return _text(self._library.rd_kafka_mock_cluster_bootstraps(self._cluster))

    def cluster_id(self) -> str:
        """Give the id that clients see."""
        return _text(self._library.rd_kafka_clusterid(self._client, 10_000))

    def create_topic(self, name: str, partitions: int, replication: int) -> None:
        """Create a topic; each partition's leader is a random replica until it is set."""
        self._do("topic_create", name.encode(), partitions, replication)

    def set_leader(self, topic: str, partition: int, node: int) -> None:
        """Let another broker lead a partition."""
        self._do("partition_set_leader", topic.encode(), ctypes.c_int32(partition), ctypes.c_int32(node))

    def set_coordinator(self, group: str, node: int) -> None:
        """Let a broker coordinate a group."""
        self._do("coordinator_set", b"group", group.encode(), ctypes.c_int32(node))

    def set_up(self, node: int, up: bool) -> None:
        """Let a broker accept connections, or drop them all and refuse new ones."""
        self._do("broker_set_up" if up else "broker_set_down", ctypes.c_int32(node))

    def set_paused(self, node: int, paused: bool) -> None:
        """Let a broker keep its answers back; they leave when it goes on."""
        self._do("broker_set_rtt", ctypes.c_int32(node), ctypes.c_int(_PAUSED_MS if paused else 0))

    def set_rack(self, node: int, rack: str) -> None:
        """Say where a broker stands."""
        self._do("broker_set_rack", ctypes.c_int32(node), rack.encode())

    def advertise(self, node: int, port: int) -> None:
        """Tell clients another port of a broker than its own."""
        self._library.rd_kafka_mock_broker_set_host_port(
            self._cluster, ctypes.c_int32(node), b"127.0.0.1", ctypes.c_int(port)
        )

    def _do(self, what: str, *arguments: object) -> None:
        error = getattr(self._library, f"rd_kafka_mock_{what}")(ctypes.c_void_p(self._cluster), *arguments)
        if error:
            raise ClusterError(f"mock cluster: {what}: {_text(self._library.rd_kafka_err2str(error))}")


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode()


def _load() -> ctypes.CDLL:
    """Load the library and declare what of it returns or takes pointers."""
    library = ctypes.CDLL(str(find_library()))
    pointer, text, integer = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, arguments in (
        ("conf_new", pointer, ()),
        ("conf_set", integer, (pointer, text, text, text, ctypes.c_size_t)),
        ("new", pointer, (integer, pointer, text, ctypes.c_size_t)),
        ("handle_mock_cluster", pointer, (pointer,)),
        ("mock_cluster_bootstraps", text, (pointer,)),
        ("mock_broker_set_host_port", None, (pointer, ctypes.c_int32, text, integer)),
        ("version_str", text, ()),
        ("clusterid", text, (pointer, integer)),
        ("err2str", text, (integer,)),
    ):
        function = getattr(library, f"rd_kafka_{name}")
        function.restype = result
        function.argtypes = arguments
    return library


def find_library() -> Path | str:
    """Find librdkafka: the client's wheel carries it beside its package (Linux) or inside it (macOS)."""
    spec = importlib.util.find_spec("confluent_kafka")
    if spec is None or spec.origin is None:
        raise ClusterError("the embedded cluster comes with the Kafka client: `pip install 'eventdrill[kafka]'`")
    package = Path(spec.origin).parent
    candidates: Sequence[Path] = [
        *sorted(package.parent.glob("confluent_kafka.libs/librdkafka*")),
        *sorted(package.glob(".dylibs/librdkafka*")),
    ]
    found = next((path for path in candidates if "++" not in path.name), None) or ctypes.util.find_library("rdkafka")
    if found is None:
        raise ClusterError("librdkafka is not to be found beside confluent-kafka; is it installed from a wheel?")
    return found
