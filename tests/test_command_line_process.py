"""The command line as a process of its own: what it imports, where it can be started, and how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CONSOLE_SCRIPT = Path(sys.executable).with_name("eventdrill")
MODULE = [sys.executable, "-m", "eventdrill"]
HEAVY = {
    "numpy",
    "pandas",
    "numba",
    "pyarrow",
    "scipy",
    "matplotlib",
    "simpy",
    "confluent_kafka",
    "locust",
    "rich",
}


def call(command: list[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH", "NO_COLOR")
    }
    return subprocess.run(
        command, cwd=cwd, env=env | environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("arguments", [["--help"], ["simulate", "--help"], ["cluster", "up", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    """Each of these libraries takes longer to import than people wait for help."""
    found = call([sys.executable, "-X", "importtime", str(CONSOLE_SCRIPT), *arguments], tmp_path)

    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in found.stderr.splitlines() if "|" in line}
    assert found.returncode == 0
    assert "typer" in imported
    assert imported & HEAVY == set()


def test_importing_the_package_imports_nothing_heavy(tmp_path: Path) -> None:
    """Names come when they are used; `dir` knows them before."""
    code = "import sys, eventdrill as ed; assert 'simulate' in dir(ed); print(*{name.split('.')[0] for name in sys.modules})"
    found = call([sys.executable, "-P", "-c", code], tmp_path)

    assert set(found.stdout.split()) & HEAVY == set()


def test_an_unknown_name_of_the_package_is_told_with_the_known_ones(tmp_path: Path) -> None:
    found = call([sys.executable, "-P", "-c", "import eventdrill; eventdrill.simulat"], tmp_path)

    assert "module 'eventdrill' has no attribute 'simulat'; it has Run, Scenario, capacity, drive" in found.stderr


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A working folder whose files have the names of our packages."""
    for name in ("sim", "scenarios", "rundata"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one was imported')\n")
    for name in ("reports", "loadgen"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong one was imported')\n")
    return tmp_path


@pytest.mark.parametrize("command", [[str(CONSOLE_SCRIPT)], MODULE], ids=["console script", "python -m"])
def test_a_working_folder_with_names_like_ours_is_not_in_the_way(crowded: Path, command: list[str]) -> None:
    """Neither the console script nor `python -m` takes the user's `sim.py` for ours."""
    found = call([*command, "check", "leader-crash"], crowded)

    assert (found.returncode, found.stderr) == (0, "")
    assert "leader-crash: valid" in found.stdout


def test_a_file_in_the_way_is_named(crowded: Path) -> None:
    """Where PYTHONPATH puts the folder first, the message names the file, and nothing else happens."""
    found = call([str(CONSOLE_SCRIPT), "check", "leader-crash"], crowded, PYTHONPATH=str(crowded))

    assert (found.returncode, found.stdout) == (2, "")
    assert str(crowded / "sim.py") in found.stderr
    assert "Traceback" not in found.stderr


def test_an_import_names_the_file_in_the_way(crowded: Path) -> None:
    """In a notebook the working folder comes first; the error says which file to rename."""
    found = call([sys.executable, "-c", "import eventdrill as ed; ed.load('leader-crash')"], crowded)

    assert f"`import sim` finds {crowded / 'sim.py'}" in found.stderr


def test_a_folder_of_reports_without_code_is_fine(tmp_path: Path) -> None:
    """`reports/` is where people keep reports."""
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "july.html").write_text("")

    found = call(
        [sys.executable, "-c", "import eventdrill as ed; print(ed.load('leader-crash').scenario.scenario)"], tmp_path
    )

    assert found.stdout == "leader-crash\n"


def test_output_into_a_file_has_no_colours(tmp_path: Path) -> None:
    """No escape sequence, whatever the environment says about colours."""
    found = call([str(CONSOLE_SCRIPT), "list"], tmp_path, FORCE_COLOR="1", TTY_COMPATIBLE="1")

    assert (found.returncode, "\x1b" in found.stdout) == (0, False)


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_colours_unless_no_color_is_set(tmp_path: Path, no_color: str, coloured: bool) -> None:
    """A pseudo-terminal stands for the user's."""
    code = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"
    found = call(
        [sys.executable, "-c", code, str(CONSOLE_SCRIPT), "list"], tmp_path, NO_COLOR=no_color, TERM="xterm-256color"
    )

    assert found.returncode == 0
    assert ("\x1b[" in found.stdout) is coloured


def test_a_reader_that_leaves_early_changes_nothing(tmp_path: Path) -> None:
    """`eventdrill list | head -1` ends with 0, without a word."""
    with subprocess.Popen(
        [str(CONSOLE_SCRIPT), "list"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        process.wait(60)

    assert (process.returncode, said) == (0, b"")


def test_json_is_one_document_also_under_a_narrow_locale(tmp_path: Path) -> None:
    """Nothing else stands on standard output, and it reads back."""
    found = call([str(CONSOLE_SCRIPT), "list", "--json"], tmp_path, LC_ALL="C")

    assert set(json.loads(found.stdout)) == {"scenarios", "profiles", "faults", "actions", "brokers", "indicators"}
