"""The jars of a local Kafka: from several places, and exactly those of the lock."""

import hashlib
import re
import shutil
import sys
from pathlib import Path

import pytest

from loadgen.clusters.jars import (
    Jar,
    Lock,
    can_have_jars,
    local_repository,
    prepare_jars,
    read_lock,
    versions,
)
from loadgen.clusters.model import ClusterError

ONE = Jar("org.example", "one", "1.0", 3, hashlib.sha256(b"one").hexdigest())
TWO = Jar("org.example.deep", "two", "2.0", 3, hashlib.sha256(b"two").hexdigest())
LOCK = Lock("9.9.9", (ONE, TWO), "f" * 64)
SMALLEST = "org.jspecify:jspecify:1.0.0"


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has no jar and no tool to fetch one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("EVENTDRILL_KAFKA_JARS", raising=False)
    monkeypatch.setitem(sys.modules, "jgo", None)
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    return tmp_path


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def prepare(lock: Lock = LOCK) -> tuple[list[Path], list[str]]:
    said: list[str] = []
    return prepare_jars(lock, said.append), said


def test_a_release_line_means_its_newest_locked_version():
    """`4.2` is 4.2.1, with the 46 jars that were measured."""
    lock = read_lock("4.2")

    assert (lock.version, len(lock.jars), sum(jar.size_bytes for jar in lock.jars)) == ("4.2.1", 46, 44_978_551)
    assert read_lock("4.2.1") is not None
    assert [read_lock(each).version for each in versions()] == versions()


def test_an_unknown_version_names_the_known_ones():
    with pytest.raises(
        ClusterError, match=re.escape("brokers.version is 4x; a local Kafka can be one of 4.0.2, 4.1.2")
    ):
        read_lock("4x")
    with pytest.raises(ClusterError, match=re.escape("brokers.version is 2.8")):
        read_lock("2.8")


def test_every_lock_names_each_jar_once_and_the_binding_for_logs():
    for version in versions():
        jars = read_lock(version).jars
        assert len({jar.name for jar in jars}) == len(jars)
        assert {"kafka_2.13", "log4j-slf4j-impl", "log4j-core"} <= {jar.artifact for jar in jars}
        assert next(jar for jar in jars if jar.artifact == "kafka-clients").version == version


def test_a_directory_that_the_user_names_comes_first(nowhere: Path, monkeypatch: pytest.MonkeyPatch):
    """Flat or laid out as a repository, and copied into the cache, from where it is taken the next time."""
    put(nowhere / "mine" / "one-1.0.jar", b"one")
    put(nowhere / "mine" / "org" / "example" / "deep" / "two" / "2.0" / "two-2.0.jar", b"two")
    monkeypatch.setenv("EVENTDRILL_KAFKA_JARS", str(nowhere / "mine"))

    paths, said = prepare()

    libs = nowhere / "cache" / "eventdrill" / "kafka" / "9.9.9-ffffffffffff" / "libs"
    assert [libs / "one-1.0.jar", libs / "two-2.0.jar"] == paths
    assert [f"Kafka jars: 2 (0 MiB) from directory {nowhere / 'mine'}"] == said
    assert prepare()[1] == []


def test_the_local_repository_gives_what_the_directory_lacks(nowhere: Path, monkeypatch: pytest.MonkeyPatch):
    put(nowhere / "mine" / "one-1.0.jar", b"one")
    put(nowhere / "m2" / "org" / "example" / "deep" / "two" / "2.0" / "two-2.0.jar", b"two")
    monkeypatch.setenv("EVENTDRILL_KAFKA_JARS", str(nowhere / "mine"))

    _, said = prepare()

    assert f"Kafka jars: 1 (0 MiB) from local Maven repository {nowhere / 'm2'}" == said[-1]


def test_a_tampered_jar_is_refused_and_said_to_be_so(nowhere: Path, monkeypatch: pytest.MonkeyPatch):
    """Same name and same size are not enough."""
    put(nowhere / "mine" / "one-1.0.jar", b"one")
    put(nowhere / "mine" / "two-2.0.jar", b"TWO")
    monkeypatch.setenv("EVENTDRILL_KAFKA_JARS", str(nowhere / "mine"))

    with pytest.raises(ClusterError) as error:
        prepare()

    text = str(error.value)
    assert "1 of the 2 jars of Kafka 9.9.9 cannot be had (org.example.deep:two:2.0 is one)" in text
    assert f"directory {nowhere / 'mine'}: size or SHA-256 differs from the lock: two-2.0.jar (1 in all)" in text
    assert not (LOCK.directory / "libs" / "two-2.0.jar").exists()


def test_a_jar_that_was_changed_in_the_cache_is_fetched_anew(nowhere: Path, monkeypatch: pytest.MonkeyPatch):
    put(nowhere / "mine" / "one-1.0.jar", b"one")
    put(nowhere / "mine" / "two-2.0.jar", b"two")
    monkeypatch.setenv("EVENTDRILL_KAFKA_JARS", str(nowhere / "mine"))
    paths, _ = prepare()
    paths[0].write_bytes(b"bad")

    prepare()

    assert paths[0].read_bytes() == b"one"


def test_where_nothing_helps_the_error_tells_what_each_way_said(nowhere: Path):
    with pytest.raises(ClusterError) as error:
        prepare()

    assert [
        "2 of the 2 jars of Kafka 9.9.9 cannot be had (org.example:one:1.0 is one). Tried:",
        "  a directory named by EVENTDRILL_KAFKA_JARS: not set",
        f"  local Maven repository {nowhere / 'm2'}: no such directory",
        "  mvn: not on the PATH",
        "  jgo: not installed: pip install 'eventdrill[cluster]'",
        "Put Maven on the PATH, or `pip install 'eventdrill[cluster]'`, or name a directory in EVENTDRILL_KAFKA_JARS.",
    ] == str(error.value).splitlines()


def test_maven_that_fails_is_quoted(nowhere: Path):
    """Its exit status decides, and its first line with an error is passed on."""
    program = nowhere / "bin" / "mvn"
    put(program, b"#!/bin/sh\necho '[ERROR] no route to the repository'\nexit 1\n")
    program.chmod(0o755)

    with pytest.raises(ClusterError, match=re.escape("mvn: exit status 1: [ERROR] no route to the repository")):
        prepare()


def test_whether_jars_can_be_had_is_told_without_fetching(nowhere: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert "2 of 2 jars are missing. Put Maven" in (can_have_jars(LOCK) or "")
    put(nowhere / "mine" / "one-1.0.jar", b"one")
    put(nowhere / "mine" / "two-2.0.jar", b"two")

    assert can_have_jars(LOCK, given=nowhere / "mine") is None
    assert not (nowhere / "cache").exists()


def test_the_local_repository_is_the_one_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("M2_REPO", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_repository() == tmp_path / ".m2" / "repository"

    put(
        tmp_path / ".m2" / "settings.xml",
        b'<settings xmlns="http://maven.apache.org/SETTINGS/1.0.0">'
        b"<localRepository>${user.home}/jars</localRepository></settings>",
    )
    assert local_repository() == tmp_path / "jars"

    monkeypatch.setenv("M2_REPO", str(tmp_path / "other"))
    assert local_repository() == tmp_path / "other"


@pytest.mark.live
@pytest.mark.parametrize("tool", ["mvn", "jgo"])
def test_each_tool_fetches_a_locked_jar(tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One small jar, from an empty repository of its own."""
    if tool == "mvn" and shutil.which("mvn") is None:
        pytest.skip("Maven is optional, and not installed here")
    jar = next(each for each in read_lock("4.2").jars if each.coordinates == SMALLEST)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    monkeypatch.setenv("MAVEN_ARGS", f"-Dmaven.repo.local={tmp_path / 'maven'}")
    if tool == "jgo":
        monkeypatch.setenv("PATH", "/nowhere")

    paths, said = prepare(Lock("9.9.9", (jar,), "e" * 64))

    assert jar.is_in(paths[0])
    assert f"Kafka jars: 1 (0 MiB) from {tool}" == said[-1]
