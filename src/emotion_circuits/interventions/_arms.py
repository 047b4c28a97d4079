"""The same beginnings continued clean, steered, under the best random direction, and after being asked in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from emotion_circuits.directions import DirectionSet
from emotion_circuits.engine import ROWS_AT_ONCE, added, generate, generate_variants, joined
from emotion_circuits.errors import InputError
from emotion_circuits.interventions._actions import line, own_lines, pushes_along
from emotion_circuits.interventions._sweep import Choice
from emotion_circuits.models import LoadedModel
from emotion_circuits.scoring import CLEAN, RANDOM, GeneratedText, continuation_perplexities

STEERED, PROMPTED = "steered", "prompted"

OTHER_REQUESTS: Final = (
    "This is a story in which people speak about their work.",
    "This is a story in which people speak of the weather.",
    "This is a story in which people speak to pass the time.",
)
"""Requests of the same form and length for something else: what any such sentence before the prompt does."""


def text_arms(
    lm: LoadedModel,
    directions: DirectionSet,
    prompts: Sequence[str],
    choice: Choice,
    random: Mapping[str, NDArray[np.float64]],
    requests: Mapping[str, str],
    *,
    kind: str = "specific",
    max_tokens: int = 30,
    on_rows: Callable[[int], None] | None = None,
) -> list[GeneratedText]:
    """Greedy continuations of every prompt in four arms, with their perplexity under the clean model.

    Args:
        lm: the model the directions were made from.
        directions: the emotions' directions.
        prompts: beginnings.
        choice: layer and dose of the steered and the random arm.
        random: emotion → (d,) unit vector, the random direction that the emotion's is shown beside.
        requests: emotion → what a user would try instead of steering: saying so before the prompt, in words that a base
            model can go on from. Emotions without one have no prompted arm.
        kind: which directions.
        max_tokens: of a continuation.
        on_rows: called with the number of texts done, of prompts · (1 + 3 · emotions).

    Returns:
        clean texts, then for each emotion of `random` the steered, random and prompted ones. A text of a run whose
        logits overflow is empty and has no perplexity.

    Raises:
        InputError: no prompts, or an emotion without a direction.
    """
    if not prompts:
        raise InputError("There are no prompts to continue.")
    layer, dose = choice
    sets = []
    for emotion, unit in random.items():
        sets.append(pushes_along(own_lines(directions, emotion, [layer], kind), [dose]))
        sets.append(pushes_along({layer: line(directions, layer, unit)}, [dose]))
    # The clean run is one more variant, which changes nothing.
    sets.append(added(layer, torch.zeros(1, lm.d_model, dtype=torch.float64)))
    found = generate_variants(lm, lm.encode(prompts), joined(sets), max_tokens=max_tokens, on_rows=on_rows)
    rows: list[tuple[str | None, str, Sequence[str | None]]] = [(None, CLEAN, found[-1])]
    done = len(prompts) * len(sets)
    for place, emotion in enumerate(random):
        rows += [(emotion, STEERED, found[2 * place]), (emotion, RANDOM, found[2 * place + 1])]
        if emotion in requests:
            asked = [f"{requests[emotion]} {prompt}" for prompt in prompts]
            prompted = generate(lm, lm.encode(asked), max_tokens=max_tokens, rows_at_once=ROWS_AT_ONCE)
            rows.append((emotion, PROMPTED, prompted))
            done += len(prompts)
        if on_rows:
            on_rows(done)
    # What was said is judged after the bare prompt in every arm.
    flat = [(emotion, arm, p, t or "") for emotion, arm, texts in rows for p, t in zip(prompts, texts, strict=True)]
    perplexities = continuation_perplexities(lm, [p for *_, p, _ in flat], [t for *_, t in flat])
    return [
        GeneratedText(
            prompt=prompt,
            text=text,
            arm=arm,
            emotion=emotion,
            dose=dose if arm in (STEERED, RANDOM) else None,
            layer=layer if arm in (STEERED, RANDOM) else None,
            perplexity=float(value) if np.isfinite(value) else None,
        )
        for (emotion, arm, prompt, text), value in zip(flat, perplexities, strict=True)
    ]
