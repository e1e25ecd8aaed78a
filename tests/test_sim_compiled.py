"""The compiler's cache: where it lies, and that a first run says what it waits for."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sim
from scenarios.files import load_text
from scenarios.profiles import IDEAL
from sim import compile_ahead, engine
from sim.compiled import cache_folder, must_compile
from sim.stretches.long_run import simulate_in_stretches

SOURCES = Path(sim.__file__).resolve().parent


@pytest.fixture
def told() -> Iterator[list[str]]:
    """Collect what is told instead of a line on standard error, as if nothing had been told yet."""
    lines: list[str] = []
    engine.tell_of_compiling.cache_clear()
    engine.tell_with(lines.append)
    yield lines
    engine.tell_of_compiling.cache_clear()
    engine.tell_with(engine._to_standard_error)


def test_the_cache_lies_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """In XDG_CACHE_HOME, else in ~/.cache; each state of the sources in a folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder().parent == tmp_path / "eventdrill" / "numba"

    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder().parent == Path.home() / ".cache" / "eventdrill" / "numba"


@pytest.mark.parametrize("own", [None, "elsewhere"])
def test_numba_is_told_of_the_cache_unless_the_user_chose_one(own: str | None, tmp_path: Path):
    """What Numba read when it was imported."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    if own is not None:
        environment["NUMBA_CACHE_DIR"] = str(tmp_path / own)
    command = "import sim.compiled, numba; print(numba.config.CACHE_DIR)"

    done = subprocess.run([sys.executable, "-c", command], env=environment, capture_output=True, text=True, check=True)

    expected = tmp_path / "eventdrill" / "numba" / cache_folder().name if own is None else tmp_path / own
    assert Path(done.stdout.strip()) == expected


def test_another_copy_of_the_same_sources_finds_what_was_compiled(tmp_path: Path):
    """Two folders with equal files have one place in the cache; functions of others have their own."""
    shutil.copytree(SOURCES, tmp_path / "sim", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "other.py").write_text("import numba\n\n\n@numba.njit(cache=True)\ndef half(x):\n    return x / 2\n")
    command = (
        "import sys, sim.compiled; sys.path.append(sys.argv[1]); from sim.kernel.loop import advance; import other;"
        "print(sim.compiled._HERE); print(advance.stats.cache_path); print(other.half.stats.cache_path)"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("NUMBA_CACHE_DIR", None)

    def told(folder: Path) -> list[str]:
        command_line = [sys.executable, "-c", command, str(tmp_path)]
        done = subprocess.run(command_line, cwd=folder, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    first, second = told(SOURCES.parent), told(tmp_path)
    place = tmp_path / "cache" / "eventdrill" / "numba" / cache_folder().name
    assert [first[0], second[0]] == [str(SOURCES), str(tmp_path / "sim")]
    assert first[1] == second[1] == str(place / "sim" / "kernel")
    assert Path(first[2]).parent == place
    assert Path(first[2]).name != "kernel"


def test_a_first_run_says_once_what_it_waits_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: list[str]):
    """An empty cache: one line, however many runs follow."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    compiles: list[bool] = []
    monkeypatch.setattr(engine, "compile_ahead", lambda: compiles.append(True))
    engine.tell_of_compiling()
    engine.tell_of_compiling()

    assert told == ["compiling the simulator, once on this machine: a minute or two"]
    assert compiles == [True]


def test_nothing_is_said_where_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: list[str]):
    """What is in the cache is not compiled again; without the compiler nothing ever is."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    engine.tell_of_compiling()
    assert not must_compile()

    monkeypatch.delenv("NUMBA_DISABLE_JIT")
    assert must_compile()
    (tmp_path / "sim").mkdir()
    (tmp_path / "sim" / "kernel.advance-1.py39.nbi").touch()
    assert must_compile()
    (tmp_path / "sim" / f"kernel.advance-1.py{sys.version_info.major}{sys.version_info.minor}.nbi").touch()
    engine.tell_of_compiling.cache_clear()
    engine.tell_of_compiling()

    assert told == []


def test_a_long_run_says_what_it_waits_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: list[str]):
    """Also one that needs no more than the single pass over quiet load."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    compiles: list[bool] = []
    monkeypatch.setattr(engine, "compile_ahead", lambda: compiles.append(True))
    scenario = load_text(compile_ahead._TINY_IN_ONE_PASS).scenario

    long = simulate_in_stretches(scenario, IDEAL, seed=1, resample=False)

    assert told == ["compiling the simulator, once on this machine: a minute or two"]
    assert compiles == [True]
    assert [each.how for each in long.placings] == ["exact"]


def test_all_that_quiet_stretches_call_is_compiled_ahead():
    """Of each function that Python calls there is one form, and compiling ahead makes it: so no later run compiles in silence."""
    command = (
        "import importlib, json, pathlib, sim.stretches; from sim.compile_ahead import quiet_stretches; quiet_stretches();"
        "names = [path.stem for path in pathlib.Path(sim.stretches.__path__[0]).glob('*_kernel.py')];"
        "found = [(name, each) for name in names for each in vars(importlib.import_module(f'sim.stretches.{name}')).values()];"
        "own = [(name, each) for name, each in found if hasattr(each, 'py_func') and each.py_func.__module__.endswith(name)];"
        "print(json.dumps({each.py_func.__name__: list(map(str, each.signatures)) for name, each in own"
        " if 'no_cpython_wrapper' not in each.targetoptions}))"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "0"}
    done = subprocess.run([sys.executable, "-c", command], env=environment, capture_output=True, text=True, check=True)
    known = json.loads(done.stdout)

    assert {name: len(forms) for name, forms in known.items()} == dict.fromkeys(known, 1)
    assert {"place", "place_even", "choose", "put_ties_in_order", "read", "look_on", "count_times"} <= known.keys()
    assert {"produce_all", "read_all", "invert", "uniforms", "as_work"} <= known.keys()


def test_a_kept_function_can_be_called_and_put_into_one_that_is_made_later(tmp_path: Path):
    """Three processes: one makes a function, another puts it into a new one, a third one finds both; nobody reads what it does not need."""
    (tmp_path / "halves.py").write_text(
        "from sim.compiled import entry\n\n\n@entry\ndef half(x):\n    return x // 2\n\n\n"
        "@entry\ndef quarter(x):\n    return half(half(x))\n"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "NUMBA_DISABLE_JIT": "0"}
    environment.pop("NUMBA_CACHE_DIR", None)

    def told(what: str) -> list[str]:
        command = f"import sys; sys.path.append(sys.argv[1]); from halves import half, quarter; {what}"
        done = subprocess.run(
            [sys.executable, "-c", command, str(tmp_path)], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    hits = "print(sum(half.stats.cache_hits.values()), sum(quarter.stats.cache_hits.values()))"
    kept = "library = next(iter(half.overloads.values())).library; print('unreachable' in str(library._shared_module))"
    assert told(f"print(half(40)); {hits}") == ["20", "0", "0"]
    assert told(f"print(quarter(40)); {hits}; {kept}") == ["10", "1", "0", "True"]
    assert told(f"print(half(40), quarter(41)); {hits}; {kept}") == ["20", "10", "1", "1", "True"]


def test_who_finds_everything_compiled_prepares_nothing_to_compile():
    """That would take 0.3 s and 50 MB of each process."""
    command = (
        "from sim.compile_ahead import quiet_stretches; quiet_stretches(); from numba.core.runtime import rtsys; "
        "from sim.stretches.ideal_kernel import read; print(rtsys._init, sum(read.stats.cache_hits.values()))"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "0"}
    for _ in range(2):  # the second one finds what the first one may have compiled
        done = subprocess.run(
            [sys.executable, "-c", command], env=environment, capture_output=True, text=True, check=True
        )

    assert done.stdout.split() == ["False", "1"]
