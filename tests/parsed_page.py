"""A page as a browser reads it: elements that are not closed, ids, links and words."""

import re
from collections.abc import Mapping
from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Parsed(HTMLParser):
    """Keeps the stack of open elements, and what a test asks about."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.problems: list[str] = []
        self.attributes: list[tuple[str, Mapping[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        self.problems += [f"{tag} is never closed" for tag in self.stack]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop() != tag:
            self.problems.append(f"</{tag}> at {self.getpos()} closes something else")

    def handle_data(self, data: str) -> None:
        if not self.stack or self.stack[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))
