"""Expectations: INDICATOR OP QUANTITY, in the indicator's own unit, and nothing else."""

import pytest

from scenarios.expectations import INDICATORS, IndicatorName, parse_expectation, parse_indicator


@pytest.mark.parametrize(
    ("text", "name", "op", "bound"),
    [
        ("lost == 0", IndicatorName("lost"), "==", 0.0),
        ("gap[orders] < 12s", IndicatorName("gap", "orders"), "<", 12.0),
        ("latency[fulfilment].p95<=500ms", IndicatorName("latency", "fulfilment", None, "p95"), "<=", 0.5),
        ("latency[before faults].p50 < 20ms", IndicatorName("latency", None, "before faults", "p50"), "<", 0.02),
        ("drain_time[fulfilment, slow_work] < 1m", IndicatorName("drain_time", "fulfilment", "slow_work"), "<", 60.0),
        ("lag[orders/3].max < 1000", IndicatorName("lag", "orders/3", None, "max"), "<", 1000.0),
        ("delivery >= 99.9%", IndicatorName("delivery"), ">=", 0.999),
        ("consumed.saturated > 600/s", IndicatorName("consumed", None, None, "saturated"), ">", 600.0),
        ("restarts[fulfilment] < 2/h", IndicatorName("restarts", "fulfilment"), "<", 2.0),
        ("errors.events != 1%", IndicatorName("errors", None, None, "events"), "!=", 0.01),
    ],
)
def test_an_expectation_is_an_indicator_a_comparison_and_a_bound(
    text: str, name: IndicatorName, op: str, bound: float
) -> None:
    expectation = parse_expectation(text)

    assert (expectation.indicator, expectation.op, expectation.bound) == (name, op, bound)
    assert expectation.text == text


@pytest.mark.parametrize(
    ("op", "holds"),
    [
        ("<", (True, False, False)),
        ("<=", (True, True, False)),
        ("==", (False, True, False)),
        ("!=", (True, False, True)),
        (">=", (False, True, True)),
        (">", (False, False, True)),
    ],
)
def test_each_comparison_holds_where_it_should(op: str, holds: tuple[bool, bool, bool]) -> None:
    expectation = parse_expectation(f"lag.max {op} 10")

    assert tuple(expectation.holds(value) for value in (9.0, 10.0, 11.0)) == holds


@pytest.mark.parametrize("name", INDICATORS)
def test_every_indicator_is_read_back_from_its_own_name(name: str) -> None:
    kind = INDICATORS[name]
    for statistic in kind.units:
        for where, narrowed in ((None, None), ("orders", None), ("orders", "slow_work"), (None, "before faults")):
            full = IndicatorName(name, where, narrowed, statistic)
            assert parse_indicator(str(full)) == full


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latncy.p95 < 1s", "names 'latncy', which is no indicator; did you mean 'latency'?"),
        ("latency < 1s", "is 'latency'; there is latency.p50, latency.p90, latency.p95, latency.p99, latency.p999, latency.max, latency.mean"),
        ("lag.max < 5s", "compares lag.max with 5s; it counts events, so the bound is a whole number"),
        ("gap < 5", "is '5' without a unit; a duration needs one of ns, us, ms, s, m, min, h, d: for example 250ms, 5s or 2m"),
        ("lost", "is 'lost'; an expectation is INDICATOR OP QUANTITY with < <= == != >= >, such as `lost == 0`"),
        ("lost = 0", "is 'lost = 0'; an expectation is INDICATOR OP QUANTITY with < <= == != >= >, such as `lost == 0`"),
        ("gap[a, b, c] < 1s", "is 'gap[a, b, c]'; the brackets hold WHERE, or WHERE and a fault's name or `before faults`"),
        ("os.system('') == 0", "is \"os.system('')\"; an indicator is written NAME, NAME[WHERE] or NAME[WHERE].STATISTIC, such as latency[fulfilment].p95"),
        (5, "is 5; an expectation is a text such as `gap[orders] < 12s` (in flow style, inside [...], quote it: \"gap[orders] < 12s\")"),
    ],
)  # fmt: skip
def test_a_wrong_expectation_says_how_it_is_written(text: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_expectation(text)

    assert str(caught.value) == message
