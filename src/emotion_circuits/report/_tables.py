"""The report's tables as HTML: claims and provenance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from emotion_circuits.report._results import StageRecord
from emotion_circuits.report._style import interval, layer_name, number, p_value
from emotion_circuits.report._words import BADGES, claim_meaning, claim_short, floor_name, ids_of, strongest_floor
from emotion_circuits.statistics import Claim, Verdict

_COLUMNS = (
    ("Model", ""),
    ("Emotion", ""),
    ("Layer", "n"),
    ("Value [95 % interval]", ""),
    ("Chance", "n"),
    ("Strongest floor", ""),
    ("p, adjusted", "n"),
    ("n", "n"),
    ("Verdict", ""),
)


def badge(verdict: Verdict) -> str:
    """A verdict with its symbol; the colour only repeats what the words say."""
    found = BADGES[verdict]
    title = escape(found.meaning)
    return f'<span class="badge {found.css}" title="{title}"><i aria-hidden="true">{found.symbol}</i> {verdict}</span>'


def claims_table(claims: Sequence[Claim]) -> str:
    """Every claim, grouped by what it claims, with the reason for its verdict to unfold."""
    head = "".join(f'<th scope="col"{_css(css)}>{name}</th>' for name, css in _COLUMNS)
    groups = []
    for identifier in ids_of(claims):
        own = [c for c in claims if c.id == identifier]
        title = f"{own[0].question} · {claim_short(identifier)}"
        statistics = " / ".join(dict.fromkeys(c.statistic for c in own))
        group = (
            f'<tr><th class="group" colspan="{len(_COLUMNS)}" scope="rowgroup">{escape(title)} '
            f'<span class="muted">({escape(statistics)})</span></th></tr>'
        )
        groups.append(f"<tbody>{group}{''.join(_claim_row(c) for c in own)}</tbody>")
    caption = "All claims. Unfold the line below a claim to see why it has its verdict."
    table = f"<table><caption><span>{caption}</span></caption><thead><tr>{head}</tr></thead>{''.join(groups)}</table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="Claims">{table}</div>'


def _css(name: str) -> str:
    return f' class="{name}"' if name else ""


def _claim_row(claim: Claim) -> str:
    ci = interval(*claim.ci95) if claim.ci95 is not None else ""
    floor = strongest_floor(claim)
    floor_text = "none" if floor is None else f"{number(floor[1])} <small>{escape(floor_name(floor[0]))}</small>"
    cells = [
        f'<th scope="row">{escape(claim.model)}</th>',
        f"<td>{escape(claim.emotion or 'all')}</td>",
        f'<td class="n">{layer_name(claim.layer)}</td>',
        f'<td>{number(claim.value)} <span class="ci">{ci}</span></td>',
        f'<td class="n">{number(claim.chance)}</td>',
        f'<td class="w">{floor_text}</td>',
        f'<td class="n">{p_value(claim.p_adjusted)}</td>',
        f'<td class="n">{claim.n_unique}</td>',
        f"<td>{badge(claim.verdict or 'not tested')}</td>",
    ]
    reason = f'<tr class="why"><td colspan="{len(_COLUMNS)}">{_reason(claim)}</td></tr>'
    return f"<tr>{''.join(cells)}</tr>{reason}"


def _reason(claim: Claim) -> str:
    facts = [claim.why, f"Null: {claim.null}; p before adjusting {p_value(claim.p)}."]
    if claim.floors:
        floors = ", ".join(f"{floor_name(k)} {number(v)}" for k, v in sorted(claim.floors.items()))
        facts.append(f"Floors: {floors}.")
    if claim.ceiling is not None:
        facts.append(f"Ceiling: {number(claim.ceiling)}.")
    for name, value in (claim.side_conditions or {}).items():
        facts.append(f"{floor_name(name).capitalize()}: {number(value)}.")
    if claim.smallest_detectable is not None:
        facts.append(f"Smallest effect detectable with 80 % power: {number(claim.smallest_detectable)}.")
    text = "".join(f"<p>{escape(fact)}</p>" for fact in facts if fact)
    if claim.evidence:
        text += "<p>Evidence: " + ", ".join(f"<code>{escape(e)}</code>" for e in claim.evidence) + "</p>"
    return f"<details><summary>why {escape(claim.verdict or 'not tested')}</summary>{text}</details>"


def claim_legend(identifiers: Sequence[str]) -> str:
    """What each kind of claim says."""
    rows = [(claim_short(i), claim_meaning(i)) for i in identifiers if claim_meaning(i)]
    return "".join(f"<dt>{escape(name)}</dt><dd>{escape(meaning)}</dd>" for name, meaning in rows)


def provenance(stages: Sequence[StageRecord]) -> str:
    """Models with their revisions, versions, and every stage's key and parameters; no times, no places."""
    recorded = [s for s in stages if s.name.startswith("activations/")]
    rows = "".join(
        f'<tr><th scope="row"><code>{escape(s.name.partition("/")[2])}</code></th>'
        + "".join(f"<td>{_value(s.parameters.get(name))}</td>" for name in ("revision", "dtype", "device", "bos"))
        + "</tr>"
        for s in recorded
    )
    models = (
        '<div class="scroll"><table><caption>Models, trained and untrained, as they were recorded.</caption><thead><tr>'
        '<th scope="col">Model</th><th scope="col">Revision</th><th scope="col">Precision</th>'
        f'<th scope="col">Device</th><th scope="col">First token (BOS)</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
    versions = sorted({(name, value) for s in stages for name, value in s.versions.items()})
    version_rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in versions
    )
    packages = (
        "<table><caption>Versions of what computed.</caption><thead><tr>"
        f'<th scope="col">Package</th><th scope="col">Version</th></tr></thead><tbody>{version_rows}</tbody></table>'
    )
    details = "".join(
        f'<tr><th scope="row"><code>{escape(s.name)}</code></th><td><code>{escape(s.key)}</code></td>'
        f'<td class="n">{s.n_files}</td><td><details><summary>parameters</summary>'
        f"<pre>{escape(_json(s.parameters))}</pre></details></td></tr>"
        for s in stages
    )
    table = (
        '<div class="scroll"><table><caption>Stages; equal keys mean equal inputs, parameters and versions.</caption>'
        '<thead><tr><th scope="col">Stage</th><th scope="col">Key</th><th scope="col" class="n">Files</th>'
        f'<th scope="col">Parameters</th></tr></thead><tbody>{details}</tbody></table></div>'
    )
    return (models if recorded else "") + packages + table


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True)


def _value(value: object) -> str:
    return "–" if value is None else f"<code>{escape(str(value))}</code>"
