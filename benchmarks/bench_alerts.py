"""How long rules take to evaluate: 60 rules over 48 hours against promtool on the same series, and a month with 20 faults and 10 rules."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import certified
from promtool import ask, find_promtool
from reports.alerts.backtest import Case, backtest, judge
from reports.alerts.rules import parse_rules
from reports.alerts.series import Series, Store
from reports.alerts.states import evaluate_rules
from reports.alerts.truth import Trouble

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


if __name__ == "__main__":
    two_days()
    month()
