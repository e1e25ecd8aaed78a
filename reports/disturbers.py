"""What can hurt a run: its faults, and what people did to it that can do harm, each for as long as it could."""

from dataclasses import replace

from rundata.tables import FaultRecord, RunData
from scenarios.actions import Action, Deploy

HARMFUL_ACTIONS = ("deploy", "reset_offsets")


def disturbers(run: RunData) -> tuple[FaultRecord, ...]:
    """Return the faults of a run, then its deploys and resets of offsets."""
    planned = {each.label: each.action for each in run.plan.actions}
    return (
        *run.faults,
        *(
            _as_long_as_it_hurts(run, each, planned.get(each.label))
            for each in run.actions
            if each.kind in HARMFUL_ACTIONS
        ),
    )


def action_of(run: RunData, record: FaultRecord) -> Action | None:
    """Return the action of the scenario that a record is about; None for a fault's."""
    return next(
        (each.action for each in run.plan.actions if record.kind in HARMFUL_ACTIONS and each.label == record.label),
        None,
    )


def _as_long_as_it_hurts(run: RunData, record: FaultRecord, action: Action | None) -> FaultRecord:
    """Return a deploy with the time for which its version was in use, where that version fails or is slower; anything else as it is."""
    if not isinstance(action, Deploy) or not (action.fails or action.work is not None) or "rolled back" in record.proof:
        return record
    next_ns = [
        each.ended_ns for each in run.actions if _replaces(run, each, action) and each.began_ns > record.began_ns
    ]
    return replace(record, ended_ns=min([*next_ns, run.end_ns]))


def _replaces(run: RunData, record: FaultRecord, deployed: Deploy) -> bool:
    action = action_of(run, record)
    return isinstance(action, Deploy) and action.group == deployed.group
