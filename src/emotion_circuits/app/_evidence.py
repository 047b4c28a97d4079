"""From a claim to what it rests on: its nulls and floors, rows of its tables, and the texts behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from emotion_circuits import prompts
from emotion_circuits._files import read_table
from emotion_circuits.errors import EmotionCircuitsError, InputError
from emotion_circuits.models import ModelName
from emotion_circuits.prompts import read_rows
from emotion_circuits.statistics import Claim, read_claims

MOST_ROWS, MOST_TEXTS = 12, 8


class Evidence(NamedTuple):
    """What a claim rests on.

    Attributes:
        claim: with its nulls, floors and verdict.
        tables: file → rows about the claim's emotion and layer, as dicts, the first few.
        texts: (what it is, the text) of the texts that it is about.
        missing: files that are not there or cannot be read.
    """

    claim: Claim
    tables: dict[str, list[dict[str, Any]]]
    texts: list[tuple[str, str]]
    missing: list[str]


def find_claims(folder: Path | None, wanted: str = "") -> list[tuple[int, Claim]]:
    """A results folder's claims that hold every word of a search, with their places in the file.

    Raises:
        InputError: there are no claims, or a file that cannot be read.
    """
    path = None if folder is None else folder / "claims.json"
    if path is None or not path.is_file():
        raise InputError("There are no claims here.", found=f"no {path or 'results folder'}",
                         next_step="emotion-circuits study, or start the app with --results")  # fmt: skip
    words = wanted.lower().split()
    return [(i, c) for i, c in enumerate(read_claims(path)) if all(w in c.model_dump_json().lower() for w in words)]


def evidence_of(folder: Path, claim: Claim) -> Evidence:
    """Tables and texts behind a claim."""
    tables, missing = {}, []
    for name in claim.evidence:
        path = folder / name
        # Evidence is named by a file of the folder; a name must not lead out of it.
        inside = path.resolve().is_relative_to(folder.resolve())
        if not inside or not path.is_file():
            missing.append(name)
        elif path.suffix == ".parquet":
            try:
                tables[name] = _rows(path, claim)
            except EmotionCircuitsError:
                missing.append(name)
    return Evidence(claim, tables, _texts(folder, claim), missing)


def _rows(path: Path, claim: Claim) -> list[dict[str, Any]]:
    frame = read_table(path)
    for column, value in (("emotion", claim.emotion), ("statistic", claim.statistic), ("layer", claim.layer)):
        if value is not None and column in frame.columns and (frame[column] == value).any():
            frame = frame[frame[column] == value]
    return [{str(k): v for k, v in row.items()} for row in frame.head(MOST_ROWS).to_dict("records")]


def _texts(folder: Path, claim: Claim) -> list[tuple[str, str]]:
    """Of steering what was written, of everything else the texts that the emotion is judged on."""
    if claim.emotion is None:
        return []
    if claim.question == "RQ3":
        path = folder / "patching" / f"{ModelName.parse(claim.model).slug}_texts.jsonl"
        if path.is_file():
            rows = [row.value for row in read_rows(path, blank=True)]
            own = [row for row in rows if row.get("emotion") in (None, claim.emotion)]
            first = own[0].get("prompt") if own else None
            return [(str(r.get("arm")), f"{r['prompt']} {r['text']}") for r in own if r.get("prompt") == first]
    bank = prompts.kept_bank(folder) or prompts.bank()
    if claim.emotion not in bank.emotions:
        return []
    data = bank.implicit() if "implicit" in claim.statistic else bank.profile("baseline")
    found = []
    for emotion in (claim.emotion, prompts.NEUTRAL):
        own_texts = [t.text for t in data if t.emotion == emotion and t.split == "test"]
        found += [(f"{emotion}, test", text) for text in own_texts[: MOST_TEXTS // 2]]
    return found
