"""Rules for a scenario that need no thought: burn rates of its objectives, lag that users feel, brokers and replicas, dead letters."""

from collections.abc import Mapping

from reports.alerts.burn import MINUTE_MS, BurnWindow, burn_group
from reports.alerts.exporters import EXPORTERS, Names
from reports.alerts.rules import Rule, RuleFile, RuleGroup
from scenarios.around import Owned
from scenarios.load import peak_rate_hz
from scenarios.quantities import SECOND
from scenarios.schema import Scenario

LEAST_LAG = 1000
"""Events of lag below which nobody is woken, whatever the rate."""
FELT_S = 30.0
"""Seconds of lag that users feel where no objective says otherwise."""


def default_rules(
    scenario: Scenario, exporter: str = "kafka_exporter", windows: Mapping[str, tuple[BurnWindow, ...]] | None = None
) -> RuleFile:
    """Return the rules for a scenario, with the names of an exporter; `windows` replace an objective's usual ones."""
    names = EXPORTERS[exporter]
    groups = [
        burn_group(name, objective, (windows or {}).get(name), _carried(scenario, objective.of))
        for name, objective in scenario.objectives.items()
    ]
    groups += [_lag_group(scenario, group, names) for group in scenario.groups]
    groups.append(_cluster_group(scenario, names))
    return RuleFile(groups=tuple(groups))


def _carried(scenario: Scenario, of: str | None) -> dict[str, str]:
    """Return owner and runbook: the group's or topic's own, else the scenario's."""
    owned: Owned | None = scenario.groups.get(of or "") or scenario.topics.get(of or "")
    found = {
        "owner": (owned.owner if owned else None) or scenario.owner,
        "runbook_url": (owned.runbook if owned else None) or scenario.runbook,
    }
    return {key: value for key, value in found.items() if value}


def felt_lag(scenario: Scenario, group: str) -> int:
    """Return the lag at which an event waits longer than the tightest latency objective allows, at the largest planned rate."""
    limits = [
        objective.below / SECOND
        for objective in scenario.objectives.values()
        if objective.below is not None and objective.of in (group, None) and objective.indicator != "ack_latency"
    ]
    rate = peak_rate_hz(scenario, scenario.groups[group].topics)
    return max(LEAST_LAG, round(rate * max(min(limits, default=FELT_S), 1.0)))


def _alert(
    name: str, expr: str, severity: str, summary: str, carried: Mapping[str, str], *, for_min: int = 0, group: str = ""
) -> Rule:
    labels = {"severity": severity, "group": group} if group else {"severity": severity}
    return Rule(
        alert=name, expr=expr, for_ms=for_min * MINUTE_MS, labels=labels, annotations={"summary": summary, **carried}
    )


def _lag_group(scenario: Scenario, group: str, names: Names) -> RuleGroup:
    """Return what to watch of a group: lag, whether lag can be seen, members, crash loops, dead letters."""
    chosen, of, carried = f'{{{names.group}="{group}"}}', f'{{group="{group}"}}', _carried(scenario, group)
    members, felt = scenario.groups[group].members, felt_lag(scenario, group)
    lag = f"sum by ({names.group}) ({names.lag}{chosen}) > {felt}"
    restarts = f"sum by (group) (resets(events_handled_total{of}[15m])) > 3"
    rows = [
        ("LagThatUsersFeel", lag, "page", f"{group} is further behind than its users accept", 2),
        ("LagNotShown", f"absent({names.lag}{chosen})", "ticket", f"no exporter shows the lag of {group}", 5),
        ("CrashLoop", restarts, "page", f"members of {group} start again and again", 0),
    ]
    if names.members:
        missing = f"{names.members}{chosen} < {members}"
        rows.append(("MembersMissing", missing, "ticket", f"{group} has fewer than {members} members", 2))
    if names.status:
        rows.append(("GroupInError", f"{names.status}{chosen} >= 3", "page", f"a partition of {group} stands still", 2))
    if scenario.groups[group].topic_of_dead_letters is not None:
        given_up, handled = (
            f"sum by (group) (rate(events_{what}_total{of}[10m]))" for what in ("dead_lettered", "handled")
        )
        rows.append(
            (
                "MassDeadLettering",
                f"{given_up} / {handled} > 0.05",
                "page",
                f"{group} gives up more than one event in twenty",
                2,
            )
        )
    return RuleGroup(
        name=f"group-{group}",
        rules=tuple(
            _alert(name, expr, severity, summary, carried, for_min=wait, group=group)
            for name, expr, severity, summary, wait in rows
        ),
    )


def _cluster_group(scenario: Scenario, names: Names) -> RuleGroup:
    """Return what to watch of the cluster: that it can be seen, that its brokers answer, that its replicas are in sync."""
    carried, nodes = _carried(scenario, None), scenario.brokers.nodes
    rows = [
        (
            "ExporterDown",
            f'up{{job="{names.job}"}} == 0',
            "ticket",
            "the exporter's scrapes fail: lag cannot be seen",
            2,
        )
    ]
    if names.brokers:
        rows.append(
            ("BrokerUnavailable", f"{names.brokers} < {nodes}", "page", f"fewer than {nodes} brokers answer", 2)
        )
    if names.under_replicated:
        short = f"sum by ({names.topic}) ({names.under_replicated}) > 0"
        rows.append(("UnderReplicated", short, "ticket", "a partition has too few replicas in sync", 5))
    return RuleGroup(
        name="cluster",
        rules=tuple(
            _alert(name, expr, severity, summary, carried, for_min=wait) for name, expr, severity, summary, wait in rows
        ),
    )
