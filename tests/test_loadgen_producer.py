"""A producer process's values, without brokers."""

import numpy as np
import pytest

from loadgen.paced import of_one_size
from loadgen.records import HEADER, filler, headers


@pytest.mark.parametrize("size", [32, 33, 100, 1024])
def test_values_of_one_size_are_what_each_of_them_would_be(size: int) -> None:
    """The ids of each event, and then as much of the filler as there is room for."""
    events = np.asarray([3, 900, 2**40])
    heads = headers(7, events, 10 * events, np.asarray([False, True, False]))
    body = filler(size)

    values = of_one_size(heads, body, size)

    assert [len(value) for value in values] == [size] * 3
    assert values == [heads[n * 32 : (n + 1) * 32] + body[: size - HEADER.size] for n in range(3)]
