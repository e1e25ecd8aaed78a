"""Random inputs of loops that go on for long: what is used up makes way for what is drawn next."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from scenarios.plan import Plan
from scenarios.profiles import KNOTS, Measured, Profile
from sim.draws import Draws, Values
from sim.stretches.inputs_kernel import Floats, invert
from sim.world import Ints

FIRST_COUNT = 512
"""So many of each lie ready at first."""
_CELLS = 256
_KNOTS = np.asarray(KNOTS, np.float64)
_STARTS = np.minimum(np.searchsorted(_KNOTS, np.arange(_CELLS) / _CELLS, side="right") - 1, len(_KNOTS) - 2)


class Times:
    """Measured times from uniform numbers, by a compiled loop: most of what a quiet stretch takes is drawing."""

    def __init__(self, measured: Measured) -> None:
        self._quantiles = np.asarray(measured.quantiles_us, np.float64)
        self._slopes = np.diff(self._quantiles) / np.diff(_KNOTS)

    def fill(self, drawn: Floats, table: Ints, rows: Ints, counts: Ints) -> None:
        """Move what is left in some rows of a table to their fronts, and put times behind it: as many as are used, `counts` of each."""
        invert(drawn, table, rows, counts, _KNOTS, self._quantiles, self._slopes, _STARTS)


class MeasuredValues(Values):
    """An endless row of measured times."""

    def __init__(self, generator: Callable[[], np.random.Generator], measured: Measured) -> None:
        """Take a fresh generator's maker, and how times are distributed."""
        super().__init__(generator, measured.quantile_ns)
        self.generator, self.measured = generator, measured


class LoadedDraws(Draws):
    """The random inputs of a run of which the events are not known, but how many requests a second they make."""

    def __init__(self, nothing: Plan, profile: Profile, chance: int, requests_hz: float) -> None:
        """Take a plan without events."""
        super().__init__(nothing, profile, nothing.seed, chance)
        self._load = 1 + profile.load_slope * max(0.0, requests_hz - profile.load_base_hz) / 100

    def _make_row(self, name: str, purpose: str, measured: Measured) -> Values:
        if measured.quantiles_us[0] == measured.quantiles_us[-1]:
            return super()._make_row(name, purpose, measured)
        return MeasuredValues(lambda: self._stream("entity", name, purpose), measured)


class _Table:
    """Random inputs of one kind: a row for each entity and broker, in which those that are used up come first."""

    def __init__(
        self, rows: Sequence[Sequence[Values]], first: int, columns: int, count: int, *, is_last_enough: bool
    ) -> None:
        values = [
            (entity * columns + column, each)
            for entity, row in enumerate(rows)
            for column, each in enumerate(row, first)
        ]
        self._places = np.array([place for place, _ in values], np.int64)
        measured = [each for _, each in values if isinstance(each, MeasuredValues)]
        self._constants = None
        if all(each._fresh is None and not len(each._given) for _, each in values):
            self._constants = np.array([each[0] for _, each in values], np.int64)
        self._grows = self._constants is None or not is_last_enough
        self.array = np.zeros((len(rows), columns, count if self._grows else 1), np.int64)
        self._times: Times | None = None
        self._generators: dict[int, np.random.Generator] = {}
        self._onward: dict[int, Callable[[int], Ints]] = {}
        # One kind of time is measured once, whoever takes it.
        if values and len(measured) == len(values) and all(each.measured == measured[0].measured for each in measured):
            self._times = Times(measured[0].measured)
            self._generators = {place: each.generator() for place, each in values if isinstance(each, MeasuredValues)}
        elif self._constants is None:
            self._onward = {place: each.onward() for place, each in values}
        self._draw_all(count)

    def grow(self, count: int) -> None:
        """Have so many of each."""
        if not self._grows:
            return
        known, before = self.array, self.array.shape[2]
        self.array = np.zeros((*known.shape[:2], count), np.int64)
        # It lies behind what is to be drawn, as if that had been used.
        self.array[:, :, count - before :] = known
        self._draw_all(count - before)

    def _draw_all(self, count: int) -> None:
        if self._constants is not None:
            self.array.reshape(-1, self.array.shape[2])[self._places] = self._constants[:, None]
        self.draw(self._places, np.full(len(self._places), count))

    def draw(self, places: Ints, counts: Ints) -> None:
        """Draw as many as are used in some rows, behind what is left."""
        if self._constants is not None:
            return
        table = self.array.reshape(-1, self.array.shape[2])
        if self._times is None:
            for place, count in zip(places.tolist(), counts.tolist(), strict=True):
                row = table[place]
                row[: len(row) - count] = row[count:].copy()
                row[len(row) - count :] = self._onward[place](count)
            return
        drawn, reached = np.empty(int(counts.sum())), 0
        for place, count in zip(places.tolist(), counts.tolist(), strict=True):
            self._generators[place].random(out=drawn[reached : reached + count])
            reached += count
        self._times.fill(drawn, table, places, counts)


class Inputs:
    """Random inputs that are used side by side, by name: a row for each entity and broker, in which those that are used up come first.

    The loops count how many those are. However many lie ready, and whenever more are drawn, the n-th one is the same.
    """

    def __init__(
        self,
        sources: Mapping[str, Sequence[Sequence[Values]]],
        *,
        with_brokers: bool,
        last_is_enough: Sequence[str] = (),
    ) -> None:
        """Take what is drawn for each entity: for each broker from 1 on, or once.

        Of those for which the last one is enough a loop takes that where it finds no n-th one, so constants lie there once.
        """
        self._first, self._count = int(with_brokers), FIRST_COUNT
        columns = self._first + max((len(row) for rows in sources.values() for row in rows), default=0)
        self._columns = columns
        self._tables = {
            name: _Table(rows, self._first, columns, self._count, is_last_enough=name in last_is_enough)
            for name, rows in sources.items()
        }

    def arrays(self) -> dict[str, Any]:
        """Return the arrays as they are now, without a place for brokers where there are none."""
        arrays = {name: table.array for name, table in self._tables.items()}
        if self._first:
            return arrays
        return {name: array.reshape(len(array), self._count) for name, array in arrays.items()}

    def supply(self, used: Ints, least: int = 1) -> bool:
        """Have at least so many ready for each entity and broker, of which so many are `used` by now; return whether the arrays are others now.

        Where more than half is used up more is drawn, and counted from 0 again.
        """
        has_grown = 2 * least > self._count
        if has_grown:
            self._count = max(2 * least, 2 * self._count)
            for table in self._tables.values():
                table.grow(self._count)
        entity, column = np.nonzero(2 * used > self._count)
        places, counts = entity * self._columns + column, used[entity, column]
        for table in self._tables.values():
            table.draw(places, counts)
        used[entity, column] = 0
        return has_grown
