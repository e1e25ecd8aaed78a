"""The table `tallies`: every indicator, check and expectation of a finished run, with intervals where there were replications."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from rundata import parquet
from rundata.measurement import Measurement
from rundata.replications import Bounds, Estimate, finite
from rundata.tables import RunData


def tallies_table(run: RunData, measured: Sequence[Mapping[str, Measurement]] = ()) -> pa.Table:
    """Return the tallies of a run; `measured` are the indicators of its replications, itself the first."""
    from rundata.run import Run

    whole = Run(run, measured)
    rows: list[dict[str, Any]] = [_indicator(name, estimate) for name, estimate in whole.estimates.items()]
    rows += [
        {"name": name, "what": "check", "value": float(check.count), "valid": check.valid, "examples": check.examples, "text": check.allowed or check.note}
        for name, check in whole.checks.items()
    ]  # fmt: skip
    rows += [
        {"name": each.text, "what": "expectation", "value": each.value, "valid": each.held, "share_held": each.share_held, "text": each.reason}
        for each in whole.expectations
    ]  # fmt: skip
    return parquet.rows_table("tallies", rows)


def _indicator(name: str, estimate: Estimate) -> dict[str, Any]:
    return {
        "name": name,
        "what": "indicator",
        "value": estimate.value,
        "unit": estimate.unit,
        "at_least": estimate.at_least,
        "series": list(estimate.series) or None,
        "series_low": [low for low, _ in estimate.series_interval] or None,
        "series_high": [high for _, high in estimate.series_interval] or None,
        "text": estimate.reason,
        "replications": estimate.replications,
        **_bounds("interval", estimate.interval),
        **_bounds("interval999", estimate.interval999),
        **_bounds("mean_interval", estimate.mean_interval),
    }


def _bounds(name: str, bounds: Bounds | None) -> dict[str, float | None]:
    low, high = bounds if bounds is not None else (None, None)
    return {f"{name}_low": finite(low), f"{name}_high": finite(high)}


def estimates_from(table: pa.Table, *, single: bool = False) -> dict[str, Estimate]:
    """Return the estimates that a table of tallies holds; those of one replication only when asked for with `single`."""
    rows = [row for row in table.to_pylist() if row["what"] == "indicator"]
    if not single and not any((row["replications"] or 1) > 1 for row in rows):
        return {}
    return {
        row["name"]: Estimate(
            value=row["value"],
            unit=row["unit"],
            interval=_pair(row, "interval"),
            interval999=_pair(row, "interval999"),
            mean_interval=_pair(row, "mean_interval"),
            at_least=row["at_least"],
            reason=row["text"],
            series=tuple(row["series"] or ()),
            series_interval=tuple(zip(row.get("series_low") or (), row.get("series_high") or (), strict=True)),
            replications=row["replications"],
        )
        for row in rows
    }


def shares_from(table: pa.Table) -> dict[str, float]:
    """Return the share of replications in which each expectation held, as a table of tallies holds it."""
    return {row["name"]: row["share_held"] for row in table.to_pylist() if row["what"] == "expectation"}


def _pair(row: Mapping[str, Any], name: str) -> Bounds | None:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    # An upper end that no replication reached is kept as null.
    return None if low is None else (low, float("inf") if high is None else high)
