"""The command line: `eventdrill VERB`. What each verb does stands in `eventdrill/verbs`; what errors mean, in `eventdrill/errors.py`."""

import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from eventdrill.errors import INTERRUPTED, SAYS_NOTHING, WRONG_INPUT, exit_code_of
from eventdrill.verbs import (
    alerts,
    calibrate,
    capacity,
    capacity_sums,
    check,
    cluster,
    demo,
    drive,
    explain,
    gameday,
    init,
    report,
    schema,
    simulate,
    slo,
    sweep,
    verify,
)
from eventdrill.verbs import list as list_verb


class _ExampleFirst:
    """Help that opens with an example; it stands where typer keeps a command's epilogue."""

    epilog: str | None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write("Example:\n")
        formatter.write("".join(f"  {line}\n" for line in (self.epilog or "").splitlines()) + "\n")
        super().format_help(ctx, formatter)  # type: ignore[misc]  # a mixin: the next class in line is typer's

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write nothing: the example has been shown."""


class Verb(_ExampleFirst, TyperCommand):
    """One verb: errors become a message and an exit code here, for all of them."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; its result is the exit code."""
        try:
            code = super().invoke(ctx)
        except KeyboardInterrupt as stopped:
            print(": ".join(["interrupted", *map(str, stopped.args)]), file=sys.stderr)
            code = INTERRUPTED
        except typer.Exit:
            raise
        except Exception as error:
            code = _explain(error)
        raise typer.Exit(code or 0)


class Verbs(_ExampleFirst, TyperGroup):
    """A group of verbs."""


class VerbsOrFile(Verbs):
    """A group whose first verb needs no name: `capacity FILE` is `capacity search FILE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Put in the first verb's name where no verb and no help is asked for."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)


def _explain(error: Exception) -> int:
    """Tell the user what is wrong, and return the exit code; a defect of ours shows where it is."""
    if type(error).__module__.startswith("typer"):
        raise error  # usage errors, which typer explains
    code = exit_code_of(error)
    if code is None:
        traceback.print_exc()
        print(
            "eventdrill: this is a defect of EventDrill, not of your input; please report it with the lines above",
            file=sys.stderr,
        )
        return SAYS_NOTHING
    lines = str(error).splitlines() or [type(error).__name__]
    print("\n".join(["eventdrill: " + lines[0], *lines[1:]]), file=sys.stderr)
    return code


def _add(to: typer.Typer, name: str, function: Callable[..., Any], example: str) -> None:
    """Add a verb; the list of verbs shows the first sentence of its docstring, whole."""
    first = (function.__doc__ or "").strip().splitlines()[0]
    to.command(name, cls=Verb, epilog=example, short_help=first.split(". ")[0].rstrip("."))(function)


app = typer.Typer(
    name="eventdrill",
    cls=Verbs,
    help="Rehearse an event-driven system before it breaks: one scenario, simulated and driven on real brokers, and the difference judged.",
    epilog="eventdrill demo\neventdrill simulate leader-crash --seed 2",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
_VERBS: tuple[Any, ...] = (
    demo,
    init,
    list_verb,
    check,
    schema,
    simulate,
    sweep,
    drive,
    verify,
    calibrate,
    report,
    explain,
    slo,
)
for _module in _VERBS:
    _add(app, _module.NAME, _module.verb, _module.EXAMPLE)


def _group(name: str, about: Any, verbs: dict[str, tuple[Callable[..., Any], str]], look: type[Verbs] = Verbs) -> None:
    """Add a group of verbs."""
    inner = typer.Typer(cls=look, help=about.HELP, epilog=about.EXAMPLE, no_args_is_help=True, rich_markup_mode=None)
    for verb, (function, example) in verbs.items():
        _add(inner, verb, function, example)
    app.add_typer(inner, name=name)


_group(
    "capacity", capacity_sums, {capacity.NAME: (capacity.verb, capacity.EXAMPLE), **capacity_sums.VERBS}, VerbsOrFile
)
for _name, _verbs in {"alerts": alerts, "cluster": cluster, "gameday": gameday}.items():
    _group(_name, _verbs, _verbs.VERBS)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"eventdrill {version('eventdrill')}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


def main() -> None:
    """Run the command line and exit with its code."""
    from eventdrill.shadows import refuse_shadows

    try:
        refuse_shadows()
    except ImportError as error:
        print(f"eventdrill: {error}", file=sys.stderr)
        sys.exit(WRONG_INPUT)
    app(prog_name="eventdrill")
