"""The ways of changing tone beside each other on the page: how to read their plot, and a table of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from emotion_circuits.components import WAYS, MethodRow, title_of
from emotion_circuits.errors import InputError
from emotion_circuits.report._labels import read_table
from emotion_circuits.report._style import equals, interval, layer_name, number, p_value
from emotion_circuits.scoring import RANDOM

METHODS_FILE = "patching/{}_methods.parquet"
_COLUMNS = ("Method", "Effect [95 % interval]", "Chance [95 % interval]", "p", "Perplexity × [95 % interval]", "Regime",
            "Front", "n")  # fmt: skip
_WAYS = {"raise": "raised in neutral prompts", "lower": "lowered in the emotion's own prompts"}


def read_methods(folder: Path, name: str, slug: str) -> tuple[MethodRow, ...]:
    """A model's rows as `compare-methods` or the stage `methods` wrote them; none where there is no table.

    Raises:
        InputError: a table that cannot be read or lacks a column.
    """
    path = folder / METHODS_FILE.format(slug)
    if not path.is_file():
        return ()
    frame = read_table(path)
    absent = [c for c in MethodRow._fields if c not in frame.columns]
    if absent:
        raise InputError(
            f"{path} is not a table of this version.",
            found=f"no column {absent[0]}",
            next_step="run compare-methods again",
        )
    frame = frame[frame["model"] == name]
    return tuple(
        MethodRow._make(values) for values in frame[list(MethodRow._fields)].itertuples(index=False, name=None)
    )


def drawn_rows(rows: Sequence[MethodRow]) -> list[MethodRow]:
    """Rows of the first scorer: a plot shows one."""
    return [row for row in rows if row.scorer == rows[0].scorer]


def methods_caption(rows: Sequence[MethodRow]) -> str:
    """How to read the plot."""
    shown = drawn_rows(rows)
    return (
        f"Change of the texts' mean {shown[0].scorer} score in the direction asked for (upwards) against their "
        "perplexity under the clean model, over that of clean text (sideways), with 95 % intervals over "
        f"{_counts(shown)} prompts. Grey: random twins, such as directions of the same size: the chance level. Small "
        "numbers are doses. Ringed: no other method or dose has at least this effect with no more damage. Pale: the "
        "text collapsed."
    )


def methods_alt(rows: Sequence[MethodRow]) -> str:
    """The largest effect on the front, for each emotion and way, in words."""
    parts = []
    for emotion, way, own in _groups(drawn_rows(rows)):
        front = [row for row in own if row.on_front]
        said = "no method has an effect"
        if front:
            best = max(front, key=lambda row: row.effect)
            said = (
                f"{title_of(best)} {number(best.effect)} {interval(best.ci_low, best.ci_high)}, "
                f"p {equals(best.p)}, perplexity × {number(best.damage)}"
            )
        parts.append(f"{emotion} {_WAYS[way]}: {said}")
    return "Effect against damage of every method. Most on the front: " + "; ".join(parts) + "."


def methods_html(rows: Sequence[MethodRow]) -> str:
    """Every method and dose beside chance, for the scorer that is drawn; other scorers' tables are folded."""
    scorers = list(dict.fromkeys(row.scorer for row in rows))
    tables = {scorer: _table(scorer, [row for row in rows if row.scorer == scorer]) for scorer in scorers}
    return "".join(
        table if place == 0 else f"<details><summary>the same by the scorer {escape(scorer)}</summary>{table}</details>"
        for place, (scorer, table) in enumerate(tables.items())
    )


def _table(scorer: str, rows: Sequence[MethodRow]) -> str:
    body = []
    for emotion, way, own in _groups(rows):
        first = own[0]
        layers = ", ".join(layer_name(i) for i in sorted({row.layer for row in own if row.layer >= 0}))
        title = (
            f"{emotion}, {_WAYS[way]} (layer {layers}; clean text scores {number(first.clean_score)}, "
            f"so the largest effect is {number(first.ceiling)})"
        )
        lines = "".join(_line(row) for row in own if not row.method.startswith(RANDOM))
        head = f'<tr><th class="group" colspan="{len(_COLUMNS)}" scope="rowgroup">{escape(title)}</th></tr>'
        body.append(f"<tbody>{head}{lines}</tbody>")
    caption = (
        f"Methods by the scorer {escape(scorer)}. Chance is the effect of the method's random twin, such as random "
        "directions at the same dose; p is against it or, where there is none, against clean text (so marked), "
        "two-sided and not adjusted for the number of rows. Front: nothing has at least this effect with no more "
        "damage. n: prompts and texts."
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in _COLUMNS)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Methods, {escape(scorer)}"><table>'
        f"<caption><span>{caption}</span></caption><thead><tr>{head}</tr></thead>{''.join(body)}</table></div>"
    )


def _line(row: MethodRow) -> str:
    against = "" if math.isfinite(row.chance) else " <small>clean</small>"
    cells = [
        _with_interval(row.effect, row.ci_low, row.ci_high),
        _with_interval(row.chance, row.chance_low, row.chance_high),
        p_value(row.p) + against,
        _with_interval(row.damage, row.damage_low, row.damage_high),
        escape(row.regime), "●" if row.on_front else "", f"{row.n_prompts}, {row.n_texts}",
    ]  # fmt: skip
    name = escape(title_of(row).replace(" -", " −"))
    return f'<tr><th scope="row">{name}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _with_interval(value: float, low: float, high: float) -> str:
    return f'{number(value)} <span class="ci">{interval(low, high)}</span>'.replace(' <span class="ci"></span>', "")


def _groups(rows: Sequence[MethodRow]) -> list[tuple[str, str, list[MethodRow]]]:
    """Rows by emotion and way, raising before lowering."""
    emotions = dict.fromkeys(row.emotion for row in rows)
    found = [(e, w, [r for r in rows if (r.emotion, r.way) == (e, w)]) for e in emotions for w in WAYS]
    return [group for group in found if group[2]]


def _counts(rows: Sequence[MethodRow]) -> str:
    found = {row.n_prompts for row in rows}
    return f"{min(found)}" if len(found) == 1 else f"{min(found)} to {max(found)}"
