"""A producer process's values, and how it goes on in transactions, without brokers."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from confluent_kafka import KafkaError, KafkaException

from loadgen.paced import of_one_size
from loadgen.producer_transactions import Due, TransactionalProducer
from loadgen.records import HEADER, filler, headers


@pytest.mark.parametrize("size", [32, 33, 100, 1024])
def test_values_of_one_size_are_what_each_of_them_would_be(size: int) -> None:
    """The ids of each event, and then as much of the filler as there is room for."""
    events = np.asarray([3, 900, 2**40])
    heads = headers(7, events, 10 * events, np.asarray([False, True, False]))
    body = filler(size)

    values = of_one_size(heads, body, size)

    assert [len(value) for value in values] == [size] * 3
    assert values == [heads[n * 32 : (n + 1) * 32] + body[: size - HEADER.size] for n in range(3)]


# ---- in transactions -----------------------------------------------------------------------------------------------


class Client:
    """A transactional client whose brokers are away for a number of steps, each of which waits a quarter of a second for them."""

    def __init__(self, brokers: "Brokers") -> None:
        self._brokers = brokers
        brokers.clients += 1

    def init_transactions(self, within_s: float) -> None:
        self._brokers.asked(within_s)

    begin_transaction = commit_transaction = abort_transaction = produce = lambda self, *_: None

    def purge(self) -> None:
        pass


class Brokers:
    """What all clients of a test find: nobody, for so many steps; and what the driver says after how many."""

    def __init__(self, away_for: int, stop_after: int | None = None, code: int = KafkaError._TIMED_OUT) -> None:
        self.away_for, self.stop_after, self.code = away_for, stop_after, code
        self.clients, self.steps, self.now_s = 0, 0, 0.0

    def asked(self, within_s: float) -> None:
        self.steps, self.now_s = self.steps + 1, self.now_s + within_s
        if self.steps <= self.away_for:
            raise KafkaException(KafkaError(self.code, retriable=self.code == KafkaError._TIMED_OUT))


def brokers_refuse() -> None:
    raise KafkaException(KafkaError(KafkaError._STATE))


def producer_of(brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> TransactionalProducer:
    """A process in the middle of its run."""
    clock = SimpleNamespace(monotonic=lambda: brokers.now_s, sleep=lambda _s: None)
    monkeypatch.setattr("loadgen.producer_transactions.time", clock)
    monkeypatch.setattr("loadgen.producer_transactions.Producer", lambda _settings: Client(brokers))
    process = TransactionalProducer.__new__(TransactionalProducer)
    process.child = SimpleNamespace(spec={"settings": {}, "name": "shop/1"})  # type: ignore[assignment]  # no process
    process.client = Client(brokers)  # type: ignore[assignment]  # a client by hand
    process.start_ns, process.ended, process.skews = 1, False, []
    process.produce = None  # type: ignore[assignment]  # the same

    def listen() -> None:
        process.ended = brokers.stop_after is not None and brokers.steps >= brokers.stop_after

    monkeypatch.setattr(process, "listen", listen)
    return process


def test_a_client_is_renewed_however_long_brokers_are_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes; the process is there when they are."""
    brokers = Brokers(away_for=2400)
    process = producer_of(brokers, monkeypatch)

    process._renew()

    assert (brokers.clients, brokers.steps, process.ended) == (2, 2401, False)


def test_a_process_that_shall_end_waits_no_longer_for_brokers_and_ends_in_good_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is told after ten steps, and gives up five seconds later; nothing is handed over any more."""
    brokers = Brokers(away_for=2400, stop_after=10)
    process = producer_of(brokers, monkeypatch)
    monkeypatch.setattr(process.client, "begin_transaction", brokers_refuse)
    sent: list[Any] = []
    monkeypatch.setattr(process, "_send", sent.append)

    process._transaction([Due(3, 0, b"", None, False)])

    assert (process.ended, sent) == (True, [])
    assert 10 < brokers.steps < 40


def test_a_client_that_brokers_will_never_take_ends_its_process_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = producer_of(Brokers(away_for=99, code=KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED), monkeypatch)

    with pytest.raises(TimeoutError, match="no transaction of shop/1 can begin: Broker: Transactional Id"):
        process._renew()
