"""The first screen: every verdict as a cell, one figure, one sentence a question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from emotion_circuits.report._cards import claim_anchor
from emotion_circuits.report._results import ARROW, Results
from emotion_circuits.report._style import Looks, number, short_name
from emotion_circuits.report._words import (
    BADGES,
    VERDICTS,
    claim_short,
    ids_of,
    listed,
    question_title,
    verdict_sentence,
)
from emotion_circuits.statistics import Claim

_MAIN = ("rq3.steering", "rq1.separability", "rq5.alignment", "rq2.shared")
"""Claims whose figure says most, best first."""


def matrix(claims: Sequence[Claim], looks: Looks) -> str:
    """Every verdict: a line for each model, then for each pair of models, a column for each claim and emotion."""
    single = [claim for claim in claims if ARROW not in claim.model]
    between = [claim for claim in claims if ARROW in claim.model]
    tables = [_table(title, own, looks) for title, own in (("Model", single), ("From → to", between)) if own]
    legend = "".join(
        f'<li><b class="{BADGES[v].css}" aria-hidden="true">{BADGES[v].symbol}</b> {v}</li>' for v in VERDICTS
    )
    return f'<ul class="verdicts">{legend}<li class="muted">A cell opens its claim.</li></ul>{"".join(tables)}'


def _table(title: str, claims: Sequence[Claim], looks: Looks) -> str:
    columns = [(i, e) for i in ids_of(claims) for e in _emotions([c for c in claims if c.id == i], looks)]
    widths = {i: sum(i == own for own, _ in columns) for i, _ in columns}
    kinds = "".join(
        f'<th scope="colgroup" colspan="{n}" class="kind"><small>{escape(i.partition(".")[0].upper())}</small> '
        f"{escape(claim_short(i))}</th>"
        for i, n in widths.items()
    )
    names = "".join(
        f'<th scope="col" class="{_edge(columns, k)}" style="color:var(--{looks.role(e or "all")})">'
        f"{escape(looks.label(e) if e else 'all')}</th>"
        for k, (_, e) in enumerate(columns)
    )
    by_cell = {(c.model, c.id, c.emotion): c for c in claims}
    lines = []
    for model in dict.fromkeys(claim.model for claim in claims):
        cells = (_cell(by_cell.get((model, *column)), _edge(columns, k)) for k, column in enumerate(columns))
        lines.append(f'<tr><th scope="row">{_model(model)}</th>{"".join(cells)}</tr>')
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Verdicts by {escape(title.lower())}">'
        f'<table class="matrix"><thead><tr><th rowspan="2" scope="col">{escape(title)}</th>{kinds}</tr>'
        f"<tr>{names}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _emotions(claims: Iterable[Claim], looks: Looks) -> list[str | None]:
    """In the bank's order; claims about all emotions together first."""
    every = {claim.emotion for claim in claims}
    return [None] * (None in every) + list(looks.in_order(e for e in every if e is not None))


def _edge(columns: Sequence[tuple[str, str | None]], k: int) -> str:
    return "first" if not k or columns[k - 1][0] != columns[k][0] else ""


def _model(name: str) -> str:
    return ARROW.join(f"<span>{escape(short_name(part))}</span>" for part in name.split(ARROW))


def _cell(claim: Claim | None, edge: str) -> str:
    if claim is None:
        return f'<td class="{edge}"></td>'
    verdict = claim.verdict or "not tested"
    look = BADGES[verdict]
    said = f"{claim_short(claim.id)}, {claim.emotion or 'all emotions'}, {claim.model}: {verdict}"
    if claim.value is not None:
        said += f"; {number(claim.value)}, chance {number(claim.chance)}, gain {number(claim.gain)}"
    return (
        f'<td class="{edge}"><a class="cell {look.css}" href="#{claim_anchor(claim)}" title="{escape(said)}" '
        f'aria-label="{escape(said)}"><b aria-hidden="true">{look.symbol}</b>'
        f"<small>{number(claim.value)}</small></a></td>"
    )


def main_claims(claims: Sequence[Claim]) -> list[Claim]:
    """The claims of the figure on the first screen: of the first kind in `_MAIN` that is supported anywhere, else of
    the first that has values."""
    kinds = sorted(ids_of(claims), key=lambda i: _MAIN.index(i) if i in _MAIN else len(_MAIN))
    of = {i: [c for c in claims if c.id == i] for i in kinds}
    supported = (own for own in of.values() if any(c.verdict == "supported" for c in own))
    measured = (own for own in of.values() if any(c.value is not None for c in own))
    return next(supported, None) or next(measured, [])


def answers(claims: Sequence[Claim]) -> str:
    """One sentence a question."""
    lines = []
    for place, question in enumerate(dict.fromkeys(c.question for c in claims)):
        own = [c for c in claims if c.question == question]
        lines.append(
            f'<li><a href="#question-{place}">{escape(question_title(question))}</a> '
            f"{escape(verdict_sentence(own))}</li>"
        )
    return f'<ul class="answers">{"".join(lines)}</ul>'


def headline(results: Results) -> str:
    """What was studied, and how many claims came out how."""
    claims = results.claims
    counts = ", ".join(f"{n} {v}" for v in VERDICTS if (n := sum(c.verdict == v for c in claims)))
    names = listed([m.name for m in results.models]) or "no model"
    total = f"{len(claims)} claims: {counts}." if claims else "No claim has been judged yet."
    return f"Profile {results.profile}, {names}. {total}"
