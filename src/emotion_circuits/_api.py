"""The commands as Python verbs on values.

import emotion_circuits as ec

lm = ec.load("reference/gpt2")
acts = ec.record(lm, ec.prompts.bank().profile("baseline"))
v = ec.directions(acts)["gratitude"]
with lm.steer(v, dose=0.2):
    print(lm.generate("She opened the letter and said:"))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Literal, overload

import numpy as np
import torch

from emotion_circuits import engine, interventions, scoring
from emotion_circuits import prompts as texts_of
from emotion_circuits.comparison import (
    N_FIT_TEXTS,
    PairAlignment,
    align_pair,
    fit_texts,
    record_side,
    require_same_texts,
    twins_of,
)
from emotion_circuits.directions import (
    POSITIONS,
    Activations,
    Direction,
    DirectionSet,
    GenericStatistics,
    check_position,
    generic_statistics,
    source_of,
)
from emotion_circuits.directions import extract as extract_activations
from emotion_circuits.errors import InputError
from emotion_circuits.interventions import SweepResult, check_doses, relative_layers, steering_edit, sweep_material
from emotion_circuits.models import LoadedModel
from emotion_circuits.prompts import Bank, Dataset, Text
from emotion_circuits.scoring import Score

GENERIC_TEXTS = 256
SWEEP_DOSES = (-0.4, -0.2, -0.1, 0.1, 0.2, 0.4)
ROWS_AT_ONCE = 32


@dataclass(frozen=True, eq=False)
class LanguageModel(LoadedModel):
    """A loaded and proven model that can be steered."""

    _added: dict[int, list[np.ndarray]] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def generic(self) -> GenericStatistics:
        """What the residual stream is like on generic text; recorded when first needed."""
        return generic_statistics(self, [t.text for t in texts_of.generic_sample(GENERIC_TEXTS)])

    @contextmanager
    def steer(
        self, direction: Direction, dose: float | None = None, *, alpha: float | None = None, layer: int | None = None
    ) -> Iterator[LanguageModel]:
        """Add a direction to every token but the first of what is generated inside the block. Blocks may be nested.

        Args:
            direction: of this model.
            dose: multiple of the layer's spread of generic text (median distance from its mean).
            alpha: multiple of the raw difference vector instead.
            layer: where to add it; by default the layer it was found at. -1 is `embed`.

        Raises:
            InputError: a direction of another model, a layer that is not there, a dose that is no finite number.
        """
        at = direction.provenance.layer if layer is None else layer
        _check_direction(self, direction, at)
        if (dose is None) == (alpha is None):
            raise InputError("Give either a dose or an alpha.", found="neither" if dose is None else "both")
        [factor] = check_doses([alpha if dose is None else dose])  # type: ignore[list-item]
        length = factor * (direction.norm if dose is None else float(self.generic.unit[at + 1]))
        vector = length * direction.unit
        self._added.setdefault(at, []).append(vector)
        try:
            yield self
        finally:
            # By identity: equal vectors may be nested, and blocks may end in another order than they began.
            self._added[at] = [v for v in self._added[at] if v is not vector]
            if not self._added[at]:
                del self._added[at]

    @property
    def steered(self) -> bool:
        """Whether a direction is being added now."""
        return bool(self._added)

    @overload
    def generate(  # type: ignore[overload-overlap]  # a text is a sequence of texts to the type checker
        self, prompts: str, *, max_tokens: int = ..., temperature: float = ..., seed: int = ...
    ) -> str: ...
    @overload
    def generate(
        self, prompts: Sequence[str], *, max_tokens: int = ..., temperature: float = ..., seed: int = ...
    ) -> list[str]: ...
    def generate(
        self, prompts: str | Sequence[str], *, max_tokens: int = 40, temperature: float = 0.0, seed: int = 0
    ) -> str | list[str]:
        """Continue one prompt or several, under whatever steering is on; returns the continuations only.

        Args:
            prompts: a text or texts.
            max_tokens: how many tokens at most.
            temperature: 0 for greedy.
            seed: of the first prompt's random stream; the next prompts have the seeds after it.
        """
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        # One edit per layer: vectors at one layer add up.
        edits = [steering_edit(layer, np.sum(vectors, axis=0)) for layer, vectors in self._added.items()]
        found = engine.generate(
            self, self.encode(texts), max_tokens=max_tokens, edits=edits, temperature=temperature,
            seeds=range(seed, seed + len(texts)), rows_at_once=ROWS_AT_ONCE,
        )  # fmt: skip
        return found[0] if isinstance(prompts, str) else [*found]


def load(
    name: str,
    *,
    device: str | torch.device = "auto",
    dtype: Literal["float32", "bfloat16"] = "float32",
    bos: bool | Literal["auto"] = "auto",
    threads: int | None = None,
    float32_products: Literal["highest", "medium"] = "highest",
) -> LanguageModel:
    """Load a model and run the quick proofs on it.

    Args:
        name: hub id, local folder, .gguf file, `smollm2-135m`, `gemma3-270m` or `reference/...`.
        device, dtype, bos, threads, float32_products: as for `models.load`.

    Raises:
        InputError: the model cannot be found or used.
        MeasurementError: a proof failed.
    """
    lm = engine.load_verified(
        name, device=device, dtype=dtype, bos=bos, threads=threads, float32_products=float32_products
    )
    return LanguageModel(**{f.name: getattr(lm, f.name) for f in fields(lm) if f.init})


def record(
    lm: LanguageModel,
    prompts: Sequence[str] | Dataset,
    *,
    positions: Sequence[str] | None = None,
    batch_tokens: int = engine.DEFAULT_BATCH_TOKENS,
    on_batch: Callable[[int], None] | None = None,
) -> Activations:
    """Record the residual stream of every layer on a data set or on plain texts.

    Args:
        lm: the model.
        prompts: a `Dataset` (`ec.prompts.bank().profile("baseline")`, `ec.prompts.read_dataset(path)`); what is
            recorded then comes with the model's statistics on generic text, which directions need. Or texts without a
            class: they count as neutral, each a scenario of its own.
        positions: where texts are read; by default everywhere, without `emotion_token` for plain texts, which have
            none.
        batch_tokens: tokens of one forward pass.
        on_batch: called with the number of texts done.

    Raises:
        InputError: no texts, an unknown position.
    """
    _refuse_steered(lm, "Recording")
    if isinstance(prompts, str):
        raise TypeError("record takes a list of texts, not one text")
    if isinstance(prompts, Dataset):
        data, wanted = prompts, list(positions or POSITIONS)
    else:
        # Judged nowhere by class: only directions are, and they refuse texts of one class.
        data = Dataset("texts", tuple(Text(t, "neutral", str(i), "test") for i, t in enumerate(prompts)))
        wanted = list(positions or (p for p in POSITIONS if p != "emotion_token"))
        if "emotion_token" in map(check_position, wanted):
            raise InputError("Plain texts have no emotion_token.", next_step="give a data set with marked spans")
    if not len(data):
        raise InputError("There are no texts to record.")
    found = extract_activations(lm, data, positions=wanted, batch_tokens=batch_tokens, on_batch=on_batch)
    return replace(found, generic=lm.generic) if isinstance(prompts, Dataset) else found


def sweep(
    lm: LanguageModel,
    directions: DirectionSet | Direction,
    *,
    prompts: Sequence[str] | None = None,
    bank: Bank | None = None,
    layers: Sequence[int] | None = None,
    doses: Sequence[float] | None = None,
    alphas: Sequence[float] | None = None,
    emotions: Sequence[str] | None = None,
    kind: str = "specific",
    batch_tokens: int = engine.DEFAULT_BATCH_TOKENS,
    on_variants: Callable[[int], None] | None = None,
) -> SweepResult:
    """Steer at every layer and dose and measure what the model would say next (see `interventions.sweep`).

    Args:
        lm: the model the directions were made from.
        directions: all of them, as `ec.directions(acts)` gives, or a single one.
        prompts: own beginnings instead of the bundled development contexts (see `interventions.contexts_of`).
        bank: the classes whose words are compared; None for the bundled default.
        layers: block indices; by default five depths, for a single direction its own layer.
        doses: in spreads of generic text; by default ±.1, .2 and .4.
        alphas: multiples of the raw difference vector instead.
        emotions: whose directions; all by default.
        kind: which directions.
        batch_tokens: tokens of one forward pass.
        on_variants: called with the number of variants after each forward pass.

    Raises:
        InputError: both doses and alphas, a layer or dose that cannot be used, directions of another model.
    """
    _refuse_steered(lm, "A sweep")
    if doses is not None and alphas is not None:
        raise InputError("Give either doses or alphas.", found="both")
    classes = bank or texts_of.bank()
    if isinstance(directions, Direction):
        made = directions.provenance
        layers = [made.layer] if layers is None else layers
        directions, kind = _set_of_one(lm, directions), made.kind
        if made.emotion not in classes.emotions:
            raise InputError(
                "A sweep measures the words of one emotion.", found=made.emotion, accepted=", ".join(classes.emotions)
            )
    slots, continuations = sweep_material(lm, classes, prompts)
    return interventions.sweep(
        lm,
        directions,
        slots,
        continuations,
        layers=relative_layers(lm.n_layers) if layers is None else layers,
        doses=next((d for d in (doses, alphas) if d is not None), SWEEP_DOSES),
        emotions=emotions,
        kind=kind,
        alpha=alphas is not None,
        batch_tokens=batch_tokens,
        on_variants=on_variants,
    )


def score(
    lm: LanguageModel,
    directions: DirectionSet,
    texts: Sequence[str],
    *,
    layer: int | None = None,
    kind: str = scoring.BEST,
) -> list[Score]:
    """Project texts on emotions' directions (see `scoring.score_texts`)."""
    _refuse_steered(lm, "Scoring")
    if isinstance(texts, str):
        raise TypeError("score takes a list of texts, not one text")
    return scoring.score_texts(lm, directions, texts, layer=layer, kind=kind)


def generate(
    lm: LanguageModel,
    prompts: Sequence[str],
    *,
    max_tokens: int = 40,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[str]:
    """Continue prompts (see `LanguageModel.generate`)."""
    return lm.generate(prompts, max_tokens=max_tokens, temperature=temperature, seed=seed)


def _refuse_steered(lm: LoadedModel, what: str) -> None:
    """Steering applies to what is generated; elsewhere it would be left out without a word."""
    if isinstance(lm, LanguageModel) and lm.steered:
        raise InputError(
            f"{what} does not take part in steering.", next_step="do it outside the `with lm.steer(...)` block"
        )


def _check_direction(lm: LoadedModel, direction: Direction, layer: int) -> None:
    made = direction.provenance
    if (made.model, made.revision) != (str(lm.name), lm.revision) or len(direction.unit) != lm.d_model:
        raise InputError(
            "This direction belongs to another model.",
            found=f"{made.model} ({made.revision})",
            accepted=f"{lm.name} ({lm.revision})",
        )
    if made.bos != lm.bos:
        raise InputError(
            "This direction was made with another BOS setting.",
            found=f"BOS {'on' if made.bos else 'off'}",
            next_step="load the model with the same one",
        )
    if not -1 <= layer < lm.n_layers:
        raise InputError(f"{lm.name} has no layer {layer}.", accepted=f"0 to {lm.n_layers - 1}, or -1 for embed")


def _set_of_one(lm: LanguageModel, direction: Direction) -> DirectionSet:
    """A single direction as a set: the same vector at every layer."""
    made = direction.provenance
    _check_direction(lm, direction, made.layer)
    vectors = np.tile(direction.vector.astype(np.float32), (lm.n_layers + 1, 1))
    return DirectionSet(
        source_of(lm), made.position, made.data_hash, {made.kind: {made.emotion: vectors}}, lm.generic,
        {made.emotion: made.layer}, 0.0,
    )  # fmt: skip


def align(
    acts_a: Activations,
    acts_b: Activations,
    *,
    method: str = "ridge",
    fit: str = "neutral",
    n_fit: int = N_FIT_TEXTS,
    untrained: int = 5,
    layers: Sequence[int] | None = None,
    n_draws: int = 1000,
    seed: int = 0,
) -> PairAlignment:
    """Map one model's residual stream onto another's, on neutral text, and judge the map on the emotion texts.

    Both models and their untrained twins are loaded to record the texts that the map is fitted on.

    Args:
        acts_a, acts_b: of `record`, on the same data set; its test scenarios judge, its development scenarios choose.
        method: `ridge`, `procrustes`, `cca`, `least-squares` or `anchors`.
        fit: `neutral`, `generic` or `generic+target` texts; n_fit: how many.
        untrained: twins of each model to compare with.
        layers: blocks of both models, -1 for `embed`; all by default.
        n_draws: of each null. seed: of everything.
    """
    require_same_texts(acts_a, acts_b)
    sides, texts = [], fit_texts(texts_of.bank(), fit, n_fit)
    for acts in (acts_a, acts_b):
        names = [acts.source.model, *twins_of(acts.source.model, range(untrained))]
        models = (engine.load_verified(name, dtype=acts.source.dtype, bos=acts.source.bos) for name in names)
        sides.append([record_side(lm, acts.data if i else acts, texts) for i, lm in enumerate(models)])
    rows = None if layers is None else [layer + 1 for layer in layers]
    (one, *twins_a), (two, *twins_b) = sides
    return align_pair(
        one, two, twins_a, twins_b, rows_a=rows, rows_b=rows, method=method, n_draws=n_draws, seed=seed, n_jobs=2
    )
