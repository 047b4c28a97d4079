"""The explorer: a page on which a model is steered, read and asked for its evidence; needs the extra `app`.

`serve` loads on first use, and Gradio with it.
"""

from typing import TYPE_CHECKING, Any

from emotion_circuits.app._bench import Benches, Workbench, open_bench
from emotion_circuits.app._reading import Reading, read_text
from emotion_circuits.app._recipe import Part, Recipe
from emotion_circuits.app._session import Explorer, Session

if TYPE_CHECKING:
    from emotion_circuits.app._page import serve

__all__ = [
    "Benches",
    "Explorer",
    "Part",
    "Reading",
    "Recipe",
    "Session",
    "Workbench",
    "open_bench",
    "read_text",
    "serve",
]


def __getattr__(name: str) -> Any:
    if name == "serve":
        from emotion_circuits.app._page import serve

        return serve
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
