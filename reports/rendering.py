"""How pages become HTML: one environment of templates, escaped by default, and the version that they name."""

import importlib.metadata
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


@cache
def environment() -> Environment:
    """Return the templates."""
    return Environment(
        loader=PackageLoader("reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def write_template(path: Path, template: str, context: Mapping[str, Any]) -> None:
    """Write a page from a template."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(environment().get_template(template).render({**context, "version": version()}), "utf-8")


def version() -> str:
    """Return EventDrill's version."""
    try:
        return importlib.metadata.version("eventdrill")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"
