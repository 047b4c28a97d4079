"""Heads in the report: which carry an emotion, and what the best ones look at."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from html import escape
from typing import TYPE_CHECKING, Any

from emotion_circuits.components import UNTRAINED, HeadExamples
from emotion_circuits.report._head_maps import draw_head_maps, head_map_alt, head_map_caption
from emotion_circuits.report._head_results import HeadResults
from emotion_circuits.report._head_texts import head_texts, texts_caption
from emotion_circuits.report._style import interval, number, p_value

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

TITLE = "Which heads carry it?"
SHOWN_HEADS = 5
_COLUMNS = (
    "Head", "Score, nats", "p (max-T)", "Patched, nats", "Direct", "Attention to the word", "neutral twin",
    "heads of the layer", "all tokens alike",
)  # fmt: skip

_WITHOUT = ("direct", "attention")

Drawn = Callable[["Figure", str, str], str]
"""(figure, caption, text alternative) → HTML, as the page has it."""


def heads_section(heads: HeadResults | None, drawn: Drawn) -> Iterator[str]:
    """The map, the table of the best heads and the example texts, as HTML; nothing where no head was screened."""
    if heads is None:
        return
    yield f"<h3>{TITLE}</h3>"
    yield "".join(f'<p class="muted">{escape(sentence)}</p>' for sentence in heads.missing)
    figure = draw_head_maps(heads)
    if figure is not None:
        yield drawn(figure, head_map_caption(heads), head_map_alt(heads))
        yield heads_table(heads)
    found = [] if heads.examples is None else list(heads.examples.emotions)
    if found:
        yield f'<p class="muted">{escape(texts_caption(found[0]))}</p>'
        for examples in found:
            yield from head_texts(examples)


def heads_table(heads: HeadResults) -> str:
    """The largest |score| of each emotion, with chance beside attention."""
    assert heads.scores is not None
    groups = []
    for emotion in heads.emotions:
        rows = heads.scores[heads.scores["emotion"] == emotion]
        examples = heads.examples_for(emotion)
        order = rows["score"].abs().sort_values(ascending=False, kind="stable").index[:SHOWN_HEADS]
        groups.append(_group(emotion, rows, [_row(rows.loc[i].to_dict(), rows, examples) for i in order]))
    head = "".join(f'<th scope="col">{name}</th>' for name in _COLUMNS)
    caption = (
        f"The {SHOWN_HEADS} heads with the largest |score| for each emotion, with 95 % intervals over pairs. Score: "
        "estimated effect; patched: the same measured by putting the neutral twin's values into the head. Direct: "
        "what the head itself writes along the emotion's direction at the last token, over the neutral twin, in the "
        "stream's units. Chance of all three is 0. Attention: share of what it moves to the last token that comes "
        "from the emotion's word, beside the same place in the neutral twin, the mean of all heads of its layer, and "
        "the word's part of the tokens."
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Best heads"><table>'
        f"<caption><span>{caption}</span></caption><thead><tr>{head}</tr></thead>{''.join(groups)}</table></div>"
    )


def _group(emotion: str, rows: pd.DataFrame, body: list[str]) -> str:
    first = rows.iloc[0]
    about = (
        f"whole model {number(float(first['gap']))} nats, n = {int(first['n_pairs'])} pairs of "
        f"{int(first['n_scenarios'])} scenarios, {len(rows)} heads"
    )
    if UNTRAINED in rows.columns:
        about += f"; no head of an untrained twin scores beyond ±{number(float(first[UNTRAINED]))}"
    return (
        f'<tbody><tr><th class="group" colspan="{len(_COLUMNS)}" scope="rowgroup">{escape(emotion)} '
        f'<span class="muted">({about})</span></th></tr>{"".join(body)}</tbody>'
    )


def _row(row: dict[Hashable, Any], rows: pd.DataFrame, examples: HeadExamples | None) -> str:
    place = (int(row["layer"]), int(row["head"]))
    known = next((h for h in (() if examples is None else examples.heads) if (h.layer, h.head) == place), None)
    if known is not None:  # the table of a screen has no intervals of these two
        row = row | known.model_dump(include={f"{name}_ci_{end}" for name in _WITHOUT for end in ("low", "high")})
    layer = rows[rows["layer"] == row["layer"]]["attention"]
    cells = [
        _with_interval(row, "score", "ci"), p_value(row["p"]), _with_interval(row, "exact", "exact_ci"),
        _with_interval(row, "direct", "direct_ci"), _with_interval(row, "attention", "attention_ci"),
        number(row["attention_neutral"]), number(float(layer.mean())),
        number(None if examples is None else examples.uniform),
    ]  # fmt: skip
    return f'<tr><th scope="row">{place[0]}:{place[1]}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _with_interval(row: dict[Hashable, Any], name: str, bounds: str) -> str:
    low, high = row.get(f"{bounds}_low"), row.get(f"{bounds}_high")
    band = "" if low is None or high is None else interval(low, high)
    return f'{number(row[name])} <span class="ci">{band}</span>' if band else number(row[name])
