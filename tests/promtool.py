"""Asks promtool what Prometheus makes of rules: writes its unit tests with no expectation, and reads the answers that it prints.

`python tests/promtool.py` asks again for the answers that are kept in tests/data.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from reports.alerts.rules import parse_rules
from reports.alerts.series import Series, labels_of, metric_text

REQUIRED = "EVENTDRILL_PROMTOOL"
"""Names promtool's program; where it is set, nothing is skipped."""
Answers = dict[str, dict[str, float]]
"""By query (`QUERY @ SECONDS`): by series the value."""

_CASE = re.compile(r'^\s*expr: "(?P<expr>.*)", time: (?P<time>\S+),\s*$')
_SAMPLE = re.compile(r"\{(?P<labels>[^}]*)\} (?P<value>[^\s,]+)")


def find_promtool() -> str | None:
    """Return promtool's path; None where there is none and none is required."""
    wanted = os.environ.get(REQUIRED)
    found = shutil.which(wanted or "promtool")
    assert found or not wanted, f"{REQUIRED} is {wanted}, and there is no such program"
    return found


def notation(series: Series, step_ms: int, last_ms: int) -> str:
    """Return a series' samples in promtool's notation, a place for each step."""
    places = ["_"] * (last_ms // step_ms + 1)
    for at, value, stale in zip(series.times_ms.tolist(), series.values.tolist(), series.stale.tolist(), strict=True):
        assert at % step_ms == 0, "promtool's samples lie on a grid"
        places[at // step_ms] = "stale" if stale else repr(value).replace("nan", "NaN").replace("inf", "Inf")
    return " ".join(_shortened(places))


def _shortened(places: Sequence[str]) -> Iterable[str]:
    begin = 0
    for number in range(1, len(places) + 1):
        if number == len(places) or places[number] != places[begin]:
            count = number - begin
            many = count > 1 and places[begin] == "_"
            yield f"_x{count}" if many else " ".join([places[begin]] * count)
            begin = number


def ask(
    promtool: str,
    rules: str,
    series: Iterable[Series],
    queries: Sequence[tuple[str, int]],
    *,
    step_ms: int,
    last_ms: int,
    evaluation_s: int = 60,
) -> Answers:
    """Return what Prometheus answers to queries, each at a time in seconds, after evaluating the rules."""
    case = {
        "interval": f"{step_ms}ms",
        "input_series": [
            {"series": metric_text(each.labels), "values": notation(each, step_ms, last_ms)} for each in series
        ],
        "promql_expr_test": [
            {"expr": query, "eval_time": f"{at}s", "exp_samples": [{"labels": "never", "value": 0}]}
            for query, at in queries
        ],
    }
    document = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": f"{evaluation_s}s",
        # Without it the order of groups differs from call to call.
        "group_eval_order": [group.name for group in parse_rules(rules, "rules.yml").groups],
        "tests": [case],
    }
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "rules.yml").write_text(rules)
        Path(folder, "test.yml").write_text(json.dumps(document))
        done = subprocess.run(
            [promtool, "test", "rules", "test.yml"], cwd=folder, capture_output=True, text=True, check=False
        )
    answers = _read(done.stdout + done.stderr)
    assert len(answers) == len(set(queries)), (done.stdout + done.stderr)[-2000:]
    return answers


def _read(text: str) -> Answers:
    answers: Answers = {}
    key = ""
    for line in text.splitlines():
        if case := _CASE.match(line):
            key = f"{json.loads(chr(34) + case['expr'] + chr(34))} @ {_seconds(case['time'])}"
        elif (said := line.strip()).startswith("got:"):
            found = said.removeprefix("got:").strip()
            answers[key] = {} if found == "nil" else _samples(found)
    return answers


def _samples(text: str) -> dict[str, float]:
    return {_labels_text(hit["labels"]): float(hit["value"].replace("Inf", "inf")) for hit in _SAMPLE.finditer(text)}


def _labels_text(inside: str) -> str:
    """Return labels in our own notation."""
    return metric_text(labels_of(dict(re.findall(r'([a-zA-Z_]\w*)="([^"]*)"', inside))))


def _seconds(text: str) -> int:
    sizes = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    return sum(int(count) * sizes[unit] for count, unit in re.findall(r"(\d+)([dhms])", text))


def same(ours: Mapping[str, float], theirs: Mapping[str, float]) -> bool:
    """Whether two answers are equal, digit for digit."""
    return ours.keys() == theirs.keys() and all(
        np.float64(value).tobytes() == np.float64(theirs[key]).tobytes()
        or (np.isnan(value) and np.isnan(theirs[key]))
        or value == theirs[key] == 0
        for key, value in ours.items()
    )
