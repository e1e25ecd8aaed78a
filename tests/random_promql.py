"""Random PromQL over the certified series: what people would hardly write, and Prometheus and we must still agree on."""

from random import Random

_METRICS = (
    "kafka_consumergroup_lag", "kafka_topic_partition_current_offset", "events_total", "bad_events_total", "work_seconds_total",
    "up", "latency_seconds_bucket", "kafka_topic_partition_under_replicated_partition", "kafka_consumergroup_members",
)  # fmt: skip
_MATCHERS = (
    'partition="0"', 'partition!="1"', 'instance=~".*1"', 'job!~"exp.*"', 'le="+Inf"', 'le=~"0.5|10"', 'topic=""',
)  # fmt: skip
_LABELS = ("instance", "job", "group", "topic", "partition", "consumergroup", "le")
_OF_RANGES = (
    "rate", "increase", "irate", "delta", "idelta", "sum_over_time", "avg_over_time", "min_over_time", "max_over_time",
    "count_over_time", "last_over_time", "present_over_time", "changes", "resets", "deriv", "stddev_over_time", "stdvar_over_time",
)  # fmt: skip
_COMPARISONS = (">", "<", ">=", "<=", "==", "!=")
_MATCHINGS = (
    "", "on(instance)", "ignoring(le)", "on(partition, topic)", "on()", "on(job) group_left()",
    "ignoring(consumergroup) group_right()", "on(topic, partition) group_left(job)",
)  # fmt: skip


def expression(random: Random, depth: int = 3) -> str:
    """Return an expression that makes a vector."""
    kind = random.random()
    if depth <= 0 or kind < 0.15:
        return _selector(random) + random.choice(("", "", " offset 3m"))
    inner = depth - 1
    if kind < 0.42:
        return f"{random.choice(_OF_RANGES)}({_range(random)})"
    if kind < 0.5:
        return random.choice((f"predict_linear({_range(random)}, 600)", f"quantile_over_time(0.9, {_range(random)})"))
    if kind < 0.65:
        word = random.choice(("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"))
        names = ", ".join(random.sample(_LABELS, random.randint(0, 2)))
        return f"{word} {random.choice(('by', 'without'))} ({names}) ({expression(random, inner)})"
    if kind < 0.8:
        return _binary(random, inner)
    if kind < 0.9:
        how = random.choice(("", "on(instance)", "ignoring(le, group)", "on()"))
        return (
            f"({expression(random, inner)} {random.choice(('and', 'or', 'unless'))} {how} {expression(random, inner)})"
        )
    word = random.choice(("abs", "ceil", "floor", "sgn", "sqrt", "round", "-", "absent", "timestamp"))
    return random.choice(
        (
            f"{word}({expression(random, inner)})",
            f"max_over_time({expression(random, inner)}[10m:1m])",
            f"sum_over_time({expression(random, inner)}[10m:90s] offset 2m)",
            f"histogram_quantile(0.9, {expression(random, inner)})",
            f"clamp({expression(random, inner)}, 0, 5)",
        )
    )


def _binary(random: Random, depth: int) -> str:
    op = random.choice(("+", "-", "*", "/", "%", *_COMPARISONS))
    as_bool = " bool" if op in _COMPARISONS and random.random() < 0.3 else ""
    if random.random() < 0.5:
        number = random.choice(("0", "1", "10", "0.5", "-3", "time()", f"scalar({_selector(random)})"))
        return f"({expression(random, depth)} {op}{as_bool} {number})"
    return f"({expression(random, depth)} {op}{as_bool} {random.choice(_MATCHINGS)} {expression(random, depth)})"


def _selector(random: Random) -> str:
    matcher = f"{{{random.choice(_MATCHERS)}}}" if random.random() < 0.3 else ""
    return random.choice(_METRICS) + matcher


def _range(random: Random) -> str:
    span = random.choice(("1m", "2m", "5m", "7m", "30m", "1h"))
    return f"{_selector(random)}[{span}]{random.choice(('', '', '', ' offset 5m', ' offset 1h', ' offset -2m'))}"
