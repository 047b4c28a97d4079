"""Claims before they are judged: one file per stage, because Holm needs all of a question's claims together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from emotion_circuits._files import write_text
from emotion_circuits.errors import InputError
from emotion_circuits.statistics import Claim

_CLAIMS = TypeAdapter(list[Claim])


def write_unjudged(folder: Path, name: str, claims: Sequence[Claim]) -> Path:
    """Write `claims/<name>.json`, unrounded."""
    path = folder / "claims" / f"{name}.json"
    write_text(path, _CLAIMS.dump_json(list(claims), indent=1).decode() + "\n")
    return path


def read_unjudged(folder: Path, names: Sequence[str]) -> list[Claim]:
    """Read the claims of those stages that make any.

    Raises:
        InputError: a file is malformed.
    """
    claims: list[Claim] = []
    for name in names:
        path = folder / "claims" / f"{name}.json"
        if not path.is_file():
            continue
        try:
            claims += _CLAIMS.validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise InputError(f"{path} cannot be read.", found=str(error).splitlines()[0]) from error
    return claims
