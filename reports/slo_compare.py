"""Which change buys how much error budget: runs of variants beside those of the first one, seed by seed (common random numbers)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.slo import BATCHES, ObjectiveReport, batches
from reports.slo_events import judged_events
from rundata.tables import RunData
from scenarios.schema import Scenario

FEWEST_PAIRS = 3
"""With fewer pairs of seeds the interval comes from stretches of the runs."""


@dataclass(frozen=True)
class Bought:
    """What a variant spends less of one objective's budget than the first variant; negative where it spends more."""

    variant: str
    objective: str
    spent_before: float
    spent_after: float
    interval: tuple[float, float] | None
    pairs: int
    same_events: bool
    """Whether both had the same planned events: common random numbers."""

    @property
    def bought(self) -> float:
        """The share of the period's budget."""
        return self.spent_before - self.spent_after


@dataclass(frozen=True, eq=False)
class Assessed:
    """A run with its reports."""

    name: str
    run: RunData
    reports: Mapping[str, ObjectiveReport]


def compare(runs: Sequence[Assessed]) -> list[Bought]:
    """Return what each variant after the first buys; runs are one variant when their scenarios differ in the seed at most."""
    variants: dict[str, list[Assessed]] = {}
    first = runs[0].run.plan.scenario
    for each in runs:
        variants.setdefault(changes_text(first, each.run.plan.scenario), []).append(each)
    base, *others = variants.items()
    return [found for name, members in others for found in _of_variant(name, base[1], members)]


def _of_variant(name: str, base: Sequence[Assessed], members: Sequence[Assessed]) -> list[Bought]:
    pairs = _pairs(base, members)
    names = [each for each in base[0].reports if all(each in one.reports for pair in pairs for one in pair)]
    return [found for each in names if (found := _bought(name, each, pairs)) is not None]


def _pairs(base: Sequence[Assessed], members: Sequence[Assessed]) -> list[tuple[Assessed, Assessed]]:
    """Return pairs with the same seed and replication; where there are none, the first runs of both."""

    def key(one: Assessed) -> tuple[int, int]:
        return one.run.plan.seed, one.run.plan.replication

    by_seed = {key(one): one for one in base}
    return [(by_seed[key(one)], one) for one in members if key(one) in by_seed] or [(base[0], members[0])]


def _bought(variant: str, name: str, pairs: Sequence[tuple[Assessed, Assessed]]) -> Bought | None:
    spent = [(before.reports[name].spent, after.reports[name].spent) for before, after in pairs]
    known = [(a, b) for a, b in spent if a is not None and b is not None and math.isfinite(a) and math.isfinite(b)]
    if not known:
        return None
    before, after = np.asarray(known).T
    same = all(_same_events(a.run, b.run) for a, b in pairs)
    interval = _interval(name, pairs, before - after, same=same)
    return Bought(variant, name, float(before.mean()), float(after.mean()), interval, len(known), same)


def _interval(
    name: str, pairs: Sequence[tuple[Assessed, Assessed]], differences: Any, *, same: bool
) -> tuple[float, float] | None:
    if len(differences) >= FEWEST_PAIRS:
        return _t_interval(differences)
    return _of_stretches(name, *pairs[0]) if same else None


def _same_events(one: RunData, other: RunData) -> bool:
    return np.array_equal(one.plan.intended_ns, other.plan.intended_ns) and np.array_equal(one.plan.key, other.plan.key)


def _t_interval(differences: Any) -> tuple[float, float]:
    from scipy import stats

    mean, count = float(differences.mean()), len(differences)
    half = float(stats.t.ppf(0.975, count - 1)) * float(differences.std(ddof=1)) / math.sqrt(count)
    return mean - half, mean + half


def _of_stretches(name: str, before: Assessed, after: Assessed) -> tuple[float, float] | None:
    """Return an interval from the differences of twenty stretches of one pair, in which both runs had the same events."""
    bad = []
    for one in (before, after):
        objective = one.run.plan.scenario.objectives.get(name)
        if objective is None:
            return None
        events = judged_events(one.run, objective)
        bad.append(batches(one.run, events)[1] * events.unit / one.reports[name].budget)
    low, high = _t_interval((bad[0] - bad[1]) * BATCHES)
    return low, high


# ---- what differs ----------------------------------------------------------------------------------------------------


def changes_text(first: Scenario, other: Scenario) -> str:
    """Return what another scenario changes: `groups.fulfilment.members 3 -> 6`; empty where nothing but the seed."""
    before, after = (dict(_fields("", _document(scenario))) for scenario in (first, other))
    changed = [
        f"{field} {_shown(before.get(field))} -> {_shown(after.get(field))}"
        for field in dict.fromkeys([*before, *after])
        if before.get(field) != after.get(field)
    ]
    return ", ".join(changed)


def _document(scenario: Scenario) -> dict[str, Any]:
    document = scenario.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return {
        key: value
        for key, value in document.items()
        if key not in ("seed", "scenario", "about", "expect", "objectives")
    }


def _fields(prefix: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [
            found for key, inner in value.items() for found in _fields(f"{prefix}.{key}" if prefix else str(key), inner)
        ]
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        return [found for number, inner in enumerate(value) for found in _fields(f"{prefix}[{number}]", inner)]
    return [(prefix, value)]


def _shown(value: Any) -> str:
    return "default" if value is None else str(value)
