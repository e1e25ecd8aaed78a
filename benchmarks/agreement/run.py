"""Steady states over the whole space of settings, each predicted before it is measured; `make agreement` writes docs/agreement.md.

Forty points of a space-filling design over rate, linger, batch size, partitions, acks, members and work. A private cluster is warmed and
calibrated; then every point is simulated before any is driven on that cluster, the first ones three times, so that the distance between the
prediction and a run can be held against the distance between two runs. All runs count; grid-6.csv keeps every figure, grid-6.yaml the profile. From
the first five designs (grid.csv, grid-2.csv to grid-5.csv) the model learned how brokers and clients wait for cores, that a single partition is quicker,
how sure a calibration is, and what made it unsure; `--design 1` to `--design 5` drive them again.
"""

import argparse
import csv
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest, qmc
from warmed import calibrated, fresh, warm

from eventdrill.terminal import say
from eventdrill.workflows.doubts import doubts
from eventdrill.workflows.pace import broker_drift
from eventdrill.workflows.places import spec_of, start_cluster
from eventdrill.workflows.prediction import Prediction
from eventdrill.workflows.telling import on_terminal
from eventdrill.workflows.verify import Work
from loadgen.clusters.model import Cluster
from reports.agreement import TOLERANCES, judge
from reports.record import UNLIKELY, ratio_to_repeats
from rundata.run import Run
from scenarios.files import LoadedScenario, load_text
from scenarios.profiles import Profile, load_profile, save_profile

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "agreement.md"
POINTS, REPEATED, REPEATS = 40, 6, 3
SEEDS = {1: 20_261, 2: 20_262, 3: 20_263, 4: 20_264, 5: 20_265, 6: 20_266}
"""By design."""
DURATIONS_S = {1: 14, 2: 14, 3: 14, 4: 14, 5: 26, 6: 26}
"""By design: how long a point is driven. In 12 s of 200 events/s two dozen are beyond the p99, which differs between such runs by a tenth and more."""
LATEST = 6
LOADS_HZ = (150, 400)
"""Where the table by load is cut."""
REPLICATIONS = 80
WARM_S = 4.0
FIGURES = (
    "latency.p50",
    "latency.p95",
    "latency.p99",
    "produced",
    "consumed",
    "consumed.saturated",
    "consumed.windows",
    "lag.max",
    "drain_time",
    "lost",
    "duplicate_effects",
)
ERRORS = tuple(name for name in FIGURES if name not in ("lost", "duplicate_effects"))


@dataclass(frozen=True)
class Point:
    """One steady state."""

    number: int
    rate_hz: int
    linger_ms: float
    batch_size_bytes: int
    partitions: int
    acks: str
    members: int
    utilisation: float
    """Share of a member's time that its work takes, for the member with most partitions; beyond 1 the group falls behind."""
    duration_s: int

    @property
    def work_us(self) -> int:
        """Work per event."""
        busiest = math.ceil(self.partitions / self.members) / self.partitions
        return max(50, round(1e6 * self.utilisation / (self.rate_hz * busiest)))

    @property
    def requests_hz(self) -> float:
        """About how many produce requests a second: one a partition for what comes within a linger."""
        return self.rate_hz / (1 + self.rate_hz / self.partitions * self.linger_ms / 1000)

    @property
    def scenario(self) -> LoadedScenario:
        """The point as a scenario; one that falls behind has ten seconds more to catch up."""
        drain = 15 if self.utilisation < 1 else 25
        return load_text(
            f"""
scenario: steady-{self.number:02}
duration: {self.duration_s}s
warm_up: 2s
drain: {drain}s
seed: {100 + self.number}
brokers: {{kind: kafka, nodes: 3}}
topics: {{orders: {{partitions: {self.partitions}, replication: 3, settings: {{min.insync.replicas: 2}}}}}}
producers:
  shop:
    topic: orders
    arrivals: {self.rate_hz}/s
    key: {{uniform: 5000}}
    size: 300B
    settings: {{acks: {self.acks}, enable.idempotence: {str(self.acks == "all").lower()}, linger.ms: {self.linger_ms:g}, batch.size: {self.batch_size_bytes}}}
groups:
  work: {{topics: [orders], members: {self.members}, work: {self.work_us}us, commit: {{every: 1s}}}}
""",
            f"steady-{self.number:02}",
        )


def design(which: int = LATEST, count: int = POINTS) -> list[Point]:
    """Return the points of a design: a Latin hypercube over seven dimensions, one in eight with more work than its members can do."""
    unit = qmc.LatinHypercube(7, seed=np.random.default_rng(SEEDS[which])).random(count)
    return [_point(number, row, DURATIONS_S[which]) for number, row in enumerate(unit, start=1)]


def _point(number: int, unit: "np.ndarray[tuple[int], np.dtype[np.float64]]", duration_s: int) -> Point:
    partitions = _of((1, 3, 6, 12), unit[3])
    utilisation = 0.1 + 0.7 * unit[6] / 0.875 if unit[6] < 0.875 else 1.1 + 0.4 * (unit[6] - 0.875) / 0.125
    return Point(
        number,
        rate_hz=round(50 * 20 ** unit[0]),
        linger_ms=_of((0, 1, 5, 20, 50), unit[1]),
        batch_size_bytes=_of((2048, 16384, 1000000), unit[2]),
        partitions=partitions,
        acks=_of(("1", "all", "all"), unit[4]),
        members=min(_of((1, 2, 3, 4), unit[5]), partitions),
        utilisation=round(float(utilisation), 3),
        duration_s=duration_s,
    )


def _of(values: Sequence[Any], unit: float) -> Any:
    return values[int(unit * len(values))]


# ---- one point after the other ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figure:
    """One figure of one live run beside its prediction; a row of grid-6.csv."""

    point: int
    run: int
    figure: str
    predicted: float
    low: float
    high: float
    observed: float
    error: float
    """observed/predicted - 1; of a series the total absolute difference over the predicted total."""
    verdict: str
    doubt: str
    broker_drift: float
    """By which share brokers took more CPU for what they were asked than when they were calibrated; nan where that cannot be told."""


def figures(point: Point, prediction: Prediction, runs: Sequence[Run]) -> list[Figure]:
    """Return what became of each predicted figure in each run."""
    found = []
    for number, run in enumerate(runs, start=1):
        verdicts = judge(
            point.scenario.scenario,
            prediction.estimates,
            run.measured,
            fitted=prediction.fitted,
            limited="; ".join(run.invalid) or None,
            doubts=(said := doubts(run.data, prediction.profile)),
        )
        drift = broker_drift(run.data, prediction.profile)
        for name in FIGURES:
            if (verdict := verdicts.get(name)) is None:
                continue
            low, high = verdict.interval or (None, None)
            numbers = (verdict.predicted, low, high, verdict.observed, verdict.difference)
            row = [math.nan if number is None else float(f"{number:.6g}") for number in numbers]
            reason = "; ".join(filter(None, [*run.invalid, said.get(name)]))
            slower = math.nan if drift is None else round(drift, 3)
            found.append(Figure(point.number, number, name, *row, verdict.verdict, reason, slower))
    return found


@dataclass(frozen=True)
class Grid:
    """Which points are predicted and driven, and where what they show is kept."""

    which: int
    numbers: Sequence[int]
    repeated: int
    profile_name: str | None = None
    keep: Path | None = None
    """Where the datasets of all runs stay."""

    @property
    def file(self) -> Path:
        """A row for each figure of each run."""
        return HERE / ("grid.csv" if self.which == 1 else f"grid-{self.which}.csv")

    @property
    def profile_file(self) -> Path:
        """The profile that predicted."""
        return self.file.with_suffix(".yaml")

    def done(self) -> set[int]:
        """Return the points that are in the file."""
        return set(pd.read_csv(self.file)["point"]) if self.file.exists() else set()

    def points(self) -> list[Point]:
        """Return the points that are to be driven."""
        return [point for point in design(self.which) if point.number in self.numbers]


def measure(grid: Grid, *, resumes: bool) -> None:
    """Predict and drive points on one cluster; what was measured is in the file after each of them.

    What resumes leaves out the points that are there, and predicts with the profile of before.
    """
    done = grid.done() if resumes else set()
    points = [point for point in grid.points() if point.number not in done]
    if not points:
        return
    if done and grid.profile_name is None and not grid.profile_file.exists():
        sys.exit(
            f"{grid.profile_file}: there is no such file, and with it none of the profile that predicted the {len(done)} points in "
            f"{grid.file.name}; name a profile with --profile, or measure all points anew without --resume"
        )
    with (
        tempfile.TemporaryDirectory(prefix="eventdrill-") as temporary,
        start_cluster("local", spec_of(points[0].scenario.scenario), say) as cluster,
        grid.file.open("a" if done else "w", encoding="utf-8", newline="") as file,
    ):
        folder = grid.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        profile = _profile(grid, cluster, folder, resumes=bool(done))
        say(f"predicting with {profile.measured_on}")
        writer = csv.writer(file)
        if not done:
            writer.writerow(Figure.__annotations__)
        works = {point.number: _work(point, folder, grid.repeated) for point in points}
        predictions = {point.number: works[point.number].predict(profile) for point in points}
        for point in points:
            say(f"--- {point}")
            runs = works[point.number].drive(cluster, predictions[point.number])
            for row in figures(point, predictions[point.number], runs):
                writer.writerow(row.__dict__.values())
            file.flush()


def _profile(grid: Grid, cluster: Cluster, folder: Path, *, resumes: bool) -> Profile:
    """Return the profile that predicts: the one that was asked for, that of before, or one of just these brokers, warmed."""
    if grid.profile_name or resumes:
        warm(cluster, folder)
        return load_profile(grid.profile_name or grid.profile_file)
    profile = calibrated(cluster, folder)
    save_profile(profile, grid.profile_file)
    return profile


def _work(point: Point, folder: Path, repeated: int) -> Work:
    own = fresh(folder / str(point.number))
    own.mkdir()
    repeats = REPEATS if point.number <= repeated else 1
    return Work(point.scenario, own, repeats=repeats, replications=REPLICATIONS, telling=on_terminal(), warm_s=WARM_S)


# ---- all of them together --------------------------------------------------------------------------------------------


def errors(rows: pd.DataFrame) -> list[dict[str, str]]:
    """Return for each figure how far runs were from their predictions: median, 95th percentile, coverage, ratio to repeats."""
    found = []
    for name in ERRORS:
        of = rows[rows["figure"] == name]
        error = of["error"].abs().dropna()
        if error.empty:
            continue
        known = of.dropna(subset=["low", "observed"])
        inside = int(((known["low"] <= known["observed"]) & (known["observed"] <= known["high"])).sum())
        found.append(
            {
                "figure": f"`{name}`",
                "runs": str(len(error)),
                "error, median": f"{error.median():.1%}",
                "95th percentile": f"{error.quantile(0.95):.1%}",
                "band": f"{TOLERANCES[name]:.0%}" if name in TOLERANCES else "",
                "within it": f"{(error <= TOLERANCES[name]).mean():.0%}" if name in TOLERANCES else "",
                "inside 95 %": f"{inside} of {len(known)}{_unlikely(inside, len(known))}" if len(known) else "",
                "interval score": _score(known),
                "ratio to repeats": _ratio(of),
            }
        )
    return found


def _unlikely(inside: int, count: int) -> str:
    p = float(binomtest(inside, count, 0.95).pvalue)
    return f" (p = {p:.2g})" if p < UNLIKELY else ""


def _score(known: pd.DataFrame) -> str:
    """Return the mean interval score over the observation; a miss costs forty times its distance."""
    if known.empty or not (known["observed"] > 0).any():
        return ""
    misses = (known["low"] - known["observed"]).clip(lower=0) + (known["observed"] - known["high"]).clip(lower=0)
    scores = ((known["high"] - known["low"]) + 40 * misses) / known["observed"]
    return f"{scores[known['observed'] > 0].mean():.2f}"


def _ratio(of: pd.DataFrame) -> str:
    """Return how far predictions were from runs, over how far runs were from each other, over the points that were repeated."""
    found = ratio_to_repeats(of, "point")
    return "" if found is None else f"{found:.2f}"


def by_load(rows: pd.DataFrame, which: int = LATEST) -> list[dict[str, str]]:
    """Return how large the errors of latencies are by how many requests the brokers get: median, and 95th percentile."""
    requests_hz = rows["point"].map({point.number: point.requests_hz for point in design(which)})
    found = []
    for low, high in zip((0, *LOADS_HZ), (*LOADS_HZ, math.inf), strict=True):
        of = rows[(requests_hz >= low) & (requests_hz < high)]
        errors_of = {
            name: of.loc[of["figure"] == name, "error"].abs().dropna()
            for name in ("latency.p50", "latency.p95", "latency.p99")
        }
        if errors_of["latency.p50"].empty:
            continue
        found.append(
            {
                "produce requests": f"{low} to {high:.0f}/s" if math.isfinite(high) else f"above {low}/s",
                "runs": str(len(errors_of["latency.p50"])),
                **{
                    f"`{name}`": f"{error.median():.1%}, {error.quantile(0.95):.1%}"
                    for name, error in errors_of.items()
                },
            }
        )
    return found


def _drift(rows: pd.DataFrame) -> str:
    """Return how far brokers' CPU time went from the calibration's, and how much of the medians' errors goes with it."""
    told = rows[rows["figure"] == "latency.p50"].dropna(subset=["broker_drift", "error"])
    if len(told) < 3:
        return ""
    together = float(np.corrcoef(told["broker_drift"], told["error"])[0, 1])
    return (
        f" In {len(told)} runs near the calibration's load brokers took {told['broker_drift'].min():+.0%} to {told['broker_drift'].max():+.0%} CPU time "
        f"for what they were asked; the errors of `latency.p50` go with it (correlation {together:.2f})."
    )


def report(rows: pd.DataFrame, which: int = LATEST) -> str:
    """Return docs/agreement.md's section."""
    verdicts = rows["verdict"].value_counts()
    doubts = rows.drop_duplicates(["point", "run"])["doubt"].fillna("").astype(bool).sum()
    runs = len(rows.drop_duplicates(["point", "run"]))
    counts = ", ".join(f"{int(verdicts.get(verdict, 0))} {verdict}" for verdict in ("agrees", "cannot tell", "differs"))
    return "\n".join(
        [
            f"{rows['point'].nunique()} points, {runs} runs, {len(rows)} verdicts: {counts}. "
            f"Runs whose host was not calm, by what they measured themselves: {doubts}.{_drift(rows)}",
            "",
            *_lines(errors(rows)),
            "",
            "The errors of latencies (median, 95th percentile) by load:",
            "",
            *_lines(by_load(rows, which)),
        ]
    )


def _lines(table: Sequence[dict[str, str]]) -> list[str]:
    cells = [list(table[0]), ["---"] * len(table[0]), *(list(row.values()) for row in table)]
    return ["| " + " | ".join(row) + " |" for row in cells]


def write(rows: pd.DataFrame, which: int) -> None:
    """Put the design's section into docs/agreement.md."""
    name = "grid" if which == 1 else f"grid-{which}"
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = PAGE.read_text("utf-8")
    before, after = text.split(begin)[0], text.split(end)[1]
    when = f"Written by `make agreement` on {datetime.now(UTC):%Y-%m-%d}."
    PAGE.write_text(f"{before}{begin}\n\n{when} {report(rows, which)}\n\n{end}{after}", "utf-8")


def numbers_of(text: str) -> list[int]:
    """Return the points that are meant: `1-40`, `5,7,12-20`."""
    found = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return [number for number in found if 1 <= number <= POINTS]


def main() -> int:
    """Measure, or with --report only write the page again from what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--profile", help="name or file of a profile that predicts, where the cluster is not to be calibrated"
    )
    parser.add_argument("--design", type=int, default=LATEST, choices=SEEDS, help="1 to 5: the forty points of before")
    parser.add_argument("--points", default=f"1-{POINTS}", help="only these: 1-10, or 5,7,12-20")
    parser.add_argument(
        "--repeated", type=int, default=REPEATED, help=f"the first so many of the design are driven {REPEATS} times"
    )
    parser.add_argument(
        "--resume", action="store_true", help="leave out what is there, and predict with the profile of before"
    )
    parser.add_argument("--keep", type=Path, help="a folder in which the datasets of all runs stay")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    asked = parser.parse_args()
    grid = Grid(asked.design, numbers_of(asked.points), asked.repeated, asked.profile, asked.keep)
    if not asked.report:
        measure(grid, resumes=asked.resume)
    rows = pd.read_csv(grid.file)
    write(rows, grid.which)
    print(report(rows, grid.which))
    return 0


if __name__ == "__main__":
    sys.exit(main())
