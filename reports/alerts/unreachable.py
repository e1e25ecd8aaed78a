"""Rules of users that cannot fire, or hardly: a share that would have to be above one, and windows longer than the runs."""

from collections.abc import Iterator, Sequence
from typing import Any

import promql_parser as parser

from reports.alerts import matching
from reports.alerts.burn import INERT_ABOVE
from reports.alerts.promql import selectors
from reports.alerts.rules import Rule, RuleFile, duration_text

_RATES = ("rate", "increase", "irate")


def file_warnings(file: RuleFile) -> list[str]:
    """Return what is odd about the rules of a file, whatever they are run on."""
    ratios = {rule.record for rule in file.rules if rule.record is not None and _is_share(rule.tree, set())}
    return [said for rule in file.alerts for said in _of_rule(rule, ratios)]


def looks_back_ms(rule: Rule) -> int:
    """Return how far back a rule looks."""
    return max((_millis(node) for node in _ranges(rule.tree)), default=0)


def window_warnings(file: RuleFile, longest_ms: int, known: Sequence[str]) -> list[str]:
    """Return which rules look back further than the runs are long, or read metrics that nobody exports."""
    recorded = {rule.record for rule in file.rules if rule.record is not None}
    found = []
    for rule in file.rules:
        longest = looks_back_ms(rule)
        if longest > longest_ms:
            found.append(
                f"{rule.name}: looks back {duration_text(longest)}, and the runs are {duration_text(longest_ms // 1000 * 1000)} long; "
                "what it would do is not known"
            )
        names = {str(selector.name) for selector in selectors(rule.tree) if selector.name is not None}
        found += [
            f"{rule.name}: reads {name}, which is not among the metrics of these runs, so it sees nothing"
            for name in sorted(names - recorded - set(known))
        ]
    return found


def _of_rule(rule: Rule, ratios: set[str]) -> Iterator[str]:
    for node in _nodes(rule.tree, parser.BinaryExpr):
        if str(node.op) not in (">", ">=") or not _is_share(node.lhs, ratios):
            continue
        limit = _number(node.rhs)
        if limit is not None and limit >= 1:
            yield f"{rule.name}: unreachable, a share is compared with {limit:.4g}, and is at most 1"
        elif limit is not None and limit > INERT_ABOVE:
            yield f"{rule.name}: inert, it needs a share above {limit:.4g}, which hardly lasts"


def _is_share(node: Any, ratios: set[str]) -> bool:
    """Whether an expression is a share: a rate over a rate, one minus such, or a recorded one."""
    match node:
        case parser.ParenExpr():
            return _is_share(node.expr, ratios)
        case parser.VectorSelector():
            return node.name in ratios
        case parser.BinaryExpr() if str(node.op) == "/":
            return all(any(True for _ in _calls(side, _RATES)) for side in (node.lhs, node.rhs))
        case parser.BinaryExpr() if str(node.op) == "-":
            return _number(node.lhs) == 1 and _is_share(node.rhs, ratios)
        case _:
            return False


def _number(node: Any) -> float | None:
    """Return the value of an expression of numbers."""
    match node:
        case parser.NumberLiteral():
            return float(node.val)
        case parser.ParenExpr():
            return _number(node.expr)
        case parser.BinaryExpr() if str(node.op) in matching.ARITHMETIC:
            left, right = _number(node.lhs), _number(node.rhs)
            if left is None or right is None or (str(node.op) in "/%" and right == 0):
                return None
            return float(matching.ARITHMETIC[str(node.op)](left, right))  # type: ignore[arg-type]  # ufuncs take numbers too
        case _:
            return None


def _nodes(tree: Any, kind: Any) -> list[Any]:
    found: list[Any] = []

    def visit(node: Any) -> bool:
        if isinstance(node, kind):
            found.append(node)
        return True

    parser.walk(tree, visit)
    return found


def _calls(tree: Any, names: Sequence[str]) -> list[Any]:
    return [call for call in _nodes(tree, parser.Call) if call.func.name in names]


def _ranges(tree: Any) -> list[Any]:
    return [*_nodes(tree, parser.MatrixSelector), *_nodes(tree, parser.SubqueryExpr)]


def _millis(node: Any) -> int:
    seconds: float = node.range.total_seconds()
    return round(seconds * 1000)
