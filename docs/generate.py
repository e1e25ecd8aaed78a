"""Writes the pages, and parts of pages, that are made from the code: `make docs`. A test compares them with what is committed."""

import sys
from pathlib import Path

from typer.testing import CliRunner

from eventdrill.command_line import app
from eventdrill.verbs import alerts, capacity, capacity_sums, cluster, gameday
from eventdrill.verbs.list import everything

DOCS = Path(__file__).parent
MARK = "<!-- from here on made by `make docs` -->\n"
VERBS = ("demo", "init", "list", "check", "schema", "simulate", "drive", "verify", "calibrate", "report", "slo")
GROUPS = {
    "alerts": tuple(alerts.VERBS),
    "capacity": (capacity.NAME, *capacity_sums.VERBS),
    "cluster": tuple(cluster.VERBS),
    "gameday": tuple(gameday.VERBS),
}


def pages() -> dict[Path, str]:
    """Return the full text of every page that is made from the code, or ends with a part that is."""
    by_hand = (DOCS / "command-line.md").read_text("utf-8").split(MARK)[0]
    return {DOCS / "command-line.md": by_hand + MARK + _help(), DOCS / "names.md": _names()}


def _help() -> str:
    verbs = [[verb] for verb in VERBS]
    verbs += [[group, verb] for group, within in GROUPS.items() for verb in within]
    return "\n## Every option\n" + "".join(f"\n### {' '.join(verb)}\n\n```\n{_help_of(verb)}```\n" for verb in verbs)


def _help_of(verb: list[str]) -> str:
    shown = CliRunner().invoke(
        app, [*verb, "--help"], prog_name="eventdrill", env={"COLUMNS": "110"}, terminal_width=110
    )
    return "\n".join(line.rstrip() for line in shown.stdout.splitlines()) + "\n"


def _names() -> str:
    found = everything()
    faults = [f"| `{fault['name']}` | {fault['about']} |" for fault in found["faults"]]
    actions = [f"| `{action['name']}` | {action['about']} |" for action in found["actions"]]
    indicators = [
        f"| `{each['name']}` | {_statistics(each['statistics'])} | {', '.join(each['where'])} | {each['about']} |"
        for each in found["indicators"]
    ]
    return "\n".join(
        [
            "# Names",
            "",
            "Made from the code by `make docs`; `eventdrill list` shows the same.",
            "",
            "## Faults",
            "",
            "Each takes `at: 20s` (or a list), `every: 10m` or `random: {mean_between: 10m, mean_for: 20s}`, and `for: 15s`; `name` is what reports call it.",
            "",
            "| fault | means |",
            "|---|---|",
            *faults,
            "",
            "## Actions",
            "",
            "What people do about it: `actions: [{action: replay, group: fulfilment, from: 5m, at: 60s}]`, with the same times and names.",
            "",
            "| action | means |",
            "|---|---|",
            *actions,
            "",
            "## Indicators",
            "",
            "Written `NAME`, `NAME[WHERE]` or `NAME[WHERE].STATISTIC`: `lost`, `lag[fulfilment].max`. WHERE may go on with a fault's name",
            "(`drain_time[fulfilment, slow_work]`) or with `before faults` (`latency[before faults].p50`).",
            "",
            "| indicator | unit, statistics | where | means |",
            "|---|---|---|---|",
            *indicators,
            "",
        ]
    )


def _statistics(units: dict[str, str]) -> str:
    parts = [f"{unit}" if name == "value" else f"`.{name}` {unit}" for name, unit in units.items()]
    return ", ".join(parts)


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, "utf-8")
        print(page, file=sys.stderr)
