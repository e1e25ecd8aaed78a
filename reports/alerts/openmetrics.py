"""Series as OpenMetrics text, from which `promtool tsdb create-blocks-from openmetrics` makes blocks for a real Prometheus."""

from collections.abc import Iterator

from reports.alerts.months import is_counter
from reports.alerts.series import NAME, Series, Store, without


def openmetrics_text(store: Store, begin_s: float = 0.0) -> Iterator[str]:
    """Yield the lines; `begin_s` is when the series' time 0 was, in seconds since 1970. Stale marks have no text and are left out."""
    for name in store.names:
        family, kind = _family(name)
        yield f"# TYPE {family} {kind}"
        for series in store.named(name):
            yield from _samples(series, begin_s)
    yield "# EOF"


def _family(name: str) -> tuple[str, str]:
    """Return a metric's family and type; only `_total` is a counter there, whatever else only grows is unknown."""
    if name.endswith("_total"):
        return name.removesuffix("_total"), "counter"
    return name, "unknown" if is_counter(name) else "gauge"


def _samples(series: Series, begin_s: float) -> Iterator[str]:
    name = dict(series.labels)[NAME]
    inside = ",".join(f'{key}="{value}"' for key, value in without(series.labels, [NAME]))
    times, values = series.real
    for at_ms, value in zip(times.tolist(), values.tolist(), strict=True):
        yield f"{name}{{{inside}}} {_number(value)} {begin_s + at_ms / 1000:.3f}"


def _number(value: float) -> str:
    return repr(value).replace("inf", "Inf").replace("nan", "NaN")
