"""What a member sends: emitted events, retry copies and dead letters, through one client for each set of settings."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from loadgen.child import Child, Leaving
from loadgen.member_lookup import Lookup
from loadgen.member_outbox import Outbox, Stored
from loadgen.member_rows import Event, MemberRows
from loadgen.outcomes import Answer, answer_of, outcome_of
from loadgen.records import encode, filler
from rundata.rows import Outcome

clock = time.perf_counter_ns

Header = tuple[str, str | bytes | None]

_LAST_ANSWERS_NS = 5_000_000_000
"""A member that shall leave waits so long for answers that may never come."""
_TAKES_NO_MORE = frozenset({KafkaError._STATE, KafkaError._FATAL, KafkaError._FENCED})


class TransactionBroken(Exception):  # noqa: N818 - an end of a transaction, no error of ours
    """The client takes no more for a transaction that has failed already: it has to be aborted."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Clients:
    """The producers of a member, by their settings; with transactions there is one for everything."""

    def __init__(self, child: Child) -> None:
        spec = child.spec
        self._child = child
        self._connection: dict[str, Any] = spec["connection"]
        self._by_settings: dict[str, Producer] = {}
        self.transactional: Producer | None = None
        if spec["commit"] == "transaction":
            self.renew_transactional()

    def renew_transactional(self) -> None:
        """Open the client of the transactions, in place of one that can go neither on nor back."""
        spec = self._child.spec
        if self.transactional is not None:
            self._purge(self.transactional)
        settings = {name: value for each in spec.get("emits", ()) for name, value in each["settings"].items()}
        self.transactional = Producer(
            {**self._connection, **settings, "transactional.id": spec["name"].replace("/", "-")}
        )

    def of(self, settings: dict[str, Any]) -> Producer:
        """Return the client with these settings."""
        if self.transactional is not None:
            return self.transactional
        known = repr(sorted(settings.items()))
        if known not in self._by_settings:
            self._by_settings[known] = Producer({**self._connection, **settings})
        return self._by_settings[known]

    def produce(self, client: Producer, *record: Any, **more: Any) -> None:
        """Hand a record to a client, as soon as it has room; raise TransactionBroken where its transaction takes no more."""
        while True:
            try:
                client.produce(*record, **more)
                return
            except BufferError:
                self._wait_for_room(client)
            except KafkaException as error:
                code = error.args[0].code()
                if client is not self.transactional or code not in _TAKES_NO_MORE:
                    raise
                raise TransactionBroken(code) from None

    def _wait_for_room(self, client: Producer) -> None:
        before = len(client)
        self.wait(client, lambda: len(client) < before)

    def wait(self, client: Producer, done: Callable[[], bool]) -> None:
        """Serve a client until something is so; raise Leaving where a member that shall leave would wait too long for it."""
        until = None
        while not done():
            self._poll(client, 0.1)
            if self._child.leaving:
                until = until or clock() + _LAST_ANSWERS_NS
                if clock() > until:
                    raise Leaving

    def waiting(self) -> int:
        """Return how many sends have no answer yet."""
        return sum(len(client) for client in self._all())

    def serve(self, timeout_s: float = 0.0) -> None:
        """Take in answers."""
        for client in self._all():
            self._poll(client, timeout_s)

    def _poll(self, client: Producer, timeout_s: float) -> None:
        """Take in answers of one client; that one of transactions is at its end is for their next step to say."""
        try:
            client.poll(timeout_s)
        except KafkaException:
            if client is not self.transactional:
                raise

    def settle(self, give_up: Callable[[], bool]) -> bool:
        """Wait until everything is answered, so that a commit never runs ahead of what follows from its events; tell whether that took time."""
        takes_time = bool(self.waiting())
        while self.waiting() and not give_up():
            self.serve(0.01)
        return takes_time

    def finish(self) -> None:
        """Wait for the last answers before the process ends; what has none by then is given up, and recorded so."""
        until = clock() + _LAST_ANSWERS_NS
        self.settle(lambda: clock() > until)
        for client in self._all():
            self._purge(client)

    def _purge(self, client: Producer) -> None:
        """Give up what a client has in hand, and hear that it is given up."""
        if len(client):
            with contextlib.suppress(KafkaException):
                client.purge()
            self._poll(client, 0.1)

    def _all(self) -> list[Producer]:
        return [*self._by_settings.values(), *([self.transactional] if self.transactional is not None else ())]


class Emitter:
    """Sends what follows from an effect; the same ids again when the effect is repeated."""

    def __init__(self, child: Child, rows: MemberRows, lookup: Lookup, clients: Clients) -> None:
        spec = child.spec
        self._rows = rows
        self._lookup = lookup
        self._clients = clients
        self._group: str = spec["group"]
        self._run_id: int = spec["run_id"]
        self._emits: list[dict[str, Any]] = spec["emits"]
        self._filler = filler(1 << 16)
        self._outbox = Outbox(Path(spec["outbox_file"])) if spec.get("outbox_file") else None
        self._process: int = spec["codes"]["process"]
        for each in self._emits:  # so that the first one finds the leaders known
            clients.of(each["settings"]).list_topics(each["topic"], timeout=10)

    def store(self, event: Event, effect_ns: int) -> None:
        """Keep what an effect emits through the outbox."""
        if self._outbox is None:
            return
        found = [
            Stored(child, event.root_id, event.event_id, effect_ns, self._process, emit, event.key, value)
            for child, emit, value in self._emitted(event, effect_ns)
            if self._emits[emit]["outbox"]
        ]
        if found:
            self._outbox.store(found)

    def emit(self, event: Event, effect_ns: int, start_ns: int) -> None:
        """Send the events that an effect emits; their intended time is the effect."""
        for child, emit, value in self._emitted(event, effect_ns):
            if not self._emits[emit]["outbox"]:
                self._send(event, child, self._emits[emit], value, effect_ns, start_ns)
        self._clients.serve()

    def _emitted(self, event: Event, effect_ns: int) -> Iterator[tuple[int, int, bytes]]:
        """Yield id, index of the `emits` and value of each event that follows from an effect."""
        derived = self._lookup.derived
        assert derived is not None
        children = derived.children(event.event_id, self._group)
        if not children:
            return
        ids = np.asarray(children, np.int64)
        self._lookup.prepare(ids)
        sizes, poison = derived.size_bytes(ids).tolist(), derived.poison(ids).tolist()
        for child, size, poisoned in zip(children, sizes, poison, strict=True):
            emit = derived.places[int(derived.place_of(np.asarray([child]))[0])].emit
            body = self._filler[: size - 32] if size - 32 <= len(self._filler) else filler(size)[: size - 32]
            yield child, emit, encode(self._run_id, child, event.root_id, effect_ns, body, poison=poisoned)

    def _send(
        self, event: Event, child: int, what: dict[str, Any], value: bytes, intended_ns: int, start_ns: int
    ) -> None:
        client, began_ns, transaction = (
            self._clients.of(what["settings"]),
            clock() - start_ns,
            self._rows.transaction,
        )
        rows = self._rows

        def answered(error: KafkaError | None, message: Message) -> None:
            code, partition, offset = answer_of(error, message)
            outcome = Outcome.ok if code == 0 else outcome_of(code)
            ended_ns = clock() - start_ns
            rows.sent(
                child, event, what["topic"], partition, offset, intended_ns, began_ns, ended_ns, transaction, code, outcome
            )  # fmt: skip

        self._clients.produce(client, what["topic"], value, event.key, on_delivery=answered)


class Forwarder:
    """Hands events on to other topics and waits for each answer: retry copies and dead letters."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._settings = {"acks": "all", "enable.idempotence": True, "linger.ms": 0}

    def connect(self, topic: str) -> None:
        """Learn the topic's leaders, so that the first send is not the slow one."""
        self._clients.of(self._settings).list_topics(topic, timeout=10)

    def send(self, topic: str, event: Event, headers: list[Header], partition: int | None = None) -> Answer:
        """Send an event's own bytes with more headers, and return what became of it."""
        answers: list[Answer] = []
        client = self._clients.of(self._settings)
        self._clients.produce(
            client,
            topic,
            event.value,
            event.key,
            -1 if partition is None else partition,
            headers=headers,
            on_delivery=lambda error, message: answers.append(answer_of(error, message)),
        )
        self._clients.wait(client, lambda: bool(answers))
        return answers[0]
