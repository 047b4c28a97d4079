"""A session's results as one file: JSON for programs, HTML for readers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from emotion_circuits import __version__
from emotion_circuits.app._html import draft_html, reading_html, safe
from emotion_circuits.app._own import OwnEmotion
from emotion_circuits.app._reading import Reading
from emotion_circuits.app._recipe import Recipe
from emotion_circuits.app._tables import own_html
from emotion_circuits.app._writing import Draft
from emotion_circuits.errors import InputError

NUMBERS = ("perplexity", "mean_kl")


def as_json(draft: Draft | None, reading: Reading | None) -> str:
    """The numbers of the last texts; what is not finite is null."""
    found: dict[str, Any] = {"emotion_circuits": __version__}
    if draft is not None:
        found["recipe"] = asdict(draft.recipe) | {"parts": [part._asdict() for part in draft.recipe.parts]}
        found["texts"] = [
            one._asdict() | {"text": one.text, "perplexity": one.perplexity, "mean_kl": one.mean_kl}
            for one in draft.texts
        ]
    if reading is not None:
        found["reading"] = reading._asdict() | {
            "profile": reading.profile.tolist(), "bands": reading.bands.tolist(), "band": reading.band
        }  # fmt: skip
    return json.dumps(_finite(found), ensure_ascii=False, indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value


def numbers_of(data: bytes) -> dict[str, dict[str, float]]:
    """Arm → perplexity and mean KL of a file that `as_json` made.

    Raises:
        InputError: another file.
    """
    try:
        texts = json.loads(data)["texts"]
        return {str(t["arm"]): {k: float(t[k]) for k in NUMBERS if t[k] is not None} for t in texts}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("This is no file of numbers from here.", found=f"{type(error).__name__}: {error}"[:100],
                         accepted="the JSON that Share gives") from error  # fmt: skip


def as_html(draft: Draft | None, reading: Reading | None, own: OwnEmotion | None, command: str) -> str:
    """A page that asks for nothing from anywhere."""
    parts = []
    if draft is not None:
        parts += [
            f"<h2>{safe(draft.recipe.model)}</h2>",
            f"<p dir=auto>{safe(draft.recipe.prompt)} …</p>",
            draft_html(draft),
        ]
        parts.append(f"<p>{safe(_told(draft.recipe))}</p><pre>{safe(command)}</pre>")
    parts += [reading_html(reading)] if reading is not None else []
    parts += [own_html(own)] if own is not None else []
    css = files("emotion_circuits.app").joinpath("assets/page.css").read_text(encoding="utf-8")
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>emotion-circuits</title><style>'
        f"html{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:1em auto;"
        f'padding:0 1em}}{css}</style><body class="ec">{"".join(parts)}<p>emotion-circuits '
        f"{__version__}</p></body></html>"
    )


def _told(recipe: Recipe) -> str:
    done = "; ".join(f"{p.action} {p.emotion} {p.dose:g}" for p in recipe.parts)
    gate = "" if recipe.gate is None else f", where the score is below {recipe.gate:g}"
    layer = "the chosen layer" if recipe.layer is None else f"layer {recipe.layer}"
    return f"{done} at {layer}{gate}; seed {recipe.seed}, temperature {recipe.temperature:g}."
