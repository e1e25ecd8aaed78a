"""What does not fit together in a scenario: the one form in which all checks and lints say it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from scenarios.errors import Path, nearest

SECTIONS = {"topic": "topics", "producer": "producers", "group": "groups", "dependency": "dependencies"}


@dataclass(frozen=True)
class Finding:
    """Something that does not fit: its place, what is wrong, and the other places that it was concluded from."""

    path: Path
    message: str
    reads: tuple[Path, ...] = field(default=())
    """A last part of `*` stands for the names there, without what they hold."""


def unknown(kind: str, name: str, known: Iterable[str], path: Path, written: str | None = None) -> Iterator[Finding]:
    """Yield a finding for a name that none has; `written` is the whole text where the name is a part of one."""
    known = list(known)
    if name in known:
        return
    if written is None:
        message = f"is {name!r}, and there is no such {kind}{nearest(name, known)}"
    else:
        message = f"is {written!r}, and there is no {kind} {name!r}{nearest(name, known)}"
    yield Finding(path, message, ((SECTIONS[kind], "*"),))
