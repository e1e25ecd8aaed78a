"""Brokers' own figures from their exporters' pages: names, addresses, and what two readings tell of the time between them."""

import http.server
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from loadgen.exporters import (
    FETCH,
    LOCAL,
    PARTS,
    PRODUCE,
    REMOTE,
    TOTAL,
    Exporter,
    ExporterError,
    Figure,
    Reading,
    Readings,
    Spell,
    figures_of,
    instants_of,
    spell_of,
)
from loadgen.recorder import Progress
from scenarios.quantities import SECOND

RECORDED = Path(__file__).parent / "data" / "exporters"

OWN = """\
# TYPE kafka_network_RequestMetrics_Mean untyped
kafka_network_RequestMetrics_Mean{name="TotalTimeMs",request="Produce"} 1.25
kafka_network_RequestMetrics_Count{name="TotalTimeMs",request="Produce",} 400.0
kafka_network_RequestMetrics_50thPercentile{name="TotalTimeMs",request="Produce",} 1.0
kafka_network_RequestMetrics_Mean{name="RequestBytes",request="Produce"} 900.0
kafka_server_KafkaRequestHandlerPool_MeanRate{name="RequestHandlerAvgIdlePercent",} 0.98
kafka_network_RequestChannel_Value{name="RequestQueueSize",} 3.0
kafka_server_ReplicaManager_Value{name="UnderReplicatedPartitions"} 2
kafka_server_ReplicaManager_Value{name="LeaderCount"} 7
process_start_time_seconds 1.7642E9
jvm_threads_current 80
"""
USUAL = """\
# HELP kafka_network_requestmetrics_totaltimems Attribute exposed for management
# TYPE kafka_network_requestmetrics_totaltimems gauge
kafka_network_requestmetrics_totaltimems_mean{request="Produce"} 1.25
kafka_network_requestmetrics_totaltimems_count{request="Produce"} 400.0
kafka_network_requestmetrics_totaltimems{request="Produce",quantile="0.50"} 1.0
kafka_server_kafkarequesthandlerpool_requesthandleravgidle_percent 0.98
kafka_network_requestchannel_requestqueuesize 3.0
kafka_server_replicamanager_underreplicatedpartitions 2.0
process_start_time_seconds 1.7642E9
"""
SHOWN = {
    Figure(TOTAL, PRODUCE, "mean"): 1.25,
    Figure(TOTAL, PRODUCE, "count"): 400.0,
    Figure(TOTAL, PRODUCE, "quantile 0.50"): 1.0,
    Figure("requesthandleravgidlepercent", "", "meanrate"): 0.98,
    Figure("requestqueuesize"): 3.0,
    Figure("underreplicatedpartitions"): 2.0,
    Figure("process_start_time_seconds"): 1.7642e9,
}


@pytest.mark.parametrize("page", [OWN, USUAL], ids=["the exporter's own names", "the usual rules"])
def test_both_ways_of_naming_tell_the_same(page: str):
    """What is not asked for (bytes, leaders, threads of the JVM) is left out."""
    assert figures_of(page) == SHOWN


def test_a_counter_that_the_exporter_calls_total_is_the_same_counter():
    page = 'kafka_network_requestmetrics_totaltimems_count_total{request="Produce"} 400.0\n'

    assert figures_of(page) == {Figure(TOTAL, PRODUCE, "count"): 400.0}


def test_a_page_of_something_else_tells_nothing_and_a_broken_one_is_an_error():
    assert figures_of("# TYPE node_load1 gauge\nnode_load1 0.5\n<html></html>\n") == {}
    with pytest.raises(ExporterError, match="what it shows is no Prometheus text"):
        figures_of('kafka_network_RequestMetrics_Mean{name="TotalTimeMs"} soon\n')


# ---- addresses -----------------------------------------------------------------------------------------------------


def test_an_address_without_a_path_is_that_of_metrics():
    assert Exporter.at("http://broker1:9404").url == "http://broker1:9404/metrics"
    assert Exporter.at("https://b/metrics/kafka?name=x#y").url == "https://b/metrics/kafka?name=x"
    assert Exporter.at("https://b/metrics?token=hunter2").shown == "https://b/metrics"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("broker1:9404", "'broker1:9404' is no address of an exporter; write one such as http://broker1:9404/metrics"),
        ("file:///etc/passwd", "is no address of an exporter"),
        ("http://", "is no address of an exporter"),
        ("http://b:port/", "is no address: Port could not be cast"),
        ("http://me:hunter2@b:9404/metrics", "holds a name or a password before @b:9404, and such are not taken"),
        ("me:hunter2@b:9404", "holds a name or a password before @b:9404"),
        ("ftp://b/?token=hunter2", "is no address of an exporter"),
    ],
)
def test_what_is_no_address_is_refused_without_showing_a_secret(url: str, reason: str):
    with pytest.raises(ExporterError) as error:
        Exporter.at(url)

    assert reason in str(error.value)
    assert "hunter2" not in str(error.value)


@contextmanager
def serving(pages: Mapping[str, str]) -> Iterator[str]:
    """An HTTP server on loopback with these pages by path."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path)
            self.send_response(404 if page is None else 200)
            self.end_headers()
            self.wfile.write((page or "").encode())

        def log_message(self, *_what: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(5)


def test_an_exporter_is_read_over_http_and_one_that_is_none_is_named():
    """A broker's page, one of something else, one that is not there, and nobody at all."""
    with serving(
        {"/metrics": OWN, "/other": "node_load1 0.5\n", "/broken": "kafka_server_ReplicaManager_Value{ 1\n"}
    ) as at:
        Exporter.at(at).check()
        assert Exporter.at(at).read() == SHOWN
        with pytest.raises(ExporterError, match=r"/other shows no times of Produce requests .*RequestMetrics"):
            Exporter.at(f"{at}/other").check()
        with pytest.raises(ExporterError, match=r"/none cannot be read: it answers 404 Not Found"):
            Exporter.at(f"{at}/none").check()
        with pytest.raises(ExporterError, match=r"/broken: what it shows is no Prometheus text"):
            Exporter.at(f"{at}/broken").check()
    with pytest.raises(ExporterError, match=r"/metrics cannot be read: .*refused"):
        Exporter.at(at).check()


def test_exporters_are_read_at_chosen_instants_of_the_run():
    """The driver's first word of a running clock, at 10 s, finds three instants over: each is read at once, from both; one of them answers."""
    with serving({"/metrics": OWN}) as at:
        exporters = [Exporter.at(at), Exporter.at(f"{at}/none")]
        with Readings(exporters, [2 * SECOND, SECOND, 3 * SECOND]) as readings:
            readings.tell(Progress("warming up"))
            assert readings.taken == []
            for _ in range(2):
                readings.tell(Progress("running", at_ns=10 * SECOND))
            until = time.monotonic() + 10
            while len(readings.taken) < 3 and time.monotonic() < until:
                time.sleep(0.002)

    assert [(each.exporter, each.planned_ns) for each in readings.taken] == [
        (0, SECOND),
        (0, 2 * SECOND),
        (0, 3 * SECOND),
    ]
    assert all(each.at_ns >= 10 * SECOND and each.figures == SHOWN for each in readings.taken)
    assert readings.problems == [f"{at}/none cannot be read: it answers 404 Not Found"]


# ---- what lies between two readings --------------------------------------------------------------------------------

BEGIN, END = 8 * SECOND, 16 * SECOND


def reading(at_ns: int, figures: Mapping[Figure, float], exporter: int = 0) -> Reading:
    return Reading(exporter, at_ns, at_ns, 1000.0 + at_ns / SECOND, figures)


def both_ends(one: Mapping[Figure, float], two: Mapping[Figure, float], exporter: int = 0) -> list[Reading]:
    first, _, last = instants_of(BEGIN, END)
    return [reading(first, one, exporter), reading(last, two, exporter)]


def spell(*readings: Reading) -> Spell:
    found = spell_of(readings, BEGIN, END)
    assert found is not None
    return found


def times(count: float, mean_ms: float, part: str = TOTAL, kind: str = PRODUCE) -> dict[Figure, float]:
    return {Figure(part, kind, "count"): count, Figure(part, kind, "mean"): mean_ms}


def test_the_mean_of_a_stretch_follows_from_counts_and_means_since_the_start():
    """100 requests of 2 ms, then 300 of 3 ms on the whole: the 200 in between took (900 - 200) / 200 = 3.5 ms."""
    found = spell(*both_ends(times(100, 2.0), times(300, 3.0)))

    assert found.counts == {PRODUCE: 200.0, FETCH: 0.0}
    assert found.means_ms == {(PRODUCE, TOTAL): 3.5}
    assert (found.begin_ns, found.end_ns, found.seconds) == (BEGIN, END - SECOND // 4, 7.75)


def test_brokers_weigh_as_much_as_they_served():
    """100 requests of 1 ms at one, 300 of 3 ms at the other: 2.5 ms."""
    found = spell(*both_ends(times(0, 0.0), times(100, 1.0)), *both_ends(times(0, 0.0), times(300, 3.0), exporter=1))

    assert found.means_ms[PRODUCE, TOTAL] == 2.5
    assert (found.exporters, found.counts[PRODUCE]) == (2, 400.0)


def test_without_means_there_are_only_the_medians_that_brokers_remember():
    """The first broker served three times as much."""
    count, median = Figure(TOTAL, PRODUCE, "count"), Figure(TOTAL, PRODUCE, "quantile 0.50")
    found = spell(
        *both_ends({count: 0, median: 9.0}, {count: 300, median: 2.0}),
        *both_ends({count: 0, median: 9.0}, {count: 100, median: 6.0}, exporter=1),
    )

    assert found.means_ms == {}
    assert found.medians_ms == {(PRODUCE, TOTAL): 3.0}


def test_a_broker_that_was_started_anew_or_read_once_is_left_out():
    """Its counts begin again; of the other one alone something can be told."""
    anew = both_ends(times(100, 2.0), times(40, 2.0), exporter=1)
    once = both_ends(times(100, 2.0), times(140, 2.0), exporter=2)[:1]

    assert spell(*both_ends(times(0, 0.0), times(10, 1.0)), *anew, *once).exporters == 1
    assert spell_of([*anew, *once], BEGIN, END) is None


@pytest.mark.parametrize(
    ("one", "two", "share"),
    [
        ({("count", 1.0)}, {("count", 1.0 + 0.9 * 7.75e9)}, 0.9),
        ({("count", 90e9), ("meanrate", 0.9)}, {("count", 94e9), ("meanrate", 94 / 108)}, 0.5),
        ({("meanrate", 0.99)}, {("meanrate", (0.99 * 508 + 0.5 * 7.75) / 515.75)}, 0.5),
        ({("oneminuterate", 0.9)}, {("oneminuterate", 0.8)}, None),
    ],
    ids=[
        "idle ns by our clock",
        "idle ns by the broker's own: 8 s",
        "mean rate since a start 508 s before",
        "a rate that forgets",
    ],
)
def test_how_idle_handlers_were_follows_from_their_meter(
    one: set[tuple[str, float]], two: set[tuple[str, float]], share: float | None
):
    def figures(shown: set[tuple[str, float]]) -> dict[Figure, float]:
        own = {Figure("requesthandleravgidlepercent", "", attribute): value for attribute, value in shown}
        return {**own, Figure("process_start_time_seconds"): 1000.0 + 8 - 508}

    found = spell(*both_ends(figures(one), figures(two)))

    assert found.idle_share == (None if share is None else pytest.approx(share))


def test_what_only_shows_the_moment_is_the_most_that_was_seen():
    """In the middle five requests waited and two partitions lacked a replica."""
    calm, middle = (
        {Figure("requestqueuesize"): 0.0, Figure("underreplicatedpartitions"): 0.0},
        instants_of(BEGIN, END)[1],
    )
    busy = {Figure("requestqueuesize"): 5.0, Figure("underreplicatedpartitions"): 2.0}
    before = reading(BEGIN - SECOND, {Figure("requestqueuesize"): 99.0})

    found = spell(before, *both_ends(calm, calm), reading(middle, busy))

    assert (found.waiting, found.under_replicated) == (5.0, 2.0)
    assert replace(found, waiting=None).idle_share is None


# ---- pages of real brokers -----------------------------------------------------------------------------------------


def recorded(name: str) -> Spell:
    """What lies between two pages of a Kafka 4.2.1 broker, some 10 s apart, under 200 events/s with acks=all; other beans and requests are left out."""
    pages = [figures_of((RECORDED / f"{name}-{number}.txt").read_text()) for number in (1, 2)]
    return spell(*both_ends(*pages))


def test_a_broker_tells_all_under_its_exporters_own_names():
    """468 requests of 2,232 ms, then 909 of 3,057 ms: 441 took 825 ms; 446 fetches took 10,776 ms, nearly all of it waiting."""
    found = recorded("own")

    assert found.counts == {PRODUCE: 441.0, FETCH: 446.0}
    assert found.means_ms[PRODUCE, TOTAL] == pytest.approx(825 / 441)
    assert found.means_ms[FETCH, TOTAL] == pytest.approx(10776 / 446)
    assert {part for kind, part in found.means_ms if kind == PRODUCE} == set(PARTS)
    assert found.means_ms[FETCH, REMOTE] > 0.9 * found.means_ms[FETCH, TOTAL]
    assert found.means_ms[PRODUCE, LOCAL] + found.means_ms[PRODUCE, REMOTE] == pytest.approx(
        found.means_ms[PRODUCE, TOTAL], abs=0.3
    )
    assert found.idle_share == pytest.approx(0.99656, abs=1e-5)
    assert (found.waiting, found.under_replicated, found.medians_ms) == (0.0, 0.0, {})


def test_a_broker_with_the_usual_rules_tells_all_but_means():
    """Its counters end in `_count_total`; of times there is what it remembers, in whole ms."""
    found = recorded("usual")

    assert found.counts == {PRODUCE: 455.0, FETCH: 459.0}
    assert found.means_ms == {}
    assert (found.medians_ms[PRODUCE, TOTAL], found.medians_ms[FETCH, TOTAL]) == (2.0, 14.0)
    assert found.idle_share == pytest.approx(0.98653, abs=1e-5)
    assert (found.waiting, found.under_replicated) == (0.0, 0.0)


def test_one_rule_before_the_usual_ones_brings_the_means():
    """The one of docs/calibration.md: 471 requests took 967 ms."""
    found = recorded("usual-mean")

    assert found.means_ms[PRODUCE, TOTAL] == pytest.approx(967 / 471)
    assert {part for kind, part in found.means_ms if kind == PRODUCE} == set(PARTS)
