"""What alert rules would have done during one run: which fired when, what was sent, and about which fault."""

from dataclasses import dataclass
from functools import cached_property

from reports.alerts.backtest import Case, Judged, judge
from reports.alerts.defaults import default_rules
from reports.alerts.exporters import metrics
from reports.alerts.history import with_calm_before
from reports.alerts.rules import RuleFile
from reports.alerts.series import AlertError
from reports.alerts.states import Span
from reports.alerts.truth import Trouble, troubles
from reports.alerts.unreachable import looks_back_ms
from reports.disturbers import disturbers
from rundata.rows import NEVER
from rundata.tables import RunData

EVERY_MS = 5_000
"""A drill is short: targets are scraped and rules evaluated more often than on other days."""


@dataclass(frozen=True)
class Told:
    """How a fault was told of: the first alert that fired about it, and the first message."""

    alert: str
    severity: str
    after_s: float
    message_after_s: float | None


@dataclass(frozen=True, eq=False)
class Alerted:
    """One run under alert rules; `reason` says why nobody can tell."""

    judged: Judged | None
    reason: str = ""

    @cached_property
    def fired(self) -> tuple[Span, ...]:
        """The stays of alerts that fired, in the order of time."""
        if self.judged is None:
            return ()
        return tuple(
            sorted((s for s in self.judged.evaluated.spans if s.fired_ms is not None), key=lambda s: s.fired_ms or 0)
        )

    def message_ms(self, span: Span) -> int | None:
        """Return when the first message with an alert was sent."""
        sent = self.judged.sent if self.judged is not None else ()
        return min((each.at_ms for each in sent if each.reason != "resolved" and span in each.firing), default=None)

    def about(self, span: Span) -> list[Trouble]:
        """Return what a stay of an alert can be about: what had begun when it fired."""
        found = self.judged.troubles_of(span) if self.judged is not None else []
        return [each for each in found if each.begin_ms <= (span.fired_ms or 0)]

    def told_of(self, fault: str) -> Told | None:
        """Return the first alert about a fault; one that fires after several began is about the latest."""
        if self.judged is None:
            return None
        trouble = next((each for each in self.judged.case.troubles if each.label == fault), None)
        about = [span for span in self.fired if any(each.label == fault for each in self.about(span)[-1:])]
        if trouble is None or not about:
            return None
        first = about[0]
        after_ms = self.judged.first_message(trouble, [span.rule for span in about])
        return Told(
            first.rule.name,
            first.rule.severity,
            max(0, (first.fired_ms or 0) - trouble.begin_ms) / 1000,
            None if after_ms is None else after_ms / 1000,
        )


def alerted(run: RunData, file: RuleFile | None = None) -> Alerted:
    """Evaluate rules, by default the scenario's own, over the metrics that kafka_exporter and the service would have shown.

    Rules that look back for hours see a calm time before the run, which went on as the run did until its first fault (without one, in its first quarter).
    """
    try:
        rules = file if file is not None else default_rules(run.plan.scenario)
        # Without a fault something else may have gone wrong later; what was at first is calm in any run worth its name.
        calm_ns = min(
            (f.began_ns for f in disturbers(run) if f.began_ns != NEVER), default=run.plan.scenario.duration // 4
        )
        history_ms = max((looks_back_ms(rule) for rule in rules.rules), default=0)
        store = with_calm_before(metrics(run, "kafka_exporter", every_ms=EVERY_MS), calm_ns // 1_000_000, history_ms)
        case = Case(run.plan.scenario.scenario, store, troubles(run), run.end_ns // 1_000_000)
        return Alerted(judge(rules, case, interval_ms=EVERY_MS))
    except AlertError as error:
        return Alerted(None, str(error))
