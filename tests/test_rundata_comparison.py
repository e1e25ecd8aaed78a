"""Comparisons under common random numbers: literal pairs, and how sure they are."""

import pytest

from rundata.comparison import compare
from rundata.measurement import Measurement


def seconds(*values: float | None) -> list[dict[str, Measurement]]:
    return [{"latency.p50": Measurement(value, "s")} for value in values]


def test_pairs_tell_a_difference_that_means_apart_would_not() -> None:
    """Each run is 0.1 s or so faster, although the runs spread over 4 s: better, and surely so."""
    found = compare(seconds(1.0, 2.0, 3.0, 5.0), seconds(0.9, 1.88, 2.9, 4.88))["latency.p50"]

    assert (found.pairs, found.verdict) == (4, "better")
    assert found.difference == pytest.approx(-0.11)
    assert found.interval == (pytest.approx(-0.1284, abs=1e-4), pytest.approx(-0.0916, abs=1e-4))
    assert found.sure > 0.999
    assert found.gain > 10_000


def test_pairs_that_disagree_cannot_tell() -> None:
    found = compare(seconds(1.0, 2.0, 3.0), seconds(1.5, 1.5, 3.2))["latency.p50"]

    assert found.verdict == "cannot tell"
    assert found.sure < 0.5


def test_more_of_what_is_better_higher_is_better() -> None:
    base = [{"consumed": Measurement(value, "1/s")} for value in (10.0, 11.0, 12.0)]
    more = [{"consumed": Measurement(value, "1/s")} for value in (12.0, 13.0, 14.1)]

    assert compare(base, more)["consumed"].verdict == "better"
    assert compare(more, base)["consumed"].verdict == "worse"


def test_equal_runs_are_the_same() -> None:
    found = compare(seconds(1.0, 2.0), seconds(1.0, 2.0))["latency.p50"]
    assert (found.verdict, found.sure, found.difference, found.to_json()["gain"]) == ("the same", 0.0, 0.0, None)


def test_a_value_that_was_never_reached_has_no_pair() -> None:
    assert compare(seconds(1.0, None, 2.0), seconds(1.0, 3.0, None)) == {}
