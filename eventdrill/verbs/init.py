"""`eventdrill init`: a commented scenario to start from."""

from pathlib import Path
from typing import Annotated

import typer

from eventdrill.errors import WrongInputError

NAME = "init"
EXAMPLE = "eventdrill init orders\neventdrill simulate orders.yaml"


def verb(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Name of the scenario; the file is NAME.yaml.")
    ] = "my-scenario",
    java_ids: Annotated[
        bool,
        typer.Option(
            "--java-ids",
            help="Write EventDrillIds.java instead: interceptors that carry ids through your own Java program.",
        ),
    ] = False,
) -> None:
    """Write a commented scenario to start from: NAME.yaml in the working folder.

    A file that exists is never overwritten.
    """
    from eventdrill.terminal import say
    from scenarios.template import template

    if java_ids:
        from loadgen.java.build import IDS_SOURCE

        _write(Path(IDS_SOURCE.name), IDS_SOURCE.read_text("utf-8"))
        say(
            "next: compile it into your program, and name EventDrillIds$Read and EventDrillIds$Sent in interceptor.classes"
        )
        return
    path = Path(name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    _write(path, template(path.stem))
    say(f"next: eventdrill check {path}; eventdrill simulate {path}")


def _write(path: Path, text: str) -> None:
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
