"""Rules for a scenario that need no thought: burn rates of its objectives, lag that users feel, brokers and replicas, dead letters."""

from collections.abc import Mapping

from reports.alerts.burn import BurnWindow, burn_group
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


STRIMZI_LAG = Rule(
    alert="UnderReplicatedOrLagging", expr="kafka_consumergroup_lag > 1000", for_ms=10_000, labels={"severity": "page"}
)
"""The kind of rule that Strimzi ships as an example: any partition, a fixed number, ten seconds."""


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


def _lag_group(scenario: Scenario, group: str, names: Names) -> RuleGroup:
    chosen, carried = f'{{{names.group}="{group}"}}', _carried(scenario, group)
    members = scenario.groups[group].members
    of = f'{{group="{group}"}}'
    rules = [
        Rule(
            alert="LagThatUsersFeel",
            expr=f"sum by ({names.group}) ({names.lag}{chosen}) > {felt_lag(scenario, group)}",
            for_ms=120_000,
            labels={"severity": "page", "group": group},
            annotations={"summary": f"{group} is further behind than its users accept", **carried},
        ),
        Rule(
            alert="LagNotShown",
            expr=f"absent({names.lag}{chosen})",
            for_ms=300_000,
            labels={"severity": "ticket", "group": group},
            annotations={"summary": f"no exporter shows the lag of {group}", **carried},
        ),
        Rule(
            alert="CrashLoop",
            expr=f"sum by (group) (resets(events_handled_total{of}[15m])) > 3",
            labels={"severity": "page", "group": group},
            annotations={"summary": f"members of {group} start again and again", **carried},
        ),
    ]
    if names.members:
        rules.append(
            Rule(
                alert="MembersMissing",
                expr=f"{names.members}{chosen} < {members}",
                for_ms=120_000,
                labels={"severity": "ticket", "group": group},
                annotations={"summary": f"{group} has fewer than {members} members", **carried},
            )
        )
    if scenario.groups[group].topic_of_dead_letters is not None:
        share = f"sum by (group) (rate(events_dead_lettered_total{of}[10m])) / sum by (group) (rate(events_handled_total{of}[10m]))"
        rules += [
            Rule(
                alert="MassDeadLettering",
                expr=f"{share} > 0.05",
                for_ms=120_000,
                labels={"severity": "page", "group": group},
                annotations={"summary": f"{group} gives up more than one event in twenty", **carried},
            ),
        ]
    return RuleGroup(name=f"group-{group}", rules=tuple(rules))


def _cluster_group(scenario: Scenario, names: Names) -> RuleGroup:
    carried = _carried(scenario, None)
    rules = [
        Rule(
            alert="ExporterDown",
            expr=f'up{{job="{names.job}"}} == 0',
            for_ms=120_000,
            labels={"severity": "ticket"},
            annotations={"summary": "the exporter's scrapes fail: lag cannot be seen", **carried},
        )
    ]
    if names.brokers:
        rules.append(
            Rule(
                alert="BrokerUnavailable",
                expr=f"{names.brokers} < {scenario.brokers.nodes}",
                for_ms=120_000,
                labels={"severity": "page"},
                annotations={"summary": f"fewer than {scenario.brokers.nodes} brokers answer", **carried},
            )
        )
    if names.under_replicated:
        rules.append(
            Rule(
                alert="UnderReplicated",
                expr=f"sum by ({names.topic}) ({names.under_replicated}) > 0",
                for_ms=300_000,
                labels={"severity": "ticket"},
                annotations={"summary": "a partition has too few replicas in sync", **carried},
            )
        )
    return RuleGroup(name="cluster", rules=tuple(rules))
