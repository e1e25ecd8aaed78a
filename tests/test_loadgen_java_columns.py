"""What the Java processes are told in columns: emitted events as the other client draws them, payloads, security settings."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadgen.children import ChildError
from loadgen.java import columns
from loadgen.java.columns import emitted_columns, emitted_ids, own_places, save_payload
from loadgen.java.security import java_security, untranslatable
from runs import scenario_with
from scenarios.derived import Derived
from scenarios.plan import Plan, make_plan

CHAIN: dict[str, Any] = {
    "topics": {"orders": {"partitions": 2}, "shipments": {}, "mails": {}},
    "groups": {
        "work": {"emits": {"topic": "shipments", "per_event": 2, "share": "50%", "size": {"uniform": ["50B", "90B"]}}},
        "shipping": {
            "topics": ["shipments"],
            "work": {"exponential": "2ms"},
            "failures": {"transient": {"chance": "20%", "attempts": 3}, "then": "skip"},
            "emits": {"topic": "mails", "poison": "30%"},
        },
        "mailing": {"topics": ["mails"], "work": "1ms"},
    },
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(scenario_with(CHAIN), 3)


def test_every_event_that_effects_can_emit_has_a_row_and_no_other(plan: Plan):
    derived = Derived(plan)
    shipments = [c for event in range(len(plan)) for c in derived.children(event, "work")]
    mails = [c for event in shipments for c in derived.children(event, "shipping")]

    assert len(shipments) > 6
    assert emitted_ids(plan).tolist() == sorted(shipments + mails)


def test_columns_hold_what_the_other_client_draws(plan: Plan):
    derived, ids = Derived(plan), emitted_ids(plan)

    found = emitted_columns(plan, [7, 8, 9])

    assert found["emitted_key"].tolist() == derived.key_of(ids).tolist()
    assert found["emitted_type"].tolist() == [[7, 8, 9][place] for place in derived.place_of(ids).tolist()]
    assert found["emitted_size"].tolist() == derived.size_bytes(ids).tolist()
    assert found["emitted_work_ns.shipping"].tolist() == derived.work_ns("shipping", ids).tolist()
    assert found["emitted_failing_tries.shipping"].tolist() == derived.failing_tries("shipping", ids).tolist()
    assert 0 < np.count_nonzero(found["emitted_poison"]) < len(ids)


def test_a_group_knows_its_own_places(plan: Plan):
    found = {name: own_places(plan, name) for name in plan.scenario.groups}

    assert {each["places"] for each in found.values()} == {3}
    assert found["work"]["own"] == [{"number": 0, "emit": 0}, {"number": 1, "emit": 0}]
    assert found["shipping"]["own"] == [{"number": 2, "emit": 0}]
    assert found["mailing"]["own"] == []
    assert found["work"]["outside"] == {"codes": [], "pools": [[], [], []]}


def test_a_chain_of_too_many_events_is_refused(plan: Plan, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(columns, "MOST_EMITTED", 10)

    with pytest.raises(ChildError, match="effects emit more than 10 events"):
        emitted_ids(plan)


def test_payloads_lie_one_after_another_with_the_unreadable_one_behind(tmp_path: Path):
    ends = save_payload(tmp_path / "values", [b"ab", b"", b"cde"])

    assert ends.tolist() == [2, 2, 5, 39]
    assert (tmp_path / "values").read_bytes()[:5] == b"abcde"


# ---- security ------------------------------------------------------------------------------------------------------


def test_a_password_is_told_to_java_as_jaas_writes_it():
    given = {"security.protocol": "SASL_SSL", "sasl.mechanisms": "SCRAM-SHA-512", "sasl.username": "me"}

    assert java_security({**given, "sasl.password": 'a"b\\c', "ssl.ca.location": "/ca.pem"}) == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required "
        'username="me" password="a\\"b\\\\c";',
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": "/ca.pem",
    }


def test_certificates_are_read_from_their_files(tmp_path: Path):
    (tmp_path / "own.pem").write_text("CERTIFICATE")
    (tmp_path / "own.key").write_text("KEY")

    found = java_security(
        {
            "ssl.certificate.location": str(tmp_path / "own.pem"),
            "ssl.key.location": str(tmp_path / "own.key"),
            "ssl.key.password": "x",
            "ssl.endpoint.identification.algorithm": "none",
        }
    )

    assert found == {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.certificate.chain": "CERTIFICATE",
        "ssl.keystore.key": "KEY",
        "ssl.key.password": "x",
        "ssl.endpoint.identification.algorithm": "",
    }


def test_what_java_cannot_be_told_is_named():
    assert untranslatable({"security.protocol": "SSL", "sasl.mechanism": "PLAIN"}) == []
    assert untranslatable({"ssl.engine.location": "/lib/engine.so", "sasl.mechanism": "GSSAPI"}) == [
        "ssl.engine.location cannot be handed to the Java client",
        "sasl.mechanism is GSSAPI; the Java client is told of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512",
    ]
