"""A positive control: is an emotion read from the emotion's word, or from the punctuation that sums the text up?

Tigges et al. 2023 (Linear Representations of Sentiment in Large Language Models) found that ablating the sentiment
direction costs most of a classification's accuracy above chance, and about half of that where it is ablated at commas
alone: the model gathers what was said at its punctuation. Here the outcome needs no classifier: after a text and a
neutral bridge, the log-odds of the emotion's own first words, in an emotion's text minus in the neutral text of the
same scenario. The direction is ablated at tokens of the text only, so that the bridge loses what it would have read
there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emotion_circuits import prompts
from emotion_circuits.directions import DirectionSet, token_positions
from emotion_circuits.engine import (
    DEFAULT_BATCH_TOKENS,
    Batch,
    Edit,
    Point,
    PrefixReplay,
    ablate_direction,
    at_tokens,
    hooks,
    in_chunks,
    logits_of,
)
from emotion_circuits.errors import InputError
from emotion_circuits.interventions._controls import isotropic_directions
from emotion_circuits.models import Encoded, LoadedModel
from emotion_circuits.prompts import NEUTRAL, Context, Dataset, Text, WordSets
from emotion_circuits.scoring import SlotTask, slot_task
from emotion_circuits.statistics import (
    ALPHA,
    Measure,
    exceedance_p,
    grouped_bootstrap,
    sign_flip_test,
    substream,
    weighted_bootstrap,
)

GROUPS = ("all", "punctuation", "word", "other")
"""Where a direction is ablated: all tokens of the text, those of punctuation only, its marked word, other content."""
GAP = "gap of own log-odds, emotion text over neutral text"
SHARES = {group: f"share of the gap lost, ablated at {group}" for group in GROUPS}
MIN_CONTROLS = 20

FloatArray = NDArray[np.float64]


class PunctuationControl(NamedTuple):
    """What ablating an emotion's direction costs, by where it is ablated.

    Attributes:
        emotion: whose direction and words.
        layers: blocks whose output is ablated.
        tested: the gap's interval lies above zero and its p below .05; otherwise there is nothing to lose and no share.
        verdict: `tested`, or `not tested` with the reason.
        tokens: group → mean number of tokens ablated in a text.
        gaps: (scenarios,) of the clean model, in nats.
        ablated: (1 + controls, groups, scenarios) gaps under ablation, the emotion's own direction first; without
            entries if nothing was tested.
        rows: the gap, and per group the share of it that is lost; chance, null and p come from the control directions
            (of the gap, from its own signs). The value of a share that was not tested is NaN.
    """

    emotion: str
    layers: tuple[int, ...]
    tested: bool
    verdict: str
    tokens: dict[str, float]
    gaps: FloatArray
    ablated: FloatArray
    rows: list[Measure]


class _Ablation(NamedTuple):
    """Blocks, and per block the directions (1 + controls, d) and the mean (d,)."""

    layers: tuple[int, ...]
    units: tuple[Tensor, ...]
    means: tuple[Tensor, ...]


def punctuation_control(
    lm: LoadedModel,
    directions: DirectionSet,
    emotion: str,
    *,
    data: Dataset,
    word_sets: WordSets,
    bridge: str = prompts.BRIDGE,
    layer: int | None = None,
    onwards: bool = True,
    kind: str = "specific",
    n_controls: int = MIN_CONTROLS,
    n_draws: int = 2000,
    seed: int = 0,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    on_variants: Callable[[int], None] | None = None,
) -> PunctuationControl:
    """Ablate an emotion's direction at some tokens of a text and see what the model would say after it.

    h ← h − v̂v̂ᵀ(h − μ) with each layer's own v̂, and μ its mean on generic text; a control has one v̂ for all layers.
    Position 0 is left alone, as in every edit. p is one-sided: the direction should cost more than a random one. The
    default directions have seen the test texts too; for an interval that allows for it, fit them on development
    scenarios only.

    Args:
        lm: the model that the directions were made from.
        directions: of it.
        emotion: whose direction is ablated and whose words are scored.
        data: scenarios of neutral text and emotions'; those that have this emotion are taken.
        word_sets: what the classes say.
        bridge: follows every text; what comes after it is the first word of an utterance.
        layer: the first block whose output is ablated; by default the emotion's chosen layer, or the last but one if
            that is the last: what is changed there cannot reach the bridge any more.
        onwards: all later blocks too, but the last.
        kind: which direction.
        n_controls: isotropic directions, at least 20.
        n_draws: of the bootstrap over scenarios.
        seed: of controls and draws.
        batch_tokens: tokens of one forward pass.
        on_variants: called with how many batches' variants are done after each pass.

    Raises:
        InputError: directions of another model, an emotion, kind or layer that is not there, too few controls,
            incomplete scenarios, fewer than two of them.
    """
    directions.check_model(lm)
    if n_controls < MIN_CONTROLS:
        raise InputError("Too few control directions.", found=n_controls, accepted=f"{MIN_CONTROLS} or more")
    chosen = _pairs_of(data, emotion)
    ablation = _ablation(lm, directions, emotion, layer, onwards, kind, n_controls, seed)
    contexts = [Context(f"{t.scenario}-{t.emotion}", t.text + bridge, "opening", t.split) for t in chosen]
    task = slot_task(lm, contexts, word_sets)
    groups = token_groups(chosen, lm.encode([c.text for c in contexts]))

    column = task.column(emotion)
    clean = _paired(_odds(lm, task, groups, ablation, [None], batch_tokens, on_variants)[..., column])[0]
    gap = grouped_bootstrap(clean, n_draws=n_draws, seed=substream(seed, 1))
    signs = sign_flip_test(clean, seed=substream(seed, 2), alternative="two-sided")
    tested = gap.interval.low > 0 and signs.p < ALPHA
    shown = f"{gap.value:.2g} nats [{gap.interval.low:.2g}, {gap.interval.high:.2g}]"
    verdict = "tested" if tested else f"not tested: the gap, {shown}, p {signs.p:.2g}, does not lie above zero"
    first, last = ablation.layers[0], ablation.layers[-1]
    where = f"{kind}, layer {first}" if first == last else f"{kind}, layers {first} to {last}"

    def row(statistic: str, *numbers: float) -> Measure:
        about = (str(lm.name), emotion, directions.position, first, where, statistic)
        return Measure._make((*about, *numbers, len(clean)))

    rows = [
        row(GAP, gap.value, gap.interval.low, gap.interval.high, 0.0, signs.null_low, signs.null_high, np.nan, signs.p)
    ]
    ablated = np.empty((0, len(GROUPS), len(clean)))
    if tested:
        variants = list(product(range(1 + n_controls), GROUPS))
        found = _paired(_odds(lm, task, groups, ablation, variants, batch_tokens, on_variants)[..., column])
        ablated = found.reshape(1 + n_controls, len(GROUPS), -1)
    for i, group in enumerate(GROUPS):
        rows.append(row(SHARES[group], *(_share(clean, ablated[:, i], n_draws, seed) if tested else [np.nan] * 8)))
    tokens = {group: float(np.mean([len(indices) for indices in groups[group]])) for group in GROUPS}
    return PunctuationControl(emotion, ablation.layers, tested, verdict, tokens, clean, ablated, rows)


def _pairs_of(data: Dataset, emotion: str) -> list[Text]:
    """Neutral texts of the scenarios that have the emotion, then the emotion's, in the order of the scenarios.

    Raises:
        InputError: scenarios without neutral texts, or none with the emotion.
    """
    data.require_twins("The punctuation control")
    own = {t.scenario for t in data if t.emotion == emotion}
    pairs = {c: [t for t in data if t.emotion == c and t.scenario in own] for c in (NEUTRAL, emotion)}
    if not all(pairs.values()):
        raise InputError(f"There are no texts of {emotion} and neutral.", accepted=", ".join(data.classes))
    order = {scenario: i for i, scenario in enumerate(data.scenarios)}
    return [t for c in (NEUTRAL, emotion) for t in sorted(pairs[c], key=lambda t: order[t.scenario])]


def token_groups(texts: Sequence[Text], encoded: Sequence[Encoded]) -> dict[str, list[list[int]]]:
    """Which tokens of each text belong to each of `GROUPS`; none of what follows the text, nor position 0.

    Args:
        texts: with marked words.
        encoded: tokens of each text with its bridge.
    """
    positions = token_positions(texts, encoded).indices
    found: dict[str, list[list[int]]] = {group: [] for group in GROUPS}
    for i, (text, tokens) in enumerate(zip(texts, encoded, strict=True)):
        inside = {k for k, (a, b) in enumerate(tokens.offsets) if k > 0 and a < b <= len(text.text)}
        word = inside & set(positions["emotion_token"][i])
        content = inside & set(positions["mean"][i])
        for group, members in zip(GROUPS, (inside, inside - content - word, word, content - word), strict=True):
            found[group].append(sorted(members))
    return found


def _ablation(
    lm: LoadedModel,
    directions: DirectionSet,
    emotion: str,
    layer: int | None,
    onwards: bool,
    kind: str,
    n_controls: int,
    seed: int,
) -> _Ablation:
    last = lm.n_layers - 2  # after the last block no attention reads the text any more
    start = min(directions.layer_of(emotion, None), last) if layer is None else layer
    if not 0 <= start <= last:
        raise InputError(
            "What is ablated after this layer cannot reach the bridge, or is no block's output.",
            found=f"layer {start}",
            accepted=f"0 to {last}",
        )
    layers = tuple(range(start, last + 1)) if onwards else (start,)
    controls = isotropic_directions(n_controls, lm.d_model, centred=directions.source.centred_norm, seed=seed)
    own = [directions.direction(emotion, at, kind).unit for at in layers]
    return _Ablation(
        layers,
        tuple(torch.from_numpy(np.vstack([unit, controls])) for unit in own),
        tuple(torch.from_numpy(directions.generic.mean[at + 1].astype(np.float64)) for at in layers),
    )


def _odds(
    lm: LoadedModel,
    task: SlotTask,
    groups: Mapping[str, Sequence[Sequence[int]]],
    ablation: _Ablation,
    variants: Sequence[tuple[int, str] | None],
    batch_tokens: int,
    on_variants: Callable[[int], None] | None,
) -> FloatArray:
    """(variants, contexts, classes) log-odds; a variant is a direction's number and a group, None the clean run."""
    found = np.full((len(variants), len(task.contexts), len(task.classes)), np.nan)
    words = torch.tensor(task.tokens, device=lm.device)

    def scored(batch: Batch, replay: PrefixReplay, masks: Mapping[str, Tensor], chosen: slice) -> Tensor:
        chunk = variants[chosen]
        start, *later = list(_edits(ablation, masks, chunk, batch.shape[0]))
        editable = replay.editable.repeat(len(chunk), 1, 1)
        states = start.apply(replay.states.repeat(len(chunk), 1, 1), editable)
        with hooks(lm, {edit.point: edit.touch(editable) for edit in later}):
            final = replay.run(states, copies=len(chunk))
        index = torch.as_tensor(batch.last(), device=lm.device)
        read = final.reshape(len(chunk), -1, final.shape[-1]).index_select(1, index)
        with torch.no_grad():
            return task.score(batch, logits_of(lm, read, words))

    for batch in task.batches:
        replay = PrefixReplay(lm, batch, ablation.layers[0])
        masks = {
            group: batch.marked(
                [batch.flat(i, k) for i, text in enumerate(batch.texts) for k in chosen[text]], lm.device
            )
            for group, chosen in groups.items()
        }
        run = partial(scored, batch, replay, masks)
        for rows, odds in in_chunks(run, len(variants), batch_tokens, batch.shape[0] * batch.shape[1]):
            found[rows, list(batch.texts)] = odds.double().cpu().numpy()
            if on_variants:
                on_variants(len(odds))
    return found


def _edits(
    ablation: _Ablation, masks: Mapping[str, Tensor], chunk: Sequence[tuple[int, str] | None], rows: int
) -> Iterator[Edit]:
    """One edit a layer for copies of a batch that carry different variants."""
    nowhere = torch.zeros_like(masks["all"])
    mask = torch.cat([nowhere if variant is None else masks[variant[1]] for variant in chunk])
    numbers = torch.tensor([0 if variant is None else variant[0] for variant in chunk])
    for layer, units, mean in zip(ablation.layers, ablation.units, ablation.means, strict=True):
        per_row = units[numbers].repeat_interleave(rows, dim=0)
        yield at_tokens(ablate_direction(Point("resid_post", layer), per_row, mean), mask)


def _paired(odds: FloatArray) -> FloatArray:
    """(variants, neutral texts then emotion texts) → (variants, scenarios) differences."""
    half = odds.shape[1] // 2
    return odds[:, half:] - odds[:, :half]


def _share(clean: FloatArray, ablated: FloatArray, n_draws: int, seed: int) -> tuple[float, ...]:
    """A share's value, interval, chance, null, ceiling and p; `ablated` (1 + controls, scenarios), own first."""
    own, *null = 1 - ablated.mean(axis=1) / clean.mean()
    low, high = np.quantile(null, [0.025, 0.975])
    boot = weighted_bootstrap(
        lambda weights: 1 - (weights @ ablated[0]) / (weights @ clean),
        len(clean),
        n_draws=n_draws,
        seed=substream(seed, 1),
    )
    return (
        float(own), boot.interval.low, boot.interval.high, float(np.mean(null)), float(low), float(high), 1.0,
        exceedance_p(own, np.asarray(null)),
    )  # fmt: skip
