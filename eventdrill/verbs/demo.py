"""`eventdrill demo`: the main job from nothing to an open report."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from eventdrill.errors import WrongInputError
from eventdrill.verbs.options import On, Seed, fresh_folder, place

NAME = "demo"
EXAMPLE = "eventdrill demo"


def verb(
    seed: Seed = None,
    on: On = "local",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the demo's runs and page.")] = Path(
        "runs/demo"
    ),
    replace: Annotated[bool, typer.Option("--replace", help="Replace an earlier demo that --out holds.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the brokers' logs beside the runs.")] = False,
) -> int:
    """Predict a broker's crash under load, drive it on a real Kafka of one's own, and compare the two.

    Takes three to four minutes, binds to loopback only, and writes DIR with the runs `simulated/` and `driven/`,
    `verify.json` and `report.html`.
    """
    where = place(on)
    if replace:
        _remove_earlier(out)
    folder = fresh_folder(out, "demo")
    from eventdrill.terminal import progress
    from eventdrill.workflows.demo import demo

    return demo(folder, seed=seed, on=where, keep=keep, console=progress())


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
