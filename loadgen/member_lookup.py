"""What a member knows of events by their ids: the plan's arrays for planned events, keyed draws for emitted ones."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loadgen.child import Child
from scenarios.outside import FIRST, stand_ins

if TYPE_CHECKING:
    from scenarios.derived import Derived

Ints = NDArray[np.int64]
_MOST_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Facts:
    """What is fixed about one event in one group."""

    work_ns: int
    failing_tries: int
    key: int
    event_type: int
    undecodable: bool


class Lookup:
    """Facts by event; of emitted events those of a whole poll are drawn together and kept until they have been handled."""

    def __init__(self, child: Child) -> None:
        spec = child.spec
        self._group: str = spec["group"]
        self._arrays = {name: np.asarray(child.array(name)) for name in ("work_ns", "failing_tries", "key", "producer")}
        self._undecodable = np.asarray(child.array("undecodable")) if "undecodable" in spec["arrays"] else None
        self._types = np.asarray(spec["codes"]["event_type_of_producer"], np.int16)
        self.planned = len(self._arrays["key"])
        outside: list[int] = spec.get("outside_producers", [])
        self._declared = np.zeros(0, np.int64)
        """Events that stand for those which the user's own programs send."""
        if outside:
            self._declared = np.flatnonzero(np.isin(self._arrays["producer"], outside)).astype(np.int64)
        self.derived: Derived | None = None
        if spec.get("derived"):
            # Only a scenario with emitted events needs it, and only then is it worth the imports.
            self.derived = pickle.loads(Path(spec["derived"]).read_bytes())
            self._type_of_place: list[int] = spec["codes"]["event_type_of_place"]
        self._kept: dict[int, Facts] = {}

    def facts(self, event_id: int) -> Facts:
        """Return what is known of one event."""
        if event_id >= FIRST and len(self._declared):
            event_id = int(self._here(np.asarray([event_id], np.int64))[0])
        if event_id < self.planned:
            arrays = self._arrays
            return Facts(
                int(arrays["work_ns"][event_id]),
                int(arrays["failing_tries"][event_id]),
                int(arrays["key"][event_id]),
                int(self._types[arrays["producer"][event_id]]),
                self._undecodable is not None and bool(self._undecodable[event_id]),
            )
        if event_id not in self._kept:
            self.prepare(np.asarray([event_id], np.int64))
        return self._kept[event_id]

    def _here(self, event_id: Ints) -> Ints:
        """Return ids with those from outside replaced by those of the declared events that stand for them."""
        return stand_ins(self._declared, event_id)

    def prepare(self, event_id: Ints) -> None:
        """Draw what is fixed about the emitted ones among some events."""
        emitted = event_id[self._here(event_id) >= self.planned]
        if not len(emitted):
            return
        derived = self.derived
        assert derived is not None, "an event that nobody emits"
        if len(self._kept) > _MOST_KEPT:
            self._kept.clear()
        columns = zip(
            emitted.tolist(),
            derived.work_ns(self._group, emitted).tolist(),
            derived.failing_tries(self._group, emitted).tolist(),
            derived.key_of(emitted).tolist(),
            derived.place_of(emitted).tolist(),
            strict=True,
        )
        for number, work, failing, key, place in columns:
            self._kept[number] = Facts(work, failing, key, self._type_of_place[place], False)

    # ---- of a whole poll

    def keys(self, event_id: Ints) -> Ints:
        """Return the number of each event's key."""
        return self._either(event_id, lambda ids: self._arrays["key"][ids], "key")

    def types(self, event_id: Ints) -> Ints:
        """Return the code of each event's type."""
        return self._either(event_id, lambda ids: self._types[self._arrays["producer"][ids]], "event_type")

    def never_fails_at_once(self, event_id: Ints) -> NDArray[np.bool_]:
        """Return which events need no work and have no failure planned."""
        event_id = self._here(event_id)
        if self.planned and (event_id < self.planned).all():
            found: NDArray[np.bool_] = (self._arrays["work_ns"][event_id] == 0) & (
                self._arrays["failing_tries"][event_id] == 0
            )
            return found if self._undecodable is None else found & ~self._undecodable[event_id]
        facts = [self.facts(number) for number in event_id.tolist()]
        return np.asarray([f.work_ns == 0 and f.failing_tries == 0 and not f.undecodable for f in facts], np.bool_)

    def _either(self, event_id: Ints, of_plan: Any, field: str) -> Ints:
        event_id = self._here(event_id)
        if self.planned and (event_id < self.planned).all():
            found: Ints = of_plan(event_id)
            return found
        return np.asarray([getattr(self.facts(number), field) for number in event_id.tolist()], np.int64)
