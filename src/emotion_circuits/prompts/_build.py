"""Writing a profile as the files that the project's first version worked with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from emotion_circuits._files import write_text
from emotion_circuits.errors import InputError
from emotion_circuits.prompts._bank import Bank, bank
from emotion_circuits.prompts._files import read_text
from emotion_circuits.prompts._read import SUFFIXES, read_dataset
from emotion_circuits.prompts._schema import Dataset


def build(
    profile: str,
    output_dir: Path | str,
    *,
    source: Path | str | None = None,
    of: Bank | None = None,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Writes a profile's data files into `output_dir` and returns their paths.

    `neutral_prompts.json` and one such file of every emotion hold `{"prompts", "scenarios", "spans", "splits"}`,
    `emotion_dataset.jsonl` a line per text, `real_world_samples.json` the real-world texts with their labels. For the
    profile `extended` the names end in `_extended` (the real-world file's does not).

    Args:
        profile: `baseline` or `extended`.
        output_dir: made if it does not exist.
        source: a user's own data set, in any shape that `read_dataset` takes, instead of the bundled bank. Then only
            the JSONL file is written: class files are the user's own.
        of: the classes; None for the bundled default.
        overwrite: replace existing files that differ. Without it they are an error, because they may be someone's
            own prompts.

    Raises:
        InputError: an unknown profile, an unusable source, an existing file that differs, a folder that cannot be
            written.
    """
    folder = Path(output_dir)
    if source is None:
        of = bank() if of is None else of
        texts = of.profile(profile)
        files = [_class_file(texts, c, folder / f"{c}_prompts{SUFFIXES[profile]}.json") for c in of.names]
        files.append((folder / "real_world_samples.json", _real_world_file(of)))
    else:
        texts = read_dataset(source, profile)
        files = []
    files.append((folder / f"emotion_dataset{SUFFIXES[profile]}.jsonl", _dataset_file(texts, bundled=source is None)))
    if not overwrite:
        _refuse_to_lose(files)
    for path, content in files:
        write_text(path, content)
    return tuple(path for path, _ in files)


def _class_file(texts: Dataset, emotion: str, path: Path) -> tuple[Path, str]:
    own = texts.select(emotion)
    columns: dict[str, Sequence[object]] = {
        "prompts": [text.text for text in own],
        "scenarios": [text.scenario for text in own],
        "spans": [text.span for text in own],
        "splits": [text.split for text in own],
    }
    return path, _columns(columns)


def _real_world_file(of: Bank) -> str:
    rows = of.real_world_rows()
    return _columns(
        {"prompts": [r.text for r in rows], "emotions": [r.emotion for r in rows], "kinds": [r.kind for r in rows]}
    )


def _columns(columns: Mapping[str, Sequence[object]]) -> str:
    """Parallel lists as JSON, one entry a line."""
    parts = []
    for name, values in columns.items():
        entries = ",\n    ".join(json.dumps(value, ensure_ascii=False) for value in values)
        parts.append(f'  "{name}": [\n    {entries}\n  ]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _dataset_file(texts: Dataset, *, bundled: bool) -> str:
    language = {"lang": "en"} if bundled else {}  # of a user's texts it is not known
    rows = (
        {"text": t.text, "emotion": t.emotion, **language, "scenario": t.scenario, "split": t.split, "span": t.span}
        | ({"also": t.also} if t.also else {})
        for t in texts
    )
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _refuse_to_lose(files: Iterable[tuple[Path, str]]) -> None:
    for path, content in files:
        if path.exists() and read_text(path) != content:
            raise InputError(
                f"{path} exists and holds something else",
                next_step="choose another folder, or allow overwriting",
            )
