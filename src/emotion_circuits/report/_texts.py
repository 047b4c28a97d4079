"""What a model writes: clean, steered, under the best random direction and when asked in words, and how it scores.

Which texts are shown is a rule: the first four test contexts, in the bank's order, for each emotion.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from emotion_circuits._files import read_table
from emotion_circuits.errors import InputError
from emotion_circuits.interventions import PROMPTED, STEERED
from emotion_circuits.report._style import interval, number, p_value
from emotion_circuits.scoring import CLEAN, RANDOM, GeneratedText

if TYPE_CHECKING:
    import pandas as pd

SHOWN_PROMPTS = 4
_ARMS = (CLEAN, STEERED, RANDOM, PROMPTED)
_ARM_NAMES = {
    CLEAN: "clean", STEERED: "steered", RANDOM: "best random", PROMPTED: "asked in words",
}  # fmt: skip
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
    path = folder / "patching" / f"{slug}_texts.jsonl"
    table = folder / "patching" / f"{slug}_text_scores.parquet"
    if not path.is_file() or not table.is_file():
        return None
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        texts = tuple(GeneratedText.model_validate(json.loads(line)) for line in lines if line)
    except (OSError, ValueError, ValidationError) as error:
        raise InputError(f"{path} does not hold generated texts.", found=error) from error
    return WrittenTexts(texts, read_table(table))


def texts_section(written: WrittenTexts) -> Iterator[str]:
    """Scores of the arms, then the texts themselves, as HTML."""
    yield "<h3>What does it write?</h3>"
    yield scores_table(written.scores)
    yield triples_table(written.texts)


def scores_table(scores: pd.DataFrame) -> str:
    """Every emotion's own score in every arm, beside clean text and the best random direction."""
    rows = []
    emotions = [e for e in dict.fromkeys(scores["emotion"]) if isinstance(e, str)]
    for emotion in emotions:
        for scorer in dict.fromkeys(scores["scorer"]):
            for arm in _ARMS:
                found = scores[(scores["scorer"] == scorer) & (scores["arm"] == arm) & (scores["scored"] == emotion)]
                if arm != CLEAN:
                    found = found[found["emotion"] == emotion]
                rows += [_score_row(emotion, row) for row in found.to_dict("records")]
    head = "".join(f'<th scope="col">{name}</th>' for name in _COLUMNS)
    caption = (
        "How texts score for the emotion that was asked for: markers are the share of texts with a word of the "
        "emotion, offline the probability our own classifier gives it. The best random direction is the one of all "
        "controls that raised the emotion's words most, so it is a hard control. Perplexity is the clean model's."
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Scores of texts"><table>'
        f"<caption><span>{caption}</span></caption><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _score_row(emotion: str, row: dict[str, object]) -> str:
    def shown(name: str) -> str:
        value = row.get(name)
        return number(value) if isinstance(value, float) and value == value else "–"

    def between(low: str, high: str) -> str:
        a, b = row.get(low), row.get(high)
        return interval(a, b) if isinstance(a, float) and isinstance(b, float) and a == a else "–"

    p = row.get("p_random")
    cells = [
        escape(emotion), escape(_ARM_NAMES[str(row["arm"])]), escape(str(row["scorer"])), shown("value"),
        between("ci_low", "ci_high"), _clean(row), between("above_random_low", "above_random_high"),
        p_value(p) if isinstance(p, float) and p == p else "–", shown("perplexity_ratio"), shown("repetition"),
        escape(str(row.get("regime") or "–")), shown("harmonic"), shown("wrong_way"), escape(str(row["n_prompts"])),
    ]  # fmt: skip
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _clean(row: dict[str, object]) -> str:
    """The clean arm's mean over the same prompts, which the paired difference is from."""
    value, difference = row.get("value"), row.get("difference")
    if not isinstance(value, float) or not isinstance(difference, float) or difference != difference:
        return "–"
    return number(value - difference)


def triples_table(texts: Sequence[GeneratedText]) -> str:
    """Clean, steered and random text side by side for the first prompts of each emotion."""
    prompts = list(dict.fromkeys(t.prompt for t in texts))[:SHOWN_PROMPTS]
    emotions = list(dict.fromkeys(t.emotion for t in texts if t.emotion))
    by_cell = {(t.prompt, t.arm, t.emotion): t for t in texts}
    rows = []
    for emotion in emotions:
        rows.append(f'<tr><th class="group" colspan="4" scope="rowgroup">{escape(emotion)}</th></tr>')
        for prompt in prompts:
            found = (
                by_cell.get((prompt, CLEAN, None)),
                by_cell.get((prompt, STEERED, emotion)),
                by_cell.get((prompt, RANDOM, emotion)),
            )
            rows.append(f"<tr><td>{escape(prompt)}</td>{''.join(_text_cell(t) for t in found)}</tr>")
    one = next((t for t in texts if t.arm == STEERED), None)
    where = "" if one is None else f" at layer {one.layer}, dose {one.dose:g}, chosen on development contexts"
    caption = (
        f"Greedy text{where}: the first {len(prompts)} test contexts in the bank's order, for every emotion. Nothing "
        "was picked. Small numbers are perplexities under the clean model."
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("prompt", *(_ARM_NAMES[arm] for arm in _ARMS[:3])))
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Texts"><table>'
        f"<caption><span>{escape(caption)}</span></caption><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _text_cell(text: GeneratedText | None) -> str:
    if text is None:
        return "<td>–</td>"
    if text.empty:
        return "<td><em>nothing was written</em></td>"
    size = "" if text.perplexity is None else f" <small>{number(text.perplexity)}</small>"
    return f"<td>{escape(' '.join(text.text.split()))}{size}</td>"
