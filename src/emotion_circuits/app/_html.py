"""Texts as the page shows them, as HTML; every text of a user's or a model's is escaped here."""

from __future__ import annotations

import html
import math

import numpy as np
from numpy.typing import NDArray

from emotion_circuits.app._reading import Reading
from emotion_circuits.app._writing import ArmText, Draft
from emotion_circuits.report import interval, layer_name, number

WRECKED = 1.5
"""Perplexity over the clean text's from which claims about steering do not count."""
WORDS = {
    "clean": "the model as it is",
    "steered": "along the emotion's direction",
    "random": "along a random direction of the same size: chance",
}
# The page's templates know ${} and {{}}; a text must not look like one.
_TEMPLATE = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;", "@": "&#64;"})


def safe(text: object) -> str:
    """Any text as HTML that shows it."""
    return html.escape(str(text)).translate(_TEMPLATE)


def message(text: str, kind: str = "error") -> str:
    """A remark above the page; an error is read out."""
    if not text:
        return ""
    lines = "<br>".join(safe(line.strip()) for line in text.splitlines())
    return f'<div class="ec-message {kind}" role="{"alert" if kind == "error" else "status"}">{lines}</div>'


def paragraph(text: str) -> str:
    return f'<p class="ec-note">{safe(text)}</p>'


def progress_html(share: float) -> str:
    return f'<label class="ec-note">computing <progress max="1" value="{share:.3f}"></progress> {share:.0%}</label>'


def token_html(piece: str, pick: str, hover: str, strength: float, side: str, first: bool) -> str:
    """One token that can be picked; the arrow keys go from one to the next."""
    shown = safe(piece) or '<span class="ec-part">▯</span>'
    share = 0 if not math.isfinite(strength) else round(100 * min(max(strength, 0.0), 1.0))
    return (
        f'<span class="ec-token {side}" role="button" tabindex="{0 if first else -1}" data-pick="{safe(pick)}" '
        f'title="{safe(hover)}" style="--s:{share}%">{shown}</span>'
    )


def draft_html(draft: Draft) -> str:
    """Three texts with their meters."""
    clean, _, random = draft.texts
    cards = []
    for text in draft.texts:
        tokens = [
            token_html(piece, f"{text.arm}:{i}", f"KL {number(kl)} nats; clean model's p {number(math.exp(log_p))}",
                   kl, "kl", i == 0)
            for i, (piece, kl, log_p) in enumerate(zip(text.pieces, text.kl, text.log_p, strict=True))
        ]  # fmt: skip
        waiting = "" if draft.done else '<span class="ec-cursor" aria-hidden="true"></span>'
        written = "".join(tokens) or ("" if waiting else '<span class="ec-part">nothing: the text ends here</span>')
        cards.append(
            f'<section class="ec-card {text.arm}" aria-label="{text.arm}"><h3>{text.arm}<small>{safe(WORDS[text.arm])}'
            f'</small></h3><div class="ec-text" dir="auto">{written}{waiting}</div>'
            f"{_meters(text, clean, random)}</section>"
        )
    return f'<div class="ec-cards" aria-live="off">{"".join(cards)}</div>'


def _meters(text: ArmText, clean: ArmText, random: ArmText) -> str:
    ratio = text.perplexity / clean.perplexity if clean.log_p and text.log_p else math.nan
    rows = [_meter("perplexity", text.perplexity, math.log(max(text.perplexity, 1)) / math.log(100), "")]
    if text.arm != "clean":
        over = " – language is damaged" if ratio > WRECKED else ""
        rows[0] = _meter("perplexity", text.perplexity, math.log(max(text.perplexity, 1)) / math.log(100),
                         f"× {number(ratio)} of clean{over}")  # fmt: skip
        beside = "chance" if text.arm == "random" else f"chance {number(random.mean_kl)}"
        rows.append(_meter("KL from clean", text.mean_kl, text.mean_kl / 2, f"nats a token; {beside}"))
    return f'<div class="ec-meters">{"".join(rows)}</div>'


def _meter(name: str, value: float, share: float, unit: str) -> str:
    width = 0 if not math.isfinite(share) else round(100 * min(max(share, 0), 1))
    return (
        f'<div class="ec-meter"><span>{name}</span><b>{number(value)}</b> <small>{safe(unit)}</small>'
        f'<i style="width:{width}%" aria-hidden="true"></i></div>'
    )


def reading_html(reading: Reading) -> str:
    """A text coloured by its tokens' scores, beyond the chance band only."""
    low, high = reading.band
    reach = max(abs(low), abs(high), 1e-9)
    tokens = []
    first = True
    for i, (piece, score) in enumerate(zip(reading.pieces, reading.scores, strict=True)):
        if not math.isfinite(score):
            tokens.append(safe(piece))
            continue
        side = "above" if score > high else "below" if score < low else "within"
        beyond = score - high if side == "above" else low - score
        hover = f"{number(score)}; 95 % of generic tokens lie in {interval(low, high)}"
        tokens.append(token_html(piece, str(i), hover, 0.25 + beyond / (3 * reach), side, first))
        first = False
    counted = [s for s in reading.scores if math.isfinite(s)]
    outside = sum(not low <= s <= high for s in counted)
    percent = number(reading.percentile)
    return (
        f'<section class="ec-card"><h3>{safe(reading.emotion)}<small>{safe(reading.model)}, {safe(reading.kind)} '
        f"direction at layer {layer_name(reading.layer)}</small></h3>"
        f'<div class="ec-text" dir="auto">{"".join(tokens)}</div><p class="ec-note">The whole text scores '
        f"<b>{number(reading.score)}</b> spreads; {percent} % of generic texts score lower, 95 % score below "
        f"{number(reading.usual)}. {outside} of {len(counted)} tokens lie outside {interval(low, high)}, where 95 % of "
        f"generic tokens lie: by chance about {0.05 * len(counted):.0f} would.</p></section>"
    )


def attention_html(reading: Reading, layer: int, head: int, found: NDArray[np.float64]) -> str:
    """The text with what each token gets of a head's attention beyond attention that is spread evenly."""
    tokens = []
    for piece, share, even in zip(reading.pieces, *found, strict=True):
        hover = f"{number(share)} of the attention of later tokens; spread evenly {number(even)}"
        beyond = (share - even) / max(1 - even, 1e-9)
        tokens.append(token_html(piece or "", "", hover, beyond, "kl", False))
    return (
        f'<section class="ec-card"><h3>Layer {layer}, head {head}<small>shaded: attention from later tokens, beyond '
        f'what each would get if it were spread evenly (chance)</small></h3><div class="ec-text" dir="auto">'
        f"{''.join(tokens)}</div></section>"
    )
