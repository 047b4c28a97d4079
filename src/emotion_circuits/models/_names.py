"""One string names a model, everywhere: on the command line, in study files and in file names."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from emotion_circuits.errors import InputError

Kind = Literal["reference", "packaged", "gguf", "folder", "hub"]

REFERENCE_NAMES = ("reference/gpt2", "reference/gpt-neox", "reference/gpt-neo", "reference/gpt2-twin")
PACKAGED_NAMES = ("smollm2-135m", "gemma3-270m")
"""Of `_packaged.PACKAGED`."""

_ACCEPTED = (
    f"a hub id (gpt2, EleutherAI/pythia-160m), a local folder, a .gguf file, "
    f"{', '.join((*PACKAGED_NAMES, *REFERENCE_NAMES))}; after it @REVISION (hub only) and ?init=random&seed=0"
)
_HUB_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_HUB_ID = re.compile(rf"(?:{_HUB_PART}/)?{_HUB_PART}")
_REVISION = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._/-]{0,62}[A-Za-z0-9_])?")
_QUERY = re.compile(r"init=random(?:&seed=(\d{1,9}))?")


def model_label(name: str) -> str:
    """What claims and reports call a model: its name, or of a path the slug: claims name no place on a machine."""
    return ModelName.parse(name).slug if Path(name).is_absolute() else name


@dataclass(frozen=True)
class ModelName:
    """A parsed model name. Make one with `ModelName.parse`; `str()` gives the canonical string back."""

    source: str
    """The name without revision and query: a hub id, an absolute path, or a name of ours."""

    kind: Kind
    """Where the model comes from."""

    revision: str | None = None
    """Hub branch, tag or commit; None is the default branch."""

    seed: int | None = None
    """Seed of the untrained twin; None for the trained model."""

    @classmethod
    def parse(cls, text: str | ModelName) -> ModelName:
        """Read a name.

        A path is what starts with `/`, `.` or `~`, ends in `/` or `.gguf`, or names an existing folder with a
        `config.json`; anything else is a hub id. Of a path the normalised form is kept (see `_normalised`), so that a
        model has one name wherever it is called from.

        Raises:
            InputError: the string is no model name.
        """
        if isinstance(text, ModelName):
            return text
        if not text or not text.isprintable():  # also keeps lone surrogates and NUL out of paths
            raise InputError("This is not a model name.", found=repr(text), accepted=_ACCEPTED)
        rest, seed = _split_query(text)
        kind = _kind(rest)
        revision = None
        if kind == "hub" and "@" in rest:
            rest, _, revision = rest.partition("@")
            _check_revision(revision, text)
            kind = _kind(rest)
            if kind != "hub":
                raise InputError(
                    "Only models from the hub have revisions.", found=text, next_step=f"leave out @{revision}"
                )
        if kind == "hub":
            _check_hub_id(rest, text)
        elif kind in ("folder", "gguf"):
            rest = _normalised(rest, kind)
        return cls(rest, kind, revision, seed)

    def __str__(self) -> str:
        revision = "" if self.revision is None else f"@{self.revision}"
        query = "" if self.seed is None else f"?init=random&seed={self.seed}"
        return f"{self.source}{revision}{query}"

    @property
    def slug(self) -> str:
        """The name as part of a file name: `/` becomes `--`, `?` and `&` become `+`, a path its last part and 8 hex
        digits of the SHA-256 of the normalised path."""
        text = str(self)
        if self.kind in ("folder", "gguf"):
            query = text.removeprefix(self.source)
            base = re.sub(r"[^\w.-]", "_", self.path.name)[:40].lstrip(".") or "model"
            text = f"{base}-{hashlib.sha256(self.source.encode()).hexdigest()[:8]}{query}"
        return text.replace("/", "--").replace("?", "+").replace("&", "+")

    @property
    def path(self) -> Path:
        """The path that a folder or `.gguf` name means."""
        return Path(self.source)

    @property
    def is_untrained(self) -> bool:
        return self.seed is not None

    @property
    def trained(self) -> ModelName:
        """The same model with its trained weights."""
        return replace(self, seed=None)

    def untrained(self, seed: int = 0) -> ModelName:
        """The same architecture and tokenizer with random weights: the null of trained structure."""
        return replace(self, seed=seed)


def _split_query(text: str) -> tuple[str, int | None]:
    rest, mark, query = text.rpartition("?")
    if not mark:
        return text, None
    match = _QUERY.fullmatch(query)
    if match is None:
        if _kind(text) in ("folder", "gguf"):  # a question mark is a legal character of a path
            return text, None
        raise InputError("The model name has an unknown option.", found=f"?{query}", accepted="?init=random&seed=0")
    return rest, int(match.group(1) or 0)


def _normalised(source: str, kind: Kind) -> str:
    """The absolute path, `~` expanded where it names a home, and symbolic links followed.

    Links are followed because the working folder is known by its physical path only: under a link `./tiny` and the
    absolute path as the user writes it would be two names. A file keeps its own name: in the hub's cache a `.gguf` file
    is a link to one without a suffix.
    """
    # Not Path.expanduser: it drops a leading "./" first, and raises where a name after "~" is nobody's.
    path = Path(os.path.expanduser(source))  # noqa: PTH111
    # Not Path.resolve, which raises on links that go in circles.
    path = Path(os.path.realpath(path.parent)) / path.name if kind == "gguf" else Path(os.path.realpath(path))
    if not str(path).isprintable():  # the working folder's own name
        raise InputError("The path of the model has characters that cannot be printed.", found=repr(str(path)))
    return str(path)


def _kind(source: str) -> Kind:
    if source in REFERENCE_NAMES:
        return "reference"
    if source in PACKAGED_NAMES:
        return "packaged"
    if source.startswith("reference/"):
        raise InputError("No such reference model.", found=source, accepted=", ".join(REFERENCE_NAMES))
    if source.lower().endswith(".gguf"):
        return "gguf"
    if source.startswith(("/", "./", "../", "~")) or source.endswith("/") or source in (".", ".."):
        return "folder"
    if source and (Path(source) / "config.json").is_file():
        return "folder"
    return "hub"


def _check_hub_id(source: str, text: str) -> None:
    if not _HUB_ID.fullmatch(source) or "--" in source or ".." in source or source.endswith(".git"):
        if source and Path(source).is_dir():
            raise no_config(Path(source))
        raise InputError("This is not a model name.", found=repr(text), accepted=_ACCEPTED)


def no_config(folder: Path) -> InputError:
    """What is wrong with a folder that has no config.json, and where to go from there."""
    return InputError(
        "The folder has no config.json.",
        found=folder,
        accepted="a folder in Hugging Face format",
        next_step=config_advice(folder),
    )


def config_advice(folder: Path) -> str:
    """What to do about a folder that has no config.json."""
    if inside := sorted(file.parent for file in folder.glob("*/config.json")):
        return f"give the model's own folder: {_normalised(str(inside[-1]), 'folder')}"
    if (folder / "adapter_config.json").is_file():
        return "this is an adapter: merge it into its model (merge_and_unload in peft), save that, and give its folder"
    return f"save a model in {folder} with save_pretrained of transformers, its tokenizer too, or give another folder"


def _check_revision(revision: str, text: str) -> None:
    # "--" would make "a--b" and "a/b" one file name.
    if not _REVISION.fullmatch(revision) or "--" in revision or ".." in revision or "//" in revision:
        raise InputError(
            "This is not a revision.",
            found=repr(text),
            accepted="a branch, a tag or a commit of at most 64 letters, digits, '.', '_', '-', '/'",
            next_step="give the commit hash",
        )
