"""A partition's replicas, as far as they are not in the world: who has them, who is in sync, who is eligible, which ones move."""

from dataclasses import dataclass, field

from sim.world import NONE


@dataclass(eq=False)
class Replicas:
    """A partition's brokers; its number in the world, where the rest of it is."""

    number: int
    name: str
    is_users: bool
    replicas: list[int]
    in_sync: list[int]
    min_in_sync: int
    keeps_eligible: bool
    """Since 4.1 (KIP-966)."""
    eligible: set[int] = field(default_factory=set)
    """Replicas that left while fewer than min.insync.replicas were in sync, so that they have all that is visible."""
    unfollowed_epoch: int = NONE
    """The leader epoch in which no follower fetches yet, since it asked before the leader led."""
    reassigned_by: int = NONE
    """The reassignment that is under way."""
    adding: set[int] = field(default_factory=set)
    """Replicas that it waits for."""
    copying: dict[int, int] = field(default_factory=dict)
    """By new replica that has not copied the log yet: the reassignment that added it."""

    def leaves(self, broker: int) -> None:
        """Take a broker out of the in-sync set."""
        self.in_sync.remove(broker)
        if self.keeps_eligible and len(self.in_sync) < self.min_in_sync:
            self.eligible.add(broker)

    @property
    def topic(self) -> str:
        """The topic's name."""
        return self.name.rpartition("/")[0]
