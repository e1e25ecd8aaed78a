"""How pages become HTML: one environment of templates, escaped by default, and the version that they name."""

import importlib.metadata
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


@cache
def environment() -> Environment:
    """Return the templates."""
    found = Environment(
        loader=PackageLoader("reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["coded"] = coded
    return found


def coded(text: str) -> Markup:
    """Return words as HTML, with what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # escaped just before


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
