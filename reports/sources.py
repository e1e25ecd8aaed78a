"""Where differences between prediction and observation come from, in words: what to look at first."""

from collections.abc import Iterable, Mapping

from reports.agreement import Verdict

ADVICE = {
    "workload": "events were sent, or handled, at other times than planned: look at the send lateness and at the handlers first",
    "profile": "brokers or clients were not as fast as when they were measured: calibrate again, and look at the host's load first",
    "chance": "the instants that only chance decides (fence, discovery of new leaders, assignments) lay off their middle: repeat the run first",
    "model": "neither load nor measured times nor those instants explain it: look at settings that the simulator ignores first",
}
"""What to look at first, by the source of most of the difference."""
_NAMED = {"workload": "the workload", "profile": "the profile", "chance": "chance", "model": "the model"}


def main_source(sources: Iterable[Mapping[str, float]]) -> str | None:
    """Return the source with the largest share over several figures; None where nothing was explained."""
    totals: dict[str, float] = {}
    for shares in sources:
        for source, share in shares.items():
            totals[source] = totals.get(source, 0.0) + share
    return max(totals, key=lambda source: totals[source], default=None)


def source_text(sources: Mapping[str, float] | None) -> str:
    """Return a figure's largest source and its share: `92 % chance`."""
    source = main_source([sources] if sources else [])
    return "" if source is None or sources is None else f"{sources[source]:.0%} {source}".replace("%", " %")


def sources_sentence(verdicts: Mapping[str, Verdict]) -> str:
    """Say where most of the difference comes from: of the figures that do not agree, or of all where they do."""
    open_ones = [verdict for verdict in verdicts.values() if verdict.verdict != "agrees"]
    source = main_source(verdict.sources for verdict in open_ones or verdicts.values() if verdict.sources)
    if source is None:
        return ""
    what = "what does not agree" if open_ones else "the differences that are left, small as they are,"
    return f"Most of {what} comes from {_NAMED[source]}: {ADVICE[source]}."
