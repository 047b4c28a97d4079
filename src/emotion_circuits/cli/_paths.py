"""File names from the command line."""

from __future__ import annotations

from pathlib import Path

from emotion_circuits.cli._output import note
from emotion_circuits.errors import InputError

PICKLES = (".pkl", ".pickle", ".pt", ".pth")


def output_path(path: Path, suffix: str, *others: str) -> Path:
    """Where to write: what was named, pipes and devices too.

    A name without a suffix, or with a pickle's, gets that of our format, with a note.

    Args:
        path: as the user gave it.
        suffix: the format we write, such as `.parquet`.
        others: further suffixes that the command can write.

    Raises:
        InputError: another suffix, which would promise another format.
    """
    if is_special(path):
        return path
    if not path.name:  # the folder itself, or nothing
        raise InputError("This is no name of a file to write.", found=repr(str(path)), next_step=f"name it x{suffix}")
    given = path.suffix.lower()
    if given in PICKLES:
        chosen = path.with_suffix(suffix)
        note(f"pickles are not written; {path.name} becomes {chosen.name}")
        return chosen
    if given == "":
        chosen = path.with_name(path.name + suffix)
        note(f"{path.name} becomes {chosen.name}")
        return chosen
    if given in (suffix, *others):
        return path
    raise InputError(
        f"This command does not write {given} files.",
        found=path,
        accepted=", ".join((suffix, *others)),
        next_step=f"name it {path.name}{suffix}",
    )


def is_special(path: Path) -> bool:
    """Whether it is a pipe or a device, which is written as it is."""
    return path.exists() and not path.is_file() and not path.is_dir()


def input_path(path: Path, *suffixes: str) -> Path:
    """What to read: for a pickle's name, the file that we wrote in its place.

    Args:
        path: as the user gave it.
        suffixes: what `output_path` may have made of the name.

    Raises:
        InputError: there is no such file, or only a pickle.
    """
    if path == Path("-"):  # standard input
        return path
    if path.suffix.lower() in PICKLES:
        written = [path.with_suffix(suffix) for suffix in suffixes]
        for candidate in written:
            if candidate.exists():
                note(f"reading {candidate} for {path.name}")
                return candidate
        if path.exists():
            raise InputError(
                "Pickles are not read: a pickle can run any code.",
                found=path,
                accepted=", ".join(suffixes),
                next_step="make the file again with this program",
            )
    if not path.exists():
        raise InputError("There is no such file.", found=path)
    return path
