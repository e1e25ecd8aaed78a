"""Binary operators of PromQL: arithmetic, comparisons and sets, between vectors whose series are matched by labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reports.alerts.series import NAME, AlertError, Bools, Floats, Labels, labels_of, metric_text, only, without
from reports.alerts.vectors import Vector, unique

ARITHMETIC: dict[str, Callable[[Floats, Floats], Floats]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "%": np.fmod,
}  # fmt: skip
COMPARISONS: dict[str, Callable[[Floats, Floats], Bools]] = {
    "==": np.equal, "!=": np.not_equal, ">": np.greater, "<": np.less, ">=": np.greater_equal, "<=": np.less_equal,
}  # fmt: skip
SETS = ("and", "or", "unless")
OPERATORS = (*ARITHMETIC, *COMPARISONS, *SETS)


@dataclass(frozen=True)
class Matching:
    """How the series of two vectors find each other."""

    card: Literal["one-to-one", "many-to-one", "one-to-many", "many-to-many"] = "one-to-one"
    labels: tuple[str, ...] = ()
    on: bool = False
    """Whether `labels` are the ones that count, or the ones that do not."""
    include: tuple[str, ...] = ()
    """Labels that the many side takes from the one side."""

    def signature(self, labels: Labels) -> Labels:
        """Return what must be equal on both sides."""
        return only(labels, self.labels) if self.on else without(labels, (NAME, *self.labels))


def combine(op: str, left: Floats, right: Floats) -> tuple[Floats, Bools | None]:
    """Return the values of an operator, and where a comparison holds (None: arithmetic)."""
    if op in ARITHMETIC:
        return ARITHMETIC[op](left, right), None
    return left, COMPARISONS[op](left, right)


def with_scalar(op: str, vector: Vector, scalar: Floats, *, swapped: bool, as_bool: bool) -> Vector:
    """Return a vector combined with a number at each instant; `swapped` where the number stands on the left."""
    numbers = np.broadcast_to(scalar, vector.values.shape)
    left, right = (numbers, vector.values) if swapped else (vector.values, numbers)
    values, holds = combine(op, left, right)
    if holds is None:
        return vector.with_values(values)
    if as_bool:
        return vector.with_values(holds.astype(np.float64))
    rows = zip(vector.labels, vector.values, vector.present & holds, strict=True)
    return Vector.of(list(rows), vector.values.shape[1])


def with_vector(op: str, left: Vector, right: Vector, matching: Matching, *, as_bool: bool) -> Vector:
    """Return two vectors combined, series by series."""
    instants = left.values.shape[1]
    if matching.card == "one-to-many":
        many, one = right, left
    else:
        many, one = left, right
    partners = _by_signature(one, matching)
    _refuse_two(one, partners, matching, "the side that has one series for each match")
    pairs: list[_Pair] = []
    for labels, values, present in many.rows:
        signature = matching.signature(labels)
        for number in partners.get(signature, ()):
            sides = (one.values[number], values) if matching.card == "one-to-many" else (values, one.values[number])
            result, holds = combine(op, *sides)
            if holds is not None and as_bool:
                result, holds = holds.astype(np.float64), None
            named = _result_labels(op, labels, one.labels[number], matching, as_bool=as_bool)
            pairs.append(_Pair(signature, named, result, present & one.present[number], holds))
    if matching.card == "one-to-one":
        _refuse_many(pairs, instants)
    rows = [(pair.labels, pair.values, pair.shown) for pair in pairs]
    return unique(Vector.of(rows, instants), "the labels of grouping leave more than one series with")


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two series that match, combined."""

    signature: Labels
    labels: Labels
    values: Floats
    both: Bools
    """Where both are there."""
    holds: Bools | None

    @property
    def shown(self) -> Bools:
        return self.both if self.holds is None else self.both & self.holds


def _by_signature(vector: Vector, matching: Matching) -> dict[Labels, list[int]]:
    found: dict[Labels, list[int]] = {}
    for number, labels in enumerate(vector.labels):
        found.setdefault(matching.signature(labels), []).append(number)
    return found


def _refuse_two(one: Vector, partners: dict[Labels, list[int]], matching: Matching, side: str) -> None:
    for signature, numbers in partners.items():
        if len(numbers) > 1 and int(one.present[numbers].sum(axis=0).max(initial=0)) > 1:
            names = " and ".join(metric_text(one.labels[number]) for number in numbers[:2])
            raise AlertError(
                f"{names} match on {metric_text(signature)} at the same instant, on {side}; "
                f"name more labels in {'on' if matching.on else 'ignoring'}(), or aggregate that side first"
            )


def _refuse_many(pairs: Sequence[_Pair], instants: int) -> None:
    """Refuse two series of the left side that meet one of the right at the same instant."""
    met: dict[Labels, Bools] = {}
    for pair in pairs:
        before = met.setdefault(pair.signature, np.zeros(instants, np.bool_))
        if bool((before & pair.shown).any()):
            raise AlertError(
                f"more than one series on the left matches on {metric_text(pair.signature)}; write group_left if that is meant"
            )
        met[pair.signature] = before | pair.shown


def _result_labels(op: str, many: Labels, one: Labels, matching: Matching, *, as_bool: bool) -> Labels:
    labels = many
    if op in ARITHMETIC:
        labels = without(labels, [NAME])
    if matching.card == "one-to-one":
        labels = only(labels, matching.labels) if matching.on else without(labels, matching.labels)
    if matching.include:
        taken = dict(one)
        labels = labels_of({**dict(labels), **{name: taken.get(name, "") for name in matching.include}})
    return without(labels, [NAME]) if as_bool else labels


# ---- sets ------------------------------------------------------------------------------------------------------------


def of_sets(op: str, left: Vector, right: Vector, matching: Matching) -> Vector:
    """Return `and`, `unless` or `or` of two vectors."""
    instants = left.values.shape[1]
    if op == "or":
        there = _somewhere(left, matching, instants)
        extra = [
            (labels, values, present & ~there.get(matching.signature(labels), np.zeros(instants, np.bool_)))
            for labels, values, present in right.rows
        ]
        return unique(Vector.of([*left.rows, *extra], instants))
    there = _somewhere(right, matching, instants)
    nowhere = np.zeros(instants, np.bool_)
    rows = []
    for labels, values, present in left.rows:
        matched = there.get(matching.signature(labels), nowhere)
        rows.append((labels, values, present & (matched if op == "and" else ~matched)))
    return Vector.of(rows, instants)


def _somewhere(vector: Vector, matching: Matching, instants: int) -> dict[Labels, Bools]:
    found: dict[Labels, Bools] = {}
    for labels, present in zip(vector.labels, vector.present, strict=True):
        signature = matching.signature(labels)
        found[signature] = found.get(signature, np.zeros(instants, np.bool_)) | present
    return found
