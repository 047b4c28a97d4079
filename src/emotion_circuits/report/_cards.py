"""A claim as a card: what was measured on a line between chance and ceiling, the null's draws below it, and why the
verdict is what it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape

from emotion_circuits.report._results import ARROW
from emotion_circuits.report._sections import anchor_of, paragraph
from emotion_circuits.report._style import Looks, interval, layer_name, number, p_value
from emotion_circuits.report._words import BADGES, claim_command, claim_short, floor_name
from emotion_circuits.statistics import Claim, Histogram, Null, Verdict

_WIDTH, _LINE, _BASE = 640, 26, 66
"""Of the drawing: how wide, and where the values' line and the null's ground are."""
_SIGNS = ("×", "◇", "+", "▽", "✳", "□", "△")
"""Of floors, as in the picture of all claims of a kind."""


def badge(verdict: Verdict) -> str:
    """A verdict with its symbol; the colour only repeats what the words say."""
    look = BADGES[verdict]
    title = escape(look.meaning)
    return f'<span class="badge {look.css}" title="{title}"><i aria-hidden="true">{look.symbol}</i> {verdict}</span>'


def claim_anchor(claim: Claim) -> str:
    """Where links to a claim lead."""
    return anchor_of("claim", claim.id, claim.model, claim.emotion or "all")


def cards(claims: Sequence[Claim], looks: Looks) -> str:
    """Claims below each other, each to unfold."""
    signs = dict(zip(sorted({name for claim in claims for name in claim.floors}), _SIGNS, strict=False))
    return f'<div class="claims">{"".join(_card(claim, looks, signs) for claim in claims)}</div>'


def _card(claim: Claim, looks: Looks, signs: Mapping[str, str]) -> str:
    verdict = claim.verdict or "not tested"
    emotion = looks.label(claim.emotion) if claim.emotion else "all emotions"
    between = interval(*(claim.ci95 or (None, None)))
    head = (
        f'{badge(verdict)} <span class="of"><b style="color:var(--{looks.role(claim.emotion or "all")})">'
        f"{escape(emotion)}</b> in {escape(claim.model)}</span> "
        f'<span class="num">{number(claim.value)} <span class="ci">{between}</span></span>'
        f'<span class="num chance">chance {number(claim.chance)}</span>'
    )
    kind = escape(f"{claim.id} {claim_short(claim.id)}")
    return (
        f'<details class="claim" id="{claim_anchor(claim)}" data-kind="{kind}"><summary>{head}</summary>'
        f"{_drawing(claim, looks, signs)}{''.join(map(paragraph, _facts(claim)))}{_behind(claim)}</details>"
    )


def _facts(claim: Claim) -> Iterator[str]:
    yield claim.why
    if claim.value is None:
        return
    yield (
        f"Statistic: {claim.statistic}, at layer {layer_name(claim.layer)}, over {claim.n_unique} {claim.unit}. "
        f"p {p_value(claim.p)}, the largest against any null or floor; {p_value(claim.p_adjusted)} after Holm."
        + (f" A gain of {number(claim.effect_of_interest)} would matter." if claim.effect_of_interest else "")
    )
    if claim.verdict == "supported" and claim.gain_ci95 and claim.gain_ci95[1] < (claim.effect_of_interest or 0.0):
        yield "There is a gain, and it is smaller than what was declared beforehand to matter."
    if claim.null:
        yield f"Nulls: {claim.null}."
    if claim.p_against:
        against = ", ".join(f"{floor_name(k)} {p_value(v)}" for k, v in sorted(claim.p_against.items()))
        yield f"p against each: {against}."
    conditions = [f"{floor_name(name)} {number(v)}" for name, v in (claim.side_conditions or {}).items()]
    if conditions:
        yield f"What must hold besides: {', '.join(conditions)}."


def _behind(claim: Claim) -> str:
    """The files of a claim, and the command that makes it again."""
    parts = []
    if claim.evidence:
        parts.append("Evidence: " + ", ".join(f"<code>{escape(e)}</code>" for e in claim.evidence))
    if ARROW not in claim.model:
        parts.append(
            f'<a href="#{anchor_of("model", claim.model)}">Heads, texts and layers of {escape(claim.model)}</a>'
        )
    if command := claim_command(claim.id):
        models = [name.strip() for name in claim.model.split(ARROW)]
        flags = " ".join(f"--model{'' if k == 1 else k} {name}" for k, name in enumerate(models, 1))
        parts.append(f"Alone: <code>emotion-circuits {command} {escape(flags)}</code>")
    return "".join(f'<p class="behind">{part}</p>' for part in parts)


def _drawing(claim: Claim, looks: Looks, signs: Mapping[str, str]) -> str:
    """Value and interval, floors, chance and ceiling on one line; the draws of the hardest null below."""
    if claim.value is None:
        return ""
    low, high = claim.ci95 or (claim.value, claim.value)
    null = max(claim.nulls.items(), key=lambda item: item[1].high, default=None)
    ends = [low, high, claim.value, *claim.floors.values(), *(n.mean for n in claim.nulls.values())]
    ends += [n.high for n in claim.nulls.values()]
    if null is not None and null[1].histogram is not None:
        ends += [null[1].histogram.low, null[1].histogram.high]
    least, most = min(ends), max(ends)
    # A ceiling far away would leave no room for what is measured.
    if claim.ceiling is not None and claim.ceiling - least <= 4 * (most - least or 1.0):
        most = max(most, claim.ceiling)
    room = (most - least or 1.0) * 0.03
    scale = (_WIDTH - 20) / (most - least + 2 * room)

    def x(value: float) -> float:
        return round(10 + (value - least + room) * scale, 1)

    role = looks.role(claim.emotion or "all")
    parts: list[str] = []
    legend = [("●", role, f"value {number(claim.value)} {interval(low, high)}")]
    if null is not None:
        parts += _null(null[1], x)
        told = f"{null[0]}: mean {number(null[1].mean)}, 97.5 % of {null[1].n_draws} draws up to {number(null[1].high)}"
        legend.append(("▮", "null", told))
    for name, level in sorted(claim.floors.items()):
        sign = signs.get(name, "·")
        parts.append(f'<text x="{x(level)}" y="{_LINE + 5}" text-anchor="middle" fill="var(--muted)">{sign}</text>')
        legend.append((sign, "muted", f"{floor_name(name)} {number(level)}"))
    if claim.ceiling is not None and claim.ceiling <= most:
        at = x(claim.ceiling)
        parts.append(f'<path d="M{at} {_LINE - 14}V{_LINE + 14}" stroke="var(--muted)" stroke-dasharray="3 2"/>')
        legend.append(("┆", "muted", f"ceiling {number(claim.ceiling)}"))
    parts.append(f'<path d="M{x(low)} {_LINE}H{x(high)}" stroke="var(--{role})" stroke-width="3"/>')
    parts.append(f'<circle cx="{x(claim.value)}" cy="{_LINE}" r="6" fill="var(--{role})"/>')
    listed = "".join(
        f'<li><i style="color:var(--{c})" aria-hidden="true">{s}</i> {escape(t)}</li>' for s, c, t in legend
    )
    label = escape("; ".join(text for _, _, text in legend))
    return (
        f'<svg class="bar" viewBox="0 0 {_WIDTH} {_BASE + 6}" role="img" aria-label="{label}">'
        f'<path d="M0 {_LINE}H{_WIDTH}" stroke="var(--grid)"/>{"".join(parts)}</svg><ul class="legend">{listed}</ul>'
    )


def _null(null: Null, x: Callable[[float], float]) -> Iterator[str]:
    """The null's draws as bars, or where only their summary is known, as a line from the mean to 97.5 %."""
    yield f'<path d="M{x(null.mean)} {_LINE}H{x(null.high)}" stroke="var(--null)" stroke-width="9" opacity=".55"/>'
    yield f'<path d="M{x(null.mean)} {_LINE - 9}V{_BASE}" stroke="var(--null-strong)" stroke-width="2"/>'
    if null.histogram is not None:
        yield f'<path d="{_outline(null.histogram, x)}" fill="var(--null)" opacity=".45"/>'


def _outline(histogram: Histogram, x: Callable[[float], float]) -> str:
    counts, tallest = histogram.counts, max(histogram.counts)
    step = (histogram.high - histogram.low) / len(counts)
    path = f"M{x(histogram.low)} {_BASE}"
    for k, count in enumerate(counts):
        up = round(_BASE - (_BASE - _LINE - 12) * count / tallest, 1)
        path += f"V{up}H{x(histogram.low + (k + 1) * step)}"
    return f"{path}V{_BASE}Z"
