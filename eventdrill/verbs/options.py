"""The options that several verbs share, each spelt and explained once, and what is checked of them before anything starts."""

import inspect
import os
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from eventdrill.errors import HELD, WrongInputError
from eventdrill.terminal import show, show_json

if TYPE_CHECKING:
    from eventdrill.workflows.places import Place

T = TypeVar("T")
R = TypeVar("R")

ScenarioFile = Annotated[
    str, typer.Argument(metavar="FILE", help="A scenario file, or the name of a shipped scenario.")
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        min=0,
        max=2**63 - 1,
        metavar="N",
        help="Seed of all that is random; default: the scenario's.",
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="K=V",
        help="Change one field of the scenario: --set groups.fulfilment.members=6. Repeat for more.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Folder for the run: new, or there and empty. Default: a new one under runs/.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
Junit = Annotated[
    Path | None,
    typer.Option(
        "--junit", metavar="FILE", help="Also write expectations and checks as JUnit XML, for CI.", show_default=False
    ),
]
Markdown = Annotated[
    Path | None,
    typer.Option(
        "--markdown", metavar="FILE", help="Also write a summary as Markdown, for pull requests.", show_default=False
    ),
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="P",
        help="Measured figures of the system: a shipped profile's name or a file. Default: the scenario's.",
        show_default=False,
    ),
]
ClientSettings = Annotated[
    Path | None,
    typer.Option(
        "--client-settings",
        metavar="FILE",
        help="With HOST:PORT: the client's own security settings, one NAME=VALUE a line, in librdkafka's names. "
        "EVENTDRILL_CLIENT_SASL_PASSWORD and its like in the environment do the same.",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="With HOST:PORT: say all that would be done there, and do nothing.")
]
OnAnywhere = Annotated[
    str,
    typer.Option(
        "--on",
        metavar="WHERE",
        help="local: a private Kafka. embedded: the in-process cluster of librdkafka. HOST:PORT: the system that the target names.",
    ),
]
On = Annotated[
    str,
    typer.Option(
        "--on", metavar="WHERE", help="local: a private Kafka. embedded: the in-process cluster of librdkafka."
    ),
]
Jobs = Annotated[
    str | None,
    typer.Option(
        "--jobs",
        metavar="J",
        help="Processes that simulate (default: one per core), or a cluster: dask:HOST:PORT, ray:ADDRESS.",
        show_default=False,
    ),
]


def jobs_of(text: str | None) -> int | str | None:
    """Return the number of processes, or the cluster that is named."""
    if text is None or text.partition(":")[0] in ("dask", "ray"):
        return text
    if text.isdecimal() and 1 <= int(text) <= _MOST_JOBS:
        return int(text)
    raise WrongInputError(
        f"--jobs is {text!r}; it is a number of processes from 1 to {_MOST_JOBS}, dask:HOST:PORT or ray:ADDRESS"
    )


_MOST_JOBS = 1024


def is_address(on: str) -> bool:
    """Tell whether `--on` names a system that EventDrill did not start."""
    return bool(re.fullmatch(r"[^\s:/]+:\d{1,5}(,[^\s:/]+:\d{1,5})*|\[[0-9a-fA-F:]+\]:\d{1,5}", on))


def place(on: str) -> "Place":
    """Return where to run; refuse what is no such place, and systems of others where only `drive`, `verify` and `calibrate` go."""
    match on:
        case "local" | "embedded":
            return on
    if is_address(on):
        raise WrongInputError(
            f"--on {on}: only `eventdrill drive`, `verify` and `calibrate` work with brokers that EventDrill did not start; --on local "
            "starts a private Kafka, --on embedded an in-process cluster"
        )
    raise WrongInputError(f"--on {on!r} is no place to run; there is local, embedded and HOST:PORT")


def only_there(*, dry_run: bool, **options: object) -> None:
    """Refuse options that mean something only for a system that EventDrill did not start."""
    for name in (["dry_run"] if dry_run else []) + [name for name, value in options.items() if value]:
        raise WrongInputError(
            f"--{name.replace('_', '-')} is for brokers that EventDrill did not start: give their address with --on HOST:PORT"
        )


def say_acts(acts: list[str], *, as_json: bool) -> int:
    """Print what would be done to a system that EventDrill did not start."""
    if as_json:
        show_json({"acts": acts})
    else:
        show(*acts)
    return HELD


def share(option: str, text: str) -> float:
    """Return a share such as `5%`."""
    from scenarios import quantities

    value = _quantity(option, text, quantities.share)
    if value == 0:
        raise WrongInputError(f"{option} is {text!r}; it is more than 0%")
    return value


def duration_ns(option: str, text: str) -> int:
    """Return a time longer than nothing, such as `60s`."""
    from scenarios import quantities

    return _quantity(option, text, quantities.positive_duration_ns)


def rate_hz(option: str, text: str) -> float:
    """Return a rate such as `600/s`."""
    from scenarios import quantities

    return _quantity(option, text, quantities.rate_hz)


def _quantity(option: str, text: str, read: Callable[[object], T]) -> T:
    try:
        return read(text)
    except ValueError as error:
        raise WrongInputError(f"{option} {error}") from None


def fresh_folder(out: Path | None, default_name: str) -> Path:
    """Return the folder for a run, made and empty; refuse one that holds something, or cannot be written to."""
    if out is None:
        return _numbered(Path("runs"), default_name)
    try:
        if out.is_dir() and any(out.iterdir()):
            raise WrongInputError(
                f"--out {out} holds something already ({next(out.iterdir()).name}); name a new or an empty folder"
            )
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WrongInputError(f"--out {out} cannot be made or read: {error.strerror or error}") from None
    _check_writable(out)
    return out


def _numbered(parent: Path, name: str) -> Path:
    """Make `NAME-1`, or the next number that is free."""
    try:
        parent.mkdir(exist_ok=True)
        for number in range(1, 100_000):
            try:
                (parent / f"{name}-{number}").mkdir()
            except FileExistsError:
                continue
            return parent / f"{name}-{number}"
    except OSError as error:
        raise WrongInputError(
            f"{parent.absolute()} cannot be written to ({error.strerror or error}); name a folder with --out"
        ) from None
    raise WrongInputError(f"{parent} holds too many runs; remove some, or name a folder with --out")


def _check_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WrongInputError(f"--out {folder} cannot be written to; choose another folder, or change its permissions")


def writable_file(option: str, path: Path) -> Path:
    """Return a file that can be written; refuse one whose folder is not there or not writable, and folders."""
    folder = path.absolute().parent
    if path.is_dir():
        raise WrongInputError(f"{option} {path} is a folder; name a file in it")
    if not folder.is_dir():
        raise WrongInputError(f"{option} {path}: there is no folder {folder}")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise WrongInputError(f"{option} {path} cannot be written to; choose another folder, or change its permissions")
    return path


def spreads(name: str, options: type[Any]) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Let a verb take a dataclass of options as its parameter `name`: each field is an option of its own.

    Verbs that share many options name them once, in the dataclass; typer reads them off the signature that is made here.
    """

    def around(verb: Callable[..., R]) -> Callable[..., R]:
        types = get_type_hints(options, include_extras=True)
        own = get_type_hints(verb, include_extras=True)
        parameters = []
        for parameter in inspect.signature(verb).parameters.values():
            if parameter.name != name:
                parameters.append(parameter.replace(annotation=own[parameter.name]))
                continue
            parameters += [
                inspect.Parameter(each.name, parameter.kind, default=each.default, annotation=types[each.name])
                for each in fields(options)
            ]

        def call(**given: Any) -> R:
            taken = {each.name: given.pop(each.name) for each in fields(options)}
            return verb(**given, **{name: options(**taken)})

        call.__name__, call.__doc__, call.__module__ = verb.__name__, verb.__doc__, verb.__module__
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer and inspect look for it
        call.__annotations__ = {each.name: each.annotation for each in parameters}
        return call

    return around
