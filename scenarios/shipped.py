"""The scenarios that come with the package, found by name."""

from importlib import resources
from pathlib import Path

from scenarios.yaml_text import read_yaml


def _folder() -> Path:
    return Path(str(resources.files("scenarios"))) / "library"


def scenario_names() -> tuple[str, ...]:
    """Return the names of the shipped scenarios in alphabetical order."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def scenario_path(name: str) -> Path:
    """Return the file of a shipped scenario; raise KeyError for a name that is none."""
    if name not in scenario_names():
        raise KeyError(name)
    return _folder() / f"{name}.yaml"


def about(name: str) -> str:
    """Return what a shipped scenario says of itself."""
    value = read_yaml(scenario_path(name).read_text("utf-8"), name).value
    return str(value.get("about", "")).strip()
