"""Whether a scenario's expectations held, in one run or over replications."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rundata.measurement import Measurement, missing
from scenarios.expectations import Expectation
from scenarios.schema import Scenario

ENOUGH_SHARE = 0.95
"""Of replications in which an expectation must have held."""
ALWAYS = ("lost", "unexpected", "duplicate_effects")
"""Expectations on these must have held in all replications."""


@dataclass(frozen=True)
class ExpectationResult:
    """An expectation and what became of it."""

    text: str
    value: float | None
    """Of the run itself, which is the first of the replications."""
    held: bool
    share_held: float
    """Of the replications; 1 or 0 for a single run."""
    reason: str | None = None
    """Why it did not hold where there is no value to show."""

    def to_json(self) -> dict[str, Any]:
        """Return the shape of an entry of `expect` in `--json`."""
        said = {"text": self.text, "value": self.value, "held": self.held, "share_held": self.share_held}
        return {**said, "reason": self.reason} if self.reason else said


def judge(
    scenario: Scenario, measured: Mapping[str, Measurement] | Sequence[Mapping[str, Measurement]]
) -> list[ExpectationResult]:
    """Judge every expectation on one run's indicators, or on those of replications."""
    runs = [measured] if isinstance(measured, Mapping) else list(measured)
    return [_judge_one(expectation, runs) for expectation in scenario.expect]


def holds(expectation: Expectation, measurement: Measurement) -> bool:
    """Whether an expectation holds; one on an indicator that cannot be measured does not."""
    return measurement.value is not None and expectation.holds(measurement.value)


def _judge_one(expectation: Expectation, runs: Sequence[Mapping[str, Measurement]]) -> ExpectationResult:
    name = str(expectation.indicator)
    absent = missing(expectation.indicator.unit, f"{name} was not measured")
    found = [run.get(name, absent) for run in runs] or [absent]
    held = [holds(expectation, measurement) for measurement in found]
    share = sum(held) / len(held)
    enough = all(held) if expectation.indicator.kind in ALWAYS else share >= ENOUGH_SHARE
    unmeasured = next((one for one in found if one.value is None), None)
    return ExpectationResult(
        text=expectation.text,
        value=found[0].value,
        held=enough,
        share_held=share,
        reason=None if enough or unmeasured is None else _why(unmeasured),
    )


def _why(measurement: Measurement) -> str:
    bound = (
        "" if measurement.at_least is None else f"never reached, at least {measurement.at_least:.6g} {measurement.unit}"
    )
    return "; ".join(part for part in (bound, measurement.reason) if part) or "not measured"
