"""What was tried: the scenario in words, its faults, and the strip of its load over time."""

from typing import Any

import numpy as np

from reports.contents import Contents
from reports.drawing import letters
from reports.fault_words import fault_words
from reports.words import (
    DASH,
    cluster_words,
    count_text,
    duration_text,
    group_words,
    producer_words,
    topic_words,
)
from scenarios.quantities import SECOND

_STRIP_POINTS = 50


def tried(contents: Contents) -> dict[str, Any]:
    """Return the scenario in words, and its timeline strip."""
    scenario = contents.scenario
    facts = [("Cluster", "", cluster_words(scenario))]
    facts += [("Topic", name, topic_words(scenario, name)) for name in scenario.topics]
    facts += [("Producer", name, producer_words(producer)) for name, producer in scenario.producers.items()]
    facts += [("Group", name, group_words(group)) for name, group in scenario.groups.items()]
    return {
        "about": scenario.about.strip(),
        "facts": [fact for fact in facts if fact[2]],
        "strip": _strip(contents),
        "faults": _fault_rows(contents),
    }


def _strip(contents: Contents) -> dict[str, Any]:
    scenario, plan = contents.scenario, contents.plan
    end = max(scenario.duration, *(column.run.data.end_ns for column in contents.columns))
    edges = np.linspace(0, scenario.duration, _STRIP_POINTS + 1)
    rate = np.histogram(plan.intended_ns, edges)[0] / np.diff(edges) * SECOND
    top = float(rate.max(initial=0)) or 1.0
    middle = (edges[1:] + edges[:-1]) / 2
    points = " ".join(f"{x / end * 100:.2f},{36 - y / top * 32:.1f}" for x, y in zip(middle, rate, strict=True))
    last = scenario.duration / end * 100
    return {
        "area": f"0,36 0,{36 - rate[0] / top * 32:.1f} {points} {last:.2f},{36 - rate[-1] / top * 32:.1f} {last:.2f},36"
        if len(rate)
        else "",
        "top": f"{count_text(round(top))}/s",
        "warm_up": _percent_of(scenario.warm_up, end),
        "load_end": _percent_of(scenario.duration, end),
        "faults": [
            {
                "letter": letter,
                "left": _percent_of(f.began_ns, end),
                "width": max(0.6, _percent_of(min(f.ended_ns, end) - f.began_ns, end)),
                "label": f.label,
            }
            for letter, f in zip(letters(), contents.faults, strict=False)
        ],
        "ticks": [(_percent_of(t, end), duration_text(t)) for t in _ticks(end)],
        "end": duration_text(round(end / SECOND) * SECOND),
    }


def _ticks(end_ns: int) -> list[int]:
    steps = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400, 7 * 86400]
    step = next((s for s in steps if end_ns / SECOND / s <= 5.5), 30 * 86400) * SECOND
    return list(range(0, end_ns + 1, step))


def _percent_of(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole else 0.0


def _fault_rows(contents: Contents) -> list[dict[str, str]]:
    planned = {(f.label, f.begin_ns): f for f in contents.plan.faults}
    rows = []
    for letter, record in zip(letters(), contents.faults, strict=False):
        plan = planned.get((record.label, record.planned_begin_ns))
        words = fault_words(plan.fault) if plan else record.kind.replace("_", " ")
        rows.append(
            {
                "letter": letter,
                "label": record.label,
                "words": words[0].upper() + words[1:],
                "planned": f"{duration_text(record.planned_begin_ns)} {DASH} {duration_text(record.planned_end_ns)}",
                "target": record.target,
                "proof": record.proof,
            }
        )
    return rows
