"""What a user could do to bring an emotion about, or to take it away, each with the same prompts and random numbers.

Emotions are raised in the neutral prompts of pairs and lowered in the emotion's, so that interchange, which needs the
paired prompt, can stand beside what needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from emotion_circuits.components._pairs import PairSet
from emotion_circuits.directions import DirectionSet
from emotion_circuits.engine import (
    Edit,
    Pushes,
    Schedule,
    at_tokens,
    generate,
    generate_variants,
    joined,
    point_of,
    prompt_values,
    replace,
    row_seeds,
)
from emotion_circuits.errors import InputError
from emotion_circuits.interventions import REQUESTS, Action, check_doses, line, own_lines, pushes_along
from emotion_circuits.models import LoadedModel
from emotion_circuits.scoring import CLEAN, RANDOM, GeneratedText, continuation_perplexities

FloatArray = NDArray[np.float64]
Way = Literal["raise", "lower"]
WAYS: tuple[Way, ...] = ("raise", "lower")
ADD, PROMPT_ONLY, ITERATIVE, CLAMP, ABLATE = "add", "add, prompt only", "iterative", "clamp", "ablate"
SWAP, SWAP_LAST, PROMPTED = "swap", "swap, last token", "prompted"
ONLY_PROMPT, ONLY_GENERATED = Schedule(every=0), Schedule(prompt=False)
ABLATED_AT = -1.0
"""The dose that ablated text is listed under: all of the component is taken away."""


class Setting(NamedTuple):
    """How texts are made.

    Attributes:
        layer: where directions and interchange act.
        doses: what is added when raising, and taken away when lowering; all above 0 and below 1.
        kind: which directions.
        max_tokens: of a continuation.
        temperature: 0 for greedy.
        n_samples: continuations of each prompt; one where the temperature is 0.
        seed: of sampling.
    """

    layer: int
    doses: tuple[float, ...]
    kind: str = "specific"
    max_tokens: int = 30
    temperature: float = 0.8
    n_samples: int = 3
    seed: int = 0


@dataclass(frozen=True)
class _Arm:
    """Texts that one run of `generate_variants` makes: a name and a dose for every variant, random ones once for each
    direction."""

    names: tuple[tuple[str, float | None], ...]
    pushes: Pushes
    schedule: Schedule | None = None


def method_texts(
    lm: LoadedModel,
    directions: DirectionSet,
    pairs: PairSet,
    way: Way,
    random: FloatArray,
    setting: Setting,
    *,
    on_rows: Callable[[int], None] | None = None,
) -> list[GeneratedText]:
    """Continue the pairs' prompts by every method.

    Raised, in neutral prompts: `add` (prompt and every generated token), `add, prompt only`, `iterative` (every
    generated token, not the prompt), `clamp`, `swap` (the layer's stream becomes that of the emotion's prompt),
    `swap, last token`, `prompted` (a request in words before the prompt). Lowered, in the emotion's prompts: `add` of
    negative doses, `ablate`, `swap` with the neutral prompt's values, `swap, last token`. Always `clean`, and `random`:
    the same added or ablated along random directions.

    Args:
        lm: the model the directions were made from.
        directions: the emotions' directions.
        pairs: whose prompts.
        way: raise or lower.
        random: (n, d) unit vectors.
        setting: layer, doses, sampling.
        on_rows: called with how many texts are done, of `n_texts`.

    Returns:
        texts with their perplexity under the clean model after the bare prompt; a text of a run whose logits overflow
        is empty and has none. Random texts of several directions are samples of one arm.

    Raises:
        InputError: doses outside 0 to 1, samples without a temperature, an emotion without a direction or request, a
            model other than that of the directions.
    """
    _check(directions, lm, pairs, setting)
    sides = [[(p.text_b, p.text_a), (p.text_a, p.text_b)][way == "lower"] for p in pairs.pairs]
    rows = [(own, other) for own, other in sides for _ in range(setting.n_samples)]
    prompts, others = [own for own, _ in rows], [other for _, other in rows]
    seeds = row_seeds(setting.seed, len(rows))
    texts: list[tuple[str, float | None, int, Sequence[str | None]]] = []
    done = 0

    def add(name: str, dose: float | None, first_sample: int, found: Sequence[str | None]) -> None:
        nonlocal done
        texts.append((name, dose, first_sample, found))
        done += len(found)
        if on_rows:
            on_rows(done)

    how = {"max_tokens": setting.max_tokens, "temperature": setting.temperature, "seeds": seeds}
    for arm in _arms(directions, pairs.emotion, way, random, setting):
        found = generate_variants(lm, lm.encode(prompts), arm.pushes, schedule=arm.schedule, **how)  # type: ignore[arg-type]
        met: dict[tuple[str, float | None], int] = {}
        for (name, dose), variant in zip(arm.names, found, strict=True):
            add(name, dose, met.get((name, dose), 0), variant)
            met[name, dose] = met.get((name, dose), 0) + setting.n_samples
    for name, edit in _swaps(lm, prompts, others, setting.layer):
        add(name, None, 0, generate(lm, lm.encode(prompts), edits=[edit], schedule=ONLY_PROMPT, **how))  # type: ignore[arg-type]
    if way == "raise":
        asked = [f"{REQUESTS[pairs.emotion]} {prompt}" for prompt in prompts]
        add(PROMPTED, None, 0, generate(lm, lm.encode(asked), **how))  # type: ignore[arg-type]
    return _with_perplexities(lm, pairs.emotion, prompts, texts, setting)


def n_texts(pairs: PairSet, way: Way, n_random: int, setting: Setting) -> int:
    """How many texts `method_texts` makes."""
    doses = len(setting.doses)
    arms = 1 + 4 * doses + n_random * doses + 3 if way == "raise" else 1 + doses + 1 + n_random * (doses + 1) + 2
    return arms * len(pairs) * setting.n_samples


def _arms(directions: DirectionSet, emotion: str, way: Way, random: FloatArray, setting: Setting) -> list[_Arm]:
    layer, doses = setting.layer, list(setting.doses)
    own = own_lines(directions, emotion, [layer], setting.kind)
    chance = {layer: line(directions, layer, random)}
    if way == "lower":
        taken = [-dose for dose in doses]
        steps: list[tuple[str, Action, list[float], list[float]]] = [
            (ADD, "add", taken, taken), (ABLATE, "ablate", [1.0], [ABLATED_AT])
        ]  # fmt: skip
    else:
        steps = [(ADD, "add", doses, doses), (CLAMP, "clamp", doses, doses)]
    names: list[tuple[str, float | None]] = [(CLEAN, None)]
    sets = [{layer: pushes_along(own, [doses[0]], clean=True)[layer].rows(slice(0, 1))}]
    for name, action, given, listed in steps:
        names += [(name, dose) for dose in listed]
        sets.append({**pushes_along(own, given, action)})
        if action != "clamp":  # a random direction's clamped component is not that of an emotion
            names += [(RANDOM, dose) for _ in random for dose in listed]
            sets.append({**pushes_along(chance, given, action)})
    found = [_Arm(tuple(names), joined(sets))]
    if way == "raise":
        added = pushes_along(own, doses)
        for name, schedule in ((PROMPT_ONLY, ONLY_PROMPT), (ITERATIVE, ONLY_GENERATED)):
            found.append(_Arm(tuple((name, dose) for dose in doses), added, schedule))
    return found


def _swaps(lm: LoadedModel, prompts: Sequence[str], others: Sequence[str], layer: int) -> list[tuple[str, Edit]]:
    """The layer's stream at all prompt tokens, and at the last one only, as in the paired prompts."""
    point = point_of(layer)
    values = prompt_values(lm, lm.encode(others), point)
    whole = replace(point, values)
    last = torch.zeros(1, values.shape[1], 1, dtype=torch.bool)
    last[:, -1] = True
    return [(SWAP, whole), (SWAP_LAST, at_tokens(whole, last))]


def _with_perplexities(
    lm: LoadedModel,
    emotion: str,
    prompts: Sequence[str],
    texts: Sequence[tuple[str, float | None, int, Sequence[str | None]]],
    setting: Setting,
) -> list[GeneratedText]:
    flat = [
        (name, dose, first + i % setting.n_samples, prompts[i], text or "")
        for name, dose, first, found in texts
        for i, text in enumerate(found)
    ]
    values = continuation_perplexities(lm, [prompt for *_, prompt, _ in flat], [text for *_, text in flat])
    return [
        GeneratedText(
            prompt=prompt, text=text, arm=name, emotion=None if name == CLEAN else emotion, dose=dose,
            layer=None if name in (CLEAN, PROMPTED) else setting.layer, sample=sample,
            perplexity=float(value) if np.isfinite(value) else None,
        )
        for (name, dose, sample, prompt, text), value in zip(flat, values, strict=True)
    ]  # fmt: skip


def _check(directions: DirectionSet, lm: LoadedModel, pairs: PairSet, setting: Setting) -> None:
    directions.check_model(lm)
    directions.layer_of(pairs.emotion, setting.layer)
    doses = check_doses(setting.doses)
    if not all(0 < dose < 1 for dose in doses) or len(set(doses)) < len(doses):
        raise InputError("Methods are compared at different doses between 0 and 1.", found=list(setting.doses))
    if setting.n_samples < 1 or (setting.n_samples > 1 and setting.temperature == 0):
        raise InputError("Without a temperature there is one sample of a prompt.", found=setting.n_samples)
    if pairs.emotion not in REQUESTS:
        raise InputError(f"There is no request for {pairs.emotion!r}.", accepted=", ".join(REQUESTS))
