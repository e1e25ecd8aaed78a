"""Administration of a system that EventDrill did not start: it makes what is not there, and removes only what it made."""

from __future__ import annotations

from contextlib import suppress

from confluent_kafka import KafkaError, KafkaException

from loadgen.admin import Admin, AdminError, wait_until
from loadgen.clusters.foreign import ForeignKafka
from loadgen.foreign import own_groups, scratch_topic
from loadgen.watchdog.client import Watchdog
from loadgen.watchdog.undoing import WITHIN_S, Undo, UndoError, delete_groups, delete_topics
from scenarios.plan import Plan, replica_assignment
from scenarios.retries import all_topics


class ForeignAdmin(Admin):
    """Each topic and group is promised to the watchdog before it is made, so that it goes whatever becomes of the driver."""

    def __init__(self, cluster: ForeignKafka, plan: Plan) -> None:
        super().__init__(cluster, plan)
        assert plan.scenario.target is not None
        scratch = scratch_topic(plan.scenario.target)
        assert scratch is not None
        self._scratch = scratch
        self._ids = cluster.broker_ids
        self._watchdog: Watchdog | None = None
        self._promised: list[str] = []

    @property
    def scratch_topic(self) -> str:
        """The warm-up's topic, under a name that the target allows."""
        return self._scratch

    def prepare(self, watchdog: Watchdog | None = None) -> None:
        """Create the scenario's topics and the scratch topic; refuse where one of them, or a group, is there already."""
        assert watchdog is not None
        self._watchdog = watchdog
        scenario, nodes = self.plan.scenario, self.plan.scenario.brokers.nodes
        wanted = [*all_topics(scenario), self._scratch]
        self._check_absent(wanted)
        for group in own_groups(scenario):
            self._promise(f"group {group}", delete_groups([group]))
        scratch = replica_assignment(self.scratch_partitions, min(3, nodes), nodes)
        self._make(self._scratch, scratch, {"min.insync.replicas": min(2, nodes)})
        for name, topic in all_topics(scenario).items():
            self._make(name, self.plan.replicas(name), topic.settings)
        self.wait_leaders(wanted)

    def _check_absent(self, topics: list[str]) -> None:
        there = self._metadata().topics
        for name in topics:
            if name in there:
                has, wants = len(there[name].partitions), all_topics(self.plan.scenario).get(name)
                differs = (
                    ""
                    if wants is None or wants.partitions == has
                    else f" with {has} partitions instead of {wants.partitions}"
                )
                raise AdminError(
                    f"topic {name} is there already{differs}; EventDrill makes its topics itself and removes only what it "
                    "made: remove it, or give the scenario's another name"
                )
        taken = self._groups() & set(own_groups(self.plan.scenario))
        if taken:
            raise AdminError(f"group {min(taken)} is there already; give the scenario's another name")

    def _groups(self) -> set[str]:
        try:
            found = self.client.list_consumer_groups(request_timeout=WITHIN_S).result(WITHIN_S)
        except KafkaException as error:
            raise AdminError(f"groups cannot be listed: {error.args[0].str()}") from None
        return {each.group_id for each in found.valid}

    def _promise(self, name: str, undo: Undo) -> None:
        assert self._watchdog is not None
        self._watchdog.promise(name, undo)
        self._promised.append(name)

    def _make(self, name: str, replicas: list[list[int]], settings: object) -> None:
        """Create a topic on the brokers that the plan's numbers stand for here."""
        assert self._watchdog is not None
        self._promise(f"topic {name}", delete_topics([name]))
        try:
            self._create(name, [[self._ids[node - 1] for node in nodes] for nodes in replicas], settings)
        except AdminError:
            self._watchdog.forget(f"topic {name}")  # it is somebody else's, or is not there
            self._promised.remove(f"topic {name}")
            raise

    def _is_retriable(self, code: int) -> bool:
        return code == KafkaError.REQUEST_TIMED_OUT

    def restore_leaders(self) -> None:
        """Leave elections to the system: the topics are fresh, and others' leaders are not ours to move."""
        self.wait_leaders(list(all_topics(self.plan.scenario)))

    def _forget_group(self, name: str) -> None:
        """Leave groups: one that was there before the run has been refused."""

    def remove_scratch(self) -> None:
        """Remove all that was made, and wait until nobody is told of it any more; what cannot be removed is noted."""
        assert self._watchdog is not None
        topics = set[str]()
        while self._promised:
            name = self._promised.pop()
            try:
                self._watchdog.keep(name)
                topics |= {name.removeprefix("topic ")} if name.startswith("topic ") else set()
            except UndoError as error:
                self.notes.append(str(error))
        with suppress(AdminError):  # it is seen by whoever makes a topic of this name next
            wait_until(lambda: not topics & self._topics(), f"the topics {', '.join(sorted(topics))} to be gone")
