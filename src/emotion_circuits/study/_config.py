"""`Study`: one model that is the YAML file, the Python object and the cache key."""

from __future__ import annotations

import difflib
import math
import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from emotion_circuits.analyses import Analysis, AnalysisPlan, analyses_from
from emotion_circuits.components import SIZES
from emotion_circuits.errors import InputError
from emotion_circuits.models import Float32Products, ModelName
from emotion_circuits.prompts import DIRECTIONS, Bank, bank, bundled_emotions, lacking
from emotion_circuits.study._yaml import read_yaml

OWN = (".yaml", ".yml")
"""How the file of a user's own emotion ends."""
ALL_LAYERS = 1000
"""More depths than any model has layers."""
FULL_DOSES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
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
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Draws = Annotated[int, Field(ge=2, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Effect = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Plan(BaseModel):
    """A part of a study."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def lifted_to(self, **wanted: Any) -> Any:
        """The same with these values, but for those that the user has set."""
        return self.model_copy(update={k: v for k, v in wanted.items() if k not in self.model_fields_set})


class EffectsOfInterest(Plan):
    """The smallest effects a study cares to see; a claim that could not have seen one is `underpowered`."""

    separability: Effect = 0.7
    """AUROC on implicit texts."""
    stability: Effect = 0.2
    """Split-half cosine above its permutation null."""
    steering: Effect = 2.0
    """Slope of own word-set log-odds, in nats per unit of dose (.2 nats at a dose of .1)."""

    shared: Effect = 0.2
    """Corrected overlap S* of one model's mapped subspace with another's own."""
    alignment: Effect = 0.1
    """Mapped-to-own cosine, trained minus best untrained."""
    circuit: Effect = 0.2
    """CPR above that of random circuits: a fifth of the emotion's effect more, averaged over sizes."""


class SteeringPlan(Plan):
    """How the causal test is run."""

    position: Literal["sentence_end", "last_content", "emotion_token", "mean"] = "mean"
    """Position whose directions are added."""
    depths: Count = 5
    """How many relative depths the development sweep visits."""
    doses: Several[Finite] = (-0.4, -0.2, -0.1, 0.1, 0.2, 0.4)
    """Doses of the development sweep, in multiples of the layer's median residual norm; one at least of both signs."""
    development_contexts: Draws = 12
    continuations_per_class: Count = 2
    covariance_controls: Draws = 1000
    """Control slopes at the chosen layer and dose, which p is taken from; v and −v are two of them."""
    isotropic_controls: Draws = 100
    shuffled_controls: Draws = 100
    text_tokens: Count = 30
    """Of every continuation that is written."""

    @field_validator("doses")
    @classmethod
    def _of_both_signs(cls, doses: tuple[float, ...]) -> tuple[float, ...]:
        if 0 in doses or not any(-dose in doses for dose in doses):
            raise ValueError("doses other than 0, and one at least with both signs")
        if max(map(abs, doses)) > 100:
            raise ValueError("doses up to 100, a hundred times the residual stream")
        return doses


class InterchangePlan(Plan):
    """How the emotion's values are put into neutral runs."""

    depths: Count = 5
    """How many relative depths are visited."""
    places: Several[Literal["before", "word", "after", "bridge", "last", "all"]] = ("word", "after", "last")
    donors: Count = 1
    """Other scenarios' prompts that give chance."""


class MethodsPlan(Plan):
    """How the ways of changing tone are set beside each other."""

    doses: Several[Share] = (0.1, 0.2, 0.4)
    """Added when raising, taken away when lowering; between 0 and 1."""
    samples: Count = 3
    """Continuations of each prompt."""
    controls: Count = 3
    """Random directions that give chance."""
    text_tokens: Count = 30
    """Of every continuation."""
    temperature: Effect = 0.8


class ComponentsPlan(Plan):
    """How heads and units are screened and joined into circuits."""

    exact: Annotated[int, Field(ge=0, le=1_000_000)] = 8
    """Best heads that are patched, besides those of layers 0 and 1; of units half as many."""
    examples: Count = 3
    """Pairs of prompts that are shown under the best heads."""
    ranking: Literal["attribution", "path attribution"] = "path attribution"
    """What circuits are made by."""
    random_sizes: Several[float] = (0.05, 0.1, 0.2, 0.5)
    """Sizes at which random circuits run; CPR is taken over these."""
    draws: Count = 19
    """Random circuits that a CPR is tested with, at most. Each costs a run of all pairs at every size: 19 give a band
    to look at, Holm needs hundreds."""
    budget: Annotated[float, Field(gt=0)] = 1e11
    """Parameters of all blocks × tokens that the random circuits of one emotion may cost: for a large model fewer than
    `draws` are drawn, but at least two."""
    exceeding: Count = 10
    """Random circuits with a larger CPR after which no more are drawn."""
    dropped: Annotated[int, Field(ge=0, le=1_000_000)] = 4
    """Best members that are left out one by one."""

    @field_validator("random_sizes")
    @classmethod
    def _of_the_curve(cls, sizes: tuple[float, ...]) -> tuple[float, ...]:
        below_one = [size for size in SIZES if size < 1]  # at 1 every circuit is the whole model
        if not set(sizes) <= set(below_one):
            raise ValueError(f"sizes out of {', '.join(f'{size:g}' for size in below_one)}")
        return sizes


class SharingPlan(Plan):
    """How models are compared, where a study has two or more trained ones."""

    method: Literal["ridge", "procrustes", "cca", "least-squares", "anchors"] = "ridge"
    fit: Literal["neutral", "generic", "generic+target"] = "neutral"
    """Texts that maps are fitted on."""
    n_fit: Annotated[int, Field(ge=100, le=1_000_000)] = 1000
    depths: Count = 4
    """How many relative depths of each model are tried, besides `embed`."""
    untrained_seeds: Several[Seed] = (0, 1, 2, 3, 4)
    """Seeds of the untrained twins on either side."""
    draws: Annotated[int, Field(ge=99, le=1_000_000)] = 1000
    """Of every null."""
    steered_shuffles: Draws = 20
    """Shuffled maps whose directions are steered with; a band, not a test."""


class Study(Plan):
    """Everything that decides a study's numbers, and where they go.

    The same study gives the same bytes of `claims.json` anywhere on one kind of processor.
    """

    profile: Literal["baseline", "extended"] = "baseline"
    emotions: Several[str] | None = None
    """Names of bundled emotions, and paths of one's own (`.yaml`); None for the bundled default. With one emotion there
    is nothing to set it against, and its specific direction is the matched one."""
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
    """Texts behind residual norms, generic means and components."""
    untrained_seeds: Several[Seed] = (0,)
    """Seeds of the untrained twins that serve as floors."""
    effects: EffectsOfInterest = EffectsOfInterest()
    steering: SteeringPlan = SteeringPlan()
    sharing: SharingPlan = SharingPlan()
    interchange: InterchangePlan = InterchangePlan()
    methods: MethodsPlan | None = None
    """Left out unless asked for: it takes minutes a model."""
    components: ComponentsPlan = ComponentsPlan()
    analyses: Annotated[tuple[Path, ...], BeforeValidator(_listed)] = ()
    """Python files with analyses of one's own (`emotion_circuits.analyses`); installed ones take part anyway."""
    plans: dict[str, dict[str, Any]] = {}
    """Settings of such analyses: name → setting → value."""

    @field_validator("models")
    @classmethod
    def _distinct(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(str(ModelName.parse(model)) for model in models)
        if len(set(names)) < len(names):
            raise ValueError("each model once")
        return names

    @field_validator("emotions")
    @classmethod
    def _known(cls, emotions: tuple[str, ...] | None) -> tuple[str, ...] | None:
        known = bundled_emotions()
        if not all(name in known or name.lower().endswith(OWN) for name in emotions or ()):
            raise ValueError(f"{', '.join(known)}, or .yaml files of your own")
        return emotions

    @field_validator("results")
    @classmethod
    def _a_path(cls, results: Path) -> Path:
        if "\0" in str(results):
            raise ValueError("a path without NUL")
        return results.expanduser() if results.parts[:1] == ("~",) else results

    def lifted(self) -> Study:
        """The same study without the default's limits on time: every layer, finer doses, more draws of every null.
        What the user has set stays."""
        found: Study = self.lifted_to(untrained_seeds=(0, 1, 2, 3, 4), methods=MethodsPlan())
        plans: dict[str, dict[str, Any]] = {
            "steering": {
                "depths": ALL_LAYERS,
                "doses": tuple(sign * d for sign in (-1, 1) for d in FULL_DOSES),
                "development_contexts": 16,
                "covariance_controls": 2000,
                "isotropic_controls": 1000,
                "shuffled_controls": 1000,
            },
            "sharing": {"depths": ALL_LAYERS, "draws": 2000, "steered_shuffles": 199},
            "interchange": {"depths": ALL_LAYERS, "places": ("before", "word", "after", "bridge", "last", "all")},
            "components": {"draws": 999, "dropped": 20, "exact": 20, "budget": math.inf},
        }
        return found.model_copy(update={name: getattr(self, name).lifted_to(**own) for name, own in plans.items()})

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

    @cached_property
    def own_analyses(self) -> tuple[tuple[Analysis, AnalysisPlan], ...]:
        """Analyses from outside the package, each with its settings.

        Raises:
            InputError: a file that cannot be used, two analyses of one name, settings of one that is not there.
        """
        found = analyses_from(self.analyses)
        names = [one.name for one in found]
        unknown = sorted(set(self.plans) - set(names))
        if unknown:
            raise InputError("The study has settings of an analysis that is not there.", found=unknown[0],
                             accepted=", ".join(names) or "name its file under analyses")  # fmt: skip
        return tuple((one, one.plan(self.plans.get(one.name, {}))) for one in found)

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
        path = ".".join(str(part) for part in first["loc"])[:200]
        if first["type"] == "extra_forbidden":
            known = _keys_beside(first["loc"])
            near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1, cutoff=0.5)
            raise InputError(
                f"{where} has a key that does not exist.",
                found=path,
                accepted=", ".join(known),
                next_step=f"did you mean {near[0]}?" if near else None,
            ) from error
        found = repr(first.get("input"))[:200]
        raise InputError(f"{where}: {path} cannot be used.", found=found, accepted=first["msg"]) from error


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Study
    for part in location[:-1]:
        annotation = model.model_fields[str(part)].annotation
        for kind in get_args(annotation) or (annotation,):  # of `Plan | None` the plan
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                model = kind
    return list(model.model_fields)


def read_study(path: Path) -> Study:
    """Read a study from YAML. Files of emotions that it names lie beside it, unless their paths are absolute.

    Raises:
        InputError: missing, not YAML, or with keys or values that are not accepted.
    """
    values = read_yaml(path)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise InputError(f"{path} is not a mapping of keys to values.", found=type(values).__name__)
    study = study_from_mapping(values, str(path))
    if study.emotions is None:
        return study
    beside = [str(path.parent / Path(e).expanduser()) if e.lower().endswith(OWN) else e for e in study.emotions]
    return study_from_mapping({**values, "emotions": tuple(map(os.path.normpath, beside))}, str(path))
