"""`commit: transaction`: what a batch emits, its dead letters and its offsets become visible together, or not at all."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from loadgen.member_rows import MemberRows
from loadgen.member_sends import Clients
from rundata.rows import NONE, Outcome

clock = time.perf_counter_ns

Place = tuple[str, int]
_ANSWER_WITHIN_S = 60.0
_ABORT_STEP_S = 5.0
"""An abort is asked again after that, so that a member that shall leave does not wait for brokers that are away."""
_OFFSETS_WITHIN_S = 15.0
"""librdkafka has been seen to wait for ever for the coordinator of a group that had died; fencing takes ten seconds."""
_ANSWERS_WITHIN_S = 20.0
_ABORT_WITHIN_S = 20.0
_END_WITHIN_S = 65.0
_LEAVING_WITHIN_S = 5.0
_SERVE_S = 0.1
_AGAIN_S = 0.1
"""So long after a request that may be made again it is."""


class TransactionError(Exception):
    """A client that cannot begin transactions at all; the message says why."""


class Transactions:
    """One transaction at a time; `begin` and `commit` enclose each batch.

    A client that can go neither on nor back gives way to a new one, as in an application that is started again: its last commit has lost its
    coordinator half way, or the brokers have given the transaction up. The new one ends what was open, and the brokers say how far the group is.
    """

    def __init__(
        self, clients: Clients, consumer: Consumer, rows: MemberRows, first_id: int, give_up: Callable[[], bool]
    ) -> None:
        self._clients = clients
        self._consumer = consumer
        self._rows = rows
        self._next = first_id
        self._give_up = give_up
        """Whether the member is leaving, so that it no longer waits for brokers that are away."""
        self._before: dict[Place, int] = {}
        self._initialise()

    @property
    def _client(self) -> Producer:
        client = self._clients.transactional
        assert client is not None
        return client

    def _initialise(self) -> None:
        if code := self._try(lambda: self._client.init_transactions(_ANSWER_WITHIN_S)):
            raise TransactionError(f"no transaction can be begun: {KafkaError(code).str()}")

    def begin(self, firsts: Mapping[Place, int]) -> None:
        """Begin one for a batch; `firsts` are the offsets with which it begins, for the case that it is aborted."""
        self._before = dict(firsts)
        if self._try(self._client.begin_transaction):
            self._renew()
            self._client.begin_transaction()
        self._rows.transaction, self._next = self._next, self._next + 1

    @property
    def under_way(self) -> bool:
        """Whether one has begun and not ended."""
        return self._rows.transaction != NONE

    @property
    def places(self) -> Iterable[Place]:
        """Topics and partitions of the batch."""
        return self._before.keys()

    def commit(self, ends: Mapping[Place, int], start_ns: int) -> bool:
        """Commit what was sent since `begin` together with the offsets; tell whether it took effect, as far as is known."""
        began = clock()
        code = self._add(ends) or self._answers() or self._end()
        self._ended(ends, code, Outcome.ok if code == 0 else self._undo(), began, start_ns)
        return code == 0

    def fail(self, code: int, start_ns: int) -> None:
        """Abort one that takes no more, and read its batch again."""
        began = clock()
        self._ended(self._before, code, self._undo(), began, start_ns)

    def abort(self) -> None:
        """Give the batch up, on leaving; it will be read again by whoever owns its partitions then."""
        if self.under_way:
            self._try(lambda: self._client.abort_transaction(_ABORT_STEP_S))
            self._rows.transaction = NONE

    # ---- steps: each is asked again by itself, since after a later one the client takes an earlier one no more

    def _add(self, ends: Mapping[Place, int]) -> int:
        """Let the offsets be part of it."""
        if not ends:
            return 0
        offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in ends.items()]
        metadata = self._consumer.consumer_group_metadata()
        client = self._client
        return self._watched(
            _OFFSETS_WITHIN_S,
            lambda: self._try(lambda: client.send_offsets_to_transaction(offsets, metadata, _ANSWER_WITHIN_S)),
        )

    def _end(self) -> int:
        """Let it take effect."""
        client = self._client
        return self._watched(_END_WITHIN_S, lambda: self._try(lambda: client.commit_transaction(_ANSWER_WITHIN_S)))

    def _answers(self) -> int:
        """Wait until everything that was sent has its answer; a commit would wait too, but hear nobody who asks the member to leave."""
        until = time.monotonic() + _ANSWERS_WITHIN_S
        while True:
            try:
                if not self._client.flush(_SERVE_S):
                    return 0
            except KafkaException as error:  # it is at its end
                return int(error.args[0].code())
            if self._give_up() or time.monotonic() > until:
                return int(KafkaError._TIMED_OUT)

    def _watched(self, within_s: float, step: Callable[[], int]) -> int:
        """Take a step that a client may never come to the end of, beside this thread; one that takes too long is given up with its client."""
        codes: list[int] = []
        thread = threading.Thread(target=lambda: codes.append(step()), daemon=True)
        thread.start()
        until = time.monotonic() + within_s
        while thread.is_alive() and time.monotonic() < until:
            thread.join(_SERVE_S)
            if self._give_up():
                until = min(until, time.monotonic() + _LEAVING_WITHIN_S)
                thread.join(max(0.0, until - time.monotonic()))
                break
        return codes[0] if codes else int(KafkaError._TIMED_OUT)

    def _try(self, work: Callable[[], object], within_s: float = float("inf")) -> int:
        """Do something, again while that may help, for so long and while the member stays; return the error's code, or 0."""
        until = time.monotonic() + within_s
        while True:
            try:
                work()
                return 0
            except KafkaException as error:
                what = error.args[0]
                late = time.monotonic() > until
                if not what.retriable() or what.txn_requires_abort() or late or self._give_up():
                    return int(what.code())
            time.sleep(_AGAIN_S)

    # ---- after a failure

    def _undo(self) -> Outcome:
        """Abort, and go on from where the batch began; or, where nobody knows whether it was committed, from where the brokers say."""
        if self._try(lambda: self._client.abort_transaction(_ABORT_STEP_S), _ABORT_WITHIN_S) == 0:
            self._go_on_from(self._before)
            return Outcome.failed
        if not self._give_up():
            self._renew()
            self._go_on_from(self._committed())
        return Outcome.unknown

    def _renew(self) -> None:
        self._clients.renew_transactional()
        self._initialise()

    def _committed(self) -> dict[Place, int]:
        """Return what the group has committed of the partitions of the batch."""
        found = self._consumer.committed([TopicPartition(*place) for place in self._before], timeout=_ANSWER_WITHIN_S)
        return {(each.topic, each.partition): each.offset for each in found if each.offset >= 0}

    def _go_on_from(self, offsets: Mapping[Place, int]) -> None:
        """Read from some offsets on, as far as their partitions are still ours."""
        owned = {(each.topic, each.partition) for each in self._consumer.assignment()}
        for (topic, partition), offset in offsets.items():
            if (topic, partition) in owned:
                self._consumer.seek(TopicPartition(topic, partition, offset))

    def _ended(self, ends: Mapping[Place, int], code: int, outcome: Outcome, began: int, start_ns: int) -> None:
        for (topic, partition), offset in ends.items():
            self._rows.committed(topic, partition, offset, began - start_ns, clock() - start_ns, code, outcome)
        self._rows.transaction = NONE
