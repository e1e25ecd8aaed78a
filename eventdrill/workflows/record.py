"""Where the record of predictions lies: one Parquet file for each verification, written at once, in XDG_STATE_HOME."""

import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from eventdrill.workflows.verify import Verification


def record_folder() -> Path:
    """Return the folder of the record, `predictions.parquet`: pandas and others read it as one table."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "eventdrill" / "predictions.parquet"


def predictions() -> "pd.DataFrame":
    """Return every figure that was ever predicted and then looked for on this machine, one row for each and each live run."""
    import pandas as pd

    parts = sorted(record_folder().glob("*.parquet"))
    found = [part for part in (pd.read_parquet(path) for path in parts) if len(part)]
    if not found:
        return pd.DataFrame()
    return pd.concat(found, ignore_index=True).sort_values(
        ["verified_at", "prediction", "run"], kind="stable", ignore_index=True
    )


def remember(result: "Verification") -> None:
    """Add a verification to the record; every one counts, whatever it showed."""
    from eventdrill.workflows.doubts import other_brokers
    from reports.record import entries, frame

    plan, first = result.prediction.plan, result.observed[0].data
    found = entries(
        result.agreement,
        verified_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        prediction=result.prediction.sha256,
        scenario=plan.scenario.scenario,
        seed=plan.seed,
        brokers=" ".join(str(first.about.get("brokers", {}).get(key, "")) for key in ("implementation", "version")),
        faults=", ".join(sorted({planned.fault.kind for planned in plan.faults})),
        counts=other_brokers(first, result.prediction.profile) is None
        and not any(run.invalid for run in result.observed),
    )
    folder = record_folder()
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
    hidden = folder / f".{name}"
    frame(found).to_parquet(hidden)
    hidden.rename(folder / f"{name}.parquet")
