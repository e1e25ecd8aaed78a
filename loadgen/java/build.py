"""The Java client's processes made ready: the jars of the version that is named, and our sources compiled against them, once.

Nothing is built beforehand: a system JDK has a compiler, and for a Java without one Eclipse's is fetched like Kafka's jars.
"""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadgen.clusters.archive import class_path
from loadgen.clusters.jars import (
    Lock,
    Progress,
    can_have_jars,
    fitting_version,
    locked_versions,
    making,
    parse_lock,
    prepare_jars,
    read_lock,
)
from loadgen.clusters.java import OLDEST, Java, find_java
from loadgen.clusters.model import ClusterError
from scenarios.clients import release

SOURCES = Path(__file__).parent / "src"
CLOCK = Path(__file__).parent / "clock"
"""A class of Kafka's with a clock that can be wrong, for brokers."""
IDS_SOURCE = Path(__file__).parent / "users" / "EventDrillIds.java"
"""Interceptors for programs of the users' own; no class of the driver's."""
LOCKS = Path(__file__).parent / "locks"
CLASSPATH_VARIABLE = "EVENTDRILL_CLASSPATH"
"""Names jars and folders of the user's own classes, such as interceptors, as Java writes a class path."""
_COMPILE_WITHIN_S = 180


@dataclass(frozen=True)
class JavaClient:
    """A Java client that can be started: the runtime and its class path, our classes first."""

    java: Java
    version: str
    class_path: str


def client_versions() -> list[str]:
    """List the versions of the Java client that can be named, oldest first."""
    return locked_versions(LOCKS, "kafka-clients-")


def unknown_version(version: str) -> str | None:
    """Tell why a version of the Java client cannot be had, None where it can."""
    known = client_versions()
    return None if fitting_version(version, known) else f"the Java client can be one of {', '.join(known)}"


@functools.cache
def client_lock(version: str) -> Lock:
    """Read the lock of the client's version, or of the newest release of a line such as `4.2`."""
    found = fitting_version(version, client_versions())
    if found is None:
        raise ClusterError(f"version is {version}; {unknown_version(version)}")
    return parse_lock(found, (LOCKS / f"kafka-clients-{found}.lock").read_text(), "Kafka client")


@functools.cache
def compiler_lock() -> Lock:
    """Read the lock of the compiler for Javas that have none."""
    (path,) = LOCKS.glob("ecj-*.lock")
    return parse_lock(path.stem.removeprefix("ecj-"), path.read_text(), "Java compiler")


def can_run_java(version: str) -> str | None:
    """Tell why the Java client cannot run here, None where it probably can; starts and fetches nothing."""
    try:
        java = find_java()
        reason = can_have_jars(client_lock(version), given=_of_the_brokers(version))
        return reason if _javac(java) else reason or can_have_jars(compiler_lock())
    except ClusterError as error:
        return str(error)


def prepare_client(version: str, progress: Progress) -> JavaClient:
    """Bring the client's jars and our compiled classes into the cache."""
    java = find_java()
    lock = client_lock(version)
    libs = prepare_jars(lock, progress, given=_of_the_brokers(version))
    classes = _prepare_classes(lock, java, libs, progress)
    users = [os.environ[CLASSPATH_VARIABLE]] if os.environ.get(CLASSPATH_VARIABLE) else []
    return JavaClient(java, lock.version, os.pathsep.join([str(classes), class_path(libs), *users]))


def _of_the_brokers(version: str) -> Path | None:
    """Return where the brokers' jars of the same version are cached, which are the client's as well."""
    try:
        libs = read_lock(version).directory / "libs"
    except ClusterError:
        return None
    return libs if libs.is_dir() else None


# ---- compiling -----------------------------------------------------------------------------------------------------


def sources(version: str) -> list[Path]:
    """List our sources for a version of the client; a folder such as `since-4.2` holds what older ones have no classes for."""
    newer = [
        path
        for folder in SOURCES.glob("since-*")
        if release(version) >= release(folder.name.removeprefix("since-"))
        for path in folder.glob("*.java")
    ]
    return sorted([*SOURCES.glob("*.java"), *newer])


def _hash_of(files: Sequence[Path]) -> str:
    """Return what changes with any of some sources."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def prepare_wrong_clock(lock: Lock, java: Java, libs: Sequence[Path], progress: Progress) -> Path:
    """Give the folder that stands before the jars of brokers whose clock can be wrong."""
    return _prepared(lock, java, libs, progress, "clock", sorted(CLOCK.glob("*.java")))


def cannot_compile() -> str | None:
    """Tell why our classes cannot be compiled here, None where they probably can; starts and fetches nothing."""
    try:
        return None if _javac(find_java()) else can_have_jars(compiler_lock())
    except ClusterError as error:
        return str(error)


def _prepare_classes(lock: Lock, java: Java, libs: Sequence[Path], progress: Progress) -> Path:
    """Give the folder of the classes that the processes run."""
    return _prepared(lock, java, libs, progress, "processes", sources(lock.version))


def _prepared(
    lock: Lock, java: Java, libs: Sequence[Path], progress: Progress, name: str, given: Sequence[Path]
) -> Path:
    """Give the folder of some classes of ours, compiled if these sources have not been yet; they run on any Java that we take."""
    kept = lock.directory / f"{name}-{_hash_of(given)}"
    if kept.exists():
        return kept
    with making(lock, progress) as scratch:
        if not kept.exists():
            progress(f"{lock.title}: compiling our {name}, once")
            fresh = scratch / "classes"
            _compile(java, libs, fresh, given, progress)
            fresh.rename(kept)
    return kept


def _compile(java: Java, libs: Sequence[Path], target: Path, given: Sequence[Path], progress: Progress) -> None:
    command = _compiler(java, progress)
    command += ["-proc:none", "-nowarn", "-encoding", "UTF-8", "-cp", class_path(libs), "-d", str(target)]
    try:
        done = subprocess.run(
            [*command, *map(str, given)],
            capture_output=True,
            text=True,
            check=False,
            timeout=_COMPILE_WITHIN_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ClusterError(f"our Java classes cannot be compiled: {error}") from error
    if done.returncode:
        words = "\n".join(f"  {line[:300]}" for line in (done.stdout + done.stderr).splitlines()[:20])
        raise ClusterError(f"our Java classes cannot be compiled ({command[0]}):\n{words}")


def _javac(java: Java) -> Path | None:
    """Return the compiler that came with a Java, None where it came without."""
    program = java.program.with_name("javac")
    return program if program.is_file() else None


def _compiler(java: Java, progress: Progress) -> list[str]:
    own = _javac(java)
    if own is not None:
        return [str(own), "--release", str(OLDEST)]
    # Not `--release`: a Java without a compiler has no signatures of older ones either.
    jars = prepare_jars(compiler_lock(), progress)
    main = "org.eclipse.jdt.internal.compiler.batch.Main"
    return [str(java.program), "-cp", class_path(jars), main, f"-{OLDEST}"]
