"""The ways of changing tone beside each other: effect against damage on one plot, and a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from emotion_circuits.components import ABLATE, ABLATED_AT, CIRCUIT, WAYS, MethodRow, title_of
from emotion_circuits.report._chart import Axis, Chart, Key, Level, Panel, Rule, Series
from emotion_circuits.report._results import METHODS, ModelResults, read_rows
from emotion_circuits.report._sections import Picture, Section, table, with_interval
from emotion_circuits.report._style import counts, equals, interval, layer_name, number, p_value, plain
from emotion_circuits.scoring import RANDOM, twin_of

_TWINS = {"swap": "P", "swap, last token": "X", "prompted": "*", CIRCUIT: "h"}
_LOOKS = {
    # method → colour's role, marker
    "add": ("yes", "o"),
    "add, prompt only": ("yes", "^"),
    "iterative": ("yes", "s"),
    "clamp": ("above", "D"),
    ABLATE: ("above", "v"),
    "swap": ("no", "P"),
    "swap, last token": ("no", "X"),
    "prompted": ("all", "*"),
    CIRCUIT: ("accent", "h"),
    RANDOM: ("null", "."),
    **{twin_of(method): ("null", marker) for method, marker in _TWINS.items()},
}
_WAYS = {"raise": "raised in neutral prompts", "lower": "lowered in the emotion's own prompts"}


def methods_sections(model: ModelResults) -> Iterator[Section]:
    """What `compare-methods` or the stage `methods` wrote; nothing where there is no table."""
    rows = read_rows(model.file(METHODS), MethodRow, model.name)
    first = [row for row in rows if row.scorer == rows[0].scorer]  # a plot shows one scorer
    title = f"{model.name}: effect of every method against damage"
    pictures = methods_pictures(first, f"{model.slug}/methods", title)
    if pictures:
        yield Section("Which way of changing tone is best?", [*pictures, methods_html(rows)])


def methods_pictures(rows: Sequence[MethodRow], path: str, title: str) -> list[Picture]:
    """A panel for each emotion (sideways) and way (downwards), for one scorer; nothing where nothing was measured.

    Up is more of what was asked for, right and left are text that is harder and easier to predict than clean text.

    Args:
        rows: of one scorer.
        path: without an ending.
        title: written above.
    """
    usable = [r for r in rows if math.isfinite(r.effect) and math.isfinite(r.damage)]
    if not usable:
        return []
    emotions = list(dict.fromkeys(r.emotion for r in usable))
    panels = []
    for way in (way for way in WAYS if any(r.way == way for r in usable)):
        axes = _axes([r for r in usable if r.way == way])
        panels.append(
            tuple(_panel(e, way, [r for r in usable if (r.way, r.emotion) == (way, e)], axes) for e in emotions)
        )
    shown = {r.method for r in usable}
    keys = [Key(m, role, marker, 5.5) for m, (role, marker) in _LOOKS.items() if m in shown]
    keys.append(Key("nothing beats it at both", hollow=True, edge="ink"))
    drawing = Chart(tuple(panels), (), 2.4, 0.35, 0.8, tuple(keys), each_titled=True)
    return [Picture(path, drawing, title, _caption(rows))]


def _axes(rows: Sequence[MethodRow]) -> tuple[Axis, Axis]:
    """Damage, symmetrical about 1 in logarithms, and effect."""
    furthest = max([abs(math.log(r.damage)) for r in rows] + [math.log(1.5)]) * 1.15
    lows = [r.ci_low for r in rows if math.isfinite(r.ci_low)] + [0.0]
    highs = [r.ci_high for r in rows if math.isfinite(r.ci_high)] + [0.1]
    room, low, high = 0.06 * (max(highs) - min(lows)), math.exp(-furthest), math.exp(furthest)
    fine = (0.67, 0.8, 0.9, 1, 1.1, 1.25, 1.5) if high < 1.8 else (0.1, 0.25, 0.5, 1, 2, 4, 10, 100, 1000)
    ticks = tuple((float(t), f"{t:g}") for t in fine if low <= t <= high)
    damage = Axis("perplexity × clean text's", low, high, ticks, log=True)
    return damage, Axis("effect on the score", min(lows) - room, max(highs) + room)


def _panel(emotion: str, way: str, rows: Sequence[MethodRow], axes: tuple[Axis, Axis]) -> Panel:
    series = []
    for row in rows:
        role, marker = _LOOKS[row.method]
        said = plain(row.dose) if math.isfinite(row.dose) and row.method != ABLATE else ""
        if said and row.method in (CIRCUIT, twin_of(CIRCUIT)):  # a strength is no dose
            said = f"×{said}"
        elif said and row.dose == ABLATED_AT:
            said = ABLATE
        words = (
            f"effect {number(row.effect)} {interval(row.ci_low, row.ci_high)}\nchance {number(row.chance)} "
            f"{interval(row.chance_low, row.chance_high)}, p {equals(row.p)}\nperplexity × {number(row.damage)} "
            f"{interval(row.damage_low, row.damage_high)}\n{row.regime}, n = {row.n_prompts}"
        )
        series.append(
            Series(
                title_of(row), (row.damage,), (row.effect,), (row.ci_low,), (row.ci_high,), (row.damage_low,),
                (row.damage_high,), role, shaded=False, width=0.0, marker=marker,
                size=8 if row.method == "prompted" else 5.5, hover=(words,), texts=(said,),
                ringed=row.on_front, alpha=0.35 if row.regime in ("collapsed", "empty") else 1.0,
            )
        )  # fmt: skip
    title = f"{emotion}, {_WAYS[way].replace(' own', '')}"
    return Panel(title, *axes, tuple(series), levels=(Level(0.0, "", "solid"),), rules=(Rule(1.0),))


def _caption(rows: Sequence[MethodRow]) -> str:
    return (
        f"Change of the texts' mean {rows[0].scorer} score in the direction asked for (upwards) against their "
        "perplexity under the clean model, over that of clean text (sideways), with 95 % intervals over "
        f"{counts(row.n_prompts for row in rows)} prompts. Grey: random twins, such as directions of the same size: "
        "the chance level. Small numbers are doses. Ringed: no other method or dose has at least this effect with no "
        "more damage. Pale: the text collapsed."
    )


def methods_html(rows: Sequence[MethodRow]) -> str:
    """Every method and dose beside chance, for the scorer that is drawn; other scorers' tables are folded."""
    scorers = list(dict.fromkeys(row.scorer for row in rows))
    tables = {scorer: _table(scorer, [row for row in rows if row.scorer == scorer]) for scorer in scorers}
    return "".join(
        made if place == 0 else f"<details><summary>the same by the scorer {escape(scorer)}</summary>{made}</details>"
        for place, (scorer, made) in enumerate(tables.items())
    )


def _table(scorer: str, rows: Sequence[MethodRow]) -> str:
    body: list[str | list[str]] = []
    for emotion, way, own in _groups(rows):
        layers = ", ".join(layer_name(i) for i in sorted({row.layer for row in own if row.layer >= 0}))
        title = (
            f"{emotion}, {_WAYS[way]} (layer {layers}; clean text scores {number(own[0].clean_score)}, "
            f"so the largest effect is {number(own[0].ceiling)})"
        )
        body += [escape(title), *(_line(row) for row in own if not row.method.startswith(RANDOM))]
    return table(
        f"Methods by the scorer {scorer}. Chance is the effect of the method's random twin, such as random directions "
        "at the same dose; p is against it or, where there is none, against clean text (so marked), two-sided and not "
        "adjusted for the number of rows. Front: nothing has at least this effect with no more damage. n: prompts and "
        "texts.",
        ("Method", "Effect [95 % interval]", "Chance [95 % interval]", "p", "Perplexity × [95 % interval]", "Regime",
         "Front", "n"),
        body, f"Methods, {scorer}",
    )  # fmt: skip


def _line(row: MethodRow) -> list[str]:
    return [
        escape(title_of(row).replace(" -", " −")),
        with_interval(number(row.effect), interval(row.ci_low, row.ci_high)),
        with_interval(number(row.chance), interval(row.chance_low, row.chance_high)),
        p_value(row.p) + ("" if math.isfinite(row.chance) else " <small>clean</small>"),
        with_interval(number(row.damage), interval(row.damage_low, row.damage_high)),
        escape(row.regime), "●" if row.on_front else "", f"{row.n_prompts}, {row.n_texts}",
    ]  # fmt: skip


def _groups(rows: Sequence[MethodRow]) -> list[tuple[str, str, list[MethodRow]]]:
    """Rows by emotion and way, raising before lowering."""
    emotions = dict.fromkeys(row.emotion for row in rows)
    found = [(e, w, [r for r in rows if (r.emotion, r.way) == (e, w)]) for e in emotions for w in WAYS]
    return [group for group in found if group[2]]
