"""Files of the user that stand in the way of our packages: their names are common words (`sim`, `reports`)."""

from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("scenarios", "sim", "loadgen", "rundata", "reports")
_HOME = Path(__file__).resolve().parent.parent


def shadows() -> dict[str, str]:
    """Return our packages that Python would not find, each with the file that it finds instead."""
    found = {}
    for name in PACKAGES:
        spec = find_spec(name)
        origin = spec.origin if spec else None
        if origin is None or Path(origin).resolve() != _HOME / name / "__init__.py":
            found[name] = origin or "nothing"
    return found


def refuse_shadows() -> None:
    """Raise an ImportError that names each file in the way."""
    found = shadows()
    if found:
        places = "; ".join(f"`import {name}` finds {origin} before {_HOME / name}" for name, origin in found.items())
        raise ImportError(
            f"another file stands in the way of EventDrill: {places}. Rename it, or start Python in another folder or with -P"
        )
