"""OpenSLO in and out: the same objectives both ways, and what a scenario cannot say is refused."""

import pytest

from reports.openslo import openslo_text, parse_openslo
from runs import scenario_with
from scenarios.errors import ScenarioError
from scenarios.schema import Objective

OBJECTIVES = {
    "fast": {"indicator": "latency", "of": "work", "below": "500ms", "target": "99.5%", "period": "30d"},
    "delivered": {"indicator": "delivery", "within": "60s", "target": "99.95%", "period": "7d"},
    "up": {"indicator": "availability", "of": "orders", "target": "99%", "period": "12h"},
}

FILE = """# our objectives
apiVersion: openslo/v1
kind: Service
metadata: {name: orders}
spec: {}
---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: fast
  annotations:
    eventdrill/indicator: latency
    eventdrill/of: work
    eventdrill/below: 500ms
spec:
  service: orders
  budgetingMethod: Occurrences
  timeWindow:
    - duration: 4w
      isRolling: true
  objectives:
    - target: 0.99
"""


def test_objectives_read_back_as_they_were_written():
    objectives = scenario_with({"objectives": OBJECTIVES}).objectives

    assert parse_openslo(openslo_text(objectives, "by-hand"), "again.yaml") == dict(objectives)


def test_a_files_slo_means_what_a_scenarios_objective_means():
    wanted = Objective.model_validate(
        {"indicator": "latency", "of": "work", "below": "500ms", "target": "99%", "period": "28d"}
    )

    assert parse_openslo(FILE, "slo.yaml") == {"fast": wanted}


def test_percent_and_several_targets():
    several = FILE.replace("    - target: 0.99\n", "    - targetPercent: 99\n    - target: 0.9\n")

    assert {name: one.target for name, one in parse_openslo(several, "slo.yaml").items()} == {
        "fast-1": 0.99,
        "fast-2": 0.9,
    }


def test_other_tools_find_the_queries_of_the_counters():
    text = openslo_text(scenario_with({"objectives": OBJECTIVES}).objectives, "by-hand")

    assert 'objective_bad_events_total{objective="fast"}' in text
    assert text.count("kind: SLO") == 3


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Occurrences", "Timeslices", "slo.yaml:17: spec.budgetingMethod is Timeslices; an objective counts Occurrences"),
        ("isRolling: true", "isRolling: false", "slo.yaml:18: spec.timeWindow is a calendar's"),
        ("duration: 4w", "duration: 1M", "has the duration 1M; it is written like 30d"),
        ("    eventdrill/indicator: latency\n", "", "say nothing of eventdrill/indicator; a query alone cannot be asked of a run"),
        ("eventdrill/of", "eventdrill/off", "hold eventdrill/off; did you mean 'of'?"),
        ("below: 500ms", "below: 500", "below"),
        ("- target: 0.99", "- {op: lt, value: 0.5, target: 0.99}", "has a threshold in op and value; write it as the annotation"),
        ("- target: 0.99", "- {timeSliceTarget: 0.9}", "needs one of target (0.99) and targetPercent (99)"),
        ("openslo/v1\nkind: SLO", "openslo/v2\nkind: SLO", "apiVersion"),
        ("kind: SLO", "kind: SLI", "holds no document of kind SLO"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused(old: str, new: str, said: str):
    with pytest.raises(ScenarioError) as caught:
        parse_openslo(FILE.replace(old, new), "slo.yaml")
    assert said in str(caught.value)
