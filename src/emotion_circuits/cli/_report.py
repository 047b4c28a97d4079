"""The commands that draw finished results: the page, and single figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from emotion_circuits.cli._options import STORE_OPTIONS, Json, StoreOptions, command, flag
from emotion_circuits.cli._output import Table, emit
from emotion_circuits.errors import InputError

Language = Annotated[Literal["en", "ja"], flag(help="Of the words.")]


@command(example="report --results results")
def report(
    *,
    open_page: Annotated[bool, flag("--open", help="Show it in the browser.")] = False,
    language: Language = "en",
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Draw finished results again: every figure, and the page.

    The page is written in English and Japanese, its claims and figures as Markdown too. It is one file
    that can be sent: it needs no other file and asks nothing of any network.
    """
    import webbrowser

    from emotion_circuits.report import write_report

    files = write_report(store_options.folder)
    pages = [file for file in files if file.suffix in (".html", ".md")]
    name = "index.html" if language == "en" else f"index.{language}.html"
    [chosen] = (page for page in pages if page.name == name)
    if open_page:
        webbrowser.open(chosen.resolve().as_uri())
    emit({"page": chosen, "pages": pages, "figures": len(files) - len(pages)}, json)


@command(example="plot claims/rq3_steering --format svg pdf")
def plot(
    names: Annotated[tuple[str, ...], Parameter(help="Of figures, or how they begin; without, all are listed.")] = (),
    /,
    *,
    formats: Annotated[tuple[Literal["png", "svg", "pdf"], ...], flag("--format", help="What to write.")] = ("png",),
    output: Annotated[Path | None, flag(help="Folder to write into; `plots` in the results by default.")] = None,
    language: Language = "en",
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Draw figures of finished results as PNG, SVG or PDF, in English or Japanese.

    Without a name, the names and titles of all figures are listed.
    """
    from emotion_circuits.report import pictures_of, write_pictures

    pictures, looks = pictures_of(store_options.folder)
    if not names:
        rows = [{"name": picture.path, "title": picture.title} for picture in pictures]
        emit({"figures": rows}, json, table=Table(("name", "title"), [tuple(row.values()) for row in rows], "Figures"))
        return
    for name in names:
        if not any(picture.path.startswith(name) for picture in pictures):
            raise InputError("There is no such figure.", found=name, next_step="list them: emotion-circuits plot")
    chosen = [picture for picture in pictures if picture.path.startswith(names)]
    emit({"files": write_pictures(chosen, output or store_options.folder / "plots", looks, formats, language)}, json)
