"""Distributions: their means and quantiles are those of theory, and inversion keeps the order of the numbers drawn."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from scipy import special, stats

from scenarios.distributions import Constant, Distribution, parse_distribution, written
from scenarios.quantities import DURATION, MILLISECOND, SIZE

FORMS = {
    "constant": "2ms",
    "exponential": {"exponential": "2ms"},
    "lognormal": {"lognormal": {"mean": "2ms", "cv": 0.5}},
    "gamma": {"gamma": {"mean": "2ms", "cv": 0.5}},
    "uniform": {"uniform": ["1ms", "3ms"]},
    "pareto": {"pareto": {"min": "1.2ms", "shape": 2.5}},
    "mix": {"mix": [{"share": "95%", "of": "2ms"}, {"share": "5%", "of": {"exponential": "50ms"}}]},
}


def of(form: object) -> Distribution:
    return parse_distribution(form, DURATION)


@pytest.mark.parametrize("name", FORMS)
def test_the_mean_is_that_of_many_evenly_spread_quantiles(name: str) -> None:
    """The midpoint rule over a million numbers in (0, 1)."""
    distribution = of(FORMS[name])
    u = (np.arange(1_000_000) + 0.5) / 1_000_000

    assert distribution.quantile(u).mean() == pytest.approx(distribution.mean, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("exponential", stats.expon(scale=2)),
        ("lognormal", stats.lognorm(s=np.sqrt(np.log(1.25)), scale=2 / np.sqrt(1.25))),
        ("gamma", stats.gamma(4, scale=0.5)),
        ("uniform", stats.uniform(1, 2)),
        ("pareto", stats.pareto(2.5, scale=1.2)),
    ],
)
def test_quantiles_are_those_of_theory(name: str, reference: object) -> None:
    u = np.array([0.001, 0.1, 0.5, 0.9, 0.999])

    assert of(FORMS[name]).quantile(u) / MILLISECOND == pytest.approx(reference.ppf(u), rel=1e-9)  # type: ignore[attr-defined]  # a frozen distribution


def test_a_mix_takes_each_part_for_its_share() -> None:
    """Below 0.95 it is 2 ms; above, the exponential at the place within its own share."""
    values = of(FORMS["mix"]).quantile(np.array([0.01, 0.94999, 0.975]))

    assert values / MILLISECOND == pytest.approx([2, 2, 50 * np.log(2)])


@pytest.mark.parametrize("name", [name for name in FORMS if name != "mix"])
@given(st.lists(st.floats(2**-54, 1 - 2**-53), min_size=2, max_size=20))
def test_inversion_keeps_the_order_of_what_was_drawn(name: str, u: list[float]) -> None:
    values = of(FORMS[name]).quantile(np.sort(u))

    assert (np.diff(values) >= -1e-6).all()
    assert np.isfinite(values).all() and (values >= 0).all()


@pytest.mark.parametrize("name", FORMS)
def test_a_distribution_is_written_as_it_was_read(name: str) -> None:
    assert of(written(of(FORMS[name]), DURATION)) == of(FORMS[name])


def test_a_plain_size_is_constant() -> None:
    assert parse_distribution("200B", SIZE) == Constant(200)


def test_a_trace_draws_from_a_column(tmp_path: Path) -> None:
    file = str(tmp_path / "work.parquet")
    parquet.write_table(pa.table({"seconds": [0.003, 0.001, 0.002], "name": ["a", "b", "c"]}), file)

    trace = of({"trace": file, "column": "seconds"})

    assert trace.quantile(np.array([0.1, 0.5, 0.9])).tolist() == [1 * MILLISECOND, 2 * MILLISECOND, 3 * MILLISECOND]
    assert trace.mean == pytest.approx(2 * MILLISECOND)
    for column, message in (
        ("second", "names the column 'second'; .* has seconds, name"),
        ("name", "holds string; it holds numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            of({"trace": file, "column": column})
    Path(file).write_text("no parquet", "utf-8")
    with pytest.raises(ValueError, match="which is no Parquet file"):
        of({"trace": file, "column": "seconds"})


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"normal": "2ms"}, "names 'normal', which is no distribution; a duration that varies is a plain value, {exponential: V}"),
        ({"exponential": 2}, "is 2 without a unit"),
        ({"exponential": "2ms", "gamma": "2ms"}, "is {exponential: 2ms, gamma: 2ms}; a duration that varies is"),
        ({"lognormal": {"mean": "2ms"}}, "is {mean: 2ms}; it is written {lognormal: {mean: V, cv: 0.5}}"),
        ({"lognormal": {"mean": "2ms", "cv": "50%"}}, "has cv 50%; it is a plain number above 0 and at most 1000"),
        ({"gamma": {"mean": "2ms", "cv": 1e9}}, "has cv 1000000000.0; it is a plain number above 0 and at most 1000"),
        ({"uniform": ["3ms", "1ms"]}, "is [3ms, 1ms]; the first value is the lower one"),
        ({"uniform": "1ms"}, "is 1ms; it is written {uniform: [LOW, HIGH]}"),
        ({"pareto": {"min": "1ms", "shape": 1}}, "has shape 1; it is a plain number above 1 and at most 1000"),
        ({"mix": [{"share": "50%", "of": "1ms"}]}, "has shares that add up to 50.0000%; they are above 0% and make 100%"),
        ({"trace": "none.parquet", "column": "x"}, "names the trace 'none.parquet', and there is no such file"),
    ],
)  # fmt: skip
def test_a_wrong_distribution_says_how_it_is_written(form: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        of(form)

    assert str(caught.value).startswith(message)


def test_special_functions_come_without_the_package_around_them_and_are_the_same() -> None:
    """A process that draws log-normal times neither loads what only tests need, nor keeps anybody from loading SciPy as it is."""
    code = (
        "import sys; from scenarios.distributions import Gamma, Lognormal; import numpy as np; "
        "u = np.linspace(0.001, 0.999, 7); print(*Lognormal(2.0, 0.5).quantile(u), *Gamma(2.0, 0.5).quantile(u)); "
        "print('numpy.f2py' in sys.modules); from scipy import special, stats; print(special.ndtri(0.5), stats.norm.ppf(0.5))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    u, sigma = np.linspace(0.001, 0.999, 7), np.sqrt(np.log1p(0.25))
    expected = [*2.0 * np.exp(sigma * special.ndtri(u) - sigma**2 / 2), *special.gammaincinv(4.0, u) * 0.5]
    assert done.stdout.splitlines() == [" ".join(str(each) for each in expected), "False", "0.0 0.0"]
