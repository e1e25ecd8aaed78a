"""What promtool certifies: two days of metrics with resets, gaps and restarts, rules over them, and the questions asked of both.

`python tests/certified.py` asks promtool again and writes tests/data/promtool-answers.json.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from promtool import Answers, ask, find_promtool
from reports.alerts.promql import Query, parse, vector_of
from reports.alerts.rules import RuleFile, parse_rules
from reports.alerts.series import Series, Store, labels_of, metric_text
from reports.alerts.states import Evaluated, alerts_series, evaluate_rules
from reports.alerts.vectors import Vector

DATA = Path(__file__).parent / "data"
RULES_FILE = DATA / "certified-rules.yml"
ANSWERS_FILE = DATA / "promtool-answers.json"
HOURS = 48
STEP_MS = 10_000
"""promtool's samples lie on this grid; a scrape comes every third place, now and then one place late."""
LAST_MS = HOURS * 3_600_000
EVALUATION_S = 60


class _Target:
    """A scraped process: when its scrapes come, which fail, and when it starts again."""

    def __init__(self, name: str) -> None:
        self.random = random.Random(f"certified-{name}")
        self.times = [at + STEP_MS * (self.random.random() < 0.1) for at in range(0, LAST_MS, 3 * STEP_MS)]
        self.restarts = sorted(self.random.sample(range(200, len(self.times) - 200), 9))
        self.down: set[int] = set()
        for begin in self.restarts[::2]:
            self.down |= set(range(begin, begin + self.random.choice((1, 3, 12, 40))))
        self.missed = set(self.random.sample(range(len(self.times)), 60))

    def series(self, name: str, labels: dict[str, str], values: list[float]) -> Series:
        """Return a series of the target: stale while it is down, without a sample where a scrape was missed."""
        rows = [
            (at, value, number in self.down)
            for number, (at, value) in enumerate(zip(self.times, values, strict=True))
            if number not in self.missed and not (number in self.down and number - 1 in self.down)
        ]
        times, kept, stale = zip(*rows, strict=True)
        return Series(
            labels_of(labels, name), np.asarray(times, np.int64), np.asarray(kept, np.float64), np.asarray(stale)
        )

    def counter(self, rate: float, *, whole: bool = True) -> list[float]:
        """Return a counter that starts again from zero with the process; at night it hardly moves."""
        values, total = [], 0.0
        for number in range(len(self.times)):
            if number in self.restarts:
                total = 0.0
            quiet = 0.02 if (number // 600) % 4 == 3 else 1.0
            step = self.random.expovariate(1 / (rate * quiet))
            total += int(step) if whole else step
            values.append(total)
        return values

    def gauge(self, size: float, *, least: float = -2.0) -> list[float]:
        """Return a lag: mostly small, at times far up, at times below zero or -1."""
        values, level = [], 0.0
        for number in range(len(self.times)):
            burst = 40 < number % 700 < 90
            level = max(least, level * 0.97 + self.random.uniform(-1, 1.2) * (size if burst else size / 40))
            values.append(float(int(level)))
        return values


def input_series() -> list[Series]:
    """Return the metrics, sorted by their labels as promtool's storage sees them."""
    found: list[Series] = []
    exporter = _Target("exporter")
    for partition in range(3):
        where = {"consumergroup": "fulfilment", "topic": "orders", "partition": str(partition), "job": "exporter"}
        found.append(exporter.series("kafka_consumergroup_lag", where, exporter.gauge(400)))
        place = {"topic": "orders", "partition": str(partition), "job": "exporter"}
        found.append(exporter.series("kafka_topic_partition_current_offset", place, exporter.counter(900)))
        replicas = [float(exporter.random.random() < 0.01) for _ in exporter.times]
        found.append(exporter.series("kafka_topic_partition_under_replicated_partition", place, replicas))
    found.append(exporter.series("kafka_consumergroup_members", {"consumergroup": "fulfilment", "job": "exporter"}, [3.0] * len(exporter.times)))  # fmt: skip
    for number in (1, 2):
        found += _service(_Target(f"service {number}"), f"fulfilment/{number}")
    return sorted(found, key=lambda each: each.labels)


def _service(target: _Target, instance: str) -> Iterator[Series]:
    where = {"instance": instance, "job": "fulfilment", "group": "fulfilment"}
    total = target.counter(700)
    yield target.series("events_total", where, total)
    yield target.series("bad_events_total", where, [float(int(value * 0.01)) for value in total])
    yield target.series("work_seconds_total", where, target.counter(11.7, whole=False))
    shares = {"0.1": 0.31, "0.5": 0.83, "2.5": 0.97, "10": 0.99, "+Inf": 1.0}
    for bound, share in shares.items():
        counts = [float(int(value * share)) for value in total]
        yield target.series("latency_seconds_bucket", {**where, "le": bound}, counts)
    up = [0.0 if number in target.down else 1.0 for number in range(len(target.times))]
    kept = [number for number in range(len(up)) if number not in target.missed]
    times = np.asarray([target.times[number] for number in kept], np.int64)
    yield Series.of("up", {"instance": instance, "job": "fulfilment"}, times, np.asarray([up[n] for n in kept]))


# ---- questions -------------------------------------------------------------------------------------------------------


def rule_file() -> RuleFile:
    return parse_rules(RULES_FILE.read_text(), str(RULES_FILE))


def questions(file: RuleFile) -> list[tuple[str, int]]:
    """Return what is asked: of each rule its series at many instants, and sums over all evaluations of two days."""
    asked = []
    end = LAST_MS // 1000
    for rule in file.rules:
        if rule.record is not None:
            asked += [(rule.record, at) for at in range(0, end, 4649)]
            asked += [
                (f"{function}({rule.record}[{HOURS}h])", end) for function in ("count_over_time", "sum_over_time")
            ]
        else:
            alert = f'ALERTS{{alertname="{rule.alert}"}}'
            asked += [(alert, at) for at in range(0, end, 5557)]
            asked += [
                (f"count_over_time({alert}[{HOURS}h])", end),
                (f"sum_over_time(timestamp({alert})[{HOURS}h:1m])", end),
            ]
            asked += [
                (
                    f'{bound}_over_time(timestamp(ALERTS{{alertname="{rule.alert}",alertstate="firing"}})[{HOURS}h:1m])',
                    end,
                )
                for bound in ("min", "max")
            ]
    return asked  # fmt: skip


def theirs(promtool: str) -> Answers:
    """Ask promtool."""
    file = rule_file()
    return ask(
        promtool, RULES_FILE.read_text(), input_series(), questions(file), step_ms=STEP_MS, last_ms=LAST_MS,
        evaluation_s=EVALUATION_S,
    )  # fmt: skip


def ours() -> Answers:
    """Answer the same questions ourselves."""
    file = rule_file()
    evaluated = evaluate_rules(file, Store(input_series()), 0, LAST_MS, interval_ms=EVALUATION_S * 1000)
    return answers(file, evaluated, questions(file))


def answers(file: RuleFile, evaluated: Evaluated, asked: list[tuple[str, int]]) -> Answers:
    store = evaluated.store
    for group in file.groups:
        for rule in group.rules:
            for series in alerts_series(evaluated, rule, group.name) if rule.alert else ():
                store.add(series)
    by_query: dict[str, list[int]] = {}
    for query, at in asked:
        by_query.setdefault(query, []).append(at)
    found: Answers = {}
    for query, times in by_query.items():
        vector = vector_of(parse(query), Query(store, np.asarray(times, np.int64) * 1000, 2, EVALUATION_S * 1000))
        found |= {f"{query} @ {at}": column(vector, number) for number, at in enumerate(times)}
    return found


def column(vector: Vector, number: int) -> dict[str, float]:
    return {metric_text(labels): float(values[number]) for labels, values, there in vector.rows if there[number]}


def keep(found: Answers) -> None:
    """Write the answers, of each query one line: its instants, and by series the values at them."""
    lines: dict[str, dict[str, dict[str, str]]] = {}
    for key, series in found.items():
        query, _, at = key.rpartition(" @ ")
        lines.setdefault(query, {})[at] = {labels: repr(value) for labels, value in series.items()}
    text = ",\n".join(f"{json.dumps(query)}: {json.dumps(times)}" for query, times in lines.items())
    ANSWERS_FILE.write_text("{\n" + text + "\n}\n")


def kept() -> Answers:
    """Return promtool's answers as they are kept."""
    document = json.loads(ANSWERS_FILE.read_text())
    return {
        f"{query} @ {at}": {labels: float(value) for labels, value in series.items()}
        for query, times in document.items()
        for at, series in times.items()
    }


if __name__ == "__main__":
    program = find_promtool()
    assert program, "there is no promtool on the PATH"
    found = theirs(program)
    keep(found)
    print(f"{len(found)} answers in {ANSWERS_FILE}")
