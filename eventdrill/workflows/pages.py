"""Hands what a workflow found to the page that people read."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventdrill.workflows.prediction import Prediction
    from eventdrill.workflows.verify import Verification


def prediction_page(path: Path, prediction: "Prediction", notices: tuple[str, ...]) -> None:
    """Write the page of a prediction, before anything is driven."""
    from eventdrill.workflows.record import predictions
    from reports.page import write_page
    from reports.record import coverage

    write_page(
        path,
        [prediction.run],
        lag_bands=prediction.lag,
        profile=prediction.profile,
        prediction_sha256=prediction.sha256,
        notices=notices,
        record=coverage(predictions()),
    )


def verification_page(result: "Verification") -> None:
    """Write the page of a comparison: the prediction first, then the live runs."""
    from eventdrill.workflows.record import predictions
    from reports.page import write_page
    from reports.record import coverage

    prediction = result.prediction
    write_page(
        result.page,
        [prediction.run, *result.observed],
        verdicts=result.agreement,
        lag_bands=prediction.lag,
        capacity=result.capacity,
        profile=prediction.profile,
        prediction_sha256=prediction.sha256,
        notices=result.notices,
        record=coverage(predictions()),
    )
