"""The rows of operations that members write, what ends for a group, and chance that depends on nothing but its place."""

import numpy as np

from sim import world as at
from sim.compiled import compiled
from sim.world import (
    CHANCE,
    CODE,
    GROUP,
    NONE,
    O_ATTEMPT,
    O_EVENT,
    O_GROUP,
    O_KIND,
    O_NUMBER,
    O_OFFSET,
    O_OUTCOME,
    O_PART,
    O_POLL,
    O_PROCESS,
    O_RETRY,
    O_VALID,
    OPEN,
    ROWS,
    S_BEGIN,
    S_END,
    S_GROUP,
    SEED,
    World,
)

KIND_DELIVERY, KIND_TRY, KIND_SKIP, KIND_DEAD_LETTER, KIND_COMMIT = 1, 2, 3, 4, 5
"""Codes of rundata.rows.Kind."""
UNTIMED = -(2**63)
_ALWAYS_FAILS = 32767


@compiled
def new_row(w: World, m: int, kind: int, e: int, p: int, offset: int) -> int:
    """Return the number of a new row of operations."""
    s, member = w.scalars, w.member[m]
    number = s[ROWS]
    s[ROWS] = number + 1
    row = w.rows[number]
    row[O_KIND] = kind
    row[O_PROCESS] = member[CODE]
    row[O_GROUP] = member[GROUP]
    row[O_EVENT] = e
    row[O_PART] = p
    row[O_OFFSET] = offset
    row[O_ATTEMPT] = 0
    row[O_POLL] = NONE
    row[O_NUMBER] = 0
    row[O_RETRY] = UNTIMED
    row[O_OUTCOME] = 0
    row[O_VALID] = 1
    row[at.O_TXN] = NONE
    return number


@compiled
def close(w: World, g: int, p: int, offset: int) -> None:
    """A pair of a record and a group has ended."""
    s = w.scalars
    if not w.closed[g, p, offset]:
        w.closed[g, p, offset] = 1
        s[OPEN] -= 1


@compiled
def done_with(w: World, g: int, p: int, offset: int) -> None:
    """A group is done with a record; in a transaction, and in a share group, it counts when that is committed."""
    if w.group[g, at.MODE] != at.TRANSACTION and w.group[g, at.LOCK_NS] == 0:
        close(w, g, p, offset)


@compiled
def fails(w: World, m: int, e: int, attempt: int, number: int, began: int) -> bool:
    """Whether a try fails: poison and transient failures by the plan, failing_work and versions that do not always work by chance."""
    g, version = w.member[m, GROUP], w.member[m, at.VERSION]
    planned = w.failing[version, e]
    if planned == _ALWAYS_FAILS or attempt <= planned:
        return True
    for f in range(w.fail.shape[0]):
        concerned = w.fail[f, S_GROUP] == g and (w.fail[f, at.S_VERSION] == NONE or w.fail[f, at.S_VERSION] == version)
        hit = concerned and w.fail[f, S_BEGIN] <= began < w.fail[f, S_END]
        if (
            hit
            and hashed(w.scalars[SEED], w.scalars[CHANCE], g, w.identity[e, at.V_ID], attempt, number) < w.fail_share[f]
        ):
            return True
    return False


@compiled
def hashed(seed: int, chance: int, g: int, e: int, attempt: int, number: int) -> float:
    """Return scenarios.streams.hashed_uniforms of one row."""
    state = np.uint64(seed)
    for word in (chance, g, e, attempt, number):
        state = mixed(state ^ mixed(np.uint64(word) + np.uint64(0x9E3779B97F4A7C15)))
    return (np.float64(state >> np.uint64(11)) + 0.5) * 2.0**-53


@compiled
def mixed(z: np.uint64) -> np.uint64:
    """Return SplitMix64's finaliser."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
