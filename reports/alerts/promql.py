"""PromQL over stored series, at many instants at once. promql-parser reads the text; what is not evaluated here is refused by name.

The results equal those of Prometheus 2 digit for digit (`promtool test rules` certifies that in the tests); release 3 differs in
where ranges begin and in how far `rate` reaches back.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import promql_parser as parser

from reports.alerts import histograms, matching, over_time
from reports.alerts.series import (
    NAME,
    AlertError,
    Bools,
    Floats,
    Labels,
    Millis,
    Series,
    Store,
    labels_of,
    only,
    without,
)
from reports.alerts.vectors import FOLDS, Fold, Row, Vector, aggregate, anywhere, unique
from reports.alerts.windows import Release, Windows, latest, latest_time, windows

Value = Vector | Floats
"""A vector, or a number at each instant."""
MINUTE_MS = 60_000


@dataclass(frozen=True, eq=False)
class Query:
    """What an expression is evaluated over: series, instants, and the step of subqueries that name none."""

    store: Store
    instants_ms: Millis
    release: Release = 2
    step_ms: int = MINUTE_MS

    @property
    def size(self) -> int:
        """How many instants there are."""
        return len(self.instants_ms)


def parse(text: str) -> Any:
    """Return the expression's tree; raise AlertError that says what is wrong or not evaluated."""
    try:
        tree = parser.parse(text)
    except ValueError as error:
        raise AlertError(f"{' '.join(text.split())!r} is no PromQL: {error}") from None
    refuse(tree)
    return tree


def evaluate(tree: Any, query: Query) -> Value:
    """Return the value of a parsed expression at each instant."""
    with np.errstate(all="ignore"):
        return _value(tree, query)


def vector_of(tree: Any, query: Query) -> Vector:
    """Return an expression's value as a vector; a number is a series without labels."""
    value = evaluate(tree, query)
    if isinstance(value, Vector):
        return value
    return Vector(((),), value[None, :], np.ones((1, query.size), np.bool_))


def selectors(tree: Any) -> list[Any]:
    """Return the vector selectors of an expression, those of ranges included."""
    found: list[Any] = []

    def visit(node: Any) -> bool:
        if isinstance(node, parser.MatrixSelector):
            found.append(node.vector_selector)
        elif isinstance(node, parser.VectorSelector):
            found.append(node)
        return True

    parser.walk(tree, visit)
    return found


def reads(selector: Any, name: str, labels: Mapping[str, str]) -> bool:
    """Whether a selector can choose series of a metric that have certain labels; others they may have too."""
    if selector.name is not None and selector.name != name:
        return False
    known = {**labels, NAME: name}
    return all(_test(matcher)(known) for matcher in selector.matchers.matchers if matcher.name in known)


# ---- what is refused -------------------------------------------------------------------------------------------------


def refuse(tree: Any) -> None:
    """Raise AlertError at the first part that is not evaluated."""
    parser.walk(tree, _refuse_node)


def _refuse_node(node: Any) -> bool:
    match node:
        case parser.Call():
            _refuse_word("the function", node.func.name, FUNCTIONS)
        case parser.AggregateExpr():
            _refuse_word("the aggregation", str(node.op), AGGREGATIONS)
        case parser.BinaryExpr():
            _refuse_word("the operator", str(node.op), matching.OPERATORS)
            fill = node.modifier.fill_values if node.modifier else None
            if fill is not None and (fill.lhs is not None or fill.rhs is not None):
                raise AlertError("fill values in vector matching are not evaluated here; leave `fill` out")
        case parser.MatrixSelector():
            _refuse_node(node.vector_selector)
        case parser.VectorSelector() | parser.SubqueryExpr():
            if node.at is not None:
                raise AlertError(f"the modifier {node.at} is not evaluated here; `offset` is")
            if isinstance(node, parser.VectorSelector):
                _refuse_matchers(node)
        case _:
            pass
    return True


def _refuse_word(what: str, word: str, known: Any) -> None:
    if word not in known:
        raise AlertError(f"{what} {word} is not evaluated here; there is {', '.join(sorted(known))}")


def _refuse_matchers(node: Any) -> None:
    if node.matchers.or_matchers:
        raise AlertError(f"{node}: `or` between matchers is not evaluated here; Prometheus has no such thing either")
    for each in node.matchers.matchers:
        if each.op in (parser.MatchOp.Re, parser.MatchOp.NotRe):
            pattern(each.value)


def pattern(text: str) -> re.Pattern[str]:
    """Return a regular expression of Prometheus as Python's; what Python reads otherwise or not at all is refused."""
    if re.search(r"\\[pPzQEC]|\[\[:|\(\?[UsmP]", text):
        raise AlertError(
            f"the regular expression {text!r} has parts that RE2 and Python read differently; write it without them"
        )
    try:
        return re.compile(text)
    except re.error as error:
        raise AlertError(f"{text!r} is no regular expression: {error}") from None


# ---- the tree --------------------------------------------------------------------------------------------------------


def _value(node: Any, query: Query) -> Value:
    match node:
        case parser.NumberLiteral():
            return np.full(query.size, node.val)
        case parser.ParenExpr():
            return _value(node.expr, query)
        case parser.UnaryExpr():
            inner = _value(node.expr, query)
            return inner.with_values(-inner.values) if isinstance(inner, Vector) else -inner
        case parser.VectorSelector():
            return _select(node, query)
        case parser.AggregateExpr():
            return _aggregate(node, query)
        case parser.BinaryExpr():
            return _binary(node, query)
        case parser.Call():
            return FUNCTIONS[node.func.name](node.args, query)
        case _:
            raise AlertError(f"{node} cannot stand here: a rule needs a vector or a number")


def _vector(node: Any, query: Query) -> Vector:
    value = _value(node, query)
    assert isinstance(value, Vector), node  # the parser has checked the types
    return value


def _scalar(node: Any, query: Query) -> Floats:
    value = _value(node, query)
    assert not isinstance(value, Vector), node
    return value


def _millis(span: timedelta | None) -> int:
    return 0 if span is None else round(span / timedelta(milliseconds=1))


def matching_series(node: Any, store: Store) -> list[Series]:
    """Return the series that a selector's name and matchers choose."""
    tests = [_test(matcher) for matcher in node.matchers.matchers]
    return [each for each in store.named(node.name) if all(test(dict(each.labels)) for test in tests)]


def _test(matcher: Any) -> Callable[[dict[str, str]], bool]:
    name, value, op = matcher.name, matcher.value, matcher.op
    if op == parser.MatchOp.Equal:
        return lambda labels: labels.get(name, "") == value
    if op == parser.MatchOp.NotEqual:
        return lambda labels: labels.get(name, "") != value
    found, wanted = pattern(value), op == parser.MatchOp.Re
    return lambda labels: (found.fullmatch(labels.get(name, "")) is not None) == wanted


def _select(node: Any, query: Query) -> Vector:
    instants = query.instants_ms - _millis(node.offset)
    rows = [(each.labels, *latest(each, instants, query.release)) for each in matching_series(node, query.store)]
    return Vector.of(rows, query.size)


AGGREGATIONS = (*FOLDS, "quantile")


def _aggregate(node: Any, query: Query) -> Vector:
    modifier = node.modifier
    names = tuple(modifier.labels) if modifier else ()
    fold = _quantile_fold(_scalar(node.param, query)) if str(node.op) == "quantile" else FOLDS[str(node.op)]
    if modifier is not None and modifier.type == parser.AggModifierType.Without:
        return aggregate(_vector(node.expr, query), lambda each: without(each, (NAME, *names)), fold)
    return aggregate(_vector(node.expr, query), lambda each: only(each, names), fold)


def _quantile_fold(q: Floats) -> Fold:
    """Return what takes a group's rows to their quantile, instant by instant."""

    def fold(values: Floats, present: Bools) -> Floats:
        columns = zip(q.tolist(), values.T, present.T, strict=True)
        return np.asarray([over_time.quantile_of(share, column[there]) for share, column, there in columns], np.float64)

    return fold


def _binary(node: Any, query: Query) -> Value:
    op, as_bool = str(node.op), bool(node.modifier and node.modifier.return_bool)
    left, right = _value(node.lhs, query), _value(node.rhs, query)
    if isinstance(left, Vector) and isinstance(right, Vector):
        how = _matching(node.modifier)
        if op in matching.SETS:
            return matching.of_sets(op, left, right, how)
        return matching.with_vector(op, left, right, how, as_bool=as_bool)
    if isinstance(left, Vector):
        assert not isinstance(right, Vector)
        return matching.with_scalar(op, left, right, swapped=False, as_bool=as_bool)
    if isinstance(right, Vector):
        return matching.with_scalar(op, right, left, swapped=True, as_bool=as_bool)
    values, holds = matching.combine(op, left, right)
    return values if holds is None else holds.astype(np.float64)


_CARDS: tuple[tuple[Any, Any], ...] = (  # the parser's words have no hash
    (parser.VectorMatchCardinality.OneToOne, "one-to-one"),
    (parser.VectorMatchCardinality.ManyToOne, "many-to-one"),
    (parser.VectorMatchCardinality.OneToMany, "one-to-many"),
    (parser.VectorMatchCardinality.ManyToMany, "many-to-many"),
)


def _matching(modifier: Any) -> matching.Matching:
    if modifier is None:
        return matching.Matching()
    card = next(word for key, word in _CARDS if key == modifier.card)
    on = modifier.matching
    return matching.Matching(
        card=card,
        labels=tuple(on.labels) if on else (),
        on=on is not None and on.type == parser.LabelModifierType.Include,
        include=tuple(modifier.group_labels or ()),
    )


# ---- ranges ----------------------------------------------------------------------------------------------------------


def _ranges(node: Any, query: Query) -> list[tuple[Labels, Windows]]:
    """Return the series of a range selector or subquery with their samples at each instant."""
    if isinstance(node, parser.ParenExpr):
        return _ranges(node.expr, query)
    if isinstance(node, parser.MatrixSelector):
        chosen, span, offset = node.vector_selector, _millis(node.range), _millis(node.vector_selector.offset)
        found = matching_series(chosen, query.store)
        return [(each.labels, windows(each, query.instants_ms, span, offset, query.release)) for each in found]
    span, offset = _millis(node.range), _millis(node.offset)
    return [
        (each.labels, windows(each, query.instants_ms, span, offset, query.release, inner=True))
        for each in _subquery(node, query, span, offset)
    ]


def _subquery(node: Any, query: Query, span_ms: int, offset_ms: int) -> list[Series]:
    """Return the values of a subquery's expression at every step that some range holds, as series."""
    step = _millis(node.step) or query.step_ms
    if not query.size:
        return []
    begin = -(-(int(query.instants_ms.min()) - offset_ms - span_ms) // step) * step
    instants = np.arange(begin, int(query.instants_ms.max()) - offset_ms + 1, step)
    inner = _value(node.expr, replace(query, instants_ms=instants))
    if not isinstance(inner, Vector):
        inner = Vector(((),), inner[None, :], np.ones((1, len(instants)), np.bool_))
    return [
        Series(labels, instants[present], values[present], np.zeros(int(present.sum()), np.bool_))
        for labels, values, present in inner.rows
    ]


def _over(
    node: Any, query: Query, compute: Callable[[Windows], over_time.Computed], *, keeps_name: bool = False
) -> Vector:
    """Return a function of each series' range; where the range is empty there is no value."""
    rows: list[Row] = []
    for labels, each in _ranges(node, query):
        some = each.count > 0
        values, present = np.zeros(query.size), some.copy()
        computed, there = compute(each.chosen(some))
        values[some] = computed
        if there is not None:
            present[some] = there
        rows.append((labels if keeps_name else without(labels, [NAME]), values, present))
    return unique(Vector.of(rows, query.size))


# ---- functions -------------------------------------------------------------------------------------------------------

Function = Callable[[Sequence[Any], Query], Value]


def _extrapolated(name: str) -> Function:
    return lambda args, query: _over(
        args[0], query, lambda each: over_time.extrapolated(each, query.release, **over_time.EXTRAPOLATED[name])
    )


def _plain(name: str) -> Function:
    return lambda args, query: _over(args[0], query, over_time.PLAIN[name], keeps_name=name == "last_over_time")


def _with_number(compute: Callable[[Windows, Floats], over_time.Computed], range_at: int, number_at: int) -> Function:
    """Return a function of a range and of a number that may differ from instant to instant."""

    def call(args: Sequence[Any], query: Query) -> Vector:
        number = _scalar(args[number_at], query)
        return _over(
            args[range_at], query, lambda each: compute(each, number[np.searchsorted(query.instants_ms, each.at_ms)])
        )

    return call


def _each_value(change: Callable[..., Floats]) -> Function:
    """Return a function of each value and of further numbers."""

    def call(args: Sequence[Any], query: Query) -> Vector:
        vector = _vector(args[0], query)
        return vector.with_values(change(vector.values, *(_scalar(arg, query) for arg in args[1:])))

    return call


def _clamp(values: Floats, least: Floats, most: Floats) -> Floats:
    return np.maximum(least, np.minimum(most, values))


def _clamp_function(args: Sequence[Any], query: Query) -> Vector:
    """Return `clamp`; where the least is above the most there is nothing."""
    vector, least, most = _vector(args[0], query), _scalar(args[1], query), _scalar(args[2], query)
    clamped = vector.with_values(_clamp(vector.values, least, most))
    return Vector.of([(a, b, c & ~(least > most)) for a, b, c in clamped.rows], query.size)


def _round(values: Floats, to: Floats | float = 1.0) -> Floats:
    inverse = 1.0 / np.asarray(to)
    return np.floor(values * inverse + 0.5) / inverse


def _absent(args: Sequence[Any], query: Query) -> Vector:
    """Return 1 where a vector is empty, with the labels that the selector names."""
    there = anywhere(_vector(args[0], query).present)
    return Vector.of([(_labels_of_absent(args[0]), np.ones(query.size), ~there)], query.size)


def _absent_over_time(args: Sequence[Any], query: Query) -> Vector:
    there = np.zeros(query.size, np.bool_)
    for _, each in _ranges(args[0], query):
        there |= each.count > 0
    return Vector.of([(_labels_of_absent(args[0]), np.ones(query.size), ~there)], query.size)


def _labels_of_absent(node: Any) -> Labels:
    if isinstance(node, parser.MatrixSelector):
        node = node.vector_selector
    if not isinstance(node, parser.VectorSelector):
        return ()
    found: dict[str, str] = {}
    matchers = [each for each in node.matchers.matchers if each.name != NAME]
    for each in matchers:
        once = sum(other.name == each.name for other in matchers) == 1
        if each.op == parser.MatchOp.Equal and once:
            found[each.name] = each.value
    return labels_of(found)


def _scalar_function(args: Sequence[Any], query: Query) -> Floats:
    """Return the one series' value, NaN where there is none or more than one."""
    vector = _vector(args[0], query)
    alone = vector.present.sum(axis=0) == 1
    return np.where(alone, np.where(vector.present, vector.values, 0.0).sum(axis=0), np.nan)


def _vector_function(args: Sequence[Any], query: Query) -> Vector:
    return Vector(((),), _scalar(args[0], query)[None, :], np.ones((1, query.size), np.bool_))


def _timestamp(args: Sequence[Any], query: Query) -> Vector:
    """Return the sample's time for a selector, the instant itself for anything else."""
    node = args[0]
    while isinstance(node, parser.ParenExpr):
        node = node.expr
    if not isinstance(node, parser.VectorSelector):
        vector = _vector(node, query)
        return vector.with_values(np.broadcast_to(query.instants_ms / 1000, vector.values.shape))
    instants = query.instants_ms - _millis(node.offset)
    rows = [
        (without(each.labels, [NAME]), latest_time(each, instants), latest(each, instants, query.release)[1])
        for each in matching_series(node, query.store)
    ]
    return unique(Vector.of(rows, query.size))


def _time(_args: Sequence[Any], query: Query) -> Floats:
    return query.instants_ms / 1000


def _histogram_quantile(args: Sequence[Any], query: Query) -> Vector:
    return histograms.quantile(_scalar(args[0], query), _vector(args[1], query))


def _label_replace(args: Sequence[Any], query: Query) -> Vector:
    to, template, source, regex = (str(arg.val) for arg in args[1:])
    found = pattern(regex)
    filling = re.sub(r"\$\{?(\w+)\}?", r"\\g<\1>", template.replace("\\", "\\\\"))

    def renamed(labels: Labels) -> Labels:
        hit = found.fullmatch(dict(labels).get(source, ""))
        return labels if hit is None else labels_of({**dict(labels), to: hit.expand(filling)})

    vector = _vector(args[0], query)
    return unique(Vector(tuple(map(renamed, vector.labels)), vector.values, vector.present))


def _label_join(args: Sequence[Any], query: Query) -> Vector:
    to, between, *sources = (str(arg.val) for arg in args[1:])

    def joined(labels: Labels) -> Labels:
        known = dict(labels)
        return labels_of({**known, to: between.join(known.get(name, "") for name in sources)})

    vector = _vector(args[0], query)
    return unique(Vector(tuple(map(joined, vector.labels)), vector.values, vector.present))


def _calendar(part: Callable[[Any], Any]) -> Function:
    """Return a part of the calendar (UTC)."""
    return _clock(lambda seconds: np.asarray(part(seconds.astype(np.int64).astype("datetime64[s]")), np.float64))


def _day_of_month(times: Any) -> Any:
    return (times.astype("datetime64[D]") - times.astype("datetime64[M]")).astype(np.int64) + 1


def _month(times: Any) -> Any:
    return times.astype("datetime64[M]").astype(np.int64) % 12 + 1


def _year(times: Any) -> Any:
    return times.astype("datetime64[Y]").astype(np.int64) + 1970


def _clock(part: Callable[[Any], Floats]) -> Function:
    """Return a part of the date (UTC) of a vector of times, or of the instant itself."""

    def call(args: Sequence[Any], query: Query) -> Vector:
        vector = (
            _vector(args[0], query)
            if args
            else Vector(((),), (query.instants_ms / 1000)[None, :], np.ones((1, query.size), np.bool_))
        )
        seconds = np.floor(np.where(vector.present, vector.values, 0.0))
        return vector.with_values(np.asarray(part(seconds), np.float64))

    return call


FUNCTIONS: dict[str, Function] = {
    **{name: _extrapolated(name) for name in over_time.EXTRAPOLATED},
    **{name: _plain(name) for name in over_time.PLAIN},
    "quantile_over_time": _with_number(over_time.quantile_over_time, range_at=1, number_at=0),
    "predict_linear": _with_number(over_time.predict_linear, range_at=0, number_at=1),
    "abs": _each_value(np.abs),
    "ceil": _each_value(np.ceil),
    "floor": _each_value(np.floor),
    "sqrt": _each_value(np.sqrt),
    "sgn": _each_value(np.sign),
    "round": _each_value(_round),
    "clamp": _clamp_function,
    "clamp_min": _each_value(np.maximum),
    "clamp_max": _each_value(np.minimum),
    "absent": _absent,
    "absent_over_time": _absent_over_time,
    "scalar": _scalar_function,
    "vector": _vector_function,
    "time": _time,
    "timestamp": _timestamp,
    "histogram_quantile": _histogram_quantile,
    "label_replace": _label_replace,
    "minute": _clock(lambda seconds: seconds // 60 % 60),
    "hour": _clock(lambda seconds: seconds // 3600 % 24),
    "label_join": _label_join,
    "day_of_month": _calendar(_day_of_month),
    "month": _calendar(_month),
    "year": _calendar(_year),
    "day_of_week": _clock(lambda seconds: (seconds // 86400 + 4) % 7),
}
"""What is evaluated. Logarithms, powers and the like are not: their last digit depends on the library that computes them."""
