"""NumPy's random numbers, the same to the last bit in half the time: four steps of a generator are under way at once.

A step of PCG64 (M. E. O'Neill, "PCG: A family of simple fast space-efficient statistically good algorithms for random number generation", 2014;
the variant XSL RR) is a product of 128 bits, and the next one waits for it. Every fourth number is such a row, too, with another factor and
another summand; so four of those rows, each a number behind the one before, are all numbers and wait for nobody.
"""

import numpy as np
from numpy.typing import NDArray

from sim.compiled import compiled, entry, multiply_add

Floats = NDArray[np.float64]
Lanes = NDArray[np.uint64]
Places = NDArray[np.int16]
LANES = 4
_FACTOR, _WORD = 0x2360ED051FC65DA44385DF649FCCF645, 1 << 64
_FIFTY_THREE_BITS = 2.0**-53
WIDTH, LOWEST = 1.0 - 2**-53, 2**-54
"""What makes numbers from 0 to below 1 ones between 0 and 1, as in `scenarios.streams.uniforms`."""


def lanes_of(generator: np.random.Generator) -> Lanes:
    """Return the rows that go on where a generator of PCG64 stands, and how they do, high words before low ones; the generator stays where it is."""
    inside = generator.bit_generator.state
    assert inside["bit_generator"] == "PCG64", "another generator has other steps"
    state, summand = inside["state"]["state"], inside["state"]["inc"]
    numbers = []
    for _ in range(LANES):
        state = (state * _FACTOR + summand) % _WORD**2
        numbers.append(state)
    powers = sum(_FACTOR**number for number in range(LANES))
    numbers += [_FACTOR**LANES % _WORD**2, summand * powers % _WORD**2]
    return np.array([word for number in numbers for word in divmod(number, _WORD)], np.uint64)


@compiled
def number_of(high: np.uint64, low: np.uint64) -> float:
    """Return the number that a state of the generator stands for, from 0 to below 1."""
    word, by = high ^ low, high >> np.uint64(58)
    word = (word >> by) | (word << ((np.uint64(64) - by) & np.uint64(63)))
    return np.float64(np.int64(word >> np.uint64(11))) * _FIFTY_THREE_BITS


@entry
def uniforms(lanes: Lanes, drawn: Floats) -> None:
    """Draw numbers between 0 and 1."""
    h0, l0, h1, l1, h2, l2, h3, l3 = lanes[0], lanes[1], lanes[2], lanes[3], lanes[4], lanes[5], lanes[6], lanes[7]
    fh, fl, sh, sl = lanes[8], lanes[9], lanes[10], lanes[11]
    count = drawn.shape[0]
    for n in range(0, count - LANES + 1, LANES):
        drawn[n] = number_of(h0, l0) * WIDTH + LOWEST
        drawn[n + 1] = number_of(h1, l1) * WIDTH + LOWEST
        drawn[n + 2] = number_of(h2, l2) * WIDTH + LOWEST
        drawn[n + 3] = number_of(h3, l3) * WIDTH + LOWEST
        h0, l0 = multiply_add(h0, l0, fh, fl, sh, sl)
        h1, l1 = multiply_add(h1, l1, fh, fl, sh, sl)
        h2, l2 = multiply_add(h2, l2, fh, fl, sh, sl)
        h3, l3 = multiply_add(h3, l3, fh, fl, sh, sl)
    for n in range(count - count % LANES, count):
        drawn[n] = number_of(h0, l0) * WIDTH + LOWEST
        high, low = multiply_add(h0, l0, fh, fl, sh, sl)
        h0, l0, h1, l1, h2, l2, h3, l3 = h1, l1, h2, l2, h3, l3, high, low
    lanes[0], lanes[1], lanes[2], lanes[3], lanes[4], lanes[5], lanes[6], lanes[7] = h0, l0, h1, l1, h2, l2, h3, l3
