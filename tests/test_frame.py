"""The frame around the code: who may import whom, pinned versions, the commands that the README names, pages made from the code."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINNED = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
CODE = ("scenarios", "sim", "loadgen", "rundata", "reports", "eventdrill")


def _tool(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=240
    )


def test_imports_go_one_way() -> None:
    """scenarios <- rundata <- sim, loadgen, reports (none of which knows another) <- eventdrill; one module knows Locust."""
    found = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.returncode == 0, found.stdout


def test_no_module_of_ours_imports_more_than_its_layer_in_a_child_process() -> None:
    """Packages are empty at their top, so that a child process imports its own module and little else."""
    heavy = {name: (ROOT / name / "__init__.py").read_text() for name in CODE if name != "eventdrill"}

    assert [name for name, text in heavy.items() if "import" in text] == []


def test_every_dependency_is_pinned() -> None:
    """Also those of the extras and of the tools, so that two machines install the same."""
    wanted = [
        *PROJECT["project"]["dependencies"],
        *PROJECT["dependency-groups"]["dev"],
        *PROJECT["build-system"]["requires"],
    ]
    wanted += [
        each
        for name, extra in PROJECT["project"]["optional-dependencies"].items()
        if name != "notebooks"
        for each in extra
    ]
    names = {_normal(re.split(r"[<>=!~\[; ]", each, maxsplit=1)[0]) for each in wanted}

    assert names - {_normal(name) for name in PINNED} == set()


def test_the_versions_that_run_here_are_the_pinned_ones() -> None:
    """What the tests say is said of the versions that people get."""
    wrong = {}
    for name, version in PINNED.items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # an extra that is not installed here
        if installed != version:
            wrong[name] = (installed, version)

    assert wrong == {}


def test_the_pins_carry_no_addresses() -> None:
    """Names and versions only: where packages come from is the user's business."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()

    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9A-Za-z.+!]+", line)] == []
    assert lines == sorted(lines, key=str.lower)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_makefile_has_what_the_readme_names() -> None:
    """`make demo` and `make test` work as written, and help lists every target."""
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY:(.*)$", makefile, re.MULTILINE)

    assert {"demo", "test"} < targets
    assert phony is not None and set(phony.group(1).split()) == targets
    assert {target for target in targets if f"make {target}" not in shown} == set()
    assert set(re.findall(r"`?make ([a-z]+)", (ROOT / "README.md").read_text())) <= targets


def test_continuous_integration_runs_what_people_run() -> None:
    """One command, executable."""
    script = ROOT / ".ci" / "run"

    assert script.stat().st_mode & 0o111
    assert "make test" in script.read_text()


def _links() -> list[tuple[str, str]]:
    pages = [ROOT / "README.md", ROOT / "DESIGN.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [
        (str(page.relative_to(ROOT)), link)
        for page in pages
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
        if not link.startswith(("http:", "https:"))
    ]


@pytest.mark.parametrize(("page", "link"), _links())
def test_no_page_points_nowhere(page: str, link: str) -> None:
    assert (ROOT / page).parent.joinpath(link).exists()


def _generator() -> ModuleType:
    loader = SourceFileLoader("docs_generate", str(ROOT / "docs" / "generate.py"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_pages_made_from_the_code_are_up_to_date() -> None:
    """`make docs` changes nothing."""
    stale = [page.name for page, text in _generator().pages().items() if page.read_text("utf-8") != text]

    assert stale == [], "run `make docs` and commit what it writes"


def test_the_examples_of_the_guide_are_valid() -> None:
    """The smallest scenario of the guide is one, and the guide's other pieces fit into it."""
    from scenarios.files import load_text

    guide = (ROOT / "docs" / "scenario-file.md").read_text()
    pieces = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    smallest = next(piece for piece in pieces if piece.startswith("scenario:"))
    assert load_text(smallest, "the guide").scenario.scenario == "smallest"

    whole = "\n".join(piece for piece in pieces if re.match(r"(producers|groups|faults|objectives):", piece))
    head = "scenario: guide\nduration: 75s\nbrokers: {kind: kafka}\ntopics: {orders: {partitions: 6}, orders.dlq: {}}\n"
    assert len(load_text(head + whole, "the guide").scenario.faults) == 3
