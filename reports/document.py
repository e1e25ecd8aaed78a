"""Pages that are made of sections with sentences, tables and figures, in the look that all pages have."""

from dataclasses import dataclass
from pathlib import Path

from reports.drawing import Drawing
from reports.rendering import environment, version
from reports.sections.badges import Badge


@dataclass(frozen=True)
class Cell:
    """One cell of a table: a text, perhaps a verdict, and smaller words under it."""

    text: str
    badge: Badge | None = None
    under: str = ""
    link: str = ""
    """Where the text leads: a runbook's address, as the scenario gives it."""


@dataclass(frozen=True)
class Table:
    """Rows under heads; the first cell of a row is its head."""

    heads: tuple[str, ...]
    rows: tuple[tuple[Cell | str, ...], ...]
    numbers: frozenset[int] = frozenset()
    """Columns that hold figures."""
    chosen: int | None = None
    """The row that the answer is in."""

    @property
    def cells(self) -> list[list[Cell]]:
        """Every cell as one."""
        return [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in self.rows]


@dataclass(frozen=True)
class Listing:
    """Words in a list, in their order."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Text as it is written in a file."""

    text: str


@dataclass(frozen=True)
class Small:
    """A remark under what it is about."""

    text: str


Block = str | Table | Listing | Code | Small | Drawing
"""A string is a paragraph."""


@dataclass(frozen=True)
class Section:
    """A question and its answer."""

    id: str
    title: str
    blocks: tuple[Block, ...]
    nav: str = ""
    """Its name among the links above; its title where that is short enough."""


@dataclass(frozen=True)
class Tile:
    """A question with the answer in three words, which links to its section."""

    question: str
    answer: str
    detail: str
    href: str
    state: str = ""
    """good | bad | unsure"""


@dataclass(frozen=True)
class Document:
    """Everything that a page says."""

    kicker: str
    headline: str
    subtitle: str
    sections: tuple[Section, ...]
    tiles: tuple[Tile, ...] = ()
    notices: tuple[str, ...] = ()
    lead: str = ""
    refresh_s: int | None = None
    """So often a page that is written anew loads itself again."""


def render_document(document: Document) -> str:
    """Return the page as HTML."""
    kinds = {Table: "table", Listing: "listing", Code: "code", Small: "small", Drawing: "figure", str: "text"}
    sections = [
        {"id": s.id, "title": s.title, "blocks": [(kinds[type(block)], block) for block in s.blocks]}
        for s in document.sections
    ]
    nav = [(s.id, s.nav or s.title) for s in document.sections]
    template = environment().get_template("document.html")
    return template.render(page=document, parts=sections, nav=nav, version=version())


def write_document(path: Path, document: Document) -> None:
    """Write the page; who reads it meanwhile sees the old one or the new one, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.new")
    half.write_text(render_document(document), "utf-8")
    half.replace(path)


def drawings_in(document: Document) -> list[Drawing]:
    """Return the figures of a page."""
    return [block for section in document.sections for block in section.blocks if isinstance(block, Drawing)]


def markdown(document: Document) -> str:
    """Return what the page says as Markdown, figures by their sentences."""
    parts = [f"# {document.headline}", document.subtitle, *document.notices, document.lead]
    for section in document.sections:
        parts.append(f"## {section.title}")
        parts += [_markdown_block(block) for block in section.blocks]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_block(block: Block) -> str:
    match block:
        case Table():
            lines = [list(block.heads), ["---"] * len(block.heads), *([_plain(c) for c in row] for row in block.cells)]
            return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        case Listing():
            return "\n".join(f"- {item}" for item in block.items)
        case Code():
            return f"```\n{block.text.rstrip()}\n```"
        case Small():
            return block.text
        case Drawing():
            return f"*{block.title}*: {block.caption}"
        case _:
            return block


def _plain(cell: Cell) -> str:
    text = f"[{cell.text}]({cell.link})" if cell.link else cell.text
    said = f"{text} {cell.badge.symbol} {cell.badge.word}".strip() if cell.badge else text
    return f"{said} ({cell.under})" if cell.under else said
