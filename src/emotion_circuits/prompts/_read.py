"""Reading users' own prompts: a JSONL file, or the class files of the project's first version."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, StrictStr

from emotion_circuits.errors import InputError
from emotion_circuits.prompts._bank import PROFILES, bundled_emotions
from emotion_circuits.prompts._classes import RESERVED, EmotionClass, Name
from emotion_circuits.prompts._files import READ_AS_ROWS, STANDARD_INPUT, parse, read_json, read_rows, shown
from emotion_circuits.prompts._lexicon import Lexicon
from emotion_circuits.prompts._marks import Span
from emotion_circuits.prompts._schema import NEUTRAL, Dataset, Split, Text, neutral_first, split_in_turn

_UNSET = ""  # a scenario or split that the file does not give; never leaves this module

SUFFIXES = {"baseline": "", "extended": "_extended"}


class _TextRow(BaseModel):
    text: StrictStr
    emotion: Name
    scenario: int | str | None = None
    split: Split | None = None
    span: tuple[int, int] | None = None
    also: tuple[StrictStr, ...] = ()


class _ClassFile(BaseModel):
    prompts: list[StrictStr]
    scenarios: list[int | str] | None = None
    spans: list[tuple[int, int] | None] | None = None
    splits: list[Split] | None = None


class _ClassPath(NamedTuple):
    emotion: str
    path: Path


def read_dataset(path: Path | str, profile: str | None = None) -> Dataset:
    """Reads a data set from JSON lines or a table (see `read_rows`), a folder of class files, or one class file.

    A line is `{"text", "emotion"}`, optionally with `"scenario"`, `"split"`, `"span"` (start and end in characters)
    and `"also"` (other words for the span); other fields are ignored. A class file is `{emotion}_prompts.json` with
    `{"prompts": [..]}`, optionally with parallel `"scenarios"`, `"spans"` and `"splits"`; of a folder, `profile`
    chooses these (`baseline`) or the files `{emotion}_prompts_extended.json` (`extended`); without it the former, if
    there are any.

    Where no scenarios are given: if all classes have equally many texts, the i-th text of each class is scenario i;
    otherwise each text is a scenario of its own, and methods that compare texts of one scenario refuse the data set.
    Where no splits are given: of every five scenarios in order of appearance, the first two are for development.

    Raises:
        InputError: a missing or malformed file, naming the file and the line or entry.
    """
    path = Path(path)
    if profile is not None and profile not in PROFILES:
        raise InputError("unknown profile", found=repr(profile), accepted=", ".join(PROFILES))
    if path.is_dir():
        texts = _from_class_files(_class_files(path, profile))
    elif path != STANDARD_INPUT and not path.exists():
        raise InputError(
            f"there is no data set {path}",
            accepted="a .jsonl, .csv or .tsv file, or a folder of {emotion}_prompts.json files",
            next_step="`emotion-circuits prompts build` writes the bundled ones",
        )
    elif path.suffix.lower() in READ_AS_ROWS:
        texts = _from_rows(path)
    elif (emotion := _emotion_of(path)) is not None:
        texts = _from_class_files([_ClassPath(emotion, path)])
    else:
        raise InputError(
            f"{path} is not named like a data set",
            accepted=".jsonl, .ndjson, .csv, .tsv, or {emotion}_prompts.json",
        )
    if not texts:
        raise InputError(f"{shown(path)} holds no texts")
    return Dataset("stdin" if path == STANDARD_INPUT else path.stem, tuple(_with_splits(texts)))


def read_own_rows(path: Path) -> EmotionClass:
    """A user's own emotion from a data set of two classes: its texts and their neutral twins, by scenario.

    Raises:
        InputError: as for `read_dataset`; other classes than neutral and one, or texts without a twin.
    """
    data = read_dataset(path)
    names = [name for name in data.classes if name != NEUTRAL]
    if NEUTRAL not in data.classes or len(names) != 1:
        raise InputError(
            f"{shown(path)} is not about one emotion.",
            found=", ".join(data.classes),
            accepted="the classes neutral and one more",
            next_step="give each emotion a file of its own, with its neutral twins",
        )
    if names[0] in RESERVED:
        raise InputError(f"{shown(path)}: {names[0]!r} cannot be the name of an emotion.")
    data.require_matched(f"{shown(path)}: an emotion of one's own")
    texts = tuple(replace(text, scenario=f"{names[0]}-{text.scenario}") for text in data)
    return EmotionClass(names[0], lexicon=Lexicon(names[0]), synonyms=(names[0],), explicit=texts)


def _emotion_of(path: Path, suffixes: Iterable[str] = SUFFIXES.values()) -> str | None:
    """The class whose texts a file holds, by its name."""
    for suffix in sorted(suffixes, key=len, reverse=True):
        if match := re.fullmatch(rf"([a-z][a-z0-9_]*)_prompts{suffix}\.json", path.name):
            return match[1]
    return None


def _class_files(folder: Path, profile: str | None) -> list[_ClassPath]:
    for suffix in SUFFIXES.values() if profile is None else [SUFFIXES[profile]]:
        named = {e: path for path in sorted(folder.iterdir()) if (e := _emotion_of(path, [suffix])) is not None}
        if named:
            known = [e for e in bundled_emotions() if e in named]  # in their usual order, others behind them
            return [_ClassPath(e, named[e]) for e in neutral_first([*known, *named])]
    wanted = SUFFIXES.get(profile or "baseline", "")
    raise InputError(
        f"no class files in the folder {folder}",
        found=", ".join(sorted(p.name for p in folder.iterdir())[:5]) or "an empty folder",
        accepted=f"neutral_prompts{wanted}.json and one such file of every emotion",
    )


def _from_rows(path: Path) -> list[Text]:
    texts: list[Text] = []
    for row in read_rows(path):
        where = row.where
        given = {name: value for name, value in row.value.items() if value != ""}  # an empty cell of a table
        parsed = parse(_TextRow, given, where)
        if texts and (parsed.scenario is None) != (texts[0].scenario == _UNSET):
            raise InputError(f'{where}: "scenario" must be given in every line or in none')
        if texts and (parsed.split is None) != (texts[0].split == _UNSET):
            raise InputError(f'{where}: "split" must be given in every line or in none')
        text = _text(where, parsed.text, parsed.emotion, parsed.scenario, parsed.split, parsed.span)
        texts.append(replace(text, also=parsed.also))
    return _with_scenarios(texts)


def _from_class_files(files: Sequence[_ClassPath]) -> list[Text]:
    texts: list[Text] = []
    for emotion, path in files:
        parsed = parse(_ClassFile, read_json(path), str(path))
        count = len(parsed.prompts)
        for name in ("scenarios", "spans", "splits"):
            column = getattr(parsed, name)
            if column is not None and len(column) != count:
                raise InputError(
                    f'{path}: "{name}" must be parallel to "prompts"', found=f"{len(column)} beside {count}"
                )
        if texts and (parsed.scenarios is None) != (texts[0].scenario == _UNSET):
            raise InputError(f'{path}: "scenarios" must be given in every class file or in none')
        if texts and (parsed.splits is None) != (texts[0].split == _UNSET):
            raise InputError(f'{path}: "splits" must be given in every class file or in none')
        for i, prompt in enumerate(parsed.prompts):
            scenario = parsed.scenarios[i] if parsed.scenarios else None
            split = parsed.splits[i] if parsed.splits else None
            span = parsed.spans[i] if parsed.spans else None
            texts.append(_text(f"{path}, prompt {i + 1}", prompt, emotion, scenario, split, span))
    texts = _with_scenarios(texts)
    # Scenario by scenario, as the bundled profiles are, so that the same texts hash alike from either kind of file.
    order = {scenario: i for i, scenario in enumerate(dict.fromkeys(text.scenario for text in texts))}
    return sorted(texts, key=lambda text: order[text.scenario])


def _text(
    where: str, text: str, emotion: str, scenario: int | str | None, split: str | None, span: Span | None
) -> Text:
    if not text.strip():
        raise InputError(f"{where}: the text is empty")
    if span is not None and not 0 <= span[0] < span[1] <= len(text):
        raise InputError(
            f"{where}: the span lies outside the text",
            found=list(span),
            accepted=f"[start, end] with 0 ≤ start < end ≤ {len(text)}",
        )
    return Text(text, emotion, _UNSET if scenario is None else str(scenario), split or _UNSET, span, where=where)


def _with_scenarios(texts: list[Text]) -> list[Text]:
    if not texts or texts[0].scenario != _UNSET:
        return texts
    totals = Counter(text.emotion for text in texts)
    matched = len(totals) > 1 and len(set(totals.values())) == 1
    seen: Counter[str] = Counter()
    grouped = []
    for text in texts:
        seen[text.emotion] += 1
        number = str(seen[text.emotion])
        grouped.append(replace(text, scenario=number if matched else f"{text.emotion}-{number}"))
    return grouped


def _with_splits(texts: list[Text]) -> Iterator[Text]:
    order = {scenario: i for i, scenario in enumerate(dict.fromkeys(text.scenario for text in texts))}
    for text in texts:
        yield text if text.split != _UNSET else replace(text, split=split_in_turn(order[text.scenario]))
