"""The events of a quiet stretch that are under way, in columns of a fixed length, each at the place of its id modulo that."""

from collections.abc import Iterator

import numpy as np

from rundata.rows import NEVER
from scenarios.plan import Plan
from sim.world import NONE, Ints

_LEAST = 1 << 10
OF_EVENTS = ("process", "handed", "size", "part", "following", "acked", "offset", "visible")
OF_GROUPS = ("work", "delivered", "effect")
_AT_FIRST = {"following": NONE, "acked": NEVER, "offset": NEVER, "visible": NEVER, "delivered": NEVER, "effect": NEVER}


class Ring:
    """Columns of events, and by group. There is room for those from `first` to before `end`; ids say where, so nothing moves when some leave."""

    def __init__(self, groups: tuple[str, ...]) -> None:
        self._groups = groups
        self.first = self.end = 0
        self.room = _LEAST
        self._columns = self._empty(_LEAST)

    def _empty(self, room: int) -> dict[str, Ints]:
        columns = {name: np.zeros(room, np.int64) for name in OF_EVENTS}
        return columns | {name: np.zeros((len(self._groups), room), np.int64) for name in OF_GROUPS}

    @property
    def mask(self) -> int:
        """The room less one: what an id is cut down to."""
        return self.room - 1

    def column(self, name: str) -> Ints:
        """Return a column of events, or of all groups, as the loops take it."""
        return self._columns[name]

    def take(self, plan: Plan, part: Ints) -> bool:
        """Add a block of events behind the others; return whether the columns are others now, because there was too little room."""
        first, self.end = self.end, self.end + len(plan)
        has_grown = self.end - self.first > self.room
        if has_grown:
            self._grow(first)
        for some, here in self._pieces(first, self.end):
            self._columns["size"][here] = plan.size_bytes[some]
            self._columns["part"][here] = part[some]
            for name, value in _AT_FIRST.items():
                self._columns[name][..., here] = value
            for number, group in enumerate(self._groups):
                self._columns["work"][number, here] = plan.work_ns[group][some]
        return has_grown

    def _grow(self, end: int) -> None:
        known, before = self._columns, self.room
        while self.end - self.first > self.room:
            self.room *= 2
        self._columns = self._empty(self.room)
        ids = np.arange(self.first, end)
        for name, column in known.items():
            self._columns[name][..., ids & (self.room - 1)] = column[..., ids & (before - 1)]

    def of(self, name: str, first: int, end: int) -> Ints:
        """Return what a column holds of some events."""
        column = self._columns[name]
        found = np.empty((*column.shape[:-1], end - first), np.int64)
        for some, here in self._pieces(first, end):
            found[..., some] = column[..., here]
        return found

    def last_of(self, name: str, first: int, end: int) -> Ints:
        """Return the same of events behind which none comes: where they lie in one piece, no copy of it."""
        pieces = list(self._pieces(first, end))
        return self._columns[name][..., pieces[0][1]] if len(pieces) == 1 else self.of(name, first, end)

    def put(self, name: str, first: int, values: Ints) -> None:
        """Set a column of some events."""
        for some, here in self._pieces(first, first + values.shape[-1]):
            self._columns[name][..., here] = values[..., some]

    def leave(self, end: int) -> None:
        """Let go of the events before an id."""
        self.first = end

    def _pieces(self, first: int, end: int) -> Iterator[tuple[slice, slice]]:
        """Yield the one or two pieces in which events lie: their places among each other, and in the columns."""
        place = 0
        while place < end - first:
            at = (first + place) & self.mask
            count = min(end - first - place, self.room - at)
            yield slice(place, place + count), slice(at, at + count)
            place += count
