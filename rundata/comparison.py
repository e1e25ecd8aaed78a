"""Two variants under common random numbers: what differs replication by replication, and how sure that is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rundata.measurement import Measurement
from rundata.replications import Bounds
from scenarios.expectations import INDICATORS, IndicatorUnit, parse_indicator

SURE = 0.95
Verdict = Literal["better", "worse", "the same", "cannot tell"]


@dataclass(frozen=True)
class Comparison:
    """How one indicator of a variant differs from the base: each replication met the same events and the same chance in both."""

    name: str
    unit: IndicatorUnit
    base: float
    """The mean of the base."""
    difference: float
    """The mean of variant minus base."""
    interval: Bounds | None
    """95 % confidence of that mean."""
    sure: float
    """How sure the sign of the difference is, from 0 to 1."""
    pairs: int
    verdict: Verdict
    gain: float
    """How many times more replications with numbers of their own would have needed for the same interval."""

    def to_json(self) -> dict[str, Any]:
        """Return the shape of a comparison in `--json`."""
        return {
            "base": self.base,
            "difference": self.difference,
            "interval": None if self.interval is None else list(self.interval),
            "sure": self.sure,
            "pairs": self.pairs,
            "verdict": self.verdict,
            "gain": self.gain if math.isfinite(self.gain) else None,
        }


def compare(
    base: Sequence[Mapping[str, Measurement]], variant: Sequence[Mapping[str, Measurement]]
) -> dict[str, Comparison]:
    """Return the comparison of every indicator that both measured in two replications or more."""
    names = dict.fromkeys(name for one in base for name in one)
    found = {name: _compare_one(name, base, variant) for name in names}
    return {name: each for name, each in found.items() if each is not None}


def _compare_one(
    name: str, base: Sequence[Mapping[str, Measurement]], variant: Sequence[Mapping[str, Measurement]]
) -> Comparison | None:
    pairs = [
        (a[name].value, b[name].value)
        for a, b in zip(base, variant, strict=False)
        if name in a and name in b and a[name].value is not None and b[name].value is not None
    ]
    if len(pairs) < 2:
        return None
    before, after = np.array(pairs, np.float64).T
    apart = after - before
    mean, spread, count = float(apart.mean()), float(apart.std(ddof=1)), len(apart)
    error = spread / math.sqrt(count)
    if error == 0:
        sure = 1.0 if mean else 0.0
        interval: Bounds = (mean, mean)
    else:
        from scipy import stats  # a second, which is not waited for where nothing is compared

        sure = float(1 - 2 * stats.t.sf(abs(mean) / error, count - 1))
        reach = float(stats.t.ppf(0.975, count - 1)) * error
        interval = (mean - reach, mean + reach)
    apart_variance = float(before.var(ddof=1) + after.var(ddof=1))
    return Comparison(
        name=name,
        unit=parse_indicator(name).unit,
        base=float(before.mean()),
        difference=mean,
        interval=interval,
        sure=sure,
        pairs=count,
        verdict=_verdict(name, mean, sure, identical=not apart.any()),
        gain=apart_variance / spread**2 if spread else math.inf,
    )


def _verdict(name: str, mean: float, sure: float, *, identical: bool) -> Verdict:
    if identical:
        return "the same"
    if sure < SURE:
        return "cannot tell"
    lower = INDICATORS[parse_indicator(name).kind].better == "lower"
    return "better" if (mean < 0) is lower else "worse"
