"""What ran, on what, with which figures behind it, and what all of that does not prove."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reports.contents import Column, Contents, implementation
from reports.words import TIMES, count_text, duration_text, percent, value_text
from scenarios.quantities import SECOND
from scenarios.schema import Scenario


def provenance_rows(contents: Contents) -> list[dict[str, Any]]:
    """Return what ran, on what, with which settings, run by run."""
    rows = [{"label": label, "cells": [say(column) for column in contents.columns]} for label, say in _ABOUT]
    rows = [row for row in rows if any(row["cells"])]
    if contents.prediction_sha256:
        cells = [contents.prediction_sha256 if column.is_prediction else "" for column in contents.columns]
        rows.append({"label": "Locked prediction (SHA-256)", "cells": cells})
    return rows


def brokers_of(column: Column) -> str:
    """Return what played the brokers, in words."""
    brokers = column.run.data.about.get("brokers") or {}
    names = {
        "apache-kafka": "Apache Kafka",
        "librdkafka-mock": "librdkafka's mock cluster",
        "simulated": "simulated Kafka",
    }
    name = names.get(implementation(column.run), implementation(column.run))
    return f"{brokers.get('nodes', column.run.data.plan.scenario.brokers.nodes)} {TIMES} {name} {brokers.get('version', '')}".strip()


def _driver(column: Column) -> str:
    driver = column.run.data.about.get("driver")
    if not isinstance(driver, Mapping) or "lateness_p99_ns" not in driver:
        return ""
    p50, p99, most = (value_text(float(driver[f"lateness_{q}_ns"]) / SECOND, "s") for q in ("p50", "p99", "max"))
    return f"senders ran {p50} behind the plan (median), {p99} (p99), {most} at most"


def _flat(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case Mapping():
            return ", ".join(f"{key} {_flat(one)}" for key, one in value.items() if one not in (None, "", [], {}))
        case list() | tuple():
            return " ".join(map(str, value))
        case _:
            return json.dumps(value)


_ABOUT: Sequence[tuple[str, Callable[[Column], str]]] = (
    ("Engine", lambda c: {"simulated": "simulator", "driven": "live driver"}[c.run.data.engine]),
    ("State", lambda c: c.run.state),
    ("Scenario", lambda c: c.run.data.plan.scenario.scenario),
    ("Seed", lambda c: str(c.run.data.plan.seed)),
    ("Replications", lambda c: str(max((e.replications for e in c.run.estimates.values()), default=1))),
    ("Events planned", lambda c: count_text(len(c.run.data.plan))),
    ("Operations kept", lambda c: count_text(len(c.run.data.operations))),
    ("Brokers", brokers_of),
    ("Profile", lambda c: str(c.run.data.about.get("profile", c.run.data.plan.scenario.profile))),
    ("Clock started", lambda c: str(c.run.data.about.get("clock_start", ""))),
    (
        "Took",
        lambda c: (
            duration_text(round(float(c.run.data.about["seconds"])) * SECOND) if "seconds" in c.run.data.about else ""
        ),
    ),
    ("Host", lambda c: _flat(c.run.data.about.get("host"))),
    ("Versions", lambda c: _flat(c.run.data.about.get("versions"))),
    ("Command", lambda c: _flat(c.run.data.about.get("command_line"))),
    ("Driver", _driver),
    ("Notes", lambda c: _flat(c.run.data.about.get("notes"))),
)


def profile_rows(contents: Contents) -> list[tuple[str, str]]:
    """Return the main figures of the profile that the prediction used."""
    profile = contents.profile
    if profile is None:
        return []
    names = ("send", "produce", "fetch", "wake", "commit", "election", "discovery", "restart", "catch_up")
    rows = [("About", profile.about)] if profile.about else []
    rows += [("Measured on", _flat(profile.measured_on))] if profile.measured_on else []
    rows += [("Brokers said", _flat(profile.brokers_said))] if profile.brokers_said else []
    rows += (
        [("Not measured", f"{', '.join(profile.not_measured)}: as in another profile")] if profile.not_measured else []
    )
    for name in names:
        measured = getattr(profile, name)
        if measured.quantiles_us[-1] > 0:
            sd = f", its scale sure to {percent(measured.scale_sd)}" if measured.scale_sd else ""
            rows.append((name.replace("_", " "), f"median {value_text(measured.median_us / 1e6, 's')}{sd}"))
    if (cores := profile.cores).count:
        what = f"{cores.count}, {cores.taken:g} of them taken at rest; {cores.request_us:g} us a request, {cores.event_us:g} us an event"
        rows.append(("shared cores", what))
    return rows


def limits(contents: Contents) -> list[str]:
    """Return what the page's runs do not prove."""
    said = []
    scenario: Scenario = contents.scenario
    live = [column for column in contents.live if column.run.data.engine == "driven"]
    if not live:
        said.append(
            "Nothing here ran on real brokers: the figures are as good as the model and the profile. `verify` holds both against a live run."
        )
    if contents.verdicts and len(live) == 1:
        said.append(
            "One live run was compared. A gap or a peak is itself a random draw: several runs (`--repeats`) tell chance from a difference."
        )
    if live and all(implementation(column.run) == "apache-kafka" for column in live):
        said.append(
            "Brokers, producers and members shared one machine and its loopback network: "
            "the times of your own network, disks and neighbours are not in these figures."
        )
    kinds = sorted({fault.kind for fault in scenario.faults})
    if kinds:
        were = "was" if len(kinds) == 1 else "were"
        said.append(
            f"Only {', '.join(kinds)} {were} tried, at planned instants: nothing follows for other faults, or for other moments."
        )
    said.append(
        f"The load lasted {duration_text(scenario.duration)}: slow leaks, retention and anything that takes hours did not get the time to show."
    )
    return said
