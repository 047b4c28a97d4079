"""Results that come with the package: a study of a real model, so that there is something to see at once."""

from __future__ import annotations

import io
import zipfile
from importlib.resources import files
from pathlib import Path

from emotion_circuits._files import whole_file
from emotion_circuits.errors import InputError, WriteError
from emotion_circuits.report._heads import UNIT_COLUMNS
from emotion_circuits.report._results import read_table

_FOLDERS = ("analyses", "cross_model", "circuits", "emotion_vectors", "heads", "patching")
_UNUSED = ("depth_values_",)
"""Beginnings of files that the page is not made from."""
_DATE = (1980, 1, 1, 0, 0, 0)


def pack_results(folder: Path, target: Path) -> Path:
    """Pack what the page of finished results is made from; equal results give equal bytes.

    Args:
        folder: `results/<profile>`.
        target: the .zip to write.

    Raises:
        InputError: the folder holds no claims.
    """
    if not (folder / "claims.json").is_file():
        raise InputError("There are no finished results to pack.", found=folder, next_step="run a study first")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            within = len(name.parts) == 1 or name.parts[0] in _FOLDERS
            if within and path.suffix in (".json", ".jsonl", ".parquet") and not name.name.startswith((".", *_UNUSED)):
                content = _units(path) if path.match("heads/units_*.parquet") else path.read_bytes()
                archive.writestr(zipfile.ZipInfo(name.as_posix(), _DATE), content, zipfile.ZIP_DEFLATED, 9)
    with whole_file(target) as part:
        part.write_bytes(packed.getvalue())
    return target


def _units(path: Path) -> bytes:
    """The largest table by far: of every unit what the page shows, to seven digits."""
    table = read_table(path, UNIT_COLUMNS)[list(UNIT_COLUMNS)]
    numbers = table.select_dtypes("float").columns
    kept = io.BytesIO()
    table.astype(dict.fromkeys(numbers, "float32")).to_parquet(kept, index=False, compression="zstd")
    return kept.getvalue()


def unpack_demo(results: Path) -> Path:
    """Lay the package's results into a folder of results.

    Args:
        results: as the commands' `--results`.

    Returns:
        `results/baseline`.

    Raises:
        InputError: there are other results already.
        WriteError: the folder cannot be written.
    """
    folder = results / "baseline"
    with zipfile.ZipFile(
        io.BytesIO((files("emotion_circuits.report") / "assets" / "demo.zip").read_bytes())
    ) as archive:
        claims = archive.read("claims.json")
        own = folder / "claims.json"
        # A study that was stopped has no claims yet, and goes on from its files.
        if folder.is_dir() and any(folder.iterdir()) and not (own.is_file() and own.read_bytes() == claims):
            raise InputError(
                "The folder holds results of your own.", found=folder, next_step="name another with --results"
            )
        try:
            archive.extractall(folder)
        except OSError as error:
            raise WriteError(f"{folder} cannot be written.", found=error) from error
    return folder
