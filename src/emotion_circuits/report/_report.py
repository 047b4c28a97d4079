"""The report: the one list of its sections, their pictures in `plots/` and the page that holds both.

The page is one file that asks nothing of any network and reads without JavaScript.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from emotion_circuits._files import write_text
from emotion_circuits.prompts import Bank
from emotion_circuits.report._canvas import TITLE, Hover, save
from emotion_circuits.report._circuits import circuit_sections
from emotion_circuits.report._claims import badge, claims_table, question_sections
from emotion_circuits.report._depths import depth_sections
from emotion_circuits.report._doses import dose_comparison, dose_sections
from emotion_circuits.report._heads import heads_sections
from emotion_circuits.report._maps import map_sections
from emotion_circuits.report._matrices import cosine_sections, swap_sections
from emotion_circuits.report._methods import methods_sections
from emotion_circuits.report._own import own_sections
from emotion_circuits.report._provenance import provenance
from emotion_circuits.report._quality import quality_sections
from emotion_circuits.report._results import ModelResults, Results, read_results
from emotion_circuits.report._sections import Picture, Section, image, paragraph
from emotion_circuits.report._style import Looks, looks_of, theme_css
from emotion_circuits.report._sweeps import sweep_sections
from emotion_circuits.report._texts import texts_sections
from emotion_circuits.report._words import (
    BADGES,
    TERMS,
    claim_meaning,
    claim_short,
    headline,
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


_BETWEEN_MODELS: dict[str, Callable[[Results], Iterable[Section]]] = {"RQ3": dose_comparison, "RQ5": map_sections}
"""What stands behind a question's claims about several models."""


def sections(results: Results) -> Iterator[Section]:
    """Everything that the report shows, in the page's order."""
    claims = results.claims
    yield Section(
        "Claims", [claims_table(claims) if claims else paragraph("There are no claims to show.")], 2, "claims"
    )
    yield Section("", [_how_to_read(results)], 2, "reading", "How to read this")
    for place, question in enumerate(dict.fromkeys(c.question for c in claims)):
        yield from question_sections(question, place, [c for c in claims if c.question == question], results)
        if question in _BETWEEN_MODELS:
            yield from _BETWEEN_MODELS[question](results)
    yield from depth_sections(results)
    for place, model in enumerate(results.models):
        said = [*map(paragraph, model.energy()), *(paragraph(sentence, "warning") for sentence in model.missing)]
        yield Section(model.name, said, 2, f"model-{place}")
        for shown in MODEL_SECTIONS:
            yield from shown(model)
    made = provenance(results.stages) if results.stages else [paragraph("No manifest tells what made these results.")]
    yield Section("What made these results", made, 2, "provenance", "Provenance")


def write_report(folder: Path, n_jobs: int = 1) -> list[Path]:
    """Draw every picture into `plots/`, as PNG and SVG, and write the page `report/index.html` around the same SVGs.

    The page needs no other file and no network; without JavaScript only the numbers that points tell are missing. The
    same results give the same bytes. What has no file is left out.

    Args:
        folder: `results/<profile>`.
        n_jobs: processes that draw.

    Returns:
        The files, sorted.

    Raises:
        InputError: no such folder, a file that cannot be read, or a folder that cannot be written.
    """
    results = read_results(folder)
    shown = list(sections(results))
    pictures = [part for section in shown for part in section.parts if isinstance(part, Picture)]
    drawn = _draw_all(pictures, folder / "plots", results.looks, n_jobs)
    page = folder / "report" / "index.html"
    write_text(page, _page(results, shown, drawn))
    return sorted([page, *_names(pictures, folder / "plots")])


def write_pictures(pictures: Sequence[Picture], folder: Path, bank: Bank | None = None) -> list[Path]:
    """Draw pictures at their paths below a folder, as PNG and SVG.

    Args:
        pictures: from `audit_picture`, `sweep_pictures`, …
        folder: as `results/<profile>/plots`.
        bank: whose emotions have their colours; bundled ones without.

    Returns:
        The files.

    Raises:
        InputError: the folder cannot be written.
    """
    _draw_all(pictures, folder, looks_of(bank), 1)
    return _names(pictures, folder)


def _names(pictures: Sequence[Picture], folder: Path) -> list[Path]:
    return [folder / f"{picture.path}.{end}" for picture in pictures for end in ("png", "svg")]


def _draw_all(pictures: Sequence[Picture], folder: Path, looks: Looks, n_jobs: int) -> dict[str, list[Hover]]:
    """Write the pictures; what their points tell, by path."""
    drawn = [(folder / picture.path, picture.drawing.draw(picture.title)) for picture in pictures]
    if n_jobs == 1 or len(pictures) < 2:
        for path, canvas in drawn:
            save(canvas, path, looks)
    else:
        from joblib import Parallel, delayed

        Parallel(n_jobs=n_jobs)(delayed(save)(canvas, path, looks) for path, canvas in drawn)
    return {picture.path: canvas.hovers for picture, (_, canvas) in zip(pictures, drawn, strict=True)}


def _page(results: Results, shown: Sequence[Section], drawn: Mapping[str, list[Hover]]) -> str:
    assets = files("emotion_circuits.report") / "assets"
    css = theme_css(results.looks.colours) + (assets / "page.css").read_text(encoding="utf-8")
    script = (assets / "page.js").read_text(encoding="utf-8")
    title = f"{escape(_heading(results))}: {escape(results.profile)} study"
    body = "".join((*_top(results, shown), *(_section(section, results, drawn) for section in shown)))
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
        f"<style>{css}</style>\n</head>\n<body>\n{body}<footer>Profile {escape(results.profile)}. Figures lie in "
        "<code>plots/</code>, claims in <code>claims.json</code>, tables in <code>emotion_vectors/</code> and "
        f"<code>patching/</code>.</footer></main>\n<script>{script}</script>\n</body>\n</html>\n"
    )


def _heading(results: Results) -> str:
    emotions = [results.looks.label(e) for e in results.emotions] or ["emotions"]
    return f"{listed(emotions).capitalize()} inside {model_count(len(results.models))}"


def _top(results: Results, shown: Sequence[Section]) -> Iterator[str]:
    names = [m.name for m in results.models]
    emotions = [results.looks.label(e) for e in results.emotions] or ["emotions"]
    yield f'<header class="top"><h1>{escape(_heading(results))}</h1>'
    yield paragraph(headline(results.profile, names, emotions, results.claims), "lead")
    reference = [f"<code>{escape(n)}</code>" for n in names if n.startswith("reference/")]
    if reference:
        yield (
            '<p class="warning"><strong>Reference models are instruments, not subjects of a finding.</strong> '
            f"{', '.join(reference)}: small models trained for this project, so that every method can be run and "
            "tested on trained weights. What a study says of them says nothing about GPT-2, Pythia or GPT-Neo.</p>"
        )
    yield "".join(paragraph(note, "warning") for note in results.notes)
    links = [(s.anchor, s.listed or s.title) for s in shown if s.level == 2]
    items = "".join(f'<li><a href="#{anchor}">{escape(text)}</a></li>' for anchor, text in links)
    yield f'<nav aria-label="Contents"><ul>{items}</ul></nav></header><main>'


def _section(section: Section, results: Results, drawn: Mapping[str, list[Hover]]) -> str:
    anchor = f' id="{section.anchor}"' if section.anchor else ""
    level = section.level
    head = (
        f"<h{level}{anchor}>{escape(section.title)}</h{level}>"
        if section.title
        else f"<div{anchor}></div>"
        if anchor
        else ""
    )
    parts = (part if isinstance(part, str) else _figure(part, results, drawn[part.path]) for part in section.parts)
    return head + "".join(parts)


def _figure(picture: Picture, results: Results, hovers: Sequence[Hover]) -> str:
    if not picture.shown:
        return ""
    # The very drawing that lies in plots/, without its title, which the heading says.
    svg = (results.folder / "plots" / f"{picture.path}.svg").read_text(encoding="utf-8")
    drawing = image(svg, results.looks, picture.alt())
    points = [[h.x, round(h.y - 72 * TITLE, 1), h.text] for h in hovers]
    # Nothing in a name may end the script element or open a comment in it.
    text = json.dumps(points, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c").replace("&", "\\u0026")
    hover = f'<script type="application/json">{text}</script>' if points else ""
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>"
    return f'<figure>{caption}<div class="scroll"><div class="drawing">{drawing}</div></div>{hover}</figure>'


def _how_to_read(results: Results) -> str:
    terms = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in TERMS.items())
    verdicts = "".join(f"<dt>{badge(name)}</dt><dd>{escape(b.meaning)}</dd>" for name, b in BADGES.items())
    kinds = [(claim_short(i), claim_meaning(i)) for i in ids_of(results.claims) if claim_meaning(i)]
    legend = "".join(f"<dt>{escape(name)}</dt><dd>{escape(meaning)}</dd>" for name, meaning in kinds)
    return (
        '<details class="box" open><summary>How to read this</summary>'
        f"<dl>{terms}</dl><dl>{verdicts}</dl><dl>{legend}</dl></details>"
    )
