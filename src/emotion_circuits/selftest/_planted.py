"""Planted models as the rest of the package sees models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from emotion_circuits.models import LoadedModel, ModelName, families
from emotion_circuits.selftest._bank import END, START, UNKNOWN, PlantedBank, planted_bank
from emotion_circuits.selftest._blueprint import Facts, PlantSpec, draw_blueprint
from emotion_circuits.selftest._coordinates import Coordinates
from emotion_circuits.selftest._families import build_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, eq=False)
class PlantedModel:
    """A model, what is planted in it, and texts in its words.

    Attributes:
        lm: the model, ready for measurement.
        facts: what must be recovered; in a twin, what must not be.
        bank: its texts.
        spec: how it was made.
        seed: of its noise and its texts.
    """

    lm: LoadedModel
    facts: Facts
    bank: PlantedBank
    spec: PlantSpec
    seed: int


def plant(spec: PlantSpec | None = None, *, seed: int = 0, coordinates: int | None = None) -> PlantedModel:
    """Build a model with an emotion planted in it; nothing is trained and nothing is fetched.

    Args:
        spec: sizes, family and place of the plant; the default is a GPT-2 of six layers.
        seed: of everything random.
        coordinates: seed of another system of coordinates: the same model with its residual stream turned and its words
            renumbered, texts and facts with it; None for the coordinates it was drawn in.

    Raises:
        InputError: a plant that does not fit into the model.
    """
    spec = spec or PlantSpec()
    bank = planted_bank(seed)
    blueprint, vocabulary = draw_blueprint(spec, bank, seed), bank.vocabulary
    kind = "planted" if spec.present else "twin"
    if coordinates is not None:
        system = Coordinates.drawn(spec.d_model, len(vocabulary), coordinates)
        blueprint, vocabulary = system.of_model(blueprint), system.of_words(vocabulary)
        kind = f"{kind}-rotated-{coordinates}"
    [family] = [f for f in families() if f.name == spec.family]
    hf = build_model(spec, blueprint, family.attention_implementation)
    lm = LoadedModel(
        name=ModelName(f"selftest/{kind}-{spec.family}", "hub"),
        revision=f"seed-{seed}",
        family=family,
        hf=hf,
        tokenizer=_tokenizer(vocabulary),
        bos=True,
        device=torch.device("cpu"),
        dtype=torch.float32,
        packing=False,  # rows of 128 tokens cost this small model more than they save
    )
    # A family may have dimensions of its own behind the blueprint's.
    more = lm.d_model - spec.d_model
    directions = {emotion: np.pad(vector, (0, more)) for emotion, vector in blueprint.facts.directions.items()}
    return PlantedModel(lm, replace(blueprint.facts, directions=directions), bank, spec, seed)


def _tokenizer(vocabulary: dict[str, int]) -> PreTrainedTokenizerFast:
    """One token per word or punctuation mark."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    fast: Any = PreTrainedTokenizerFast
    tokenizer: PreTrainedTokenizerFast = fast(tokenizer_object=words, bos_token=START, eos_token=END, unk_token=UNKNOWN)
    return tokenizer
