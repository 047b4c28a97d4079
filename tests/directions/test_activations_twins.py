"""An emotion's texts beside their neutral twins, where emotions have scenarios of their own."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_circuits.directions import extract
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.prompts import Dataset, Text


def test_every_row_stands_beside_its_own_twin(tiny_gpt2_lm: LoadedModel) -> None:
    texts = [
        Text(f"{word} {k}", emotion, f"{name}-{k}", "test")
        for name in ("anger", "relief")
        for k in range(3)
        for word, emotion in ((f"Calm {name}", "neutral"), (f"Felt {name}", name))
    ]
    mixed = Dataset("mixed", tuple(texts[i] for i in np.random.default_rng(0).permutation(len(texts))))
    recorded = extract(tiny_gpt2_lm, mixed, positions=("mean",))
    for emotion in ("anger", "relief"):
        own, neutral = recorded.twins(emotion)
        assert [t.scenario for t in own.data] == [t.scenario for t in neutral.data] and len(own.data) == 3
        assert set(own.labels) == {emotion} and set(neutral.labels) == {"neutral"}
        for texts_of in (own, neutral):
            alone = extract(tiny_gpt2_lm, texts_of.data, positions=("mean",))
            np.testing.assert_allclose(texts_of.at("mean"), alone.at("mean"), atol=1e-5)
    without = recorded.only([t.scenario != "anger-1" or t.emotion == "anger" for t in recorded.data])
    with pytest.raises(InputError, match="has no neutral text"):
        without.twins("anger")
