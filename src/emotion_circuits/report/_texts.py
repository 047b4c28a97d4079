"""What a model writes: clean, steered, under the best random direction and when asked in words, and how it scores.

Which texts are shown is a rule: the first four test contexts, in the bank's order, for each emotion.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from emotion_circuits.errors import InputError
from emotion_circuits.interventions import PROMPTED, STEERED
from emotion_circuits.report._results import TEXTS, ModelResults, read_table
from emotion_circuits.report._sections import Section, table
from emotion_circuits.report._style import interval, number, p_value
from emotion_circuits.scoring import CLEAN, RANDOM, GeneratedText

if TYPE_CHECKING:
    import pandas as pd

_SHOWN_PROMPTS = 4
_ARMS = {CLEAN: "clean", STEERED: "steered", RANDOM: "best random", PROMPTED: "asked in words"}
_COLUMNS = ("emotion", "arm", "scorer", "mean", "95 % interval", "clean text", "− best random, 95 % interval",
            "p against it", "perplexity × clean", "repeated", "regime", "harmonic", "wrong way", "n")  # fmt: skip


class WrittenTexts(NamedTuple):
    """A model's texts and their scores."""

    texts: tuple[GeneratedText, ...]
    scores: pd.DataFrame


def read_texts(folder: Path, slug: str) -> WrittenTexts | None:
    """The texts of a model's text stage; None where there are none.

    Raises:
        InputError: a file that cannot be read.
    """
    path, scores = (folder / file.format(slug) for file in TEXTS)
    if not path.is_file() or not scores.is_file():
        return None
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        texts = tuple(GeneratedText.model_validate(json.loads(line)) for line in lines if line)
    except (OSError, ValueError, ValidationError) as error:
        raise InputError(f"{path} does not hold generated texts.", found=error) from error
    return WrittenTexts(texts, read_table(scores))


def texts_sections(model: ModelResults) -> Iterator[Section]:
    """Scores of the arms, then the texts themselves."""
    written = read_texts(model.folder, model.slug)
    if written is not None:
        tables = [
            _scores_table(written.scores.to_dict("records")),
            f'<div class="texts">{_triples_table(written.texts)}</div>',
        ]
        yield Section("What does it write?", tables)


def _scores_table(scores: Sequence[Mapping[Any, Any]]) -> str:
    """Every emotion's own score in every arm, beside clean text and the best random direction."""
    emotions = [e for e in dict.fromkeys(row["emotion"] for row in scores) if isinstance(e, str)]
    scorers = list(dict.fromkeys(row["scorer"] for row in scores))
    body = [
        _score_row(emotion, row)
        for emotion in emotions
        for scorer in scorers
        for arm in _ARMS
        for row in scores
        if (row["scorer"], row["arm"], row["scored"]) == (scorer, arm, emotion)
        and (arm == CLEAN or row["emotion"] == emotion)
    ]
    return table(
        "How texts score for the emotion that was asked for: markers are the share of texts with a word of the "
        "emotion, offline the probability our own classifier gives it. The best random direction is the one of all "
        "controls that raised the emotion's words most, so it is a hard control. Perplexity is the clean model's.",
        _COLUMNS, body, "Scores of texts",
    )  # fmt: skip


def _score_row(emotion: str, row: Mapping[Any, Any]) -> list[str]:
    found = {name: value for name, value in row.items() if isinstance(value, float) and value == value}
    # The clean arm's mean over the same prompts, which the paired difference is from.
    clean = number(found["value"] - found["difference"]) if {"value", "difference"} <= found.keys() else "–"
    return [
        escape(emotion), escape(_ARMS[str(row["arm"])]), escape(str(row["scorer"])), number(found.get("value")),
        interval(found.get("ci_low"), found.get("ci_high")) or "–", clean,
        interval(found.get("above_random_low"), found.get("above_random_high")) or "–", p_value(found.get("p_random")),
        number(found.get("perplexity_ratio")), number(found.get("repetition")), escape(str(row.get("regime") or "–")),
        number(found.get("harmonic")), number(found.get("wrong_way")), escape(str(row["n_prompts"])),
    ]  # fmt: skip


def _triples_table(texts: Sequence[GeneratedText]) -> str:
    """Clean, steered and random text side by side for the first prompts of each emotion."""
    prompts = list(dict.fromkeys(t.prompt for t in texts))[:_SHOWN_PROMPTS]
    by_cell = {(t.prompt, t.arm, t.emotion): t for t in texts}
    body: list[str | list[str]] = []
    for emotion in dict.fromkeys(t.emotion for t in texts if t.emotion):
        body.append(escape(emotion))
        for prompt in prompts:
            found = [
                by_cell.get((prompt, CLEAN, None)),
                *(by_cell.get((prompt, arm, emotion)) for arm in (STEERED, RANDOM)),
            ]
            body.append([_words(prompt), *map(_text_cell, found)])
    one = next((t for t in texts if t.arm == STEERED), None)
    where = "" if one is None else f" at layer {one.layer}, dose {one.dose:g}, chosen on development contexts"
    return table(
        f"Greedy text{where}: the first {len(prompts)} test contexts in the bank's order, for every emotion. Nothing "
        "was picked. Small numbers are perplexities under the clean model.",
        ("prompt", *list(_ARMS.values())[:3]), body, "Texts",
    )  # fmt: skip


def _text_cell(text: GeneratedText | None) -> str:
    if text is None or text.empty:
        return "–" if text is None else "<em>nothing was written</em>"
    size = "" if text.perplexity is None else f" <small>{number(text.perplexity)}</small>"
    return _words(" ".join(text.text.split())) + size


def _words(text: str) -> str:
    """A text of a model's, which no page translates."""
    return f'<span translate="no">{escape(text)}</span>'
