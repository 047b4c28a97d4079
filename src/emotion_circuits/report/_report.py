"""The report: the one list of its sections, their pictures in `plots/` and the page that holds both.

The page is one file that asks nothing of any network and reads without JavaScript.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from emotion_circuits._files import write_text
from emotion_circuits.report._canvas import TITLE, Format, Hover, save
from emotion_circuits.report._cards import badge
from emotion_circuits.report._circuits import circuit_sections
from emotion_circuits.report._claims import claims_picture, question_sections
from emotion_circuits.report._depths import depth_sections
from emotion_circuits.report._doses import dose_comparison, dose_sections
from emotion_circuits.report._heads import heads_sections
from emotion_circuits.report._maps import map_sections
from emotion_circuits.report._markdown import markdown_report
from emotion_circuits.report._matrices import cosine_sections, swap_sections
from emotion_circuits.report._methods import methods_sections
from emotion_circuits.report._overview import answers, headline, main_claims, matrix
from emotion_circuits.report._own import own_sections
from emotion_circuits.report._provenance import provenance
from emotion_circuits.report._quality import quality_sections
from emotion_circuits.report._results import ModelResults, Results, read_results
from emotion_circuits.report._sections import Picture, Section, anchor_of, paragraph
from emotion_circuits.report._style import Looks, inlined, looks_of, theme_css
from emotion_circuits.report._sweeps import sweep_sections
from emotion_circuits.report._texts import texts_sections
from emotion_circuits.report._translate import LANGUAGES, Language, script_json, translated
from emotion_circuits.report._words import (
    BADGES,
    TERMS,
    claim_meaning,
    claim_short,
    ids_of,
    listed,
    model_count,
)

# The browser itself refuses any request.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"

MODEL_SECTIONS: tuple[Callable[[ModelResults], Iterable[Section]], ...] = (
    quality_sections, cosine_sections, swap_sections, sweep_sections, dose_sections, methods_sections, texts_sections,
    heads_sections, circuit_sections, own_sections,
)  # fmt: skip
"""What is shown of each model, in the page's order; each yields nothing where its files are missing."""


_BETWEEN_MODELS: dict[str, Callable[[Results], Iterable[Section]]] = {
    "RQ3": dose_comparison, "RQ4": depth_sections, "RQ5": map_sections,
}  # fmt: skip
"""What stands behind a question's claims about several models."""


def sections(results: Results) -> Iterator[Section]:
    """Everything that the report shows, in the page's order."""
    claims = results.claims
    yield Section("", list(_overview(results)), 2, "overview")
    for place, question in enumerate(dict.fromkeys(c.question for c in claims)):
        yield from question_sections(question, place, [c for c in claims if c.question == question], results)
        if question in _BETWEEN_MODELS:
            yield from _BETWEEN_MODELS[question](results)
    for question in sorted(_BETWEEN_MODELS.keys() - {c.question for c in claims}):  # about which nothing is claimed
        yield from _BETWEEN_MODELS[question](results)
    for model in results.models:
        said = [*map(paragraph, model.energy()), *(paragraph(sentence, "warning") for sentence in model.missing)]
        yield Section(model.name, said, 2, anchor_of("model", model.name), folded=True)
        for of_model in MODEL_SECTIONS:
            yield from of_model(model)
    yield Section("How to read this", [_how_to_read(results)], 2, "reading", folded=True)
    made = provenance(results.stages) if results.stages else [paragraph("No manifest tells what made these results.")]
    yield Section("What made these results", made, 2, "provenance", "Provenance", folded=True)


def _overview(results: Results) -> Iterator[str | Picture]:
    if not results.claims:
        yield paragraph("There are no claims to show.")
        return
    yield matrix(results.claims, results.looks)
    yield answers(results.claims)
    if main := main_claims(results.claims):
        yield f"<h3>{escape(claim_short(main[0].id).capitalize())}</h3>"
        yield claims_picture(main, results.looks)


def write_report(folder: Path, n_jobs: int = 1, languages: Sequence[Language] = LANGUAGES) -> list[Path]:
    """Draw every picture into `plots/`, as PNG and SVG, and write the page around the same SVGs: `report/index.html`,
    and in other languages `report/index.ja.html`. `report/report.md` holds the same claims and figures as Markdown.

    A page needs no other file and no network; without JavaScript only the search and the numbers that points tell are
    missing. The same results give the same bytes. What has no file is left out.

    Args:
        folder: `results/<profile>`.
        n_jobs: processes that draw.
        languages: of pages.

    Returns:
        The files, sorted.

    Raises:
        InputError: no such folder, a file that cannot be read, or a folder that cannot be written.
    """
    results = read_results(folder)
    shown = list(sections(results))
    pictures = _pictures(shown)
    drawn = _draw_all(pictures, folder / "plots", results.looks, n_jobs)
    page = _page(results, shown, drawn)
    pages = [folder / "report" / f"index{'' if one == 'en' else '.' + one}.html" for one in languages]
    for path, language in zip(pages, languages, strict=True):
        write_text(path, translated(page, language))
    pages.append(folder / "report" / "report.md")
    write_text(pages[-1], markdown_report(results, shown, _heading(results)))
    return sorted([*pages, *_names(pictures, folder / "plots")])


def _pictures(shown: Iterable[Section]) -> list[Picture]:
    """All pictures once: that of the first screen stands a second time under its question."""
    return list({p.path: p for section in shown for p in section.parts if isinstance(p, Picture)}.values())


def pictures_of(folder: Path) -> tuple[list[Picture], Looks]:
    """Every picture of a results folder, not drawn yet, and how its emotions look.

    Raises:
        InputError: as from `write_report`.
    """
    results = read_results(folder)
    return _pictures(sections(results)), results.looks


def write_pictures(
    pictures: Sequence[Picture],
    folder: Path,
    looks: Looks | None = None,
    formats: Sequence[Format] = ("png", "svg"),
    language: Language = "en",
) -> list[Path]:
    """Draw pictures at their paths below a folder.

    Args:
        pictures: from `pictures_of`, `audit_picture`, `sweep_pictures`, …
        folder: as `results/<profile>/plots`.
        looks: of the emotions; those of the bundled ones without.
        formats: "png", "svg" or "pdf".
        language: of the words.

    Returns:
        The files.

    Raises:
        InputError: the folder cannot be written, or no installed font has the language's signs.
    """
    _draw_all(pictures, folder, looks or looks_of(), 1, formats, language)
    return _names(pictures, folder, formats)


def _names(pictures: Sequence[Picture], folder: Path, formats: Sequence[Format] = ("png", "svg")) -> list[Path]:
    return [folder / f"{picture.path}.{end}" for picture in pictures for end in formats]


def _draw_all(
    pictures: Sequence[Picture],
    folder: Path,
    looks: Looks,
    n_jobs: int,
    formats: Sequence[Format] = ("png", "svg"),
    language: Language = "en",
) -> dict[str, list[Hover]]:
    """Write the pictures; what their points tell, by path."""
    drawn = [(folder / picture.path, picture.drawing.draw(picture.title)) for picture in pictures]
    if n_jobs == 1 or len(pictures) < 2:
        for path, canvas in drawn:
            save(canvas, path, looks, formats, language)
    else:
        from joblib import Parallel, delayed

        Parallel(n_jobs=n_jobs)(delayed(save)(canvas, path, looks, formats, language) for path, canvas in drawn)
    return {picture.path: canvas.hovers for picture, (_, canvas) in zip(pictures, drawn, strict=True)}


def _page(results: Results, shown: Sequence[Section], drawn: Mapping[str, list[Hover]]) -> str:
    assets = files("emotion_circuits.report") / "assets"
    css = theme_css(results.looks.colours) + (assets / "page.css").read_text(encoding="utf-8")
    script = (assets / "page.js").read_text(encoding="utf-8")
    title = f"{escape(_heading(results))}: {escape(results.profile)} study"
    figures = _Figures(results, drawn)
    above, below = _around(results, shown)
    body = f"<header>{above}{''.join(_parts(shown[:1], figures))}{below}</header><main>"
    body += "".join(_parts(shown[1:], figures))
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
        f"<style>{css}</style>\n</head>\n<body>\n{body}<footer>Profile {escape(results.profile)}. Figures lie in "
        "<code>plots/</code>, claims in <code>claims.json</code>, tables in <code>emotion_vectors/</code>, "
        f"<code>patching/</code> …</footer></main>\n<script>{script}</script>\n</body>\n</html>\n"
    )


def _heading(results: Results) -> str:
    emotions = [results.looks.label(e) for e in results.emotions] or ["emotions"]
    return f"{listed(emotions).capitalize()} inside {model_count(len(results.models))}"


def _around(results: Results, shown: Sequence[Section]) -> tuple[str, str]:
    """What stands above the overview, and what below it."""
    above = f"<h1>{escape(_heading(results))}</h1>{paragraph(headline(results), 'lead')}"
    above += "".join(paragraph(note, "warning") for note in results.notes)
    below = ""
    reference = [f"<code>{escape(m.name)}</code>" for m in results.models if m.name.startswith("reference/")]
    if reference:
        below += (
            '<p class="note"><strong>Reference models are instruments, not subjects of a finding.</strong> '
            f"{', '.join(reference)}: small models trained for this project, so that every method can be run and "
            "tested on trained weights. What a study says of them says nothing about GPT-2, Pythia or GPT-Neo.</p>"
        )
    links = [(s.anchor, s.listed or s.title) for s in shown if s.level == 2 and s.title]
    items = "".join(f'<li><a href="#{anchor}">{escape(text)}</a></li>' for anchor, text in links)
    # The search is shown by the script, without which it would do nothing.
    below += (
        f'<nav aria-label="Contents"><ul>{items}</ul></nav><search hidden><input type="search" id="filter" '
        'placeholder="Find claims and texts" aria-label="Find claims and texts"><output for="filter" hidden>'
        "<b></b> <span>claims</span>, <b></b> <span>lines of texts</span></output></search>"
    )
    return above, below


def _parts(shown: Sequence[Section], figures: _Figures) -> Iterator[str]:
    """Every section's HTML; what follows a folded one up to the next of its level lies inside it."""
    folded = False
    for section in shown:
        if section.level == 2:
            yield "</details>" if folded else ""
            folded = section.folded
        anchor = f' id="{section.anchor}"' if section.anchor else ""
        head = f"<h{section.level}>{escape(section.title)}</h{section.level}>" if section.title else ""
        if section.level == 2 and folded:
            yield f'<details class="fold"{anchor}><summary>{head}</summary>'
        else:
            yield head.replace(">", f"{anchor}>", 1) or f"<div{anchor}></div>"
        yield from (part if isinstance(part, str) else figures.html(part) for part in section.parts)
    yield "</details>" if folded else ""


class _Figures:
    """Puts drawings onto the page, each under ids of its own."""

    def __init__(self, results: Results, drawn: Mapping[str, list[Hover]]):
        self.results, self.drawn, self.place = results, drawn, 0

    def html(self, picture: Picture) -> str:
        if not picture.shown:
            return ""
        self.place += 1
        # The very drawing that lies in plots/, without its title, which the heading says.
        svg = (self.results.folder / "plots" / f"{picture.path}.svg").read_text(encoding="utf-8")
        image = inlined(svg, self.results.looks, self.place, picture.alt(), 72 * TITLE)
        points = [[h.x, round(h.y - 72 * TITLE, 1), h.text] for h in self.drawn[picture.path]]
        hover = f'<script type="application/json">{script_json(points)}</script>' if points else ""
        caption = f"<figcaption>{escape(picture.caption)}</figcaption>"
        return f'<figure>{caption}<div class="scroll"><div class="drawing">{image}</div></div>{hover}</figure>'


def _how_to_read(results: Results) -> str:
    terms = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in TERMS.items())
    verdicts = "".join(f"<dt>{badge(name)}</dt><dd>{escape(b.meaning)}</dd>" for name, b in BADGES.items())
    kinds = [(claim_short(i), claim_meaning(i)) for i in ids_of(results.claims) if claim_meaning(i)]
    legend = "".join(f"<dt>{escape(name)}</dt><dd>{escape(meaning)}</dd>" for name, meaning in kinds)
    return f'<div class="box"><dl>{terms}</dl><dl>{verdicts}</dl><dl>{legend}</dl></div>'
