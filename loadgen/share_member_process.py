"""One member of a share group: `python -P -m loadgen.share_member_process SPEC.json`. Takes records of whatever partition, works on them, and
acknowledges each one, after the event or with its batch.

SIGTERM makes it finish what it has in hand, and leave; SIGKILL is a crash.
"""

import contextlib
import time

from confluent_kafka import AcknowledgeType, KafkaException, Message, ShareConsumer

from loadgen.child import Child, DriverGone, Leaving, freeze
from loadgen.member_batch import Batch
from loadgen.member_lookup import Lookup
from loadgen.member_parts import attend, handler_of
from loadgen.member_pool import Pool
from loadgen.member_rows import Event, MemberRows
from loadgen.member_sends import Clients
from loadgen.wire import WireError, share_members

clock = time.perf_counter_ns

_IDLE_WAIT_S = 0.1
_COMMIT_WITHIN_S = 10.0
_ASK_EVERY_NS = 300_000_000
_LOOK_EVERY_NS = 1_000_000


class ShareMember:
    """The client, the handler and the loop around them."""

    def __init__(self, child: Child) -> None:
        spec = child.spec
        self.child = child
        self.poll_id: int = spec["first_poll_id"] - 1
        self._each_event = spec["commit"] == "after_event"
        codes: dict[str, int] = spec["codes"]["topics"]
        self._topics = {topic: codes[topic] for topic in spec["topics"]}
        self._lookup = Lookup(child)
        self._rows = MemberRows(child, self._lookup)
        self._clients = Clients(child)
        self.handler = handler_of(child, self._rows, self._lookup, self._clients)
        self._released: set[int] = set()
        """Events of the batch at hand that go back to the group, by their objects."""
        self.handler.release = lambda event: self._released.add(id(event))
        workers: int = spec["workers"]
        self._pool = Pool(child, self.handler, workers, "none") if workers > 1 else None
        self._client_id: str = spec["settings"]["client.id"]
        self._consumer = ShareConsumer({**spec["settings"], "share.acknowledgement.mode": "explicit"})
        self._assigned = False
        self._ask_at = 0
        self.began_cpu_s = 0.0
        self.start_ns = 0
        if spec["start_ns"] is not None:
            self._start(spec["start_ns"])
        self._consumer.subscribe(spec["topics"])

    def _start(self, start_ns: int) -> None:
        self.began_cpu_s = time.thread_time()
        self.start_ns = self.handler.start_ns = start_ns

    # ---- the loop --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Take and work until asked to leave, or until the policy ends the member."""
        freeze()
        while not self.child.asked:
            self._listen()
            if not self._assigned and clock() >= self._ask_at:
                self._tell_assignment()
            if (stalled := self.handler.stalled_until(clock())) is not None:
                self.handler.sleep_until(stalled)
            records = self._sound(self._consumer.poll(_IDLE_WAIT_S).records())
            if records:
                self._work(records)

    def _listen(self, wait_s: float = 0.0) -> None:
        while request := self.child.hear(wait_s):
            wait_s = 0.0
            match request["do"]:
                case "start":
                    self._start(request["at_ns"])
                case "wind up":
                    self.child.finish_within(0)
                    self.child.say("wound up")  # nothing is left open between two polls
                case "settle":
                    self.child.say("settled")
                case other:
                    raise ValueError(f"a member knows no request {other!r}")

    def _tell_assignment(self) -> None:
        """Tell once which partitions the coordinator lets this member read: its client does not say."""
        self._ask_at = clock() + _ASK_EVERY_NS
        spec = self.child.spec
        with contextlib.suppress(WireError):  # there is no coordinator yet
            for each in share_members(spec["connection"]["bootstrap.servers"], spec["group"]):
                if each.client_id == self._client_id and each.places and not self._assigned:
                    self._assigned = True
                    self.child.say("assignment", at=clock(), partitions=list(each.places), member_id=each.member_id)

    def _sound(self, messages: list[Message]) -> list[Message]:
        """Return those that are records; of errors the driver is told."""
        for error in filter(None, [each.error() for each in messages]):
            self.child.say("client error", at=clock(), code=error.code(), text=error.str())
        return [each for each in messages if each.error() is None]

    def _work(self, records: list[Message]) -> None:
        """Work on what a poll handed over, and acknowledge it; what is left unfinished goes back to the group."""
        delivered_at = clock()
        if not self.start_ns and self.child.spec.get("outside"):
            self._pass_over(records)
            return
        while not self.start_ns and not self.child.asked:  # events come after time 0, and it was told before
            self._listen(_IDLE_WAIT_S)
        spec = self.child.spec
        batch = Batch(records, spec["run_id"], self._topics, in_headers=spec["in_headers"], outside=spec.get("outside"))
        own = {id(each) for each in batch.messages}
        for each in records:
            if id(each) not in own:
                self._consumer.acknowledge(each, AcknowledgeType.ACCEPT)  # other people's, which nobody here works on
        if len(batch):
            self._lookup.prepare(batch.event_id)
            self.poll_id += 1
            self._rows.deliveries(batch, self.poll_id, delivered_at - self.start_ns)
            self.handler.worker.busy_until = delivered_at
            if self._pool is None:
                self._one_by_one(batch, delivered_at)
            else:
                self._side_by_side(self._pool, batch, delivered_at)
        self._commit()

    def _pass_over(self, records: list[Message]) -> None:
        """Leave behind what the user's own programs have written before time 0, so that it is no backlog of the run."""
        for each in records:
            self._consumer.acknowledge(each, AcknowledgeType.ACCEPT)
        self._commit()

    def _one_by_one(self, batch: Batch, delivered_at: int) -> None:
        done = 0
        try:
            while done < len(batch) and not self.child.leaving:
                event = batch.event(done)
                self.handler.handle(event, self.poll_id, delivered_at)
                self._consumer.acknowledge(batch.messages[done], self._answer(event))
                done += 1
                if self._each_event:
                    self._commit()
        finally:  # also where the policy, or the wish to leave, ends the member
            for message in batch.messages[done:]:
                self._consumer.acknowledge(message, AcknowledgeType.RELEASE)

    def _side_by_side(self, pool: Pool, batch: Batch, delivered_at: int) -> None:
        """Let the workers finish a whole batch: the client wants every record acknowledged before it takes more."""
        events, finished = [batch.event(number) for number in range(len(batch))], set[int]()
        pool.finished = lambda event: finished.add(id(event))
        pool.take(events, self.poll_id, delivered_at)
        try:
            while pool.in_hand and not self.child.leaving:
                pool.advance()
                self._clients.serve()
                soon = clock() + _LOOK_EVERY_NS
                time.sleep(max(0, min(soon, pool.next_at() or soon) - clock()) / 1e9)
        finally:
            for event, message in zip(events, batch.messages, strict=True):
                answer = self._answer(event) if id(event) in finished else AcknowledgeType.RELEASE
                self._consumer.acknowledge(message, answer)

    def _answer(self, event: Event) -> AcknowledgeType:
        """Return what to tell the brokers about an event that was handled: that it is done, or that anybody may have it again."""
        if id(event) in self._released:
            self._released.remove(id(event))
            return AcknowledgeType.RELEASE
        return AcknowledgeType.ACCEPT

    def _commit(self) -> None:
        """Let the brokers know what was acknowledged, when what follows from it is in its topics."""
        self._clients.settle(lambda: self.child.leaving)
        with contextlib.suppress(KafkaException):  # what they did not hear of they hand out again
            self._consumer.commit_sync(_COMMIT_WITHIN_S)
        self.handler.worker.busy_until = max(self.handler.worker.busy_until, clock())

    def leave(self) -> None:
        """Give back what is not acknowledged, and leave the group."""
        with contextlib.suppress(Leaving):
            self._commit()
        self._clients.finish()
        self._consumer.close()
        if self.handler.calls is not None:
            self.handler.calls.close()


def main() -> None:
    """Be a member until the driver, the policy or a signal ends it."""
    child = Child.begin()
    with contextlib.suppress(DriverGone):
        attend(child, ShareMember(child))


if __name__ == "__main__":
    main()
