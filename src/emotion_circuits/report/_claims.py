"""Claims: all of them as a table, and for each question its verdict in words and its claims beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from emotion_circuits.report._chart import Axis, Chart, Key, Label, Level, Panel, Series, finite_range
from emotion_circuits.report._results import ARROW, Results
from emotion_circuits.report._sections import Picture, Section, paragraph, table, with_interval
from emotion_circuits.report._style import Looks, interval, layer_name, number, p_value
from emotion_circuits.report._words import (
    BADGES,
    cases,
    claim_meaning,
    claim_short,
    floor_name,
    ids_of,
    power_sentence,
    question_of,
    verdict_sentence,
)
from emotion_circuits.statistics import Claim, Verdict

BELOW = 0.22
"""How far below its value a claim's null is drawn, in lines."""
_FLOOR_MARKERS = ("x", "D", "+", "v", "*", "s", "^", "p", "h")


def badge(verdict: Verdict) -> str:
    """A verdict with its symbol; the colour only repeats what the words say."""
    found = BADGES[verdict]
    title = escape(found.meaning)
    return f'<span class="badge {found.css}" title="{title}"><i aria-hidden="true">{found.symbol}</i> {verdict}</span>'


def claims_table(claims: Sequence[Claim]) -> str:
    """Every claim, grouped by what it claims, with the reason for its verdict to unfold."""
    body: list[str | list[str]] = []
    for identifier in ids_of(claims):
        own = [c for c in claims if c.id == identifier]
        title = escape(f"{own[0].question} · {claim_short(identifier)}")
        statistics = escape(" / ".join(dict.fromkeys(c.statistic for c in own)))
        body.append(f'{title} <span class="muted">({statistics})</span>')
        for claim in own:
            body += [_claim_line(claim), [_reason(claim)]]
    return table(
        "All claims. Unfold the line below a claim to see why it has its verdict.",
        ("Model", "Emotion", "Layer ", "Value [95 % interval]", "Chance ", "Gain [95 % interval]", "over",
         "p, adjusted ", "n ", "Verdict"),
        body, "Claims",
    )  # fmt: skip


def _claim_line(claim: Claim) -> list[str]:
    return [
        escape(claim.model), escape(claim.emotion or "all"), layer_name(claim.layer),
        with_interval(number(claim.value), interval(*(claim.ci95 or (None, None)))), number(claim.chance),
        with_interval(number(claim.gain), interval(*(claim.gain_ci95 or (None, None)))),
        escape(floor_name(claim.gain_over or "")),
        p_value(claim.p_adjusted), str(claim.n_unique), badge(claim.verdict or "not tested"),
    ]  # fmt: skip


def _reason(claim: Claim) -> str:
    facts = [claim.why]
    if claim.null:
        facts.append(f"Nulls: {claim.null}; p before adjusting {p_value(claim.p)}, the largest against any of them.")
    if claim.floors:
        facts.append(f"Floors: {', '.join(f'{floor_name(k)} {number(v)}' for k, v in sorted(claim.floors.items()))}.")
    if claim.ceiling is not None:
        facts.append(f"Ceiling: {number(claim.ceiling)}.")
    facts += [f"{floor_name(name).capitalize()}: {number(v)}." for name, v in (claim.side_conditions or {}).items()]
    if claim.p_against:
        against = ", ".join(f"{floor_name(k)} {p_value(v)}" for k, v in sorted(claim.p_against.items()))
        facts.append(f"p against each: {against}.")
    if claim.effect_of_interest is not None:
        facts.append(f"A gain of {number(claim.effect_of_interest)} would matter.")
    text = "".join(map(paragraph, facts))
    if claim.evidence:
        text += "<p>Evidence: " + ", ".join(f"<code>{escape(e)}</code>" for e in claim.evidence) + "</p>"
    return f"<details><summary>why {escape(claim.verdict or 'not tested')}</summary>{text}</details>"


def question_sections(question: str, place: int, claims: Sequence[Claim], results: Results) -> Iterator[Section]:
    """A question's verdict in one sentence, then each kind of its claims with what it says, cases and picture."""
    title = f"{question}: {question_of(question).title}"
    yield Section(title, [paragraph(verdict_sentence(claims), "verdict")], 2, f"question-{place}")
    for identifier in ids_of(claims):
        own = [c for c in claims if c.id == identifier]
        items = "".join(f"<li>{badge(v)} {escape(text)}</li>" for v, text in cases(own))
        meaning = " ".join(filter(None, (claim_meaning(identifier), power_sentence(own))))
        parts: list[str | Picture] = [paragraph(meaning), f'<ul class="cases">{items}</ul>']
        name = claim_short(identifier).capitalize()
        if any(c.value is not None for c in own):
            drawing = forest(own, results.looks)
            parts.append(
                Picture("claims/" + identifier.replace(".", "_").replace("/", "_"), drawing, name, _caption(own))
            )
        yield Section(name, parts)


def forest(claims: Sequence[Claim], looks: Looks) -> Chart:
    """One line per claim: value and interval, chance, floors, and the verdict in words."""
    floors = dict(zip(sorted({name for c in claims for name in c.floors}), _FLOOR_MARKERS, strict=False))
    levels_of = [(c.value, c.chance, *(c.ci95 or ()), *c.floors.values()) for c in claims]
    values = [v for own in levels_of for v in own if v is not None]
    values += [null.high for c in claims for null in c.nulls.values()]
    series: list[Series] = []
    notes, levels = [], []
    for row, claim in enumerate(claims):
        new = not row or claims[row - 1].model != claim.model
        if new and row:
            levels.append(Level(0.5 - row, "", "solid", "grid"))
        role, verdict = looks.role(claim.emotion or "all"), claim.verdict
        notes += [
            Label(-row, _short(claim.model) if new else "", at=0.066, bold=True),
            Label(-row, looks.label(claim.emotion or ""), role, at=2.08),
            Label(-row, f"{BADGES[verdict].symbol} {verdict}" if verdict else ""),
        ]
        series += _signs(claim, float(-row), role, floors)
    keys = [
        Key("value, 95 % interval", "ink", line=2.0),
        Key("chance, up to 97.5 % of the null's draws", "null", "|", 9.0),
    ]
    keys += [Key(f"floor: {floor_name(name)}", "muted", marker, hollow=True) for name, marker in floors.items()]
    x_axis = Axis(claims[0].statistic, *finite_range(values, min(values), max(values)))
    y_axis = Axis("", 0.4 - len(claims), 0.6, ())
    panel = Panel("", x_axis, y_axis, tuple(series), levels=tuple(levels), notes=tuple(notes))
    return Chart(((panel,),), (), 0.27 * len(claims), 1.5, 2.9, tuple(keys))


def _signs(claim: Claim, y: float, role: str, floors: Mapping[str, str]) -> Iterator[Series]:
    """A claim's chance, floors, and value with its interval."""
    if claim.value is None:
        return
    if claim.chance is not None:
        said = (f"{number(claim.chance)}\n{claim.null}",)
        high = max([claim.chance, *(null.high for null in claim.nulls.values())])
        yield Series("chance", (claim.chance,), (y - BELOW,), left=(claim.chance,), right=(high,), colour="null",
                     width=0.0, marker="|", size=9.0, hover=said)  # fmt: skip
    for name in (name for name in floors if name in claim.floors):
        value = claim.floors[name]
        yield Series(f"floor: {floor_name(name)}", (value,), (y,), colour="muted", width=0.0, marker=floors[name],
                     size=5.0, hollow=True, hover=(number(value),))  # fmt: skip
    low, high = claim.ci95 or (claim.value, claim.value)
    words = (
        f"{number(claim.value)} {interval(low, high)}\nchance {number(claim.chance)}, p {p_value(claim.p)}, adjusted "
        f"{p_value(claim.p_adjusted)}\nn = {claim.n_unique}, {claim.verdict}"
    )
    yield Series(f"{claim.model}, {claim.emotion or 'all emotions'}", (claim.value,), (y,), left=(low,), right=(high,),
                 colour=role, width=0.0, size=6.0, hover=(words,))  # fmt: skip


def _short(name: str) -> str:
    """A model's name, or `A → B` without the folders of A and B, as far as there is room."""
    text = ARROW.join(part.rpartition("/")[2] for part in name.split(ARROW)) if ARROW in name else name
    return text if len(text) <= 30 else text[:29] + "…"


def _caption(claims: Sequence[Claim]) -> str:
    floors = any(c.floors for c in claims)
    beyond = "the grey line of the null and every floor's mark" if floors else "the grey line of the null"
    return f"Every claim of this kind: to be supported, it has to gain over {beyond}, scenario by scenario."
