"""`eventdrill init`: a commented scenario to start from."""

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from eventdrill.errors import WrongInputError

NAME = "init"
EXAMPLE = "eventdrill init orders\neventdrill simulate orders.yaml"
_PLACEHOLDER = "my-scenario"


def verb(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Name of the scenario; the file is NAME.yaml.")
    ] = _PLACEHOLDER,
) -> None:
    """Write a commented scenario to start from: NAME.yaml in the working folder.

    A file that exists is never overwritten.
    """
    from eventdrill.terminal import say
    from scenarios.errors import ScenarioError
    from scenarios.files import load_text

    path = Path(name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    text = starter().replace(f"scenario: {_PLACEHOLDER}", f"scenario: {path.stem}", 1)
    try:
        load_text(text, str(path))
    except ScenarioError as error:
        raise WrongInputError(f"{name!r} cannot name a scenario: {error.problems[0].message}") from None
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise WrongInputError(
            f"{path} is there already, and nothing is ever overwritten; choose another name"
        ) from None
    except OSError as error:
        raise WrongInputError(f"{path} cannot be written: {error.strerror or error}") from None
    print(path)
    say(f"next: eventdrill check {path}; eventdrill simulate {path}")


def starter() -> str:
    """Return the text of the scenario to start from."""
    return (resources.files("eventdrill.verbs") / "starter.yaml").read_text("utf-8")
