"""What a user could do to bring an emotion about, or to take it away, each with the same prompts and random numbers.

Emotions are raised in the neutral prompts of pairs and lowered in the emotion's, so that interchange, which needs the
paired prompt, can stand beside what needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from emotion_circuits.components._modulation import Modulation
from emotion_circuits.components._pairs import PairSet
from emotion_circuits.directions import DirectionSet
from emotion_circuits.engine import (
    ROWS_AT_ONCE,
    Edit,
    Pushes,
    Schedule,
    at_tokens,
    generate,
    generate_finite,
    generate_variants,
    joined,
    point_of,
    prompt_values,
    replace,
    row_seeds,
)
from emotion_circuits.errors import InputError
from emotion_circuits.interventions import OTHER_REQUESTS, Action, check_doses, line, own_lines, pushes_along
from emotion_circuits.models import Encoded, LoadedModel
from emotion_circuits.scoring import CLEAN, RANDOM, GeneratedText, continuation_perplexities, twin_of

FloatArray = NDArray[np.float64]
Way = Literal["raise", "lower"]
WAYS: tuple[Way, ...] = ("raise", "lower")
ADD, PROMPT_ONLY, ITERATIVE, CLAMP, ABLATE = "add", "add, prompt only", "iterative", "clamp", "ablate"
SWAP, SWAP_LAST, PROMPTED, CIRCUIT = "swap", "swap, last token", "prompted", "circuit"
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
        request: asks for the emotion in words, as a user would before trying to steer; None for no such arm.
    """

    layer: int
    doses: tuple[float, ...]
    kind: str = "specific"
    max_tokens: int = 30
    temperature: float = 0.8
    n_samples: int = 3
    seed: int = 0
    request: str | None = None


@dataclass(frozen=True)
class _Arm:
    """Texts that one run of `generate_variants` makes: a name and a dose for every variant, random ones once for each
    direction."""

    names: tuple[tuple[str, float | None], ...]
    pushes: Pushes
    schedule: Schedule | None = None


class _Made(NamedTuple):
    """Texts of one arm and dose: sample numbers begin at `first`; `rows` of all prompts' rows, in order."""

    arm: str
    dose: float | None
    first: int
    rows: Sequence[int]
    texts: Sequence[str | None]


def method_texts(
    lm: LoadedModel,
    directions: DirectionSet,
    pairs: PairSet,
    way: Way,
    random: FloatArray,
    setting: Setting,
    *,
    circuit: Modulation | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> list[GeneratedText]:
    """Continue the pairs' prompts by every method.

    Raised, in neutral prompts: `add` (prompt and every generated token), `add, prompt only`, `iterative` (every
    generated token, not the prompt), `clamp`, `swap` (the layer's stream becomes that of the emotion's prompt),
    `swap, last token`, `prompted` (a request in words before the prompt), `circuit` (see `Modulation`). Lowered, in the
    emotion's prompts: `add` of negative doses, `ablate`, `swap` with the neutral prompt's values, `swap, last token`,
    `circuit` of negative strengths. Always `clean`, and chance: `random`, the same added or ablated along random
    directions; `random swap`, with the values of other scenarios' prompts of the continued prompt's own class and as
    many tokens, where there are any (as in `interchange`); `random prompted`, requests for something else; `random
    circuit`, circuits matched by layer and kind, moved as far at each site along their own differences.

    Args:
        lm: the model the directions were made from.
        directions: the emotions' directions.
        pairs: whose prompts.
        way: raise or lower.
        random: (n, d) unit vectors; there are up to n donors of a prompt too.
        setting: layer, doses, sampling.
        circuit: the circuit and its random twins, listed by strength; None leaves the method out.
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
    texts, done = list[_Made](), 0
    met: dict[tuple[str, float | None], int] = {}

    def put(name: str, dose: float | None, found: Sequence[str | None], chosen: Sequence[int] | None = None) -> None:
        nonlocal done
        first = met.get((name, dose), 0)
        texts.append(_Made(name, dose, first, range(len(rows)) if chosen is None else chosen, found))
        met[name, dose] = first + setting.n_samples
        done += len(found)
        if on_rows:
            on_rows(done)

    def how(chosen: Sequence[int] | None = None) -> dict[str, Any]:
        own = seeds if chosen is None else [seeds[i] for i in chosen]
        return {"max_tokens": setting.max_tokens, "temperature": setting.temperature, "seeds": own}

    for arm in _arms(directions, pairs.emotion, way, random, setting):
        found = generate_variants(lm, lm.encode(prompts), arm.pushes, schedule=arm.schedule, **how())
        for (name, dose), variant in zip(arm.names, found, strict=True):
            put(name, dose, variant)
    for name, edit in _swaps(lm, lm.encode(others), setting.layer):
        put(name, None, generate(lm, lm.encode(prompts), edits=[edit], schedule=ONLY_PROMPT, **how()))
    for chosen, donors in _donors(pairs, way, len(random), setting.n_samples):
        encoded = lm.encode([prompts[i] for i in chosen])
        for name, edit in _swaps(lm, donors, setting.layer):
            swapped = generate(lm, encoded, edits=[edit], schedule=ONLY_PROMPT, **how(chosen))
            put(twin_of(name), None, swapped, chosen)
    if way == "raise" and setting.request is not None:
        for name, asked in [(PROMPTED, setting.request), *((twin_of(PROMPTED), other) for other in OTHER_REQUESTS)]:
            put(name, None, generate(lm, lm.encode([f"{asked} {prompt}" for prompt in prompts]), **how()))
    if circuit is not None:
        sign = 1 if way == "raise" else -1
        for name, dose, modulated in _modulated(lm, lm.encode(prompts), circuit, sign, how()):
            put(name, dose, modulated)
    return _with_perplexities(lm, pairs.emotion, prompts, texts, setting)


def n_texts(pairs: PairSet, way: Way, n_random: int, setting: Setting, circuit: Modulation | None = None) -> int:
    """How many texts `method_texts` makes."""
    doses = len(setting.doses)
    if way == "raise":
        asked = 0 if setting.request is None else 1 + len(OTHER_REQUESTS)
        arms = 1 + 4 * doses + n_random * doses + 2 + asked
    else:
        arms = 1 + doses + 1 + n_random * (doses + 1) + 2
    if circuit is not None:
        arms += len(circuit.circuits) * len(circuit.strengths)
    donated = sum(len(chosen) for chosen, _ in _donors(pairs, way, n_random, setting.n_samples))
    return arms * len(pairs) * setting.n_samples + 2 * donated


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


def _swaps(lm: LoadedModel, others: Sequence[Encoded], layer: int) -> list[tuple[str, Edit]]:
    """The layer's stream at all prompt tokens, and at the last one only, as in other prompts of the same lengths."""
    point = point_of(layer)
    values = prompt_values(lm, others, point)
    whole = replace(point, values)
    last = torch.zeros(1, values.shape[1], 1, dtype=torch.bool)
    last[:, -1] = True
    return [(SWAP, whole), (SWAP_LAST, at_tokens(whole, last))]


def _donors(pairs: PairSet, way: Way, n: int, n_samples: int) -> list[tuple[list[int], list[Encoded]]]:
    """For each of up to `n` draws the rows whose pair has so many donors, and the donors; another one in each draw."""
    side = 1 if way == "raise" else 0  # of the prompts that are continued
    known = [pairs.donors(pair, side) for pair in pairs.pairs]
    found = []
    for draw in range(n):
        chosen = [i for i in range(len(known) * n_samples) if len(known[i // n_samples]) > draw]
        ids = [known[i // n_samples][draw] for i in chosen]
        if chosen:
            found.append((chosen, [Encoded(one, ((0, 0),) * len(one), 0) for one in ids]))
    return found


def _modulated(
    lm: LoadedModel, prompts: Sequence[Encoded], circuit: Modulation, sign: int, how: Mapping[str, Any]
) -> Iterator[tuple[str, float, Sequence[str | None]]]:
    """Every circuit at every strength, several side by side."""
    every = [(number, sign * s) for number in range(len(circuit.circuits)) for s in circuit.strengths]
    at_once = max(1, ROWS_AT_ONCE // len(prompts))
    for start in range(0, len(every), at_once):
        chosen = every[start : start + at_once]
        edits = circuit.edits(lm, chosen, len(prompts))
        repeated = {**how, "seeds": [*how["seeds"]] * len(chosen)}
        texts = generate_finite(lm, [*prompts] * len(chosen), edits=edits, **repeated)
        for place, (number, dose) in enumerate(chosen):
            own = texts[place * len(prompts) : (place + 1) * len(prompts)]
            yield CIRCUIT if number == 0 else twin_of(CIRCUIT), dose, own


def _with_perplexities(
    lm: LoadedModel, emotion: str, prompts: Sequence[str], texts: Sequence[_Made], setting: Setting
) -> list[GeneratedText]:
    flat = [
        (made.arm, made.dose, made.first + i % setting.n_samples, prompts[i], text or "")
        for made in texts
        for i, text in zip(made.rows, made.texts, strict=True)
    ]
    nowhere = (CLEAN, PROMPTED, twin_of(PROMPTED), CIRCUIT, twin_of(CIRCUIT))
    values = continuation_perplexities(lm, [prompt for *_, prompt, _ in flat], [text for *_, text in flat])
    return [
        GeneratedText(
            prompt=prompt, text=text, arm=name, emotion=None if name == CLEAN else emotion, dose=dose,
            layer=None if name in nowhere else setting.layer, sample=sample,
            perplexity=float(value) if np.isfinite(value) else None,
        )
        for (name, dose, sample, prompt, text), value in zip(flat, values, strict=True)
    ]  # fmt: skip


def check_method_doses(doses: Sequence[float]) -> None:
    """Raise `InputError` unless there are some, all different and between 0 and 1."""
    known = check_doses(doses)
    if not all(0 < dose < 1 for dose in known) or len(set(known)) < len(known):
        raise InputError("Methods are compared at different doses between 0 and 1.", found=list(doses))


def _check(directions: DirectionSet, lm: LoadedModel, pairs: PairSet, setting: Setting) -> None:
    directions.check_model(lm)
    directions.layer_of(pairs.emotion, setting.layer)
    check_method_doses(setting.doses)
    if setting.n_samples < 1 or (setting.n_samples > 1 and setting.temperature == 0):
        raise InputError("Without a temperature there is one sample of a prompt.", found=setting.n_samples)
