"""The predictions of Kafka's behaviour: formula, simulated interval, observed on a real cluster; `make predictions` writes docs/agreement.md.

Each scenario beside this file is predicted, driven and compared like any other (`eventdrill verify`), on a private cluster that its like share. Formulas
(formulas.py) come from Kafka's rules and defaults, not from the simulator. Name scenarios to run only those. Every live run counts: figures.csv keeps what
was seen before, too, unless `--afresh` says that a scenario has changed.
"""

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from itertools import zip_longest
from pathlib import Path

import pandas as pd
from formulas import FORMULAS, Formula
from summary import COLUMNS, NUMBERS, summary

from eventdrill.terminal import say
from eventdrill.workflows.doubts import doubt
from eventdrill.workflows.places import spec_of, start_cluster
from eventdrill.workflows.telling import on_terminal
from eventdrill.workflows.verify import Work
from loadgen.refuse import cannot
from rundata.measurement import Measurement
from rundata.replications import Estimate, summarise
from scenarios.files import LoadedScenario, load_scenario
from scenarios.profiles import load_profile
from sim.experiments import replicate

HERE = Path(__file__).parent
FILE = HERE / "figures.csv"
PAGE = HERE.parent.parent / "docs" / "agreement.md"
BEGIN, END = "<!-- predictions: begin -->", "<!-- predictions: end -->"
REPLICATIONS = 100
WARM_S = 10.0
"""Gaps and counts do not wait for compilers; `verify` itself warms up for a minute."""


@cache
def loaded(name: str) -> LoadedScenario:
    """Return one of the scenarios beside this file."""
    return load_scenario(str(HERE / f"{name}.yaml"))


def kinds(name: str) -> str:
    """Return what happens in a scenario: its faults and actions, each kind once."""
    scenario = loaded(name).scenario
    return ", ".join(sorted({each.kind for each in (*scenario.faults, *scenario.actions)})) or "none"


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
    busy: tuple[bool | None, ...] = ()
    """Of each observation: whether its host was busy with other work, or its driver the limit, as it measured itself; None where that was not noted."""

    @classmethod
    def of(cls, scenario: str, formula: Formula, simulated: Estimate) -> "Row":
        """Return the line of what was simulated."""
        low, high = simulated.interval or (None, None)
        return cls(scenario, formula.indicator, simulated.value, low, high)

    @property
    def formula(self) -> Formula:
        """What Kafka's rules say of it."""
        return next(one for one in FORMULAS[self.scenario] if one.indicator == self.indicator)

    @property
    def seen(self) -> list[tuple[float | None, bool | None]]:
        """Each observation, and whether its host was busy."""
        return list(zip_longest(self.observed, self.busy))

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
            ", ".join(f"{_text(value)}{'*' if busy else ''}" for value, busy in self.seen) or "-",
            self.verdict or "-",
        ]


_NOTED = {"yes": True, "no": False, "?": None}


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
                busy=tuple(_NOTED[word] for word in (line.get("busy") or "").split()),
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
            busy = " ".join(word for noted in row.busy for word, meant in _NOTED.items() if meant is noted)
            writer.writerow([row.scenario, row.indicator, *numbers, observed, row.verdict, row.when, busy])
    return kept


def _number(text: str) -> float | None:
    return None if text == "?" else float(text)


def _written(value: float | None) -> str:
    return "?" if value is None else f"{value:.6g}"


def _text(value: float | None) -> str:
    return "?" if value is None else f"{value:.3g}" if value % 1 else f"{value:.0f}"


def simulated(name: str, replications: int) -> Sequence[Mapping[str, Measurement]]:
    """Return what runs of so many plans measure, with chance and the profile's own uncertainty, as `verify` predicts."""
    scenario = loaded(name).scenario
    found = replicate(
        scenario, load_profile(scenario.profile), seed=1, replications=replications, same_plan=False, vary_profile=True
    )
    return found.measured


Seen = Mapping[str, tuple[tuple[float | None, ...], str]]
"""By indicator: what live runs showed, and the verdict of `verify`."""


def driven(name: str, cluster: object, repeats: int, folder: Path) -> tuple[Seen, tuple[bool, ...]]:
    """Return what the live runs showed, and of each whether something speaks against it; the runs are in the folder."""
    folder.mkdir(parents=True)
    work = Work(loaded(name), folder, repeats=repeats, replications=REPLICATIONS, telling=on_terminal(), warm_s=WARM_S)
    prediction = work.predict(profile := load_profile(loaded(name).scenario.profile))
    result = work.compare(prediction, work.drive(cluster, prediction))  # type: ignore[arg-type]  # a private Kafka
    found = {}
    for formula in FORMULAS[name]:
        values = tuple(run.measured[formula.indicator].value for run in result.observed)
        verdict = result.agreement.get(formula.indicator)
        found[formula.indicator] = (values, verdict.verdict if verdict else "")
    return found, tuple(bool(run.invalid or doubt(run.data, profile)) for run in result.observed)


def _why_not_driven(name: str) -> list[str]:
    """Return why a scenario is simulated only, and say so."""
    refused = cannot(loaded(name).scenario)
    if refused:
        say(f"--- {name} is not driven: {'; '.join(refused)}")
    return refused


def _by_cluster(names: Iterable[str]) -> list[list[str]]:
    """Return scenarios that share a cluster side by side, in the order of the first."""
    together: dict[str, list[str]] = {}
    for name in names:
        together.setdefault(repr(spec_of(loaded(name).scenario)), []).append(name)
    return list(together.values())


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    head = ["scenario", "figure", "what Kafka's rules say", "so", "simulated (95 % of runs)", "observed", "verdict"]
    return markdown([head, *(row.cells() for row in rows)])


def markdown(cells: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table of which the first row is the head."""
    head, *rows = cells
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def observations(rows: Iterable[Row]) -> pd.DataFrame:
    """Return a line for each figure of each live run, as the summary takes them."""
    lines = [
        (
            row.scenario,
            kinds(row.scenario),
            row.indicator,
            row.formula.low,
            row.formula.high,
            row.simulated,
            row.low,
            row.high,
            value,
            busy is False,
        )
        for row in rows
        for value, busy in row.seen
    ]
    return pd.DataFrame(lines, columns=COLUMNS).astype(dict.fromkeys(NUMBERS, float))


def write(rows: Sequence[Row]) -> None:
    """Put what was driven into docs/agreement.md: all of it together, then figure by figure."""
    text = PAGE.read_text("utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    shown = [row for row in rows if row.when]
    days = sorted({row.when for row in shown})
    when = f"Written by `make predictions`; driven on {' and '.join(days)}."
    together = summary(observations(shown))
    parts = [
        before + BEGIN,
        when,
        markdown([list(together[0]), *(list(line.values()) for line in together)]),
        table(shown),
        END + after,
    ]
    PAGE.write_text("\n\n".join(parts), "utf-8")


def main() -> int:
    """Run what was asked for; 1 where an observation or a simulated interval leaves its bounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(FORMULAS), help="scenarios, by number or name")
    parser.add_argument("--simulated", action="store_true", help="drive none")
    parser.add_argument("--known", action="store_true", help="simulate none of which figures.csv has the figures")
    parser.add_argument("--report", action="store_true", help="do neither, but write the page again")
    parser.add_argument("--afresh", action="store_true", help="forget what was observed before: a scenario has changed")
    parser.add_argument("--repeats", type=int, default=2, help="live runs of each")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the runs in this folder")
    asked = parser.parse_args()
    names = [name for name in FORMULAS if any(name == each or name.split("-")[0] == each for each in asked.names)]
    if not asked.report:
        _simulate(names, known=asked.known, afresh=asked.afresh)
    if not asked.report and not asked.simulated:
        _drive(names, asked.repeats, asked.keep)
    found = [row for row in stored().values() if row.scenario in names]
    write(list(stored().values()))
    print(table(found))
    outside = [row for row in found if not _holds(row)]
    for row in outside:
        print(f"outside: {json.dumps(row.cells())}", file=sys.stderr)
    return 1 if outside else 0


def _simulate(names: Sequence[str], *, known: bool, afresh: bool) -> None:
    """Put the simulated figures into figures.csv; what was observed stays, unless all begins afresh."""
    for name in names:
        before = stored()
        if known and not afresh and all((name, formula.indicator) in before for formula in FORMULAS[name]):
            continue
        found = summarise(simulated(name, REPLICATIONS))
        rows = [Row.of(name, formula, found[formula.indicator]) for formula in FORMULAS[name]]
        store(rows if afresh else [_with_seen(row, before.get((name, row.indicator))) for row in rows])


def _with_seen(row: Row, before: Row | None) -> Row:
    """Return a line with what was observed of an earlier one."""
    if before is None:
        return row
    return replace(row, observed=before.observed, verdict=before.verdict, when=before.when, busy=before.busy)


def _drive(names: Sequence[str], repeats: int, keep: Path | None) -> None:
    """Put what live runs show into figures.csv and on the page, after each of them."""
    able = [name for name in names if not _why_not_driven(name)]
    for together in _by_cluster(able):
        with (
            tempfile.TemporaryDirectory(prefix="eventdrill-") as folder,
            start_cluster("local", spec_of(loaded(together[0]).scenario), say) as cluster,
        ):
            for name in together:
                say(f"--- {name}")
                seen, busy = driven(name, cluster, repeats, (keep or Path(folder)) / name)
                rows = stored()
                write(store(_driven_rows([rows[name, formula.indicator] for formula in FORMULAS[name]], seen, busy)))


def _driven_rows(rows: Sequence[Row], seen: Seen, busy: tuple[bool, ...]) -> list[Row]:
    """Return lines with what was seen now beside what was seen before: every run counts."""
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    return [
        replace(
            row,
            observed=(*row.observed, *seen[row.indicator][0]),
            verdict=seen[row.indicator][1],
            when=today,
            busy=(*(noted for _, noted in row.seen), *busy),
        )
        for row in rows
    ]


def _holds(row: Row) -> bool:
    values = [*row.observed, *((row.low, row.high) if row.low is not None else ())]
    return all(value is not None and row.formula.low <= value <= row.formula.high for value in values)


if __name__ == "__main__":
    sys.exit(main())
