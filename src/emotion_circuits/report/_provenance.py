"""What made the results: models with their revisions, versions, and every stage's key and parameters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from emotion_circuits.report._results import StageRecord
from emotion_circuits.report._sections import table


def provenance(stages: Sequence[StageRecord]) -> list[str]:
    """Tables; no times, no places."""
    recorded = [s for s in stages if s.name.startswith("activations/")]
    models = [
        [_code(s.name.partition("/")[2]), *(_code(s.parameters.get(n)) for n in ("revision", "dtype", "device", "bos"))]
        for s in recorded
    ]
    versions = sorted({(name, value) for s in stages for name, value in s.versions.items()})
    details = [
        [_code(s.name), _code(s.key), str(s.n_files),
         "<details><summary>parameters</summary><pre>"
         f"{escape(json.dumps(s.parameters, indent=1, ensure_ascii=False, sort_keys=True))}</pre></details>"]
        for s in stages
    ]  # fmt: skip
    columns = ("Model", "Revision", "Precision", "Device", "First token (BOS)")
    return [
        table("Models, trained and untrained, as they were recorded.", columns, models) if models else "",
        table("Versions of what computed.", ("Package", "Version"), [[escape(n), escape(v)] for n, v in versions]),
        table("Stages; equal keys mean equal inputs, parameters and versions.",
              ("Stage", "Key", "Files ", "Parameters"), details, "Stages"),
    ]  # fmt: skip


def _code(value: object) -> str:
    return "–" if value is None else f"<code>{escape(str(value))}</code>"
