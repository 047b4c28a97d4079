"""Circuits in the report: curves, the numbers beside chance as a table, and the picture of what feeds what."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import NamedTuple

from emotion_circuits.components import CMD, COMPLETENESS, CPR, FAITHFULNESS
from emotion_circuits.report._circuit_file import CircuitFile, read_circuits
from emotion_circuits.report._circuit_picture import write_circuit_picture
from emotion_circuits.report._circuits import write_circuits_figure
from emotion_circuits.report._style import interval, number, p_value
from emotion_circuits.statistics import Measure

CIRCUITS = "circuits/{}.json"


class _Shown(NamedTuple):
    statistic: str
    name: str
    meaning: str


_SHOWN = (
    _Shown(CPR, "CPR", "area under the curve"),
    _Shown(CMD, "CMD", "mean distance from 1 along the curve; 0 is perfect"),
    _Shown(FAITHFULNESS, "faithfulness", "at the declared size"),
    _Shown(COMPLETENESS, "completeness", "what the whole model loses without that circuit"),
)


def circuits_of(folder: Path, slug: str) -> CircuitFile | None:
    """A model's circuits, the study's or else those of the command; None where nothing computed them."""
    paths = [folder / CIRCUITS.format(name) for name in (slug, f"{slug}_own")]
    return next((read_circuits(path) for path in paths if path.is_file()), None)


def circuits_caption(found: CircuitFile) -> str:
    """How to read the curves."""
    untested = [e for e in found.circuits if e not in found.tested]
    said = (
        "Faithfulness: the share of the difference between an emotion's prompt and its neutral twin that a circuit "
        "carries alone, every other head and unit at its mean on generic text, by the share of heads and of units that "
        f"is kept. They are ranked by {found.ranking} on every second pair and judged on the others. Grey are random "
        f"circuits with as many heads and units in every layer ({found.controls} at most). 1 is all; over 1, what "
        "works against the emotion is among what is left out."
    )
    if untested:
        said += f" Not tested, because both prompts give nearly the same outcome: {', '.join(untested)}."
    return said


def circuits_alt(found: CircuitFile) -> str:
    """The areas in words."""
    parts = [
        f"{m.emotion}: CPR {number(m.value)} {interval(m.ci_low, m.ci_high)}, random circuits {number(m.chance)} "
        f"{interval(m.null_low, m.null_high)}, p {p_value(m.p)}"
        for m in found.measures
        if m.statistic == CPR and m.emotion in found.tested
    ]
    return "Faithfulness by size of the circuit. " + "; ".join(parts) + "."


def circuits_table(found: CircuitFile) -> str:
    """CPR, CMD, faithfulness at the declared size and completeness of every emotion, beside random circuits."""
    body = []
    for emotion, members in found.circuits.items():
        size = f"{len(members.heads)} heads, {len(members.units)} units"
        title = f"{emotion}: {size}" + ("" if members.tested else " (not tested)")
        body.append(f'<tr><th class="group" colspan="6" scope="rowgroup">{escape(title)}</th></tr>')
        for shown in _SHOWN if members.tested else ():
            body += [_row(shown, m) for m in found.measures if m.emotion == emotion and _is(shown, m, found)]
    head = "".join(
        f'<th scope="col"{css}>{name}</th>'
        for name, css in (
            ("Statistic", ""), ("Value [95 % interval]", ""), ("Chance", ' class="n"'), ("By chance, 95 %", ""),
            ("p", ' class="n"'), ("n", ' class="n"'),
        )
    )  # fmt: skip
    caption = (
        f"Circuits of {100 * found.size:g} % of all heads and of all units, and their curves. Chance: random circuits "
        "of the same layers; p is one-sided over these and not adjusted; n counts held-out pairs."
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Circuits"><table><caption><span>{caption}</span>'
        f"</caption><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _is(shown: _Shown, measure: Measure, found: CircuitFile) -> bool:
    """A study takes areas over some sizes only, and their position names these."""
    one = measure.statistic in (CPR, CMD) or measure.position == f"{found.size:g}"
    return measure.statistic == shown.statistic and one


def _row(shown: _Shown, m: Measure) -> str:
    over = f", {m.position}" if m.statistic in (CPR, CMD) else ""
    return (
        f'<tr><th scope="row">{shown.name} <small>{escape(shown.meaning + over)}</small></th>'
        f'<td>{number(m.value)} <span class="ci">{interval(m.ci_low, m.ci_high)}</span></td>'
        f'<td class="n">{number(m.chance)}</td><td>{interval(m.null_low, m.null_high) or "–"}</td>'
        f'<td class="n">{p_value(m.p)}</td><td class="n">{m.n_unique}</td></tr>'
    )


def write_circuit_pictures(file: Path) -> list[Path]:
    """Draw a file of circuits beside it: the curves under its own name, what feeds what with `_edges` behind it.

    Args:
        file: `circuits/<model>_own.json`.
    """
    found = read_circuits(file)
    path = file.with_suffix("")
    files = write_circuits_figure(found.measures, path, f"{found.model}: what circuits carry alone")
    return [*files, *write_circuit_picture(found, path.with_name(path.name + "_edges"))]
