"""Named random streams: one per entity and purpose, so that adding a fault never changes who arrives when."""

import zlib

import numpy as np
from numpy.typing import NDArray


def stream(seed: int, kind: str, name: str, purpose: str, *, replication: int = 0) -> np.random.Generator:
    """Return the generator of one entity for one purpose; equal arguments give equal streams."""
    words = (replication, *(zlib.crc32(word.encode()) for word in (kind, name, purpose)))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=words)))


def uniforms(generator: np.random.Generator, count: int, out: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Draw `count` numbers in (0, 1), open at both ends so that every inverse distribution function is finite; into `out` if that is given."""
    drawn = generator.random(count, out=out)
    drawn *= 1.0 - 2**-53
    drawn += 2**-54
    return drawn


def hashed_uniforms(seed: int, *words: int | NDArray[np.int64]) -> NDArray[np.float64]:
    """Return one number in (0, 1) per row of the integer `words`, a pure function of them (SplitMix64 finalisers).

    Retries and redeliveries draw from it, so that one more of them disturbs no other stream.
    """
    with np.errstate(over="ignore"):
        state = np.asarray(np.uint64(seed & 0xFFFFFFFFFFFFFFFF))
        for word in words:
            state = _mix(state ^ _mix(np.asarray(word).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)))
    return ((state >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed
