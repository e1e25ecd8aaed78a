"""EventDrill: rehearse an event-driven system before it breaks. The public names; each is imported when it is first used."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eventdrill.workflows.capacity import capacity
    from eventdrill.workflows.drive import drive
    from eventdrill.workflows.gameday import plan as plan_gameday
    from eventdrill.workflows.gameday import rehearse
    from eventdrill.workflows.pages import figures
    from eventdrill.workflows.prevention import what_if
    from eventdrill.workflows.record import predictions
    from eventdrill.workflows.simulate import simulate
    from eventdrill.workflows.sweep import sweep
    from eventdrill.workflows.verify import verify
    from rundata.dataset import open_run as open
    from rundata.run import Run
    from scenarios.files import load_scenario as load
    from scenarios.schema import Scenario

__all__ = [
    "Run",
    "Scenario",
    "capacity",
    "drive",
    "figures",
    "load",
    "open",
    "plan_gameday",
    "predictions",
    "rehearse",
    "simulate",
    "sweep",
    "verify",
    "what_if",
]

_HOMES = {
    "capacity": ("eventdrill.workflows.capacity", "capacity"),
    "plan_gameday": ("eventdrill.workflows.gameday", "plan"),
    "rehearse": ("eventdrill.workflows.gameday", "rehearse"),
    "what_if": ("eventdrill.workflows.prevention", "what_if"),
    "Run": ("rundata.run", "Run"),
    "Scenario": ("scenarios.schema", "Scenario"),
    "drive": ("eventdrill.workflows.drive", "drive"),
    "figures": ("eventdrill.workflows.pages", "figures"),
    "load": ("scenarios.files", "load_scenario"),
    "open": ("rundata.dataset", "open_run"),
    "predictions": ("eventdrill.workflows.record", "predictions"),
    "simulate": ("eventdrill.workflows.simulate", "simulate"),
    "sweep": ("eventdrill.workflows.sweep", "sweep"),
    "verify": ("eventdrill.workflows.verify", "verify"),
}


def __getattr__(name: str) -> Any:
    """Import a public name: NumPy and pandas take a second, which `eventdrill --help` should not wait for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'eventdrill' has no attribute {name!r}; it has {', '.join(__all__)}")
    from importlib import import_module

    from eventdrill.shadows import refuse_shadows

    refuse_shadows()
    module, attribute = _HOMES[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
