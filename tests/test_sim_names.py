"""Where a reader who knows Kafka's words finds their rules: what the documentation names is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def names() -> list[str]:
    """Return the names in the last column of the table, in the order of the page."""
    page = (ROOT / "docs" / "model.md").read_text(encoding="utf-8")
    table = page.partition("| In Kafka's words | In the code |")[2].partition("\n\n")[0]
    return re.findall(r"`([\w.]+)`", "\n".join(line.rpartition(" | ")[2] for line in table.splitlines()))


def is_there(name: str) -> bool:
    """Whether a function or class stands where its name says, below `sim`."""
    parts = name.split(".")
    modules = [
        count for count in range(1, len(parts)) if ROOT.joinpath("sim", *parts[:count]).with_suffix(".py").exists()
    ]
    if not modules:
        return False
    found: ast.AST = ast.parse(
        ROOT.joinpath("sim", *parts[: modules[-1]]).with_suffix(".py").read_text(encoding="utf-8")
    )
    for part in parts[modules[-1] :]:
        body = getattr(found, "body", [])
        found = next((each for each in body if getattr(each, "name", None) == part), ast.Pass())
        if isinstance(found, ast.Pass):
            return False
    return True


def test_the_table_is_read():
    assert len(names()) > 60


@pytest.mark.parametrize("name", sorted(set(names())))
def test_what_the_documentation_names_is_in_the_code(name: str):
    assert is_there(name)


def test_what_is_not_there_is_noticed():
    assert not is_there("kernel.connections.nothing")
    assert not is_there("nowhere.serve")
    assert not is_there("system.System.nothing")
