"""The table `windows`: acknowledgements and effects per second, partition and producer or group, with a latency histogram each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rundata.books import Books
from rundata.histogram import bin_of
from rundata.measurement import Ints
from rundata.rows import NEVER
from rundata.tables import RunData
from scenarios.quantities import SECOND

if TYPE_CHECKING:
    import pyarrow as pa  # a quarter of what a simulation takes in memory, so only who writes tables has it

STAGES = ("ack", "effect")
WINDOW_NS = SECOND
_AT_ONCE = 32
"""So many parts wait to be added up together."""


def windows_table(run: RunData) -> "pa.Table":
    """Return the windows of a run; a window holds what was acknowledged or took effect in it."""
    import pyarrow as pa

    books = Books.of(run)
    places = _Places(books.plan.topics, books.first_partition, (books.plan.producers, books.groups))
    stages = []
    for stage, rows in enumerate(_rows(books)):
        cells = _cells(*rows, WINDOW_NS)
        stages.append(_table(places, stage, cells, cells.window[cells.firsts] * WINDOW_NS))
    return pa.concat_tables(stages)


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of topics as a whole between two instants, counted from the first."""

    stages: "tuple[Cells, ...]"
    window_ns: int
    topics: tuple[str, ...]
    senders: tuple[tuple[str, ...], ...]
    """Producers, and groups."""


def windows_of(run: RunData, begin_ns: int, end_ns: int, window_ns: int) -> Windows:
    """Return windows between two instants, counted from the first, of topics as a whole."""
    summed = WindowsSum(begin_ns, end_ns, window_ns)
    summed.add(Books.of(run))
    return summed.windows(Books.of(run))


class WindowsSum:
    """Windows between two instants, of topics as a whole, added up from parts of a run."""

    def __init__(self, begin_ns: int, end_ns: int, window_ns: int) -> None:
        self._begin_ns, self._end_ns, self._window_ns = begin_ns, end_ns, window_ns
        self._stages: list[list[Cells]] = [[] for _ in STAGES]

    def add(self, books: Books) -> None:
        """Add what a part has."""
        for stage, (at_ns, latency_ns, partition, of) in enumerate(_rows(books)):
            topic = np.searchsorted(books.first_partition, partition, side="right") - 1
            self.take(stage, at_ns, latency_ns, topic, of)

    def take(self, stage: int, at_ns: Ints, latency_ns: Ints, topic: Ints, of: Ints) -> None:
        """Add to a stage what came at some instants after some times, of topics, and producers or groups."""
        inside, cells = (at_ns >= self._begin_ns) & (at_ns < self._end_ns), self._stages[stage]
        since_ns = at_ns[inside] - self._begin_ns
        cells.append(_cells(since_ns, latency_ns[inside], topic[inside], of[inside], self._window_ns))
        if len(cells) == _AT_ONCE:
            cells[:] = [Cells.joined(cells)]

    def windows(self, books: Books) -> Windows:
        """Return all of it; of these books only the names count."""
        stages = tuple(Cells.joined(cells or [Cells.nothing()]) for cells in self._stages)
        return Windows(stages, self._window_ns, books.plan.topics, (books.plan.producers, books.groups))


def table_of(placed: Sequence[tuple[int, Windows]]) -> "pa.Table":
    """Return windows that begin at some instants, one after another; `partition` is null."""
    import pyarrow as pa

    first, begins_ns = placed[0][1], np.asarray([begin_ns for begin_ns, _ in placed])
    places = _Places(first.topics, np.arange(len(first.topics) + 1), first.senders)
    tables, numbers = [], []
    for stage in range(len(STAGES)):
        stages = [windows.stages[stage] for _, windows in placed]
        most = 1 + max(int(each.window.max(initial=0)) for each in stages)
        cells = Cells.laid_out(stages, most)
        number, window = np.divmod(cells.window[cells.firsts], most)
        tables.append(_table(places, stage, cells, begins_ns[number] + window * first.window_ns))
        numbers.append(number)
    # Of each instant first what was acknowledged, and then the effects.
    order = np.argsort(np.concatenate(numbers), kind="stable")
    whole = pa.concat_tables(tables).unify_dictionaries().take(order)
    return whole.set_column(2, "partition", pa.nulls(len(whole), pa.int32()))


@dataclass(frozen=True, eq=False)
class _Places:
    """What the numbers of cells stand for."""

    topics: Sequence[str]
    first_partition: Ints
    senders: Sequence[Sequence[str]]


def _rows(books: Books) -> Iterator[tuple[Ints, Ints, Ints, Ints]]:
    """Yield instant, latency, partition, and producer or group of what was acknowledged, and then of effects."""
    plan, pairs = books.run.plan, books.pairs
    acked = np.flatnonzero(books.acked & (books.partition >= 0))
    ack_ns = books.sends.acked_ns[acked]
    yield ack_ns, ack_ns - plan.intended_ns[acked], books.partition[acked], plan.producer[acked].astype(np.int64)
    done = np.flatnonzero((pairs.effect_ns != NEVER) & (pairs.partition >= 0))
    effect_ns = pairs.effect_ns[done]
    yield effect_ns, effect_ns - pairs.intended_ns[done], pairs.partition[done], pairs.group[done]


@dataclass(frozen=True, eq=False)
class Cells:
    """How many values lie in each bin of each window, partition, and producer or group; in this order, each cell once."""

    window: Ints
    partition: Ints
    of: Ints
    bins: NDArray[np.int32]
    counts: Ints

    @classmethod
    def nothing(cls) -> "Cells":
        """Return no cells."""
        none = np.zeros(0, np.int64)
        return cls(none, none, none, none.astype(np.int32), none)

    @classmethod
    def joined(cls, parts: "Sequence[Cells]") -> "Cells":
        """Return the sum of parts, of which there is one at least."""
        if len(parts) == 1:
            return parts[0]
        columns = (np.concatenate([getattr(each, one.name) for each in parts]) for one in fields(cls))
        return cls.summed(*columns)

    @classmethod
    def summed(
        cls, window: Ints, partition: Ints, of: Ints, bins: NDArray[np.int32], counts: Ints | None = None
    ) -> "Cells":
        """Return cells in their order, those of one place together; without counts each stands for one value."""
        packed = _packed(window, partition, of, bins) if counts is None else None
        if packed is not None:
            number, values = _counted(packed[0])
            window, partition, of, found = _unpacked(number, packed[1])
            return cls(window, partition, of, found.astype(np.int32), values)
        order = _order(window, partition, of, bins)
        bins, of, partition, window = bins[order], of[order], partition[order], window[order]
        first = np.flatnonzero(_changes(window, partition, of, bins))
        sums = np.diff(first, append=len(order)) if counts is None else np.add.reduceat(counts[order], first)
        return cls(window[first], partition[first], of[first], bins[first], sums)

    @classmethod
    def laid_out(cls, parts: "Sequence[Cells]", windows: int) -> "Cells":
        """Return parts one after another, each of at most so many windows, whose numbers go on from part to part."""
        window = np.concatenate([each.window + number * windows for number, each in enumerate(parts)])
        others = (np.concatenate([getattr(each, one.name) for each in parts]) for one in fields(cls)[1:])
        return cls(window, *others)

    @cached_property
    def firsts(self) -> NDArray[np.intp]:
        """The first cell of each window, partition, and producer or group."""
        return np.flatnonzero(_changes(self.window, self.partition, self.of))


def _cells(at_ns: Ints, latency_ns: Ints, partition: Ints, of: Ints, window_ns: int) -> Cells:
    return Cells.summed(at_ns // window_ns, partition, of, bin_of(latency_ns))


def _table(places: _Places, stage: int, cells: Cells, begin_ns: Ints) -> "pa.Table":
    """Return one stage's windows in the order of time, partition and producer or group."""
    import pyarrow as pa

    from rundata import parquet

    first = cells.firsts
    lists = np.append(first, len(cells.window)).astype(np.int32)
    so_far = np.append(0, np.cumsum(cells.counts))
    place = cells.partition[first]
    topic = np.searchsorted(places.first_partition, place, side="right") - 1
    return pa.table(
        {
            "begin_ns": pa.array(begin_ns),
            "topic": parquet.words(topic, places.topics),
            "partition": pa.array((place - places.first_partition[topic]).astype(np.int32)),
            "of": parquet.words(cells.of[first], places.senders[stage]),
            "stage": parquet.words(np.full(len(first), stage), STAGES),
            "count": pa.array(np.diff(so_far[lists])),
            "bins": pa.ListArray.from_arrays(lists, pa.array(cells.bins)),
            "counts": pa.ListArray.from_arrays(lists, pa.array(cells.counts)),
        },
        schema=parquet.ROW_SCHEMAS["windows"],
    )


def _order(*columns: NDArray[Any]) -> NDArray[np.intp]:
    """Return an order by several columns, the first one first; as one number where they fit into it, which is several times as fast."""
    packed = _packed(*columns)
    return np.argsort(packed[0]) if packed is not None else np.lexsort(columns[::-1])


def _packed(*columns: NDArray[Any]) -> tuple[Ints, list[tuple[int, int]]] | None:
    """Return several columns as one number, and the lowest value of each and how many there may be; None where they do not fit into it."""
    number, room, spans = np.zeros(len(columns[0]), np.int64), 1, list[tuple[int, int]]()
    for column in columns:
        lowest, values = 0, 1
        if len(column):
            lowest, values = int(column.min()), int(column.max()) - int(column.min()) + 1
        number, room = number * values + (column - lowest), room * values
        spans.append((lowest, values))
    return (number, spans) if room < 2**63 else None


def _counted(numbers: Ints) -> tuple[Ints, Ints]:
    """Return the distinct ones of whole numbers from 0 on, in rising order, and how often each is there."""
    if int(numbers.max(initial=0)) <= 4 * len(numbers):
        counts = np.bincount(numbers)
        found = np.flatnonzero(counts)
        return found, counts[found]
    ordered = np.sort(numbers)
    first = np.flatnonzero(_changes(ordered))
    return ordered[first], np.diff(first, append=len(ordered))


def _unpacked(number: Ints, spans: list[tuple[int, int]]) -> list[Ints]:
    """Return the columns of which a number is made."""
    columns = []
    for lowest, values in reversed(spans):
        number, column = np.divmod(number, values)
        columns.append(column + lowest)
    return columns[::-1]


def _changes(*columns: NDArray[Any]) -> NDArray[np.bool_]:
    changed = np.zeros(len(columns[0]), np.bool_)
    for column in columns:
        changed[1:] |= column[1:] != column[:-1]
    changed[:1] = True
    return changed
