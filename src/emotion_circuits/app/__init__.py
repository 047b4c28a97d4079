"""The explorer: a page on which a model is steered, read and asked for its evidence; needs the extra `app`."""

from emotion_circuits.app._bench import Benches, Workbench, open_bench
from emotion_circuits.app._reading import Reading, read_text
from emotion_circuits.app._recipe import Part, Recipe
from emotion_circuits.app._session import Explorer, Session

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


def serve(*args: object, **kwargs: object) -> None:
    """Serve the page until interrupted (see `_page.serve`); Gradio is imported here and nowhere else."""
    from emotion_circuits.app._page import serve as run

    run(*args, **kwargs)  # type: ignore[arg-type]
