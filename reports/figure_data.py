"""The numbers behind a figure as CSV: taken from what was drawn, so that both say the same. Lines, bands and bars count that have a label."""

import base64
import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from reports.drawing import Drawing

_Band = tuple[str, Any, Any, Any]
_bands: "WeakKeyDictionary[Axes, list[_Band]]" = WeakKeyDictionary()


def band(axis: Axes, x: ArrayLike, low: ArrayLike, high: ArrayLike, *, label: str, color: str, alpha: float) -> None:
    """Fill between two lines, and keep both for the CSV."""
    # With an edge of its own a band that is narrower than a line is seen, too.
    axis.fill_between(np.asarray(x), np.asarray(low), np.asarray(high), color=color, alpha=alpha, linewidth=1.2)
    _bands.setdefault(axis, []).append((label, np.asarray(x), np.asarray(low), np.asarray(high)))


def csv_of(axes: Iterable[Axes]) -> str:
    """Return what the panels of a figure hold: a row for each x of a panel, a column for each line; bars with begin and end."""
    columns: dict[str, None] = {}
    rows: dict[tuple[str, float | str], dict[str, float]] = {}
    for axis in axes:
        panel = axis.get_title(loc="left") or axis.get_title()
        for column, x, y in _points(axis):
            columns.setdefault(column)
            for at, value in zip(x, y, strict=True):
                rows.setdefault((panel, at), {})[column] = value
    shown = (
        (panel, at if isinstance(at, str) else _shown(at), *(_shown(values.get(c)) for c in columns))
        for (panel, at), values in rows.items()
    )
    return rows_csv(("panel", "x", *columns), shown)


def rows_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows under a header as CSV."""
    with io.StringIO() as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
        return text.getvalue()


def _points(axis: Axes) -> "Iterator[tuple[str, Sequence[float | str], Sequence[float]]]":
    """Yield each series of a panel: its column, where, and how much."""
    for line in axis.lines:
        if _named(line.get_label()):
            x, y = (np.atleast_1d(np.asarray(each, np.float64)) for each in (line.get_xdata(), line.get_ydata()))
            yield str(line.get_label()), x.tolist(), y.tolist()
    for label, x, low, high in _bands.get(axis, ()):
        yield f"{label}, low", x.tolist(), low.tolist()
        yield f"{label}, high", x.tolist(), high.tolist()
    boxes = [
        (str(c.get_label()), [p.get_extents() for p in c.get_paths()])
        for c in axis.collections
        if _named(c.get_label())
    ]
    bars = [each for each in axis.containers if isinstance(each, BarContainer) and _named(each.get_label())]
    boxes += [(str(each.get_label()), [patch.get_bbox() for patch in each.patches]) for each in bars]
    names = [tick.get_text() for tick in axis.get_yticklabels()]
    for label, found in boxes:
        places = [_place(names, (box.y0 + box.y1) / 2) for box in found]
        numbered = [f"{place} #{places[: at + 1].count(place)}" for at, place in enumerate(places)]
        yield f"{label}, begin", numbered, [box.x0 for box in found]
        yield f"{label}, end", numbered, [box.x1 for box in found]


def _named(label: object) -> bool:
    return bool(label) and not str(label).startswith("_")


def _place(names: Sequence[str], y: float) -> str:
    at = min(max(round(y), 0), max(len(names) - 1, 0))
    return names[at] if names else str(at)


def _shown(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:.7g}"


def data_address(text: str) -> str:
    """Return a CSV as an address within the page itself."""
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(text.encode()).decode()


def write_csv(folder: Path, drawings: "Iterable[Drawing]") -> list[Path]:
    """Write the numbers of each figure into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for drawing in drawings:
        path = folder / f"{drawing.name}.csv"
        path.write_text(drawing.csv, "utf-8")
        written.append(path)
    return written
