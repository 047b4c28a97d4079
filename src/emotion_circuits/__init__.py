"""Find, compare and change how language models represent emotions.

::

    import emotion_circuits as ec

    lm = ec.load("reference/gpt2")
    acts = ec.record(lm, ec.prompts.bank().profile("baseline"))
    v = ec.directions(acts)["gratitude"]
    with lm.steer(v, dose=0.2):
        lm.generate("She opened the letter and said:")

Verbs and rooms load on first use, so importing the package costs nothing: no torch, no pandas.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emotion_circuits import (
        comparison,
        directions,
        engine,
        geometry,
        interventions,
        models,
        prompts,
        scoring,
        statistics,
    )
    from emotion_circuits._api import LanguageModel, align, generate, load, record, score, sweep
    from emotion_circuits._api import record as extract
    from emotion_circuits.analyses._audit import audit
    from emotion_circuits.directions import to_repeng
    from emotion_circuits.engine import verify
    from emotion_circuits.errors import EmotionCircuitsError, InputError, MeasurementError
    from emotion_circuits.geometry import register_aligner
    from emotion_circuits.models import Family, register_family
    from emotion_circuits.scoring import register_scorer

    __version__: str

# What the type checker sees above is what the tables below load, and what `__all__` lists; a test compares them.
_ROOMS = (
    "comparison",
    "directions",
    "engine",
    "geometry",
    "interventions",
    "models",
    "prompts",
    "scoring",
    "statistics",
)

# A verb must not have the name of a room: whichever was imported last would win. A room that is to be a verb too
# says so itself, with `_rooms.callable_room`.
_VERBS = {
    "EmotionCircuitsError": "emotion_circuits.errors:EmotionCircuitsError",
    "InputError": "emotion_circuits.errors:InputError",
    "LanguageModel": "emotion_circuits._api:LanguageModel",
    "MeasurementError": "emotion_circuits.errors:MeasurementError",
    "Family": "emotion_circuits.models:Family",
    "align": "emotion_circuits._api:align",
    "audit": "emotion_circuits.analyses._audit:audit",
    "extract": "emotion_circuits._api:record",
    "generate": "emotion_circuits._api:generate",
    "load": "emotion_circuits._api:load",
    "record": "emotion_circuits._api:record",
    "register_aligner": "emotion_circuits.geometry:register_aligner",
    "register_family": "emotion_circuits.models:register_family",
    "register_scorer": "emotion_circuits.scoring:register_scorer",
    "score": "emotion_circuits._api:score",
    "sweep": "emotion_circuits._api:sweep",
    "to_repeng": "emotion_circuits.directions:to_repeng",
    "verify": "emotion_circuits.engine:verify",
}

__all__ = [
    "EmotionCircuitsError",
    "Family",
    "InputError",
    "LanguageModel",
    "MeasurementError",
    "__version__",
    "align",
    "audit",
    "comparison",
    "directions",
    "engine",
    "extract",
    "generate",
    "geometry",
    "interventions",
    "load",
    "models",
    "prompts",
    "record",
    "register_aligner",
    "register_family",
    "register_scorer",
    "score",
    "scoring",
    "statistics",
    "sweep",
    "to_repeng",
    "verify",
]


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("emotion-circuits")
    except PackageNotFoundError:
        return "0+unknown"


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    elif name in _VERBS:
        module, _, attribute = _VERBS[name].partition(":")
        value = getattr(import_module(module), attribute)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
