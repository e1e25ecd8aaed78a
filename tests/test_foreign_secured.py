"""A Kafka behind TLS and SASL that EventDrill did not start: it is driven, secrets are shown and written nowhere, and who has no rights is told."""

import contextlib
import logging
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from eventdrill.workflows.drive import prepare_foreign
from live_runs import drive_on
from loadgen.admin import AdminError
from loadgen.clusters import layout, local
from loadgen.clusters.local import LocalKafka, start_local
from loadgen.clusters.model import ClusterSpec
from rundata.checks import check
from test_foreign import SCENARIO

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to make a certificate with"),
]
SECRETS = {"alice": "alice-s3cret-7f31", "bob": "bob-s3cret-90aa"}
USERS = " ".join(f'user_{name}="{secret}"' for name, secret in SECRETS.items())


@dataclass(frozen=True)
class Secured:
    """The brokers, and the certificate that clients trust."""

    kafka: LocalKafka
    certificate: Path

    def settings(self, user: str, secret: str | None = None) -> dict[str, str]:
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.username": user,
            "sasl.password": secret or SECRETS[user],
            "ssl.ca.location": str(self.certificate),
        }

    def topics(self) -> set[str]:
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap, **self.settings("alice")})
        return set(admin.list_topics(timeout=10).topics) - {"__consumer_offsets"}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Three brokers whose clients come over TLS with a password; among themselves they speak plainly."""
    folder = tmp_path_factory.mktemp("keys")
    key, certificate, both = folder / "key.pem", folder / "certificate.pem", folder / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    both.write_text(key.read_text() + certificate.read_text())
    spec = ClusterSpec(
        settings={
            "group.initial.rebalance.delay.ms": "100",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,CLIENT:SASL_SSL,INTERNAL:PLAINTEXT",
            "listener.name.client.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.client.plain.sasl.jaas.config": f"org.apache.kafka.common.security.plain.PlainLoginModule required {USERS};",
            "listener.name.client.ssl.keystore.type": "PEM",
            "listener.name.client.ssl.keystore.location": str(both),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:alice",
        }
    )
    silent = logging.getLogger("secured")
    silent.addHandler(logging.NullHandler())
    silent.propagate = False

    @contextlib.contextmanager
    def trusting(bootstrap: str) -> Iterator[AdminClient]:
        settings = Secured(None, certificate).settings("alice")  # type: ignore[arg-type]  # not there yet
        yield AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, **settings}, logger=silent)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "OURS", frozenset())
        patch.setattr(local, "_quiet_admin", trusting)
        with start_local(spec, progress=print) as kafka:
            yield Secured(kafka, certificate)


def prepared(secured: Secured, tmp_path: Path, settings: dict[str, str]) -> Any:
    scenario, file = tmp_path / "there.yaml", tmp_path / "client.properties"
    scenario.write_text(SCENARIO.replace("CLUSTER", secured.kafka.cluster_id))
    file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return prepare_foreign(str(scenario), on=secured.kafka.bootstrap, client_settings=file)


def test_a_secured_system_is_driven_and_its_secrets_are_written_nowhere(
    secured: Secured, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    work = prepared(secured, tmp_path, secured.settings("alice"))
    run = drive_on(work.system, work.loaded, tmp_path / "run")

    assert run.about["state"] == "complete", run.about["incomplete"]
    assert {name: found.examples for name, found in check(run).items() if not found.valid} == {}
    assert len(run.log) == len(run.plan)
    assert secured.topics() == set()
    said = capfd.readouterr()
    written = b"".join(each.read_bytes() for each in (tmp_path / "run").rglob("*") if each.is_file())
    for secret in SECRETS.values():
        assert secret.encode() not in written
        assert secret not in said.out + said.err
        assert secret not in repr(run.about)


def test_who_has_no_rights_is_told_and_nothing_is_left(secured: Secured, tmp_path: Path) -> None:
    work = prepared(secured, tmp_path, secured.settings("bob"))

    with pytest.raises(AdminError, match=r"(?i)authoriz") as error:
        drive_on(work.system, work.loaded, tmp_path / "run")

    assert SECRETS["bob"] not in str(error.value)
    assert secured.topics() == set()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sasl.password": "wrong-s3cret"}, r"(?i)authentication"),
        ({"ssl.ca.location": ""}, r"(?i)certificate|ssl"),
        ({"security.protocol": "PLAINTEXT"}, r"no broker answers there"),
    ],
)
def test_wrong_settings_are_told_with_the_reason_and_without_the_secret(
    secured: Secured, tmp_path: Path, change: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadgen.clusters.foreign.ANSWER_WITHIN_S", 4.0)
    settings = {name: value for name, value in (secured.settings("alice") | change).items() if value}

    with pytest.raises(Exception, match=reason) as error:
        prepared(secured, tmp_path, settings)

    assert "s3cret" not in str(error.value)
