"""Random small scenarios for comparing the simulator with the plain model: short, full of faults, and often with ties."""

import random
from dataclasses import dataclass
from typing import Any

import random_actions as actions
import random_crashes as crashes
import random_dependencies as dependencies
import random_logs as logs
import random_topics as changes
from scenarios.errors import ScenarioError
from scenarios.files import load_text, validated
from scenarios.plan import Plan, make_plan
from scenarios.profiles import IDEAL, KNOTS, NO_CORES, NO_REST, NOTHING, Measured, Profile, Rest, SharedCores
from scenarios.schema import Scenario
from scenarios.yaml_text import Marked, write_yaml
from sim.refuse import cannot


@dataclass(frozen=True)
class Case:
    """One scenario with everything that a run needs."""

    number: int
    text: str
    plan: Plan
    profile: Profile

    def __str__(self) -> str:
        return f"case {self.number}:\n{self.text}\nprofile: {self.profile.model_dump(exclude_defaults=True)}"


def random_case(number: int) -> Case:
    """Return the scenario, plan and profile of a number."""
    choose = random.Random(number)
    scenario = _scenario(choose, number)
    loaded = load_text(write_yaml(scenario), f"random {number}")
    if cannot(loaded.scenario):  # share groups with quotas
        for group in scenario["groups"].values():
            if group.pop("share_group", False):
                group["settings"]["group.protocol"] = "consumer"
            if group.get("failures", {}).get("then") == "release":
                group["failures"]["then"] = "skip"
        loaded = load_text(write_yaml(scenario), f"random {number}")
    return Case(number, loaded.text, make_plan(loaded.scenario), _profile(choose))


def _ms(choose: random.Random, low: int, high: int, grid: int = 10) -> str:
    """Return a time, often on a grid, so that things meet at one instant."""
    if choose.random() < 0.7:
        return f"{choose.randrange(low // grid, high // grid + 1) * grid}ms"
    return f"{choose.uniform(low, high):.6f}ms"


def _scenario(choose: random.Random, number: int) -> dict[str, Any]:
    nodes = choose.choice([1, 2, 3, 3, 3, 4])
    topics: dict[str, Any] = {name: _topic(choose, nodes) for name in ["a", "b"][: choose.choice([1, 1, 2])]}
    if choose.random() < 0.5:
        topics["out"] = _topic(choose, nodes)
    topics["dead"] = {**_topic(choose, nodes), "partitions": choose.choice([1, 2])}
    length_ms = choose.choice([300, 600, 1200])
    producers = {
        name: _producer(choose, topic, length_ms)
        for name, topic in zip(["p", "q"], [*[*topics][:-1], "a"], strict=False)
        if name == "p" or choose.random() < 0.5
    }
    groups = {name: _group(choose, name, list(topics)) for name in ["g", "h"][: choose.choice([1, 1, 2])]}
    scenario: dict[str, Any] = {
        "scenario": f"random-{number}",
        "seed": number,
        "duration": f"{length_ms}ms",
        "drain": choose.choice(["300ms", "3s", "6s"]),
        "brokers": {
            "kind": "kafka",
            "nodes": nodes,
            "controllers": choose.choice(["separate", "separate", "combined"]),
            "settings": _broker_settings(choose),
            **({"racks": ["x", "y", "x", "y"][:nodes]} if nodes > 1 and choose.random() < 0.2 else {}),
        },
        "topics": topics,
        "producers": producers,
        "groups": groups,
    }
    faults = [_fault(choose, scenario, length_ms) for _ in range(choose.choice([0, 1, 2, 3, 5, 8, 10]))]
    # What came later draws from a generator of its own, so that the scenarios of before stay as they are.
    faults += dependencies.add(random.Random(f"{number}: dependencies"), scenario, length_ms)
    _add_outboxes(random.Random(f"{number}: outboxes"), groups)
    actions.add_autoscalers(random.Random(f"{number}: autoscalers"), groups)
    crashes.add(random.Random(f"{number}: crashes"), scenario)
    actions.add(random.Random(f"{number}: actions"), scenario, length_ms)
    faults = logs.add(random.Random(f"{number}: logs"), scenario, faults, length_ms)
    faults = changes.add(random.Random(f"{number}: topics"), scenario, faults, length_ms)
    faults += logs.age_brokers(random.Random(f"{number}: release"), scenario, length_ms)
    faults += logs.cut_one_way(random.Random(f"{number}: one way"), scenario, length_ms)
    faults += logs.send_in_transactions(random.Random(f"{number}: transactions"), scenario, length_ms)
    logs.limit_batches(random.Random(f"{number}: batches"), scenario)
    logs.break_transactions(random.Random(f"{number}: refused in transactions"), scenario)
    faults += logs.skew_clocks(random.Random(f"{number}: clocks"), scenario, length_ms)
    faults = [*actions.add_absences(random.Random(f"{number}: absences"), scenario, length_ms), *faults]
    faults = [*logs.lose_a_host(random.Random(f"{number}: host"), scenario, length_ms), *faults]
    faults += changes.move_leaders(random.Random(f"{number}: leaders"), scenario, length_ms)
    faults += logs.send_again_and_die(random.Random(f"{number}: sent again"), faults, length_ms)
    faults += logs.reset_nothing(random.Random(f"{number}: no reset"), scenario, length_ms)
    faults += changes.collect_by_calls(random.Random(f"{number}: collected"), scenario, length_ms)
    faults += changes.copy_from_new_partitions(random.Random(f"{number}: copies"), scenario, faults, length_ms)
    faults = logs.hold_locks(random.Random(f"{number}: locks"), scenario, faults)
    return _with_faults(scenario, faults)


def _with_faults(scenario: dict[str, Any], faults: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the scenario with those faults that make sense together: nobody dies twice at once."""
    if not faults:
        return scenario
    everything = {**scenario, "faults": faults}
    if _is_valid(everything):
        return everything
    for fault in faults:
        more = {**scenario, "faults": [*scenario.get("faults", []), fault]}
        scenario = more if _is_valid(more) else scenario
    return scenario


def _is_valid(scenario: dict[str, Any]) -> bool:
    try:
        validated(Scenario, Marked(scenario), "random")
    except ScenarioError:
        return False
    return True


def _broker_settings(choose: random.Random) -> dict[str, Any]:
    session = choose.choice([80, 200, 400])
    return {
        "leader.imbalance.check.interval.seconds": choose.choice([1, 1, 300]),
        "controller.quorum.fetch.timeout.ms": choose.choice([20, 100]),
        "replica.lag.time.max.ms": choose.choice([100, 300, 30_000]),
        "log.retention.check.interval.ms": choose.choice([50, 200, 300_000]),
        "broker.session.timeout.ms": session,
        "broker.heartbeat.interval.ms": session // choose.choice([2, 4]),
        "group.initial.rebalance.delay.ms": choose.choice([0, 30, 200]),
        "group.min.session.timeout.ms": 1,
        "group.share.min.session.timeout.ms": 1,
        "group.share.session.timeout.ms": choose.choice([100, 300]),
        "group.share.min.heartbeat.interval.ms": 1,
        "group.share.heartbeat.interval.ms": choose.choice([20, 50]),
        "group.share.record.lock.duration.ms": choose.choice([1000, 1500]),
        "group.share.delivery.count.limit": choose.choice([2, 3, 5]),
        "group.share.partition.max.record.locks": choose.choice([100, 2000]),
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": choose.choice([30, 100, 10_000]),
        "group.consumer.min.session.timeout.ms": 1,
        "group.consumer.session.timeout.ms": choose.choice([100, 300]),
        "group.consumer.min.heartbeat.interval.ms": 1,
        "group.consumer.heartbeat.interval.ms": choose.choice([20, 50]),
    }


def _topic(choose: random.Random, nodes: int) -> dict[str, Any]:
    replication = choose.randint(1, min(3, nodes))
    settings = {"min.insync.replicas": choose.choice([1, 1, min(2, replication)])}
    if choose.random() < 0.15:
        settings |= {"segment.ms": choose.choice([20, 100]), "retention.ms": choose.choice([50, 200, 500])}
    if choose.random() < 0.1:
        settings |= {"segment.ms": choose.choice([20, 100]), "retention.bytes": choose.choice([0, 500, 3000])}
    return {"partitions": choose.choice([1, 2, 3, 5]), "replication": replication, "settings": settings}


def _producer(choose: random.Random, topic: str, length_ms: int) -> dict[str, Any]:
    acks = choose.choice(["all", "all", "all", "1", "0"])
    java = choose.random() < 0.3
    settings: dict[str, Any] = {"acks": acks, "linger.ms": choose.choice([0, 0, 5, 10, 30])}
    if acks == "all":
        settings["enable.idempotence"] = choose.random() < 0.6
    if choose.random() < 0.2 or (choose.random() < 0.4 and not settings.get("enable.idempotence")):
        settings["max.in.flight.requests.per.connection"] = choose.choice([1, 2, 3])
    if choose.random() < 0.3:
        settings["batch.num.messages"] = choose.choice([1, 2, 3, 7])
    if choose.random() < 0.3:
        settings["batch.size"] = choose.choice([150, 400, 1000])
    _add_timeouts(choose, settings)
    _add_buffer(choose, settings, java)
    events = choose.choice([20, 60, 120])
    rate = f"{events * 1000 / length_ms:.3f}/s"
    spacing = choose.choice(["poisson", "poisson", "even", {"bursts": choose.choice([3, 10])}])
    key = choose.choice(["none", "sequence", {"uniform": 5}, {"zipf": {"values": 20, "exponent": 1.1}}])
    return {
        "topic": topic,
        **({"client": "java"} if java else {}),
        "count": choose.choice([1, 1, 2, 3]),
        "share": "arrivals" if key == "none" else choose.choice(["keys", "arrivals"]),
        "settings": settings,
        "arrivals": {"rate": rate, "spacing": spacing},
        "key": key,
        "size": choose.choice(["100B", {"uniform": ["50B", "300B"]}]),
        "poison": choose.choice(["0%", "0%", "5%"]),
    }


def _add_timeouts(choose: random.Random, settings: dict[str, Any]) -> None:
    if choose.random() < 0.35:
        settings["socket.timeout.ms"] = choose.choice([20, 50, 150])
    if choose.random() < 0.35:
        settings["request.timeout.ms"] = choose.choice([10, 40, 120])
    if choose.random() < 0.35:
        settings["delivery.timeout.ms"] = choose.choice([60, 150, 500])
    if choose.random() < 0.5:
        settings |= {"retry.backoff.ms": choose.choice([1, 10, 30]), "retry.backoff.max.ms": 50}


def _add_buffer(choose: random.Random, settings: dict[str, Any], java: bool) -> None:
    """Leave out what the Java client does not know, and let buffers be small."""
    if java:
        for name in ("batch.num.messages", "socket.timeout.ms"):
            settings.pop(name, None)
        if "delivery.timeout.ms" in settings:
            settings["request.timeout.ms"] = choose.choice([10, 30])
        if choose.random() < 0.5:
            settings["max.request.size"] = choose.choice([400, 700])
    if choose.random() < 0.3:
        if java:
            settings |= {"buffer.memory": choose.choice([500, 2000]), "max.block.ms": choose.choice([0, 20, 100])}
        else:
            settings["queue.buffering.max.messages"] = choose.choice([3, 10])


def _group(choose: random.Random, name: str, topics: list[str]) -> dict[str, Any]:
    protocol = choose.choice(["classic", "consumer"])
    settings: dict[str, Any] = {"group.protocol": protocol}
    if protocol == "classic":
        settings |= {"session.timeout.ms": choose.choice([100, 300]), "heartbeat.interval.ms": choose.choice([20, 50])}
        if choose.random() < 0.7:
            settings["partition.assignment.strategy"] = choose.choice(
                ["range,roundrobin", "roundrobin", "sticky", *["cooperative-sticky"] * 3]
            )
    if choose.random() < 0.25:
        settings["group.instance.id"] = "static"
    if choose.random() < 0.4:
        settings["max.poll.interval.ms"] = settings.get("session.timeout.ms", choose.choice([20, 60, 100]))
    settings["auto.offset.reset"] = choose.choice(["earliest", "latest"])
    if choose.random() < 0.3:
        settings["max.poll.records"] = choose.choice([1, 3, 10])
    work = choose.choice(["0ms", "1ms", "5ms", "5ms", {"exponential": "3ms"}, {"uniform": ["1ms", "20ms"]}])
    commit = choose.choice(
        ["auto", "after_event", "after_batch", "before_work", {"every": choose.choice(["20ms", "100ms"])}]
        + ["transaction"] * 2
    )
    if commit == "auto":
        settings["auto.commit.interval.ms"] = choose.choice([20, 100])
    client = _client(choose, settings)
    is_share = choose.random() < 0.2
    failures = _failures(choose, name == "g" and choose.random() < 0.6 and not is_share)
    if failures is None and work in ("0ms", {"exponential": "3ms"}):
        work = {"uniform": ["1ms", "20ms"]}  # endless tries that take next to no time would never end
    collect = {"collect": {"events": choose.choice([2, 5, 20]), "timeout": choose.choice(["10ms", "50ms"])}}
    group = {
        **client,
        "topics": choose.choice([topics[:1], topics[:-1], topics[:-1] if "dead" in str(failures) else topics]),
        "members": choose.choice([1, 2, 2, 3]),
        "settings": settings,
        "reads": "poll" if is_share or (client and commit == "auto") else choose.choice(["poll", "poll", collect]),
        "work": work,
        "commit": commit,
    }
    simple = (
        group["reads"] == "poll"
        and commit not in ("before_work", "transaction")
        and (failures or {}).get("then") != "stop"
    )
    if simple and choose.random() < 0.5 and not is_share:
        workers = choose.choice([2, 3, 5])
        group |= {"workers": workers, "in_hand": choose.choice([workers, 2 * workers, 50])}
        group["ordered_by"] = choose.choice(["none", "key", "partition"])
    if choose.random() < 0.35:
        group["dedupe"] = {"window": choose.choice(["50ms", "10s"]), "store": choose.choice(["shared", "member"])}
    if "out" in topics and choose.random() < 0.6:
        group["emits"] = [_emits(choose, topics, commit) for _ in range(choose.choice([1, 1, 2]))]
    if failures:
        group["failures"] = failures
    return _shared(choose, group) if is_share else group


def _shared(choose: random.Random, group: dict[str, Any]) -> dict[str, Any]:
    """Return a group as a share group."""
    settings = {
        name: value for name, value in group["settings"].items() if name in ("max.poll.records", "max.poll.interval.ms")
    }
    commit = choose.choice(["after_event", "after_batch"])
    if "failures" in group and choose.random() < 0.6:
        group["failures"] = {**group["failures"], "then": "release"}
        group["failures"].pop("dead_letter", None)
    for emits in group.get("emits", ()):
        emits["settings"].pop("transaction.timeout.ms", None)
    return {
        **group,
        "share_group": True,
        "commit": commit,
        "settings": settings,
        "members": choose.choice([1, 2, 3, 4]),
    }


def _client(choose: random.Random, settings: dict[str, Any]) -> dict[str, Any]:
    """Let a group have the Java client, old or new, and fetches that wait for more or hold little."""
    if choose.random() < 0.35:
        settings["max.partition.fetch.bytes"] = choose.choice([150, 400, 1000])
        if choose.random() < 0.5:
            settings["fetch.max.bytes"] = choose.choice([250, 500, 1000])
    if choose.random() < 0.3:
        settings |= {
            "fetch.min.bytes": choose.choice([150, 400, 5000]),
            "fetch.max.wait.ms": choose.choice([10, 30, 50]),
        }
    if choose.random() < 0.3:
        settings["isolation.level"] = choose.choice(["read_committed", "read_uncommitted"])
    if choose.random() < 0.4:
        return {"client": "java", **({"version": "3.9"} if choose.random() < 0.4 else {})}
    if "fetch.max.bytes" in settings:
        settings["message.max.bytes"] = 1000  # librdkafka wants no less than its largest message
    if "fetch.max.wait.ms" in settings:
        settings["fetch.wait.max.ms"] = settings.pop("fetch.max.wait.ms")
    if "max.partition.fetch.bytes" in settings:
        settings["fetch.message.max.bytes"] = settings.pop("max.partition.fetch.bytes")
    return {}


def _emits(choose: random.Random, topics: list[str], commit: Any) -> dict[str, Any]:
    emits: dict[str, Any] = {
        "topic": choose.choice(["out", "out", "a"]),
        "per_event": choose.choice([1, 1, 2]),
        "share": choose.choice(["100%", "50%"]),
        "hops": choose.choice([1, 1, 2]),
        "size": choose.choice(["100B", {"uniform": ["50B", "300B"]}]),
        "poison": choose.choice(["0%", "5%"]),
    }
    settings: dict[str, Any] = {"acks": choose.choice(["all", "all", "1", "0"]), "linger.ms": choose.choice([0, 5, 20])}
    if settings["acks"] == "all":
        settings["enable.idempotence"] = choose.random() < 0.6
    if commit == "transaction":
        settings = {"linger.ms": settings["linger.ms"], "transaction.timeout.ms": choose.choice([50, 200, 60_000])}
    return {**emits, "settings": settings}


def _add_outboxes(choose: random.Random, groups: dict[str, Any]) -> None:
    for emits in (emits for group in groups.values() for emits in group.get("emits", ())):
        if choose.random() < 0.4:
            emits["outbox"] = {"every": choose.choice(["10ms", "50ms", "70ms"])}


def _failures(choose: random.Random, by_topic: bool) -> dict[str, Any] | None:
    then = choose.choice([None, "dead_letter", "dead_letter", "skip", "skip", "stop"])
    if then is None:
        return None
    failures: dict[str, Any] = {"then": then}
    if then == "dead_letter":
        failures["dead_letter"] = "dead"
    if choose.random() < 0.5:
        failures["transient"] = {"chance": "10%", "attempts": choose.choice([1, 2, 3])}
    if choose.random() < 0.6:
        retry = {"attempts": choose.choice([1, 2, 3]), "backoff": choose.choice(["0ms", "5ms", "7ms"])}
        failures["retry"] = {**retry, "factor": choose.choice([1, 1.5, 2])}
        if retry["attempts"] > 1 and by_topic:
            failures["retry"]["where"] = "topic"
    return failures


def _fault(choose: random.Random, scenario: dict[str, Any], length_ms: int) -> dict[str, Any]:
    kind = choose.choice(
        ["broker_crash"] * 4 + ["broker_stop"] * 2 + ["broker_pause"] * 4 + ["cut"] * 5 + ["slow_link"] * 3 + ["throttle"] * 2
        + ["leader_move", "disk_stall", "host_crash", "disk_full", "retention", "delete_records", "delete_records"]
        + ["member_crash"] * 4 + ["member_leave"] * 2 + ["member_pause"] * 3 + ["poll_stall"] * 2
        + ["slow_work", "failing_work", "poison", "surge"]
        + ["producer_crash", "producer_pause", "duplicates", "late", "oversized"]
    )  # fmt: skip
    fault: dict[str, Any] = {"fault": kind, "at": _ms(choose, 0, length_ms, 50), "for": _ms(choose, 10, 800)}
    group = choose.choice(list(scenario["groups"]))
    match kind:
        case "broker_crash" | "broker_stop" | "broker_pause" | "disk_stall" if (
            "racks" in scenario["brokers"] and choose.random() < 0.5
        ):
            fault["rack"] = choose.choice(["x", "y"])
        case "broker_crash" | "broker_stop" | "broker_pause" | "disk_stall" | "host_crash" | "disk_full":
            topic = choose.choice([*scenario["topics"], "a", "a"])
            fault["broker"] = choose.choice(
                [
                    choose.randint(1, scenario["brokers"]["nodes"]),
                    *[f"leader of {topic}/0"] * 2,
                    f"follower of {topic}/0",
                ]
            )
            if "disk" not in kind and choose.random() < 0.2:
                fault["broker"] = "controller"
        case "member_crash" | "member_leave" | "member_pause" | "poll_stall":
            fault["member"] = f"{group}/{choose.randint(1, scenario['groups'][group]['members'])}"
        case "slow_work":
            fault |= {"group": group, "factor": choose.choice([1, 2, 3.7]), "plus": choose.choice(["0ms", "3ms"])}
        case "failing_work":
            fault |= {"group": group, "share": choose.choice(["30%", "100%"])}
            if "failures" not in scenario["groups"][group]:
                fault["share"] = "30%"
        case "poison":
            fault |= {"producer": "p", "events": choose.choice([1, 3])}
        case "cut":
            broker = choose.choice(
                [f"broker {choose.randint(1, scenario['brokers']['nodes'])}", "leader of a/0", "follower of a/0"]
            )
            other = choose.choice(["clients", "controller", "controller", "leader of a/0", "brokers"])
            fault["between"] = [other, broker]
            fault["for"] = _ms(choose, 100, 1200)
            if other not in ("controller", "clients") and choose.random() < 0.3:
                fault["direction"] = choose.choice(["to", "from"])
            if other == "controller":
                fault["channel"] = choose.choice(["heartbeat", "both", "both", "metadata"])
            if other == "clients":
                fault["mode"] = choose.choice(["silent", "reset"])
        case "throttle":
            fault |= {"producer": "p", "rate": choose.choice(["20B/s", "300B/s", "2KiB/s"])}
        case "slow_link":
            broker = choose.choice([f"broker {choose.randint(1, scenario['brokers']['nodes'])}", "leader of a/0"])
            ends = [choose.choice(["clients", "clients", "brokers", "follower of a/0"]), broker]
            fault["between"] = ends if choose.random() < 0.7 else ends[::-1]
            fault["direction"] = choose.choice(["both", "both", "to", "from"])
            fault["delay"] = choose.choice(["0ms", "5ms", "5ms", "40ms"])
            if fault["delay"] != "0ms":
                fault["jitter"] = choose.choice(["0ms", "5ms", "2.345678ms"])
            if fault["delay"] == "0ms" or choose.random() < 0.4:
                fault["bandwidth"] = choose.choice(["5KiB/s", "50KiB/s"])
        case "leader_move":
            fault["partition"] = f"a/{choose.randrange(scenario['topics']['a']['partitions'])}"
            if choose.random() < 0.3:
                fault["to"] = choose.randint(1, scenario["brokers"]["nodes"])
            if choose.random() < 0.4:
                del fault["for"]
        case "retention":
            fault |= {"topic": choose.choice([*scenario["topics"]]), "to": choose.choice(["50ms", "200ms"])}
        case "delete_records":
            del fault["for"]
            fault |= choose.choice([{"topic": "a"}, {"partition": "a/0"}])
            fault["up_to"] = choose.choice(["latest", "latest", "50ms", 3, 10])
        case "producer_crash" | "producer_pause":
            count = scenario["producers"]["p"]["count"]
            fault["producer"] = choose.choice(["p", f"p/{choose.randint(1, count)}"])
        case "duplicates":
            fault |= {"producer": "p", "share": "20%", "after": choose.choice(["0ms", "5ms", "70ms"])}
        case "late":
            fault |= {"producer": "p", "share": "20%", "by": choose.choice(["10ms", {"uniform": ["1ms", "90ms"]}])}
        case "oversized":
            fault |= {"producer": "p", "events": 2, "size": "3MiB"}
        case "surge":
            fault |= {"producer": "p", "factor": 2}
    return fault


# ---- profiles ------------------------------------------------------------------------------------------------------


def _measured(choose: random.Random, style: str, high_us: float) -> Measured:
    if style == "constant":
        return Measured(quantiles_us=(float(choose.choice([0, 1, 5]) * 1000),) * len(KNOTS))
    if choose.random() < 0.15:
        return NOTHING
    return Measured(quantiles_us=tuple(sorted(round(choose.uniform(0, high_us), 3) for _ in KNOTS)))


def _profile(choose: random.Random) -> Profile:
    style = choose.choice(["ideal", "constant", "constant", "random", "random", "random"])
    if style == "ideal":
        return IDEAL
    most_us = {
        "send": 300, "produce": choose.choice([3_000, 30_000, 60_000]), "produce_leader": choose.choice([1_000, 10_000, 40_000]),
        "acknowledge": 1_000, "fetch": 3_000, "fetch_turnaround": 2_000, "wake": 500, "overshoot": 200, "commit": choose.choice([5_000, 40_000]),
        "discovery": 100_000, "member_discovery": 150_000, "restart": 200_000, "election": 50_000, "catch_up": 100_000,
    }  # fmt: skip
    measured: dict[str, Any] = {name: _measured(choose, style, high) for name, high in most_us.items()}
    constant = style == "constant"
    return Profile(
        profile=f"random {style}",
        produce_us_per_kib=choose.choice([0.0, 0.0 if constant else 37.3]),
        produce_us_per_record=choose.choice([0.0, 0.0 if constant else 11.0]),
        handle_us=choose.choice([0.0, 1000.0 if constant else 73.0]),
        poll_us=choose.choice([0.0, 1000.0 if constant else 31.0]),
        phases=choose.choice(["random", "aligned"]),
        load_slope=choose.choice([0.0, 0.0, 0.37]),
        early_followers=(early := choose.choice([0.0, 0.0, 0.5])),
        parked_followers=early,
        takeover=measured["catch_up"] if early else NOTHING,
        **measured,
        cores=_cores(choose, constant),
        sleep_step_us=choose.choice([0.0, 1000.0, 1000.0 if constant else 2718.3]),
        oversleep=choose.choice([0.0, 0.005, 0.05]),
        rest=_rest(choose, constant),
    )


def _rest(choose: random.Random, constant: bool) -> Rest:
    """Return in half of the profiles that brokers answer later after a rest."""
    if choose.random() < 0.5:
        return NO_REST
    costs_us = [choose.choice([0.0, 1000.0, 2000.0] if constant else [0.0, 733.1, 3141.6]) for _ in range(2)]
    return Rest(broker_us=costs_us[0], all_us=costs_us[1])


def _cores(choose: random.Random, constant: bool) -> SharedCores:
    """Return cores that all share, in one profile of four."""
    if choose.random() < 0.75:
        return NO_CORES
    return SharedCores(
        count=choose.choice([1, 2]),
        taken=choose.choice([0.0, 0.5]),
        request_us=choose.choice([500.0, 1000.0] if constant else [73.1, 700.0, 4000.0]),
        event_us=choose.choice([0.0, 1000.0 if constant else 211.7]),
    )
