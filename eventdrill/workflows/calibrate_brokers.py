"""What brokers tell of themselves while they are calibrated: their own times in place of what clients conclude, and where the two contradict each other.

Clients see sums: a request and its way back. The brokers' means say how much of it was theirs, so that the rest is the network's and the client's.
Kafka rounds each time to whole ms and does not tell whose requests took it, so a mean counts only where it is more than that, and hardly any request
is somebody else's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from eventdrill.workflows.calibrate import LEAST_US, answers, corrected, of_topic, relative_slope, rising
from eventdrill.workflows.pace import Stretch
from loadgen.exporters import (
    FETCH,
    IN_QUEUE,
    LOCAL,
    PRODUCE,
    REMOTE,
    RESPONSE_IN_QUEUE,
    RESPONSE_SENT,
    TOTAL,
    Exporter,
    Readings,
    Spell,
    instants_of,
)
from loadgen.recorder import Progress
from rundata.rows import Kind, Outcome
from rundata.tables import RunData
from scenarios.clients import producer_settings
from scenarios.profiles import Measured, Profile

RESOLUTION_MS = 0.5
"""Means below half of what Kafka rounds to say little, and so do differences of less."""
MOST_OTHERS = 0.2
"""With a larger share of other people's requests the brokers' times are not the calibration's."""
APART = 0.25
"""From so large a share on, clients' and brokers' figures contradict each other."""
APART_SLOPE = 0.05
"""The same of how much requests slow per further 100 a second."""
QUICKEST = 0.05
"""No way back is longer than what this share of the answers took, the way there and the work included."""
CALM_IDLE_SHARE = 0.5
"""Request handlers that idle for more of their time are not what saturates a system."""

_KINDS = {PRODUCE: "produce", FETCH: "fetch"}
_PARTS = {
    TOTAL: "total",
    IN_QUEUE: "queue",
    LOCAL: "local",
    REMOTE: "remote",
    RESPONSE_IN_QUEUE: "response_queue",
    RESPONSE_SENT: "response_sent",
}

Said = dict[str, str | int | float]
Tell = Callable[[Progress], None]


def driven(
    drive: Callable[[Tell], RunData], watch: Tell, exporters: Sequence[Exporter], stretches: Sequence[Stretch]
) -> tuple[RunData, Readings]:
    """Drive a run whose progress is told to `watch`, and read the exporters meanwhile at both ends and in the middle of each stretch."""
    instants = {at for stretch in stretches for at in instants_of(*stretch)}
    with Readings(exporters, sorted(instants)) as readings:

        def tell(state: Progress) -> None:
            readings.tell(state)
            watch(state)

        return drive(tell), readings


def by_brokers(
    profile: Profile,
    run: RunData,
    readings: Readings,
    stretch: Stretch,
    steps: Sequence[Stretch],
    *,
    part: Callable[[RunData], RunData] = lambda run: run,
) -> Profile:
    """Return a profile fitted to `part` of a stretch of the run with the brokers' own times and load in place of the clients' conclusions.

    What they showed, what was used of it and what contradicts the clients' view stands in `brokers_said`.
    """
    whole = readings.between(*stretch)
    if whole is None:
        reason = "; ".join(readings.problems) or "no exporter was read at both ends of the load"
        return profile.model_copy(update={"brokers_said": {"not_used": reason}})
    spells = [spell for each in steps if (spell := readings.between(*each)) is not None]
    judged = _Judged(profile, run, whole, spells, stretch, part)
    judged.judge()
    return judged.result(readings.problems)


@dataclass
class _Judged:
    """The clients' profile on its way to the brokers' one."""

    profile: Profile
    run: RunData
    whole: Spell
    steps: Sequence[Spell]
    stretch: Stretch
    part: Callable[[RunData], RunData]
    used: list[str] = field(default_factory=list)
    not_used: str = ""
    contradictions: list[str] = field(default_factory=list)

    def judge(self) -> None:
        """Take over what can be, and note what cannot."""
        self._compare_fetches()
        self.not_used = self._why_not()
        if not self.not_used and self._take_split():
            self._take_slope()

    @property
    def _nodes(self) -> int:
        return self.run.plan.scenario.brokers.nodes

    def _asked_hz(self, spell: Spell) -> float:
        """Return how many produce requests a second all brokers served, those without an exporter taken for like the others."""
        return spell.counts[PRODUCE] * self._nodes / spell.exporters / spell.seconds

    def _why_not(self) -> str:
        """Return why the brokers' times of Produce cannot stand for the calibration's own, "" where they can."""
        total_ms = self.whole.means_ms.get((PRODUCE, TOTAL))
        if total_ms is None:
            return (
                "the exporters show no means (attribute Mean of kafka.network RequestMetrics), only medians of the last minutes in whole ms: "
                "let their rules show Mean and Count"
            )
        asked_hz, ours_hz = self._asked_hz(self.whole), self._ours_hz()
        if ours_hz < (1 - MOST_OTHERS) * asked_hz:
            return f"{1 - ours_hz / asked_hz:.0%} of the produce requests were others', and brokers do not tell whose took how long"
        if asked_hz < (1 - MOST_OTHERS) * ours_hz:
            self.contradictions.append(
                f"brokers counted {asked_hz:.0f} produce requests/s, where the clients' events make {ours_hz:.0f}/s by the linger rule"
            )
        if total_ms < RESOLUTION_MS:
            return (
                f"brokers take {total_ms:.2f} ms for a produce request, less than they can tell: they round to whole ms"
            )
        return ""

    def _ours_hz(self) -> float:
        return len(answers(self.run, self.whole.begin_ns, self.whole.end_ns)) / self.whole.seconds

    def _take_split(self) -> bool:
        """Let a request take at the brokers what they say, and leave the rest of what clients saw to the way back; whether that can be."""
        profile = self.profile
        way_back_us = self._beyond_brokers_us()
        theirs_us = profile.produce.mean_us - way_back_us
        acknowledge_us = profile.acknowledge.median_us + way_back_us
        if acknowledge_us < -RESOLUTION_MS * 1e3:
            self.contradictions.append(
                f"brokers say that a produce request takes {theirs_us / 1e3:.2f} ms, which is more than clients waited: the clients' figures stay"
            )
            self.not_used = "they contradict what clients saw"
            return False
        if abs(way_back_us) > max(APART * theirs_us, RESOLUTION_MS * 1e3):
            self.contradictions.append(
                f"what clients see makes a produce request {profile.produce.mean_us / 1e3:.2f} ms at the brokers, their own figures make it "
                f"{theirs_us / 1e3:.2f} ms: the brokers' are taken"
            )
        quickest_us = profile.acknowledge.median_us + profile.produce.quantile_ns(np.asarray([QUICKEST]))[0] / 1e3
        if acknowledge_us > quickest_us:
            self.contradictions.append(
                f"{acknowledge_us / 1e3:.2f} ms of an answer would be the way back, and the quickest {QUICKEST:.0%} of answers took no more than "
                f"{quickest_us / 1e3:.2f} ms: so much is taken, and the rest are answers that clients noticed late"
            )
        acknowledge_us = min(max(0.0, acknowledge_us), quickest_us)
        way_back_us = acknowledge_us - profile.acknowledge.median_us
        fitted = self._corrected(
            {
                "produce": _less(profile.produce, way_back_us),
                "acknowledge": _less(profile.acknowledge, -way_back_us),
                "fetch": _less(profile.fetch, -way_back_us),
            }
        )
        self.profile = fitted.model_copy(update={"produce_leader": self._leader(fitted.produce, way_back_us)})
        self.used += ["produce", "acknowledge", "fetch"]
        return True

    def _beyond_brokers_us(self) -> float:
        """Return how much longer than brokers say the clients' figures make a request at the brokers, be it with acks=all or with acks=1."""
        counts, kib = self._requests()
        of_all_us = counts[True] * self.profile.produce.mean_us + self.profile.produce_us_per_kib * kib
        of_leaders_us = counts[False] * self.profile.produce_leader.mean_us
        return (of_all_us + of_leaders_us) / sum(counts.values()) - self.whole.means_ms[PRODUCE, TOTAL] * 1e3

    def _requests(self) -> tuple[Mapping[bool, int], float]:
        """Return how many requests there were with acks=all and without, and the KiB of the former."""
        counts, kib = {True: 0, False: 0}, 0.0
        for name, producer in self.run.plan.scenario.producers.items():
            own = of_topic(self.run, producer.topic)
            waits = producer_settings(self.run.plan.scenario, name).acks == "all"
            counts[waits] += len(answers(own, self.whole.begin_ns, self.whole.end_ns))
            if waits:
                rows = own.operations
                inside = (rows["started_ns"] >= self.whole.begin_ns) & (rows["started_ns"] < self.whole.end_ns)
                sent = rows["event_id"][inside & (rows["kind"] == Kind.send) & (rows["outcome"] == Outcome.ok)]
                kib += float(self.run.plan.size_bytes[sent].sum()) / 1024
        return counts, kib

    def _leader(self, produce: Measured, way_back_us: float) -> Measured:
        """Return the leader's part: seen with acks=1, else the brokers' share of it where they can tell, else the share that it had."""
        before = self.profile.produce_leader
        if self._requests()[0][False]:
            wanted = np.asarray(_less(before, way_back_us).quantiles_us)
        else:
            total_ms, remote_ms = (self.whole.means_ms.get((PRODUCE, part)) for part in (TOTAL, REMOTE))
            share = before.mean_us / self.profile.produce.mean_us
            if total_ms is not None and remote_ms is not None and total_ms - remote_ms >= RESOLUTION_MS:
                share = (total_ms - remote_ms) / total_ms
                self.used.append("produce_leader")
            wanted = np.asarray(produce.quantiles_us) * share
        return rising(before, np.minimum(wanted, produce.quantiles_us))

    def _corrected(self, update: Mapping[str, object]) -> Profile:
        """Return the changed profile with which the simulated calibration shows what the driven one did; at the stretch's rate nothing is slower."""
        slope = self.profile.load_slope
        changed = self.profile.model_copy(update={**update, "load_slope": 0.0})
        fitted = corrected(self.run, changed, rounds=1, stretches=[self.stretch], part=self.part)
        return fitted.model_copy(update={"load_slope": slope})

    def _take_slope(self) -> None:
        """Let requests slow under load as brokers say; where brokers and clients wait for cores, that wait is most of it."""
        if self.profile.cores.count:
            return
        points = [(self._asked_hz(each), each.means_ms.get((PRODUCE, TOTAL), 0.0)) for each in self.steps]
        if len(points) < 2 or min(took_ms for _, took_ms in points) < RESOLUTION_MS:
            return
        slope, mean_hz = relative_slope(points)
        at_base = 1 + slope * (self.profile.load_base_hz - mean_hz) / 100
        theirs, clients = round(slope / at_base, 4) if at_base > 0 else slope, self.profile.load_slope
        if abs(theirs - clients) > APART_SLOPE:
            self.contradictions.append(
                f"per further 100 requests/s answers slow by {clients:.0%} as clients see it, requests by {theirs:.0%} as brokers do: the brokers' is taken"
            )
        self.profile = self.profile.model_copy(update={"load_slope": theirs})
        self.used.append("load_slope")

    def _compare_fetches(self) -> None:
        """Note where brokers work longer on a fetch than it takes a record to reach an idle member."""
        own_ms = [
            self.whole.means_ms.get((FETCH, part)) for part in (IN_QUEUE, LOCAL, RESPONSE_IN_QUEUE, RESPONSE_SENT)
        ]
        theirs_ms = sum(each for each in own_ms if each is not None)
        clients_ms = self.profile.fetch.mean_us / 1e3
        if theirs_ms > clients_ms + RESOLUTION_MS:
            self.contradictions.append(
                f"brokers work {theirs_ms:.2f} ms on a fetch, waiting apart, and records reach idle members {clients_ms:.2f} ms after they can be read"
            )

    def result(self, problems: Sequence[str]) -> Profile:
        """Return the profile with all that was said."""
        said = self._shown()
        said |= {"used": ", ".join(self.used)} if self.used else {}
        said |= {"not_used": self.not_used} if self.not_used else {}
        said |= {"contradictions": "; ".join(self.contradictions)} if self.contradictions else {}
        said |= {"not_read": "; ".join(problems)} if problems else {}
        kept = {name: why for name, why in self.profile.not_measured.items() if name not in self.used}
        return self.profile.model_copy(update={"brokers_said": said, "not_measured": kept})

    def _shown(self) -> Said:
        whole = self.whole
        said: Said = {"exporters": f"{whole.exporters} of {self._nodes} brokers"}
        if whole.counts[PRODUCE]:
            said["produce_requests_hz"] = round(self._asked_hz(whole), 1)
            said["produce_requests_of_others"] = round(max(0.0, 1 - self._ours_hz() / self._asked_hz(whole)), 3)
        for kind, part in whole.means_ms:
            said[f"{_KINDS[kind]}_{_PARTS[part]}_ms"] = round(whole.means_ms[kind, part], 3)
        for kind, part in whole.medians_ms:
            said[f"{_KINDS[kind]}_{_PARTS[part]}_median_ms"] = round(whole.medians_ms[kind, part], 3)
        if whole.idle_share is not None:
            said["handlers_idle"] = round(whole.idle_share, 3)
        if whole.waiting is not None:
            said["requests_waiting_most"] = round(whole.waiting)
        if whole.under_replicated is not None:
            said["under_replicated_most"] = round(whole.under_replicated)
        if len(self.steps) > 1:
            said["by_load"] = ", ".join(self._step(each) for each in self.steps)
        return said

    def _step(self, spell: Spell) -> str:
        took_ms, idle = spell.means_ms.get((PRODUCE, TOTAL)), spell.idle_share
        words = [f"{self._asked_hz(spell):.0f}/s"]
        words += [] if took_ms is None else [f"{took_ms:.2f} ms"]
        return " ".join(words + ([] if idle is None else [f"{idle:.1%} idle"]))


def _less(part: Measured, less_us: float) -> Measured:
    """Return times that are so much shorter, where there is so much of them."""
    return rising(part, np.maximum(np.asarray(part.quantiles_us) - less_us, LEAST_US))


def doubts_of_brokers(profile: Profile) -> tuple[str, ...]:
    """Return what the brokers' figures say against a calibration."""
    behind = profile.brokers_said.get("under_replicated_most", 0)
    return (f"{behind} partitions were under-replicated",) if behind else ()


def at_the_limit(
    said: Mapping[str, str | int | float], about: Mapping[str, object], readings: Readings, step: Stretch
) -> Said:
    """Return what brokers said of the highest load, and the contradiction where clients call it saturated and handlers were idle."""
    spell = readings.between(*step)
    if spell is None or spell.idle_share is None:
        return dict(said)
    found: Said = {**said, "handlers_idle_at_the_highest_load": round(spell.idle_share, 3)}
    if "saturated_requests_hz" in about and spell.idle_share > CALM_IDLE_SHARE:
        words = (
            f"clients call the brokers saturated at {about['saturated_requests_hz']} requests/s, and request handlers idled for "
            f"{spell.idle_share:.0%} of their time at the highest load: look at the host's cores, the network and the clients first"
        )
        found["contradictions"] = "; ".join(filter(None, [str(said.get("contradictions", "")), words]))
    return found
