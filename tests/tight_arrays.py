"""Simulates with arrays that are as small as can be at first, so that each of them has to grow under way."""

from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from rundata.tables import RunData
from scenarios.plan import Plan
from scenarios.profiles import Profile
from sim import world as at
from sim.building import Builder
from sim.engine import simulate

_DRAWN = (
    "produce", "leader", "acknowledge", "retry", "fetch", "turnaround", "wake", "overshoot", "commit_time", "dead_letter",
    "emit_send", "emit_sticky", "takes", "producer_commit",
)  # fmt: skip
_full_world = Builder.world


def simulate_in_tight_arrays(plan: Plan, profile: Profile) -> RunData:
    """Return the same as `simulate`, if growing is harmless."""
    with patch.object(Builder, "world", _tight_world):
        return simulate(plan, profile)


def _tight_world(builder: Builder) -> at.World:
    world = _full_world(builder)
    members = world.member.shape[0] + world.proc.shape[0]
    parts, brokers = world.mp.shape[1], world.conn.shape[1]
    # Control pushes to the heap between two looks at the room that is left, so it keeps the margin that the kernel keeps.
    margin = 64 + 4 * (members + 1) * (parts + 1) + members * brokers
    return world._replace(
        heap=world.heap[: int(world.scalars[at.HEAP]) + margin].copy(),
        request=_first(world.request, 0),
        log=_first(world.log, 1),
        closed=_first(world.closed, 2),
        left=_first(world.left, 2),
        ring=_first(world.ring, 1),
        hand=_first(world.hand, 1),
        commit=_first(world.commit, 0),
        item=_first(world.item, 0),
        txn=_first(world.txn, 0),
        share=_first(world.share, 2),
        acquisition=_first(world.acquisition, 0),
        rows=_first(world.rows, 0),
        calling=_first(world.calling, 0),
        **{name: _first(getattr(world, name), getattr(world, name).ndim - 1) for name in _DRAWN},
    )


def _first(array: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return the first of an axis; the kernel is compiled for arrays without gaps."""
    return np.ascontiguousarray(np.take(array, [0], axis))
