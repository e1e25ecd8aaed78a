"""How long rules take: 60 rules over 48 hours against promtool on the same series, a month of series, and a month that is simulated first."""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import certified
from eventdrill.workflows.alerts import Months, Scraped, from_scenario, judge_all, names_read, simulations
from promtool import ask, find_promtool
from reports.alerts.backtest import Case, backtest, judge
from reports.alerts.defaults import default_rules
from reports.alerts.rules import RuleFile, RuleGroup, parse_rules
from reports.alerts.series import Series, Store
from reports.alerts.states import evaluate_rules
from reports.alerts.truth import Trouble
from scenarios.files import load_scenario

MINUTE_MS, DAY_MS = 60_000, 86_400_000
TIMES = 3


def best(work: Callable[[], object], times: int = TIMES) -> float:
    """Return the shortest of several goes."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took)


def two_days() -> None:
    file, series = certified.rule_file(), certified.input_series()
    rules = sum(1 for _ in file.rules)
    ours = best(lambda: evaluate_rules(file, Store(series), 0, certified.LAST_MS))
    print(f"{rules} rules, {len(series)} series, {certified.HOURS} h, evaluated each minute: {ours:.2f} s")
    program = find_promtool()
    if program is None:
        print("promtool: not here")
        return
    asked, text = [("up", 60)], certified.RULES_FILE.read_text()
    theirs = best(lambda: ask(program, text, series, asked, step_ms=certified.STEP_MS, last_ms=certified.LAST_MS), 1)
    # promtool evaluates until the last question; one early question shows what reading the file alone takes.
    all_of_it = [("up", certified.LAST_MS // 1000)]
    whole = best(lambda: ask(program, text, series, all_of_it, step_ms=certified.STEP_MS, last_ms=certified.LAST_MS), 1)
    print(
        f"promtool test rules: {whole:.2f} s, of which {theirs:.2f} s are reading; ours takes {ours / (whole - theirs):.3f} of the rest"
    )


def month() -> None:
    """Ten burn-rate rules over 30 days of 15 s scrapes of 12 pairs of counters, with twenty faults of half an hour."""
    rng = np.random.default_rng(1)
    times = np.arange(0, 30 * DAY_MS + 1, 15_000)
    begins = np.sort(rng.choice(30 * 24, 20, replace=False)) * 3_600_000
    bad = sum(((times >= begin) & (times < begin + 30 * MINUTE_MS)).astype(np.float64) for begin in begins.tolist())
    series = []
    for number in range(12):
        labels = {"instance": str(number)}
        series.append(
            Series.of("events_total", labels, times, np.cumsum(rng.poisson(300, len(times)).astype(np.float64)))
        )
        series.append(
            Series.of("bad_events_total", labels, times, np.cumsum(rng.poisson(1 + 60 * bad).astype(np.float64)))
        )
    text = ", ".join(
        f"{{alert: R{n}, expr: 'sum(rate(bad_events_total[{w}])) / sum(rate(events_total[{w}])) > 0.0{n + 1}', labels: {{severity: page}}}}"
        for n, w in enumerate(("5m", "10m", "30m", "1h", "2h", "6h", "12h", "1d", "2d"))
    )
    recorded = "{record: share, expr: 'sum by (instance) (rate(bad_events_total[5m]))'}"
    mean = "{alert: M, expr: 'avg_over_time(share[6h]) > 1'}"
    file = parse_rules("groups: [{name: g, rules: [" + ", ".join([text, recorded, mean]) + "]}]", "bench")
    troubles = tuple(Trouble(f"t{b}", b, b + 30 * MINUTE_MS, "page", 0.05) for b in begins.tolist())
    case = Case("month", Store(series), troubles, 30 * DAY_MS)
    took = best(lambda: backtest(file, [judge(file, case)]), 2)
    print(f"back-test of a month, 20 faults, {len(file.alerts)} alerts, {len(series)} series each 15 s: {took:.2f} s")


SHOP = """\
scenario: shop
seed: 1
duration: 1h
warm_up: 10s
brokers: {kind: kafka, nodes: 3}
topics:
  orders: {partitions: 6, replication: 3, settings: {min.insync.replicas: 2}}
  orders.dlq: {partitions: 1, replication: 3}
producers:
  shop: {topic: orders, settings: {acks: all, enable.idempotence: true, linger.ms: 5}, arrivals: 20/s, key: {uniform: 2000}}
groups:
  fulfilment:
    topics: [orders]
    members: 3
    work: {lognormal: {mean: 30ms, cv: 0.5}}
    commit: {every: 1s}
    failures: {retry: {attempts: 2, backoff: 20ms}, then: dead_letter, dead_letter: orders.dlq}
faults:
  - {fault: slow_work, group: fulfilment, factor: 6, at: 5m, for: 10m}
  - {fault: broker_crash, broker: leader of orders/0, at: 25m, for: 3m}
  - {fault: member_crash, member: fulfilment/1, at: 35m, for: 5m}
  - {fault: failing_work, group: fulfilment, share: 30%, at: 50m, for: 4m}
objectives:
  fast: {indicator: latency, of: fulfilment, below: 500ms, target: 99%, period: 30d}
  delivered: {indicator: delivery, of: fulfilment, within: 60s, target: 99.9%, period: 30d}
"""


def simulated_month() -> None:
    """A month of a scenario, with twenty of its faults, and its own rules: what `eventdrill alerts backtest` does, simulation included."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "shop.yaml")
        path.write_text(SHOP)
        rules = default_rules(load_scenario(path).scenario)
        ten = rules.model_copy(update={"groups": _first_alerts(rules, 10)})
        scraped, began = Scraped(page_from=0.005), time.perf_counter()
        material = from_scenario(str(path), scraped, Months(), names_read(ten))
        made = time.perf_counter()
        scores, _ = judge_all(ten, material, scraped)
        judged = time.perf_counter()
    print(
        f"back-test of a simulated month: 20 faults, {len(ten.alerts)} alerts, {simulations(material.scenario, Months(), None)} simulated hours at 20/s: "
        f"{judged - began:.1f} s, of which {made - began:.1f} s are simulation and metrics; {scores.cases} month, {len(material.cases[0].troubles)} troubles"
    )


def _first_alerts(rules: RuleFile, count: int) -> tuple[RuleGroup, ...]:
    """Return groups with so many alerts in all, and every recorded rule."""
    groups, left = [], count
    for group in rules.groups:
        kept = []
        for rule in group.rules:
            left -= bool(rule.alert)
            if not rule.alert or left >= 0:
                kept.append(rule)
        groups.append(group.model_copy(update={"rules": tuple(kept)}))
    return tuple(groups)


if __name__ == "__main__":
    two_days()
    month()
    simulated_month()
