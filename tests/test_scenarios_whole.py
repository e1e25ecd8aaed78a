"""The whole format: every fault, action and field is read, written back, described for editors, and planned."""

import re
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # its stubs are a package of their own
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from scenario_text import WHOLE, small
from scenarios.actions import action_kinds
from scenarios.faults import fault_kinds
from scenarios.features import FEATURES, features
from scenarios.files import load_text, scenario_text
from scenarios.occurrences import part_of, plan_faults
from scenarios.plan import ALWAYS_FAILS, make_plan
from scenarios.quantities import MILLISECOND, SECOND
from scenarios.schema import json_schema
from scenarios.yaml_text import read_yaml, write_yaml


def test_the_whole_format_is_read_and_written_back_as_the_same() -> None:
    whole = load_text(WHOLE).scenario

    assert load_text(scenario_text(whole)).scenario == whole
    assert {fault.kind for fault in whole.faults} == set(fault_kinds())
    assert {action.kind for action in whole.actions} == set(action_kinds())


def test_the_whole_format_fits_its_json_schema_also_as_it_is_written_back() -> None:
    validator = jsonschema.Draft202012Validator(json_schema())

    for text in (WHOLE, scenario_text(load_text(WHOLE).scenario)):
        assert [error.message for error in validator.iter_errors(read_yaml(text, "whole").value)] == []


def test_every_feature_of_the_whole_format_has_a_name_that_engines_know_it_by() -> None:
    names = {feature.name for feature in features(load_text(WHOLE).scenario)}

    assert names <= FEATURES
    assert FEATURES - names == {
        "recorded arrivals",
        "transactional producer",
        "ordered_by none",
        "ordered_by partition",
        "then crash",
        "then release",
    }


def test_fields_have_the_values_that_the_file_gives_them() -> None:
    whole = load_text(WHOLE).scenario
    fulfilment = whole.groups["fulfilment"]

    assert str(whole.producers["shop"].worth) == "12.5 EUR"
    assert [call.dependency for call in fulfilment.calls] == ["payments", "stock"]
    assert [emits.topic for emits in fulfilment.emits] == ["shipments"]
    assert [emits.hops for emits in whole.groups["shipping"].emits] == [None, 2]
    assert whole.groups["theirs"].dedupe == "none"
    assert whole.sweep["groups.fulfilment.members"] == (3, 4, 6)


def test_what_the_documentation_says_of_faults_and_actions_is_valid() -> None:
    """`...` in a fault stands for its times."""
    page = (Path(__file__).parent.parent / "docs" / "scenario-file.md").read_text("utf-8")
    written = re.findall(r"\{(?:fault|action): (?:[^{}]|\{[^{}]*\})*\}", page)
    value = read_yaml(WHOLE, "whole").value
    for text in written:
        section = "faults" if text.startswith("{fault") else "actions"
        entry = text.replace("...", "at: 20s, for: 5s").replace("billing", "shipping")
        alone = {**value, "faults": [], "actions": [], "sweep": {}, section: [read_yaml(entry, text).value]}
        load_text(write_yaml(alone), text)

    assert len(written) == 29


# ---- times ----------------------------------------------------------------------------------------------------------


def begins(text: str) -> list[tuple[str, float, float]]:
    planned = plan_faults(small(("faults:\n", f"faults:\n  - {text}\n")), seed=1)
    return [(str(p.fault.kind), p.begin_ns / SECOND, p.end_ns / SECOND) for p in planned if p.index == 0]


def test_a_rolling_restart_is_the_stops_of_the_brokers_one_after_another() -> None:
    assert begins("{fault: rolling_restart, at: 10s, for: 3s, pause: 5s}") == [
        ("broker_stop", 10, 13), ("broker_stop", 18, 21), ("broker_stop", 26, 29),
    ]  # fmt: skip
    assert begins("{fault: rolling_restart, at: 10s, for: 3s, brokers: [3]}") == [("broker_stop", 10, 13)]


def test_a_rolling_deploy_is_the_leaving_of_the_members_one_after_another() -> None:
    scenario = small(
        ("faults:\n", "faults:\n  - {fault: rolling_deploy, name: v2, group: analytics, at: 10s, for: 2s}\n")
    )
    planned = [each for each in plan_faults(scenario, seed=1) if each.label == "v2"]

    assert [(str(getattr(each.fault, "member", "")), each.begin_ns // SECOND) for each in planned] == [
        ("analytics/1", 10), ("analytics/2", 12),
    ]  # fmt: skip
    assert [part_of(scenario.faults[0], each.part) for each in planned] == [each.fault for each in planned]
    assert {each.fault.label for each in planned} == {"v2"}


def test_what_is_over_at_once_ends_where_it_begins_and_what_stays_has_no_end() -> None:
    scenario = small(("faults:\n", "faults:\n  - {fault: add_partitions, topic: orders, to: 12, at: [10s, 20s]}\n"))
    first = plan_faults(scenario, seed=1)[0]

    assert (first.begin_ns, first.end_ns, first.stays) == (10 * SECOND, 10 * SECOND, True)
    assert begins("{fault: leader_move, partition: orders/0, at: 10s, for: 4s}") == [("leader_move", 10, 14)]


def test_random_faults_may_all_last_as_long_as_for_says() -> None:
    found = begins("{fault: member_pause, member: fulfilment/1, random: {mean_between: 5s}, for: 250ms}")

    assert len(found) > 3
    assert {round((end - begin) * 1000) for _, begin, end in found} == {250}


def test_actions_are_planned_in_the_order_of_their_times() -> None:
    plan = make_plan(load_text(WHOLE).scenario)

    assert [(action.label, action.begin_ns // SECOND) for action in plan.actions] == [
        ("scale", 60), ("redrive", 180), ("deploy", 300), ("redrive", 360),
        ("replay", 480), ("all of it", 480), ("redrive", 540), ("reset_offsets", 540),
    ]  # fmt: skip
    assert plan.actions[0].end_ns == 120 * SECOND and not plan.actions[0].stays


# ---- events ---------------------------------------------------------------------------------------------------------


def test_events_are_sent_again_late_or_oversized_in_the_fault_only() -> None:
    scenario = small(
        ("faults:\n", """faults:
  - {fault: duplicates, producer: shop, share: 100%, after: 50ms, at: 10s, for: 1s}
  - {fault: late, producer: shop, share: 100%, by: 2s, at: 20s, for: 1s}
  - {fault: oversized, producer: shop, events: 5, size: 2MiB, at: 30s, for: 1s}
"""),
    )  # fmt: skip
    plan = make_plan(scenario)
    second = plan.intended_ns // SECOND

    assert set(second[plan.again_ns >= 0].tolist()) == {10}
    assert set((plan.again_ns - plan.intended_ns)[second == 10].tolist()) == {50 * MILLISECOND}
    assert set(plan.late_ns[second == 20].tolist()) == {2 * SECOND}
    assert not plan.late_ns[second != 20].any()
    assert np.count_nonzero(plan.size_bytes == 2 * 2**20) == 5
    assert set(second[plan.size_bytes == 2 * 2**20].tolist()) == {30}


def test_an_event_that_is_late_and_sent_again_is_sent_again_after_its_lateness() -> None:
    scenario = small(
        ("faults:\n", """faults:
  - {fault: duplicates, producer: shop, share: 100%, after: 50ms, at: 10s, for: 1s}
  - {fault: late, producer: shop, share: 100%, by: 2s, at: 10s, for: 1s}
"""),
    )  # fmt: skip
    plan = make_plan(scenario)
    inside = plan.intended_ns // SECOND == 10

    assert set((plan.again_ns - plan.intended_ns)[inside].tolist()) == {2050 * MILLISECOND}


def test_a_schema_change_breaks_the_groups_it_names_from_its_begin_on() -> None:
    change = "  - {fault: schema_change, producer: shop, version: 2, breaks: [analytics], at: 30s}\n"
    plan = make_plan(small(("faults:\n", f"faults:\n{change}")))
    after = plan.intended_ns >= 30 * SECOND

    assert set(plan.schema_version[after].tolist()) == {2}
    assert set(plan.schema_version[~after].tolist()) == {1}
    assert np.array_equal(plan.undecodable["analytics"], after)
    assert not plan.undecodable["fulfilment"].any()
    assert set(plan.failing_tries["analytics"][after].tolist()) == {ALWAYS_FAILS}


def test_faults_of_other_events_change_nothing_else_of_the_plan() -> None:
    plain = make_plan(small())
    disturbed = make_plan(
        small(("faults:\n", "faults:\n  - {fault: duplicates, producer: shop, share: 10%, at: 10s, for: 9s}\n"))
    )

    for column in ("intended_ns", "key", "size_bytes", "partition", "process", "late_ns"):
        assert np.array_equal(getattr(plain, column), getattr(disturbed, column)), column


def test_dead_letters_take_the_work_of_the_group_that_reads_them() -> None:
    reader = ("  analytics:\n", "  support: {topics: [orders.dlq], work: 7ms, failures: {then: skip}}\n  analytics:\n")

    assert set(make_plan(small(reader)).work_ns["support"].tolist()) == {7 * MILLISECOND}


def test_recorded_arrivals_bring_their_times_keys_and_sizes(tmp_path: Path) -> None:
    """Five rows, one of them after the load; at double speed times are halved."""
    file = tmp_path / "orders.parquet"
    parquet.write_table(
        pa.table(
            {"seconds": [4.0, 1.0, 2.0, 3.0, 500.0], "who": ["b", "a", "b", "c", "a"], "bytes": [400, 100, 20, 300, 9]}
        ),
        file,
    )
    recording = f"    arrivals: {{trace: {file}, key: who, size: bytes, speed: 2}}\n"
    old = """    arrivals:
      - {for: 40s, rate: 200/s}
      - {for: 20s, rate: [200/s, 300/s], spacing: even}
    key: {zipf: {values: 1000, exponent: 0.5}}
    size: {lognormal: {mean: 400B, cv: 0.5}}
"""
    plan = make_plan(small((old, recording)))

    assert plan.intended_ns.tolist() == [SECOND // 2, SECOND, 3 * SECOND // 2, 2 * SECOND]
    assert plan.key.tolist() == [0, 1, 2, 1]
    assert plan.size_bytes.tolist() == [100, 32, 300, 400]
    assert plan.partition[1] == plan.partition[3] >= 0
