"""Faults on a real Kafka: each shows its effect and is undone, several to a run, on one cluster behind proxies."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from live_runs import drive_on, load, spec_of
from loadgen.clusters.local import LocalKafka, start_local
from loadgen.watchdog.undoing import admin
from rundata.checks import check
from rundata.tables import FaultRecord, RunData

pytestmark = pytest.mark.live

SCENARIO = """\
scenario: hurt
seed: 7
duration: 12s
drain: 30s
brokers:
  kind: kafka
  nodes: 3
  racks: [a, b, c]
  settings:
    broker.session.timeout.ms: 4000
    broker.heartbeat.interval.ms: 500
    replica.lag.time.max.ms: 2000
    group.initial.rebalance.delay.ms: 300
    log.retention.check.interval.ms: 500
    log.initial.task.delay.ms: 500
topics:
  orders: {partitions: 6, replication: 3, settings: {min.insync.replicas: 2, segment.ms: 500}}
  letters: {partitions: 2, replication: 2}
producers:
  shop:
    topic: orders
    settings: {acks: all, enable.idempotence: true}
    arrivals: 150/s
    key: {uniform: 200}
    size: 300B
  post: {topic: letters, arrivals: 50/s, key: {uniform: 50}, settings: {acks: all, enable.idempotence: true}}
groups:
  fulfilment: {topics: [orders], members: 2, work: 1ms, settings: {auto.offset.reset: earliest}}
faults: [{fault: cut, between: [broker 1, broker 2], at: 2s, for: 1s}]
"""


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    spec = spec_of(load(SCENARIO))
    assert spec.proxied
    with start_local(spec, progress=print, log_dir=tmp_path_factory.mktemp("logs")) as cluster:
        yield cluster


def run_with(
    kafka: LocalKafka, folder: Path, *faults: str, duration: str = "12s", more: tuple[str, ...] = ()
) -> tuple[RunData, list[FaultRecord]]:
    settings = [f"faults=[{', '.join(faults)}]", f"duration={duration}", *more]
    run = drive_on(kafka, load(SCENARIO, settings), folder / "run")
    for fault in run.faults:
        print(fault)
    assert run.about["state"] == "complete", run.about["incomplete"]
    return run, list(run.faults)


def sound(run: RunData) -> bool:
    return {name: found.count for name, found in check(run).items() if not found.valid} == {}


def holds(proof: str, *words: str) -> bool:
    missing = [word for word in words if word not in proof]
    assert not missing, f"{missing} not in {proof!r}"
    return True


def test_brokers_hang_and_run_out_of_disk(kafka: LocalKafka, tmp_path: Path):
    """The leader of orders/0 hangs for 6 s and is fenced after 4; later broker 3 cannot write, ends itself and comes back."""
    run, (pause, full) = run_with(
        kafka,
        tmp_path,
        "{fault: broker_pause, broker: leader of orders/0, at: 1s, for: 6s}",
        "{fault: disk_full, broker: 3, at: 11s, for: 5s}",
        duration="17s",
    )

    assert sound(run)
    assert pause.target == "broker 1 (leader of orders/0)"
    holds(pause.proof, "stopped at 1.", "went on at 7.", "fenced at", "let in again at", "partitions led by others")
    holds(
        full.proof, "could write no more from 11.", "ended itself with status 1; room again, started again at", "fenced"
    )
    assert kafka.registered() == {1, 2, 3} or kafka.wait_registered({1, 2, 3}, 20) is None
    assert not any(kafka.paused(node) for node in (1, 2, 3))


def test_a_racks_brokers_and_the_controller_are_met(kafka: LocalKafka, tmp_path: Path):
    """With one of the brokers of a rack dead, its partitions are led by others; without a controller nobody is elected."""
    run, (rack, controller) = run_with(
        kafka,
        tmp_path,
        "{fault: broker_crash, rack: b, at: 1s, for: 6s}",
        "{fault: broker_crash, broker: controller, at: 11s, for: 2s}",
        duration="19s",
    )

    assert sound(run)
    assert (rack.target, controller.target) == ("broker 2 (rack b)", "controller")
    holds(rack.proof, "gone at 1.", "fenced at", "registered again at")
    holds(controller.proof, "gone at 11.", "started again at 13.", "it became the active controller at")


def test_links_are_cut_and_slowed_one_at_a_time(kafka: LocalKafka, tmp_path: Path):
    run, (pair, slow, clients, heart) = run_with(
        kafka,
        tmp_path,
        "{fault: cut, between: [broker 1, broker 2], at: 1s, for: 6s}",
        "{fault: slow_link, between: [clients, broker 3], delay: 40ms, at: 2s, for: 3s}",
        "{fault: cut, between: [clients, broker 2], mode: reset, at: 8s, for: 2s}",
        "{fault: cut, between: [broker 3, controller], channel: heartbeat, at: 11s, for: 6s}",
        duration="18s",
    )

    assert sound(run)
    assert pair.target == "broker 1, broker 2"
    holds(
        pair.proof, "a probe got no answer within 0.5 s", "partitions with fewer replicas in sync", "bytes had waited"
    )
    probe_ms = float(slow.proof.partition("answered after ")[2].split()[0])
    assert 80 <= probe_ms < 400
    holds(clients.proof, "a probe was refused", "new ones kept out")
    holds(heart.proof, "fenced at", "let in again at")
    assert kafka.proxies is not None
    assert kafka.proxies.in_force() == []
    assert run.about["brokers"]["proxies"] is True


def test_topics_are_changed_and_changed_back(kafka: LocalKafka, tmp_path: Path):
    run, (move, throttle, added, reassign, retention, delete) = run_with(
        kafka,
        tmp_path,
        "{fault: leader_move, partition: orders/0, at: 1s, for: 4s}",
        "{fault: throttle, producer: shop, rate: 2kB/s, at: 2s, for: 4s}",
        "{fault: add_partitions, topic: letters, to: 4, at: 3s}",
        "{fault: reassign, partition: letters/0, to: [3, 1], at: 4s}",
        "{fault: retention, topic: orders, to: 500ms, at: 7s, for: 3s}",
        "{fault: delete_records, topic: letters, up_to: latest, at: 9s}",
    )

    holds(move.proof, "led by 2 instead of 1 from 1.", "orders/0 on 1, 2, 3 again at")
    holds(throttle.proof, "for client id shop", "quota removed again at")
    meanwhile, before = (float(words.split()[0]) for words in throttle.proof.rpartition("; ")[2].split(" meanwhile, "))
    assert meanwhile < before * 0.8
    holds(added.proof, "4 partitions instead of 2 from 3.")
    holds(reassign.proof, "from 2,3 to 3,1, copied and in sync at")
    holds(retention.proof, "retention.ms 500 from 7.", "segments deleted", "orders: retention.ms default again at")
    holds(delete.proof, "first offset now letters/0: ")
    partitions = {(each.topic, each.partition): each for each in run.extents}
    assert set(partitions) == {*(("orders", n) for n in range(6)), *(("letters", n) for n in range(4))}
    assert partitions["letters", 0].first > 0
    topics = admin({"bootstrap.servers": kafka.bootstrap})
    assert topics.list_topics(timeout=5).topics["orders"].partitions[0].leader == 1


def test_a_command_of_the_users_is_a_fault(kafka: LocalKafka, tmp_path: Path):
    """It is probed before, meanwhile and afterwards; one that fails has no effect, and is ended all the same."""
    mark = tmp_path / "hurt"
    _run, (hook, failing) = run_with(
        kafka,
        tmp_path,
        f"{{fault: hook, begin: 'touch {mark}; echo hurt $EVENTDRILL_FAULT', end: 'rm {mark}', probe: 'test -e {mark}', at: 1s, for: 2s}}",
        f"{{fault: hook, name: broken, begin: 'echo no such host >&2; false', end: 'touch {mark}.ended', at: 1s, for: 2s}}",
        duration="4s",
    )

    holds(hook.proof, ": hurt hook; the probe found it; `rm", "the probe finds it no more")
    holds(failing.proof, "no effect: ", "ended with status 1: no such host")
    assert not mark.exists()
    assert (tmp_path / "hurt.ended").exists()


def test_brokers_and_members_are_replaced_in_turn_and_load_and_work_change_for_a_while(
    kafka: LocalKafka, tmp_path: Path
):
    """Two brokers leave one after the other and come back, so do both members; later there are three times as many events, slow tries, poison."""
    run, (first, second, one, other, surge, slow, poison) = run_with(
        kafka,
        tmp_path,
        "{fault: rolling_restart, brokers: [1, 3], at: 1s, for: 3s, pause: 4s}",
        "{fault: rolling_deploy, group: fulfilment, at: 12s, for: 1s, pause: 2s}",
        "{fault: surge, producer: shop, factor: 3, at: 18s, for: 2s}",
        "{fault: slow_work, group: fulfilment, factor: 5, at: 21s, for: 2s}",
        "{fault: poison, producer: shop, events: 3, at: 22s, for: 1s}",
        duration="24s",
        more=("groups.fulfilment.failures={then: skip}",),
    )

    assert sound(run)
    assert (first.target, second.target, one.target, other.target) == (
        "broker 1", "broker 3", "fulfilment/1", "fulfilment/2"
    )  # fmt: skip
    holds(first.proof, "asked to end at 1.", "started again at 4.", "registered again at")
    holds(second.proof, "asked to end at 8.", "started again at 11.", "registered again at")
    holds(one.proof, "asked to leave at 12.", "took over at")
    holds(other.proof, "asked to leave at 15.", "took over at")
    assert kafka.registered() == {1, 2, 3}
    assert 750 < int(surge.proof.split()[0]) < 1050  # two seconds of 450/s
    slowed, otherwise = (
        float(words.split("ms")[0]) for words in slow.proof.removeprefix("median try ").split(", otherwise ")
    )
    assert slowed > 3 * otherwise
    assert poison.proof == "3 poison events, 3 of them failed a try"
