"""`eventdrill list`: what there is to choose from."""

from typing import TYPE_CHECKING, Any

from eventdrill.terminal import show, show_json
from eventdrill.verbs.options import Json

if TYPE_CHECKING:
    from rich.table import Table

NAME = "list"
EXAMPLE = "eventdrill list\neventdrill list --json | jq '.scenarios[].name'"

_BROKERS = (
    ("kafka", "local", "a private Apache Kafka on loopback, several brokers in KRaft mode"),
    (
        "kafka",
        "embedded",
        "the cluster that librdkafka carries, in one process: for trying things out, no measure of Kafka",
    ),
)


def verb(as_json: Json = False) -> None:
    """List the shipped scenarios and profiles, the faults, the actions, the brokers and the indicators."""
    found = everything()
    if as_json:
        show_json(found)
    else:
        show(*(_table(title, rows) for title, rows in found.items()))


def everything() -> dict[str, list[dict[str, Any]]]:
    """Return what there is, by kind."""
    from scenarios import shipped
    from scenarios.actions import ACTIONS, action_kinds
    from scenarios.expectations import INDICATORS
    from scenarios.faults import FAULTS, fault_kinds
    from scenarios.profiles import IDEAL, load_profile, shipped_profiles

    engines = _engines()
    profiles = [IDEAL, *(load_profile(name) for name in shipped_profiles())]
    return {
        "scenarios": [{"name": name, "about": shipped.about(name)} for name in shipped.scenario_names()],
        "profiles": [{"name": each.profile, "about": each.about} for each in profiles],
        "faults": [_kind(word, kind, engines) for word, kind in zip(fault_kinds(), FAULTS, strict=True)],
        "actions": [_kind(word, kind, engines) for word, kind in zip(action_kinds(), ACTIONS, strict=True)],
        "brokers": [{"name": kind, "on": on, "about": about} for kind, on, about in _BROKERS],
        "indicators": [
            {
                "name": kind.name,
                "statistics": {name or "value": unit for name, unit in kind.units.items()},
                "where": list(kind.scopes),
                "better": kind.better,
                "about": kind.meaning,
            }
            for kind in INDICATORS.values()
        ],
    }


def _engines() -> dict[str, frozenset[str]]:
    """Return what each engine can do so far; the live driver's part needs the Kafka client."""
    from sim.refuse import CAN as SIMULATED

    try:
        from loadgen.refuse import CAN as DRIVEN
    except ImportError:
        return {"simulated": SIMULATED}
    return {"simulated": SIMULATED, "driven": DRIVEN}


def _kind(word: str, kind: type, engines: dict[str, frozenset[str]]) -> dict[str, Any]:
    able = [engine for engine, can in engines.items() if word in can]
    return {"name": word, "engines": able, "about": (kind.__doc__ or "").strip().splitlines()[0]}


def _table(title: str, rows: list[dict[str, Any]]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    for column in rows[0]:
        table.add_column(column, no_wrap=column in ("name", "on"))
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    return table


def _cell(value: object) -> str:
    match value:
        case dict():
            units = dict.fromkeys(value.values())
            if len(units) == 1:
                names = [name for name in value if name != "value"]
                return f"{next(iter(units))}" + (f" ({', '.join(names)})" if names else "")
            return ", ".join(f"{name}: {unit}" for name, unit in value.items())
        case list():
            return ", ".join(map(str, value)) or "not yet"
        case _:
            return str(value)
