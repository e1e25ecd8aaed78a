"""The files from which a private Kafka starts."""

import re
import socket
from pathlib import Path

import pytest

from loadgen.clusters.layout import Endpoint, draw_id, free_ports, plan_layout, properties, write_node
from loadgen.clusters.model import ClusterError, ClusterSpec


def test_a_broker_binds_its_real_ports_and_advertises_those_of_the_proxies(tmp_path: Path):
    """Proxies come first and learn the real ports; clients and peers are told the proxies' ports."""
    seen: list[Endpoint] = []

    def advertise(endpoints: tuple[Endpoint, ...]) -> dict[Endpoint, int]:
        seen.extend(endpoints)
        return {each: each.port + 40_000 - 10_000 for each in endpoints if each.listener == "CLIENT"}

    layout = plan_layout(ClusterSpec(nodes=2, racks=("a", "b", "c")), advertise)
    client, internal = layout.port(2, "CLIENT"), layout.port(2, "INTERNAL")
    settings = properties(layout, 2, tmp_path)

    assert [(each.node, each.listener) for each in seen] == [
        (100, "CONTROLLER"),
        (1, "CLIENT"),
        (1, "INTERNAL"),
        (2, "CLIENT"),
        (2, "INTERNAL"),
    ]
    assert settings["listeners"] == f"CLIENT://127.0.0.1:{client},INTERNAL://127.0.0.1:{internal}"
    assert settings["advertised.listeners"] == f"CLIENT://127.0.0.1:{client + 30_000},INTERNAL://127.0.0.1:{internal}"
    assert layout.bootstrap == f"127.0.0.1:{layout.port(1, 'CLIENT') + 30_000},127.0.0.1:{client + 30_000}"
    assert settings["process.roles"] == "broker"
    assert settings["controller.quorum.voters"] == f"100@127.0.0.1:{layout.port(100, 'CONTROLLER')}"
    assert settings["broker.rack"] == "b"


def test_replication_of_the_internal_topics_fits_the_number_of_brokers(tmp_path: Path):
    for nodes, copies, in_sync in ((1, "1", "1"), (2, "2", "2"), (3, "3", "2"), (5, "3", "2")):
        settings = properties(plan_layout(ClusterSpec(nodes=nodes)), 1, tmp_path)
        assert (copies, "5") == (settings["offsets.topic.replication.factor"], settings["offsets.topic.num.partitions"])
        assert in_sync == settings["transaction.state.log.min.isr"]
        assert copies == settings["share.coordinator.state.topic.replication.factor"]


def test_settings_of_the_user_win_and_unknown_ones_are_passed_on(tmp_path: Path):
    given = {"offsets.topic.num.partitions": "50", "no.such.setting": "1", "auto.create.topics.enable": "true"}
    layout = plan_layout(ClusterSpec(settings=given))

    for node in (100, 1):
        assert given.items() <= properties(layout, node, tmp_path).items()


def test_settings_that_the_layout_owns_are_refused():
    with pytest.raises(ClusterError, match=re.escape("brokers.settings.listeners is X://:1; a local cluster sets")):
        plan_layout(ClusterSpec(settings={"listeners": "X://:1"}))
    with pytest.raises(ClusterError, match=r"brokers\.nodes is 0; a local cluster has 1 to 99 brokers"):
        plan_layout(ClusterSpec(nodes=0))


def test_combined_nodes_are_all_voters():
    layout = plan_layout(ClusterSpec(nodes=3, controllers="combined"))

    assert [1, 2, 3] == layout.controllers == layout.node_ids
    settings = properties(layout, 3, Path("/data"))
    assert settings["process.roles"] == "broker,controller"
    assert [f"{node}@127.0.0.1:{layout.port(node, 'CONTROLLER')}" for node in (1, 2, 3)] == settings[
        "controller.quorum.voters"
    ].split(",")


def test_only_controllers_get_the_formatted_metadata(tmp_path: Path):
    formatted = tmp_path / "made-once"
    formatted.mkdir()
    (formatted / "bootstrap.checkpoint").write_bytes(b"features")
    layout = plan_layout(ClusterSpec(nodes=1))

    controller = write_node(layout, 100, tmp_path, formatted)
    write_node(layout, 1, tmp_path, formatted)

    assert controller == tmp_path / "n100.properties"
    assert (tmp_path / "n100" / "bootstrap.checkpoint").read_bytes() == b"features"
    assert [path.name for path in (tmp_path / "n1").iterdir()] == ["meta.properties"]
    meta = dict(line.split("=") for line in (tmp_path / "n1" / "meta.properties").read_text().splitlines())
    assert ("1", layout.cluster_id, "1", 22) == (
        meta["version"],
        meta["cluster.id"],
        meta["node.id"],
        len(meta["directory.id"]),
    )


def test_values_arrive_in_java_as_they_were_given(tmp_path: Path):
    """Backslashes, leading blanks, line ends and letters beyond ASCII are escaped."""
    layout = plan_layout(ClusterSpec(nodes=1, settings={"some.setting": " a\\b\nzäh=#"}))
    (tmp_path / "c").mkdir()

    text = write_node(layout, 1, tmp_path, tmp_path / "c").read_text()

    assert "some.setting=\\u0020a\\\\b\\nz\\u00e4h=#" in text


def test_ports_are_free_different_and_out_of_the_systems_own_range():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        ports = free_ports(40)

    assert len(set(ports)) == 40
    assert all(10_000 <= port < 32_000 for port in ports)
    for port in ports:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))


def test_ids_never_begin_with_a_dash():
    """One random id in 64 would, and break Kafka's own tools."""
    assert not [each for _ in range(500) if (each := draw_id()).startswith("-")]
