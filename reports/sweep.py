"""The page of a sweep: each variant's main figures, what surely differs from the first, and the curves over one field."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from matplotlib.axes import Axes

from reports.document import Cell, Document, Section, Small, Table, Tile
from reports.drawing import PREDICTED, RUNS, Canvas, Drawing, Key, draw
from reports.figure_data import band
from reports.sections.badges import Badge, badge
from reports.words import DASH, indicator_words, interval_text, percent, value_text
from rundata.comparison import Comparison
from rundata.replications import Estimate
from scenarios.expectations import parse_indicator
from scenarios.schema import Scenario

_USUAL = ("latency.p50", "latency.p99", "lag.max")
_MOST_ROWS = 200
_LAST = re.compile(r"\[[^\]]*\]|[^.\[\]]+")
"""The parts of a field: `groups`, `members`, `['broker.session.timeout.ms']`."""
_VERDICTS = {
    "better": Badge("better", "✓", "good"),
    "worse": Badge("worse", "✗", "bad"),
    "cannot tell": badge("cannot tell"),
}


class Variant(Protocol):
    """What a page needs of a variant."""

    @property
    def changes(self) -> Mapping[str, Any]:
        """Which fields have which values."""

    @property
    def estimates(self) -> Mapping[str, Estimate]:
        """Every indicator with its intervals."""

    @property
    def held(self) -> Mapping[str, float]:
        """By expectation: the share of replications in which it held."""


def shown_indicators(scenario: Scenario, variants: Sequence[Variant]) -> list[str]:
    """Return what a table shows: the figures that the scenario expects something of, then the usual ones; what is 0 everywhere is left out."""
    wanted = [*(str(each.indicator) for each in scenario.expect), *_USUAL]
    found = [[each.estimates[name].value for each in variants if name in each.estimates] for name in wanted]
    return list(dict.fromkeys(name for name, values in zip(wanted, found, strict=True) if any(v != 0 for v in values)))


def sweep_document(
    scenario: Scenario,
    fields: Sequence[str],
    variants: Sequence[Variant],
    comparisons: Sequence[Mapping[str, Comparison]],
    replications: int,
) -> Document:
    """Return the page of a sweep."""
    names = shown_indicators(scenario, variants)
    all_held = [each for each in variants if each.held and all(share >= 0.95 for share in each.held.values())]
    sections = [
        Section("variants", "What each variant shows", (_variants(fields, variants, names),
            Small(f"The median of {replications} simulated runs; 95 % of single runs fall between the two numbers under it.")), "Variants"),
        Section("differences", "What surely differs from the first variant", (_differences(fields, variants, comparisons, names),
            Small("Each run of a variant met the same events and the same chance as that of the first one, so their difference is known "
                  "much better than either: the interval is 95 % confidence of the mean difference. A verdict is given from 95 % sure on.")), "Differences"),
    ]  # fmt: skip
    drawing = _curves(fields, variants, names)
    if drawing is not None:
        sections.insert(1, Section("curves", "How it changes", (drawing,), "Curves"))
    return Document(
        kicker="Sweep, simulated",
        headline=scenario.scenario,
        subtitle=f"{len(variants)} variants of {', '.join(fields)} · {replications} runs of each",
        lead=scenario.about.strip(),
        tiles=(
            Tile(
                "In how many variants did every expectation hold?",
                f"{len(all_held)} of {len(variants)}",
                f"the first of them: {_changes(all_held[0])}"
                if all_held
                else "in 95 % of its runs"
                if scenario.expect
                else "the scenario expects nothing",
                "variants",
                "good" if all_held else "bad" if scenario.expect else "",
            ),
        ),
        sections=tuple(sections),
    )


def _changes(each: Variant) -> str:
    short = short_names(tuple(each.changes))
    return ", ".join(f"{short[name]} {value}" for name, value in each.changes.items())


def short_names(fields: Sequence[str]) -> dict[str, str]:
    """Return each field by its last name, `members`; whole where two would be the same."""
    last = {field: _LAST.findall(field)[-1] for field in fields}
    last = {field: name.strip("[]'\"") for field, name in last.items()}
    return {field: name if list(last.values()).count(name) == 1 else field for field, name in last.items()}


def _variants(fields: Sequence[str], variants: Sequence[Variant], names: Sequence[str]) -> Table:
    rows = []
    for each in variants[:_MOST_ROWS]:
        failed = [text for text, share in each.held.items() if share < 0.95]
        verdict = badge("missed" if failed else "held") if each.held else None
        cells = [Cell(_changes(each)), Cell("" if each.held else DASH, verdict, "; ".join(failed))]
        for name in names:
            found = each.estimates.get(name)
            cells.append(
                Cell(DASH)
                if found is None
                else Cell(
                    value_text(found.value, found.unit, found.at_least), under=interval_text(found.interval, found.unit)
                )
            )
        rows.append(tuple(cells))
    heads = (", ".join(short_names(fields).values()), "Expectations", *(indicator_words(name) for name in names))
    return Table(heads, tuple(rows), frozenset(range(2, len(heads))))


def _differences(
    fields: Sequence[str],
    variants: Sequence[Variant],
    comparisons: Sequence[Mapping[str, Comparison]],
    names: Sequence[str],
) -> Table:
    rows = []
    for each, compared in list(zip(variants, comparisons, strict=True))[1:_MOST_ROWS]:
        for name in names:
            found = compared.get(name)
            if found is None or found.verdict == "the same":
                continue
            rows.append(
                (
                    Cell(_changes(each), under=indicator_words(name)),
                    Cell(_signed(found.difference, found.unit), under=_bounds(found)),
                    Cell(percent(min(found.sure, 0.9999)) + " sure", _VERDICTS[found.verdict]),
                )
            )
    return Table((", ".join(short_names(fields).values()), "Mean difference", "Verdict"), tuple(rows), frozenset({1}))


def _bounds(found: Comparison) -> str:
    if found.interval is None:
        return ""
    return f"{_signed(found.interval[0], found.unit)} to {_signed(found.interval[1], found.unit)}"


def _signed(value: float, unit: str) -> str:
    return ("+" if value > 0 else "\u2212" if value < 0 else "") + value_text(abs(value), unit)


def _curves(fields: Sequence[str], variants: Sequence[Variant], names: Sequence[str]) -> Drawing | None:
    """Draw the figures over the first field where that is a number, a line for each combination of the others."""
    first = fields[0]
    if not all(isinstance(each.changes[first], int | float) for each in variants) or len(variants) < 3:
        return None
    lines: dict[str, list[Variant]] = {}
    for each in variants:
        lines.setdefault(", ".join(f"{short_names(fields)[f]} {each.changes[f]}" for f in fields[1:]), []).append(each)
    if len(lines) > len(RUNS):
        return None
    timed = [name for name in names if parse_indicator(name).unit in ("s", "events", "1/s")][:3]

    def panel(name: str) -> Any:
        def draw_panel(axis: Axes, canvas: Canvas) -> None:
            del canvas
            for number, (words, line) in enumerate(lines.items()):
                found = [(v.changes[first], v.estimates[name]) for v in line if name in v.estimates]
                known = [(x, e, e.value) for x, e in found if e.value is not None]
                colour = PREDICTED if len(lines) == 1 else RUNS[number]
                x, y = [x for x, _, _ in known], [y for _, _, y in known]
                axis.plot(x, y, "o-", color=colour, markersize=4, label=words or "median")
                banded = [(x, *e.interval) for x, e, _ in known if e.interval is not None]
                if banded:
                    x, low, high = map(list, zip(*banded, strict=True))
                    band(axis, x, low, high, label=f"{words or '95 % of runs'}", color=colour, alpha=0.2)
            axis.set_ylim(bottom=0)
            axis.set_title(indicator_words(name) + (", s" if parse_indicator(name).unit == "s" else ""))
            axis.set_xlabel(first)

        return draw_panel

    if not timed:
        return None
    keys = [Key(label or "median", PREDICTED if len(lines) == 1 else RUNS[n], "line") for n, label in enumerate(lines)]
    return draw(
        "sweep",
        [panel(name) for name in timed],
        title=f"Over {first}",
        alt=f"{', '.join(map(indicator_words, timed))} over {first}.",
        caption="The line is the median of the simulated runs, the band holds 95 % of single runs.",
        legend=[*keys, Key("95 % of runs", PREDICTED if len(lines) == 1 else RUNS[0], "band")],
        share_y=False,
    )
