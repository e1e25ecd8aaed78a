"""Measured times from uniform numbers, as `Measured.quantile_ns` and `uniforms` make them, to the last bit."""

import numpy as np
from numpy.typing import NDArray

from sim.compiled import entry
from sim.world import Ints

Floats = NDArray[np.float64]
_WIDTH, _LOWEST = 1.0 - 2**-53, 2**-54


@entry
def invert(
    drawn: Floats, table: Ints, rows: Ints, counts: Ints, knots: Floats, quantiles: Floats, slopes: Floats, starts: Ints
) -> None:
    """Move what is left in some rows to their fronts, and fill in times in ns behind it, for numbers from 0 to below 1.

    `starts` says by the first digits of a number which is the first knot that it may come after.
    """
    cells, last, length, reached = starts.shape[0], knots.shape[0] - 2, table.shape[1], 0
    for k in range(rows.shape[0]):
        row, left = table[rows[k]], length - counts[k]
        for n in range(left):
            row[n] = row[n + counts[k]]
        for n in range(left, length):
            u = drawn[reached] * _WIDTH + _LOWEST
            reached += 1
            j = starts[np.int64(u * cells)]
            while j < last and knots[j + 1] <= u:
                j += 1
            row[n] = np.int64(np.rint((slopes[j] * (u - knots[j]) + quantiles[j]) * 1_000))
