"""Texts that others have labelled, as texts of a study's classes."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from emotion_circuits.errors import InputError
from emotion_circuits.prompts._bank import Bank
from emotion_circuits.prompts._duplicates import plain_form
from emotion_circuits.prompts._files import Row, read_rows, read_text
from emotion_circuits.prompts._schema import Dataset, Text

OTHER: Final = "other"
"""What a label is mapped to that no class shall have."""
COLUMNS: Final = ("emotion", "label", "labels")
"""Where labels stand; the first that a file has."""
GO_EMOTIONS: Final = (
    "admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire",
    "disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief", "joy",
    "love", "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness", "surprise", "neutral",
)  # fmt: skip
"""The labels of GoEmotions (Demszky et al. 2020) by their number, as `emotions.txt` beside its data has them."""
_GO_EMOTIONS_LINE = re.compile(r"([^\t]*)\t(\d{1,2}(?:,\d{1,2})*)\t([^\t]*)")
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_SHOWN = 30  # labels that an error names


class LabelledTexts(NamedTuple):
    """Texts of a study's classes from a file of labelled texts.

    Attributes:
        data: the texts, all test, each a scenario of its own; class by class, in an order that the seed decides.
        left_out: why → how many other texts of the file.
    """

    data: Dataset
    left_out: dict[str, int]

    def __str__(self) -> str:
        counts = Counter(text.emotion for text in self.data)
        kept = ", ".join(f"{n} {name}" for name, n in counts.items())
        rest = ", ".join(f"{n} {why}" for why, n in self.left_out.items())
        return kept + (f"; left out: {rest}" if rest else "")


class _Labelled(NamedTuple):
    text: str
    labels: tuple[str, ...]


def read_labelled(
    path: Path | str, bank: Bank, labels: Mapping[str, str] | None = None, *, most: int | None = None, seed: int = 0
) -> LabelledTexts:
    """Read texts with their labels: JSON lines or a table (see `read_rows`) with a column `text` and one of `COLUMNS`,
    or GoEmotions' official `.tsv`, known by its shape: no header; text, numbers of labels, name of the comment.

    A label means the class that has it as its name or among its synonyms, in small or capital letters. A text may have
    several, separated by commas or as a list; it counts where all those that mean a class here mean the same. The order
    of a file's rows decides nothing.

    Args:
        path: the file; it is read again for every model, so it cannot be a pipe.
        bank: the classes. Texts that stand in it are left out: directions and layers were chosen by them.
        labels: label → class, ahead of names and synonyms; `other` for none.
        most: texts of each class, drawn by `seed`; None for all.
        seed: of the draw.

    Raises:
        InputError: a file that cannot be read or holds no labels, labels that mean none of the bank's emotions, a
            mapping to a class that is not there.
    """
    path = Path(path)
    known = _meanings(bank, labels or {})
    rows = _rows(path)
    left_out: Counter[str] = Counter()
    candidates: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in rows:
        classes = {known[label] for label in row.labels if known.get(label, OTHER) != OTHER}
        if not row.text:
            left_out["empty"] += 1
        elif len(classes) != 1:
            left_out["of several classes" if classes else "of other labels"] += 1
        else:
            candidates[plain_form(row.text)].append((row.text, classes.pop()))
    own = {plain_form(t.text) for c in bank.classes for kind in (c.explicit, c.implicit, c.utterances) for t in kind}
    by_class: dict[str, list[str]] = {name: [] for name in bank.names}
    # By hash, not by a generator, so that the draw cannot change with a version of Python or NumPy.
    for plain in sorted(candidates, key=lambda text: hashlib.sha256(f"{seed}:{text}".encode()).digest()):
        (text, emotion), *again = sorted(candidates[plain])
        if plain in own:
            left_out["that the study has itself"] += 1 + len(again)
        elif any(other != emotion for _, other in again):
            left_out["repeated under another class"] += 1 + len(again)
        else:
            by_class[emotion].append(text)
            left_out["repeated"] += len(again)
    if not any(by_class[name] for name in bank.emotions):
        raise _no_emotion(path, rows, bank)
    texts: list[Text] = []
    for name, found in by_class.items():
        left_out["not drawn"] += len(found[most:]) if most is not None else 0
        texts += [Text(text, name, f"{name}-{k}", "test") for k, text in enumerate(found[:most], 1)]
    return LabelledTexts(Dataset("external", tuple(texts)), {why: n for why, n in sorted(left_out.items()) if n})


def _meanings(bank: Bank, labels: Mapping[str, str]) -> dict[str, str]:
    """Label in small letters → class."""
    for label, name in labels.items():
        if name not in (*bank.names, OTHER):
            accepted = ", ".join((*bank.names, OTHER))
            raise InputError("A label is mapped to a class that is not there.", found=f"{label}={name}",
                             accepted=accepted)  # fmt: skip
    synonyms = {synonym.casefold(): own.name for own in reversed(bank.classes) for synonym in own.synonyms}
    return synonyms | {name: name for name in bank.names} | {k.strip().casefold(): v for k, v in labels.items()}


def _rows(path: Path) -> list[_Labelled]:
    if not path.is_file():
        raise InputError(
            f"There is no file of labelled texts {path}.",
            accepted=_accepted(),
            next_step="name it with --external, or under quality.external of the study",
        )
    if path.suffix.lower() == ".tsv" and (official := _go_emotions(path)):
        return official
    rows = read_rows(path, blank=True)
    column = next((name for name in COLUMNS if any(name in row.value for row in rows)), None)
    if column is None:
        found = ", ".join(dict.fromkeys(name for row in rows for name in row.value))
        raise InputError(f"{path} holds no labels.", found=f"the columns {found}"[:200], accepted=_accepted())
    return [_Labelled(row.text.strip(), _labels(row, row.value.get(column))) for row in rows]


def _accepted() -> str:
    return f".csv, .tsv or .jsonl with `text` and `{'`, `'.join(COLUMNS)}`; GoEmotions' official .tsv"


def _labels(row: Row, given: object) -> tuple[str, ...]:
    """The labels of a cell, in small letters."""
    several = given.split(",") if isinstance(given, str) else given if isinstance(given, list) else [given]
    if any(not isinstance(one, str | int | None) or isinstance(one, bool) for one in several):
        raise InputError(f"{row.where}: not a label", found=repr(given)[:80], accepted="a word, or a list of words")
    names = [str(one).strip().casefold() for one in several if one is not None]
    return tuple(name for name in names if name)


def _go_emotions(path: Path) -> list[_Labelled]:
    """The rows of GoEmotions' official files; none where the first line has another shape."""
    found: list[_Labelled] = []
    lines = read_text(path).replace("\r\n", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = _GO_EMOTIONS_LINE.fullmatch(line)
        ids = [int(one) for one in match[2].split(",")] if match else []
        if match is None or max(ids) >= len(GO_EMOTIONS):
            if not found:
                return []
            raise InputError(
                f"{path}, line {number}: not a line of GoEmotions, as those before it are",
                found=repr(line)[:80],
                accepted="text, numbers from 0 to 27, name of the comment",
            )
        # Some texts with quotation marks are quoted as in tables, others are not.
        text = match[1] if (quoted := _QUOTED.fullmatch(match[1])) is None else quoted[1].replace('""', '"')
        found.append(_Labelled(text.strip(), tuple(GO_EMOTIONS[k] for k in ids)))
    return found


def _no_emotion(path: Path, rows: Iterable[_Labelled], bank: Bank) -> InputError:
    counts = Counter(label for row in rows for label in row.labels)
    found = ", ".join(f"{label} ({n})" for label, n in sorted(counts.items(), key=lambda c: (-c[1], c[0]))[:_SHOWN])
    known = (f"{name} ({', '.join(bank[name].synonyms)})" for name in bank.emotions)
    return InputError(
        f"{path} has no texts of this study's emotions.",
        found=found or "texts without labels",
        accepted=", ".join(known),
        next_step="say which of its labels are which emotion: --external-labels LABEL=EMOTION, or `external_labels`",
    )
