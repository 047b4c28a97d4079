"""Text written in several arms at once is what `generate` writes, and its meters are what separate runs give."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emotion_circuits.engine import EMBED, Edit, add, generate, next_log_p, point_of, stream
from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.models import LoadedModel


def push(lm: LoadedModel, layer: int, size: float, seed: int = 0) -> list[Edit]:
    vector = torch.randn(lm.d_model, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return [add(point_of(layer), size * vector)]


@pytest.mark.parametrize("temperature", [0.0, 0.9])
@pytest.mark.parametrize("layer", [EMBED, 0])
def test_every_arm_is_what_generate_writes(lm: LoadedModel, layer: int, temperature: float) -> None:
    [prompt] = lm.encode(["The parcel came in the morning"])
    arms = [[], push(lm, layer, 0.5), push(lm, layer, 0.5, seed=1)]
    steps = list(stream(lm, prompt, arms, max_tokens=8, temperature=temperature, seed=3))
    for place, edits in enumerate(arms):
        [alone] = generate(lm, [prompt], max_tokens=8, edits=edits, temperature=temperature, seeds=[3])
        written = tuple(step.tokens[place] for step in steps if step.tokens[place] is not None)
        assert written == alone.ids


def test_meters_are_those_of_separate_runs(lm: LoadedModel) -> None:
    [prompt] = lm.encode(["The parcel came in the morning"])
    arms = [[], push(lm, 0, 1.0)]
    ids = list(prompt.ids)
    for step in stream(lm, prompt, arms, max_tokens=5):
        clean, changed = next_log_p(lm, ids, arms)
        token = step.tokens[1]
        assert token is not None
        assert step.log_p[1] == pytest.approx(float(clean[token]), abs=1e-4)
        assert step.kl[1] == pytest.approx(float((changed.exp() * (changed - clean)).sum()), abs=1e-4)
        assert step.kl[0] == pytest.approx(0, abs=1e-6)
        ids.append(token)


def test_what_cannot_be_written_is_refused(lm: LoadedModel) -> None:
    [prompt] = lm.encode(["The parcel came"])
    with pytest.raises(InputError, match="No new tokens"):
        next(stream(lm, prompt, [[]], max_tokens=0))
    with pytest.raises(MeasurementError, match="not finite"):
        list(stream(lm, prompt, [[], push(lm, 0, np.inf)], max_tokens=2))
