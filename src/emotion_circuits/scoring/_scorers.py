"""Scorers of text: one interface, one registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from emotion_circuits._own_files import HOW, Registry
from emotion_circuits.errors import InputError
from emotion_circuits.prompts import Bank
from emotion_circuits.scoring._hf_classifier import GO_EMOTIONS, HuggingFaceScorer
from emotion_circuits.scoring._markers import MarkerScorer
from emotion_circuits.scoring._offline import OfflineScorer
from emotion_circuits.scoring._vader import VaderScorer

HF_PREFIX = "hf:"


@runtime_checkable
class TextScorer(Protocol):
    """Says how much of each emotion a text shows.

    The score of a text depends on that text only: neither on its neighbours nor on their order. Blank text has no
    score: NaN in every column, never a silent zero.

    Attributes:
        name: what tables call it.
        emotions: the columns of `score`.
        meaning: what a value means, in one line.
        low, high: the range of values. Where it is 0 to 1 a value serves as concept score (see `harmonic_score`).
        chance: the value that a scorer which sees nothing in the text would give.
    """

    @property
    def name(self) -> str: ...
    @property
    def emotions(self) -> tuple[str, ...]: ...
    @property
    def meaning(self) -> str: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def chance(self) -> float: ...

    def score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(len(texts), len(emotions)) scores; (0, len(emotions)) for no texts."""
        ...


class Setting(NamedTuple):
    """What scorers may need to know.

    Attributes:
        bank: the classes to tell apart.
        profile: the data set that the judged directions were made from; `offline` keeps its texts out of its training.
        device: where classifiers run.
    """

    bank: Bank
    profile: str = "baseline"
    device: str = "auto"


MakeScorer = Callable[[Setting], TextScorer]
SCORERS: Final[Mapping[str, MakeScorer]] = MappingProxyType(
    {
        "markers": lambda setting: MarkerScorer(setting.bank),
        "marker-counts": lambda setting: MarkerScorer(setting.bank, counts=True),
        "vader": lambda setting: VaderScorer(setting.bank),
        "offline": lambda setting: OfflineScorer(setting.bank, setting.profile),
        "go-emotions": lambda setting: HuggingFaceScorer(setting.bank, GO_EMOTIONS, device=setting.device),
    }
)
"""Name → how to make the scorer. A new scorer of the package joins by an entry here, a user's own by `register_scorer`.
`go-emotions` alone needs the hub."""
REGISTRY: Final = Registry("scorer", SCORERS)
Make = TypeVar("Make", bound=MakeScorer)

OFFLINE_SCORERS: Final = ("markers", "vader", "offline")
"""What is used where nothing is asked for: no network, no model."""


def register_scorer(name: str, make: Make) -> Make:
    """Make a scorer known under a name, for this process.

    Args:
        name: of the scorer on the command line and in studies.
        make: makes it, from a `Setting`: a class or a function.

    Raises:
        InputError: the name cannot be used or is taken, or `make` cannot be called.
    """
    if not callable(make):
        raise InputError("This makes no scorer.", found=repr(make)[:100], accepted="a class or function of a Setting")
    REGISTRY.register(name, make)
    return make


def forget_scorer(name: str) -> None:
    """Undo `register_scorer`.

    Raises:
        InputError: no scorer of this name was registered.
    """
    REGISTRY.forget(name)


def scorers() -> tuple[str, ...]:
    """Names of the package's own, then of those registered."""
    return tuple(REGISTRY)


def scorer_codes() -> dict[str, str]:
    """What the code behind each registered scorer is recognised by."""
    return REGISTRY.codes()


def sides_of(scorer: TextScorer) -> Mapping[str, int]:
    """Emotion → which way a positive–negative scorer should go with it; none for scorers of emotions."""
    sides: Mapping[str, int] = getattr(scorer, "sides", {})
    return sides


def check_scorer(name: str) -> None:
    """Refuse a name that `make_scorer` would.

    Raises:
        InputError: an unknown name; `hf:` without a name.
    """
    known = scorers()
    if not name.removeprefix(HF_PREFIX) or (name not in known and not name.startswith(HF_PREFIX)):
        raise InputError(
            "There is no such scorer.", found=repr(name), accepted=f"{', '.join(known)}, {HF_PREFIX}NAME_OR_FOLDER",
            next_step=f"or {HOW}",
        )  # fmt: skip


def make_scorer(name: str, setting: Setting) -> TextScorer:
    """A scorer by its name in `scorers()`, or `hf:NAME_OR_FOLDER` for any Hugging Face sequence classifier.

    Raises:
        InputError: as for `check_scorer`; a user's own that is no `TextScorer`. (A classifier that cannot be loaded
            says so when it scores.)
    """
    check_scorer(name)
    if name.startswith(HF_PREFIX):
        return HuggingFaceScorer(setting.bank, name.removeprefix(HF_PREFIX), device=setting.device)
    made = REGISTRY[name](setting)
    if name not in SCORERS and not isinstance(made, TextScorer):
        raise InputError(f"The scorer {name} lacks what scorers have.", found=type(made).__name__,
                         accepted="name, emotions, meaning, low, high, chance, score")  # fmt: skip
    return made
