"""A member's transactions with brokers that do not answer: each comes to an end, and the next one works."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from loadgen import member_sends, member_transactions
from loadgen.clusters.embedded import EmbeddedKafka, start_embedded
from loadgen.clusters.model import ClusterSpec
from loadgen.member_sends import Clients, TransactionBroken
from loadgen.member_transactions import Transactions
from rundata.rows import NONE, Outcome

pytestmark = pytest.mark.live

IN = ("in", 0)


@dataclass
class Rows:
    """Stands for a member's rows: the transaction under way, and the commits that were recorded."""

    transaction: int = NONE
    commits: list[tuple[int, Outcome]] = field(default_factory=list)

    def committed(self, _topic: str, _partition: int, offset: int, _began: int, _ended: int, _code: int, outcome: Outcome) -> None:  # fmt: skip
        self.commits.append((offset, outcome))


class Member:
    """What of a member has to do with transactions."""

    def __init__(self, bootstrap: str) -> None:
        connection = {"bootstrap.servers": bootstrap, "log_level": 0}
        spec = {"connection": connection, "commit": "transaction", "name": "work/1"}
        self.child: Any = SimpleNamespace(spec=spec, leaving=False)
        self.clients = Clients(self.child)
        self.consumer = Consumer({**connection, "group.id": "work", "enable.auto.commit": False})
        self.consumer.assign([TopicPartition(*IN, 0)])
        self.consumer.poll(0.5)
        self.rows: Any = Rows()
        self.transactions = Transactions(self.clients, self.consumer, self.rows, 7, lambda: bool(self.child.leaving))

    def send(self, value: bytes) -> None:
        assert self.clients.transactional is not None
        self.clients.produce(self.clients.transactional, "out", value)

    def answered(self) -> bool:
        assert self.clients.transactional is not None
        return self.clients.transactional.flush(10) == 0

    def works(self) -> bool:
        """Whether a transaction of its own is committed."""
        self.transactions.begin({IN: 0})
        self.send(b"next")
        return self.transactions.commit({IN: 5}, 0) and self.rows.commits[-1] == (5, Outcome.ok)


@pytest.fixture
def cluster() -> Iterator[EmbeddedKafka]:
    with start_embedded(ClusterSpec(nodes=2), progress=print) as embedded:
        embedded.create_topic("in", 1, 1)
        embedded.create_topic("out", 1, 1)
        yield embedded


@pytest.fixture
def member(cluster: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch) -> Iterator[Member]:
    monkeypatch.setattr(member_transactions, "_ABORT_STEP_S", 0.5)
    found = Member(cluster.bootstrap)
    yield found
    found.consumer.close()


def silence(cluster: EmbeddedKafka, for_s: float | None = None) -> None:
    """Let no broker answer, for a while or until somebody ends that."""
    for node in (1, 2):
        cluster.pause(node)
        if for_s is not None:
            threading.Timer(for_s, cluster.resume, (node,)).start()


@pytest.mark.parametrize("ends", [{}, {IN: 1}])
def test_a_commit_that_nobody_answers_comes_to_an_end_and_the_next_one_works(
    cluster: EmbeddedKafka, member: Member, monkeypatch: pytest.MonkeyPatch, ends: dict[tuple[str, int], int]
):
    """All brokers are silent for two seconds, and an answer is waited for half of one: the commit fails, or came true in the end."""
    member.transactions.begin({IN: 0})
    member.send(b"one")
    assert member.answered()
    monkeypatch.setattr(member_transactions, "_ANSWER_WITHIN_S", 0.5)
    silence(cluster, 2)

    took_effect = member.transactions.commit(ends, 0)

    assert not member.transactions.under_way
    known = Outcome.ok if took_effect else Outcome.failed
    assert {outcome for _, outcome in member.rows.commits} <= {known, Outcome.unknown}
    assert len(member.rows.commits) == len(ends)
    monkeypatch.setattr(member_transactions, "_ANSWER_WITHIN_S", 30.0)
    assert member.works()


def test_a_batch_of_which_a_send_is_refused_is_given_up_as_a_whole(member: Member):
    """The client takes nothing outside a transaction, as it takes nothing more for one that has failed."""
    with pytest.raises(TransactionBroken) as refused:
        member.send(b"too early")
    member.transactions.begin({IN: 3})
    member.transactions.fail(refused.value.code, 0)

    assert member.rows.commits == [(3, Outcome.failed)]
    assert not member.transactions.under_way
    assert member.works()


def test_a_member_that_shall_leave_does_not_wait_for_brokers_that_are_away(
    cluster: EmbeddedKafka, member: Member, monkeypatch: pytest.MonkeyPatch
):
    """It would wait for a minute otherwise, and be killed while it is still a member of its group."""
    monkeypatch.setattr(member_sends, "_LAST_ANSWERS_NS", 500_000_000)
    member.transactions.begin({IN: 0})
    silence(cluster)
    member.send(b"one")
    member.child.leaving = True
    began = time.monotonic()

    assert not member.transactions.commit({}, 0)
    member.clients.finish()

    assert time.monotonic() - began < 15
    assert member.clients.waiting() == 0
    for node in (1, 2):
        cluster.resume(node)
