"""Every architecture × tokenizer × way of storing weights, against plain transformers code (`check_loaded_model`).

Driven by `families()`: a family joins by being registered. The product is thinned to a design in which every two values
meet, but for architectures and tokenizers, which know of each other by ids alone: there every tokenizer meets those
architectures that differ most, and every architecture some tokenizer. FULL_BATTERY=1 runs all.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
from check_loaded_model import check_loaded_model

from emotion_circuits.models import families, load
from tiny_models import CONTRASTING, SIZES, VARIANTS, WEIGHTS, Variant, fits, save_tiny, tiny_config
from tiny_tokenizers import STYLES

FACTORS: tuple[Sequence[Any], ...] = (VARIANTS, STYLES, tuple(WEIGHTS), ("auto", True, False))


def named(value: Any) -> str:
    return value.name if isinstance(value, Variant) else f"bos {value}" if isinstance(value, bool) else str(value)


def pairs_of(case: Sequence[Any]) -> set[Any]:
    """Which two values of which two factors meet in a case, as far as that is to be tried."""
    met = set(combinations(enumerate(map(named, case)), 2))
    return met if named(case[0]) in CONTRASTING else met - {((0, named(case[0])), (1, named(case[1])))}


def covering(factors: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Cases in which any two values of two factors occur together, found greedily."""
    pairs = [(case, pairs_of(case)) for case in product(*factors) if fits(*case[:2])]
    left = set().union(*(met for _, met in pairs))
    chosen = []
    while left:
        case, met = max(pairs, key=lambda each: len(each[1] & left))
        left -= met
        chosen.append(case)
    return chosen


CASES = [case for case in product(*FACTORS) if fits(*case[:2])] if os.environ.get("FULL_BATTERY") else covering(FACTORS)


@pytest.mark.parametrize(("variant", "style", "weights", "bos"), CASES, ids=named)
def test_numbers_equal_plain_transformers_code(
    variant: Variant, style: str, weights: str, bos: Any, tmp_path: Path
) -> None:
    check_loaded_model(save_tiny(variant, tmp_path / "model", style=style, weights=weights), bos=bos)


@pytest.mark.parametrize("variant", VARIANTS, ids=named)
def test_in_bfloat16(variant: Variant, tmp_path: Path) -> None:
    styles = [style for style in STYLES if fits(variant, style)]
    style = styles[VARIANTS.index(variant) % len(styles)]
    check_loaded_model(save_tiny(variant, tmp_path / "model", style=style, weights="bfloat16"), dtype="bfloat16")


def test_the_design_holds_every_pair_and_every_registered_architecture() -> None:
    met = {pair for case in CASES for pair in pairs_of(case)}
    assert all(pairs_of(case) <= met for case in product(*FACTORS) if fits(*case[:2]))
    assert {v.model_type for v, *_ in CASES} == {m for family in families() for m in family.model_types}


@pytest.mark.parametrize("variant", VARIANTS, ids=named)
def test_a_registered_architecture_has_a_tiny_configuration(variant: Variant, tmp_path: Path) -> None:
    lm = load(str(save_tiny(variant, tmp_path / "model")))
    small = (SIZES["num_hidden_layers"], SIZES["hidden_size"], SIZES["num_attention_heads"], SIZES["vocab_size"])
    assert (lm.n_layers, lm.d_model, lm.n_heads, lm.vocab_size) == small
    assert lm.d_mlp <= 4 * lm.d_model and lm.max_positions == SIZES["max_position_embeddings"]


@pytest.mark.parametrize("model_type", ["stablelm", "phi", "gemma2", "olmo2"])
def test_tiny_configurations_need_no_entry(model_type: str) -> None:
    config = tiny_config(model_type)
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (3, 32, 4)
    assert config.intermediate_size == SIZES["intermediate_size"]
