"""Kafka's jars, exactly those of a lock file, from wherever this machine can have them.

Two tools fetch what is not here (Maven and jgo); both know where from, nothing in this project does.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from loadgen.clusters.model import ClusterError
from loadgen.clusters.places import cache_dir

LOCKS = Path(__file__).parent / "locks"
JARS_VARIABLE = "EVENTDRILL_KAFKA_JARS"
COPY_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Jar:
    """One line of a lock file."""

    group: str
    artifact: str
    version: str
    size_bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """Give the file name."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def coordinates(self) -> str:
        """Give what Maven calls it."""
        return f"{self.group}:{self.artifact}:{self.version}"

    def in_repository(self, repository: Path) -> Path:
        """Tell where a local Maven repository keeps it."""
        return repository.joinpath(*self.group.split("."), self.artifact, self.version, self.name)

    def is_in(self, path: Path) -> bool:
        """Tell whether the file is this jar, byte for byte."""
        try:
            if path.stat().st_size != self.size_bytes:
                return False
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return False


@dataclass(frozen=True)
class Lock:
    """The jars of one version of something, the only source of truth about them."""

    version: str
    jars: tuple[Jar, ...]
    digest: str  # of the lock file
    product: str = "Kafka"

    @property
    def title(self) -> str:
        """Give what it is called, such as `Kafka 4.2.1`."""
        return f"{self.product} {self.version}"

    @property
    def directory(self) -> Path:
        """Give where these jars and what is made from them are cached: a path that stays the same."""
        return cache_dir() / f"{self.version}-{self.digest[:12]}"

    @property
    def size_mib(self) -> int:
        """Give the size of all jars."""
        return sum(jar.size_bytes for jar in self.jars) >> 20


def versions() -> list[str]:
    """List the Kafka versions that have a lock file, oldest first."""
    return locked_versions(LOCKS, "kafka-")


def locked_versions(folder: Path, prefix: str) -> list[str]:
    """List the versions that have a lock file in a folder, oldest first."""
    return sorted((path.stem.removeprefix(prefix) for path in folder.glob(f"{prefix}*.lock")), key=_numbers)


def fitting_version(wanted: str, known: list[str]) -> str | None:
    """Return a version, or the newest release of a line such as `4.2`; None where there is none."""
    fitting = [each for each in known if each == wanted or each.startswith(f"{wanted}.")]
    return fitting[-1] if fitting else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdecimal() else -1 for part in version.split("."))


@functools.cache
def read_lock(version: str) -> Lock:
    """Read the lock of a version, or of the newest release of a line such as `4.2`."""
    known = versions()
    found = fitting_version(version, known)
    if found is None:
        raise ClusterError(f"brokers.version is {version}; a local Kafka can be one of {', '.join(known)}")
    return parse_lock(found, (LOCKS / f"kafka-{found}.lock").read_text())


def parse_lock(version: str, text: str, product: str = Lock.product) -> Lock:
    """Read the text of a lock file."""
    return Lock(version, tuple(_parse_jars(text)), hashlib.sha256(text.encode()).hexdigest(), product)


def _parse_jars(text: str) -> Iterator[Jar]:
    for line in text.splitlines():
        coordinates, size, sha256 = line.split()
        group, artifact, version = coordinates.split(":")
        yield Jar(group, artifact, version, int(size), sha256)


def prepare_jars(lock: Lock, progress: Progress, *, given: Path | None = None) -> list[Path]:
    """Bring all jars of a lock into the cache and give their paths, sorted: the class path.

    `given` is a directory that the user names; the environment's EVENTDRILL_KAFKA_JARS names one too.
    """
    libs = lock.directory / "libs"
    if _missing(lock, libs):
        with making(lock, progress) as scratch:
            _collect(lock, libs, scratch, progress, given or _given_directory())
    return sorted(libs / jar.name for jar in lock.jars)


def _missing(lock: Lock, libs: Path) -> list[Jar]:
    return [jar for jar in lock.jars if not jar.is_in(libs / jar.name)]


@contextlib.contextmanager
def making(lock: Lock, progress: Progress) -> Iterator[Path]:
    """Let one process at a time make what is cached for a version, in a directory that is removed afterwards.

    Others wait, and find it made. What one left that was killed is removed as well.
    """
    lock.directory.mkdir(parents=True, exist_ok=True)
    with (lock.directory / "making.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"{lock.title}: waiting for another process that prepares it")
            fcntl.flock(file, fcntl.LOCK_EX)
        for left in lock.directory.glob("making-*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=lock.directory, prefix="making-") as scratch:
            yield Path(scratch)


def can_have_jars(lock: Lock, *, given: Path | None = None) -> str | None:
    """Tell why the jars of a lock cannot be had, None where they probably can; fetches nothing."""
    if shutil.which("mvn") or importlib.util.find_spec("jgo"):
        return None
    places = [lock.directory / "libs", local_repository()]
    places += [each for each in [given or _given_directory()] if each]
    missing = [jar for jar in lock.jars if not any(jar.is_in(path) for path in _candidates(jar, places))]
    return f"{len(missing)} of {len(lock.jars)} jars are missing. {_WAY_OUT}" if missing else None


def _given_directory() -> Path | None:
    named = os.environ.get(JARS_VARIABLE)
    return Path(named).expanduser() if named else None


_WAY_OUT = f"Put Maven on the PATH, or `pip install 'eventdrill[cluster]'`, or name a directory in {JARS_VARIABLE}."


def _collect(lock: Lock, libs: Path, scratch: Path, progress: Progress, given: Path | None) -> None:
    """Ask each fetcher for what is still missing, and remember what each of them said."""
    libs.mkdir(exist_ok=True)
    missing = _missing(lock, libs)
    said: list[str] = []
    if given is None:
        said.append(f"a directory named by {JARS_VARIABLE}: not set")
    else:
        from_it = functools.partial(_from_directory, given)
        missing = _ask(lock, f"directory {given}", from_it, missing, libs, scratch, progress, said)
    repository = local_repository()
    for name, fetch in (
        (f"local Maven repository {repository}", functools.partial(_from_directory, repository)),
        ("mvn", _from_maven),
        ("jgo", _from_jgo),
    ):
        if missing:
            missing = _ask(lock, name, fetch, missing, libs, scratch, progress, said)
    if missing:
        tried = "\n".join(f"  {line}" for line in said)
        raise ClusterError(
            f"{len(missing)} of the {len(lock.jars)} jars of {lock.title} cannot be had "
            f"({missing[0].coordinates} is one). Tried:\n{tried}\n{_WAY_OUT}"
        )


Fetch = Callable[[list[Jar], Path], Mapping[Jar, Path]]


def _ask(
    lock: Lock,
    name: str,
    fetch: Fetch,
    missing: list[Jar],
    libs: Path,
    scratch: Path,
    progress: Progress,
    said: list[str],
) -> list[Jar]:
    """Let one fetcher bring what it can, take over what the lock confirms, and give what is still missing."""
    size_mib = sum(jar.size_bytes for jar in missing) / 2**20
    progress(f"{lock.product} jars: {len(missing)} ({size_mib:.0f} MiB) from {name}")
    try:
        found = fetch(missing, scratch)
    except _FetchError as error:
        said.append(f"{name}: {error}")
        return missing
    left, wrong = [], []
    for jar in missing:
        if jar in found and jar.is_in(found[jar]):
            _take_over(found[jar], libs / jar.name, scratch)
        else:
            left.append(jar)
            wrong += [found[jar].name] if jar in found else []
    if wrong:
        said.append(f"{name}: size or SHA-256 differs from the lock: {', '.join(wrong[:3])} ({len(wrong)} in all)")
    if left and len(wrong) < len(left):
        said.append(f"{name}: {len(left) - len(wrong)} jars are not there")
    return left


def _take_over(source: Path, target: Path, scratch: Path) -> None:
    """Copy under a temporary name and rename, so that nobody ever sees half a jar."""
    fresh = scratch / f"{target.name}.new"
    shutil.copyfile(source, fresh)
    fresh.replace(target)


class _FetchError(Exception):
    """What a fetcher says when it has nothing."""


def _candidates(jar: Jar, directories: Iterable[Path]) -> list[Path]:
    return [path for each in directories for path in (each / jar.name, jar.in_repository(each))]


def _from_directory(directory: Path, missing: list[Jar], _scratch: Path) -> Mapping[Jar, Path]:
    if not directory.is_dir():
        raise _FetchError("no such directory")
    found = {}
    for jar in missing:
        there = [path for path in _candidates(jar, [directory]) if path.is_file()]
        if there:
            found[jar] = next((path for path in there if jar.is_in(path)), there[0])
    return found


def local_repository() -> Path:
    """Give the local Maven repository: M2_REPO, else what settings.xml says, else the default."""
    home = Path.home() / ".m2"
    if named := os.environ.get("M2_REPO"):
        return Path(named).expanduser()
    try:
        root = ET.parse(home / "settings.xml").getroot()
    except (FileNotFoundError, ET.ParseError):
        return home / "repository"
    set_there = next(
        (each.text for each in root if each.tag.rpartition("}")[2] == "localRepository" and each.text), None
    )
    return Path(set_there.strip().replace("${user.home}", str(Path.home()))) if set_there else home / "repository"


def _from_maven(missing: list[Jar], scratch: Path) -> Mapping[Jar, Path]:
    program = shutil.which("mvn")
    if program is None:
        raise _FetchError("not on the PATH")
    pom = scratch / "pom.xml"
    pom.write_text(_pom(missing))
    # Its output holds colour codes even with -q: the exit status and the checksums decide.
    done = subprocess.run(
        [
            program,
            "-q",
            "-B",
            "-f",
            str(pom),
            COPY_GOAL,
            f"-DoutputDirectory={scratch / 'out'}",
            "-DincludeScope=runtime",
        ],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    found = {jar: scratch / "out" / jar.name for jar in missing}
    if done.returncode and not any(path.is_file() for path in found.values()):
        errors = [line for line in done.stdout.splitlines() if "ERROR" in line] or ["said nothing"]
        raise _FetchError(f"exit status {done.returncode}: {errors[0]}")
    return {jar: path for jar, path in found.items() if path.is_file()}


def _pom(jars: list[Jar]) -> str:
    """Write a project of exactly these jars: each without what it would draw in by itself."""
    dependencies = "".join(
        f"<dependency><groupId>{escape(jar.group)}</groupId><artifactId>{escape(jar.artifact)}</artifactId>"
        f"<version>{escape(jar.version)}</version><exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId>"
        "</exclusion></exclusions></dependency>\n"
        for jar in jars
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>eventdrill</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>\n"
        f"<dependencies>\n{dependencies}</dependencies></project>\n"
    )


def _from_jgo(missing: list[Jar], _scratch: Path) -> Mapping[Jar, Path]:
    try:
        from jgo.maven import MavenContext
    except ImportError:
        raise _FetchError("not installed: pip install 'eventdrill[cluster]'") from None
    # Artifact by artifact: resolving coordinates would let managed versions of one jar change another one.
    context = MavenContext()
    found = {}
    try:
        for jar in missing:
            found[jar] = context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
    except Exception as error:  # it raises what its libraries raise
        if not found:
            raise _FetchError(f"{type(error).__name__}: {error}") from error
    return found
