"""What the page shows, as HTML; every text of a user's or a model's is escaped here."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence

from emotion_circuits.app._evidence import Evidence
from emotion_circuits.app._maps import LayerDoseMap
from emotion_circuits.app._own import OwnEmotion
from emotion_circuits.app._reading import Reading
from emotion_circuits.app._writing import Alternative, ArmText, Draft
from emotion_circuits.report import interval, layer_name, number, p_value, table
from emotion_circuits.statistics import Claim

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


def _token(piece: str, pick: str, hover: str, strength: float, side: str, first: bool) -> str:
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
            _token(piece, f"{text.arm}:{i}", f"KL {number(kl)} nats; clean model's p {number(math.exp(log_p))}",
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


def alternatives_html(found: Sequence[Alternative], arm: str, place: int) -> str:
    """Next tokens in the three arms; each is a button from which the text goes on."""
    body = [
        [
            f'<button type="button" data-pick="{one.token}">{safe(one.text) or "▯"}</button>',
            *(number(p) for p in one.probabilities),
        ]
        for one in found
    ]
    columns = ["token", "clean ", "steered ", "random (chance) "]
    head = f"What could have come as token {place + 1} of the {arm} text; a click goes on from there"
    return table(head, columns, body)


def beside_html(draft: Draft, earlier: Mapping[str, Mapping[str, float]]) -> str:
    """The last texts' numbers beside those of an earlier run."""
    body = []
    for text in draft.texts:
        then = earlier.get(text.arm, {})
        now = {"perplexity": text.perplexity, "mean_kl": text.mean_kl}
        numbers = (v for name in now for v in (then.get(name, math.nan), now[name]))
        body.append([safe(text.arm), *map(number, numbers)])
    columns = ["text", "perplexity then ", "now ", "KL from clean then ", "now "]
    return table("An earlier run beside the last texts; random is chance", columns, body)


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
        tokens.append(_token(piece, str(i), hover, 0.25 + beyond / (3 * reach), side, first))
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


def map_html(found: LayerDoseMap) -> str:
    """Layer × dose as a table of buttons."""
    scale = max([abs(c.words.value) for c in found.cells.values() if not c.wrecked] or [1.0]) or 1.0
    body = []
    for layer in found.layers:
        line = [layer_name(layer)]
        for dose in found.doses:
            cell = found.cells.get((layer, dose))
            line.append("" if cell is None else _cell(found, layer, dose, scale))
        body.append(line)
    columns = ["layer", *(f"{dose:g} ".replace("-", "−") for dose in found.doses)]
    n = next(iter(found.cells.values())).words.n_unique
    drawn = all(math.isfinite(cell.words.null_low) for cell in found.cells.values())
    small = (
        "small: where 95 % of random directions of the same size lie (chance)" if drawn
        else "small: 95 % interval; chance was not drawn for this map, a small one that is computed here has it"
    )  # fmt: skip
    note = (
        f"Change of the log-odds of {found.emotion}'s own words, nats, n = {n} contexts; {small}. Struck through: "
        f"perplexity over {WRECKED:g} × clean. From {found.where}. A click writes with that layer and dose."
    )
    return f'<div class="ec-map">{table(f"{found.emotion}: layer × dose", columns, body)}</div>{paragraph(note)}'


def _cell(found: LayerDoseMap, layer: int, dose: float, scale: float) -> str:
    cell = found.cells[layer, dose]
    m = cell.words
    between, chance = interval(m.ci_low, m.ci_high), interval(m.null_low, m.null_high)
    said = [f"layer {layer_name(layer)}, dose {dose:g}: {number(m.value)} {between}"]
    said += [f"chance {chance}"] if chance else []
    said += [f"p {p_value(m.p)}"] if math.isfinite(m.p) else []
    said += [f"perplexity × {number(cell.damage.value)}"] if cell.damage else []
    share = round(100 * min(abs(m.value) / scale, 1)) if math.isfinite(m.value) else 0
    look = ("above" if m.value > 0 else "below") + (" wrecked" if cell.wrecked else "")
    return (
        f'<button type="button" class="{look}" data-pick="{layer}:{dose:g}" title="{safe(", ".join(said))}" '
        f'aria-label="{safe(", ".join(said))}" style="--s:{share}%">{number(m.value)}<small>{chance or between}</small>'
        "</button>"
    )


def claims_html(found: Iterable[tuple[int, Claim]]) -> str:
    """Claims as a list of buttons."""
    body = []
    for place, c in found:
        name = f'<button type="button" data-pick="{place}">{safe(c.id)}</button>'
        body.append([
            name, safe(c.model), safe(c.emotion or "–"), layer_name(c.layer),
            f"{number(c.value)} {interval(*c.ci95) if c.ci95 else ''}", number(c.chance),
            f"{number(c.gain)} {interval(*c.gain_ci95) if c.gain_ci95 else ''}", p_value(c.p_adjusted),
            str(c.n_unique), safe(c.verdict or "not judged"),
        ])  # fmt: skip
    columns = ["claim", "model", "emotion", "layer ", "value, 95 % ", "chance ", "gain, 95 % ", "p ", "n ", "verdict"]
    return (
        table("Claims; a click shows what one rests on", columns, body)
        if body
        else paragraph("No claim has these words.")
    )


def evidence_html(found: Evidence) -> str:
    """A claim's nulls, floors, rows and texts."""
    c = found.claim
    rivals = []
    for name, null in c.nulls.items():
        most = f"97.5 %: {number(null.high)}"
        rivals.append([safe(name), "null, draws", number(null.mean), most, p_value(c.p_against.get(name))])
    for name, level in c.floors.items():
        rivals.append([safe(name), "floor", number(level), "", p_value(c.p_against.get(name))])
    parts = [f"<h3>{safe(c.id)}: {safe(c.model)}, {safe(c.emotion or '–')}</h3>", paragraph(c.why)]
    parts.append(table("What could explain it more simply", ["explanation", "kind", "level ", "", "p "], rivals))
    for name, rows in found.tables.items():
        columns = list(rows[0]) if rows else ["nothing"]
        body = [[_value(row[column]) for column in columns] for row in rows]
        parts.append(table(f"{name}, first rows about it", columns, body))
    if found.missing:
        parts.append(paragraph(f"Not there: {', '.join(found.missing)}."))
    if found.texts:
        parts.append(table("Texts", ["text", "which"], [[safe(text), safe(which)] for which, text in found.texts]))
    return f'<section class="ec-card">{"".join(parts)}</section>'


def _value(value: object) -> str:
    return number(value) if isinstance(value, float) else safe("–" if value is None else value)


def own_html(found: OwnEmotion) -> str:
    """How well a pasted emotion is told, beside chance and floors."""
    q = found.quality
    rows = [["the direction", f"{number(q.value)} {interval(*q.interval[:2])}", "", p_value(q.p)]]
    rows += [[safe(f.name), number(f.level), interval(*f.gain), p_value(f.p)] for f in found.floors]
    beats = all(f.gain[0] > 0 for f in found.floors) and q.p < 0.05
    verdict = (
        "It beats chance and both floors on these pairs." if beats
        else "It does not beat everything that is simpler; more, or less obvious, pairs may show whether it can."
    )  # fmt: skip
    columns = ["", "AUROC, 95 % ", "gain over it, 95 % ", "p "]
    note = (
        f"{found.n_pairs} pairs; a direction of half of them judged on the other {q.n_groups}. Chance: "
        f"{number(q.chance)}, 95 % of permuted labels in {interval(q.null_low, q.null_high)}. Layer "
        f"{layer_name(found.layer)}. {verdict} {found.name} can be chosen as emotion above, in this browser."
    )
    return f'<section class="ec-card">{table(found.name, columns, rows)}{paragraph(note)}</section>'
