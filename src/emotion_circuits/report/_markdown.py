"""A study as Markdown: what came out, question by question, with every claim's numbers and the figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from emotion_circuits.report._claims import in_order, picture_path
from emotion_circuits.report._overview import headline
from emotion_circuits.report._results import Results
from emotion_circuits.report._sections import Picture, Section
from emotion_circuits.report._style import interval, layer_name, number, p_value
from emotion_circuits.report._words import (
    BADGES,
    claim_meaning,
    claim_short,
    floor_name,
    ids_of,
    power_sentence,
    question_title,
    verdict_sentence,
)  # fmt: skip
from emotion_circuits.statistics import Claim

_COLUMNS = ("model", "emotion", "layer", "value, 95 %", "chance", "gain, 95 %", "over", "p after Holm", "n", "verdict")


def markdown_report(results: Results, shown: Sequence[Section], title: str) -> str:
    """The report as Markdown, to be put beside `plots/`.

    Args:
        results: a results folder.
        shown: the sections of its page, for their figures.
        title: of the whole.
    """
    return "\n".join(_lines(results, shown, title)) + "\n"


def _lines(results: Results, shown: Sequence[Section], title: str) -> Iterator[str]:
    yield from (f"# {title}", "", headline(results), "")
    figures = {p.path: p for section in shown for p in section.parts if isinstance(p, Picture) and p.shown}
    for question in dict.fromkeys(claim.question for claim in results.claims):
        claims = [claim for claim in results.claims if claim.question == question]
        yield from (f"## {question_title(question)}", "", verdict_sentence(claims), "")
        for kind in ids_of(claims):
            own = in_order([claim for claim in claims if claim.id == kind], results.looks)
            said = " ".join(filter(None, (claim_meaning(kind), power_sentence(own))))
            yield from (f"### {claim_short(kind).capitalize()}", "", said, "", *_table(own), "")
            picture = figures.pop(picture_path(kind), None)
            yield from _figure(picture) if picture else ()
    yield from ("## Figures", "")
    for picture in figures.values():
        yield from _figure(picture)


def _table(claims: Sequence[Claim]) -> Iterator[str]:
    yield "| " + " | ".join(_COLUMNS) + " |"
    yield "|" + "---|" * len(_COLUMNS)
    for claim in claims:
        verdict = claim.verdict or "not tested"
        cells = (
            claim.model, claim.emotion or "all", layer_name(claim.layer),
            f"{number(claim.value)} {interval(*(claim.ci95 or (None, None)))}", number(claim.chance),
            f"{number(claim.gain)} {interval(*(claim.gain_ci95 or (None, None)))}", floor_name(claim.gain_over or "–"),
            p_value(claim.p_adjusted), str(claim.n_unique), f"{BADGES[verdict].symbol} {verdict}",
        )  # fmt: skip
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""
    yield from (f"* {claim.emotion or 'all emotions'} in {claim.model}: {claim.why}" for claim in claims)


def _figure(picture: Picture) -> Iterator[str]:
    yield from (f"![{picture.title}](../plots/{picture.path}.png)", "", f"*{picture.title}.* {picture.caption}", "")
