"""What a study may be told: the settings that all analyses share, and what the plan of each is made of."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from emotion_circuits.errors import InputError
from emotion_circuits.models import Float32Products, ModelName
from emotion_circuits.prompts import DIRECTIONS, OWN_SUFFIXES, Bank, bank, bundled_emotions, lacking

ALL_LAYERS = 1000
"""More depths than any model has layers."""
REFERENCE_MODELS = ("reference/gpt2", "reference/gpt-neox", "reference/gpt-neo")

Item = TypeVar("Item")


def _listed(value: Any) -> Any:
    """One value is a list of one."""
    return value if isinstance(value, list | tuple | set | frozenset) else (value,)


def _distinct(values: tuple[Item, ...]) -> tuple[Item, ...]:
    if len(set(values)) < len(values):
        raise ValueError("give each value once")
    return values


Several = Annotated[tuple[Item, ...], BeforeValidator(_listed), Field(min_length=1), AfterValidator(_distinct)]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_listed)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
CountOrNone = Annotated[int, Field(ge=0, le=1_000_000)]
Layer = Annotated[int, Field(ge=0)]
Draws = Annotated[int, Field(ge=2, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Effect = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]
PositionName = Literal["sentence_end", "last_content", "emotion_token", "mean"]


class AnalysisPlan(BaseModel):
    """The settings of an analysis: its part of the study file, its flags, and its part of the key of its results."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    FULL: ClassVar[Mapping[str, Any]] = {}
    """What a study without limits on time does instead."""

    def registered(self) -> dict[str, str]:
        """The code of users' own that it names: name → what it is recognised by."""
        return {}

    def lifted(self) -> Any:
        """The same without limits on time; what the user has set stays."""
        return self.model_copy(update={k: v for k, v in self.FULL.items() if k not in self.model_fields_set})


class EffectsOfInterest(AnalysisPlan):
    """The smallest gains that a study cares to see, over the strongest of a claim's nulls and floors. A claim that is
    not supported is `not supported` if its interval excludes such a gain, else `underpowered`.

    They are what a study of the default size finds in four of five cases (`selftest` measures it): steering's and
    circuits' controls vary so much by themselves that less could not be told from them."""

    separability: Effect = 0.1
    """AUROC on implicit texts."""
    stability: Effect = 0.35
    """Split-half cosine."""
    steering: Effect = 5.4
    """Slope of own word-set log-odds, in nats per unit of dose: at a dose of .2 odds that are 2.9 times as high."""

    shared: Effect = 0.2
    """Corrected overlap S* of one model's mapped subspace with another's own."""
    alignment: Effect = 0.12
    """Cosine of a mapped direction with the model's own."""
    transfer: Effect = 0.1
    """AUROC of a mapped direction on implicit texts."""
    circuit: Effect = 0.35
    """CPR: a third of the emotion's effect more, averaged over sizes."""


Plan = TypeVar("Plan", bound=AnalysisPlan)


class Settings(AnalysisPlan):
    """What decides the numbers of every analysis, and where they go."""

    profile: Literal["baseline", "extended"] = "baseline"
    emotions: Several[str] | None = None
    """Names of bundled emotions, and paths of one's own (`.yaml`, `.csv`, `.jsonl`); None for the bundled default. With
    one emotion there is nothing to set it against, and its specific direction is the matched one."""
    models: Several[str] = REFERENCE_MODELS
    results: Path = Path("results")
    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    bos: bool | Literal["auto"] = "auto"
    threads: Annotated[int, Field(ge=1, le=1024)] = 2
    """Threads of every worker; another number may change the last digits."""
    float32_products: Float32Products = "highest"
    """On the CPU; "medium" is faster on some processors, with bfloat16's digits."""
    seed: Seed = 0
    batch_tokens: Count = 2048
    generic_texts: Annotated[int, Field(ge=8, le=1_000_000)] = 256
    """Texts behind the units of doses, generic means and components."""
    untrained_seeds: Several[Seed] = (0,)
    """Seeds of the untrained twins that serve as floors."""
    effects: EffectsOfInterest = EffectsOfInterest()

    FULL: ClassVar[Mapping[str, Any]] = {"untrained_seeds": (0, 1, 2, 3, 4)}

    @field_validator("models")
    @classmethod
    def _each_once(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(str(ModelName.parse(model)) for model in models)
        if len(set(names)) < len(names):
            raise ValueError("each model once")
        return names

    @field_validator("emotions")
    @classmethod
    def _known(cls, emotions: tuple[str, ...] | None) -> tuple[str, ...] | None:
        known = bundled_emotions()
        if not all(name in known or name.lower().endswith(OWN_SUFFIXES) for name in emotions or ()):
            raise ValueError(f"{', '.join(known)}, or files of your own ({', '.join(OWN_SUFFIXES)})")
        return emotions

    @field_validator("results")
    @classmethod
    def _a_path(cls, results: Path) -> Path:
        if "\0" in str(results):
            raise ValueError("a path without NUL")
        return results.expanduser() if results.parts[:1] == ("~",) else results

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other values; what follows from the values is worked out anew."""
        copied = super().model_copy(update=update, deep=deep)
        for name in set(copied.__dict__) - set(type(self).model_fields):
            del copied.__dict__[name]
        return copied

    @cached_property
    def bank(self) -> Bank:
        """The classes and their texts.

        Raises:
            InputError: a file that cannot be used, or with too few pairs.
        """
        found = bank(self.emotions)
        for emotion in found.emotions:
            if DIRECTIONS in (short := lacking(found, emotion)):
                raise InputError("An emotion has too few pairs for a study.", found=short[DIRECTIONS])
        return found

    def about(self, bank: Bank) -> Self:
        """The same study of these classes, as a results folder keeps them, whatever `emotions` says."""
        copied = self.model_copy()
        copied.__dict__["bank"] = bank
        return copied

    @property
    def folder(self) -> Path:
        """Where this study's profile writes."""
        return self.results / self.profile

    def plan(self, kind: type[Plan]) -> Plan:
        """The plan of this kind.

        Raises:
            LookupError: the study has none.
        """
        for value in (getattr(self, name) for name in type(self).model_fields):
            if isinstance(value, kind):
                return value
        raise LookupError(kind.__name__)
