"""What the page is made of: sections, whose parts are HTML or pictures; nothing else lists what a report shows."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple, Protocol

from emotion_circuits.report._canvas import TITLE, Canvas, svg_of
from emotion_circuits.report._style import Looks, inlined, theme_css

if TYPE_CHECKING:
    from emotion_circuits.report._results import ModelResults


class Drawing(Protocol):
    """What can draw itself, such as `Chart` and `CellMap`."""

    def draw(self, title: str) -> Canvas: ...

    def summary(self) -> str:
        """What stands out, in words."""
        ...


class Picture(NamedTuple):
    """A picture with the words around it.

    Attributes:
        path: below `plots/`, without an ending.
        drawing: what is drawn, once, for PNG, SVG and page.
        title: written above it; the page has headings instead.
        caption: how to read it.
        shown: on the page; others lie in `plots/` only.
    """

    path: str
    drawing: Drawing
    title: str
    caption: str = ""
    shown: bool = True

    def alt(self) -> str:
        """What it shows, for those who cannot see it."""
        return f"{self.title}. {self.drawing.summary()}"


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        title: its heading; "" for none.
        parts: HTML and pictures, in their order.
        level: of the heading.
        anchor: where links lead; those of level 2 stand in the contents, under `listed` or their title.
        folded: of level 2: it and what follows up to the next unfolds on a click.
    """

    title: str
    parts: Sequence[str | Picture] = ()
    level: int = 3
    anchor: str = ""
    listed: str = ""
    folded: bool = False


def anchor_of(*names: str) -> str:
    """What a link to something so named leads to; other names, other anchors, but for signs that no anchor may have."""
    return re.sub(r"[\s\"'<>&%#]+", "_", "-".join(names))


def inline_image(drawing: Drawing, title: str, looks: Looks) -> str:
    """An `img` that holds a drawing without its title, in its own light and dark colours."""
    words = f"{title}. {drawing.summary()}"
    svg = inlined(svg_of(drawing.draw(title), looks), looks, 0, words, 72 * TITLE)
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    svg = svg.replace("<svg", f"<svg {names}", 1).replace(">", f"><style>{theme_css(looks.colours)}</style>", 1)
    data = base64.b64encode(svg.encode()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(words)}">'


def pictured(model: ModelResults, key: str, title: str, drawing: Drawing, caption: str, *after: str) -> Section:
    """A section of one picture of a model, which is called by the section's title."""
    picture = Picture(f"{model.slug}/{key}", drawing, f"{model.name}: {title}", caption)
    return Section(title, [picture, *after])


def paragraph(text: str, css: str = "") -> str:
    """A paragraph; nothing without words."""
    kind = f' class="{css}"' if css else ""
    return f"<p{kind}>{escape(text)}</p>" if text else ""


def table(caption: str, columns: Sequence[str], body: Iterable[Sequence[str] | str], label: str = "") -> str:
    """A table that scrolls sideways where it must; a text heads the lines below it.

    Args:
        caption, columns, label: texts; a column whose name ends with a space holds numbers, at the right.
        body: lines of cells, which are HTML; a line's first cell names it.
    """
    css = [' class="n"' if name.endswith(" ") else "" for name in columns]
    head = "".join(f'<th scope="col"{c}>{escape(name.strip())}</th>' for name, c in zip(columns, css, strict=True))
    lines = []
    for line in body:
        if isinstance(line, str):
            lines.append(f'<tr><th class="group" colspan="{len(columns)}" scope="rowgroup">{line}</th></tr>')
        else:
            cells = (f"<td{c}>{cell}</td>" for cell, c in zip(line[1:], css[1:], strict=True))
            lines.append(f'<tr><th scope="row">{line[0]}</th>{"".join(cells)}</tr>')
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label or caption)}"><table><caption><span>'
        f"{escape(caption)}</span></caption><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def with_interval(value: str, between: str) -> str:
    """A number and, in grey, its interval."""
    return f'{value} <span class="ci">{between}</span>' if between else value
