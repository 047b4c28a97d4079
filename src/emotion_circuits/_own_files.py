"""What users add to the package: Python files that they name, and what code registers.

A file is run once for what it holds. Edited, it is run again, and what it registered before is gone.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import os
import re
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from emotion_circuits.errors import EmotionCircuitsError, InputError

FILES_VARIABLE = "EMOTION_CIRCUITS_FAMILIES"
"""Names Python files to run (several are separated as in PATH), for commands and other processes."""
GROUP = "emotion_circuits.analyses"
"""Entry points of installed packages that name modules with analyses."""
NAMED: ContextVar[tuple[Path, ...]] = ContextVar("NAMED", default=())
"""The files that the command line names."""
HOW = "name the file that registers it: --analyses FILE before the command, or `analyses` in the study file"
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,40}")

Item = TypeVar("Item")


@dataclass
class OwnFile:
    """A user's Python file that was run.

    Attributes:
        path: absolute, links followed.
        source: its text.
        names: what its module holds.
        registered: registry and name of what was registered while it ran.
    """

    path: Path
    source: str
    names: dict[str, Any] = field(default_factory=dict)
    registered: list[tuple[Registry[Any], str]] = field(default_factory=list)

    def undo(self) -> None:
        """Forget what it registered itself; what it imports stays imported, and so registered."""
        for registry, name in self.registered:
            registry.drop(name, self.path)


_ran: dict[Path, OwnFile] = {}
_running: list[OwnFile] = []


def run_file(path: Path | str) -> OwnFile:
    """Run a Python file, unless it was run as it is now. Name only files that you would run yourself.

    Raises:
        InputError: it cannot be read or run.
    """
    path = Path(path).expanduser().resolve()
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"{path} is no Python file.", accepted="a file that ends in .py")
    try:
        source = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read.", found=error) from error
    known = next((own for own in _running if own.path == path), _ran.get(path))
    if known is not None and known.source == source:
        return known
    if known is not None:
        known.undo()
    name = f"_own_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look a class's module up
    own = OwnFile(path, source, vars(module))
    _ran.pop(path, None)
    _running.append(own)
    try:
        # Compiled from the text that was read: a cached compilation may be of the text before an edit.
        exec(compile(source, str(path), "exec"), vars(module))
    except EmotionCircuitsError:
        own.undo()
        raise
    except Exception as error:  # whatever a user's file may raise
        own.undo()
        said = next(iter(str(error).splitlines()), "")
        raise InputError(f"{path} cannot be run.", found=f"{type(error).__name__}: {said}") from error
    finally:
        _running.pop()
    _ran[path] = own
    return own


def run_named(paths: Iterable[Path | str] = ()) -> None:
    """Run these files, after those that the environment names.

    Raises:
        InputError: one cannot be read or run.
    """
    for path in (*filter(None, os.environ.get(FILES_VARIABLE, "").split(os.pathsep)), *paths):
        run_file(path)


@dataclass(frozen=True)
class _Entry(Generic[Item]):
    item: Item
    file: Path | None
    code: str


class Registry(Mapping[str, Item]):
    """What there is of a kind by its name: the package's own, then what was registered.

    Args:
        kind: what it holds, in one word.
        bundled: the package's own.
    """

    def __init__(self, kind: str, bundled: Mapping[str, Item]):
        self.kind = kind
        self.bundled = bundled
        self._own: dict[str, _Entry[Item]] = {}

    def register(self, name: str, item: Item, *, depth: int = 2) -> Item:
        """Add an item under a new name. A file may do so again with what it defines, as when it is imported and named.

        Args:
            name: small letters, digits, `_`, `.` and `-`.
            item: what it is.
            depth: how many calls up the code is that registers.

        Raises:
            InputError: a name that cannot be used, or is taken.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InputError(f"This is no name for {self._one}.", found=repr(name),
                             accepted="small letters, digits, _, . and -")  # fmt: skip
        given = sys._getframe(depth).f_globals.get("__file__")
        file = Path(given).resolve() if given else None
        running = _running[-1] if _running else None
        before = self._own.get(name)
        twice = running is not None and (self, name) in running.registered
        again = before is not None and (before.file, _called(before.item)) == (file, _called(item)) and file is not None
        if name in self.bundled or (before is not None and (twice or not again)):
            raise self.taken(name)
        self._own[name] = _Entry(item, file, _code(item, file))
        if running is not None:
            running.registered.append((self, name))
        return item

    def taken(self, name: str, found: str | None = None) -> InputError:
        """The error about a name that is there."""
        step = f'take another name, or forget_{self.kind}("{name}") if you registered it'
        return InputError(f"This {self.kind} is there already.", found=found or name,
                          accepted="a name that no other has", next_step=step)  # fmt: skip

    def again(self, name: str) -> Item:
        """What is there under a name, registered once more as it is."""
        if _running:
            _running[-1].registered.append((self, name))
        return self[name]

    def forget(self, name: str) -> None:
        """Undo `register`.

        Raises:
            InputError: nothing was registered under this name.
        """
        if self._own.pop(name, None) is None:
            raise InputError(f"No such {self.kind} was registered.", found=name,
                             accepted=", ".join(self._own) or "none is")  # fmt: skip

    def drop(self, name: str, file: Path) -> None:
        """Forget what this file registered under a name, if it did."""
        if name in self._own and self._own[name].file == file:
            del self._own[name]

    def code(self, name: str) -> str:
        """Identifies the code behind a registered item: edited, results that rest on it are made again. Else empty."""
        return self._own[name].code if name in self._own else ""

    def codes(self) -> dict[str, str]:
        """The code behind everything that was registered."""
        return {name: entry.code for name, entry in self._own.items()}

    @property
    def _one(self) -> str:
        return f"an {self.kind}" if self.kind[0] in "aeiou" else f"a {self.kind}"

    def __getitem__(self, name: str) -> Item:
        run_named()
        return self.bundled[name] if name in self.bundled else self._own[name].item

    def __iter__(self) -> Iterator[str]:
        run_named()
        return iter((*self.bundled, *self._own))

    def __len__(self) -> int:
        return len(self.bundled) + len(self._own)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


def _called(item: object) -> object:
    return getattr(item, "__qualname__", item)


def _code(item: object, file: Path | None) -> str:
    """A hash of the file; of what Python knows of the source where there is none; else never the same again."""
    if file is not None and file.is_file():
        content = file.read_bytes()
    else:
        try:
            content = inspect.getsource(item).encode()  # type: ignore[arg-type]  # it refuses what it does not know
        except (OSError, TypeError):
            content = uuid.uuid4().bytes
    return hashlib.sha256(content).hexdigest()[:16]
