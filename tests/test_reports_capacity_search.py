"""The searches: the least number and the greatest load, exactly where it is certain, honestly where it is not."""

import math

import pytest

from reports.capacity_search import BATCH, MOST, Looked, greatest_load, judge, least


def sure_from(needed: int):
    """Margins that have no noise: it holds from `needed` on."""
    return lambda value, begin, end: [0.1 if value >= needed else -0.1] * (end - begin)


@pytest.mark.parametrize("needed", [1, 2, 7, 8, 33, 100])
@pytest.mark.parametrize("first", [None, 1, 5, 100])
def test_the_least_number_is_found_by_halving(needed: int, first: int | None) -> None:
    """Of a hundred, in at most sixteen looks, with the one below shown to fail."""
    found = least(1, 100, sure_from(needed), first=first)

    assert (found.value, found.interval) == (needed, (needed, needed))
    assert len(found.looked) <= 16
    assert needed == 1 or Looked(needed - 1, (-0.1,) * BATCH, "fails") in found.looked


def test_where_the_most_is_not_enough_there_is_no_answer() -> None:
    assert least(1, 10, sure_from(11)).value is None


def test_what_cannot_be_told_widens_the_interval() -> None:
    """At 4 and 5 the margin wavers around nothing: 6 surely holds, 4 may."""

    def look(value: float, begin: int, end: int) -> list[float]:
        if value in (4, 5):
            return [0.5 if number % 2 else -0.5 for number in range(begin, end)]
        return sure_from(6)(value, begin, end)

    found = least(1, 10, look)

    assert (found.value, found.interval) == (6, (4, 6))
    assert {len(each.margins) for each in found.looked if each.value in (4, 5)} == {MOST}


def test_a_clear_case_takes_one_batch_and_a_close_one_more() -> None:
    noise = [0.3, -0.2, 0.25, 0.3, -0.1, 0.3, 0.2, 0.3, 0.1, 0.3, 0.2, 0.3]
    close = judge(lambda _value, begin, end: noise[begin:end], 1)

    assert len(judge(sure_from(1), 1).margins) == BATCH
    assert (close.verdict, len(close.margins)) == ("holds", 9)


def test_a_value_that_was_never_reached_fails() -> None:
    assert judge(lambda _v, begin, end: [-math.inf] * (end - begin), 1).verdict == "fails"


@pytest.mark.parametrize("limit", [0.1, 0.9, 1.0, 1.7, 9.0])
def test_the_greatest_load_is_known_to_5_percent(limit: float) -> None:
    found = greatest_load(lambda value, begin, end: [limit - value] * (end - begin))

    assert found.interval[0] <= limit <= found.interval[1]
    assert found.interval[1] / found.interval[0] <= 1.05
    assert found.factor == found.interval[0]


def test_a_load_without_limit_is_not_claimed_to_have_one() -> None:
    found = greatest_load(lambda _value, begin, end: [1.0] * (end - begin))
    assert (found.factor, found.interval[1]) == (64.0, math.inf)


def test_where_loads_waver_both_ends_are_found_closely() -> None:
    """Up to 1.3 it holds, above 1.42 it fails, and between them nobody can tell: neither end stays at the double that was tried first."""

    def look(value: float, begin: int, end: int) -> list[float]:
        if 1.3 < value <= 1.42:
            return [0.5 if number % 2 else -0.5 for number in range(begin, end)]
        return [0.1 if value <= 1.3 else -0.1] * (end - begin)

    low, high = greatest_load(look).interval

    assert 1.3 / 1.05 < low <= 1.3
    assert 1.42 < high <= 1.42 * 1.05


def test_where_nothing_fails_at_the_double_it_is_looked_for_further_up() -> None:
    """From 1.2 up to 3.5 nobody can tell, so that 2 says nothing; 4.5 surely fails, and then the end is found closely."""

    def look(value: float, begin: int, end: int) -> list[float]:
        if 1.2 < value <= 3.5:
            return [0.5 if number % 2 else -0.5 for number in range(begin, end)]
        return [0.1 if value <= 1.2 else -0.1] * (end - begin)

    low, high = greatest_load(look).interval

    assert 1.2 / 1.05 < low <= 1.2
    assert 3.5 < high <= 3.5 * 1.05


def test_what_surely_is_too_little_is_found_below_what_cannot_be_told() -> None:
    """6 is enough, from 3 on it may be: halving from 1 to 10 looks at 5 and at 6, and would leave 1 to 4 open."""

    def look(value: float, begin: int, end: int) -> list[float]:
        if 3 <= value <= 5:
            return [0.5 if number % 2 else -0.5 for number in range(begin, end)]
        return sure_from(6)(value, begin, end)

    found = least(1, 10, look, first=8)

    assert (found.value, found.interval) == (6, (3, 6))
    assert [each.verdict for each in found.looked if each.value < 3] == ["fails"]
