"""What people read on the terminal: figures in their units, zeros in one line, verdicts that differ first."""

from typing import Any

import pytest

from eventdrill import live, tables
from loadgen.recorder import Progress
from scenarios.quantities import SECOND


def _figure(value: float | None, unit: str = "s", **more: Any) -> dict[str, Any]:
    return {"value": value, "unit": unit, "interval": None, "mean_interval": None} | more


def _document(indicators: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "indicators": indicators,
        "checks": {},
        "expect": [],
        "valid": {"ok": True, "reasons": []},
        "run": {},
    } | more


def _rows(table: Any) -> list[tuple[str, ...]]:
    return list(zip(*(column.cells for column in table.columns), strict=True))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "s", "12.3ms"),
        (75.0, "s", "75s"),
        (0.0005, "share", "0.05 %"),
        (1234.0, "events", "1,234"),
        (12.5, "events", "12.5"),
        (298.76, "1/s", "298.8/s"),
        (2.0, "1/h", "2/h"),
        (None, "s", "-"),
        (float("inf"), "s", "-"),
    ],
)
def test_a_figure_is_written_in_its_unit(value: float | None, unit: str, text: str) -> None:
    assert tables.number(value, unit) == text


def test_a_value_never_reached_tells_how_far_it_got() -> None:
    assert tables.figure(_figure(None, at_least=25.0)) == "over 25s"


def test_an_interval_may_have_no_end() -> None:
    assert tables.bounds([1.0, None], "s") == "1s to never"
    assert tables.bounds(None, "s") == ""


def test_the_table_leaves_out_zeros_and_what_a_single_topic_repeats() -> None:
    """`lost` is 0 and goes into one line; the only topic's latency is the whole's; another group's is not."""
    indicators = {
        "latency.p50": _figure(0.25),
        "latency[orders].p50": _figure(0.25),
        "latency[analytics].p50": _figure(0.5),
        "latency.p999": _figure(0.9),
        "lag[orders/0].max": _figure(9, "events"),
        "lost": _figure(0, "events"),
    }

    shown, zero, checks = tables.run_tables(_document(indicators))

    assert _rows(shown) == [("latency.p50", "250ms"), ("latency[analytics].p50", "500ms")]
    assert (zero, checks) == ("zero: lost", "0 checks passed")


def test_several_runs_stand_side_by_side() -> None:
    """A row that is zero in all of them is left out; one that a run does not have is empty there."""
    one = _document({"lag.max": _figure(10, "events"), "lost": _figure(0, "events")})
    other = _document({"lag.max": _figure(25, "events"), "lost": _figure(0, "events"), "gap": _figure(2.0)})

    shown, *rest = tables.side_by_side({"runs/a": one, "runs/b": other})

    assert _rows(shown) == [("lag.max", "10", "25"), ("gap", "", "2s")]
    assert rest == ["runs/a", "0 checks passed", "runs/b", "0 checks passed"]


def test_failed_expectations_and_checks_stand_out_with_their_examples() -> None:
    """The value is in the indicator's unit; one that cannot be measured says why."""
    document = _document(
        {},
        checks={"lost": {"valid": False, "count": 3, "examples": ["event 7", "event 8", "event 9"]}},
        expect=[
            {"text": "gap[orders] < 3s", "value": 9.25, "held": False, "share_held": 0.0},
            {"text": "lost == 0", "value": None, "held": False, "share_held": 0.0, "reason": "4 pairs pending"},
        ],
        valid={"ok": False, "reasons": ["the senders ran 9 ms behind the plan"]},
    )

    checks, expectations, nothing = tables.judgement_tables(document)

    assert _rows(checks) == [("lost", "3", "event 7; event 8")]
    assert _rows(expectations) == [("FAILED", "gap[orders] < 3s", "9.25s"), ("FAILED", "lost == 0", "4 pairs pending")]
    assert nothing == "this run says nothing: the senders ran 9 ms behind the plan"


def test_verdicts_that_differ_come_first() -> None:
    """With what the model says once it is given the observed instants."""
    agrees = {"predicted": 0.004, "interval": [0.003, 0.005], "observed": 0.0041, "verdict": "agrees", "given": None}
    given = {"predicted": 9.4, "verdict": "agrees"}
    differs = {"predicted": 8.0, "interval": [7.0, 10.0], "observed": 10.5, "verdict": "differs", "given": given}

    shown = tables.agreement_table({"latency.p50": agrees, "gap[orders]": differs})

    assert _rows(shown) == [
        ("differs", "gap[orders]", "8s", "7s to 10s", "10.5s", "9.4s: agrees"),
        ("agrees", "latency.p50", "4ms", "3ms to 5ms", "4.1ms", ""),
    ]


def test_a_live_run_is_one_line_in_a_log() -> None:
    """Time, rate, lag, the fault in effect, time left."""
    state = Progress(
        phase="running", at_ns=21 * SECOND, left_ns=54 * SECOND, planned_hz=300, acknowledged_hz=201.4,
        lag={"fulfilment": 1250}, faults=("broker_crash",),
    )  # fmt: skip

    assert (
        live.line(state) == "running 21s | 201 of 300 events/s | lag fulfilment 1,250 | fault: broker_crash | 54s left"
    )


def test_a_log_is_not_flooded(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard error is no terminal here: a line per change of phase or fault, none for a count that goes up."""
    with live.display() as tell:
        tell(Progress("warming up", "1 s"))
        tell(Progress("warming up", "2 s"))
        tell(Progress("running", at_ns=SECOND))
        tell(Progress("running", at_ns=2 * SECOND))
        tell(Progress("running", at_ns=3 * SECOND, faults=("slow_work",)))

    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" | ")[0] for line in lines] == ["warming up: 1 s", "running 1s", "running 3s"]
