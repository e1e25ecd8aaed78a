"""A run as people look at it: its figures as pandas frames, its checks and expectations, and its JSON document."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rundata import checks, expect
from rundata.expect import ExpectationResult
from rundata.findings import CheckResult, not_applicable
from rundata.indicators import measure
from rundata.measurement import Measurement
from rundata.operations import arranged, in_order
from rundata.replications import Estimate, summarise
from rundata.rows import KIND_TEXT, LEFT_OUT, NEVER, NONE, UNTIMED, Kind, Outcome
from rundata.settling import settling, settling_json
from rundata.tables import RunData
from scenarios.quantities import SECOND

if TYPE_CHECKING:
    import pandas as pd

_UNFINISHED = ("preparing", "running", "draining", "interrupted")
_TIMES = ("retry_due_ns", "intended_ns", "started_ns", "ended_ns")
_SHOWN_CHECKS = 3


class Run:
    """One run, simulated or driven; with `measured`, the indicators of its replications, figures have intervals."""

    def __init__(
        self,
        data: RunData,
        measured: Sequence[Mapping[str, Measurement]] = (),
        *,
        estimates: Mapping[str, Estimate] | None = None,
        shares_held: Mapping[str, float] | None = None,
    ) -> None:
        self.data = data
        self._replications = tuple(measured)
        self._estimates = dict(estimates or {})
        self._shares_held = dict(shares_held or {})

    # ---- what it says ---------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """preparing, running, draining, complete or interrupted."""
        return str(self.data.about.get("state", "complete"))

    @property
    def complete(self) -> bool:
        """Whether the run came to its end."""
        return self.state not in _UNFINISHED

    @cached_property
    def invalid(self) -> tuple[str, ...]:
        """Why the run says nothing; empty for a valid one."""
        reasons = [str(reason) for reason in self.data.about.get("invalid", ())]
        if not self.complete:
            reasons.append(f"the run is incomplete: its state is {self.state!r}")
            reasons += [str(reason) for reason in self.data.about.get("incomplete", ())]
        return tuple(reasons)

    @property
    def keeps_operations(self) -> bool:
        """Whether the run holds its operations; a long simulation keeps only what they add up to."""
        return self.data.about.get("operations") != "none"

    @cached_property
    def measured(self) -> dict[str, Measurement]:
        """Every indicator of this run by its full name; the estimate of each where the operations were not kept."""
        if self.keeps_operations:
            return measure(self.data)
        if self._replications:
            return dict(self._replications[0])
        return {
            name: Measurement(each.value, each.unit, each.at_least, each.reason, each.series)
            for name, each in self._estimates.items()
        }

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Every indicator with its intervals over replications; without these the run's own values."""
        return self._estimates or summarise(self._replications or [self.measured])

    @cached_property
    def checks(self) -> dict[str, CheckResult]:
        """Every check by its name."""
        if self.keeps_operations:
            return checks.check(self.data)
        return dict.fromkeys(
            checks.CHECKS, not_applicable("the operations of this run were not kept (--operations none)")
        )

    @cached_property
    def expectations(self) -> list[ExpectationResult]:
        """What became of the scenario's expectations."""
        judged = expect.judge(self.data.plan.scenario, self._replications or self.measured)
        return [self._with_share(result) for result in judged]

    def _with_share(self, result: ExpectationResult) -> ExpectationResult:
        """Put in the share that was recorded when the replications were at hand."""
        share = self._shares_held.get(result.text)
        if share is None or self._replications:
            return result
        always = result.text.startswith(expect.ALWAYS)
        return replace(result, share_held=share, held=share == 1 if always else share >= expect.ENOUGH_SHARE)

    # ---- frames ---------------------------------------------------------------------------------------------------

    @cached_property
    def indicators(self) -> "pd.DataFrame":
        """The indicators: value, unit, interval and why there is no value, by full name."""
        import pandas as pd

        rows = {
            name: {
                "value": estimate.value,
                "unit": estimate.unit,
                "low": estimate.interval[0] if estimate.interval else None,
                "high": estimate.interval[1] if estimate.interval else None,
                "at_least": estimate.at_least,
                "reason": estimate.reason,
            }
            for name, estimate in self.estimates.items()
            if not estimate.series
        }
        frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("indicator")
        return frame.astype(dict.fromkeys(("value", "low", "high", "at_least"), "float64"))

    @cached_property
    def operations(self) -> "pd.DataFrame":
        """The operations with words for codes, and missing values where there is nothing."""
        import pandas as pd

        rows, names = self._numbered(), self.data.names
        words: dict[str, Sequence[str]] = {
            "event_type": names.event_types,
            "kind": [KIND_TEXT[kind] for kind in Kind],
            "process": names.processes,
            "group": names.groups,
            "topic": names.topics,
            "outcome": [outcome.name for outcome in Outcome],
        }
        columns: dict[str, Any] = {}
        for name in rows.dtype.names or ():
            if name == "padding":
                continue
            values = np.ascontiguousarray(rows[name])
            if name in words:
                columns[name] = _categorical(values, words[name])
            elif name == "error":
                texts = {code: self.data.error_names.get(code, str(code)) for code in np.unique(values).tolist()}
                columns[name] = pd.Categorical([texts[code] if code else None for code in values.tolist()])
            else:
                columns[name] = _nullable(values, (NEVER, UNTIMED) if name in _TIMES else (NONE,))
        return pd.DataFrame(columns)

    def _numbered(self) -> NDArray[np.void]:
        """Return the operations in order and with numbered deliveries, as a finished dataset holds them."""
        rows = self.data.operations
        delivered = rows["kind"] == Kind.delivery
        done = in_order(rows) and bool((rows["delivery_number"][delivered] > 0).all())
        return rows if done else arranged(rows)

    @cached_property
    def log(self) -> "pd.DataFrame":
        """The records that were read back at the end."""
        import pandas as pd

        rows = self.data.log
        columns: dict[str, Any] = {"topic": _categorical(np.ascontiguousarray(rows["topic"]), self.data.names.topics)}
        for name in ("partition", "offset", "event_id", "leader_epoch", "time_ns"):
            columns[name] = _nullable(np.ascontiguousarray(rows[name]), (NONE, LEFT_OUT) if name != "time_ns" else ())
        columns["aborted"] = rows["aborted"].astype(bool)
        return pd.DataFrame(columns)

    # ---- documents ------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return the document that `simulate`, `drive` and `report` print with `--json`."""
        return {
            "indicators": {name: estimate.to_json() for name, estimate in self.estimates.items()},
            "checks": {name: check.to_json() for name, check in self.checks.items()},
            "expect": [result.to_json() for result in self.expectations],
            "valid": {"ok": not self.invalid, "reasons": list(self.invalid)},
            "run": self._facts(),
        }

    def _facts(self) -> dict[str, Any]:
        data, scenario = self.data, self.data.plan.scenario
        brokers = {
            "implementation": "simulated" if data.engine == "simulated" else "unknown",
            "version": scenario.brokers.version,
            "nodes": scenario.brokers.nodes,
        }
        return {
            "scenario": scenario.scenario,
            "state": self.state,
            "seed": data.plan.seed,
            "engine": data.engine,
            "profile": data.about.get("profile", scenario.profile),
            "brokers": {key: (data.about.get("brokers") or brokers).get(key) for key in brokers},
            "versions": data.about.get("versions", {}),
            "seconds": data.about.get("seconds", data.end_ns / SECOND),
            "warm_up": settling_json(settling(data)) if self.keeps_operations and self.complete else {},
            **({"stretches": data.about["stretches"]} if "stretches" in data.about else {}),
            "replications": max(1, len(self._replications), *(e.replications for e in self._estimates.values())),
        }

    def __repr__(self) -> str:
        said = f"{self.data.plan.scenario.scenario}, {self.data.engine}, seed {self.data.plan.seed}, {self.state}"
        return f"<Run: {said}>"

    def _repr_html_(self) -> str:
        """Draw the run in a notebook: what it was, the main indicators, expectations and checks."""
        held = "".join(
            f"<tr><td>{'✓' if each.held else '✗'}</td><td>{html.escape(each.text)}</td><td>{_shown(each.value)}</td></tr>"
            for each in self.expectations
        )
        failed = [f"{name}: {check.count}" for name, check in self.checks.items() if not check.valid]
        judged = f"{len(self.checks)} checks passed" if not failed else "checks failed: " + ", ".join(failed)
        main = [name for name in self.estimates if "[" not in name and not self.estimates[name].series]
        figures = "".join(
            f"<tr><td>{html.escape(name)}</td><td style='text-align:right'>{_shown(self.estimates[name].value)}</td>"
            f"<td>{self.estimates[name].unit}</td></tr>"
            for name in main
        )
        warning = f"<p><b>{html.escape('; '.join(self.invalid))}</b></p>" if self.invalid else ""
        return (
            f"<div><p><b>{html.escape(self.data.plan.scenario.scenario)}</b>: {self.data.engine}, seed {self.data.plan.seed}, "
            f"{html.escape(self.state)}; {html.escape(judged)}</p>{warning}<table>{held}</table>"
            f"<details><summary>indicators</summary><table>{figures}</table></details></div>"
        )


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _categorical(codes: Any, words: Sequence[str]) -> Any:
    import pandas as pd

    return pd.Categorical.from_codes(codes, categories=pd.Index(list(words)))


def _nullable(values: Any, empty: tuple[int, ...]) -> Any:
    import pandas as pd

    return pd.arrays.IntegerArray(values.astype(np.int64), np.isin(values, empty))
