"""Scenario files: reading them with every mistake reported at once, changing single fields, and writing them back."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path as FilePath
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from scenarios import shipped
from scenarios.assignments import Assignment, assign, parse_assignment
from scenarios.checks import apart_from, findings
from scenarios.errors import Path, Problem, ScenarioError, format_path, nearest
from scenarios.plain_words import translate
from scenarios.repair import repaired
from scenarios.schema import Scenario
from scenarios.sweeps import sweep_findings
from scenarios.yaml_text import MOST_BYTES, Marked, read_yaml, write_yaml

Model = TypeVar("Model", bound=BaseModel)
MOST_SHOWN = 200
"""Mistakes beyond it are counted, not shown."""
_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True)
class LoadedScenario:
    """A valid scenario, the text that it can be read from again (assignments included), and where it came from."""

    scenario: Scenario
    text: str
    source: str


def load_scenario(path_or_name: str | FilePath, settings: Sequence[str] = ()) -> LoadedScenario:
    """Read a scenario from a file, or a shipped one by name; raise ScenarioError with every mistake."""
    path = _find(path_or_name)
    return load_text(read_text(path, str(path_or_name)), str(path_or_name), settings)


def load_text(text: str, source: str = "scenario", settings: Sequence[str] = ()) -> LoadedScenario:
    """Read a scenario from text; `settings` are assignments such as `groups.fulfilment.members=6`."""
    marked = read_yaml(text, source)
    assignments = _apply(marked, settings, source)
    scenario = validated(Scenario, marked, source, assignments)
    return LoadedScenario(scenario, write_yaml(marked.value) if settings else text, source)


def scenario_text(scenario: Scenario) -> str:
    """Return YAML text that reads back as an equal scenario; comments of its file are not in it."""
    return write_yaml(scenario.model_dump(mode="json", by_alias=True, exclude_unset=True))


def read_text(path: FilePath, source: str) -> str:
    """Return a file's text; raise ScenarioError that says why it cannot be read."""
    if path.is_dir():
        inside = sorted(p.name for p in path.iterdir() if p.suffix in _ENDINGS)
        hint = f"; in it there is {', '.join(inside[:10])}" if inside else ""
        raise ScenarioError(source, [Problem("", f"is a folder; name a file{hint}")])
    try:
        with path.open("rb") as file:
            content = file.read(4 * MOST_BYTES + 1)
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise ScenarioError(source, [Problem("", f"there is no such file{_shipped_hint(source)}")]) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise ScenarioError(source, [Problem("", message, line)]) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ScenarioError(source, [Problem("", f"cannot be read: {reason}")]) from None


def validated(model: type[Model], marked: Marked, source: str, assignments: Sequence[Assignment] = ()) -> Model:
    """Return a file's value as a model; raise ScenarioError with what the schema and the cross checks find."""
    try:
        result = model.model_validate(marked.value, by_alias=True, by_name=False)
    except ValidationError as error:
        wrong = list(translate(error, model, marked.value, MOST_SHOWN))
        broken = [place for place, _ in wrong]
        if model is Scenario and len(wrong) < MOST_SHOWN and (whole := repaired(marked.value, broken)) is not None:
            scenario, made_up = whole
            wrong += [
                (f.path, f.message)
                for f in apart_from(list(islice(findings(scenario), MOST_SHOWN)), made_up, marked.value)
            ]
        raise ScenarioError(source, problems_at(wrong, marked, assignments)) from None
    if isinstance(result, Scenario):
        across = [(finding.path, finding.message) for finding in islice(findings(result), MOST_SHOWN)]
        across += islice(sweep_findings(result, marked.value), MOST_SHOWN)
        if across:
            raise ScenarioError(source, problems_at(across, marked, assignments))
    return result


def problems(scenario: Scenario) -> list[Problem]:
    """Return what does not fit together in a scenario that was made in Python."""
    return [Problem(format_path(finding.path), finding.message) for finding in findings(scenario)]


def problems_at(
    found: Sequence[tuple[Path, str]], marked: Marked, assignments: Sequence[Assignment] = ()
) -> list[Problem]:
    """Return findings as problems with their lines, in the order of the file."""
    problems = []
    for path, message in found:
        origin = next((a for a in reversed(assignments) if _concerns(a, path, marked)), None)
        line, column = (None, None) if origin else marked.mark(path)
        said = f"{message} (it comes from --set {origin.text})" if origin else message
        problems.append(Problem(format_path(path), said, line, column))
    return sorted(dict.fromkeys(problems), key=lambda p: (p.line or 0, p.column or 0))


def _concerns(assignment: Assignment, path: Path, marked: Marked) -> bool:
    length = min(len(path), len(assignment.path))
    around = len(path) >= len(assignment.path) or path not in marked.marks
    return around and length > 0 and path[:length] == assignment.path[:length]


def _apply(marked: Marked, settings: Sequence[str], source: str) -> list[Assignment]:
    assignments, problems = [], []
    for text in settings:
        try:
            assignment = parse_assignment(text)
            assign(marked.value, assignment)
            assignments.append(assignment)
        except ValueError as error:
            problems.append(Problem("", f"--set {text}: {error}"))
    if problems:
        raise ScenarioError(source, problems)
    return assignments


def _find(path_or_name: str | FilePath) -> FilePath:
    path = FilePath(path_or_name)
    name = str(path_or_name)
    if not path.exists() and name in shipped.scenario_names():
        return shipped.scenario_path(name)
    return path


def _shipped_hint(name: str) -> str:
    return nearest(FilePath(name).stem, shipped.scenario_names()).replace("there is", "shipped scenarios are")
