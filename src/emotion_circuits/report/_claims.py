"""Claims: for each question its verdict in words, and its claims beside each other and one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from emotion_circuits.report._cards import cards
from emotion_circuits.report._chart import Axis, Chart, Key, Label, Level, Panel, Series, finite_range
from emotion_circuits.report._results import ARROW, Results
from emotion_circuits.report._sections import Picture, Section, paragraph
from emotion_circuits.report._style import Looks, interval, number, p_value, short_name
from emotion_circuits.report._words import (
    BADGES,
    claim_meaning,
    claim_short,
    floor_name,
    ids_of,
    power_sentence,
    question_title,
    verdict_sentence,
)
from emotion_circuits.statistics import Claim

BELOW = 0.22
"""How far below its value a claim's null is drawn, in lines."""
_FLOOR_MARKERS = ("x", "D", "+", "v", "*", "s", "^", "p", "h")


def question_sections(question: str, place: int, claims: Sequence[Claim], results: Results) -> Iterator[Section]:
    """A question's verdict in one sentence, then each kind of its claims with what it says, picture and cards."""
    yield Section(question_title(question), [paragraph(verdict_sentence(claims), "verdict")], 2, f"question-{place}")
    for identifier in ids_of(claims):
        own = in_order([c for c in claims if c.id == identifier], results.looks)
        meaning = " ".join(filter(None, (claim_meaning(identifier), power_sentence(own))))
        parts: list[str | Picture] = [paragraph(meaning)]
        name = claim_short(identifier).capitalize()
        if any(c.value is not None for c in own):
            parts.append(claims_picture(own, results.looks))
        yield Section(name, [*parts, cards(own, results.looks)])


def in_order(claims: Sequence[Claim], looks: Looks) -> list[Claim]:
    """Model by model, emotions in the bank's order."""
    place = {emotion: k for k, emotion in enumerate(looks.in_order(c.emotion for c in claims if c.emotion))}
    return sorted(claims, key=lambda claim: (claim.model, place.get(claim.emotion or "", -1)))


def claims_picture(claims: Sequence[Claim], looks: Looks) -> Picture:
    """The picture of one kind of claims."""
    claims, kind = in_order(claims, looks), claims[0].id
    return Picture(picture_path(kind), forest(claims, looks), claim_short(kind).capitalize(), _caption(claims))


def picture_path(kind: str) -> str:
    """Where the picture of a kind of claims lies below `plots/`."""
    return "claims/" + kind.replace(".", "_").replace("/", "_")


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
    text = ARROW.join(short_name(part) for part in name.split(ARROW)) if ARROW in name else name
    return text if len(text) <= 30 else text[:29] + "…"


def _caption(claims: Sequence[Claim]) -> str:
    beyond = (
        "the null's mean, the tick, and over every floor's mark"
        if any(c.floors for c in claims)
        else ("the null's mean, the tick")
    )
    return (
        f"Every claim of this kind: to be supported, it has to gain over {beyond}, {claims[0].unit} by "
        f"{claims[0].unit.removesuffix('s')}, with p below .05 after Holm against all of them."
    )
