"""What speaks against blaming the model: a slower host, a busy neighbour, a profile that was measured beside one."""

import dataclasses

import pytest

from eventdrill.workflows.calibrate import shipped_base
from eventdrill.workflows.doubts import doubt, doubts, doubts_of, host_drift
from loadgen.gauges import disturbed
from rundata.tables import Gauge, RunData
from runs import Build, ns
from scenarios.profiles import Profile


def paced(*pace_us: float) -> RunData:
    run = Build().run(engine="driven")
    return dataclasses.replace(
        run, gauges=tuple(Gauge(ns(at), "host_pace_s", "host", us / 1e6) for at, us in enumerate(pace_us))
    )


def test_a_host_that_became_slower_is_noticed():
    """Its fixed piece of work took 80 us when the brokers were measured, and 96 us in the run."""
    base = shipped_base()
    profile = base.model_copy(update={"measured_on": {**base.measured_on, "host_pace_s": 80e-6}})

    assert host_drift(paced(95.0, 96.0, 300.0), profile) == pytest.approx(0.2)
    assert host_drift(paced(80.0), profile) == pytest.approx(0.0)
    assert host_drift(paced(), profile) is None
    assert host_drift(paced(80.0), base) is None


def beside_others(*shares: tuple[float, float]) -> RunData:
    """A run with these (host's share, neighbours' cores), a sample each second."""
    found = []
    for at, (host, neighbours) in enumerate(shares):
        found += [
            Gauge(ns(at), "cpu_share", "host", host),
            Gauge(ns(at), "cpu_share", "shop/1", 0.9),
            Gauge(ns(at), "neighbours_cores", "host", neighbours),
        ]
    return dataclasses.replace(Build().run(engine="driven"), gauges=tuple(found))


def test_a_busy_neighbour_is_a_reason_not_to_judge():
    """Two of ten seconds beside somebody who took a core of a host without a free one."""
    run = beside_others(*[(0.4, 0.02)] * 8, (1.0, 1.1), (0.97, 0.9))

    assert disturbed(run.gauges) == "other work took 1.0 cores of a busy host in 20% of the run"
    assert doubts_of(run) == ("other work took 1.0 cores of a busy host in 20% of the run",)
    assert doubt(run, shipped_base()) == "other work took 1.0 cores of a busy host in 20% of the run"


@pytest.mark.parametrize(
    "sample", [(0.7, 1.0), (1.0, 0.1)], ids=["a neighbour on a core that was free", "a host busy with the run itself"]
)
def test_what_keeps_nobody_waiting_is_no_reason(sample: tuple[float, float]):
    """Both all the time."""
    assert doubt(beside_others(*[sample] * 10), shipped_base()) is None


def test_a_single_second_of_a_long_run_is_no_reason():
    """One of twenty is 5 %."""
    assert disturbed(beside_others(*[(0.4, 0.02)] * 19, (1.0, 1.1)).gauges) is None


def test_a_profile_measured_beside_a_neighbour_blames_nobody():
    """The run itself was calm."""
    base = shipped_base()
    profile = base.model_copy(update={"measured_on": {**base.measured_on, "doubtful": "other work took 1.0 cores"}})

    assert doubt(beside_others((0.4, 0.0)), profile) == "when the profile was measured, other work took 1.0 cores"


def on_system(cluster: str | None, implementation: str = "apache-kafka") -> RunData:
    about = {"brokers": {"implementation": implementation}, **({"foreign_cluster": cluster} if cluster else {})}
    return Build().run(engine="driven", about=about)


def measured_on(cluster: str | None) -> Profile:
    base = shipped_base()
    told = {"cluster": f"{cluster}: 3 brokers that EventDrill did not start"} if cluster else {}
    return base.model_copy(update={"profile": "mine", "measured_on": {**base.measured_on, **told}})


@pytest.mark.parametrize(
    ("run", "profile", "said"),
    [
        (on_system(None), measured_on(None), None),
        (on_system("theirs"), measured_on("theirs"), None),
        (on_system("theirs"), measured_on(None), "profile mine was not measured on the brokers of cluster theirs: calibrate there"),
        (on_system("theirs"), measured_on("another"), "profile mine was not measured on the brokers of cluster theirs: calibrate there"),
        (on_system(None), measured_on("theirs"), "profile mine was measured on the brokers of cluster theirs, and these are others"),
        (on_system(None, "librdkafka-mock"), measured_on(None), "the brokers are not those that the profile describes"),
    ],
    ids=["ours", "theirs, measured there", "theirs, not measured", "theirs, measured elsewhere", "ours, measured elsewhere", "played"],
)  # fmt: skip
def test_a_profile_of_other_brokers_blames_nobody(run: RunData, profile: Profile, said: str | None):
    assert doubt(run, profile) == said


# ---- brokers that stood still --------------------------------------------------------------------------------------

CRASH = {"fault": "broker_crash", "broker": 2, "at": "5s", "for": "4s"}


def standing_still(*paused: tuple[float, str, float]) -> RunData:
    """A run of 20 s with a crash of broker 2 from 5 to 9 s, in whose second before an instant a broker stood still for so long."""
    build = Build({"warm_up": "2s", "duration": "20s", "faults": [CRASH]})
    build.fault(5, 9)
    found = tuple(Gauge(ns(at), "jvm_pause_s", where, seconds) for at, where, seconds in paused)
    return dataclasses.replace(build.run(engine="driven"), gauges=found, end_ns=ns(22))


def test_a_broker_that_stood_still_is_a_reason_not_to_judge_by_what_that_reaches():
    """80 ms of the three seconds before the fault are 2.7 %, of the run's twenty 0.4 %."""
    run = standing_still((4, "broker 3", 0.08), (12, "broker 1", 0.05))

    found = doubts(run, shipped_base())

    assert set(found) == {f"latency[before faults].{q}" for q in ("p50", "p95", "p99")}
    assert set(found.values()) == {"JVMs of brokers stood still for 80ms of 3s, 80ms at a time"}
    assert doubt(run, shipped_base()) is None


def test_pauses_of_several_brokers_add_up():
    """Two of 60 ms in a run of 20 s without faults are 0.6 %, one of them 0.3."""
    calm = Build({"warm_up": "2s", "duration": "20s"}).run(engine="driven")
    both = tuple(Gauge(ns(at), "jvm_pause_s", f"broker {at}", 0.06) for at in (2, 3, 4))
    several, one = (dataclasses.replace(calm, gauges=both[:count], end_ns=ns(22)) for count in (3, 2))

    assert (
        doubts(several, shipped_base())["latency.p99"] == "JVMs of brokers stood still for 120ms of 20s, 60ms at a time"
    )
    assert not doubts(one, shipped_base())


def test_short_collections_are_no_reason():
    """Three of 20 ms, 2 % of the three seconds, as brokers collect all the time."""
    assert not doubts(standing_still(*((at, "broker 1", 0.02) for at in (3, 4, 5))), shipped_base())


def test_what_a_fault_does_to_brokers_is_none_of_the_hosts_doing():
    """After the crash at 5 s."""
    assert not doubts(standing_still((10, "broker 2", 3.0), (10, "broker 1", 3.0)), shipped_base())


def waiting(*waited_ms: float) -> RunData:
    """The same run, in which threads of broker 1 waited for a core for so long, second by second from 3 s on, and those of broker 2 for 5 ms each."""
    found = [Gauge(ns(at), "core_wait_s", "broker 1", each / 1000) for at, each in enumerate(waited_ms, start=3)]
    found += [Gauge(ns(at), "core_wait_s", "broker 2", 0.005) for at in range(3, 20)]
    return dataclasses.replace(standing_still(), gauges=tuple(found))


def test_threads_that_were_kept_waiting_are_a_reason():
    """90 ms in one second where 10 are usual."""
    found = doubts(waiting(10, 90, *[10] * 15), shipped_base())

    reason = "a thread of broker 1 waited for a core for 80ms of 3s more than is usual in the seconds around"
    assert found == {f"latency[before faults].{q}": reason for q in ("p50", "p95", "p99")}


@pytest.mark.parametrize(
    "waited_ms",
    [[10, 45, *[10] * 15], [100, 180, *[100] * 15], [*[10] * 8, 150, *[10] * 8]],
    ids=["a little longer", "a queue in front of the cores all the time", "after the fault"],
)
def test_waits_that_hardly_show_are_no_reason(waited_ms: list[float]):
    """Less than 40 ms more, less than thrice of what is usual, or by the crash's doing."""
    assert not doubts(waiting(*waited_ms), shipped_base())
