"""`Study`: one model that is the YAML file, the Python object and the cache key."""

from __future__ import annotations

import difflib
import math
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from emotion_circuits.components import SIZES
from emotion_circuits.errors import InputError
from emotion_circuits.models import ModelName

ALL_LAYERS = 1000
"""More depths than any model has layers."""
FULL_DOSES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
REFERENCE_MODELS = ("reference/gpt2", "reference/gpt-neox", "reference/gpt-neo")


class EffectsOfInterest(BaseModel):
    """The smallest effects a study cares to see; a claim that could not have seen one is `underpowered`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    separability: float = 0.7
    """AUROC on implicit texts."""
    stability: float = 0.2
    """Split-half cosine above its permutation null."""
    steering: float = 2.0
    """Slope of own word-set log-odds, in nats per unit of dose (.2 nats at a dose of .1)."""

    shared: float = 0.2
    """Corrected overlap S* of one model's mapped subspace with another's own."""
    alignment: float = 0.1
    """Mapped-to-own cosine, trained minus best untrained."""
    circuit: float = 0.2
    """CPR above that of random circuits: a fifth of the emotion's effect more, averaged over sizes."""


class SteeringPlan(BaseModel):
    """How the causal test is run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    position: str = "mean"
    """Position whose directions are added."""
    depths: Annotated[int, Field(ge=1)] = 5
    """How many relative depths the development sweep visits."""
    doses: tuple[float, ...] = (-0.4, -0.2, -0.1, 0.1, 0.2, 0.4)
    """Doses of the development sweep, in multiples of the layer's median residual norm."""
    development_contexts: Annotated[int, Field(ge=2)] = 12
    continuations_per_class: Annotated[int, Field(ge=1)] = 2
    covariance_controls: Annotated[int, Field(ge=2)] = 1000
    """Control slopes at the chosen layer and dose, which p is taken from; v and −v are two of them."""
    isotropic_controls: Annotated[int, Field(ge=2)] = 100
    shuffled_controls: Annotated[int, Field(ge=2)] = 100
    text_tokens: Annotated[int, Field(ge=1)] = 30
    """Of every continuation that is written."""


class InterchangePlan(BaseModel):
    """How the emotion's values are put into neutral runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    depths: Annotated[int, Field(ge=1)] = 5
    """How many relative depths are visited."""
    places: Annotated[tuple[Literal["before", "word", "after", "bridge", "last", "all"], ...], Field(min_length=1)] = (
        "word",
        "after",
        "last",
    )
    donors: Annotated[int, Field(ge=1)] = 1
    """Other scenarios' prompts that give chance."""


class MethodsPlan(BaseModel):
    """How the ways of changing tone are set beside each other."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    doses: Annotated[tuple[float, ...], Field(min_length=1)] = (0.1, 0.2, 0.4)
    """Added when raising, taken away when lowering; between 0 and 1."""
    samples: Annotated[int, Field(ge=1)] = 3
    """Continuations of each prompt."""
    controls: Annotated[int, Field(ge=1)] = 3
    """Random directions that give chance."""
    text_tokens: Annotated[int, Field(ge=1)] = 30
    """Of every continuation."""
    temperature: Annotated[float, Field(gt=0)] = 0.8

    @field_validator("doses")
    @classmethod
    def _between(cls, doses: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(doses)) < len(doses) or not all(0 < dose < 1 for dose in doses):
            raise ValueError("give different doses between 0 and 1")
        return doses


class ComponentsPlan(BaseModel):
    """How heads and units are screened and joined into circuits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exact: Annotated[int, Field(ge=0)] = 8
    """Best heads that are patched, besides those of layers 0 and 1; of units half as many."""
    examples: Annotated[int, Field(ge=1)] = 3
    """Pairs of prompts that are shown under the best heads."""
    ranking: Literal["attribution", "path attribution"] = "path attribution"
    """What circuits are made by."""
    random_sizes: Annotated[tuple[float, ...], Field(min_length=1)] = (0.05, 0.1, 0.2, 0.5)
    """Sizes at which random circuits run; CPR is taken over these."""
    draws: Annotated[int, Field(ge=1)] = 19
    """Random circuits that a CPR is tested with, at most. Each costs a run of all pairs at every size: 19 give a band
    to look at, Holm needs hundreds."""
    budget: Annotated[float, Field(gt=0)] = 1e11
    """Parameters of all blocks × tokens that the random circuits of one emotion may cost: for a large model fewer than
    `draws` are drawn, but at least two."""
    exceeding: Annotated[int, Field(ge=1)] = 10
    """Random circuits with a larger CPR after which no more are drawn."""
    dropped: Annotated[int, Field(ge=0)] = 4
    """Best members that are left out one by one."""

    @field_validator("random_sizes")
    @classmethod
    def _of_the_curve(cls, sizes: tuple[float, ...]) -> tuple[float, ...]:
        below_one = [size for size in SIZES if size < 1]  # at 1 every circuit is the whole model
        if len(set(sizes)) < len(sizes) or not set(sizes) <= set(below_one):
            raise ValueError(f"different sizes out of {', '.join(f'{size:g}' for size in below_one)}")
        return sizes


class SharingPlan(BaseModel):
    """How models are compared, where a study has two or more trained ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["ridge", "procrustes", "cca", "least-squares", "anchors"] = "ridge"
    fit: Literal["neutral", "generic", "generic+target"] = "neutral"
    """Texts that maps are fitted on."""
    n_fit: Annotated[int, Field(ge=100)] = 1000
    depths: Annotated[int, Field(ge=1)] = 4
    """How many relative depths of each model are tried, besides `embed`."""
    untrained_seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1, 2, 3, 4)
    """Seeds of the untrained twins on either side."""
    draws: Annotated[int, Field(ge=99)] = 1000
    """Of every null."""
    steered_shuffles: Annotated[int, Field(ge=2)] = 20
    """Shuffled maps whose directions are steered with; a band, not a test."""


class Study(BaseModel):
    """Everything that decides a study's numbers, and where they go.

    The same study gives the same bytes of `claims.json` anywhere on one kind of processor.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: Literal["baseline", "extended"] = "baseline"
    models: tuple[str, ...] = REFERENCE_MODELS
    results: Path = Path("results")
    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    bos: bool | Literal["auto"] = "auto"
    threads: Annotated[int, Field(ge=1)] = 2
    """Threads of every worker; another number may change the last digits."""
    seed: Annotated[int, Field(ge=0)] = 0
    batch_tokens: Annotated[int, Field(ge=1)] = 2048
    generic_texts: Annotated[int, Field(ge=8)] = 256
    """Texts behind residual norms, generic means and components."""
    untrained_seeds: tuple[int, ...] = (0,)
    """Seeds of the untrained twins that serve as floors."""
    effects: EffectsOfInterest = EffectsOfInterest()
    steering: SteeringPlan = SteeringPlan()
    sharing: SharingPlan = SharingPlan()
    interchange: InterchangePlan = InterchangePlan()
    methods: MethodsPlan | None = None
    """Left out unless asked for: it takes minutes a model."""
    components: ComponentsPlan = ComponentsPlan()

    @field_validator("models")
    @classmethod
    def _distinct(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(str(ModelName.parse(model)) for model in models)
        if not names or len(set(names)) < len(names):
            raise ValueError("give at least one model, and each once")
        return names

    def lifted(self) -> Study:
        """The same study without the default's limits on time: every layer, finer doses, more draws of every null."""
        steering = self.steering.model_copy(
            update={
                "depths": ALL_LAYERS,
                "doses": tuple(sign * d for sign in (-1, 1) for d in FULL_DOSES),
                "development_contexts": 16,
                "covariance_controls": 2000,
                "isotropic_controls": 1000,
                "shuffled_controls": 1000,
            }
        )
        sharing = self.sharing.model_copy(update={"depths": ALL_LAYERS, "draws": 2000, "steered_shuffles": 199})
        interchange = InterchangePlan(depths=ALL_LAYERS, places=("before", "word", "after", "bridge", "last", "all"))
        components = self.components.model_copy(update={"draws": 999, "dropped": 20, "exact": 20, "budget": math.inf})
        return self.model_copy(
            update={
                "steering": steering,
                "components": components,
                "sharing": sharing,
                "interchange": interchange,
                "methods": self.methods or MethodsPlan(),
                "untrained_seeds": (0, 1, 2, 3, 4),
            }
        )

    @property
    def folder(self) -> Path:
        """Where this study's profile writes."""
        return self.results / self.profile


def study_from_mapping(values: dict[str, Any], where: str = "the study") -> Study:
    """Validate a mapping.

    Raises:
        InputError: a key or value that is not accepted, with the nearest key's name.
    """
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = _keys_beside(first["loc"])
            near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1, cutoff=0.5)
            raise InputError(
                f"{where} has a key that does not exist.",
                found=path,
                accepted=", ".join(known),
                next_step=f"did you mean {near[0]}?" if near else None,
            ) from error
        raise InputError(f"{where}: {path} cannot be used.", found=first.get("input"), accepted=first["msg"]) from error


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Study
    for part in location[:-1]:
        annotation = model.model_fields[str(part)].annotation
        for kind in get_args(annotation) or (annotation,):  # of `Plan | None` the plan
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                model = kind
    return list(model.model_fields)


def read_study(path: Path) -> Study:
    """Read a study from YAML.

    Raises:
        InputError: missing, not YAML, or with keys or values that are not accepted.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Cannot read {path}.", found=error.strerror) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML.", found=str(error)) from error
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise InputError(f"{path} is not a mapping of keys to values.", found=type(values).__name__)
    return study_from_mapping(values, str(path))
