"""What the predictions were worth together: how often the rules and the simulated intervals held what was seen, and how far off the middle was.

Every observation counts; one that was never reached lies outside everything.
"""

import math

import pandas as pd

from reports.record import Coverage, coverage, ratio_to_repeats

NUMBERS = ["rule_low", "rule_high", "predicted", "low", "high", "observed"]
COLUMNS = ["scenario", "kind", "figure", *NUMBERS, "calm"]
"""Of an observation: the scenario and what happened in it, the indicator, the rule's bounds, the simulated median and 95 % interval, what was seen, and whether
the host was calm, as the run measured itself."""
LEVEL = 0.95
TIMED = ("gap", "write_gap", "lag", "drain_time")
"""Figures whose errors are relative; those of which the rule says that there is nothing have none."""


def summary(seen: pd.DataFrame) -> list[dict[str, str]]:
    """Return the lines of the table: all observations, those of calm hosts, then those of each kind of fault."""
    calm = [_line("all, on calm hosts", seen[seen["calm"]])] if seen["calm"].any() else []
    return [_line("all", seen), *calm, *(_line(str(kind), of_kind) for kind, of_kind in seen.groupby("kind"))]


def _line(title: str, seen: pd.DataFrame) -> dict[str, str]:
    known = seen["observed"].fillna(math.inf)
    inside = int(((seen["rule_low"] <= known) & (known <= seen["rule_high"])).sum())
    found, timed = _coverage(seen), _timed(seen)
    error = (timed["observed"] / timed["predicted"] - 1).abs().dropna()
    ratio = ratio_to_repeats(timed.assign(case=timed["scenario"] + " " + timed["figure"]), "case")
    return {
        "what happens": title,
        "inside the rules' bounds": f"{inside} of {len(seen)}",
        "inside the simulated 95 %": "" if found is None else f"{found.inside} of {found.count} (p = {found.p:.2g})",
        "interval score": "" if found is None or found.score is None else f"{found.score:.2f}",
        "error of gaps, lags and drain times, median": f"{error.median():.1%}" if len(error) else "",
        "95th percentile": f"{error.quantile(0.95):.1%}" if len(error) else "",
        "ratio to repeats": "" if ratio is None else f"{ratio:.2f}",
    }


def _coverage(seen: pd.DataFrame) -> Coverage | None:
    """Return how the simulated intervals did of figures that chance moves at all."""
    moved = seen[seen["low"] < seen["high"]]
    record = moved.assign(counts=True, level=LEVEL, figure="all", observed=moved["observed"].fillna(math.inf))
    return next(iter(coverage(record)), None)


def _timed(seen: pd.DataFrame) -> pd.DataFrame:
    """Return the gaps, lags and drain times that the rules demand."""
    return seen[seen["figure"].map(_kind_of).isin(TIMED) & (seen["rule_low"] > 0) & (seen["predicted"] > 0)]


def _kind_of(figure: str) -> str:
    return figure.partition("[")[0].partition(".")[0]
