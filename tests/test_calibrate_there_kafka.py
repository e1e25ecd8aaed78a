"""A real Kafka that somebody else started, with exporters on its brokers, is calibrated: its own figures are used, and nothing is left behind."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from eventdrill.verbs.calibrate import verb
from eventdrill.workflows import calibrate
from loadgen.clusters import local
from loadgen.clusters.jars import parse_lock, prepare_jars
from loadgen.clusters.layout import free_ports
from loadgen.clusters.local import LocalKafka, start_local
from loadgen.clusters.model import ClusterSpec
from scenarios.profiles import load_profile
from test_clusters_local import create
from test_foreign import groups, topics

pytestmark = pytest.mark.live
LOCK = next((Path(__file__).parent / "data").glob("jmx_prometheus_javaagent-*.lock"))
"""The exporter that Prometheus's people make for JMX; for tests only, and fetched like Kafka's jars."""
RULES = re.findall(
    r"```yaml\n(.*?)```", (Path(__file__).parents[1] / "docs" / "calibration.md").read_text("utf-8"), re.DOTALL
)[-1]
"""What the documentation tells people to give their exporters."""


@dataclass(frozen=True)
class Watched:
    """Brokers, and where their exporters are."""

    kafka: LocalKafka
    urls: tuple[str, ...]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Three brokers, each with an exporter on loopback."""
    (jar,) = prepare_jars(parse_lock(LOCK.stem.rpartition("-")[2], LOCK.read_text(), "JMX exporter"), print)
    rules = tmp_path_factory.mktemp("exporter") / "rules.yaml"
    rules.write_text(RULES)
    ports = dict(zip(("n1.properties", "n2.properties", "n3.properties"), free_ports(3), strict=True))
    plain = local._Parts._command

    def command(self: Any, heap_mib: int, options: Sequence[str], config: Path) -> list[str]:
        port = ports.get(config.name)
        agent = [] if port is None else [f"-javaagent:{jar}=127.0.0.1:{port}:{rules}"]
        return plain(self, heap_mib, [*options, *agent], config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local._Parts, "_command", command)
        with start_local(ClusterSpec(settings={"group.initial.rebalance.delay.ms": "100"}), progress=print) as kafka:
            create(kafka, "theirs")
            yield Watched(kafka, tuple(f"http://127.0.0.1:{port}" for port in ports.values()))


def test_a_system_with_exporters_is_calibrated_and_left_as_it_was(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With the brokers' own times in the profile, and with a password that stands nowhere afterwards."""
    monkeypatch.setenv("EVENTDRILL_CLIENT_SECURITY_PROTOCOL", "PLAINTEXT")
    monkeypatch.setenv("EVENTDRILL_CLIENT_SASL_PASSWORD", "hunter2")
    monkeypatch.setattr(calibrate, "_WARM_UP_S", 4)
    monkeypatch.setattr(calibrate, "_STEP_S", 5)
    there = watched.kafka.bootstrap
    target = f"{{cluster_id: {watched.kafka.cluster_id}, topics: [drill-*]}}"

    assert verb(on=there, quick=True, target=target, metrics=list(watched.urls), dry_run=True) == 0
    assert "remove the topics drill-eventdrill.calibration-calibration" in capfd.readouterr().out
    assert topics(watched.kafka) == {"theirs"}

    # 3 where this host was too busy to be believed; the profile is written all the same.
    assert verb(on=there, quick=True, target=target, metrics=list(watched.urls), out=tmp_path / "there.yaml") in (0, 3)

    profile = load_profile(tmp_path / "there.yaml")
    said = profile.brokers_said
    assert said["exporters"] == "3 of 3 brokers"
    assert said["under_replicated_most"] == 0
    assert 0 < float(said["produce_total_ms"]) < 1000
    assert 0 <= float(said["produce_local_ms"]) <= float(said["produce_total_ms"])
    assert 0 < float(said["handlers_idle"]) <= 1
    assert float(said["fetch_remote_ms"]) > 0
    # Nobody else was there.
    assert float(said["produce_requests_of_others"]) < 0.2
    assert str(profile.measured_on["cluster"]).startswith(watched.kafka.cluster_id)
    assert profile.not_measured["election"] == "as in local-kafka: a quick calibration has none"
    assert topics(watched.kafka) == {"theirs"}
    assert groups(watched.kafka) == set()
    heard = capfd.readouterr()
    assert "hunter2" not in heard.out + heard.err + (tmp_path / "there.yaml").read_text()
