"""The predictions of Kafka's behaviour: formula, simulated interval, observed on a real cluster; `make predictions` writes docs/agreement.md.

Each scenario beside this file is predicted, driven and compared like any other (`eventdrill verify`), on a private cluster that its like share. Formulas
come from Kafka's rules and defaults, not from the simulator. Name scenarios to run only those, whose lines are replaced in figures.csv and on the page;
`--simulated` drives none.
"""

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from eventdrill.terminal import say
from eventdrill.workflows.places import spec_of, start_cluster
from eventdrill.workflows.telling import on_terminal
from eventdrill.workflows.verify import Work
from loadgen.refuse import cannot
from rundata.replications import Estimate, summarise
from scenarios.files import load_scenario
from scenarios.profiles import load_profile
from sim.experiments import replicate

HERE = Path(__file__).parent
FILE = HERE / "figures.csv"
PAGE = HERE.parent.parent / "docs" / "agreement.md"
BEGIN, END = "<!-- predictions: begin -->", "<!-- predictions: end -->"
REPLICATIONS = 100
WARM_S = 10.0
"""Gaps and counts do not wait for compilers; `verify` itself warms up for a minute."""


@dataclass(frozen=True)
class Formula:
    """What Kafka's rules say of an indicator, in words and as bounds."""

    indicator: str
    words: str
    low: float
    high: float


_FENCE = "fence after 9 s + U(0, 1.125) - U(0, 2)"
FORMULAS: dict[str, tuple[Formula, ...]] = {
    "01-leader-killed-java": (
        Formula("write_gap[orders]", f"{_FENCE}, leader found after U(0.1, 1.2)", 7.1, 11.3),
        Formula("lost", "none with acks=all", 0, 0),
        Formula("duplicate_deliveries.log", "none: idempotent", 0, 0),
    ),
    "02-leader-killed-and-restarted": (
        Formula("write_gap[orders]", f"{_FENCE}: a quick restart wins nothing", 7.0, 12.3),
        Formula("lost", "none with acks=all", 0, 0),
    ),
    "03-leader-killed-librdkafka-default": (
        Formula("write_gap[orders]", f"{_FENCE}, leader found after U(0.4, 2.2)", 7.0, 12.3),
        Formula("lost", "none with acks=all", 0, 0),
        Formula("duplicate_deliveries.log", "at most what was in flight", 0, 50),
    ),
    "04-leader-killed-acks-1": (
        Formula("lost", "at most the replication lag, some 0.1 s of 400/s", 0, 40),
        Formula("gap[work]", f"{_FENCE}, leader found after U(0.4, 2.2)", 7.0, 12.3),
    ),
    "05-follower-killed": (
        Formula("write_gap[orders]", f"{_FENCE}: the high watermark waits for it", 7.0, 10.7),
        Formula("gap[work]", "the same for consumers", 7.0, 10.7),
        Formula("lost", "none", 0, 0),
    ),
    "06-follower-killed-acks-1": (
        Formula("write_gap[orders]", "none: the leader answers alone", 0, 0.5),
        Formula("gap[work]", f"{_FENCE}: the high watermark waits for it", 7.0, 10.7),
    ),
    "07-leader-stopped": (
        Formula("write_gap[orders]", "leaders move first; clients look for 0.1 to 0.6 s", 0.02, 1.0),
        Formula("lost", "none", 0, 0),
    ),
    "08-member-killed-classic": (
        Formula("gap[work]", "45 s - U(0, 3) + U(0, 3), and a rebalance", 42, 49),
        Formula("duplicate_effects", "at most 5 s of a member's 100/s", 0, 520),
        Formula("lost", "none", 0, 0),
    ),
    "09-member-killed-consumer": (
        Formula("gap[work]", "45 s - U(0, 5) + U(0, 5)", 40, 50.5),
        Formula("duplicate_effects", "at most 5 s of a member's 100 to 120/s", 0, 600),
    ),
    "10-member-leaves-classic": (
        Formula("gap[work]", "heard of at the next heartbeat: U(0, 3), and a rebalance", 0, 4),
        Formula("duplicate_effects", "none: it commits first", 0, 0),
    ),
    "11-member-leaves-consumer": (
        Formula("gap[work]", "heard of at the next heartbeat: U(0, 5)", 0, 5.6),
        Formula("duplicate_effects", "none: it commits first", 0, 0),
    ),
    "12-drain": (
        Formula("drain_time[work]", "lambda (T - 1 s) / (mu - lambda), T 12 to 15.5 s, mu 480 to 500/s", 15.5, 25),
    ),
    "21-member-hangs-in-a-transaction": (
        Formula(
            "gap[committed]",
            "if a transaction is open when it hangs: transaction.timeout.ms, 60 s from its begin up to 1 s before, + U(0, 10)",
            0,
            72,
        ),
        Formula("gap[uncommitted]", "none: the other member goes on", 0, 3),
        Formula("lost", "none", 0, 0),
    ),
    "23-share-holder-hangs": (
        Formula(
            "latency[work].max", "if it holds a record when it hangs: the lock of 30 s, and what is under way", 0, 31.5
        ),
        Formula("passed", "none: 2 deliveries of 5", 0, 0),
    ),
    "24-share-holder-killed": (
        Formula("latency[work].max", "released when its connections close", 0, 0.8),
        Formula("passed", "none", 0, 0),
    ),
    "25-share-release-loop": (
        Formula("passed", "given up after the fifth delivery: the three poison events", 3, 3),
        Formula("duplicate_deliveries", "four more of each", 12, 12),
    ),
    "31-java-member-killed-classic": (
        Formula("gap[work]", "45 s - U(0, 3) + U(0, 3), and a rebalance", 42, 49),
        Formula("duplicate_effects", "at most 5 s of a member's 100/s, and a poll", 0, 520),
        Formula("passed", "none: auto commits what earlier calls handed over", 0, 0),
    ),
    "32-java-member-killed-consumer": (
        Formula("gap[work]", "45 s - U(0, 5) + U(0, 5)", 40, 50.5),
        Formula("duplicate_effects", "at most 5 s of a member's 100 to 120/s, and a poll", 0, 620),
        Formula("passed", "none: auto commits what earlier calls handed over", 0, 0),
    ),
    "33-java-auto-commit-killed-in-a-batch": (
        Formula("passed", "none: only a call commits, and only what earlier ones handed over", 0, 0),
        Formula("lost", "none", 0, 0),
    ),
    "34-leader-hangs-java": (
        Formula("write_gap[orders]", "request.timeout.ms, 30 s, although others lead after 9 s", 29.5, 31.5),
        Formula("gap[work]", "the same for members", 29.5, 32),
        Formula("lost", "none with acks=all", 0, 0),
    ),
    "13-auto-commit-killed-in-a-batch": (
        Formula("passed", "at most one batch of 500", 0, 500),
        Formula("lost", "none: the log has them", 0, 0),
    ),
    "14-leader-hangs-5s": (
        Formula(
            "write_gap[orders]", "as long as it hangs, from the first event that waits: connections go on", 4.9, 5.4
        ),
        Formula("lost", "none", 0, 0),
    ),
    "15-leader-hangs-20s-acks-1": (
        Formula("write_gap[orders]", "as long as it hangs, and a look for the new leader", 19.9, 21.5),
        Formula("lost", "lambda T = 100/s * 20 s, and up to 0.4 s more: acknowledged in vain", 1850, 2250),
    ),
    "16-leader-hangs-80s-java": (
        Formula("write_gap[orders]", "request.timeout.ms = 30 s, and a look for the new leader", 30.0, 31.5),
        Formula("lost", "none with acks=all", 0, 0),
    ),
    "17-leader-hangs-80s-librdkafka": (
        Formula("write_gap[orders]", "socket.timeout.ms = 60 s, and a look for the new leader", 60.0, 72.0),
        Formula("gap[work]", "60 s and up to a fetch's wait, and a look for the new leader", 59.5, 73.0),
    ),
    "18-controller-killed": (
        Formula(
            "write_gap[orders]",
            "2.03 to 2.06 s for another controller, a session of 9 s, a look for the leader",
            11.0,
            13.7,
        ),
        Formula("lost", "none with acks=all", 0, 0),
    ),
    "19-follower-cut-off": (
        Formula(
            "write_gap[orders]", "replica.lag.time.max.ms = 30 s, and up to half of it to the next look", 29.9, 46.5
        ),
        Formula("lost", "none", 0, 0),
    ),
    "20-all-followers-cut-off": (
        Formula(
            "write_gap[orders]", "as long as the cut, up to 2 s into the in-sync set, 1.2 s to the next try", 50.0, 53.2
        ),
        Formula("lost", "none", 0, 0),
    ),
    "21-all-followers-cut-off-acks-1": (
        Formula("write_gap[orders]", "none: the leader answers alone", 0, 0.5),
        Formula("gap[work]", "as long as the cut, and up to 2 s into the in-sync set: nothing is visible", 49.9, 53.2),
    ),
    "22-leader-isolated-acks-1": (
        Formula("lost", "lambda (60 s - F) = 50/s * (49.9 to 53 s): acknowledged in vain", 2350, 2800),
        Formula("write_gap[orders]", "none: the old leader goes on answering", 0, 0.5),
    ),
    "23-leader-isolated-java": (
        Formula("write_gap[orders]", "request.timeout.ms = 30 s from the fence on", 29.9, 31.5),
        Formula("lost", "none with acks=all", 0, 0),
    ),
    "24-two-followers-killed": (
        Formula(
            "write_gap[orders]",
            "20 s, a start, 3 to 6 s into the in-sync set, and the wait for the next try",
            20.0,
            28.5,
        ),
        Formula("lost", "none", 0, 0),
    ),
    "25-records-deleted": (
        Formula("expired[work]", "lambda (15 s - 1 s) = 100/s * 14 s, deleted unread", 1250, 1560),
        Formula(
            "passed[work]",
            "lambda (6 s + U(0, 5)): there and skipped when the heartbeat brings the assignment",
            500,
            1250,
        ),
    ),
    "41-member-does-not-call": (
        Formula("gap[work]", "max.poll.interval.ms = 12 s, and U(0, 3) until the others hear of it", 11.9, 16.0),
        Formula("duplicate_effects", "at most what was not committed: 1 s of a member's 100/s, and a batch", 0, 250),
        Formula("lost", "none", 0, 0),
    ),
    "42-retry-topic": (
        Formula("latency[work].max", "back from the retry topic when its backoff of 2 s is over", 2.0, 2.3),
        Formula("latency[work].p50", "nobody is held up by it", 0, 0.05),
        Formula("dead_lettered", "none: the second try works", 0, 0),
    ),
    "43-leader-moved": (
        Formula("write_gap[orders]", "nobody waits for a session; clients look for 0.1 to 0.6 s", 0.02, 1.0),
        Formula("lost", "none", 0, 0),
    ),
    "44-producer-over-its-quota": (
        Formula(
            "write_gap[orders]",
            "what was kept back goes in one request: each wait is (rate - quota) / quota = 4 times the one before, until the quota is gone",
            7,
            60,
        ),
        Formula("lost", "none: the connection waits, nothing is refused", 0, 0),
    ),
    "46-member-killed-in-a-transaction": (
        Formula(
            "gap[committed]",
            "if a transaction is open when it dies: 8 s until it is back and aborts it, a rebalance, and the batch again",
            0,
            16,
        ),
        Formula("duplicate_effects[committed]", "none: what was open is aborted", 0, 0),
        Formula("lost", "none", 0, 0),
    ),
    "47-leader-killed-under-transactions": (
        Formula("gap[committed]", f"{_FENCE}, and the batch that waited for it, or once more", 0, 18),
        Formula("duplicate_effects[committed]", "none: a batch is committed whole or aborted", 0, 0),
        Formula("lost", "none with acks=all", 0, 0),
    ),
    "27-leader-killed-acks-1-java": (
        Formula("lost", "at most the replication lag, some 0.1 s of 400/s", 0, 40),
        Formula("write_gap[orders]", f"{_FENCE}, leader found after U(0.1, 1.2)", 7.1, 11.3),
    ),
}


@dataclass(frozen=True)
class Row:
    """One line of the table, and of figures.csv."""

    scenario: str
    indicator: str
    simulated: float | None
    low: float | None
    high: float | None
    """Between them are 95 % of the simulated runs."""
    observed: tuple[float | None, ...] = ()
    verdict: str = ""
    when: str = ""
    """Date of the live runs."""

    @classmethod
    def of(cls, scenario: str, formula: Formula, simulated: Estimate) -> "Row":
        """Return the line of what was simulated."""
        low, high = simulated.interval or (None, None)
        return cls(scenario, formula.indicator, simulated.value, low, high)

    @property
    def formula(self) -> Formula:
        """What Kafka's rules say of it."""
        return next(one for one in FORMULAS[self.scenario] if one.indicator == self.indicator)

    def cells(self) -> list[str]:
        """Return the line as Markdown cells."""
        formula = self.formula
        bounds = _text(formula.low) if formula.low == formula.high else f"{_text(formula.low)} to {_text(formula.high)}"
        return [
            self.scenario,
            f"`{self.indicator}`",
            formula.words,
            bounds,
            f"{_text(self.simulated)} ({_text(self.low)} to {_text(self.high)})",
            ", ".join(_text(value) for value in self.observed) or "-",
            self.verdict or "-",
        ]


def stored() -> dict[tuple[str, str], Row]:
    """Return the lines of figures.csv whose formulas still exist."""
    if not FILE.exists():
        return {}
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = [
            Row(
                line["scenario"],
                line["indicator"],
                *(_number(line[name]) for name in ("simulated", "low", "high")),
                observed=tuple(map(_number, line["observed"].split())),
                verdict=line["verdict"],
                when=line["when"],
            )
            for line in csv.DictReader(file)
        ]
    known = {(name, formula.indicator) for name, formulas in FORMULAS.items() for formula in formulas}
    return {key: row for row in rows if (key := (row.scenario, row.indicator)) in known}


def store(rows: Sequence[Row]) -> list[Row]:
    """Put lines into figures.csv in place of older ones; return all that it holds, in the order of the formulas."""
    all_rows = stored() | {(row.scenario, row.indicator): row for row in rows}
    order = [(name, formula.indicator) for name, formulas in FORMULAS.items() for formula in formulas]
    kept = [all_rows[key] for key in order if key in all_rows]
    with FILE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row.__annotations__)
        for row in kept:
            numbers = (_written(value) for value in (row.simulated, row.low, row.high))
            observed = " ".join(map(_written, row.observed))
            writer.writerow([row.scenario, row.indicator, *numbers, observed, row.verdict, row.when])
    return kept


def _number(text: str) -> float | None:
    return None if text == "?" else float(text)


def _written(value: float | None) -> str:
    return "?" if value is None else f"{value:.6g}"


def _text(value: float | None) -> str:
    return "?" if value is None else f"{value:.3g}" if value % 1 else f"{value:.0f}"


def simulated(name: str, replications: int = REPLICATIONS) -> dict[str, Estimate]:
    """Return every indicator's distribution over plans and chance."""
    scenario = load_scenario(str(HERE / f"{name}.yaml")).scenario
    found = replicate(
        scenario, load_profile(scenario.profile), seed=1, replications=replications, same_plan=False, vary_profile=False
    )
    return summarise(found.measured)


def driven(name: str, cluster: object, repeats: int) -> dict[str, tuple[tuple[float | None, ...], str]]:
    """Return by indicator what the live runs showed, and the verdict of `verify`."""
    loaded = load_scenario(str(HERE / f"{name}.yaml"))
    with tempfile.TemporaryDirectory(prefix="eventdrill-") as folder:
        work = Work(loaded, Path(folder), repeats=repeats, telling=on_terminal(), warm_s=WARM_S)
        prediction = work.predict(load_profile(loaded.scenario.profile))
        result = work.compare(prediction, work.drive(cluster, prediction))  # type: ignore[arg-type]  # a private Kafka
    found = {}
    for formula in FORMULAS[name]:
        values = tuple(run.measured[formula.indicator].value for run in result.observed)
        verdict = result.agreement.get(formula.indicator)
        found[formula.indicator] = (values, verdict.verdict if verdict else "")
    return found


def _why_not_driven(name: str) -> list[str]:
    """Return why a scenario is simulated only, and say so."""
    refused = cannot(load_scenario(str(HERE / f"{name}.yaml")).scenario)
    if refused:
        say(f"--- {name} is not driven: {'; '.join(refused)}")
    return refused


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    head = ["scenario", "figure", "what Kafka's rules say", "so", "simulated (95 % of runs)", "observed", "verdict"]
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *(row.cells() for row in rows))]
    return "\n".join(lines)


def write(rows: list[Row]) -> None:
    """Put the table of what was driven into docs/agreement.md."""
    text = PAGE.read_text("utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    shown = [row for row in rows if row.when]
    days = sorted({row.when for row in shown})
    when = f"Written by `make predictions`; driven on {' and '.join(days)}."
    PAGE.write_text(f"{before}{BEGIN}\n\n{when}\n\n{table(shown)}\n\n{END}{after}", "utf-8")


def main() -> int:
    """Run what was asked for; 1 where an observation or a simulated interval leaves its bounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(FORMULAS), help="scenarios, by number or name")
    parser.add_argument("--simulated", action="store_true", help="drive none")
    parser.add_argument("--repeats", type=int, default=2, help="live runs of each")
    asked = parser.parse_args()
    names = [name for name in FORMULAS if any(name == each or name.split("-")[0] == each for each in asked.names)]
    rows = {name: _simulated_rows(name) for name in names}
    if not asked.simulated:
        able = [name for name in names if not _why_not_driven(name)]
        for spec, together in groupby(able, lambda name: spec_of(load_scenario(str(HERE / f"{name}.yaml")).scenario)):
            with start_cluster("local", spec, say) as cluster:
                for name in together:
                    say(f"--- {name}")
                    rows[name] = _driven_rows(rows[name], driven(name, cluster, asked.repeats))
                    write(store(rows[name]))
    found = [row for name in names for row in rows[name]]
    print(table(found))
    outside = [row for row in found if not _holds(row)]
    for row in outside:
        print(f"outside: {json.dumps(row.cells())}", file=sys.stderr)
    return 1 if outside else 0


def _simulated_rows(name: str) -> list[Row]:
    found = simulated(name)
    return [Row.of(name, formula, found[formula.indicator]) for formula in FORMULAS[name]]


def _driven_rows(rows: list[Row], seen: dict[str, tuple[tuple[float | None, ...], str]]) -> list[Row]:
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    return [replace(row, observed=seen[row.indicator][0], verdict=seen[row.indicator][1], when=today) for row in rows]


def _holds(row: Row) -> bool:
    values = [*row.observed, *((row.low, row.high) if row.low is not None else ())]
    return all(value is not None and row.formula.low <= value <= row.formula.high for value in values)


if __name__ == "__main__":
    sys.exit(main())
