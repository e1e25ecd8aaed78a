"""What an error of the client says about a record: kept out for certain, or perhaps written."""

from confluent_kafka import KafkaError, Message

from rundata.rows import NONE, Outcome

Answer = tuple[int, int, int]
"""What a client learned of a send: error code, partition and offset."""

MAY_BE_WRITTEN = frozenset(
    {
        -192,  # _MSG_TIMED_OUT: delivery.timeout.ms is over
        -185,  # _TIMED_OUT
        -195,  # _TRANSPORT: the connection broke while the answer was due
        -151,  # _PURGE_INFLIGHT: given up by us while the answer was due
        -196,  # _FAIL
        7,  # REQUEST_TIMED_OUT
        13,  # NETWORK_EXCEPTION
        20,  # NOT_ENOUGH_REPLICAS_AFTER_APPEND
    }
)
"""Error codes after which the broker may have kept the record; everything else was refused."""
QUEUE_FULL = -184


def outcome_of(code: int) -> Outcome:
    """Return how a send ended, from the client's error code (0 is none)."""
    if code == 0:
        return Outcome.ok
    return Outcome.unknown if code in MAY_BE_WRITTEN else Outcome.failed


def answer_of(error: KafkaError | None, message: Message) -> Answer:
    """Return what the client learned of a send."""
    partition, offset = message.partition(), message.offset()
    return (
        0 if error is None else error.code(),
        NONE if partition is None else partition,
        NONE if error is not None or offset is None or offset < 0 else offset,
    )
