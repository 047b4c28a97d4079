"""The HTML report: one file that asks nothing of any network and reads without JavaScript."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from emotion_circuits._files import write_text
from emotion_circuits.report._chart import Chart
from emotion_circuits.report._circuit_file import CircuitFile
from emotion_circuits.report._circuit_picture import circuit_picture_alt, circuit_picture_caption, draw_circuit_picture
from emotion_circuits.report._circuit_section import circuits_alt, circuits_caption, circuits_table
from emotion_circuits.report._circuits import draw_circuits
from emotion_circuits.report._cosines import cosine_alt, cosine_caption, draw_cosines
from emotion_circuits.report._depths import TITLE as DEPTHS_TITLE
from emotion_circuits.report._depths import (
    Depths,
    depth_chart,
    heads_table_html,
    pair_sentence,
    pairs_table_html,
    read_depths,
)
from emotion_circuits.report._figures import charts_of
from emotion_circuits.report._forest import draw_forest, forest_alt, forest_caption
from emotion_circuits.report._heads import heads_section
from emotion_circuits.report._interactive import plotly_json
from emotion_circuits.report._maps import PairResults, draw_map, map_alt, map_caption, r2_sentence, transfer_table
from emotion_circuits.report._methods import draw_methods
from emotion_circuits.report._methods_section import drawn_rows, methods_alt, methods_caption, methods_html
from emotion_circuits.report._results import CLAIM_POSITION, ModelResults, Results, read_results
from emotion_circuits.report._static import draw_chart, svg_text, theme_css, themed_svg
from emotion_circuits.report._style import matplotlib_settings
from emotion_circuits.report._swaps import draw_swaps, swap_alt, swap_caption
from emotion_circuits.report._sweep_maps import draw_sweep_map, model_sweep_maps, sweep_alt, sweep_caption, sweep_title
from emotion_circuits.report._tables import badge, claim_legend, claims_table, provenance
from emotion_circuits.report._texts import texts_section
from emotion_circuits.report._words import (
    BADGES,
    cases,
    claim_meaning,
    claim_short,
    headline,
    ids_of,
    listed,
    model_count,
    question_of,
    verdict_sentence,
)
from emotion_circuits.statistics import Claim

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The browser itself refuses any request, whatever a library might try.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)
_TERMS = (
    ("value", "the number itself, from test scenarios or contexts that chose nothing; brackets hold its 95 % interval"),
    ("chance", "what the same computation gives when the link it measures is broken, for example by permuting labels"),
    ("floor", "what something simpler reaches: counting words, the embedding layer, an untrained model, or the best "
     "2.5 % of control directions; a claim must beat the strongest"),
    ("ceiling", "the largest value that could have been reached, where there is one"),
    ("dose", "how much of a direction is added, in multiples of the layer's median residual norm on generic text"),
    ("layer", "a block's output, counted from 0; embed is what enters block 0"),
    ("p, adjusted", "the probability of so much by chance, after Holm's correction over all claims of the question"),
    ("n", "scenarios or contexts behind the number, each counted once"),
)  # fmt: skip


def write_report(folder: Path) -> Path:
    """Write `report/index.html`: headline, claims, a section for each question and model, provenance.

    The page needs no other file and no network; tables and texts need no JavaScript, charts without it are static.
    The same results give the same bytes.

    Args:
        folder: `results/<profile>`.

    Raises:
        InputError: no such folder, a file that cannot be read, or a folder that cannot be written.
    """
    results = read_results(folder)
    path = folder / "report" / "index.html"
    with matplotlib_settings():
        body = "".join(_body(results))
    write_text(path, _page(results, body))
    return path


def _page(results: Results, body: str) -> str:
    from plotly.offline import get_plotlyjs

    assets = files("emotion_circuits.report") / "assets"
    css = theme_css(":root") + (assets / "page.css").read_text(encoding="utf-8")
    script = (assets / "page.js").read_text(encoding="utf-8")
    library = get_plotlyjs().replace("</script", "<\\/script") if 'class="chart"' in body else ""
    title = f"Emotion circuits: {escape(results.profile)} study"
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
        f"<style>{css}</style>\n</head>\n<body>\n{body}\n"
        f"<script>{library}</script>\n<script>{script}</script>\n</body>\n</html>\n"
    )


def _body(results: Results) -> Iterator[str]:
    questions = list(dict.fromkeys(c.question for c in results.claims))
    emotions = list(results.emotions) or ["emotions"]
    title = f"{listed(emotions).capitalize()} inside {model_count(len(results.models))}"
    yield f'<header class="top"><h1>{escape(title)}</h1>'
    names = [m.name for m in results.models]
    yield f'<p class="lead">{escape(headline(results.profile, names, emotions, results.claims))}</p>'
    yield _warning(names)
    yield "".join(f'<p class="warning">{escape(note)}</p>' for note in results.notes)
    yield _contents(questions, results.models) + "</header><main>"
    yield '<h2 id="claims">Claims</h2>'
    yield claims_table(results.claims) if results.claims else "<p>There are no claims to show.</p>"
    yield _how_to_read(results)
    for place, question in enumerate(questions):
        yield from _question_section(question, place, [c for c in results.claims if c.question == question])
        if question == "RQ5" and results.pairs:
            yield from _maps_section(results.pairs)
    yield from _depths_section(read_depths(results.folder, {m.name: m.slug for m in results.models}))
    for place, model in enumerate(results.models):
        yield from _model_section(model, place)
    yield '<h2 id="provenance">What made these results</h2>'
    yield provenance(results.stages) if results.stages else "<p>No manifest tells what made these results.</p>"
    yield f"<footer>Profile {escape(results.profile)}. Figures lie in <code>plots/</code>, claims in "
    yield "<code>claims.json</code>, tables in <code>emotion_vectors/</code> and <code>patching/</code>."
    yield "</footer></main>"


def _warning(names: Sequence[str]) -> str:
    reference = [n for n in names if n.startswith("reference/")]
    if not reference:
        return ""
    listed = ", ".join(f"<code>{escape(n)}</code>" for n in reference)
    return (
        f'<p class="warning"><strong>Reference models are instruments, not subjects of a finding.</strong> {listed}: '
        "small models trained for this project, so that every method can be run and tested on trained weights. What a "
        "study says of them says nothing about GPT-2, Pythia or GPT-Neo.</p>"
    )


def _contents(questions: Sequence[str], models: Sequence[ModelResults]) -> str:
    links = [("claims", "Claims"), ("reading", "How to read this")]
    links += [(f"question-{i}", f"{q}: {question_of(q).title}") for i, q in enumerate(questions)]
    links += [(f"model-{i}", m.name) for i, m in enumerate(models)]
    links.append(("provenance", "Provenance"))
    items = "".join(f'<li><a href="#{anchor}">{escape(text)}</a></li>' for anchor, text in links)
    return f'<nav aria-label="Contents"><ul>{items}</ul></nav>'


def _how_to_read(results: Results) -> str:
    terms = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in _TERMS)
    verdicts = "".join(f"<dt>{badge(name)}</dt><dd>{escape(b.meaning)}</dd>" for name, b in BADGES.items())
    legend = claim_legend(ids_of(results.claims))
    return (
        '<details class="box" id="reading" open><summary>How to read this</summary>'
        f"<dl>{terms}</dl><dl>{verdicts}</dl><dl>{legend}</dl></details>"
    )


def _question_section(question: str, place: int, claims: Sequence[Claim]) -> Iterator[str]:
    yield f'<h2 id="question-{place}">{escape(question)}: {escape(question_of(question).title)}</h2>'
    yield f'<p class="verdict">{escape(verdict_sentence(claims))}</p>'
    for identifier in ids_of(claims):
        own = [c for c in claims if c.id == identifier]
        yield f"<h3>{escape(claim_short(identifier).capitalize())}</h3>"
        yield f"<p>{escape(claim_meaning(identifier))}</p>" if claim_meaning(identifier) else ""
        items = "".join(f"<li>{badge(v)} {escape(text)}</li>" for v, text in cases(own))
        yield f'<ul class="cases">{items}</ul>'
        figure = draw_forest(own, with_title=False)
        if figure is not None:
            yield _figure(_image(figure, forest_alt(own)), forest_caption(own))


def _maps_section(pairs: Sequence[PairResults]) -> Iterator[str]:
    yield "<h3>What arrives, and what it does there</h3>"
    yield transfer_table(pairs)
    for pair in pairs:
        figure = draw_map(pair, with_title=False)
        if figure is not None:
            yield f"<h3>{escape(pair.a)} → {escape(pair.b)}</h3><p>{escape(r2_sentence(pair))}</p>"
            yield _figure(_image(figure, map_alt(pair)), map_caption(pair))


def _depths_section(depths: Depths) -> Iterator[str]:
    chart = depth_chart(depths)
    if chart is None:
        return
    yield f'<h2 id="depths">RQ4, between models: {escape(DEPTHS_TITLE)}</h2>'
    yield "".join(f"<p>{escape(pair_sentence(rows))}</p>" for rows in depths.pairs.values())
    yield _chart_figure(chart)
    yield pairs_table_html(depths) if depths.pairs else ""
    yield heads_table_html(depths.heads)


def _model_section(model: ModelResults, place: int) -> Iterator[str]:
    yield f'<h2 id="model-{place}">{escape(model.name)}</h2>'
    yield "".join(f'<p class="warning">{escape(sentence)}</p>' for sentence in model.missing)
    charts = charts_of(model)
    for chart in charts.profiles:
        yield from _chart(chart)
    figure = draw_cosines(model, CLAIM_POSITION, with_title=False)
    if figure is not None:
        yield "<h3>Are the emotions' directions alike?</h3>"
        yield _figure(_image(figure, cosine_alt(model, CLAIM_POSITION)), cosine_caption(CLAIM_POSITION))
    figure = draw_swaps(model, with_title=False)
    if figure is not None:
        yield "<h3>Where does the emotion stand?</h3>"
        yield _figure(_image(figure, swap_alt(model)), swap_caption(model))
    for found in model_sweep_maps(model).values():
        yield f"<h3>{escape(sweep_title(found))}</h3>"
        yield _figure(_image(draw_sweep_map(found), sweep_alt(found)), sweep_caption(found))
    for chart in charts.doses:
        yield from _chart(chart)
    figure = draw_methods(drawn_rows(model.methods))
    if figure is not None:
        yield "<h3>Which way of changing tone is best?</h3>"
        yield _figure(_image(figure, methods_alt(model.methods)), methods_caption(model.methods))
        yield methods_html(model.methods)
    if model.written is not None:
        yield from texts_section(model.written)
    yield from heads_section(model.heads, lambda drawn, caption, alt: _figure(_image(drawn, alt), caption))
    if model.circuits is not None:
        yield from _circuits(model.circuits)


def _circuits(found: CircuitFile) -> Iterator[str]:
    yield "<h3>Do heads and units form a circuit?</h3>"
    figure = draw_circuits(found.measures)
    if figure is not None:
        yield _figure(_image(figure, circuits_alt(found)), circuits_caption(found))
    yield circuits_table(found)
    figure = draw_circuit_picture(found)
    if figure is not None:
        yield _figure(_image(figure, circuit_picture_alt(found)), circuit_picture_caption(found))


def _chart(chart: Chart) -> Iterator[str]:
    yield f"<h3>{escape(chart.title.partition(': ')[2])}</h3>"
    yield _chart_figure(chart)


def _chart_figure(chart: Chart) -> str:
    static = _image(draw_chart(chart, with_title=False), chart.alt)
    live = '<div class="live"></div><script type="application/json">' + plotly_json(chart) + "</script>"
    return _figure(static + live, chart.caption, "chart")


def _figure(content: str, caption: str, css: str = "") -> str:
    kind = f' class="{css}"' if css else ""
    return f'<figure{kind}><figcaption>{escape(caption)}</figcaption><div class="scroll">{content}</div></figure>'


def _image(figure: Figure, alt: str) -> str:
    data = base64.b64encode(themed_svg(svg_text(figure)).encode()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(alt)}">'
