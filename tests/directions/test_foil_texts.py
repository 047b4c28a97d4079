"""Foils: a direction that answers to words is found out, one that answers to the emotion is not accused."""

from __future__ import annotations

import numpy as np
import pytest
from planted import SOURCE, plain_generic, planted, planted_vectors
from scipy import stats

from emotion_circuits.directions import (
    EXPLICIT_OVER_FOILS,
    FOIL_RATE,
    HIT_RATE,
    IMPLICIT_OVER_FOILS,
    Activations,
    fit_directions,
    foil_rows,
)
from emotion_circuits.directions import _foils as module
from emotion_circuits.errors import InputError
from emotion_circuits.prompts import Dataset, Text, bank
from emotion_circuits.statistics import auroc

CLASSES = bank().names
EMOTIONS = bank().emotions

SIGNALS = (0.0, 8.0, 1.0)
D, ROWS = 12, len(SIGNALS)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    for name in ("PROFILE_BOOTSTRAP", "PROFILE_PERMUTATIONS"):
        monkeypatch.setattr(module, name, 99)


def foils(strength, n=15, seed=7):
    """`strength` 0: like neutral texts; 1: as if they had the emotion whose word they hold."""
    rng = np.random.default_rng(seed)
    vectors = planted_vectors(D)
    texts = [
        Text(f"foil {e} {k}", e, f"f{e}{k}", "test" if k >= 3 else "development") for e in EMOTIONS for k in range(n)
    ]
    values = np.stack([rng.standard_normal((len(texts), D)) * np.sqrt(5) for _ in SIGNALS])  # topics vary by 2
    for row, signal in enumerate(SIGNALS):
        values[row] += strength * signal * np.stack([vectors[t.emotion] + vectors["common"] for t in texts])
    return Activations(SOURCE, Dataset("foils", tuple(texts)), {"mean": values.astype(np.float32)}, {})


def made(strength=0.0, n=24, signals=SIGNALS, seed=0, share=0.0):
    explicit, implicit = planted(n, D, signals, seed=seed), planted(n, D, signals, seed=seed + 100)
    directions = fit_directions(explicit, "mean", plain_generic(D, rows=ROWS), share=share)
    return explicit, implicit, foils(strength, seed=seed + 7), directions


def by_key(rows):
    found = {(r.statistic, r.emotion, r.layer, r.kind): r for r in rows}
    assert len(found) == len(rows)
    return found


def test_every_number_stands_beside_its_chance():
    rows = by_key(foil_rows(*made()))
    assert len(rows) == 4 * 3 * (ROWS + 1)
    for (statistic, *_), row in rows.items():
        assert (row.model, row.position) == ("m", "mean") and row.n_unique >= 12
        assert row.null_low - 1e-9 <= row.chance <= row.null_high + 1e-9, row
        assert row.ci_low - 1e-9 <= row.value <= row.ci_high + 1e-9 and 0 < row.p <= 1 and row.ceiling == 1
        assert (
            row.n_unique == {FOIL_RATE: 12, HIT_RATE: 12, EXPLICIT_OVER_FOILS: 24, IMPLICIT_OVER_FOILS: 24}[statistic]
        )


@pytest.mark.parametrize("fooled", [False, True])
def test_what_answers_to_words_is_found_out(fooled):
    rows = by_key(foil_rows(*made(strength=float(fooled), n=60)))
    for emotion in EMOTIONS:
        rate, hits = rows[FOIL_RATE, emotion, 0, "specific"], rows[HIT_RATE, emotion, 0, "specific"]
        over = rows[IMPLICIT_OVER_FOILS, emotion, 0, "specific"]
        assert hits.value > 0.75 and hits.p < 0.001 and hits.chance < 0.3
        if fooled:
            assert rate.value > 0.6 and rate.p < 0.05 and over.value < 0.8
        else:
            assert rate.value < 0.4 and rate.p > 0.05 and over.value > 0.85 and over.p < 0.05


@pytest.mark.parametrize("share", [0.0, 0.5, "whitened"])
def test_rates_and_aurocs_are_those_of_a_slow_loop(share):
    """No text is scored by a direction that was made from it, on neither side of the threshold."""
    explicit, implicit, word_texts, directions = made(share=share, seed=3)
    rows, generic = by_key(foil_rows(explicit, implicit, word_texts, directions)), directions.generic
    development = explicit.select(split="development")
    held_out = fit_directions(development, "mean", generic, ("specific",), share)

    def scores(texts, vectors, row, keep):
        unit = vectors / np.linalg.norm(vectors)
        return (texts.values["mean"][row][keep] - generic.mean[row]) @ unit / generic.unit[row]

    def without(scenario, emotion, row):
        texts = tuple(t for t in development.data if t.scenario != scenario)
        keep = [i for i, t in enumerate(development.data) if t.scenario != scenario]
        rest = Activations(SOURCE, Dataset("rest", texts), {"mean": development.values["mean"][:, keep]}, {})
        return fit_directions(rest, "mean", generic, ("specific",), share).vectors["specific"][emotion][row]

    for emotion in EMOTIONS:
        for row in range(1, ROWS):
            vector = held_out.vectors["specific"][emotion][row].astype(float)
            if share != "whitened":  # there the neutral texts of all scenarios scale each other's directions
                means = [
                    np.mean([
                        scores(development, without(s, emotion, row).astype(float), row,
                               (development.labels == c) & (development.scenarios == s))
                        for s in development.data.scenarios
                    ])
                    for c in (emotion, "neutral")
                ]  # fmt: skip
                threshold = np.mean(means)
                for statistic, texts, keep in (
                    (FOIL_RATE, word_texts, [t.split == "test" and t.emotion == emotion for t in word_texts.data]),
                    (HIT_RATE, explicit, [t.split == "test" and t.emotion == emotion for t in explicit.data]),
                ):
                    found = rows[statistic, emotion, row - 1, "specific"]
                    assert found.value == pytest.approx((scores(texts, vector, row, np.array(keep)) > threshold).mean())
            foil_scores, true_scores = (
                scores(a, vector, row, np.array([t.split == "test" and t.emotion == emotion for t in a.data]))
                for a in (word_texts, implicit)
            )
            expected = auroc(np.concatenate([true_scores, foil_scores]), np.arange(24) < 12)
            assert rows[IMPLICIT_OVER_FOILS, emotion, row - 1, "specific"].value == pytest.approx(float(expected))


def test_a_share_has_wilson_s_interval_and_fisher_s_p():
    over, by_chance = np.arange(12) < 9, np.arange(40) < 4
    found = module._share(("m", "anger", "mean", 0, "specific"), FOIL_RATE, over, by_chance)
    z, share = stats.norm.ppf(0.975), 0.75
    centre, reach = share + z**2 / 24, z * np.sqrt(share * 0.25 / 12 + z**2 / 4 / 144)
    np.testing.assert_allclose([found.ci_low, found.ci_high], (centre + np.array([-reach, reach])) / (1 + z**2 / 12))
    assert found.p == pytest.approx(stats.hypergeom(52, 13, 12).sf(8))
    assert (found.value, found.chance, found.n_unique) == (0.75, 0.1, 12)


def test_foils_that_are_neutral_are_seldom_called_more_than_neutral():
    rng = np.random.default_rng(0)
    over = [module._share(("", "", "", 0, ""), FOIL_RATE, *np.split(rng.random(52) < 0.2, [12])) for _ in range(300)]
    assert np.mean([row.p < 0.05 for row in over]) <= 0.05
    assert np.mean([row.null_low <= row.value <= row.null_high for row in over]) > 0.93


def test_a_bag_of_words_takes_every_foil_and_no_implicit_text():
    words = {"neutral": "plain", "gratitude": "thanks", "anger": "rage", "apology": "sorry"}

    def texts(start, template, n=16):
        return tuple(
            Text(template.format(word=words[c], k=k), c, f"{start}{k}", "development" if k < 8 else "test")
            for k in range(n)
            for c in CLASSES
        )

    def recorded(data):
        values = np.random.default_rng(0).standard_normal((1, len(data), 4)).astype(np.float32)
        return Activations(SOURCE, Dataset("set", data), {"mean": values}, {})

    explicit, implicit = recorded(texts("s", "a {word} text number {k}")), recorded(texts("i", "other words here {k}"))
    word_texts = recorded(tuple(t for t in texts("f", "the {word} of text number {k}") if t.emotion != "neutral"))
    directions = fit_directions(explicit, "mean", plain_generic(4, rows=1), ("specific",), 0)
    rows = by_key(foil_rows(explicit, implicit, word_texts, directions))
    for emotion in EMOTIONS:
        rate, hits, explicit_over, implicit_over = (
            rows[s, emotion, -1, "floor: bag of words"]
            for s in (FOIL_RATE, HIT_RATE, EXPLICIT_OVER_FOILS, IMPLICIT_OVER_FOILS)
        )
        assert (rate.value, hits.value, rate.chance, implicit_over.value) == (1, 1, 0, 0)
        assert rate.p < 0.001 and implicit_over.p == 1
        assert 0.3 < explicit_over.value <= 1


def test_where_there_is_no_direction_the_numbers_are_missing():
    explicit, implicit, word_texts, directions = made()
    for part in (explicit, implicit, word_texts):
        part.values["mean"][0] = 0.1
    for row in foil_rows(explicit, implicit, word_texts, directions):
        assert np.isnan(row.value) == (row.layer == -1 and row.kind == "specific"), row


def test_what_cannot_be_judged():
    explicit, implicit, word_texts, directions = made()
    with pytest.raises(InputError, match="two development scenarios"):
        foil_rows(explicit.select(split="test"), implicit, word_texts, directions)
    anger = word_texts.select(emotion="anger")
    assert {row.emotion for row in foil_rows(explicit, implicit, anger, directions)} == {"anger"}
    elsewhere = Activations(SOURCE, word_texts.data, {"sentence_end": word_texts.values["mean"]}, {})
    with pytest.raises(InputError, match="was not recorded"):
        foil_rows(explicit, implicit, elsewhere, directions)
