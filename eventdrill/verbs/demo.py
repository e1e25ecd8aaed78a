"""`eventdrill demo`: the main job from nothing to an open report."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from eventdrill.errors import WrongInputError
from eventdrill.terminal import say
from eventdrill.verbs.options import On, Seed, fresh_folder, place
from eventdrill.verbs.verify import finish

NAME = "demo"
EXAMPLE = "eventdrill demo"


def verb(
    seed: Seed = None,
    on: On = "local",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the demo's runs and page.")] = Path(
        "runs/demo"
    ),
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove an earlier demo that --out holds; else it is moved to DIR-1.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the brokers' logs beside the runs.")] = False,
) -> int:
    """Predict a broker's crash under load, drive it on a real Kafka of one's own, and compare the two.

    Takes three to four minutes, binds to loopback only, and writes DIR with the runs `simulated/` and `driven/`,
    `verify.json` and `report.html`.
    """
    where = place(on)
    if replace:
        _remove_earlier(out)
    else:
        _move_earlier_aside(out)
    folder = fresh_folder(out, "demo")
    from eventdrill.workflows.demo import demo
    from eventdrill.workflows.telling import on_terminal

    return finish(demo(folder, seed=seed, on=where, keep=keep, telling=on_terminal()))


_WRITTEN = frozenset(
    {
        "simulated",
        "driven",
        "calibration",
        "logs",
        "verify.json",
        "report.html",
        "prediction.html",
        "prediction.json",
        "profile.yaml",
    }
)


def _move_earlier_aside(out: Path) -> None:
    """Rename what an earlier demo wrote to the first free DIR-1, DIR-2, ..; leave anything else alone."""
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if not names or not names <= _WRITTEN:
        return
    number = 1
    while (aside := out.with_name(f"{out.name}-{number}")).exists():
        number += 1
    out.rename(aside)
    say(f"the earlier demo is in {aside} now")


def _remove_earlier(out: Path) -> None:
    """Remove what an earlier demo wrote, and refuse where anything else lies there too."""
    if not out.is_dir():
        return
    others = sorted(path.name for path in out.iterdir() if path.name not in _WRITTEN)
    if others:
        raise WrongInputError(
            f"--out {out} holds {', '.join(others[:3])}, which no demo wrote; move it away, or name another folder"
        )
    for path in out.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
