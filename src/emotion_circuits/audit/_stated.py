"""Results of the earlier project that need no activations to judge: what could be computed of them, and a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from . import _formulas as seed
from ._rows import AuditRow, Band, number

ALL = "all"
# Heads and layers of the models it screened, and the length of its mean text in tokens.
SCREENED_HEADS = 144
TEXT_LENGTH = 6
# Sentiment before and after it removed one head, one sampled text per prompt.
ABLATION = (0.915, 0.880)
ABLATION_TEXTS = 70


def stated_rows(match_rates: Sequence[Mapping[str, float | None]], seeds: range) -> list[AuditRow]:
    """Rows for token matching, the sweep, head screening, head patching and head ablation.

    Args:
        match_rates: per model, the share of each class's marked words that this project found in the tokens.
        seeds: of the noise.
    """
    screening, ablation = _screening_noise(seeds), _ablation_noise(seeds)
    rates = [rate for of_model in match_rates for rate in of_model.values() if rate is not None]
    return [
        AuditRow(
            "texts whose emotion word was found in the tokens", ALL, 35 / 210, None, None, None, 1.0,
            number(min(rates)) if rates else None, "artefact", seed_low=0.0, seed_high=31 / 70,
            corrected_statistic="matched by character offsets", n=70,
            note="words were compared with tokens that carry a leading space; the other texts were read at their last "
            "token, so its token vectors compare positions",
        ),
        AuditRow(
            "outputs of the layer × α sweep that are empty", ALL, 1.0, None, None, 0.0, 1.0, None, "no data",
            note="840 of 840 random controls: one forward pass, then a slice past its end",
        ),
        AuditRow(
            "head score: attention row averaged over keys, × length", ALL, 1.0, None, screening.mean, 1.0, 1.0, None,
            "no data", noise_low=screening.low, noise_high=screening.high, n_noise=screening.n,
            note="a row sums to 1, so every head gets the same score, here on random attention too",
        ),
        AuditRow(
            "head patching", ALL, None, None, None, None, None, None, "no data",
            note="values of one emotion prompt were written where the value vectors are, not the head's output",
        ),
        AuditRow(
            "change of sentiment without head 0:0", ALL, ABLATION[1] - ABLATION[0], None, ablation.mean, 0.0, None,
            None, "not shown", noise_low=ablation.low, noise_high=ablation.high, n=ABLATION_TEXTS, n_noise=ablation.n,
            note="prompt and continuation scored together, one unseeded sample each; noise: two samples with one mean, "
            "scores 0 or 1",
        ),
    ]  # fmt: skip


def _screening_noise(seeds: range) -> Band:
    """Length times the score of random attention: 1 at every head."""
    scores = []
    for number_ in seeds:
        logits = np.random.default_rng([number_, 3]).standard_normal((SCREENED_HEADS, TEXT_LENGTH))
        rows = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        scores.append(float(seed.attention_score(rows).mean() * TEXT_LENGTH))
    return Band.of(scores)


def _ablation_noise(seeds: range) -> Band:
    """Difference of two means of 70 scores with the same expectation.

    Scores of 0 or 1 have the widest spread that a mean allows, so the band errs on the wide side.
    """
    share = sum(ABLATION) / 2
    draws = [np.random.default_rng([s, 4]).binomial(ABLATION_TEXTS, share, 2) / ABLATION_TEXTS for s in seeds]
    return Band.of([float(second - first) for first, second in draws])
