"""The visual language of all figures: sizes, colours that follow the page's light or dark, axes, and SVG made fit for HTML."""

import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, product
from string import ascii_uppercase
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from reports.figure_data import csv_of, data_address
from rundata.tables import FaultRecord
from scenarios.quantities import SECOND

# Each colour of a drawing stands for a CSS variable of the page; the hex values only have to differ from one another.
INK, MUTED, GRID, PAPER = "#010203", "#020304", "#030405", "#fdfcfb"
PREDICTED, FAULT, LIMIT = "#040506", "#050607", "#060708"
RUNS = ("#070809", "#08090a", "#090a0b", "#0a0b0c", "#0b0c0d", "#0c0d0e")
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--paper",
    PREDICTED: "--predicted",
    FAULT: "--fault",
    LIMIT: "--limit",
    **{colour: f"--run{number}" for number, colour in enumerate(RUNS, 1)},
}


def css_variable(colour: str) -> str:
    """Return the CSS variable that a drawing's colour stands for."""
    return f"var({_VARIABLES[colour]})"


@dataclass(frozen=True)
class Canvas:
    """A drawing's size: for a desk or for a phone."""

    name: str
    width_in: float
    panel_height_in: float
    font_pt: float
    side_by_side: int
    """So many panels fit beside each other."""
    ticks: int


WIDE = Canvas("wide", 10.0, 2.9, 9.5, 3, 6)
NARROW = Canvas("narrow", 3.75, 2.2, 8.6, 1, 4)
CANVASES = (WIDE, NARROW)


@dataclass(frozen=True)
class Key:
    """One entry of a figure's legend, which the page sets in HTML so that it wraps."""

    label: str
    colour: str
    look: str
    """line | dashed | dotted | band | thin"""

    @property
    def css(self) -> str:
        """Return the colour as the page's variable."""
        return css_variable(self.colour)


@dataclass(frozen=True)
class Drawing:
    """A figure as a page shows it: two renderings, what it shows, and what follows."""

    name: str
    title: str
    wide: str
    narrow: str
    alt: str
    caption: str
    legend: tuple[Key, ...]
    csv: str = ""
    """The numbers behind it."""

    def _repr_html_(self) -> str:
        """Draw the figure in a notebook as a page shows it, on paper of its own: a notebook has not the page's colours."""
        from reports.rendering import environment

        return environment().get_template("notebook.html").render(drawing=self)

    @property
    def csv_address(self) -> str:
        """The CSV as an address within the page."""
        return data_address(self.csv)


def draw(
    name: str,
    panels: Sequence[Callable[[Axes, Canvas], None]],
    *,
    title: str,
    alt: str,
    caption: str,
    legend: Sequence[Key],
    height: float = 1.0,
    share_y: bool = True,
    numbers: str | None = None,
) -> Drawing:
    """Return a figure of panels, drawn once for a desk and once for a phone; `numbers` replace the CSV of what is drawn."""
    (wide, drawn), (narrow, _) = (_render(name, panels, canvas, height, share_y) for canvas in CANVASES)
    return Drawing(name, title, wide, narrow, alt, caption, tuple(legend), drawn if numbers is None else numbers)


def _render(
    name: str, panels: Sequence[Callable[[Axes, Canvas], None]], canvas: Canvas, height: float, share_y: bool
) -> tuple[str, str]:
    """Return a figure as SVG, and the numbers behind it as CSV."""
    columns = 2 if len(panels) == 4 and canvas.side_by_side > 2 else min(canvas.side_by_side, len(panels))
    rows = -(-len(panels) // columns)
    with mpl.rc_context(_style(canvas, name)):
        figure = Figure(figsize=(canvas.width_in, rows * canvas.panel_height_in * height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots(rows, columns, squeeze=False, sharey=share_y)
        for number, axis in enumerate(axes.flat):
            if number < len(panels):
                panels[number](axis, canvas)
            else:
                axis.set_visible(False)
        with io.StringIO() as text:
            figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
            return inline_svg(text.getvalue(), f"{name}-{canvas.name}"), csv_of(axes.flat[: len(panels)])


def _style(canvas: Canvas, name: str) -> Any:
    return {
        "font.size": canvas.font_pt,
        "axes.titlesize": canvas.font_pt,
        "axes.labelsize": canvas.font_pt,
        "xtick.labelsize": canvas.font_pt,
        "ytick.labelsize": canvas.font_pt,
        "svg.fonttype": "none",  # letters stay text: the page's own font, selectable, and read aloud
        "svg.hashsalt": f"eventdrill-{name}-{canvas.name}",
        "text.color": INK,
        "axes.labelcolor": MUTED,
        "axes.edgecolor": GRID,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "axes.titlecolor": INK,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "axes.titlepad": 18,
        "xtick.color": GRID,
        "ytick.color": GRID,
        "xtick.labelcolor": MUTED,
        "ytick.labelcolor": MUTED,
        "xtick.minor.visible": False,
        "ytick.minor.visible": False,
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "lines.linewidth": 1.7,
        "lines.solid_joinstyle": "round",
        "lines.dashed_pattern": (3.2, 1.6),
        "path.simplify_threshold": 0.3,
        "axes.xmargin": 0.0,
    }


# ---- axes ----------------------------------------------------------------------------------------------------------


def time_axis(axis: Axes, canvas: Canvas, end_ns: int) -> None:
    """Put seconds (of a long run minutes) from the start on the x axis."""
    minutes = end_ns > 600 * SECOND
    scale = 60 if minutes else 1
    axis.set_xlim(0, end_ns / SECOND)
    axis.xaxis.set_major_locator(MaxNLocator(canvas.ticks, steps=[1, 2, 5, 10], integer=True))
    if minutes:
        axis.xaxis.set_major_locator(MaxNLocator(canvas.ticks, steps=[1, 1.2, 1.8, 3, 6, 10]))
    unit = "min" if minutes else "s"
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / scale:g} {unit}"))
    axis.tick_params(length=0)


_LONG_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def long_time_axis(axis: Axes, canvas: Canvas, end_s: float) -> None:
    """Put time from the start on the x axis in the largest unit of which there are several: seconds up to days."""
    scale, unit = next(((size, word) for size, word in _LONG_UNITS if end_s >= 3 * size), (1, "s"))
    axis.set_xlim(0, end_s)
    ticks = MaxNLocator(canvas.ticks, steps=[1, 2, 5, 10], integer=True).tick_values(0, end_s / scale)
    axis.set_xticks([tick * scale for tick in ticks if 0 <= tick * scale <= end_s])
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / scale:g} {unit}"))
    axis.tick_params(length=0)


def duration_axis(axis: Any) -> None:
    """Make an axis logarithmic, with times in words: 1 ms, 10 ms, 1 s."""
    axis.set_major_locator(LogLocator(base=10, numticks=12))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda x, _: _seconds(x)))


def _seconds(x: float) -> str:
    for scale, unit in ((60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if x >= scale * 0.999 and not (unit == "min" and x < 600):
            return f"{x / scale:.3g} {unit}"
    return f"{x:.0e} s"


def count_axis(axis: Axes) -> None:
    """Start the y axis at 0, with thousands set apart; panels that share it have room for the highest of them."""
    # A limit that was set once stays: without this a later panel would be cut off at the height of the first.
    tops = [float(each.dataLim.y1) for each in axis.get_shared_y_axes().get_siblings(axis)]
    highest = max((top for top in tops if math.isfinite(top)), default=0.0)
    axis.set_ylim(0, highest * 1.05 if highest > 0 else 1.0)
    axis.yaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}".replace(",", "\u2009")))


def mark_faults(axis: Axes, faults: Sequence[FaultRecord]) -> None:
    """Shade the time of each fault, with its letter above; the axis has its limits already."""
    for letter, fault in zip(letters(), faults, strict=False):
        last = axis.get_xlim()[1]
        begin, end = fault.began_ns / SECOND, min(fault.ended_ns / SECOND, last)
        if begin >= last:  # the run did not get that far
            continue
        axis.axvspan(begin, end, color=FAULT, alpha=0.13, linewidth=0, zorder=0)
        axis.axvline(begin, color=FAULT, linewidth=1, zorder=1)
        axis.annotate(
            letter,
            (begin, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            color=FAULT,
            fontweight="bold",
            ha="left",
            va="bottom",
            annotation_clip=False,
        )


def letters() -> Iterator[str]:
    """Yield the names of faults in the order of their begins, A to Z, then AA, AB and so on; the same on the strip, in the figures and in the incidents."""
    for length in count(1):
        yield from map("".join, product(ascii_uppercase, repeat=length))


# ---- SVG in HTML ---------------------------------------------------------------------------------------------------


def inline_svg(svg: str, prefix: str) -> str:
    """Return matplotlib's SVG as a part of an HTML page: no outside reference, own ids, the page's colours and font."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.S)
    body = re.sub(r"\s+xmlns(:\w+)?=\"[^\"]*\"", "", body)
    body = body.replace("xlink:href", "href")
    body = re.sub(r"<!--.*?-->", "", body, flags=re.S)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', body)
    body = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", body)
    for colour, variable in _VARIABLES.items():
        body = re.sub(re.escape(colour), f"var({variable})", body, flags=re.I)
    body = re.sub(r" ?font-family: [^;\"]*;?", "", body)
    body = re.sub(r'\b(?:d|x|y|transform)="[^"]*"', lambda found: re.sub(r"-?\d+\.\d{2,}", _rounded, found[0]), body)
    body = re.sub(
        r'<svg [^>]*viewBox="([^"]+)"[^>]*>',
        rf'<svg class="{prefix.rsplit("-", 1)[1]}" viewBox="\1" aria-hidden="true" focusable="false">',
        body,
        count=1,
    )
    return re.sub(r">\s+<", "><", re.sub(r"\s*\n", " ", body)).strip()


def _rounded(number: re.Match[str]) -> str:
    """Return a coordinate to a tenth of a point: finer than any screen, and a third of the bytes."""
    return f"{float(number[0]):.1f}"
