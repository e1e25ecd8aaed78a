"""Each check on a run with its defect planted, which it finds, and on clean runs, which pass."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rundata.allowed import Allowed
from rundata.checks import CHECKS, check, check_in_parts
from rundata.findings import CheckResult
from rundata.rows import Kind, Outcome
from rundata.tables import RunData
from runs import Build, clean_run, scenario_with, without_audit

ACKS_1 = {"producers": {"shop": {"settings": {"acks": "1", "enable.idempotence": False}}}}
CRASH = {"faults": [{"fault": "broker_crash", "broker": 1, "at": "2s", "for": "2s"}]}
TWO_GROUPS = {"groups": {"audit": {"topics": ["orders"], "work": "1ms"}}}
NEEDS_THE_LOG = {
    "lost", "unexpected", "offset_gaps", "contiguous_appends", "dead_letters", "conservation", "unseen", "skipped_polls",
}  # fmt: skip


def judged(build: Build, name: str) -> CheckResult:
    """Return a check's result, which is the same when a run is judged in parts: two events, or a partition, at a time."""
    run = build.run()
    result, in_parts = check(run)[name], check_in_parts(run, 2, 1)[name]
    assert facts(in_parts) == facts(result)
    return result


def facts(result: CheckResult) -> tuple[Any, ...]:
    """All that a check says, in whatever order its reasons and examples come."""
    few = result.count <= 5 and len(result.examples) <= 5
    return (
        result.valid, result.count, dict(result.parts), result.note, set(result.allowed.split("; ")),
        sorted(result.examples) if few else len(result.examples),
    )  # fmt: skip


def with_commit(mode: str) -> dict[str, Any]:
    return {"groups": {"work": {"commit": mode}}}


def flowing(changes: Mapping[str, Any] | None = None, events: int = 4) -> Build:
    """Four events, a second apart, that went well."""
    build = Build(changes or {})
    for number in range(events):
        build.flow(float(number))
    return build


# ---- clean runs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHECKS)
def test_a_clean_run_passes(name: str) -> None:
    result = check(clean_run())[name]

    assert (result.valid, result.count, result.examples) == (True, 0, [])


@pytest.mark.parametrize("name", CHECKS)
def test_an_empty_run_passes(name: str) -> None:
    assert check(Build().run())[name].valid


@pytest.mark.parametrize("name", sorted(NEEDS_THE_LOG))
def test_a_run_without_an_audit_is_not_judged_by_its_log(name: str) -> None:
    result = check(without_audit(clean_run()))[name]

    assert (result.valid, result.count) == (True, 0)
    assert "were not read back" in result.note


def test_transactions_are_said_not_to_apply() -> None:
    for name in ("transaction_atomicity", "transaction_cycles"):
        assert check(clean_run())[name].note == "no producer or group of this scenario uses transactions"


# ---- the log -------------------------------------------------------------------------------------------------------


def test_a_lost_event_is_found_and_placed() -> None:
    """Of six acknowledged events the first, the third and the last are not in the log."""
    build = Build()
    for number in range(6):
        build.send(build.event(float(number)), offset=number, logged=number in (1, 3, 4))
    result = judged(build, "lost")

    assert (result.valid, result.allowed, result.count) == (False, "", 3)
    assert result.parts == {"prefix": 1, "middle": 1, "suffix": 1}
    assert result.examples[1] == (
        "event 2 (shop/1, key shop-2, intended 2.000000 s): sent at 2.000000 s, acknowledged at 2.010000 s "
        "as orders/0 offset 2; not in the log (middle)"
    )


def test_acks_1_may_lose_and_says_why() -> None:
    build = flowing(ACKS_1)
    build.send(build.event(5.0), logged=False, offset=9)
    result = judged(build, "lost")

    assert (result.valid, result.count) == (True, 1)
    assert result.allowed == "shop has acks=1: what the followers do not have yet is lost with its leader"


def test_an_example_names_the_incidents_around_it() -> None:
    build = flowing()
    build.send(build.event(5.0), logged=False, offset=9)
    build.incident(4.5, "fence", "broker 2")
    build.incident(8.0, "fence", "broker 3")

    assert judged(build, "lost").examples[0].endswith("(suffix); near it: fence of broker 2 at 4.500000 s")


def test_an_unexpected_record_is_found() -> None:
    """A known event in a topic it was never sent to, and a record without an id."""
    build = flowing()
    build.append("orders.dlq", 0, 2, at=3.0)
    build.append("orders", 1, -1, at=4.0)
    result = judged(build, "unexpected")

    assert (result.valid, result.count) == (False, 2)
    assert result.examples == [
        "orders/1 offset 0 holds a record without an id of this run, written at 4.000000 s",
        "orders.dlq/0 offset 0 holds a record event 2, which nobody sent there, written at 3.000000 s",
    ]


def test_recovered_events_are_counted_and_always_allowed() -> None:
    build = flowing()
    build.send(build.event(5.0), outcome=Outcome.unknown, offset=4)
    result = judged(build, "recovered")

    assert (result.valid, result.count) == (True, 1)
    assert "may have kept the record" in result.allowed


def test_an_offset_with_two_events_is_found() -> None:
    """A member read event 0 where the log has event 1; with acks=1 a new leader may have cut the log."""
    for changes, valid in (({}, False), (ACKS_1, True)):
        build = flowing(changes)
        build.deliver(0, 9.0, member=2, offset=1)
        result = judged(build, "inconsistent_offsets")

        assert (result.valid, result.count) == (valid, 1)
        assert result.examples == ["orders/0 offset 1 is event 0 for one and event 1 for another"]


def test_an_acknowledgement_with_a_foreign_offset_is_found() -> None:
    build = flowing()
    build.send(build.event(5.0), logged=False, offset=3)

    assert judged(build, "inconsistent_offsets").count == 1


def test_missing_offsets_are_found() -> None:
    """The partition goes from 0 to 6; offsets 4 and 5 hold nothing."""
    build = flowing()
    build.flow(5.0)
    build.log[-1]["offset"] = 6
    result = judged(build, "offset_gaps")

    assert (result.valid, result.count) == (False, 2)
    assert result.examples == ["orders/0 (offsets 0 to 6) has no record at 4-5"]


def test_records_that_retention_took_are_no_gap() -> None:
    build = Build()
    build.firsts["orders", 0] = 3
    build.send(build.event(1.0), offset=3)

    assert judged(build, "offset_gaps").count == 0


def test_a_compacted_topic_may_have_gaps() -> None:
    build = flowing({"topics": {"orders": {"settings": {"cleanup.policy": "compact"}}}})
    build.flow(5.0)
    build.log[-1]["offset"] = 6
    checks = check(build.run())

    for name in ("offset_gaps", "contiguous_appends"):
        assert (checks[name].valid, checks[name].allowed) == (True, "orders is compacted")


def test_a_hole_within_a_leader_epoch_is_found() -> None:
    build = flowing()
    build.flow(5.0)
    build.log[-1]["offset"] = 6
    result = judged(build, "contiguous_appends")

    assert (result.valid, result.count) == (False, 1)
    assert result.examples == ["orders/0: offset 3 (epoch 0) is followed by offset 6 (epoch 0)"]


def test_an_epoch_that_goes_back_is_found() -> None:
    build = flowing()
    build.log[1]["leader_epoch"] = 2
    build.log[2]["leader_epoch"] = 1

    assert judged(build, "contiguous_appends").count == 2


def test_a_new_epoch_after_the_last_offset_is_in_order() -> None:
    build = flowing()
    for number in (2, 3):
        build.log[number]["leader_epoch"] = 1

    assert judged(build, "contiguous_appends").valid


def test_a_dead_letter_that_did_not_arrive_is_found() -> None:
    build = flowing()
    event = build.event(5.0)
    build.send(event)
    build.deliver(event, 5.1)
    build.dead_letter(event, 5.2, 5.3, logged=False)
    result = judged(build, "dead_letters")

    assert (result.valid, result.parts) == (False, {"not in the topic": 1, "never sent": 0})
    assert result.examples[0].endswith("its dead letter is not in the topic")


def test_an_exhausted_event_without_a_dead_letter_is_found() -> None:
    """Two tries failed, no more are due, and the group committed beyond the event."""
    build = flowing()
    event = build.event(5.0)
    offset = build.send(event)
    build.deliver(event, 5.1)
    for attempt in (1, 2):
        build.try_(event, 5.1, 5.2, ok=False, attempt=attempt)
    build.commit(offset + 1, 6.0)
    result = judged(build, "dead_letters")

    assert (result.valid, result.parts) == (False, {"not in the topic": 0, "never sent": 1})


def test_a_complete_dead_letter_passes() -> None:
    build = flowing()
    event = build.event(5.0)
    build.send(event)
    build.deliver(event, 5.1)
    for attempt in (1, 2):
        build.try_(event, 5.1, 5.2, ok=False, attempt=attempt)
    build.dead_letter(event, 5.2, 5.3)

    assert judged(build, "dead_letters").valid


def test_an_effect_of_an_event_that_is_not_in_the_log_upsets_the_balance() -> None:
    for changes, valid in (({}, False), (ACKS_1, True)):
        build = flowing(changes)
        event = build.event(5.0)
        build.send(event, logged=False, offset=9)
        build.handle(event, 5.1, 5.2, offset=9)
        result = judged(build, "conservation")

        assert (result.valid, result.count) == (valid, 1)
        assert result.examples[0].endswith("it is never in the log and ended as effect")


# ---- reading -------------------------------------------------------------------------------------------------------


def test_an_event_that_was_passed_over_unread_is_found() -> None:
    """Offset 1 was never delivered, although offset 2 was; offset 3 was just not reached."""
    build = Build()
    for number in range(4):
        build.send(build.event(float(number)))
    build.handle(0, 5.0, 5.1)
    build.handle(2, 5.2, 5.3)
    result = judged(build, "unseen")

    assert (result.valid, result.count) == (False, 1)
    assert result.parts == {"passed over": 1, "not reached": 1}
    assert result.note == "1 more had not been reached when the drain ended"


def test_a_group_that_commits_beyond_what_it_read_has_passed_it_over() -> None:
    """auto.offset.reset=latest looks like this: committed at the end, and nothing delivered."""
    build = Build()
    build.send(build.event(1.0))
    build.commit(1, 3.0)

    assert judged(build, "unseen").parts == {"passed over": 1, "not reached": 0}


def test_a_second_delivery_without_any_interruption_is_not_allowed() -> None:
    build = flowing()
    build.deliver(1, 6.0, member=2)
    result = judged(build, "duplicate_deliveries")

    assert (result.valid, result.count, result.parts) == (False, 1, {"log": 0, "redelivered": 1})
    assert result.examples[0].endswith("2 deliveries at 1 offset(s)")


@pytest.mark.parametrize("why", ["a fault", "a rebalance"])
def test_redelivery_after_an_interruption_is_at_least_once(why: str) -> None:
    build = flowing(CRASH if why == "a fault" else {})
    if why == "a fault":
        build.fault(2.0, 4.0)
    else:
        build.incident(5.5, "assignment", "work/2", "orders/0")
    build.deliver(1, 6.0, member=2)
    result = judged(build, "duplicate_deliveries")

    assert (result.valid, result.count) == (True, 1)
    assert (
        result.allowed
        == "work reads again what it had not committed (commit: after_batch) when a member ends or partitions move"
    )


def test_the_first_assignment_interrupts_nothing() -> None:
    build = flowing()
    build.incident(0.0, "assignment", "work/1", "orders/0 orders/1")
    build.deliver(1, 6.0, member=2)

    assert not judged(build, "duplicate_deliveries").valid


def test_a_second_record_is_allowed_only_without_idempotence() -> None:
    for changes, valid in (({}, False), (ACKS_1, True)):
        build = flowing(changes)
        build.append("orders", 0, 3)
        build.deliver(3, 6.0, offset=4)
        result = judged(build, "duplicate_deliveries")

        assert (result.valid, result.parts) == (valid, {"log": 1, "redelivered": 0})


def test_appends_in_another_order_than_sends_are_found() -> None:
    """Event 0 was sent first and appended second; without idempotence a repeated request may be overtaken."""
    for changes, valid in (({}, False), (ACKS_1, True)):
        build = Build(changes)
        for number, offset in ((0, 1), (1, 0)):
            build.send(build.event(float(number)), offset=offset)
        result = judged(build, "nonmonotonic_sends")

        assert (result.valid, result.count) == (valid, 1)
        assert "was appended at orders/0 offset 0, after event 0 at offset 1 was sent" in result.examples[0]


def test_what_is_sent_at_one_instant_has_no_order() -> None:
    """A late event goes out with one that is on time: whichever is appended first, nobody sent the other before it."""
    for offsets in ((0, 1), (1, 0)):
        build = Build()
        late, punctual = build.event(1.0), build.event(1.15)
        for event, offset in zip((late, punctual), offsets, strict=True):
            build.send(event, 1.15, offset=offset)

        assert judged(build, "nonmonotonic_sends").valid


def test_other_processes_and_partitions_may_interleave() -> None:
    build = Build()
    for process, partition, offset in ((1, 0, 1), (2, 0, 0), (1, 1, 0)):
        build.send(build.event(1.0, process=process, partition=partition), offset=offset)

    assert judged(build, "nonmonotonic_sends").valid


def test_a_poll_that_goes_back_is_found() -> None:
    """The member reads offset 3, then 1 again, and nothing moved in between."""
    build = flowing()
    build.deliver(1, 6.0)
    result = judged(build, "nonmonotonic_polls")

    assert (result.valid, result.count) == (False, 1)
    assert result.examples == ["work/1 read orders/0 offset 3 at 3.050000 s, then offset 1 (event 1) at 6.000000 s"]


Change = Callable[[Build], None]


def new_epoch(build: Build) -> None:
    build.deliver(1, 6.0, epoch=2)


def other_member(build: Build) -> None:
    build.deliver(3, 5.0, member=2)
    build.deliver(1, 6.0)


def rebalanced(build: Build) -> None:
    build.incident(5.0, "revocation", "work/1", "orders/0")
    build.deliver(1, 6.0)


def test_an_aborted_transaction_may_be_read_again() -> None:
    """The same, where members read a batch again whose transaction was aborted."""
    build = flowing({"groups": {"work": {"commit": "transaction"}}})
    build.deliver(1, 6.0)
    result = judged(build, "nonmonotonic_polls")

    assert (result.valid, result.count) == (True, 1)
    assert "transaction was aborted" in result.allowed


@pytest.mark.parametrize("excuse", [new_epoch, other_member, rebalanced])
def test_a_rebalance_excuses_going_back(excuse: Change) -> None:
    build = flowing()
    excuse(build)

    assert judged(build, "nonmonotonic_polls").valid


def test_a_rebalance_of_another_group_excuses_nothing() -> None:
    build = flowing(TWO_GROUPS)
    build.incident(5.0, "revocation", "audit/1", "orders/0")
    build.deliver(1, 6.0)

    assert not judged(build, "nonmonotonic_polls").valid


def test_a_poll_that_skips_records_is_found() -> None:
    """After offset 0 comes offset 3: two records of the log were not delivered."""
    build = Build()
    for number in range(4):
        build.send(build.event(float(number)))
    build.deliver(0, 5.0)
    build.deliver(3, 6.0)
    result = judged(build, "skipped_polls")

    assert (result.valid, result.count) == (False, 2)
    assert result.examples[0].endswith("2 record(s) between them were not delivered")


def test_events_of_one_poll_are_in_the_order_of_their_offsets() -> None:
    """All of a poll are delivered at one instant; the earlier event may have the later offset."""
    build = Build()
    for offset in (2, 1, 0):
        build.send(build.event(1.0, process=1 + offset % 2), offset=offset)
    for event in range(3):
        build.deliver(event, 5.0)
    checks = check(build.run())

    assert checks["skipped_polls"].valid
    assert checks["nonmonotonic_polls"].valid


def test_skipping_aborted_records_is_right() -> None:
    build = Build()
    build.send(build.event(1.0))
    build.append("orders", 0, build.event(2.0), aborted=True)
    last = build.event(3.0)
    build.send(last)
    build.deliver(0, 4.0)
    build.deliver(last, 4.1)

    assert judged(build, "skipped_polls").valid


def test_a_rebalance_excuses_a_skip() -> None:
    build = Build()
    for number in range(4):
        build.send(build.event(float(number)))
    build.deliver(0, 5.0)
    build.incident(5.5, "assignment", "work/1", "orders/0")
    build.deliver(3, 6.0)

    assert judged(build, "skipped_polls").valid


def test_a_delivery_of_an_aborted_record_is_found() -> None:
    build = Build()
    event = build.event(1.0)
    build.append("orders", 0, event, aborted=True)
    build.deliver(event, 2.0)
    result = judged(build, "aborted_reads")

    assert (result.valid, result.count) == (False, 1)
    assert "was aborted, and delivered to work/1 at 2.000000 s" in result.examples[0]


def test_who_reads_uncommitted_records_may_be_given_what_is_aborted() -> None:
    build = Build({"groups": {"work": {"settings": {"isolation.level": "read_uncommitted"}}}})
    event = build.event(1.0)
    build.append("orders", 0, event, aborted=True)
    build.deliver(event, 2.0)

    result = judged(build, "aborted_reads")

    assert (result.valid, result.count) == (True, 1)
    assert result.allowed == "work has isolation.level read_uncommitted: it handles what is aborted later"


# ---- effects -------------------------------------------------------------------------------------------------------


def test_a_second_effect_is_found() -> None:
    build = flowing()
    build.handle(1, 6.0, 6.1, member=2)
    result = judged(build, "duplicate_effects")

    assert (result.valid, result.count) == (False, 1)
    assert result.examples[0].endswith("2 effects")


@pytest.mark.parametrize(("mode", "valid"), [("after_batch", True), ("before_work", False)])
def test_effects_repeat_after_a_crash_where_commits_follow_the_work(mode: str, valid: bool) -> None:
    """At-least-once repeats; committed before the work, nothing may take effect twice."""
    build = flowing(CRASH | with_commit(mode))
    build.fault(2.0, 4.0)
    build.handle(1, 6.0, 6.1, member=2)

    assert judged(build, "duplicate_effects").valid is valid


def test_an_event_handled_by_effect_and_dead_letter_is_not_processed_once() -> None:
    build = flowing()
    build.deliver(1, 6.0, member=2)
    build.dead_letter(1, 6.1, 6.2, member=2)
    result = judged(build, "processed_once")

    assert (result.valid, result.parts) == (False, {"more than once": 1, "passed over": 0})
    assert result.examples[0].endswith("handled 2 times")


@pytest.mark.parametrize(("mode", "valid"), [("after_batch", False), ("before_work", True), ("auto", True)])
def test_an_event_that_was_passed_is_found(mode: str, valid: bool) -> None:
    """Delivered, not handled, and committed beyond: at-most-once modes allow it and say so."""
    build = flowing(with_commit(mode))
    event = build.event(5.0)
    offset = build.send(event)
    build.deliver(event, 5.1)
    build.commit(offset + 1, 5.2)
    checks = check(build.run())

    assert (checks["passed"].valid, checks["passed"].count, checks["passed"].parts) == (valid, 1, {"for good": 1})
    assert (checks["processed_once"].valid, checks["processed_once"].parts) == (
        valid,
        {"more than once": 0, "passed over": 1},
    )
    assert (mode in checks["passed"].allowed) is valid


@pytest.mark.parametrize(
    ("changes", "at", "why"),
    [
        ({"topics": {"orders": {"settings": {"retention.ms": 3000}}}}, 7.9, ""),
        ({"topics": {"orders": {"settings": {"retention.ms": 3000}}}}, 8.1, "orders keeps records for 3s only (retention.ms)"),
        ({"topics": {"orders": {"settings": {"retention.bytes": 9999}}}}, 5.2, "orders deletes by size, or is compacted (retention.bytes, cleanup.policy)"),
        ({"faults": [{"fault": "delete_records", "topic": "orders", "at": "6s"}]}, 5.9, ""),
        ({"faults": [{"fault": "delete_records", "topic": "orders", "at": "6s"}]}, 6.1, "records of orders are deleted (fault delete_records)"),
        ({"faults": [{"fault": "retention", "topic": "orders", "at": "1s", "for": "8s", "to": "2s"}]}, 7.1, "orders keeps records for 2s only (retention.ms)"),
        ({}, 8.1, ""),
    ],
)  # fmt: skip
def test_what_was_deleted_before_its_group_came_back_is_passed_over_by_right(
    changes: dict[str, Any], at: float, why: str
) -> None:
    """Sent at 5 s, handed over at 5.1 s to a member that left with it, and gone when another one reads on; a commit before that was wrong."""
    build = flowing(changes)
    event = build.event(5.0, partition=1)
    build.send(event, logged=False, offset=0)
    build.deliver(event, 5.1, offset=0)
    build.firsts["orders", 1] = 1
    if changes.get("faults"):
        build.fault(6.0 if "delete" in str(changes) else 1.0, 9.0)
    build.commit(1, at, partition=1)
    checks = check(build.run())

    for name in ("passed", "processed_once"):
        assert (checks[name].count, checks[name].valid) == (1, bool(why))
        assert checks[name].allowed == why


def test_a_commit_beyond_unfinished_work_is_found_although_it_went_well() -> None:
    """Committed at 5.2 s, finished at 6 s: a crash in between would have lost it."""
    build = flowing()
    event = build.event(5.0)
    offset = build.send(event)
    build.handle(event, 5.1, 6.0)
    build.commit(offset + 1, 5.2)
    result = judged(build, "passed")

    assert (result.valid, result.count, result.parts) == (False, 1, {"for good": 0})
    assert result.examples[0].endswith("committed beyond at 5.200000 s")


def test_effects_out_of_a_keys_order_are_found() -> None:
    for changes, valid in (({}, False), (ACKS_1, True)):
        build = Build(changes)
        for at, effect in ((1.0, 4.0), (2.0, 3.0)):
            event = build.event(at, key=5)
            build.send(event)
            build.handle(event, effect, effect)
        result = judged(build, "key_order")

        assert (result.valid, result.count) == (valid, 1)
        assert result.examples[0].startswith("event 0 (shop/1, key shop-5, intended 1.000000 s) in work")


def test_what_a_group_emits_is_in_the_order_in_which_it_works() -> None:
    """Who retries by topic handles a failed event late, perhaps in another member, and emits what follows from it behind later ones."""
    retries: dict[str, Any] = {"retry": {"attempts": 2, "where": "topic"}}
    for failures, why in ((retries, "work retries by topic"), ({}, "")):
        emits = {"emits": {"topic": "orders.dlq", "settings": {"enable.idempotence": True}}, "failures": failures}
        scenario = scenario_with({"groups": {"work": emits}})
        books: Any = SimpleNamespace(scenario=scenario, plan=SimpleNamespace(producers=("shop", "work.emits[0]")))
        shop, emitted = Allowed(books).reorders_keys

        assert shop == ""
        assert emitted.startswith(why)
        assert bool(emitted) is bool(why)


IDEMPOTENT = {"enable.idempotence": True, "acks": "all"}


ALL_SENT = ("shop", "work.emits[0]", "audit.emits[0]")


def repeated(
    group: Mapping[str, Any], *, idempotent: bool = True, faults: bool = True, names: tuple[str, ...] = ALL_SENT
) -> tuple[str, ...]:
    """Why shop, what work emits for its events, and what audit emits for those in turn, may be appended twice."""
    shop = {"settings": {"acks": "all", "enable.idempotence": idempotent}}
    emits = {"emits": {"topic": "mails", "settings": IDEMPOTENT}}
    audit = {"topics": ["mails"], "work": "1ms", "emits": {"topic": "notes", "settings": IDEMPOTENT}}
    changes = {
        "topics": {"mails": {}, "notes": {}},
        "producers": {"shop": shop},
        "groups": {"work": emits | dict(group), "audit": audit | {"commit": "before_work"}},
    }
    scenario = scenario_with(changes | (CRASH if faults else {}))
    plan = SimpleNamespace(producers=names, faults=scenario.faults, actions=())
    run = SimpleNamespace(faults=(), incidents=())
    books: Any = SimpleNamespace(scenario=scenario, plan=plan, run=run, groups=("work", "audit"))
    return Allowed(books).repeats_sends


def test_who_handles_an_event_again_emits_again() -> None:
    """At-least-once emits twice after a crash, and so does who reads those copies; what remembers, commits before or in a transaction does not."""
    shop, mails, notes = repeated({"commit": "after_event"})

    assert shop == ""
    assert mails.startswith("work emits again what follows from an event: work reads again what it had not committed")
    assert notes == f"audit emits for each copy of an event: {mails}"
    assert repeated({"commit": "after_event"}, faults=False) == ("", "", "")
    assert repeated({"commit": "before_work"}) == ("", "", "")
    assert repeated({"commit": "transaction"}) == ("", "", "")
    assert repeated({"commit": "after_event", "dedupe": {"window": "1m", "store": "shared"}}) == ("", "", "")


def test_who_is_given_copies_of_events_emits_for_each() -> None:
    """A producer that is not idempotent may append twice; whoever does not remember what it handled follows, all along the chain."""
    shop, mails, notes = repeated({"commit": "before_work"}, idempotent=False, faults=False)

    assert mails == f"work emits for each copy of an event: {shop}"
    assert notes == f"audit emits for each copy of an event: {mails}"
    memory = {"commit": "before_work", "dedupe": {"window": "1m", "store": "shared"}}
    assert repeated(memory, idempotent=False, faults=False)[1:] == ("", "")


def test_where_nothing_was_emitted_only_producers_repeat_their_events() -> None:
    """A run of which no effect was recorded has no events of its emits."""
    (shop,) = repeated({"commit": "after_event"}, idempotent=False, names=("shop",))

    assert shop == repeated({"commit": "after_event"}, idempotent=False)[0] != ""


def test_members_of_a_share_group_take_records_in_any_order() -> None:
    """What would be a poll that went back is none where members take records side by side."""
    for share, valid in ((False, False), (True, True)):
        build = Build({"groups": {"work": {"client": "java", "share_group": share}}})
        for at in (1.0, 2.0):
            build.send(build.event(at))
        for event, at in ((1, 3.0), (0, 3.5)):
            build.handle(event, at, at + 0.1)
        found = check(build.run())

        assert found["nonmonotonic_polls"].valid is valid


# ---- results -------------------------------------------------------------------------------------------------------


def test_what_is_not_allowed_is_shown_first() -> None:
    """One group may pass events and the other may not: the check fails, and its first example is the other's."""
    build = Build({"groups": {"work": {"commit": "auto"}, "audit": {"topics": ["orders"], "work": "1ms"}}})
    build.send(build.event(1.0))
    for group in ("work", "audit"):
        build.deliver(0, 1.1, group=group)
        build.commit(1, 2.0, group=group)
    result = judged(build, "passed")

    assert (result.valid, result.count) == (False, 2)
    assert " in audit: " in result.examples[0]


def test_examples_are_few() -> None:
    build = Build()
    for number in range(20):
        build.send(build.event(float(number) / 10), logged=False, offset=number)
    result = judged(build, "lost")

    assert (result.count, len(result.examples)) == (20, 5)


def test_results_fit_into_json() -> None:
    build = flowing()
    build.send(build.event(5.0), logged=False, offset=9)

    assert judged(build, "lost").to_json().keys() == {"valid", "count", "examples", "parts"}


def test_a_foreign_record_that_was_read_disturbs_no_check() -> None:
    """A record of someone else, delivered: unexpected, and nothing else is wrong."""
    run: RunData = clean_run()
    stranger = run.operations[run.operations["kind"] == Kind.delivery][:1].copy()
    stranger["event_id"], stranger["offset"] = -1, 99
    record = run.log[:1].copy()
    record["event_id"], record["topic"], record["offset"] = -1, 1, 0
    extents = tuple(replace(e, end=1) if e.topic == "orders.dlq" else e for e in run.extents)
    rows, log = np.concatenate([run.operations, stranger]), np.concatenate([run.log, record])
    changed = replace(run, operations=rows, log=log, extents=extents)

    assert [name for name, result in check(changed).items() if not result.valid] == ["unexpected"]
