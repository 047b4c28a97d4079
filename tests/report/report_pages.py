"""Reading a report as a browser would."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from emotion_circuits.report import Picture, read_results, sections

MODELS = {"reference/gpt2": "reference--gpt2", "org/model": "org--model"}


class Page(HTMLParser):
    """What a browser would find: elements with their attributes, and the text that is shown."""

    _VOID = frozenset(("meta", "img", "br", "link", "input", "hr"))

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.html = html
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[str] = []
        self.rows: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in self._VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")
        if tag == "tr":
            self.rows.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif not self.open or self.open[-1] != "style":
            self.text += data
            if "tr" in self.open:
                self.rows[-1] += data

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def read_page(folder: Path) -> Page:
    return Page((folder / "report" / "index.html").read_text(encoding="utf-8"))


def pictures_in(folder: Path) -> dict[str, Picture]:
    """A folder's pictures by their paths, not drawn."""
    parts = [part for section in sections(read_results(folder)) for part in section.parts]
    return {part.path: part for part in parts if isinstance(part, Picture)}
