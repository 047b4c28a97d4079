"""What every analysis works with: the study, its folder, models loaded when first needed, and a voice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from emotion_circuits._parts import Parts
from emotion_circuits._progress import Progress
from emotion_circuits.analyses._settings import Plan, Settings
from emotion_circuits.directions import Activations, DirectionSet, load_activations, load_directions
from emotion_circuits.engine import load_verified as load
from emotion_circuits.models import LoadedModel, ModelName
from emotion_circuits.prompts import CLAIMS, Bank, lacking

CLAIM_POSITION = "mean"
"""Where claims read texts."""


def no_progress(label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """Show nothing."""
    return nullcontext(lambda _: None)


@dataclass
class Workshop:
    """Shared state of one run of a study.

    Attributes:
        study: what is to be done.
        tell: called with one line for the user.
        progress: shows long steps.
        parts: keeps what the running stage has done so far.
        missing: stages that could not run, or that need one of those.
    """

    study: Settings
    tell: Callable[[str], None] = lambda _: None
    progress: Progress = no_progress
    parts: Parts | None = None
    missing: set[str] = field(default_factory=set)
    _loaded: dict[str, LoadedModel] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where results go."""
        return self.study.folder

    @property
    def bank(self) -> Bank:
        """The classes and their texts."""
        return self.study.bank

    def plan(self, kind: type[Plan]) -> Plan:
        """The study's plan of this kind."""
        return self.study.plan(kind)

    def model(self, name: str) -> LoadedModel:
        """The model, loaded and proven when first asked for; only one is held at a time."""
        if name not in self._loaded:
            self._loaded.clear()
            study = self.study
            self._loaded[name] = load(
                name, device=study.device, dtype=study.dtype, bos=study.bos, threads=study.threads,
                float32_products=study.float32_products,
            )  # fmt: skip
        return self._loaded[name]

    def activations(self, name: str) -> Activations:
        """The recorded explicit texts of a model."""
        return load_activations(activation_folder(self, name))

    def directions(self, name: str, position: str = "mean") -> DirectionSet:
        """The fitted directions of a model."""
        return load_directions(directions_path(self, name, position))

    @contextmanager
    def counting(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        """Progress for callbacks that report increments instead of totals."""
        done = 0
        with self.progress(label, total) as show:

            def add(count: int) -> None:
                nonlocal done
                done += count
                show(done)

            yield add


def slug(name: str) -> str:
    """A model's name in file names."""
    return ModelName.parse(name).slug


def compared(study: Settings) -> tuple[str, ...]:
    """The models that are compared with each other: the trained ones, if there are two or more."""
    names = tuple(name for name in study.models if not ModelName.parse(name).is_untrained)
    return names if len(names) > 1 else ()


def twin_names(study: Settings, name: str) -> list[str]:
    """The untrained twins of a model; an untrained model is its own floor and has none."""
    parsed = ModelName.parse(name)
    return [] if parsed.is_untrained else [str(parsed.untrained(seed)) for seed in study.untrained_seeds]


def activation_folder(work: Workshop, name: str) -> Path:
    """Where a model's activations lie."""
    return work.folder / "activations" / slug(name)


def directions_path(work: Workshop, name: str, position: str) -> Path:
    """Where a model's directions at a position lie."""
    return work.folder / "emotion_vectors" / f"{slug(name)}_{position}.safetensors"


def patching_path(work: Workshop, name: str, what: str) -> Path:
    """Where what was done to a model lies."""
    return work.folder / "patching" / f"{slug(name)}_{what}"


def recorded_texts(folder: Path, explicit: Activations) -> Activations:
    """Activations of a kind of texts; of none where no class of the study has any."""
    recorded = any(folder.glob("activations_*.safetensors"))
    return load_activations(folder) if recorded else explicit.none(folder.name)


def why_untested(work: Workshop, emotion: str, *needs: str) -> str | None:
    """What an emotion lacks for a claim (see `prompts.lacking`), in words; None where it lacks nothing."""
    short = lacking(work.bank, emotion)
    return "; ".join(short[need] for need in (CLAIMS, *needs) if need in short) or None


def joined_reasons(work: Workshop, of_model: Mapping[str, str], *needs: str) -> dict[str, str]:
    """Emotion → why it is not tested: for what it lacks itself, and for what a model's tokens do to it."""
    own = {emotion: why for emotion in work.bank.emotions if (why := why_untested(work, emotion, *needs))}
    return {
        emotion: "; ".join(dict.fromkeys(why[emotion] for why in (own, of_model) if emotion in why))
        for emotion in work.bank.emotions
        if emotion in own or emotion in of_model
    }


def one_line(error: Exception) -> str:
    """What went wrong, without line breaks."""
    return "; ".join(line.strip(" .") for line in str(error).splitlines())
