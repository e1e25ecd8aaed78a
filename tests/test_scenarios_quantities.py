"""Quantities with units: read exactly, refused with the units that fit, written so that they read back as the same."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios import quantities as q


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("250ms", 250_000_000),
        ("5s", 5_000_000_000),
        ("2m", 120_000_000_000),
        ("2min", 120_000_000_000),
        ("1h", 3_600_000_000_000),
        ("7d", 604_800_000_000_000),
        ("1.5us", 1_500),
        ("0s", 0),
        ("1e3ms", 1_000_000_000),
        (".5s", 500_000_000),
        ("0.1ns", 0),
    ],
)
def test_a_duration_is_read_in_nanoseconds(text: str, ns: int) -> None:
    assert q.duration_ns(text) == ns


def test_rates_sizes_and_shares_are_read_in_their_base_units() -> None:
    assert q.rate_hz("600/s") == 600.0
    assert q.rate_hz("10/min") == pytest.approx(1 / 6, abs=0)
    assert q.size_bytes("16KiB") == 16_384
    assert q.size_bytes("1MB") == 1_000_000
    assert q.share("0.1%") == 0.001
    assert q.share("100%") == 1.0


@pytest.mark.parametrize(
    ("read", "value", "message"),
    [
        (q.duration_ns, 5, "is 5 without a unit; a duration needs one of ns, us, ms, s, m, min, h, d: for example 250ms, 5s or 2m"),
        (q.duration_ns, "5 apples", "is '5 apples'; 'apples' is no unit of a duration, which takes one of ns, us, ms, s, m, min, h, d"),
        (q.duration_ns, "soon", "is 'soon'; a duration is written like 250ms, 5s or 2m"),
        (q.duration_ns, True, "is true; a duration is written like 250ms, 5s or 2m"),
        (q.duration_ns, None, "is empty; a duration is written like 250ms, 5s or 2m"),
        (q.duration_ns, [1], "is [1]; a duration is written like 250ms, 5s or 2m"),
        (q.duration_ns, "-1s", "is -1s; a duration is never negative"),
        (q.duration_ns, "1e30d", "is '1e30d'; that is more than can be counted in 64 bits"),
        (q.duration_ns, "1e999999d", "is '1e999999d'; that number is out of range"),
        (q.positive_duration_ns, "0s", "is 0s; it lasts longer than 0 s"),
        (q.positive_duration_ns, "-3s", "is -3s; it lasts longer than 0 s"),
        (q.rate_hz, "600", "is '600' without a unit; a rate needs one of /s, /min, /m, /h, /d: for example 600/s or 10/min"),
        (q.size_bytes, "1KIB", "is 1KIB; 'KIB' is no unit of a size, which takes one of B, kB, KB, MB, GB, TB, KiB, MiB, GiB, TiB"),
        (q.share, "101%", "is 101%; a share is at most 100%"),
        (q.share, 0.5, "is 0.5 without a unit; a share needs one of %: for example 0.1% or 20%"),
    ],
)  # fmt: skip
def test_a_wrong_quantity_says_what_fits(read: Callable[[object], object], value: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        read(value)

    assert str(caught.value) == message


@given(st.integers(0, 2**63 - 1))
def test_an_exact_duration_reads_back_as_the_same(ns: int) -> None:
    assert q.duration_ns(q.exact_duration(ns)) == ns


@given(st.integers(0, 2**62))
def test_an_exact_size_reads_back_as_the_same(count: int) -> None:
    assert q.size_bytes(q.exact_size(count)) == count


@given(st.floats(0, 1e18))
def test_an_exact_rate_reads_back_as_the_same(hz: float) -> None:
    assert q.rate_hz(q.exact_rate(hz)) == hz


@given(st.floats(0, 1))
def test_an_exact_share_reads_back_as_the_same(share: float) -> None:
    assert q.share(q.exact_share(share)) == share


@given(st.text(max_size=30) | st.integers() | st.floats() | st.none() | st.booleans())
def test_whatever_is_written_is_a_quantity_or_a_value_error(value: object) -> None:
    for read in (q.duration_ns, q.positive_duration_ns, q.rate_hz, q.size_bytes, q.share):
        try:
            assert read(value) >= 0
        except ValueError as error:
            assert str(error).startswith("is ")


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"),
        (999, "999ns"),
        (8_400_000, "8.4ms"),
        (1_250_000_000, "1.25s"),
        (119_000_000_000, "119s"),
        (125_000_000_000, "2m 5s"),
        (3_600_000_000_000, "1h"),
        (-5_000_000, "-5ms"),
        (float("inf"), "never"),
    ],
)
def test_a_duration_is_shown_as_people_write_it(ns: float, text: str) -> None:
    assert q.format_duration(ns) == text
