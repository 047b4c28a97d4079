"""Tables of the page, as HTML; what can be clicked in them is a button."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from emotion_circuits.app._evidence import Evidence
from emotion_circuits.app._heads import HeadMap
from emotion_circuits.app._html import WRECKED, paragraph, safe
from emotion_circuits.app._maps import LayerDoseMap
from emotion_circuits.app._own import OwnEmotion
from emotion_circuits.app._reading import Reading
from emotion_circuits.app._writing import Alternative, Draft
from emotion_circuits.report import interval, layer_name, number, p_value, table
from emotion_circuits.statistics import Claim


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


def heads_html(reading: Reading, found: HeadMap) -> str:
    """Layers × heads as a table of buttons, coloured beyond what generic texts do."""
    reach = float(np.abs([found.values, found.low, found.high]).max()) or 1.0
    body = []
    for layer in reversed(range(len(found.values))):
        line = [str(layer)]
        for head, value in enumerate(found.values[layer]):
            low, high = float(found.low[layer, head]), float(found.high[layer, head])
            side = "above" if value > high else "below" if value < low else "within"
            said = f"layer {layer}, head {head}: {number(float(value))}, 95 % of generic texts in {interval(low, high)}"
            line.append(
                f'<button type="button" class="{side}" data-pick="{layer}:{head}" title="{said}" aria-label="{said}" '
                f'style="--s:{round(100 * abs(value) / reach)}%">{number(float(value))}</button>'
            )
        body.append(line)
    outside = int(((found.values < found.low) | (found.values > found.high)).sum())
    note = (
        f"What each head writes along {reading.emotion} before layer {layer_name(reading.layer)} ends, in spreads, "
        f"mean over the text's tokens. Coloured: outside of where 95 % of generic texts lie, {outside} of "
        f"{found.values.size}; by chance about {0.05 * found.values.size:.0f} would. A click shows where a head looks."
    )
    columns = ["layer", *(f"head {h} " for h in range(found.values.shape[1]))]
    return f'<div class="ec-map">{table("Heads", columns, body)}</div>{paragraph(note)}'


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
        f"{found.n_pairs} pairs; a direction of {found.n_pairs - q.n_groups} judged on the other {q.n_groups}. Chance: "
        f"{number(q.chance)}, 95 % of permuted labels in {interval(q.null_low, q.null_high)}. Layer "
        f"{layer_name(found.layer)}. {verdict} {found.name} can be chosen as emotion above, in this browser."
    )
    return f'<section class="ec-card">{table(found.name, columns, rows)}{paragraph(note)}</section>'
