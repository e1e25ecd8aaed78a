"""Brokers' own figures, read from their Prometheus exporters while a run goes on: what requests took inside, and how busy handlers were.

Kafka's meters and histograms count from a broker's start, so two readings tell what happened between them. What an exporter calls them depends on
its rules; those of its own making and the usual ones are known here.
"""

from __future__ import annotations

import http.client
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import NamedTuple, Self

from loadgen.recorder import Progress
from scenarios.quantities import SECOND

WITHIN_S = 5.0
MOST_BYTES = 64 << 20
MARGIN_NS = SECOND // 4
"""So long before the end of a stretch its last reading is begun, so that it lies inside."""

TOTAL, IN_QUEUE, LOCAL, REMOTE = "totaltimems", "requestqueuetimems", "localtimems", "remotetimems"
RESPONSE_IN_QUEUE, RESPONSE_SENT = "responsequeuetimems", "responsesendtimems"
PARTS = (TOTAL, IN_QUEUE, LOCAL, REMOTE, RESPONSE_IN_QUEUE, RESPONSE_SENT)
"""Of a request's time at a broker: the whole, then what it is made of."""
PRODUCE, FETCH = "produce", "fetchconsumer"
_IDLE, _WAITING, _UNDER_REPLICATED = "requesthandleravgidlepercent", "requestqueuesize", "underreplicatedpartitions"
_SINCE = "process_start_time_seconds"
_WANTED = {*PARTS, _IDLE, _WAITING, _UNDER_REPLICATED}
_BEANS = "requestmetrics|requestchannel|kafkarequesthandlerpool|replicamanager"
_KNOWN = re.compile(rf"kafka_(?:network|server)_(?:{_BEANS})_|{_SINCE}\b", re.IGNORECASE)


class ExporterError(Exception):
    """An exporter that cannot be read, or that shows nothing of Kafka's that is known here."""


class Figure(NamedTuple):
    """One number of a broker: `totaltimems` of `produce`, its `mean`; in small letters, since exporters differ in capitals."""

    what: str
    request: str = ""
    attribute: str = "value"


def figures_of(text: str) -> dict[Figure, float]:
    """Return what is known here of an exporter's page."""
    from prometheus_client.parser import text_string_to_metric_families

    # Comments only say of what type a metric is, which exporters leave to whoever wrote their rules.
    known = "".join(f"{line}\n" for line in text.splitlines() if _KNOWN.match(line))
    found: dict[Figure, float] = {}
    try:
        for family in text_string_to_metric_families(known):
            for sample in family.samples:
                labels = {str(name).lower(): str(value) for name, value in sample.labels.items()}
                figure = _figure(str(sample.name), labels)
                if figure is not None:
                    found[figure] = float(sample.value)
    except ValueError as error:
        raise ExporterError(f"what it shows is no Prometheus text: {error}") from None
    return found


def _figure(name: str, labels: Mapping[str, str]) -> Figure | None:
    """Return which number a sample is, whether a rule has put the bean's name into the metric's or into a label."""
    lower = name.lower()
    if lower == _SINCE:
        return Figure(_SINCE)
    words = [word for word in _KNOWN.sub("", lower).split("_") if word and word != "total"]
    what = labels.get("name", "").lower() or (words.pop(0) if words else "")
    if (what, words) == ("requesthandleravgidle", ["percent"]):  # the usual rules call its mean rate so
        what, words = _IDLE, ["meanrate"]
    if what not in _WANTED:
        return None
    attribute = "".join(words) or "value"
    if percentile := re.fullmatch(r"(\d+)thpercentile", attribute):
        attribute = f"quantile 0.{percentile[1]}"
    elif "quantile" in labels:
        attribute = f"quantile {labels['quantile']}"
    return Figure(what, labels.get("request", "").lower(), attribute)


# ---- reading -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exporter:
    """Where one broker's figures are read."""

    url: str

    @classmethod
    def at(cls, url: str) -> Exporter:
        """Return the exporter at an address; refuse what is none, or holds a password."""
        if "@" in url:
            host = re.split(r"[/?#]", url.rpartition("@")[2])[0]
            raise ExporterError(f"holds a name or a password before @{host}, and such are not taken: leave them out")
        try:
            parts = urllib.parse.urlsplit(url)
            name, _port = parts.hostname, parts.port
        except ValueError as error:
            raise ExporterError(f"is no address: {error}") from None
        if parts.scheme not in ("http", "https") or not name:
            asked = url.partition("?")[0]
            raise ExporterError(
                f"{asked!r} is no address of an exporter; write one such as http://broker1:9404/metrics"
            )
        return cls(urllib.parse.urlunsplit(parts._replace(path=parts.path or "/metrics", fragment="")))

    @property
    def shown(self) -> str:
        """What may be printed of its address: no query, which may hold a token."""
        return urllib.parse.urlunsplit(urllib.parse.urlsplit(self.url)._replace(query=""))

    def read(self) -> dict[Figure, float]:
        """Return its figures now."""
        request = urllib.request.Request(self.url, headers={"Accept": "text/plain"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=WITHIN_S) as answer:
                content = answer.read(MOST_BYTES + 1)
        except urllib.error.HTTPError as error:
            error.close()
            raise ExporterError(f"{self.shown} cannot be read: it answers {error.code} {error.reason}") from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise ExporterError(f"{self.shown} cannot be read: {reason}") from None
        if len(content) > MOST_BYTES:
            raise ExporterError(f"{self.shown} shows more than {MOST_BYTES >> 20} MiB")
        try:
            return figures_of(content.decode("utf-8", "replace"))
        except ExporterError as error:
            raise ExporterError(f"{self.shown}: {error}") from None

    def check(self) -> None:
        """Raise ExporterError where nothing of a broker's requests is shown."""
        if not any(figure.what in PARTS and figure.request == PRODUCE for figure in self.read()):
            raise ExporterError(
                f"{self.shown} shows no times of Produce requests (kafka.network RequestMetrics): is it the exporter of a broker, "
                "and do its rules let them through?"
            )


@dataclass(frozen=True)
class Reading:
    """One exporter's figures at one instant of a run."""

    exporter: int
    planned_ns: int
    at_ns: int
    """On the run's clock: the middle between question and answer."""
    unix_s: float
    figures: Mapping[Figure, float]


@dataclass
class Readings:
    """Reads exporters at chosen instants of a run, in a thread of its own; the driver's progress tells it the time."""

    exporters: Sequence[Exporter]
    instants_ns: Sequence[int] = ()
    taken: list[Reading] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._origin_ns = 0

    def tell(self, state: Progress) -> None:
        """Hear from the driver how far the run is; the first word of its clock begins the reading."""
        if self._thread is None and self.exporters and state.phase == "running":
            self._origin_ns = time.monotonic_ns() - state.at_ns
            self._thread = threading.Thread(target=self._read_all, name="exporters", daemon=True)
            self._thread.start()

    def _read_all(self) -> None:
        with ThreadPoolExecutor(len(self.exporters)) as pool:
            for planned_ns in sorted(self.instants_ns):
                if self._stop.wait(max(0, planned_ns - self._now_ns()) / SECOND):
                    return
                for found in pool.map(partial(self._read, planned_ns), range(len(self.exporters))):
                    if isinstance(found, Reading):
                        self.taken.append(found)
                    elif found not in self.problems:
                        self.problems.append(found)

    def _now_ns(self) -> int:
        return time.monotonic_ns() - self._origin_ns

    def _read(self, planned_ns: int, number: int) -> Reading | str:
        asked_ns = self._now_ns()
        try:
            figures = self.exporters[number].read()
        except ExporterError as error:
            return str(error)
        return Reading(number, planned_ns, (asked_ns + self._now_ns()) // 2, time.time(), figures)

    def __enter__(self) -> Self:
        """Give it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Read no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(2 * WITHIN_S)

    def between(self, begin_ns: int, end_ns: int) -> Spell | None:
        """Return what happened at the brokers in a stretch of the run; None where no exporter was read at both ends."""
        return spell_of(self.taken, begin_ns, end_ns)


def instants_of(begin_ns: int, end_ns: int) -> tuple[int, int, int]:
    """Return when to read in a stretch: where it begins, in its middle for what only shows the moment, and before its end."""
    return begin_ns, (begin_ns + end_ns) // 2, end_ns - MARGIN_NS


# ---- what two readings tell ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spell:
    """What all brokers that were read showed of a stretch of a run; a time is None where the exporters do not tell it."""

    begin_ns: int
    end_ns: int
    exporters: int
    counts: Mapping[str, float]
    """Requests by kind."""
    means_ms: Mapping[tuple[str, str], float]
    """By kind and part: exact for the stretch, of times that Kafka rounds to whole ms."""
    medians_ms: Mapping[tuple[str, str], float]
    """By kind and part, where there are no means: of the last minutes as brokers remember them, whoever asked."""
    idle_share: float | None
    """Of the request handlers' time."""
    waiting: float | None
    """The longest queue of requests that was seen."""
    under_replicated: float | None
    """The most partitions that a leader saw without all of their replicas in sync."""

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end_ns - self.begin_ns) / SECOND


def spell_of(readings: Sequence[Reading], begin_ns: int, end_ns: int) -> Spell | None:
    """Return what lies between the readings planned for a stretch's ends; a broker that was started anew meanwhile is left out."""
    first, _, last = instants_of(begin_ns, end_ns)
    inside = [each for each in readings if first <= each.planned_ns <= last]
    pairs = []
    for number in sorted({each.exporter for each in inside}):
        own = {each.planned_ns: each for each in inside if each.exporter == number}
        if first in own and last in own and not _anew(own[first], own[last]):
            pairs.append((own[first], own[last]))
    if not pairs:
        return None
    counts = {
        kind: sum(_more(pair, Figure(TOTAL, kind, "count")) or 0.0 for pair in pairs) for kind in (PRODUCE, FETCH)
    }
    means = {(kind, part): _mean_ms(pairs, kind, part) for kind in counts for part in PARTS}
    medians = {(kind, part): _median_ms(pairs, kind, part) for kind in counts for part in PARTS}
    idle = [share for pair in pairs if (share := _idle_share(pair)) is not None]
    return Spell(
        begin_ns=round(sum(one.at_ns for one, _ in pairs) / len(pairs)),
        end_ns=round(sum(two.at_ns for _, two in pairs) / len(pairs)),
        exporters=len(pairs),
        counts=counts,
        means_ms={key: value for key, value in means.items() if value is not None},
        medians_ms={key: value for key, value in medians.items() if value is not None and means[key] is None},
        idle_share=sum(idle) / len(idle) if idle else None,
        waiting=_most(inside, _WAITING),
        under_replicated=_most(inside, _UNDER_REPLICATED),
    )


_Pair = tuple[Reading, Reading]


def _anew(one: Reading, two: Reading) -> bool:
    """Whether counts have begun again between two readings."""
    return any(
        two.figures.get(figure, 0.0) < value for figure, value in one.figures.items() if figure.attribute == "count"
    )


def _more(pair: _Pair, figure: Figure) -> float | None:
    """Return by how much a number has grown; None where it is not told."""
    one, two = (each.figures.get(figure) for each in pair)
    return None if one is None or two is None else two - one


def _mean_ms(pairs: Sequence[_Pair], kind: str, part: str) -> float | None:
    """Return the mean of what was added, from counts and means since the start."""
    count = spent_ms = 0.0
    for pair in pairs:
        counts = [each.figures.get(Figure(part, kind, "count")) for each in pair]
        means = [each.figures.get(Figure(part, kind, "mean")) for each in pair]
        if counts[0] is None or counts[1] is None or means[0] is None or means[1] is None:
            return None
        count += counts[1] - counts[0]
        spent_ms += counts[1] * means[1] - counts[0] * means[0]
    return max(0.0, spent_ms / count) if count else None


def _median_ms(pairs: Sequence[_Pair], kind: str, part: str) -> float | None:
    """Return the brokers' medians at the end, each with the weight of its requests."""
    weighed = [
        (two.figures.get(Figure(part, kind, "quantile 0.50")), _more((one, two), Figure(part, kind, "count")) or 0.0)
        for one, two in pairs
    ]
    told = [(median, weight) for median, weight in weighed if median is not None]
    weights = sum(weight for _, weight in told)
    return sum(median * weight for median, weight in told) / weights if weights else None


def _idle_share(pair: _Pair) -> float | None:
    """Return which share of a stretch handlers idled.

    Their meter counts the idle ns of one of them, and count over mean rate is how long it has been counting: a clock of the broker's own. Without one
    of the two our clock has to do, or the start of the process.
    """
    one, two = pair
    idle_ns = _more(pair, Figure(_IDLE, "", "count"))
    rates = [each.figures.get(Figure(_IDLE, "", "meanrate")) for each in pair]
    if idle_ns is not None:
        length_ns = float(two.at_ns - one.at_ns)
        if rates[0] and rates[1]:
            counts = [each.figures[Figure(_IDLE, "", "count")] for each in pair]
            length_ns = counts[1] / rates[1] - counts[0] / rates[0]
        return _share(idle_ns / length_ns) if length_ns > 0 else None
    since = two.figures.get(Figure(_SINCE))
    if since is None or rates[0] is None or rates[1] is None:
        return None
    return _share((rates[1] * (two.unix_s - since) - rates[0] * (one.unix_s - since)) / (two.unix_s - one.unix_s))


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))


def _most(readings: Sequence[Reading], what: str) -> float | None:
    seen = [each.figures[Figure(what)] for each in readings if Figure(what) in each.figures]
    return max(seen, default=None)
