"""The relay of a group's outbox: `python -P -m loadgen.outbox_process SPEC.json`. Looks at an interval for what members have stored, and sends it.

Its rows are the members': the one whose effect an event follows from. It ends when all that was stored is sent.
"""

import contextlib
import time
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, Message

from loadgen.child import Child, DriverGone, Leaving
from loadgen.member_lookup import Lookup
from loadgen.member_outbox import Stored, Stores
from loadgen.member_rows import MemberRows
from loadgen.member_sends import Clients
from loadgen.outcomes import answer_of, outcome_of
from rundata.rows import Outcome

clock = time.perf_counter_ns

_NAP_NS = 20_000_000


class Relay:
    """The stores, the clients, and the loop between them."""

    def __init__(self, child: Child) -> None:
        spec = child.spec
        self.child = child
        self.emits: list[dict[str, Any]] = spec["emits"]
        self.every_ns: dict[int, int] = {n: each["outbox"] for n, each in enumerate(self.emits) if each["outbox"]}
        """By index of the `emits`: how often is looked for its events."""
        self.waiting: dict[int, list[Stored]] = {emit: [] for emit in self.every_ns}
        self.once: bool = spec["once"]
        """Whether the group does everything once: what a member stored, and was killed before it was remembered, is stored again."""
        self.relayed: set[int] = set()
        self.lookup = Lookup(child)
        self.rows = MemberRows(child, self.lookup)
        self.stores = Stores(Path(spec["outbox_folder"]), spec["outbox"])
        self.clients = Clients(child)
        self.start_ns = 0
        for each in self.emits:  # so that the first one finds the leaders known
            self.clients.of(each["settings"]).list_topics(each["topic"], timeout=10)

    def run(self) -> None:
        """Relay until asked to end; then once more, and wait for the answers."""
        dues = {emit: clock() + every for emit, every in self.every_ns.items()}
        while not self.child.leaving:
            while request := self.child.hear():
                if request["do"] == "start":
                    self.start_ns = request["at_ns"]
            for emit, due in dues.items():
                if due <= clock():
                    dues[emit] = due + self.every_ns[emit]
                    self._relay(emit)
            self.clients.serve()
            time.sleep(max(0, min(min(dues.values()) - clock(), _NAP_NS)) / 1e9)
        for emit in dues:
            self._relay(emit)
        self.clients.finish()

    def _relay(self, emit: int) -> None:
        """Send what was stored of one of the `emits`."""
        for stored in self.stores.new():
            self.waiting[stored.emit].append(stored)
        found, self.waiting[emit] = self.waiting[emit], []
        for stored in found:
            if stored.child not in self.relayed:
                self._send(stored)
            if self.once:
                self.relayed.add(stored.child)

    def _send(self, stored: Stored) -> None:
        what, began_ns = self.emits[stored.emit], clock() - self.start_ns
        client = self.clients.of(what["settings"])

        def answered(error: KafkaError | None, message: Message) -> None:
            code, partition, offset = answer_of(error, message)
            outcome = Outcome.ok if code == 0 else outcome_of(code)
            self.rows.relayed(
                stored, what["topic"], partition, offset, began_ns, clock() - self.start_ns, code, outcome
            )

        self.clients.produce(client, what["topic"], stored.value, stored.key, on_delivery=answered)


def main() -> None:
    """Relay until the driver ends it."""
    child = Child.begin()
    with contextlib.suppress(DriverGone):
        relay = Relay(child)
        child.say("ready")
        with contextlib.suppress(Leaving):
            relay.run()
        child.say("bye", at=clock())


if __name__ == "__main__":
    main()
