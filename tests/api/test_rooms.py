"""Rooms import what docs/architecture.md says, and nothing below them."""

from __future__ import annotations

import ast
from pathlib import Path

import emotion_circuits

SOURCE = Path(emotion_circuits.__file__).parent
BASE = {"prompts": set(), "models": set(), "statistics": set(), "engine": {"models"}, "geometry": {"statistics"}}
DIRECTIONS = {"prompts", "models", "engine", "statistics"}
COMPONENTS = DIRECTIONS | {"directions", "scoring", "interventions"}
ALLOWED: dict[str, set[str]] = {
    **BASE,
    "directions": DIRECTIONS,
    "scoring": DIRECTIONS | {"directions"},
    "interventions": DIRECTIONS | {"directions", "scoring"},
    "components": COMPONENTS,
    "comparison": COMPONENTS | {"components", "geometry"},
    "selftest": COMPONENTS | {"components", "geometry", "analyses"},
    "report": COMPONENTS - {"engine"} | {"components", "comparison"},
    "app": COMPONENTS | {"components", "report"},
    "analyses": COMPONENTS | {"components", "comparison", "geometry", "report"},
    "study": COMPONENTS | {"components", "comparison", "geometry", "report", "analyses"},
}


def imported(file: Path) -> set[str]:
    """The rooms that a module imports from, by their public names."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            parts = node.module.split(".")
            if parts[0] == "emotion_circuits":
                found |= {parts[1]} if parts[1:] else {alias.name for alias in node.names}
                if len(parts) > 2 and parts[1] != file.relative_to(SOURCE).parts[0]:
                    found.add(".".join(parts[1:]))  # another room's own module
    return found


def test_rooms_import_only_what_stands_above_them() -> None:
    rooms = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").is_file()}
    assert rooms == {*ALLOWED, "cli"}
    for room, allowed in ALLOWED.items():
        for file in (SOURCE / room).rglob("*.py"):
            found = {name for name in imported(file) if name.partition(".")[0] in rooms and name != room}
            found = {name for name in found if not name.startswith(f"{room}.")}
            assert found <= allowed, (file, found - allowed)
