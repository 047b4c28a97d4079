"""Screening all heads of GPT-2 small's shape beside a loop over heads and texts, all in one run.

144 heads × 70 pairs of prompts. Exact: every head's output z replaced by the paired prompt's, one head at a time.
Attribution: the same effects estimated from gradients. The loop is what people write by hand: one full forward pass for
each (head, text), with a forward-pre-hook on `c_proj` that puts the other prompt's z in that head's place; it runs a
fixed random sample of cells between the parts of ours, and is scaled to all cells. The other prompt's z is given to the
loop for free. Random weights serve: speed does not depend on them.

A pair has 8 to 24 tokens. Both prompts share their first tokens, differ in two, and share the rest, as the bank's pairs
do: over the 65 pairs of the baseline profile under the bundled GPT-2, a mean of .38 of a prompt's tokens stand before
the first difference (.42 gratitude, .35 anger, .37 apology), and the marked span is 2.2 tokens long. So here.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from _common import Row, clock, gpt2_small, print_rows, write_rows
from scipy.stats import spearmanr

from emotion_circuits.components import (
    DEFAULT_BRIDGE,
    Attribution,
    Component,
    ExactEffects,
    Outcome,
    Pair,
    PairSet,
    attribute,
    exact_effects,
)
from emotion_circuits.engine import Batch, logits_of, matmul_precision
from emotion_circuits.models import LoadedModel
from emotion_circuits.prompts import bank
from emotion_circuits.scoring import SlotTokens, log_odds

CLASSES = bank().names

N_PAIRS = 70
SHARE_BEFORE, SPAN = 0.38, 2
WORDS_PER_CLASS = 20
ROUNDS, CELLS_PER_ROUND = 3, 84
"""Of the loop, sampled: 252 cells in all; attribution runs once a round."""


def random_pairs(rng: random.Random, vocabulary: int) -> PairSet:
    """Pairs that differ in `SPAN` tokens after `SHARE_BEFORE` of their length."""
    pairs = []
    for i in range(N_PAIRS):
        length = rng.randint(8, 24)
        first = max(1, round(SHARE_BEFORE * length))
        a = [rng.randrange(vocabulary) for _ in range(length)]
        changed = [(t + 1 + rng.randrange(vocabulary - 1)) % vocabulary for t in a[first : first + SPAN]]
        b = [*a[:first], *changed, *a[first + SPAN :]]
        span = tuple(range(first, first + SPAN))
        pairs.append(Pair(str(i), "test", "", "", tuple(a), tuple(b), span, length - 1))
    return PairSet(CLASSES[1], CLASSES[0], DEFAULT_BRIDGE, tuple(pairs), N_PAIRS, {}, {})


class Words(Outcome):
    """Log-odds at the last token between random words of each class, as the word-set outcome has them."""

    def __init__(self, pairs: PairSet, vocabulary: int):
        self.name, self.pairs = "log-odds", pairs
        self.ids_a, self.ids_b = (tuple(p.ids_a for p in pairs.pairs), tuple(p.ids_b for p in pairs.pairs))
        self.pair_of, self.weights = np.arange(len(pairs)), np.ones(len(pairs))
        words = random.Random(3).sample(range(vocabulary), WORDS_PER_CLASS * len(CLASSES))
        tokens = {c: tuple(words[k * WORDS_PER_CLASS : (k + 1) * WORDS_PER_CLASS]) for k, c in enumerate(CLASSES)}
        self._slot, self._tokens = SlotTokens("opening", tokens, ()), sorted(words)

    def score(self, lm: LoadedModel, batch: Batch, states: torch.Tensor) -> torch.Tensor:
        logits = logits_of(lm, states[:, batch.last()], torch.tensor(self._tokens))
        return log_odds(logits, [self._slot] * len(batch.texts), self._tokens)[..., 1]

    def reads(self, batch: Batch) -> list[int]:
        return batch.last()

    def of_logits(self, logits: torch.Tensor) -> float:
        """The score of one text's last token, (vocabulary,) logits."""
        return float(log_odds(logits[None], [self._slot])[0, 1])


@contextmanager
def patched(lm: LoadedModel, head: Component, z: torch.Tensor) -> Iterator[None]:
    """What people write by hand: a forward-pre-hook that puts another run's z in a head's place."""
    part = slice(head.number * lm.d_head, (head.number + 1) * lm.d_head)

    def swap(_module: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        value = inputs[0].clone()
        value[..., part] = z[..., part]
        return (value, *inputs[1:])

    handle = lm.attention_out(head.layer).register_forward_pre_hook(swap)
    try:
        with torch.inference_mode():
            yield
    finally:
        handle.remove()


def z_of(lm: LoadedModel, ids: tuple[int, ...], layer: int) -> torch.Tensor:
    """(1, tokens, d) by a hook of its own."""
    seen: list[torch.Tensor] = []
    handle = lm.attention_out(layer).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    with torch.inference_mode():
        lm.hf(torch.tensor([ids]))
    handle.remove()
    return seen[0]


def rows_of(lm: LoadedModel, setting: str) -> list[Row]:
    """All arms, part by part beside each other, so that a slow stretch of the machine meets all of them."""
    rng = random.Random(0)
    pairs = random_pairs(rng, lm.vocab_size)
    outcome = Words(pairs, lm.vocab_size)
    heads = [Component("head", layer, h) for layer in range(lm.n_layers) for h in range(lm.n_heads)]
    exact_s, loop_s, attribution_s = 0.0, 0.0, []
    effects = np.zeros((N_PAIRS, len(heads)))
    cells: list[tuple[int, int, float, float]] = []
    for turn in range(ROUNDS):
        spent, estimate = clock(lambda: attribute(lm, outcome))
        attribution_s.append(spent)
        for _ in range(CELLS_PER_ROUND):
            h, i = rng.randrange(len(heads)), rng.randrange(N_PAIRS)
            pair = pairs.pairs[i]
            with patched(lm, heads[h], z_of(lm, pair.ids_b, heads[h].layer)):
                spent, out = clock(lambda pair=pair: lm.hf(torch.tensor([pair.ids_a])))  # type: ignore[misc]
            loop_s += spent
            cells.append((h, i, outcome.of_logits(out.logits[0, -1]), float(out.logits.abs().max())))
        chosen = [k for k, head in enumerate(heads) if turn < 2 and head.layer % 2 == turn]
        if chosen:
            spent, found = clock(lambda part=chosen: exact_effects(lm, outcome, [heads[k] for k in part]))  # type: ignore[misc]
            exact_s += spent
            effects[:, chosen] = found.effects
    return report(outcome, effects, found, estimate, cells, (exact_s, attribution_s, loop_s), setting)


def report(
    outcome: Words,
    effects: np.ndarray,
    clean: ExactEffects,
    estimate: Attribution,
    cells: list[tuple[int, int, float, float]],
    seconds: tuple[float, list[float], float],
    setting: str,
) -> list[Row]:
    """Print how far the arms agree, and give their rows."""
    exact_s, attribution_s, loop_s = seconds
    n_heads = effects.shape[1]
    wrong = max(abs(clean.m_a[i] - effects[i, h] - value) for h, i, value, _ in cells)
    largest = max(logit for *_, logit in cells)
    print(
        f"Exact against the loop's {len(cells)} cells: largest difference {wrong:.1e}, "
        f"largest effect {np.abs(effects).max():.1e}, largest logit {largest:.1f}."
    )
    heads = estimate.of("head").reshape(N_PAIRS, n_heads)
    means = spearmanr(heads.mean(axis=0), effects.mean(axis=0)).statistic
    each = spearmanr(heads.ravel(), effects.ravel()).statistic
    print(f"Attribution against exact, Spearman: {means:.3f} over {n_heads} heads, {each:.3f} over heads × pairs.")
    loop = loop_s * n_heads * N_PAIRS / len(cells)
    arm = f"huggingface loop over heads and texts (sampled: {len(cells)} of {n_heads * N_PAIRS:,})"
    q1, median, q3 = np.percentile(attribution_s, [25, 50, 75])
    exact_task = f"exact screening, {n_heads} heads × {N_PAIRS} pairs"
    attribution_task = f"attribution, {n_heads} heads × {N_PAIRS} pairs"
    return [
        Row(exact_task, "ours", "cpu", setting, exact_s, exact_s, exact_s, 1.0, None, wrong / largest),
        Row(exact_task, arm, "cpu", setting, loop, loop, loop, loop / exact_s, None, None),
        Row(attribution_task, "ours", "cpu", setting, median, q1, q3, 1.0, None, None),
        Row(attribution_task, arm, "cpu", setting, loop, loop, loop, loop / median, None, None),
    ]


def run(setting: str, threads: int = 2) -> list[Row]:
    """Every arm under the same setting of torch's float32 products."""
    torch.set_num_threads(threads)
    lm = gpt2_small()
    with matmul_precision(lm, setting):  # type: ignore[arg-type]
        return rows_of(lm, setting)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setting", default="highest", choices=("highest", "medium"))
    parser.add_argument("--dry", action="store_true", help="print only; results/latest.json stays as it is")
    arguments = parser.parse_args()
    table = run(arguments.setting)
    print_rows(table)
    if not arguments.dry:
        write_rows(table)
