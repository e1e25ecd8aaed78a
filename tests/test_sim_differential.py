"""The simulator against the plain model, event by event, over random scenarios; EVENTDRILL_DIFFERENTIAL=10000 compares so many.

Reproduce one case with `python tests/test_sim_differential.py NUMBER`. Odd ones are simulated in arrays that have to grow.
"""

import json
import os
import sys
from collections import Counter
from dataclasses import fields
from functools import cache, lru_cache
from pathlib import Path

import pytest

from plain_model import simulate_plainly
from plain_rules import Rules
from random_scenarios import Case, random_case
from run_comparison import first_difference
from rundata.tables import RunData
from sim.engine import simulate
from tight_arrays import simulate_in_tight_arrays

CASES = int(os.environ.get("EVENTDRILL_DIFFERENTIAL", "300"))

OF_PRODUCERS_AND_BROKERS = {
    "batch full by bytes": 20, "batch full by events": 20, "in-flight limit": 10, "in-flight limit of a connection": 15,
    "request timeout": 8, "acks timeout": 8, "delivery timeout": 20, "one at a time after an error": 2,
    "connection queue": 50, "visible after the one before": 50, "halted": 50, "no leader left": 20, "broker crash": 50,
    "broker stop": 15, "broker back in sync": 50, "preferred leader": 10, "broker pause": 10, "disk stall": 5,
    "brokers parted": 10, "in-sync set shrinks": 4, "clients cut off, reset": 4,
    "clients cut off, silent": 15, "no requests get through": 5, "no answers get through": 5, "answer held": 2,
    "refused after the append": 2,
    "isolated, both": 2, "isolated, heartbeat": 1, "leader move": 4, "leader moved back": 0, "producer_crash": 15,
    "producer_pause": 10, "put off": 10, "lost with its producer": 6, "sent a second time": 4, "second time left out": 0,
    "too large": 10, "batch too large for its topic": 5, "broker pause, fenced": 18, "rack": 6, "appended in vain": 4, "refused by a former leader": 15,
    "blocked": 5, "refused after a wait": 3, "refused at once": 20, "request full": 3, "went along": 8,
    "broker fault without effect": 3, "resent": 10, "resent and known": 2, "not enough replicas": 10,
    "segment rolled": 10, "segment expired": 10, "segment beyond retention.bytes": 5, "deleted by hand": 10, "records deleted": 20,
    "throttled": 4, "eligible replica leads": 2, "slow link to clients": 10, "narrow link": 5, "slow follower": 4,
    "controller lost": 20, "separate controller lost": 15, "waits for a controller": 5, "session of a broker began anew": 10,
    "no controller to elect": 5, "controller resigned": 5, "early followers": 4, "takeover": 4, "lost with acks=0": 1, "partition chosen": 30,
    "new leader without a backoff": 2, "waits for a core": 20, "went with another's followers": 10, "lingers on": 30, "asked after a rest": 60,
}  # fmt: skip
OF_GROUPS = {
    "coordinator down": 20, "collected all": 30, "collect timed out": 50, "most per poll": 20, "delivered again": 30,
    "failed try": 50, "failing work": 5, "slow work": 5, "then dead_letter": 30, "then skip": 30, "then stop": 20,
    "dead letter resent": 1, "commit auto": 30, "commit after_event": 30, "commit after_batch": 30, "commit before_work": 30,
    "commit every": 30, "member_crash classic": 20, "member_crash consumer": 20, "member_leave classic": 10,
    "member_leave consumer": 8, "partition given up": 10, "drain was over": 30, "evicted classic": 10,
    "evicted consumer": 20, "commit fenced": 8, "commit refused": 15, "assignor range": 30, "assignor roundrobin": 15,
    "assignor sticky": 15, "assignor cooperative-sticky": 40, "second round": 2, "session began anew": 3,
    "heartbeat waits for the coordinator": 5, "rebalance waits for the coordinator": 1, "static member back classic": 2,
    "static member back consumer": 2, "static member catches up": 1, "instance id not released": 1, "emitted": 50, "waits for emitted events": 30,
    "emitted and lost": 2, "handed on": 20, "copy of a new partition": 2, "copy not due": 10, "passed over, shared store": 5, "passed over, member store": 2,
    "member_pause classic": 8, "member_pause consumer": 8, "poll_stall classic": 4, "poll_stall consumer": 4, "hung": 30,
    "session of the hung": 5, "offset reset to earliest": 3, "offset reset to latest": 3, "cannot read on": 2, "died of its client's error": 1,
    "no room in hand": 10, "waits for its partition": 5, "waits for its key": 2,
    "finished behind another": 8, "waits for others to join": 8, "committed and in hand at the end": 4,
}  # fmt: skip
OF_DEPENDENCIES = {
    "dependency down": 5, "dependency slow": 10, "call in line": 12, "call waits for its token": 10, "call refused": 12,
    "call failed": 25, "call given up": 12, "breaker opened": 15, "breaker open, fail": 6, "breaker open, wait": 6,
}  # fmt: skip
OF_PEOPLE = {
    "action scale": 30, "action reset_offsets": 15, "action deploy": 20, "action redrive": 10, "scaled up": 25, "scaled down": 20,
    "offset set back": 5, "offset passed": 5, "group not empty": 5, "canary passed": 12, "rolled back": 2, "version fails": 8,
    "action meets a fault": 8, "redriven": 5, "redriven again": 0, "came back too often": 1, "then crash": 25, "died again": 20,
    "autoscaled up": 5, "autoscaled down": 5, "autoscaler waits": 5,
    "died after a long time": 10, "stored in an outbox": 25,
}  # fmt: skip
OF_FETCHES = {
    "fetch waits for the application": 9, "fetch of other partitions": 7, "auto commit waits for the call": 6, "answer full": 40,
    "auto commit waits for the one before": 3,
    "fetch waited for more": 30, "fetch waited in vain": 40,
    "commit of what is collected": 8, "leaves with what it collected done": 1,
}  # fmt: skip
OF_TRANSACTIONS = {
    "commit transaction": 50, "transaction committed": 50, "transaction aborted": 17, "transaction refused": 10, "batch read again": 2,
    "transaction timed out": 3, "aborted by its successor": 3, "held back by an open transaction": 22, "aborted record passed over": 3,
    "came after its transaction": 2,
    "transactions' coordinator down": 5, "open transaction without a coordinator": 1, "producer's transaction": 30,
    "waits for a producer's commit": 25, "producer's transaction failed": 3, "producer's coordinator down": 2, "producer died in a transaction": 2,
    "transaction broken by a refusal": 2, "refused in a broken transaction": 2, "batch out of order": 2,
}  # fmt: skip
OF_SHARE_GROUPS = {
    "lock over": 1, "delivered too often": 8, "released with its member": 8, "released with its leader": 6, "released by its handler": 3,
    "acknowledged too late": 3, "partition shared": 5, "deleted from a share group": 1, "compacted in a share group": 1,
    "known before it was there": 2, "deliveries forgotten": 10,
}  # fmt: skip
OF_LOGS = {
    "unclean election": 15, "lost with its host": 2, "cut where records were deleted": 1,
    "visible records lost": 10, "compacted": 20, "too little to compact": 10, "too young to compact": 10,
    "compaction is overdue": 5, "aborted record compacted": 1, "action replay": 30, "replayed": 30, "replay keeps its rate": 10,
    "producer's clock wrong": 20, "broker's clock wrong": 10,
    "replay stopped": 3, "replay of what is deleted": 0, "replay waits for the one before": 5, "fetch throttled": 10,
}  # fmt: skip
OF_TOPICS = {
    "reassigned": 20, "reassigned away from its leader": 5, "reassignment waits": 10, "reassignment replaced": 1, "partitions added": 10,
    "process hears of new partitions": 8, "new partitions read classic": 3, "new partitions read consumer": 3,
    "member hears of new partitions": 2, "passed over in a new partition": 1,
    "client hears of new partitions": 2, "letters go to new partitions": 1,
    "pool waits for its commit": 3, "one of several workers stops": 1,
}  # fmt: skip
FIRED_IN_AT_LEAST = (
    OF_PRODUCERS_AND_BROKERS
    | OF_GROUPS
    | OF_DEPENDENCIES
    | OF_PEOPLE
    | OF_FETCHES
    | OF_TRANSACTIONS
    | OF_SHARE_GROUPS
    | OF_LOGS
    | OF_TOPICS
)
"""In how many of 300 scenarios each rule must have come into play."""

OPEN: dict[int, str] = {}
"""Cases in which the two still differ."""
ONCE_DIFFERED = (1739, 3213, 4064, 9793)
"""Cases that showed a mistake when ten thousand were compared."""
EVERY_RULE = Rules()
MUTATIONS = tuple(rule.name for rule in fields(Rules))
NOTICED_BY: dict[str, int] = json.loads(Path(__file__).with_name("noticed_by.json").read_text())
"""A random scenario for each rule that tells the simulator from a plain model without it; any other one will do, too."""


@lru_cache(maxsize=400)
def simulated(number: int) -> tuple[Case, RunData]:
    """Return a case with its simulated run, which each mutation is compared with."""
    case = random_case(number)
    return case, (simulate_in_tight_arrays if number % 2 else simulate)(case.plan, case.profile)


def compare(number: int, rules: Rules = EVERY_RULE) -> tuple[str | None, Counter[str]]:
    """Return the first difference between simulator and plain model, and which rules fired."""
    case, run = simulated(number)
    plain, fired = simulate_plainly(case.plan, case.profile, rules=rules)
    return first_difference(plain, run), fired


@pytest.mark.timeout(24 * 3600)
def test_the_simulator_agrees_with_the_plain_model_event_by_event() -> None:
    """Each random scenario gives equal rows, log, commits, incidents and end; and over all of them each rule matters."""
    fired_in: Counter[str] = Counter()
    for number in sorted({*range(CASES), *ONCE_DIFFERED} - OPEN.keys()):
        difference, fired = compare(number)
        assert difference is None, (
            f"{difference}\n{simulated(number)[0]}\nreproduce: python tests/test_sim_differential.py {number}"
        )
        fired_in.update(fired.keys())

    assert {
        rule: fired_in[rule] for rule, least in FIRED_IN_AT_LEAST.items() if fired_in[rule] < least * CASES // 300
    } == {}


def notices(number: int, without: Rules) -> bool:
    """Whether a case tells the simulator from a plain model without some rule, and not from the whole one."""
    return agrees(number) and compare(number, without)[0] is not None


@cache
def agrees(number: int) -> bool:
    """Whether simulator and plain model say the same of a case."""
    return compare(number)[0] is None


@pytest.mark.timeout(24 * 3600)
@pytest.mark.parametrize("rule", MUTATIONS)
def test_a_rule_left_out_of_the_plain_model_is_noticed(rule: str) -> None:
    """At least one scenario tells the simulator from a plain model without the rule: that of `find_noticing.py`, or another one."""
    without = Rules(**{rule: False})
    known = NOTICED_BY.get(rule)

    assert (known is not None and notices(known, without)) or any(notices(number, without) for number in range(CASES))


if __name__ == "__main__":
    chosen = int(sys.argv[1])
    print(simulated(chosen)[0], compare(chosen)[0] or "no difference", sep="\n")
