"""Rooms that are verbs too: `ec.directions(acts)` beside `ec.directions.Direction`."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallableRoom(ModuleType):
    _verb: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, self._verb)(*args, **kwargs)


def callable_room(module: str, verb: str) -> None:
    """Let a call of a module be a call of one of its functions.

    Importing `package.name` binds the module to the package's attribute `name`, over any function of that name; so a
    verb that shares its room's name has to be the room itself.

    Args:
        module: the room's `__name__`.
        verb: the name of the function in it.
    """
    room = sys.modules[module]
    room.__class__ = _CallableRoom
    room._verb = verb  # type: ignore[attr-defined]
