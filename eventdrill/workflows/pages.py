"""Hands what a workflow found to the page that people read."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventdrill.workflows.capacity import Plan
    from eventdrill.workflows.gameday import GameDay
    from eventdrill.workflows.prediction import Prediction
    from eventdrill.workflows.verify import Verification
    from reports.contents import Contents
    from reports.document import Document
    from reports.drawing import Drawing
    from reports.prevention import Prevented
    from rundata.run import Run


def run_page(path: Path, runs: "Sequence[Run]", readers: str, prevented: "Sequence[Prevented]" = ()) -> "list[Drawing]":
    """Write the page of runs for its readers, and return the figures in it; `prevented` are measures that were simulated."""
    from reports.contents import contents

    if readers == "engineers":
        from reports.page import drawings_of, write_page

        write_page(path, runs)
        return drawings_of(contents(runs))
    from reports.document import drawings_in, write_document

    document = _document(contents(runs, prevented=prevented), readers)
    write_document(path, document)
    return drawings_in(document)


def _document(made: "Contents", readers: str) -> "Document":
    match readers:
        case "executives":
            from reports.views.executives import executive_document

            return executive_document(made)
        case "on-call":
            from reports.views.on_call import on_call_document

            return on_call_document(made)
        case "debugging":
            from reports.views.debugging import debugging_document

            return debugging_document(made)
        case _:
            raise AssertionError(f"no page for {readers}")


def figures(*shown: "Run | Plan | GameDay") -> "list[Drawing]":
    """Return the figures of one run, or of several in the same axes; of a capacity plan; or of what a game day came to, the latest first.

    Each draws itself in a notebook, as on a page.
    """
    from eventdrill.workflows.capacity import Plan
    from eventdrill.workflows.gameday import GameDay
    from reports.document import drawings_in

    match shown:
        case (Plan() as plan,):
            from reports.capacity_page import capacity_document

            return drawings_in(capacity_document(plan.scenario, plan.to_json()))
        case (GameDay() as day,):
            from eventdrill.workflows.gameday_score import judged, postmortem

            return [drawing for folder in reversed(judged(day)) for drawing in drawings_in(postmortem(day, folder))]
    runs = [each for each in shown if not isinstance(each, Plan | GameDay)]
    if len(runs) < len(shown):
        raise TypeError("figures are of runs, of one capacity plan, or of one game day; not of several kinds at a time")
    from reports.contents import contents
    from reports.page import drawings_of

    return drawings_of(contents(runs))


def prediction_page(path: Path, prediction: "Prediction", notices: tuple[str, ...]) -> None:
    """Write the page of a prediction, before anything is driven."""
    from eventdrill.workflows.record import predictions
    from reports.page import write_page
    from reports.record import coverage_of_all

    write_page(
        path,
        [prediction.run],
        lag_bands=prediction.lag,
        profile=prediction.profile,
        prediction_sha256=prediction.sha256,
        notices=notices,
        record=coverage_of_all(predictions()),
    )


def verification_page(result: "Verification") -> None:
    """Write the page of a comparison: the prediction first, then the live runs."""
    from eventdrill.workflows.record import predictions
    from reports.page import write_page
    from reports.record import coverage_of_all

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
        record=coverage_of_all(predictions()),
    )
