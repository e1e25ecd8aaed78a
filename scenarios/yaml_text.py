"""YAML 1.2 text as plain values with the line of each: no tags, no repeats, nothing executed. Meaning is left to the schema."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.nodes import MappingNode
from ruamel.yaml.representer import SafeRepresenter

from scenarios.errors import Path, Problem, ScenarioError, format_path

MOST_BYTES = 2**20
DEEPEST = 32
MOST_VALUES = 200_000
"""Values after aliases are expanded; a "billion laughs" file stops here."""

_NULL = re.compile(r"(null|Null|NULL|~|)\Z")
_TRUE = re.compile(r"(true|True|TRUE)\Z")
_FALSE = re.compile(r"(false|False|FALSE)\Z")
_INT = re.compile(r"[-+]?[0-9]+\Z")
_OTHER_BASE = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_SPECIAL = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}
_LONGEST_NUMBER = 400


@dataclass(frozen=True)
class Marked:
    """A file's value, and where each part of it begins (line and column from 1)."""

    value: Any
    marks: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def mark(self, path: Path) -> tuple[int, int] | tuple[None, None]:
        """Return line and column of a place, or of the nearest one around it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.marks:
                return self.marks[path[:length]]
        return None, None


class _Written(float):
    """A number with a point, which remembers its digits."""

    def __new__(cls, text: str) -> "_Written":
        number = super().__new__(cls, text)
        number.text = text
        return number

    text: str


def written_number(value: object) -> object:
    """Return a number's digits as the file has them, such as `4.10`; anything else as it is."""
    if isinstance(value, _Written):
        return value.text
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


@dataclass
class _Node:
    """A value before aliases are expanded; entries of a mapping carry the place of their key."""

    value: Any
    place: tuple[int, int]
    entries: list[tuple[str | int, tuple[int, int], "_Node"]] | None = None
    closed: bool = False


def read_yaml(text: str, source: str) -> Marked:
    """Return a document's value with places; raise ScenarioError with all repeats, or with the first broken line."""
    if len(text) > MOST_BYTES:
        raise ScenarioError(source, [Problem("", f"the file is longer than {MOST_BYTES // 2**20} MiB; split it up")])
    problems: list[Problem] = []
    try:
        root = _compose(_events(text), problems)
    except _RefusedError as refused:
        raise ScenarioError(source, [*problems, refused.problem]) from None
    except YAMLError as error:
        raise ScenarioError(source, [*problems, _syntax_problem(error, text)]) from None
    if root is None:
        raise ScenarioError(source, [*problems, Problem("", "the file is empty", 1, 1)])
    marked = Marked(None)
    try:
        value = _expand(root, (), marked.marks, problems)
    except _RefusedError as refused:
        raise ScenarioError(source, [*problems, refused.problem]) from None
    if problems:
        raise ScenarioError(source, problems)
    return Marked(value, marked.marks)


class _Plainly(SafeRepresenter):
    """Writes the outermost fields one a line, and repeats what is there twice instead of pointing to it."""

    def represent(self, data: Any) -> None:
        node = self.represent_data(data)
        if isinstance(node, MappingNode):
            node.flow_style = False
        self.serializer.serialize(node)

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, data: str) -> Any:
        # The writer leaves `?0` and `:0` plain inside [...] and {...}, where the reader takes the mark for a key's or a value's.
        style = "'" if data.startswith(("?", ":")) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    def represent_written(self, data: _Written) -> Any:
        return self.represent_scalar("tag:yaml.org,2002:float", data.text)


_Plainly.add_representer(_Written, _Plainly.represent_written)
_Plainly.add_representer(str, _Plainly.represent_text)


def write_yaml(value: object) -> str:
    """Return a value as YAML text that `read_yaml` reads back as the same."""
    writer = YAML(typ="safe", pure=True)
    writer.Representer = _Plainly
    writer.default_flow_style = None  # lets short parts flow
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # inferred from its None
    writer.width = 120
    stream = StringIO()
    writer.dump(value, stream)
    return stream.getvalue()


class _RefusedError(Exception):
    """Stops reading at something that makes the rest meaningless."""

    def __init__(self, message: str, place: tuple[int, int]) -> None:
        self.problem = Problem("", message, *place)
        super().__init__(message)


def _events(text: str) -> Iterator[Event]:
    reader = YAML(typ="safe", pure=True)
    try:
        yield from reader.parse(text)
    except YAMLError:
        raise
    except Exception as error:  # the parser asserts some of what it reads, such as `%YAML 1.0`
        raise _RefusedError(f"is not YAML 1.2: {str(error) or type(error).__name__}", (1, 1)) from error


def _place(event: Event) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _compose(events: Iterator[Event], problems: list[Problem]) -> _Node | None:
    """Build the tree without recursion, so that no depth of nesting can overflow the stack."""
    open_nodes: list[_Node] = []
    pending_keys: list[tuple[str, tuple[int, int]] | None] = []
    anchors: dict[str, _Node] = {}
    root: _Node | None = None
    documents = 0

    def add(node: _Node) -> None:
        nonlocal root
        if not open_nodes:
            root = node
            return
        parent = open_nodes[-1]
        assert parent.entries is not None
        if parent.value is list:
            parent.entries.append((len(parent.entries), node.place, node))
        elif pending_keys[-1] is None:
            pending_keys[-1] = (_key_text(node), node.place)
        else:
            key, place = pending_keys[-1]
            pending_keys[-1] = None
            parent.entries.append((key, place, node))

    for event in events:
        match event:
            case DocumentStartEvent():
                documents += 1
                if documents > 1:
                    raise _RefusedError("a second document begins here (`---`); a file holds one", _place(event))
            case ScalarEvent():
                node = _Node(_scalar(event, problems), _place(event))
                # A key keeps its letters: the topic `010` is not the topic `10`.
                awaits_key = bool(open_nodes) and open_nodes[-1].value is dict and pending_keys[-1] is None
                add(_Node(str(event.value), _place(event)) if awaits_key else node)
                if event.anchor:
                    anchors[event.anchor] = node
                    node.closed = True
            case MappingStartEvent() | SequenceStartEvent():
                kind = dict if isinstance(event, MappingStartEvent) else list
                node = _Node(kind, _place(event), entries=[])
                if event.tag is not None and event.tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", "!"):
                    problems.append(
                        Problem("", f"a value has the tag {event.tag!r}; tags are not used here", *_place(event))
                    )
                add(node)
                if event.anchor:
                    anchors[event.anchor] = node
                open_nodes.append(node)
                pending_keys.append(None)
                if len(open_nodes) > DEEPEST:
                    raise _RefusedError(f"this is nested more than {DEEPEST} levels deep", _place(event))
            case MappingEndEvent() | SequenceEndEvent():
                open_nodes.pop().closed = True
                pending_keys.pop()
            case AliasEvent():
                target = anchors.get(event.anchor)
                if target is None or not target.closed:
                    known = f"; there is {', '.join(anchors)}" if anchors else ""
                    raise _RefusedError(f"the alias *{event.anchor} refers to no finished anchor{known}", _place(event))
                add(_Node(target.value, _place(event), target.entries, closed=True))
            case _:
                pass
    return root


def _key_text(node: _Node) -> str:
    if node.entries is not None:
        raise _RefusedError("a field's name is one word, not a list or a mapping", node.place)
    return str(node.value)


def _scalar(event: ScalarEvent, problems: list[Problem]) -> object:
    text = str(event.value)
    if event.tag in ("tag:yaml.org,2002:str", "!"):
        return text
    if event.tag is not None and event.tag not in (
        "tag:yaml.org,2002:int",
        "tag:yaml.org,2002:float",
        "tag:yaml.org,2002:bool",
        "tag:yaml.org,2002:null",
    ):
        problems.append(Problem("", f"a value has the tag {event.tag!r}; tags are not used here", *_place(event)))
        return text
    return plain_value(text) if not event.style else text


def plain_value(text: str) -> object:
    """Return what a word without quotes means in YAML 1.2: `on` is a word and `010` is ten."""
    if _NULL.match(text):
        return None
    if _TRUE.match(text):
        return True
    if _FALSE.match(text):
        return False
    if len(text) > _LONGEST_NUMBER:
        return text
    if _INT.match(text):
        return int(text)
    if _OTHER_BASE.match(text):
        return int(text[2:], 8 if text[1] == "o" else 16)
    if _FLOAT.match(text):
        return _Written(text)
    special = _SPECIAL.get(text.lower())
    return float(special) if special else text


def _expand(node: _Node, path: Path, marks: dict[Path, tuple[int, int]], problems: list[Problem]) -> Any:
    if len(marks) >= MOST_VALUES:
        raise _RefusedError(f"the aliases of this file make more than {MOST_VALUES:,} values of it", node.place)
    if len(path) > DEEPEST:
        raise _RefusedError(f"this is nested more than {DEEPEST} levels deep", node.place)
    marks.setdefault(path, node.place)
    if node.entries is None:
        return node.value
    if node.value is list:
        return [_expand(inner, (*path, index), marks, problems) for index, _, inner in node.entries]
    value: dict[str | int, Any] = {}
    for key, place, inner in node.entries:
        here = (*path, key)
        if key == "<<":
            problems.append(
                Problem(format_path(path), "has `<<`; YAML 1.2 has no merging, write the fields out", *place)
            )
            continue
        if key in value:
            first = marks[here][0]
            problems.append(Problem(format_path(here), f"is there twice (first in line {first}); keep one", *place))
            continue
        marks[here] = place
        value[key] = _expand(inner, here, marks, problems)
    return value


def _syntax_problem(error: YAMLError, text: str) -> Problem:
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        offender = re.search(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
        if offender:
            line = text.count("\n", 0, offender.start()) + 1
            return Problem("", f"holds the character {offender[0]!a}, which no text file holds", line)
        return Problem("", f"is not YAML: {str(error).splitlines()[0]}")
    line, column = error.problem_mark.line + 1, error.problem_mark.column + 1
    rows = text.split("\n")
    row = rows[line - 1] if line <= len(rows) else ""
    return Problem("", _syntax_message(error, row, column), line, column)


def _syntax_message(error: MarkedYAMLError, row: str, column: int) -> str:
    problem = str(error.problem)
    context = str(error.context or "")
    if row.startswith("\t") or row[column - 1 : column] == "\t":
        return "a tab stands where spaces must; YAML indents with spaces only"
    if "flow" in context and ("got '['" in problem or "got '{'" in problem):
        return 'inside [...] or {...} a text with brackets is quoted: "gap[orders] < 12s"'
    if "flow" in context or "end of stream" in problem or "<stream end>" in problem:
        what = "quoted text" if "scalar" in context else "[ or {"
        return f"a {what} that begins in line {_context_line(error)} is not closed properly ({problem})"
    if "mapping values are not allowed" in problem:
        return "a second `:` stands in this line, or its indentation is off; quote a text that holds `: `"
    if "cannot start any token" in problem:
        return f"{row[column - 1 : column]!r} cannot begin a value; put the text in quotes"
    if "expected <block end>" in problem or "could not find expected ':'" in problem:
        return "this line does not fit those above: its indentation is off, or a `:` or `- ` is missing"
    return f"is not YAML here: {problem}"


def _context_line(error: MarkedYAMLError) -> int:
    mark = error.context_mark or error.problem_mark
    return int(mark.line) + 1 if mark else 1
