"""`commit: transaction`: what a batch emits, its dead letters and its offsets become visible together, or not at all."""

import time
from collections.abc import Callable, Mapping

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from loadgen.member_rows import MemberRows
from rundata.rows import NONE

clock = time.perf_counter_ns

Place = tuple[str, int]
_ANSWER_WITHIN_S = 60.0


class Transactions:
    """One transaction at a time; `begin` and `commit` enclose each batch."""

    def __init__(self, client: Producer, consumer: Consumer, rows: MemberRows, first_id: int) -> None:
        self._client = client
        self._consumer = consumer
        self._rows = rows
        self._next = first_id
        self._before: dict[Place, int] = {}
        client.init_transactions(_ANSWER_WITHIN_S)

    def begin(self, firsts: Mapping[Place, int]) -> None:
        """Begin one for a batch; `firsts` are the offsets with which it begins, for the case that it is aborted."""
        self._before = dict(firsts)
        self._rows.transaction, self._next = self._next, self._next + 1
        self._client.begin_transaction()

    @property
    def under_way(self) -> bool:
        """Whether one has begun and not ended."""
        return self._rows.transaction != NONE

    def commit(self, ends: Mapping[Place, int], start_ns: int) -> bool:
        """Commit what was sent since `begin` together with the offsets; tell whether it took effect."""
        offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in ends.items()]
        began = clock()
        code = self._try(lambda: self._end(offsets))
        if code:
            self._try(lambda: self._client.abort_transaction(_ANSWER_WITHIN_S))
            self._rewind()
        for (topic, partition), offset in ends.items():
            self._rows.committed(topic, partition, offset, began - start_ns, clock() - start_ns, code)
        self._rows.transaction = NONE
        return code == 0

    def abort(self) -> None:
        """Give the batch up; it will be read again by whoever owns its partitions then."""
        if self.under_way:
            self._try(lambda: self._client.abort_transaction(_ANSWER_WITHIN_S))
            self._rows.transaction = NONE

    def _end(self, offsets: list[TopicPartition]) -> None:
        if offsets:
            metadata = self._consumer.consumer_group_metadata()
            self._client.send_offsets_to_transaction(offsets, metadata, _ANSWER_WITHIN_S)
        self._client.commit_transaction(_ANSWER_WITHIN_S)

    def _try(self, work: Callable[[], object]) -> int:
        """Do something that may be asked for again; return the error's code, or 0."""
        while True:
            try:
                work()
                return 0
            except KafkaException as error:
                what = error.args[0]
                if not what.retriable() or what.txn_requires_abort():
                    return int(what.code())

    def _rewind(self) -> None:
        """Read an aborted batch again, as far as its partitions are still ours."""
        owned = {(each.topic, each.partition) for each in self._consumer.assignment()}
        for (topic, partition), offset in self._before.items():
            if (topic, partition) in owned:
                self._consumer.seek(TopicPartition(topic, partition, offset))
