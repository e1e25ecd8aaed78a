"""One calibration, then verifications on fresh clusters with repeats: do verdicts flip, and are intervals as wide as runs lie apart?

`make repeats` calibrates a cluster of its own, then predicts a scenario with a broker's crash and drives it four times on each of three fresh
clusters, all of them warmed as the first one was. repeats.csv keeps every figure, docs/agreement.md gets the table. All runs count.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from scipy.stats import binomtest
from warmed import calibrated, warm

from eventdrill.terminal import say
from eventdrill.workflows.pace import broker_drift
from eventdrill.workflows.places import spec_of, start_cluster
from eventdrill.workflows.telling import on_terminal
from eventdrill.workflows.verify import Work
from reports.agreement import WIDEST, Verdict, spread
from reports.record import UNLIKELY
from rundata.run import Run
from scenarios.files import LoadedScenario, load_scenario
from scenarios.profiles import Profile

HERE = Path(__file__).parent
FILE = HERE / "repeats.csv"
PAGE = HERE.parent.parent / "docs" / "agreement.md"
BEGIN, END = "<!-- repeats: begin -->", "<!-- repeats: end -->"
SCENARIO = HERE.parent / "predictions" / "03-leader-killed-librdkafka-default.yaml"
CLUSTERS, REPEATS = 3, 4
WARM_S = 10.0


@dataclass(frozen=True)
class Row:
    """One figure of one live run; a row of repeats.csv."""

    cluster: int
    run: int
    figure: str
    predicted: float | None
    low: float | None
    high: float | None
    observed: float | None
    verdict: str
    """Of the cluster's first run, with the others as its repeats."""
    affected: bool
    broker_drift: float | None
    """By which share brokers took more CPU for what they were asked than when they were calibrated."""


def measure(loaded: LoadedScenario, clusters: int, repeats: int) -> pd.DataFrame:
    """Calibrate once, verify on fresh clusters, and return a row for each figure of each run."""
    rows = list[Row]()
    with tempfile.TemporaryDirectory(prefix="eventdrill-") as folder:
        profile = _profile(loaded, Path(folder) / "calibration")
        for cluster in range(1, clusters + 1):
            say(f"--- verification {cluster} of {clusters}")
            rows += _verified(loaded, Path(folder) / str(cluster), profile, cluster, repeats)
            pd.DataFrame(rows).to_csv(FILE, index=False)
    return pd.DataFrame(rows)


def _profile(loaded: LoadedScenario, folder: Path) -> Profile:
    with start_cluster("local", spec_of(loaded.scenario), say) as cluster:
        return calibrated(cluster, folder)


def _verified(loaded: LoadedScenario, folder: Path, profile: Profile, cluster: int, repeats: int) -> list[Row]:
    folder.mkdir()
    work = Work(loaded, folder, repeats=repeats, telling=on_terminal(), warm_s=WARM_S)
    prediction = work.predict(profile)
    with start_cluster("local", spec_of(loaded.scenario), say) as kafka:
        warm(kafka, folder)
        runs = work.drive(kafka, prediction)
    verdicts = work.compare(prediction, runs).agreement
    return [row for number, run in enumerate(runs, start=1) for row in _rows(verdicts, run, profile, cluster, number)]


def _rows(verdicts: Mapping[str, Verdict], run: Run, profile: Profile, cluster: int, number: int) -> list[Row]:
    drift = broker_drift(run.data, profile)
    return [
        Row(
            cluster,
            number,
            name,
            verdict.predicted,
            *(verdict.interval or (None, None)),
            run.measured[name].value,
            verdict.verdict,
            verdict.affected,
            None if drift is None else round(drift, 3),
        )
        for name, verdict in verdicts.items()
        if name in run.measured
    ]


# ---- all of them together --------------------------------------------------------------------------------------------


def flips(rows: pd.DataFrame) -> list[str]:
    """Return the figures that agree on one cluster and differ on another."""
    said = rows.groupby("figure", sort=False)["verdict"].agg(set)
    return [str(name) for name, verdicts in said.items() if {"agrees", "differs"} <= verdicts]


def table(rows: pd.DataFrame) -> list[dict[str, str]]:
    """Return for each figure with a fault in it: the first prediction, the runs' median and spread, the interval's width in spreads, the runs inside."""
    found = []
    for name, of in rows[rows["affected"]].groupby("figure", sort=False):
        seen = of.dropna(subset=["observed", "low", "high", "predicted"])
        if len(seen) < 2 or (own := spread(seen["observed"].tolist())) == 0:
            continue
        first = seen.iloc[0]
        inside = int(((seen["low"] <= seen["observed"]) & (seen["observed"] <= seen["high"])).sum())
        width = float(first["high"] - first["low"]) / own
        found.append(
            {
                "figure": f"`{name}`",
                "predicted (95 % of runs)": f"{first['predicted']:.4g} ({first['low']:.4g} to {first['high']:.4g})",
                "runs: median (least to most)": f"{seen['observed'].median():.4g} ({seen['observed'].min():.4g} to {seen['observed'].max():.4g})",
                f"width over the runs' own (at most {WIDEST})": f"{width:.2f}",
                "inside": f"{inside} of {len(seen)}{_unlikely(inside, len(seen))}",
            }
        )
    return found


def _unlikely(inside: int, count: int) -> str:
    p = float(binomtest(inside, count, 0.95).pvalue)
    return f" (p = {p:.2g})" if p < UNLIKELY else ""


def report(rows: pd.DataFrame) -> str:
    """Return docs/agreement.md's section."""
    lines = table(rows)
    head = [list(lines[0]), ["---"] * len(lines[0])] if lines else []
    flipped = flips(rows)
    verdicts = rows.drop_duplicates(["cluster", "figure"])["verdict"].value_counts()
    counts = ", ".join(f"{int(verdicts.get(verdict, 0))} {verdict}" for verdict in ("agrees", "cannot tell", "differs"))
    drift = rows["broker_drift"].dropna()
    return "\n".join(
        [
            f"{rows['cluster'].nunique()} verifications, {len(rows.drop_duplicates(['cluster', 'run']))} runs; verdicts: {counts}. "
            f"Flips between *agrees* and *differs*: {', '.join(flipped) if flipped else 'none'}. "
            + (
                f"Brokers took {drift.min():+.0%} to {drift.max():+.0%} CPU time against the calibration."
                if len(drift)
                else ""
            ),
            "",
            *("| " + " | ".join(cells) + " |" for cells in [*head, *(list(line.values()) for line in lines)]),
        ]
    )


def write(rows: pd.DataFrame) -> None:
    """Put the section into docs/agreement.md."""
    text = PAGE.read_text("utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    when = f"Written by `make repeats` on {datetime.now(UTC):%Y-%m-%d}."
    PAGE.write_text(f"{before}{BEGIN}\n\n{when} {report(rows)}\n\n{END}{after}", "utf-8")


def main() -> int:
    """Measure, or with --report only write the page again from repeats.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", default=str(SCENARIO), help="name or file of the scenario")
    parser.add_argument("--clusters", type=int, default=CLUSTERS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--report", action="store_true", help="measure nothing")
    asked = parser.parse_args()
    rows = pd.read_csv(FILE) if asked.report else measure(load_scenario(asked.scenario), asked.clusters, asked.repeats)
    write(rows)
    print(report(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
