"""The parts of the live driver that need no broker: records, outcomes, refusals, incidents, shares, verdicts."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from loadgen.children import Worker, file_name, listen
from loadgen.control_link import ControlLink
from loadgen.crew import Crew, _range_shares
from loadgen.gauges import values
from loadgen.incidents import from_logs, from_members
from loadgen.lab.applied import Applied
from loadgen.lab.proofs import shown
from loadgen.outcomes import QUEUE_FULL, outcome_of
from loadgen.recorder import Progress
from loadgen.records import PoisonError, decode, encode, filler, new_run_id, read_ids
from loadgen.refuse import cannot
from loadgen.run_clock import RunClock, unix_offset_ns
from loadgen.validity import clock_reasons, invalid_reasons, limits, timed_after
from loadgen.warm_up import is_steady
from rundata.rows import LOG_RECORD, Kind, Outcome, new_operations
from rundata.tables import Gauge, Incident, Names
from runs import Build, ns, scenario_with
from scenarios.disturbances import NOT_AGAIN
from scenarios.files import load_text
from scenarios.plan import Plan, make_plan

MS = 1_000_000


# ---- records -------------------------------------------------------------------------------------------------------


def test_a_value_carries_its_ids_and_its_intended_time():
    value = encode(77, 5, 3, 1_234, b"body")

    assert len(value) == 36
    assert read_ids(value, 77) == (5, 3, 1_234)
    assert decode(value) == b"body"


def test_a_poison_value_cannot_be_decoded_and_is_known_all_the_same():
    value = encode(77, 5, 3, 1_234, b"", poison=True)

    assert read_ids(value, 77) == (5, 3, 1_234)
    with pytest.raises(PoisonError):
        decode(value)


@pytest.mark.parametrize("value", [None, b"", b"x" * 31, encode(78, 5, 3, 0, b"")])
def test_what_is_not_of_this_run_has_no_ids(value: bytes | None):
    assert read_ids(value, 77) is None


def test_filler_is_the_same_each_time_and_long_enough():
    assert filler(200_000)[:100] == filler(10)[:100]
    assert len(filler(200_000)) >= 200_000


def test_run_ids_leave_room_for_the_poison_mark():
    assert all(0 < new_run_id() < 2**63 for _ in range(100))


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (0, Outcome.ok),
        (-192, Outcome.unknown),  # the delivery timeout is over: the broker may have it
        (-195, Outcome.unknown),  # the connection broke
        (-151, Outcome.unknown),  # given up while the answer was due
        (20, Outcome.unknown),  # appended, with too few replicas
        (19, Outcome.failed),  # refused before the append
        (10, Outcome.failed),  # too large
        (-152, Outcome.failed),  # given up before it was sent
        (QUEUE_FULL, Outcome.failed),
    ],
)
def test_a_timeout_is_unknown_and_a_refusal_is_failed(code: int, outcome: Outcome):
    assert outcome_of(code) is outcome


# ---- refusals ------------------------------------------------------------------------------------------------------


def refusals(changes: Mapping[str, Any], **options: Any) -> list[str]:
    return cannot(scenario_with(changes), **options)


def test_a_scenario_that_can_be_driven_is_not_refused():
    assert refusals({}) == []


def test_a_cluster_of_another_size_is_refused():
    cluster: Any = SimpleNamespace(implementation="apache-kafka", nodes=5)

    assert refusals({}, cluster=cluster) == ["brokers.nodes is 3, and this cluster has 5: set brokers.nodes=5"]


EMBEDDED = "librdkafka-mock"


def test_a_crash_of_the_controller_is_refused_where_there_is_none():
    crash = {"fault": "broker_crash", "broker": "controller", "at": "1s", "for": "1s"}

    assert refusals({"faults": [crash]}) == []
    assert refusals({"faults": [crash]}, implementation=EMBEDDED) == [
        "faults[0]: broker is controller, and the embedded cluster has no controller: use --on local"
    ]


def test_faults_of_links_need_proxies():
    """A cluster that is started for the scenario has them; one that runs already may not."""
    cut = {"fault": "cut", "between": ["clients", "broker 1"], "at": "1s", "for": "1s"}
    cluster: Any = SimpleNamespace(implementation="apache-kafka", nodes=3, proxies=None)

    assert refusals({"faults": [cut]}) == []
    assert refusals({"faults": [cut]}, cluster=cluster) == [
        "faults[0]: cut needs proxies before the listeners, and this cluster was started without"
    ]
    pair = {**cut, "between": ["broker 1", "controller"]}
    assert len(refusals({"faults": [pair]}, implementation=EMBEDDED)) == 1


@pytest.mark.parametrize(("kind", "nearest"), [("disk_stall", "broker_pause"), ("host_crash", "broker_crash")])
def test_faults_of_disks_are_refused_without_disks_of_the_brokers_own(
    kind: str, nearest: str, monkeypatch: pytest.MonkeyPatch
):
    """They need root and loop devices; a cluster that runs already needs to have been started with them."""
    fault = {"fault": kind, "broker": 1, "at": "1s", "for": "1s"}
    cluster: Any = SimpleNamespace(implementation="apache-kafka", nodes=3, proxies=None)

    monkeypatch.setattr("loadgen.refuse.disks.cannot_have", lambda: "only root can")
    (reason,) = refusals({"faults": [fault]})
    assert reason.startswith(f"faults[0]: {kind}: only root can. Without it {nearest} is the nearest")
    (reason,) = refusals({"faults": [fault]}, cluster=cluster)
    assert "this cluster was started without disks of the brokers' own" in reason
    monkeypatch.setattr("loadgen.refuse.disks.cannot_have", lambda: None)
    assert refusals({"faults": [fault]}) == []
    assert refusals({"faults": [fault]}, implementation=EMBEDDED) == [
        f"faults[0]: {kind}: the embedded cluster cannot do it: use --on local"
    ]


def test_the_clock_of_a_broker_can_be_wrong_where_it_has_one_of_its_own(monkeypatch: pytest.MonkeyPatch):
    """That of a producer always; a broker has one if it was started so, for which a class has to be compiled."""
    skew = {"fault": "clock_skew", "by": "-5s", "at": "1s", "for": "1s"}
    of_broker = {"faults": [{**skew, "broker": 1}]}
    cluster: Any = SimpleNamespace(implementation="apache-kafka", nodes=3, proxies=None)

    monkeypatch.setattr("loadgen.refuse.cannot_compile", lambda: None)
    assert refusals({"faults": [{**skew, "producer": "shop"}]}) == []
    assert refusals(of_broker) == []
    assert (
        "this cluster was started with brokers that share this machine's clock"
        in refusals(of_broker, cluster=cluster)[0]
    )
    assert "the embedded cluster cannot do it" in refusals(of_broker, implementation=EMBEDDED)[0]
    assert (
        "broker is controller, which is no broker here" in refusals({"faults": [{**skew, "broker": "controller"}]})[0]
    )
    monkeypatch.setattr("loadgen.refuse.cannot_compile", lambda: "there is no Java")
    assert (
        "has to be compiled, and there is no Java. What can be had is the wrong clock of a producer"
        in refusals(of_broker)[0]
    )


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "disk_full", "broker": 1, "for": "1s"},
        {"fault": "retention", "topic": "orders", "to": "1s", "for": "1s"},
        {"fault": "delete_records", "topic": "orders"},
        {"fault": "throttle", "producer": "shop", "rate": "1kB/s", "for": "1s"},
    ],
)
def test_what_librdkafkas_cluster_cannot_do_is_refused(fault: dict[str, str]):
    fault = {**fault, "at": "1s"}

    assert refusals({"faults": [fault]}) == []
    assert refusals({"faults": [fault]}, implementation=EMBEDDED) == [
        f"faults[0]: {fault['fault']}: the embedded cluster cannot do it: use --on local"
    ]


def test_the_embedded_cluster_has_no_consumer_protocol():
    settings = {"groups": {"work": {"settings": {"group.protocol": "consumer"}}}}

    assert refusals(settings) == []
    assert len(refusals(settings, implementation="librdkafka-mock")) == 1


# ---- incidents -----------------------------------------------------------------------------------------------------

START_UNIX_NS = 1795479170_000 * MS


def elected(topic: str, at_ms: int, before: int = 2) -> str:
    return (
        f"{at_ms} [2026-11-24T00:12:54,010] INFO [Broker id=1] Leader {topic}-1 with topic id Some(KWbtbjE7SxKSZbTqGEc8eg) starts at leader "
        "epoch 1 from offset 180 with partition epoch 1, high watermark 179, ISR [3,1], adding replicas [] and removing replicas [] . "
        f"Previous leader Some({before}) and previous leader epoch was 0. (logger)\n"
    )


LOG = (
    "1795479173949 [2026-11-24T00:12:53,949] INFO [QuorumController id=100] Fencing broker 2 at epoch 11 because its "
    "session has timed out. (ReplicationControlManager)\n"
    + elected("orders", 1795479174010)
    + elected("others", 1795479174011)
    + elected("orders", 1795479174012, before=1)
    + "1795479178170 [2026-11-24T00:12:58,170] INFO [Broker id=1] Skipped the become-leader state change for orders-1 with topic id "
    "Some(KWbtbjE7SxKSZbTqGEc8eg), partition registration PartitionRegistration(replicas=[3, 1, 2], directories=[a, b, c], isr=[3, 2, 1], "
    "leader=1, leaderEpoch=1, partitionEpoch=2) and isNew=false since it is already the leader with leader epoch 1. (logger)\n"
    + "1795479178173 [2026-11-24T00:12:58,173] INFO [Partition orders-1 broker=1] ISR updated to 3,2,1  and version updated "
    "to 2 (Partition)\n"
    "1795479179268 [2026-11-24T00:12:59,268] INFO [GroupCoordinator id=1 topic=__consumer_offsets partition=2] Member "
    "work-2-659f0b8e in group work has failed, removing it from the group. (GroupMetadataManager)\n"
)


def test_brokers_logs_become_incidents_in_the_words_of_both_engines(tmp_path):
    """Times count from the start of the run, members are named as the scenario names them, other people's topics are left out,
    a leader whose epoch grows stays the leader that it was, and replicas in sync that are told twice changed once."""
    (tmp_path / "n1.log").write_text(LOG)
    clock = RunClock(0, START_UNIX_NS, 0)

    found = from_logs(tmp_path, Build({}).run().plan, clock, {"work-2-659f0b8e": "work/2"})

    assert [(each.time_ns // MS, each.kind, each.where, each.detail) for each in found] == [
        (3949, "fence", "broker 2", "epoch 11 because its session has timed out"),
        (4010, "election", "orders/1", "leader 1"),
        (4010, "isr", "orders/1", "1,3"),
        (8170, "isr", "orders/1", "1,2,3"),
        (9268, "session expired", "work/2", "Member work-2-659f0b8e"),
    ]


def test_a_members_fault_is_proven_by_its_own_session_and_by_nothing_that_comes_much_later():
    """Of two crashes the first one's session ends at 8 s; another member's at 7 s and its own of a later crash say nothing about it."""
    crash = {"fault": "member_crash", "member": "work/1", "at": "2s", "for": "5s"}
    build = Build({"faults": [crash]})
    build.event(0.1)
    build.fault(2, 7)
    plan = build.run().plan
    incidents = [
        Incident(ns(at), kind, where, "", "")
        for at, kind, where in (
            (7, "session expired", "work/2"),
            (8, "session expired", "work/1"),
            (9, "assignment", "work/2"),
            (300, "session expired", "work/1"),
        )
    ]

    def proof(*told: Incident) -> str:
        return shown(Applied(plan.faults[0], "work/1", ns(2)), plan, told, new_operations(0), np.zeros(0, LOG_RECORD))

    assert proof(*incidents) == "session expired at 8.000 s; work/2 took over at 9.000 s"
    assert proof(incidents[0], incidents[3]) == ""


def test_what_a_run_before_left_in_the_logs_is_left_out(tmp_path):
    (tmp_path / "n1.log").write_text(LOG)

    assert from_logs(tmp_path, Build({}).run().plan, RunClock(0, START_UNIX_NS + 60_000 * MS, 0), {}) == []


def test_what_members_have_at_the_start_holds_from_time_0():
    heard = [
        (100, "assignment", "work/1", "orders/0 orders/1"),
        (200, "revocation", "work/1", ""),
        (300, "assignment", "work/1", "orders/0"),
        (1500, "revocation", "work/1", ""),
    ]

    assert list(from_members(heard, RunClock(1000, 0, 0))) == [
        Incident(500, "revocation", "work/1", ""),
        Incident(0, "assignment", "work/1", "orders/0"),
    ]


def test_a_member_without_a_place_in_its_group_has_no_id_to_be_seen_off_by():
    """One whose session ran out while its coordinator hung says what it lost, and names nobody (librdkafka: None)."""
    worker = SimpleNamespace(name="mails/1", running=False, said={})
    crew = SimpleNamespace(
        member_ids={}, members={"mails/1": worker}, owned={}, heard=[], gone=[], ended_by_policy=set()
    )
    for member_id, kind in (("mails-77", "assignment"), (None, "lost")):
        Crew._note(crew, worker, {"event": kind, "at": 5, "partitions": [], "member_id": member_id})  # type: ignore[arg-type]  # a crew by hand

    assert Crew.unparted(crew) == {"mails": ["mails-77"]}  # type: ignore[arg-type]  # the same


# ---- groups, clocks, warm-up ---------------------------------------------------------------------------------------


def test_the_range_assignor_gives_the_first_members_more_of_each_topic():
    assert _range_shares([6], 4) == [2, 2, 1, 1]
    assert _range_shares([1, 1, 4], 2) == [4, 2]
    assert _range_shares([2], 3) == [1, 1, 0]


def test_the_two_clocks_are_read_together():
    first, error_ns = unix_offset_ns()
    second, _ = unix_offset_ns()

    assert error_ns < 1_000_000
    assert abs(second - first) < 5_000_000


def test_a_warm_up_is_steady_after_three_windows_alike():
    assert not is_steady((9 * MS, 9 * MS))
    assert not is_steady((500 * MS, 12 * MS, 9 * MS))
    assert is_steady((500 * MS, 10 * MS, 9 * MS, 8 * MS))
    assert is_steady((2 * MS, 1 * MS, 1 * MS))


def test_processes_names_become_file_names():
    assert file_name("eu.shop/12") == "eu.shop-12"


# ---- verdicts on the driver ----------------------------------------------------------------------------------------


def sends(late_ms: list[float], ack_ms: float = 10.0) -> np.ndarray:
    rows = new_operations(len(late_ms))
    rows["kind"] = Kind.send
    rows["intended_ns"] = np.arange(len(late_ms)) * MS
    rows["started_ns"] = rows["intended_ns"] + (np.asarray(late_ms) * MS).astype(np.int64)
    rows["ended_ns"] = rows["intended_ns"] + int(ack_ms * MS)
    return rows


PLAN = Build({}).run().plan


def verdict(rows: np.ndarray, gauges: list[Gauge] | None = None, late: Mapping[str, int] | None = None) -> list[str]:
    return invalid_reasons(PLAN, rows, gauges or [], late or {})


def test_a_driver_in_time_is_valid():
    assert verdict(sends([0.1] * 99 + [50.0])) == []


def test_late_senders_make_a_run_invalid():
    """Two of a hundred events 6 ms late are beyond the 99th percentile's 5 ms."""
    (reason,) = verdict(sends([0.1] * 98 + [6.0] * 2))

    assert reason.startswith("the senders ran 6ms behind the plan (p99; at most 5ms)")


def test_what_an_outbox_holds_back_is_not_the_drivers_lateness():
    """As many events again, emitted and relayed 100 ms after their effects."""
    relayed = sends([100.0] * 100)
    relayed["event_id"] = len(PLAN)

    assert verdict(np.concatenate([sends([0.1] * 100), relayed])) == []


def test_what_waits_for_a_transactions_end_is_not_late():
    """Of each two events the second, due 1 ms after the first, goes out when the first one's transaction ends after 41 ms; or 6 ms later, which is late."""
    rows = sends([0.1] * 100)
    first, second = rows[::2], rows[1::2]
    first["intended_ns"] = first["started_ns"] = np.arange(50) * 100 * MS
    first["ended_ns"] = second["started_ns"] = first["intended_ns"] + 41 * MS
    second["intended_ns"] = first["intended_ns"] + MS
    second["ended_ns"] = first["intended_ns"] + 51 * MS
    (without,) = verdict(rows)
    rows["transaction_id"] = np.arange(100)

    assert without.startswith("the senders ran 40ms behind the plan")
    assert verdict(rows) == []
    second["started_ns"] += 11 * MS
    assert limits(PLAN, rows).lateness_p99_ns == 11 * MS


def test_lateness_is_measured_by_what_it_is_compared_with():
    """Where acknowledgements take 100 ms at the 99th percentile, 6 ms say little; where they take 10 ms they say much."""
    late = [0.1] * 98 + [6.0] * 2

    assert verdict(sends(late, ack_ms=100.0)) == []
    assert limits(PLAN, sends(late)).lateness_p99_ns == 6 * MS


HURT = """\
scenario: hurt-senders
duration: 4s
brokers: {kind: kafka, nodes: 1}
topics: {orders: {}}
producers:
  shop: {topic: orders, count: 2, share: arrivals, arrivals: {rate: 100/s, spacing: even}}
faults:
  - {fault: duplicates, producer: shop, share: 50%, at: 0s, for: 1s, after: 300ms}
  - {fault: late, producer: shop, share: 50%, by: 200ms, at: 1s, for: 1s}
  - {fault: producer_crash, producer: shop/2, at: 2s, for: 1s}
"""


def as_asked(plan: Plan) -> np.ndarray:
    """Sends as a driver in time makes them: again, late, and behind a crash as the faults want it, from 3.4 s on what was due meanwhile."""
    repeated = np.flatnonzero(plan.again_ns != NOT_AGAIN)
    rows = new_operations(len(plan) + len(repeated))
    rows["kind"] = Kind.send
    rows["event_id"] = event = np.concatenate([np.arange(len(plan)), repeated])
    rows["intended_ns"] = plan.intended_ns[event]
    rows["process"] = plan.process[event] - 1
    rows["started_ns"] = plan.intended_ns[event] + plan.late_ns[event]
    rows["started_ns"][len(plan) :] = plan.again_ns[repeated]
    gone = (rows["process"] == 1) & (rows["started_ns"] >= 2000 * MS) & (rows["started_ns"] < 3400 * MS)
    rows["started_ns"][gone] = 3400 * MS
    rows["ended_ns"] = rows["started_ns"] + 5 * MS
    return rows


def test_what_a_fault_keeps_from_being_sent_is_not_the_drivers_lateness():
    """A twentieth of the events 20 ms late is, also beside such faults."""
    plan = make_plan(load_text(HURT, "hurt.yaml").scenario)
    rows = as_asked(plan)

    assert len(rows) > len(plan) + 20
    assert (plan.late_ns > 0).sum() > 20
    assert limits(plan, rows).lateness_max_ns == 0
    assert limits(plan, rows).ack_p99_ns == 5 * MS
    rows["started_ns"][np.flatnonzero(rows["process"] == 0)[::10]] += 20 * MS
    assert limits(plan, rows).lateness_p99_ns == 20 * MS


def test_a_full_client_queue_makes_a_run_invalid():
    rows = sends([0.1] * 10)
    rows["error"][:2] = QUEUE_FULL

    assert verdict(rows) == [
        "the clients' own queue was full for 2 events: raise queue.buffering.max.messages, or lower the rate"
    ]


def test_a_queue_that_the_scenario_has_made_small_may_be_full():
    """Then it is the client's answer that is tried, and not the driver that is at its limit."""
    rows = sends([0.1] * 10)
    rows["error"][:2] = QUEUE_FULL
    small = Build({"producers": {"shop": {"settings": {"queue.buffering.max.messages": 32}}}}).run().plan

    assert invalid_reasons(small, rows, [], {}) == []


def test_a_busy_sender_makes_a_run_invalid_and_a_short_peak_does_not():
    def gauges(shares: list[float]) -> list[Gauge]:
        return [Gauge(ns(second), "thread_share", "shop/2", share) for second, share in enumerate(shares)]

    assert verdict(sends([0.1]), gauges([0.2, 0.95, 0.95, 0.2, 0.95])) == []
    assert verdict(sends([0.1]), gauges([0.95, 0.95, 0.95])) == [
        "shop/2 used over 90% of a core for 3 s: raise producers.shop.count"
    ]


def test_a_host_whose_cores_others_take_makes_a_run_invalid():
    gauges = [Gauge(ns(second), "steal_share", "host", 0.2) for second in range(5)]

    assert verdict(sends([0.1]), gauges)[0].startswith("other machines took 20% of this host's cores")
    assert values(gauges, "steal_share", "host") == [0.2] * 5


def test_a_host_that_stands_still_makes_a_run_invalid():
    (reason,) = verdict(
        sends([0.1]), [Gauge(ns(1), "oversleep_s", "host", 0.01), Gauge(ns(2), "oversleep_s", "host", 2.5)]
    )

    assert reason == "the host stood still for 2.50 s: run it on a quieter host"


def test_members_that_end_their_work_late_make_a_run_invalid():
    assert verdict(sends([0.1]), late={"work/1": 10 * MS, "work/2": 1 * MS}) == []
    (reason,) = verdict(sends([0.1]), late={"work/1": 100 * MS, "work/2": 1 * MS})
    assert reason.startswith("1 members ended their work late, work/1 by 100ms")


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux only")
def test_a_clients_threads_let_the_brokers_go_first():
    """Every thread of the process but the calling one, which paces, gives way."""
    code = """
import os, threading
from loadgen.child import let_brokers_go_first
client, told = threading.Event(), []
thread = threading.Thread(target=lambda: (told.append(threading.get_native_id()), client.wait()))
thread.start()
while not told:
    pass
before = os.getpriority(os.PRIO_PROCESS, 0)
let_brokers_go_first()
print(os.getpriority(os.PRIO_PROCESS, 0) - before, os.getpriority(os.PRIO_PROCESS, told[0]))
client.set()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "0 10\n"


def test_a_time_of_day_that_was_set_is_noticed_and_one_that_drifts_is_not(monkeypatch: pytest.MonkeyPatch):
    """Half an hour with a clock that is 0.5 s per 1000 s too fast is well; a step of a minute back is not."""
    run = RunClock(start_ns=0, start_unix_ns=1_000_000_000, error_ns=0)
    half_an_hour = 1800 * 10**9

    assert clock_reasons(900_000_000, half_an_hour) == []
    monkeypatch.setattr("loadgen.run_clock.unix_offset_ns", lambda: (1_000_000_000 - 60 * 10**9, 0))
    assert run.stepped_ns() == -60 * 10**9
    (reason,) = clock_reasons(run.stepped_ns(), half_an_hour)
    assert reason.startswith("this machine's time of day was set by -60.000 s during the run")


def test_what_is_recorded_as_done_after_the_end_is_a_defect_and_no_figure():
    """A member that was not told when time 0 was would count from the machine's start."""
    names = Names(("shop/1", "work/1"), ("work",), ("orders",), ("shop",))
    rows = new_operations(3)
    rows["process"], rows["started_ns"] = [0, 1, 1], [1, 2, 10**15]

    assert timed_after(rows, names, 10**9) == [
        "1 operations of work/1 are timed after the run's end: its clock is wrong, or it never heard of time 0"
    ]
    assert timed_after(rows[:2], names, 10**9) == []


def test_locust_dying_while_it_is_shown_something_ends_the_run_with_its_name(tmp_path: Path):
    """Its pipe is closed, and it is not known to have ended yet: what it is told is lost, and its end is told when it is seen."""
    program = 'import json, os, time; os.close(0); os.write(1, b\'{"event": "closed"}\\n\'); time.sleep(60)'
    link = ControlLink(Build().run().plan, tmp_path, ui=None)
    link._worker = dying = Worker("locust", [sys.executable, "-c", program], {}, tmp_path)
    while "closed" not in dying.said:
        listen([dying], 1.0)
        dying.hear()
    try:
        link.show(Progress("running", at_ns=ns(2)), [])
        before = link.endings()
        dying.process.kill()
        dying.process.wait()
        after = link.endings()
    finally:
        dying.close()

    assert before == []
    assert after[0].startswith("Locust's process ended during the run")
