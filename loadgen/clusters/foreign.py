"""A Kafka that EventDrill did not start: it is asked and written to as the scenario's `target` allows, and nothing more."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from loadgen.clusters.model import ClusterError

ANSWER_WITHIN_S = 10.0
_NO_HOLD = "EventDrill did not start these brokers and has no hold of their processes: use a hook"


@dataclass
class ForeignKafka:
    """Brokers of somebody else; closing it leaves them as they are."""

    bootstrap: str
    security: Mapping[str, str] = field(repr=False)
    """The client's own settings: secrets, never shown or written."""
    cluster_id: str
    broker_ids: tuple[int, ...]
    implementation: str = "apache-kafka"
    version: str = "not told"
    log_dir: Path = Path("/nonexistent")
    proxies: None = None

    @property
    def nodes(self) -> int:
        """Count the brokers."""
        return len(self.broker_ids)

    def pid(self, node: int) -> int | None:
        """Give no process: they are not ours."""
        return None

    def pause_logs(self, node: int) -> Sequence[Path]:
        """Give none: their JVMs are not ours."""
        return ()

    def alive(self, node: int) -> bool:
        """Take a broker for alive: what becomes of it is not for us to know."""
        return True

    def registered(self) -> set[int]:
        """Tell which brokers clients are told of now."""
        return set(connect(self.bootstrap, self.security).broker_ids)

    def tell(self, what: Sequence[str]) -> None:
        """Have nobody to tell."""

    def close(self) -> None:
        """Leave it as it is."""

    def _refuse(self, *_what: Any, **_how: Any) -> NoReturn:
        raise ClusterError(_NO_HOLD)

    kill = terminate = pause = resume = start = controller = wait_registered = _refuse

    def __enter__(self) -> Self:
        """Give it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave it as it is."""


def connect(bootstrap: str, security: Mapping[str, str]) -> ForeignKafka:
    """Ask a system who it is; changes nothing there."""
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import AdminClient

    from loadgen.watchdog.undoing import silent_logger

    heard: list[str] = []

    def note(error: KafkaError) -> None:
        heard.append(error.str())

    settings: dict[str, Any] = {
        **security,
        "bootstrap.servers": bootstrap,
        "client.id": "eventdrill-driver",
        "socket.connection.setup.timeout.ms": round(ANSWER_WITHIN_S * 1000),
        "error_cb": note,
        "log_level": 0,
    }
    try:
        client = AdminClient(settings, logger=silent_logger())
    except KafkaException as error:  # a setting's name or value; librdkafka names it, not its value
        raise ClusterError(f"--on {bootstrap}: the client's settings are refused: {error.args[0].str()}") from None
    until = time.monotonic() + ANSWER_WITHIN_S
    while True:
        try:
            found = client.list_topics(timeout=1)
            break
        except KafkaException as error:
            client.poll(0)
            if time.monotonic() > until:
                reason = heard[-1] if heard else error.args[0].str()
                raise ClusterError(f"--on {bootstrap}: no broker answers there: {reason}") from None
    return ForeignKafka(bootstrap, dict(security), str(found.cluster_id or ""), tuple(sorted(found.brokers)))
