"""What the figures share: a run as a line, keys of legends, and words of captions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from reports.drawing import FAULT, PREDICTED, RUNS, Canvas, Key
from reports.traces import Trace
from reports.words import value_text
from rundata.tables import FaultRecord
from scenarios.quantities import SECOND

Panel = Callable[[Axes, Canvas], None]


@dataclass(frozen=True, eq=False)
class Line:
    """One run in a figure: its name, its series, and how it is drawn."""

    label: str
    trace: Trace
    colour: str
    dashed: bool = False

    @property
    def style(self) -> str:
        """The line style that matplotlib knows it by."""
        return "--" if self.dashed else "-"

    @property
    def key(self) -> Key:
        """Its entry in the legend."""
        return Key(self.label, self.colour, "dashed" if self.dashed else "line")


def lines_of(predicted: Trace | None, observed: Sequence[tuple[str, Trace]]) -> list[Line]:
    """Return the runs of a page as lines: the prediction dashed in its own colour, the others solid."""
    found = [Line("predicted", predicted, PREDICTED, dashed=True)] if predicted else []
    return found + [Line(label, one, RUNS[i % len(RUNS)]) for i, (label, one) in enumerate(observed)]


def fault_keys(faults: Sequence[FaultRecord]) -> list[Key]:
    """Return the legend of the faults, where there are any."""
    return [Key("fault in effect", FAULT, "shade")] if faults else []


def during(at_ns: int, faults: Sequence[FaultRecord]) -> str:
    """Say which fault was in effect, or had begun before."""
    inside = [fault for fault in faults if fault.began_ns - SECOND <= at_ns <= fault.ended_ns]
    before = [fault for fault in faults if fault.began_ns <= at_ns]
    if inside:
        return f", during {inside[-1].label}"
    return f", {time_words(at_ns - before[-1].ended_ns)} after {before[-1].label} ended" if before else ""


def end_ns(lines: Sequence[Line]) -> int:
    """Return where the time axis ends."""
    return max(SECOND, *(line.trace.end_ns for line in lines))


def time_words(ns: float) -> str:
    """Return a time of a caption."""
    return value_text(ns / SECOND, "s")


def joined(words: Sequence[str] | Mapping[str, object], last: str = "and") -> str:
    """Join words as a sentence does."""
    listed = list(words)
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} {last} {listed[-1]}"
