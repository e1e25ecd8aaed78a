"""Values that vary: a constant or one of a few named distributions, drawn by inversion (one uniform per value)."""

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scenarios.errors import show
from scenarios.quantities import DURATION, SHARE, Unit, exact_duration, exact_share, exact_size, parse

Floats = NDArray[np.float64]


@cache
def _special() -> ModuleType:
    """Return SciPy's special functions, for those who need them.

    The compiled ones alone come in a fraction of the time: the package around them loads what tests and other array libraries
    need. It stays free to be imported as a whole later, and takes the same functions.
    """
    name = "scipy.special"
    if name not in sys.modules:
        import scipy

        bare = ModuleType(name)
        bare.__path__ = [str(Path(folder) / "special") for folder in scipy.__path__]
        sys.modules[name] = bare
        try:
            return importlib.import_module(f"{name}._ufuncs")
        except ImportError:
            pass  # another SciPy, which keeps them elsewhere
        finally:
            del sys.modules[name]
    return importlib.import_module(name)


class Distribution(Protocol):
    """A distribution in the base unit of its quantity (ns, bytes)."""

    def quantile(self, u: Floats) -> Floats:
        """Return the inverse distribution function at `u` in (0, 1)."""
        ...

    @property
    def mean(self) -> float:
        """The mean in the base unit."""
        ...


@dataclass(frozen=True)
class Constant:
    """Always the same value."""

    value: float

    def quantile(self, u: Floats) -> Floats:
        """Return the value for every `u`."""
        return np.full(np.shape(u), self.value)

    @property
    def mean(self) -> float:
        """The value."""
        return self.value


@dataclass(frozen=True)
class Exponential:
    """Memoryless with the given mean."""

    mean: float

    def quantile(self, u: Floats) -> Floats:
        """Return -mean * log(1 - u)."""
        found = np.log1p(-u)
        found *= -self.mean
        return found


@dataclass(frozen=True)
class Lognormal:
    """Log-normal with the given mean and coefficient of variation (standard deviation / mean)."""

    mean: float
    cv: float

    def quantile(self, u: Floats) -> Floats:
        """Return exp(mu + sigma * z(u)), where sigma^2 = log(1 + cv^2)."""
        sigma = np.sqrt(np.log1p(self.cv**2))
        return np.asarray(self.mean * np.exp(sigma * _special().ndtri(u) - sigma**2 / 2))


@dataclass(frozen=True)
class Gamma:
    """Gamma with the given mean and coefficient of variation; shape is 1 / cv^2."""

    mean: float
    cv: float

    def quantile(self, u: Floats) -> Floats:
        """Return the inverse regularised incomplete gamma function, scaled."""
        shape = 1 / self.cv**2
        return np.asarray(_special().gammaincinv(shape, u) * (self.mean / shape))


@dataclass(frozen=True)
class Uniform:
    """Equally likely between low and high."""

    low: float
    high: float

    def quantile(self, u: Floats) -> Floats:
        """Return low + u * (high - low)."""
        return self.low + u * (self.high - self.low)

    @property
    def mean(self) -> float:
        """The middle."""
        return (self.low + self.high) / 2


@dataclass(frozen=True)
class Pareto:
    """Pareto from `least` with tail index `shape`, which must exceed 1 for a mean to exist."""

    least: float
    shape: float

    def quantile(self, u: Floats) -> Floats:
        """Return least * (1 - u)^(-1/shape)."""
        return self.least * np.power(1 - u, -1 / self.shape)

    @property
    def mean(self) -> float:
        """least * shape / (shape - 1)."""
        return self.least * self.shape / (self.shape - 1)


@dataclass(frozen=True)
class Mix:
    """One of several distributions, chosen by share; the uniform is stretched within the chosen share."""

    shares: tuple[float, ...]
    parts: tuple[Distribution, ...]

    def quantile(self, u: Floats) -> Floats:
        """Return one value per `u`: the part that `u` falls into, at the place of `u` within it."""
        u = np.asarray(u)
        edges = np.concatenate([[0.0], np.cumsum(self.shares)])
        edges[-1] = 1.0
        chosen = np.searchsorted(edges, u, side="right") - 1
        values = np.empty(u.shape)
        for index, part in enumerate(self.parts):
            here = chosen == index
            inside = (u[here] - edges[index]) / (edges[index + 1] - edges[index])
            values[here] = part.quantile(np.clip(inside, 2**-54, 1 - 2**-53))
        return values

    @property
    def mean(self) -> float:
        """The parts' means, weighted by share."""
        return float(sum(share * part.mean for share, part in zip(self.shares, self.parts, strict=True)))


@dataclass(frozen=True)
class Trace:
    """Values drawn with equal chance from a column of a Parquet file, read when first needed."""

    file: str
    column: str
    scale: float
    """How much one unit of the column is in the base unit (seconds in a file, nanoseconds here)."""

    def _values(self) -> Floats:
        return np.sort(read_column(self.file, self.column).astype(np.float64)) * self.scale

    def quantile(self, u: Floats) -> Floats:
        """Return the empirical quantile at `u`."""
        values = self._values()
        return values[np.minimum((u * len(values)).astype(np.int64), len(values) - 1)]

    @property
    def mean(self) -> float:
        """The column's mean."""
        return float(self._values().mean())


_FORMS = (
    "a plain value, {exponential: V}, {lognormal: {mean: V, cv: 0.5}}, {gamma: {mean: V, cv: 0.5}}, "
    "{uniform: [V, V]}, {pareto: {min: V, shape: 2.5}}, {mix: [{share: 95%, of: V}, ...]} or {trace: FILE, column: NAME}"
)


def parse_distribution(raw: object, unit: Unit) -> Distribution:
    """Return the distribution that a scenario file wrote; raise ValueError with the forms there are."""
    if isinstance(raw, Constant | Exponential | Lognormal | Gamma | Uniform | Pareto | Mix | Trace):
        return raw
    if not isinstance(raw, Mapping):
        return Constant(parse(raw, unit))
    if "trace" in raw:
        return _trace(raw, unit)
    if len(raw) != 1:
        raise ValueError(f"is {show(raw)}; a {unit.name} that varies is {_FORMS}")
    ((name, argument),) = raw.items()
    build = _BUILDERS.get(str(name))
    if build is None:
        raise ValueError(f"names {show(name)}, which is no distribution; a {unit.name} that varies is {_FORMS}")
    return build(argument, unit)


def written(distribution: Distribution, unit: Unit) -> object:
    """Return a distribution as a scenario file writes it."""

    def quantity(value: float) -> str:
        return exact_duration(round(value)) if unit is DURATION else exact_size(round(value))

    match distribution:
        case Constant(value=value):
            return quantity(value)
        case Exponential(mean=mean):
            return {"exponential": quantity(mean)}
        case Lognormal(mean=mean, cv=cv):
            return {"lognormal": {"mean": quantity(mean), "cv": cv}}
        case Gamma(mean=mean, cv=cv):
            return {"gamma": {"mean": quantity(mean), "cv": cv}}
        case Uniform(low=low, high=high):
            return {"uniform": [quantity(low), quantity(high)]}
        case Pareto(least=least, shape=shape):
            return {"pareto": {"min": quantity(least), "shape": shape}}
        case Mix(shares=shares, parts=parts):
            pairs = zip(shares, parts, strict=True)
            return {"mix": [{"share": exact_share(share), "of": written(part, unit)} for share, part in pairs]}
        case Trace(file=file, column=column):
            return {"trace": file, "column": column}
        case _:
            raise TypeError(f"{distribution!r} has no written form")


def _arguments(raw: object, form: str, names: tuple[str, str]) -> tuple[object, object]:
    if not isinstance(raw, Mapping) or set(raw) != set(names):
        raise ValueError(f"is {show(raw)}; it is written {form}")
    return raw[names[0]], raw[names[1]]


_MOST = 1000.0
"""No coefficient of variation or tail index beyond it means anything."""


def _positive_number(value: object, name: str, above: float = 0) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not above < value <= _MOST:
        raise ValueError(f"has {name} {show(value)}; it is a plain number above {above:g} and at most {_MOST:g}")
    return float(value)


def _exponential(raw: object, unit: Unit) -> Distribution:
    return Exponential(parse(raw, unit))


def _mean_and_cv(kind: type[Lognormal] | type[Gamma], name: str) -> Callable[[object, Unit], Distribution]:
    def build(raw: object, unit: Unit) -> Distribution:
        mean, cv = _arguments(raw, f"{{{name}: {{mean: V, cv: 0.5}}}}", ("mean", "cv"))
        return kind(parse(mean, unit), _positive_number(cv, "cv"))

    return build


def _uniform(raw: object, unit: Unit) -> Distribution:
    if not isinstance(raw, list | tuple) or len(raw) != 2:
        raise ValueError(f"is {show(raw)}; it is written {{uniform: [LOW, HIGH]}}")
    low, high = parse(raw[0], unit), parse(raw[1], unit)
    if high < low:
        raise ValueError(f"is {show(raw)}; the first value is the lower one")
    return Uniform(low, high)


def _pareto(raw: object, unit: Unit) -> Distribution:
    least, shape = _arguments(raw, "{pareto: {min: V, shape: 2.5}}", ("min", "shape"))
    return Pareto(parse(least, unit), _positive_number(shape, "shape", above=1))


def _mix(raw: object, unit: Unit) -> Distribution:
    if not isinstance(raw, list | tuple) or not raw:
        raise ValueError(f"is {show(raw)}; it is written {{mix: [{{share: 95%, of: V}}, {{share: 5%, of: V}}]}}")
    pairs = [_arguments(part, "{share: 95%, of: V}", ("share", "of")) for part in raw]
    shares = tuple(float(parse(share, SHARE)) for share, _ in pairs)
    if abs(sum(shares) - 1) > 1e-9 or min(shares) <= 0:
        raise ValueError(f"has shares that add up to {sum(shares):.4%}; they are above 0% and make 100%")
    return Mix(shares, tuple(parse_distribution(of, unit) for _, of in pairs))


def _trace(raw: Mapping[str, object], unit: Unit) -> Distribution:
    file, column = _arguments(raw, "{trace: FILE.parquet, column: NAME}", ("trace", "column"))
    check_trace(file, column)
    return Trace(str(file), str(column), 1e9 if unit.name == "duration" else 1.0)


def check_trace(file: object, column: object, *, numbers: bool = True) -> None:
    """Raise ValueError unless a file is Parquet and has a column, of numbers if those are wanted."""
    if not isinstance(file, str) or not Path(file).is_file():
        raise ValueError(f"names the trace {show(file)}, and there is no such file")
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(file)
    except (OSError, ValueError):
        raise ValueError(f"names the trace {show(file)}, which is no Parquet file") from None
    if column not in schema.names:
        raise ValueError(f"names the column {show(column)}; {file} has {', '.join(schema.names)}")
    kind = str(schema.field(column).type)
    if numbers and not kind.startswith(("int", "uint", "float", "double")):
        raise ValueError(f"names the column {show(column)}, which holds {kind}; it holds numbers")


def read_column(file: str, column: str) -> NDArray[np.generic]:
    """Return a column of a Parquet file as an array."""
    from pyarrow import parquet

    values: NDArray[np.generic] = parquet.read_table(file, columns=[column]).column(column).to_numpy()
    return values


_BUILDERS: Mapping[str, Callable[[object, Unit], Distribution]] = {
    "exponential": _exponential,
    "lognormal": _mean_and_cv(Lognormal, "lognormal"),
    "gamma": _mean_and_cv(Gamma, "gamma"),
    "uniform": _uniform,
    "pareto": _pareto,
    "mix": _mix,
}
