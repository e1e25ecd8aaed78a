"""The record of predictions: how often intervals held what was observed, by figure; a tool that predicts must know how good it was."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import binom, binomtest

from reports.agreement import Verdict, is_count
from scenarios.expectations import BEFORE_FAULTS, parse_indicator

UNLIKELY = 0.05
"""Below this chance under a correct model, misses are more (or fewer) than the intervals claim."""
LEVEL = 0.95
"""What intervals of single runs claim, counts apart."""
CALM = "no fault"


@dataclass(frozen=True)
class Entry:
    """One predicted figure and what came of it."""

    verified_at: str
    """When it was compared, in UTC."""
    prediction: str
    """Its SHA-256."""
    scenario: str
    seed: int
    brokers: str
    faults: str
    """Kinds of the faults, in order."""
    run: int
    """Number of the live run, from 1."""
    counts: bool
    """False where the run said nothing of the model: the driver or the host was the limit, or other brokers ran."""
    indicator: str
    figure: str
    """The indicator without where, such as `latency.p50` or `latency[before faults].p50`."""
    predicted: float | None
    low: float | None
    high: float | None
    level: float
    """What share of single runs the interval claims to hold."""
    observed: float | None
    verdict: str
    given: str | None


def entries(verdicts: Mapping[str, Verdict], **about: str | int | bool) -> list[Entry]:
    """Return a verification's entries, one for each figure and live run; `about` are Entry's fields that all share, `run` apart."""
    return [
        Entry(
            **about,  # type: ignore[arg-type]  # each by its name
            run=number,
            indicator=name,
            figure=figure_of(name),
            predicted=verdict.predicted,
            low=verdict.interval[0] if verdict.interval else None,
            high=verdict.interval[1] if verdict.interval else None,
            level=0.999 if is_count(parse_indicator(name)) else 0.95,
            observed=observed,
            verdict=verdict.verdict,
            given=verdict.given.verdict if verdict.given else None,
        )
        for name, verdict in verdicts.items()
        for number, observed in enumerate(verdict.repeats, start=1)
    ]


def figure_of(name: str) -> str:
    """Return an indicator's name without where; before faults is another figure than the whole run."""
    indicator = parse_indicator(name)
    before = f"[{BEFORE_FAULTS}]" if indicator.narrowed == BEFORE_FAULTS else ""
    return f"{indicator.kind}{before}{f'.{indicator.statistic}' if indicator.statistic else ''}"


def frame(found: Iterable[Entry]) -> pd.DataFrame:
    """Return entries as a table, one row each."""
    return pd.DataFrame([asdict(entry) for entry in found])


@dataclass(frozen=True)
class Coverage:
    """How one figure's intervals did."""

    figure: str
    level: float
    count: int
    inside: int
    p: float
    """Chance of so many misses, or of something as unlikely, if the intervals were right (binomial)."""
    score: float | None
    """Mean interval score over the observation: the width, and 2 / (1 - level) times each miss; small is good. None where it was 0."""
    by: Literal["figure", "faults"] = "figure"
    """Whether these are one figure's, or all those of scenarios in which one kind of fault ran, under its name."""

    @property
    def is_off(self) -> bool:
        """Whether the misses are not what the intervals claim."""
        return self.p < UNLIKELY

    @property
    def share(self) -> float:
        """The share inside."""
        return self.inside / self.count

    @property
    def by_chance(self) -> tuple[float, float]:
        """Where the share lies in 95 % of such records if the intervals are right."""
        low, high = binom.interval(0.95, self.count, self.level)
        return float(low) / self.count, float(high) / self.count


def coverage(record: pd.DataFrame) -> list[Coverage]:
    """Return how the intervals of each figure did, over all runs that count; figures of groups count with those of everything."""
    if record.empty:
        return []
    return [
        _coverage(str(figure), float(str(level)), of_figure)
        for (figure, level), of_figure in _known(record).groupby(["figure", "level"])
    ]


def coverage_by_faults(record: pd.DataFrame) -> list[Coverage]:
    """Return how the 95 % intervals of all figures together did, by the kinds of fault that ran."""
    if record.empty:
        return []
    known = _known(record)
    return [
        replace(_coverage(str(faults) or CALM, LEVEL, of_faults), by="faults")
        for faults, of_faults in known[known["level"] == LEVEL].groupby("faults")
    ]


def coverage_of_all(record: pd.DataFrame) -> list[Coverage]:
    """Return both: figure by figure, then by what had happened."""
    return [*coverage(record), *coverage_by_faults(record)]


def _known(record: pd.DataFrame) -> pd.DataFrame:
    return record[record["counts"] & record["low"].notna() & record["observed"].notna()]


def _coverage(figure: str, level: float, rows: pd.DataFrame) -> Coverage:
    inside = int(((rows["low"] <= rows["observed"]) & (rows["observed"] <= rows["high"])).sum())
    below = (rows["low"] - rows["observed"]).clip(lower=0)
    above = (rows["observed"] - rows["high"]).clip(lower=0)
    scores = ((rows["high"] - rows["low"]) + 2 / (1 - level) * (below + above)) / rows["observed"].abs()
    finite = [score for score in scores if math.isfinite(score)]
    p = float(binomtest(inside, len(rows), level).pvalue)
    return Coverage(figure, level, len(rows), inside, p, sum(finite) / len(finite) if finite else None)


def record_sentence(found: Iterable[Coverage]) -> str:
    """Say in a sentence how the 95 % intervals did so far; nothing where there is no record."""
    judged = [one for one in found if one.level == LEVEL and one.by == "figure"]
    count, inside = sum(one.count for one in judged), sum(one.inside for one in judged)
    if not count:
        return ""
    off = [one.figure for one in judged if one.is_off]
    said = f"So far {inside:,} of {count:,} figures lay inside their 95 % intervals ({inside / count:.0%})"
    return (
        f"{said}; not as they claim: {', '.join(off)}." if off else f"{said}, and no figure's misses contradict them."
    )


def coverage_rows(found: Iterable[Coverage]) -> list[dict[str, Any]]:
    """Return the record as rows of a table, with places on an axis from half of all to all."""
    return [
        {
            "figure": one.figure,
            "count": f"{one.count:,}",
            "inside": f"{one.share:.0%}",
            "level": f"{one.level:.1%}".replace(".0%", "%"),
            "p": "as claimed" if not one.is_off else f"off (p = {one.p:.2g})",
            "score": "" if one.score is None else f"{one.score:.2f}",
            "by": one.by,
            "low": _place(one.by_chance[0]),
            "high": _place(one.by_chance[1]),
            "claimed": _place(one.level),
            "seen": _place(one.share),
        }
        for one in found
    ]


def _place(share: float) -> float:
    """Return where a share stands, in percent of an axis that begins at a half."""
    return round(max(0.0, share - 0.5) * 200, 1)


def ratio_to_repeats(rows: pd.DataFrame, case: str) -> float | None:
    """Return median |log(predicted/observed)| over median |log(observed/observed')|, over the cases that were observed more than once.

    1 says that a prediction is as close to a run as another run is. Zeros have no logarithm and are left out; None where repeats were
    equal, or there were none.
    """
    positive = rows[(rows["observed"] > 0) & (rows["predicted"] > 0)]
    repeated = positive[positive.groupby(case)["observed"].transform("count") > 1]
    between = [
        abs(math.log(one / other))
        for _, of_case in repeated.groupby(case)
        for one, other in combinations(of_case["observed"], 2)
    ]
    if not between or not (apart := float(np.median(between))):
        return None
    return float(np.median(np.abs(np.log(repeated["predicted"] / repeated["observed"])))) / apart
