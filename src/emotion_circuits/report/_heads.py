"""Heads in the report: which carry an emotion, and what the best ones look at, token by token."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from emotion_circuits.components import (
    UNTRAINED,
    ExampleHead,
    HeadExample,
    HeadExamples,
    Look,
    SeenPrompt,
    read_head_examples,
)
from emotion_circuits.report._cells import Bars, Cell, CellMap, Grid
from emotion_circuits.report._results import ModelResults, read_table
from emotion_circuits.report._sections import Picture, Section, paragraph, table, with_interval
from emotion_circuits.report._style import equals, interval, number, p_value, short
from emotion_circuits.statistics import ALPHA

_TITLE = "Which heads carry it?"
_TABLED_HEADS, _SHOWN_HEADS = 5, 3
_MOST_HEADS_BESIDE = 16
"""Maps of more heads stand below each other, not side by side."""
_FAINTEST, _MOST = 0.005, 0.85
"""Behind a token, so that the text stays readable."""
_SCORES = ("layer", "emotion", "score", "p", "q", "gap", "outcome", "n_pairs", "n_scenarios")
_HEADS = (*_SCORES, "head", "ci_low", "ci_high", "exact", "exact_ci_low", "exact_ci_high", "direct", "attention",
          "attention_neutral")  # fmt: skip
UNIT_COLUMNS = ("layer", "emotion", "score", "q")
"""What is shown of units."""
_LOST = {
    "heads/screen_{}.parquet": "the map of its heads",
    "heads/units_{}.parquet": "how much units carry, layer by layer,",
    "heads/examples_{}.json": "what its best heads look at",
}
_COLUMNS = ("Head", "Score, nats", "p (max-T)", "Patched, nats", "Direct", "Attention to the word", "neutral twin",
            "heads of the layer", "all tokens alike")  # fmt: skip

Row = Mapping[Any, Any]
Scores = Mapping[str, list[Row]]
"""Emotion → rows of a screen."""


def heads_sections(model: ModelResults) -> Iterator[Section]:
    """The map, the table of the best heads and the example texts; nothing in a folder that is older than screens.

    Raises:
        InputError: a file that cannot be read or has another schema.
    """
    screen, units, examples = (model.file(path) for path in _LOST)
    if not any(path.is_file() for path in (screen, units, examples)):
        return
    parts: list[str | Picture] = [
        paragraph(f"There is no {path.format(model.slug)}, so {what} cannot be shown.", "muted")
        for path, what in _LOST.items()
        if not model.file(path).is_file()
    ]
    scores = _grouped(read_table(screen, _HEADS).to_dict("records") if screen.is_file() else [])
    masses = _grouped(read_table(units, UNIT_COLUMNS).to_dict("records") if units.is_file() else [])
    seen = read_head_examples(examples).emotions if examples.is_file() else ()
    by_emotion = {own.emotion: own for own in seen}
    if scores:
        drawing = _map(scores, masses)
        caption = _caption(scores, by_emotion, with_units=bool(masses))
        parts.append(Picture(f"{model.slug}/heads", drawing, f"{model.name}: {_TITLE}", caption))
        parts.append(_table(scores, by_emotion))
    if seen:
        parts.append(paragraph(_texts_caption(seen[0]), "muted"))
        parts += ["".join(_texts(own, model.looks.role(own.emotion))) for own in seen]
    yield Section(_TITLE, parts)


def _grouped(rows: Sequence[Row]) -> Scores:
    return {e: [r for r in rows if r["emotion"] == e] for e in dict.fromkeys(str(r["emotion"]) for r in rows)}


def _map(scores: Scores, masses: Scores) -> CellMap:
    """Layers upward, heads sideways, and beside them how much the units of each layer carry; colours of one scale."""
    every = [row for rows in scores.values() for row in rows]
    layers, heads = 1 + max(int(r["layer"]) for r in every), 1 + max(int(r["head"]) for r in every)
    largest = max(abs(r["score"]) for r in every) or 1.0
    sums = {
        e: [[math.fsum(abs(r["score"]) for r in rows if r["layer"] == layers - 1 - i and r["q"] <= limit)
             for i in range(layers)] for limit in (math.inf, ALPHA)]
        for e, rows in masses.items()
    }  # fmt: skip
    most = max((v for whole, _ in sums.values() for v in whole), default=0.0) or 1.0
    grids = tuple(
        Grid(
            emotion, tuple(str(layers - 1 - i) for i in range(layers)), tuple(map(str, range(heads))),
            {(layers - 1 - int(r["layer"]), int(r["head"])): _cell(r, largest) for r in rows},
            Bars("units", sums[emotion][0], sums[emotion][1], most, number(most)) if emotion in sums else None,
        )
        for emotion, rows in scores.items()
    )  # fmt: skip
    lines = (grids,) if heads <= _MOST_HEADS_BESIDE else tuple((grid,) for grid in grids)
    keys = (("", "* p ≤ .05 over the whole map"), ("measured", "also patched"))
    return CellMap(lines, (number(-largest), f"{number(largest)} nats"), keys, column_name="columns: heads")


def _cell(row: Row, largest: float) -> Cell:
    star = "*" if row["p"] <= ALPHA else ""
    measured = not math.isnan(row["exact"])
    words = f"head {row['layer']}:{row['head']}: {number(row['score'])} nats {interval(row['ci_low'], row['ci_high'])}"
    words += f"\nchance 0, p {equals(row['p'])} (max-T), n = {row['n_pairs']}"
    words += (
        f"\npatched {number(row['exact'])} {interval(row['exact_ci_low'], row['exact_ci_high'])}" if measured else ""
    )
    return Cell(row["score"] / largest, short(row["score"]) + star, tiny=star, outlined=0.7 * measured, hover=words)


def _caption(scores: Scores, examples: Mapping[str, HeadExamples], *, with_units: bool) -> str:
    """How to read the maps, with n, chance and ceiling."""
    first = {e: rows[0] for e, rows in scores.items()}
    gaps = (f"{e} {number(r['gap'])} ({r['n_pairs']} pairs of {r['n_scenarios']} scenarios)" for e, r in first.items())
    text = (
        "What every head (sideways) of every layer (deeper ones above) adds to the "
        f"{next(iter(first.values()))['outcome']} of an emotion's prompt over its neutral twin's, in nats, estimated "
        "by attribution: blue adds to the emotion, orange works against it, 0 is chance. The whole model's difference: "
        f"{'; '.join(gaps)}. * marks p ≤ .05 over all heads of the map (max-T). Outlined heads were also patched. Rank "
        "correlation of estimate and patching over these, which are the best and all of the first layers: "
        + "; ".join(f"{e} {_agreement(rows, examples.get(e))}" for e, rows in scores.items())
        + "."
    )
    if with_units:
        text += (
            " Bars: sum of |score| over the units of a layer, in nats; dark what units with q ≤ .05 (Benjamini and "
            "Hochberg) hold, for a sum of absolute values is above 0 by chance too."
        )
    return text


def _agreement(rows: Sequence[Row], examples: HeadExamples | None) -> str:
    from scipy import stats

    if examples is not None and examples.agreement is not None:
        found = examples.agreement
        return f"{number(found.spearman)} {interval(found.ci_low, found.ci_high)} (n = {found.n})"
    both = [(r["score"], r["exact"]) for r in rows if not math.isnan(r["exact"])]
    if len(both) < 3:
        return "not measured"
    return f"{number(float(stats.spearmanr(*zip(*both, strict=True)).statistic))} (n = {len(both)})"


def _table(scores: Scores, examples: Mapping[str, HeadExamples]) -> str:
    """The largest |score| of each emotion, with chance beside attention."""
    body: list[str | list[str]] = []
    for emotion, rows in scores.items():
        first, own = rows[0], examples.get(emotion)
        about = (
            f"whole model {number(first['gap'])} nats, n = {first['n_pairs']} pairs of {first['n_scenarios']} "
            f"scenarios, {len(rows)} heads"
        )
        if UNTRAINED in first:
            about += f"; no head of an untrained twin scores beyond ±{number(first[UNTRAINED])}"
        body.append(f'{escape(emotion)} <span class="muted">({about})</span>')
        best = sorted(rows, key=lambda r: -abs(r["score"]))[:_TABLED_HEADS]
        body += [_line(row, [r["attention"] for r in rows if r["layer"] == row["layer"]], own) for row in best]
    return table(
        f"The {_TABLED_HEADS} heads with the largest |score| for each emotion, with 95 % intervals over pairs. Score: "
        "estimated effect; patched: the same measured by putting the neutral twin's values into the head. Direct: what "
        "the head itself writes along the emotion's direction at the last token, over the neutral twin, in the "
        "stream's units. Chance of all three is 0. Attention: share of what it moves to the last token that comes from "
        "the emotion's word, beside the same place in the neutral twin, the mean of all heads of its layer, and the "
        "word's part of the tokens.",
        _COLUMNS, body, "Best heads",
    )  # fmt: skip


def _line(row: Row, layer: Sequence[float], examples: HeadExamples | None) -> list[str]:
    place = (int(row["layer"]), int(row["head"]))
    known = next((h for h in (() if examples is None else examples.heads) if (h.layer, h.head) == place), None)
    if known is not None:  # the table of a screen has no intervals of these two
        row = {
            **row,
            **known.model_dump(include={f"{n}_ci_{end}" for n in ("direct", "attention") for end in ("low", "high")}),
        }

    def shown(name: str, bounds: str) -> str:
        return with_interval(number(row[name]), interval(row.get(f"{bounds}_low"), row.get(f"{bounds}_high")))

    return [
        f"{place[0]}:{place[1]}", shown("score", "ci"), p_value(row["p"]), shown("exact", "exact_ci"),
        shown("direct", "direct_ci"), shown("attention", "attention_ci"), number(row["attention_neutral"]),
        number(math.fsum(layer) / len(layer)), number(None if examples is None else examples.uniform),
    ]  # fmt: skip


def _texts(examples: HeadExamples, role: str) -> Iterator[str]:
    """One emotion's examples: a part to unfold for each head, the first one open."""
    yield f"<h4>{escape(examples.emotion.capitalize())}</h4>"
    for place, head in enumerate(examples.heads[:_SHOWN_HEADS]):
        yield f'<details class="looks" style="--c:var(--{role})"{" open" if place == 0 else ""}>'
        yield f"<summary>{_head_words(head, examples)}</summary>"
        for example in examples.examples:
            yield f'<div class="pair">{_prompt(examples.emotion, example, example.emotion, place, other=False)}'
            yield f"{_prompt(examples.reference, example, example.neutral, place, other=True)}</div>"
        yield "</details>"


def _texts_caption(examples: HeadExamples) -> str:
    """How to read them, and the rule by which they were chosen."""
    return (
        "Where the best heads look from the prompt's last token: the stronger a token's background, the larger its "
        "part of all that the head moves there (attention times the length of what it moves). The marked word is "
        "underlined, and what stands in its place in the neutral twin below. Behind each prompt the underlined part's "
        "share, beside the mean of all heads of the layer and the part of the tokens that it is, which a head that "
        f"looks at all alike would give. Nothing was picked: the first {len(examples.examples)} pairs in the bank's "
        "order. Pointing at a token gives its numbers."
    )


def _head_words(head: ExampleHead, examples: HeadExamples) -> str:
    parts = [f"head {head}"]
    if head.score is not None:
        parts.append(f"score {number(head.score)} {interval(head.ci_low, head.ci_high)}".rstrip())
    if head.p is not None:
        parts.append(f"p {equals(head.p)}")
    if head.exact is not None:
        parts.append(f"patched {number(head.exact)}")
    return escape(", ".join([*parts, f"n = {examples.n_pairs}"]))


def _prompt(name: str, example: HeadExample, prompt: SeenPrompt, place: int, *, other: bool) -> str:
    look: Look = prompt.looks[place]
    tokens = "".join(
        _token(text, weight, share, k in example.span, first=k == 0 and "".join(prompt.tokens[1:]) == prompt.text)
        for k, (text, weight, share) in enumerate(zip(prompt.tokens, look.weights, look.shares, strict=True))
    )
    numbers = (
        f"{_percent(example.word_share(look))} from the word{' in its place' if other else ''} · heads of the layer "
        f"{_percent(look.layer_share)} · all tokens alike {_percent(example.uniform)}"
    )
    return (
        f'<p class="look"><span class="who">{escape(name)}</span><span class="said">{tokens}</span>'
        f"<small>{numbers}</small></p>"
    )


def _token(text: str, weight: float, share: float, marked: bool, *, first: bool) -> str:
    shown = "⟨start⟩ " if first else text.replace("\n", "⏎\n") or "·"
    space = shown[: len(shown) - len(shown.lstrip(" "))]
    word = escape(shown[len(space) :])
    title = f"{text.strip() or shown}: {_percent(share)} of what is moved, attention {_percent(weight)}"
    style = ""
    if share >= _FAINTEST:
        style = f' style="background:color-mix(in srgb,var(--c) {100 * min(share, _MOST):.0f}%,transparent)"'
    return (
        f'<span class="{"t muted" if first else "t"}" title="{escape(title)}"{style} translate="no">'
        f"{space}{f'<u>{word}</u>' if marked else word}</span>"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.095 or share == 0 else f"{100 * share:.1f} %"
