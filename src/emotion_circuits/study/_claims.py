"""Claims before they are judged: one file per stage, because Holm needs all of a question's claims together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from emotion_circuits._files import write_text
from emotion_circuits.errors import InputError
from emotion_circuits.statistics import Claim

_CLAIMS = TypeAdapter(list[Claim])


def write_unjudged(folder: Path, stage: str, claims: Sequence[Claim]) -> Path:
    """Keep a stage's claims, unrounded."""
    path = folder / claims_file(stage)
    write_text(path, _CLAIMS.dump_json(list(claims), indent=1).decode() + "\n")
    return path


def claims_file(stage: str) -> str:
    """Where a stage's claims lie, relative to the results folder."""
    return f"claims/{stage.replace('/', '_')}.json"


def read_unjudged(folder: Path, stages: Sequence[str]) -> list[Claim]:
    """Read the claims of those stages that make any.

    Raises:
        InputError: a file is malformed.
    """
    claims: list[Claim] = []
    for stage in stages:
        path = folder / claims_file(stage)
        if not path.is_file():
            continue
        try:
            claims += _CLAIMS.validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise InputError(f"{path} cannot be read.", found=str(error).splitlines()[0]) from error
    return claims


def claim_line(claim: Claim) -> str:
    """A claim before it is judged, in a line: what was measured, beside chance and what it gains."""
    about = f"{claim.id}, {claim.emotion or 'all emotions'} in {claim.model}"
    if claim.value is None or claim.chance is None or claim.gain is None:
        return f"  {about}: {claim.why}"
    between = "" if claim.gain_ci95 is None else " [{:.3g}, {:.3g}]".format(*claim.gain_ci95)
    return (
        f"  {about}: {claim.value:.3g}, chance {claim.chance:.3g}, gain {claim.gain:.3g}{between} over "
        f"{claim.gain_over}, p {'–' if claim.p is None else f'{claim.p:.3g}'} before Holm"
    )
