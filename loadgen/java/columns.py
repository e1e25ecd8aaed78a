"""What the Java processes are told in columns of their own: events that effects emit, and values that are the user's own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadgen.children import ChildError
from loadgen.records import UNREADABLE
from scenarios.derived import Derived
from scenarios.following import Following
from scenarios.outside import outside_producers
from scenarios.plan import Plan

MOST_EMITTED = 5_000_000
"""So many emitted events have columns, some 50 bytes each."""


def emitted_columns(plan: Plan, type_of_place: Sequence[int]) -> dict[str, NDArray[Any]]:
    """Return, by name, a row for each event that the plan's events can make groups emit, by rising id; of groups those that read them.

    The other client draws what an event holds when it meets it; Java's processes look it up, so that one definition of every
    distribution is enough.
    """
    derived = Derived(plan)
    ids = emitted_ids(plan)
    columns: dict[str, NDArray[Any]] = {
        "emitted_ids": ids,
        "emitted_key": derived.key_of(ids),
        "emitted_type": np.asarray([*type_of_place, 0], np.int16)[derived.place_of(ids)],
        "emitted_size": derived.size_bytes(ids),
        "emitted_poison": derived.poison(ids),
    }
    for name in plan.scenario.groups:
        columns[f"emitted_work_ns.{name}"] = derived.work_ns(name, ids)
        columns[f"emitted_failing_tries.{name}"] = derived.failing_tries(name, ids)
    return columns


def emitted_ids(plan: Plan) -> NDArray[np.int64]:
    """Return every id that effects can emit, in rising order."""
    derived = Derived(plan)
    found, level, count = [np.zeros(0, np.int64)], np.arange(len(plan), dtype=np.int64), 0
    while len(level):
        level = np.concatenate([np.zeros(0, np.int64), *_below(derived, level)])
        found.append(level)
        count += len(level)
        if count > MOST_EMITTED:
            raise ChildError(
                f"effects emit more than {MOST_EMITTED:,} events, which is more than the Java client's processes are told of: "
                "lower per_event, share or hops, or leave `client` out of the groups of the chain"
            )
    return np.sort(np.concatenate(found))


def _below(derived: Derived, level: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    plan, topics = derived.plan, derived.topic_of(level)
    return [
        derived.children_of(level[np.isin(topics, [plan.topics.index(topic) for topic in group.topics])], name)[1]
        for name, group in plan.scenario.groups.items()
        if group.emits
    ]


def own_places(plan: Plan, group: str) -> dict[str, Any]:
    """Return at which places a group's effects emit, and what ids of what follows from own programs' events are made of.

    By place that is: which producers' declared events stand for events whose effects emit there.
    """
    chain = Following(plan)
    places = chain.places
    own = [{"number": number, "emit": place.emit} for number, place in enumerate(places) if place.group == group]
    pools = [outside_producers(plan.scenario, place.group) for place in places]
    return {"places": len(places), "own": own, "outside": {"codes": chain.codes.tolist(), "pools": pools}}


def save_payload(path: Path, values: Sequence[bytes]) -> NDArray[np.int64]:
    """Write values one after another, and the one that nobody can read behind them; return where each ends."""
    all_values = [*values, UNREADABLE]
    path.write_bytes(b"".join(all_values))
    return np.cumsum([len(value) for value in all_values], dtype=np.int64)
