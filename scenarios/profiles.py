"""Profiles: the measured figures of the system that a simulation stands for, with units and uncertainty."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from scenarios.errors import Problem, ScenarioError, nearest
from scenarios.files import read_text, validated
from scenarios.model import Frozen, meanings
from scenarios.yaml_text import read_yaml, write_yaml

KNOTS = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)
"""The probabilities at which a measured distribution is kept; between them it is linear."""


class Measured(Frozen):
    """A measured distribution of times: its quantiles at KNOTS in microseconds, and how sure its scale is."""

    quantiles_us: Annotated[tuple[float, ...], Field(min_length=len(KNOTS), max_length=len(KNOTS))]
    scale_sd: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Relative standard deviation of the whole distribution's scale between runs (log-normal)."""
    samples: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _rises(self) -> "Measured":
        if (
            any(b < a for a, b in zip(self.quantiles_us, self.quantiles_us[1:], strict=False))
            or self.quantiles_us[0] < 0
        ):
            raise ValueError("has quantiles that fall or are negative; they rise from 0 or more")
        return self

    def quantile_ns(self, u: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return times in ns at the probabilities `u`."""
        return np.rint(np.interp(u, KNOTS, self.quantiles_us) * 1_000).astype(np.int64)

    @property
    def median_us(self) -> float:
        """The median in microseconds."""
        return float(np.interp(0.5, KNOTS, self.quantiles_us))

    @property
    def mean_us(self) -> float:
        """The mean in microseconds."""
        return float(np.trapezoid(self.quantiles_us, KNOTS))


NOTHING = Measured(quantiles_us=(0.0,) * len(KNOTS))


class SharedCores(Frozen):
    """The cores of one machine that brokers and clients share, and the CPU time that they take there."""

    count: Annotated[int, Field(ge=0, le=1024)] = 0
    """How many there are; with 0 nobody waits for a core."""
    taken: Annotated[float, Field(ge=0)] = 0.0
    """How many of them are taken whatever is requested: by clients, and by processes at rest."""
    request_us: Annotated[float, Field(ge=0)] = 0.0
    """A broker's CPU time for one request: a producer's, a follower's or a member's fetch."""
    event_us: Annotated[float, Field(ge=0)] = 0.0
    """CPU time for each event that a request or an answer carries."""
    scale_sd: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Relative standard deviation of both times between runs (log-normal)."""

    @model_validator(mode="after")
    def _leaves_some(self) -> "SharedCores":
        if self.count and self.taken >= self.count:
            raise ValueError(f"has {self.taken:g} of {self.count} cores taken, which leaves none; write less for taken")
        return self

    @property
    def request_ns(self) -> int:
        """What a request holds a core for, beside what is taken whatever is asked."""
        return self._held_ns(self.request_us)

    @property
    def event_ns(self) -> int:
        """The same of an event."""
        return self._held_ns(self.event_us)

    def _held_ns(self, us: float) -> int:
        return round(1_000 * us * self.count / (self.count - self.taken)) if self.count else 0


NO_CORES = SharedCores()

RESTED_MS = (8, 32, 128)
"""After how long a rest brokers take nothing, half and all of its cost longer; lines between."""


class Rest(Frozen):
    """How much longer a produce request takes that brokers were not asked for for a while: threads sleep then, and caches are somebody else's."""

    broker_us: Annotated[float, Field(ge=0, le=1_000_000)] = 0.0
    """When nobody had asked this broker for 128 ms; half of it after 32 ms, nothing after 8, lines between."""
    all_us: Annotated[float, Field(ge=0, le=1_000_000)] = 0.0
    """The same when nobody had asked any broker; both add up."""
    scale_sd: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Relative standard deviation of both times between runs (log-normal)."""

    @property
    def costs_ns(self) -> tuple[int, int]:
        """Both times in ns."""
        return round(1_000 * self.broker_us), round(1_000 * self.all_us)


NO_REST = Rest()


class OneLeader(Frozen):
    """Times that differ where one broker leads all that is written to: its way is the one that is always used, and requests do not meet there."""

    produce: Measured
    produce_leader: Measured
    fetch: Measured
    acknowledge: Measured | None = None
    """As where several lead, where nothing is said."""


def measured(samples_ns: NDArray[np.int64], *, scale_sd: float = 0.0) -> Measured:
    """Return the distribution of a sample of times in ns."""
    values = np.maximum(np.quantile(samples_ns, KNOTS) / 1_000, 0)
    rising = np.maximum.accumulate(np.round(values, 2))
    return Measured(quantiles_us=tuple(rising.tolist()), scale_sd=scale_sd, samples=len(samples_ns))


class Profile(Frozen):
    """What a system's parts take; `ideal` takes nothing. Every distribution is drawn by inversion."""

    profile: str
    about: str = ""
    measured_on: Mapping[str, str | int | float] = {}
    """When, where and on what it was measured: date, host, cores, broker and client versions, with or without proxies."""
    brokers_said: Mapping[str, str | int | float] = {}
    """What the brokers' own exporters showed while it was measured: means in ms, shares, and what contradicts the clients' view."""
    not_measured: Mapping[str, str] = {}
    """Which of the figures below were taken over instead, from which profile, and why."""

    send: Measured = NOTHING
    """Intended time to the client's `produce` call (pacing of the driver)."""
    produce: Measured = NOTHING
    """How long one produce request with acks=all occupies its connection: request, append, replication, response."""
    produce_leader: Measured = NOTHING
    """The part of it until the leader has appended; with acks=1 a request takes this and `acknowledge`."""
    acknowledge: Measured = NOTHING
    """Response on the broker to the acknowledgement in the client."""
    produce_us_per_kib: Annotated[float, Field(ge=0)] = 0.0
    produce_us_per_record: Annotated[float, Field(ge=0)] = 0.0
    rest: Rest = NO_REST
    """How much longer a produce request takes after a rest of its broker, and of all brokers, and how sure that is."""
    load_slope: Annotated[float, Field(ge=0)] = 0.0
    """Relative growth of `produce` and `fetch` per additional 100 requests/s above `load_base_hz`, over the whole cluster."""
    load_base_hz: Annotated[float, Field(ge=0)] = 0.0
    sleep_step_us: Annotated[float, Field(ge=0, le=1_000_000)] = 0.0
    """Of what sleeps of librdkafka's threads are multiples (poll(2) counts ms): beside other traffic batches linger up to so much longer; 0: no longer."""
    oversleep: Annotated[float, Field(ge=0, le=1)] = 0.0
    """By which share of its length such a sleep lasts longer than asked for: how exact the system's timers are for these threads."""
    cores: SharedCores = NO_CORES
    """Cores that brokers and clients share and wait for: how many, how many of them are taken at rest, and the CPU time of a request and of an event."""
    fetch: Measured = NOTHING
    """High watermark's advance to the record in the consumer's queue, with its fetch parked at the broker."""
    one_leader: OneLeader | None = None
    """`produce`, `produce_leader`, `fetch` and `acknowledge` where one broker leads all partitions that clients send to; nothing: they are those of several."""
    fetch_turnaround: Measured = NOTHING
    """Response of a fetch to the arrival of the next one at the broker."""
    wake: Measured = NOTHING
    """Record in the consumer's queue to the poll's return in an idle member."""
    overshoot: Measured = NOTHING
    """How late a sleeping handler wakes after its planned end; it shifts effects and does not add up."""
    handle_us: Annotated[float, Field(ge=0)] = 0.0
    """The least time that a member takes per event, however short the work."""
    poll_us: Annotated[float, Field(ge=0)] = 0.0
    """A member's own time per poll."""
    commit: Measured = NOTHING
    """A synchronous offset commit."""
    rejoin: Measured = NOTHING
    """All members of a classic group back to the new assignments in their hands; where nobody measured it, as long as a commit."""
    discovery: Measured = NOTHING
    """New leader elected to a producer's first request that goes to it."""
    member_discovery: Measured = NOTHING
    """New leader elected to a member's first fetch that goes to it."""
    restart: Measured = NOTHING
    """Start of a broker's process to its first registration attempt."""
    election: Measured = NOTHING
    """Fencing of a broker to the new leaders' having learned of it (metadata append and propagation)."""
    early_followers: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Of the new leaders after a crash: the share whose followers ask before it leads, and again only after `replica.fetch.backoff.ms`."""
    parked_followers: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Of the new leaders after a crash: the share that holds a fetch of its followers, without what it took over, for `replica.fetch.wait.max.ms`."""
    takeover: Measured = NOTHING
    """After a crash: new leaders elected to the first answers of those that go on leading, which had waited with the lost broker in sync."""
    catch_up: Measured = NOTHING
    """Registration of a restarted broker to its return into the in-sync replicas."""
    phases: Literal["random", "aligned"] = "random"
    """Whether heartbeats have random phases; `aligned` is for theory (`ideal`)."""

    @property
    def rejoining(self) -> Measured:
        """How long `rejoin` takes: members ask the same coordinator as for a commit."""
        return self.commit if self.rejoin == NOTHING else self.rejoin

    def where_one_leads(self) -> "Profile":
        """Return the profile with the times of a system in which one broker leads all that is written to."""
        own = self.one_leader
        if own is None:
            return self
        return self.model_copy(
            update={
                "produce": own.produce,
                "produce_leader": own.produce_leader,
                "fetch": own.fetch,
                "acknowledge": own.acknowledge or self.acknowledge,
                "one_leader": None,
            }
        )

    def is_ideal(self) -> bool:
        """Whether no broker, network or client time passes."""
        return self.produce == NOTHING and self.fetch == NOTHING and self.wake == NOTHING


IDEAL = Profile(
    profile="ideal",
    about="No broker, network or client time; linger, poll rules, work and timers stay.",
    phases="aligned",
)


def shipped_profiles() -> dict[str, Path]:
    """Return the names and files of the profiles that come with the package; `ideal` needs no file."""
    folder = Path(str(resources.files("scenarios"))) / "profiles"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_profile(name_or_path: str | Path) -> Profile:
    """Return a profile: `ideal`, a shipped one by name, or one from a file; raise ScenarioError with every mistake."""
    name = str(name_or_path)
    shipped = shipped_profiles()
    path = Path(name_or_path)
    if name == IDEAL.profile:
        return IDEAL
    if not path.exists() and name in shipped:
        path = shipped[name]
    elif not path.exists():
        known = (IDEAL.profile, *shipped)
        message = f"there is no profile of this name, and no such file{nearest(path.stem, known)}"
        raise ScenarioError(name, [Problem("", message)])
    return validated(Profile, read_yaml(read_text(path, name), name), name)


def save_profile(profile: Profile, path: Path) -> None:
    """Write a profile so that `load_profile` reads it back as the same; it appears at once or not at all."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(profile_text(profile), "utf-8")
    beside.replace(path)


_LISTS = ("measured_on", "brokers_said", "not_measured")
"""What people read line by line."""


def profile_text(profile: Profile) -> str:
    """Return a profile as YAML, with what each figure means beside it."""
    lines = ["# Times in microseconds. A distribution is kept as its quantiles at these probabilities:"]
    lines.append("#   " + " ".join(f"{knot:g}" for knot in KNOTS))
    meant = meanings(Profile)
    for name, value in profile.model_dump(mode="json", by_alias=True, exclude_defaults=True).items():
        meaning = meant.get(name)
        if isinstance(value, dict) and meaning:
            lines += ["", f"# {meaning}"]
        elif meaning:
            lines.append(f"# {meaning}")
        if name in _LISTS:
            lines.append(f"{name}:")
            lines += [f"  {line}" for item in value.items() for line in write_yaml(dict([item])).splitlines()]
        else:
            lines.append(write_yaml({name: value}).rstrip())
    return "\n".join(lines) + "\n"
