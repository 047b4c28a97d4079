"""Arms beside each other: worked out by hand, on noise, and with everything that can be missing."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_circuits import prompts
from emotion_circuits.errors import InputError
from emotion_circuits.scoring import (
    GeneratedText,
    MarkerScorer,
    VaderScorer,
    cells_of,
    evaluate_texts,
    parse_generated,
    stored_perplexities,
)

PROMPTS = tuple(f"Beginning {i}:" for i in range(12))
FAST = {"n_bootstrap": 200, "n_flips": 499}
FILLER = "the door was open and a cat sat on the mat by the stove"
ROW = {"arm": "steered", "emotion": "gratitude", "dose": 0.2, "layer": 3}


def arm(name, texts, *, perplexity=10.0, **fields):
    return [
        GeneratedText(prompt=p, text=t, arm=name, sample=0, perplexity=perplexity, **fields)
        for p, t in zip(PROMPTS, texts, strict=True)
    ]


def thanks(n):
    """The first n of twelve texts thank."""
    return [f"Thanks, {FILLER} {i}" if i < n else f"Well, {FILLER} {i}" for i in range(12)]


def steered(n, **fields):
    return arm("steered", thanks(n), **{"emotion": "gratitude", "dose": 0.2, "layer": 3, **fields})


def evaluated(texts, *scorers, **options):
    return evaluate_texts(
        texts, scorers or (MarkerScorer(prompts.bank()),), perplexities=stored_perplexities(texts), **FAST, **options
    )


def score_of(found, arm="steered", scored="gratitude", **fields):
    [row] = [
        r for r in found.scores
        if r.arm == arm and r.scored == scored and all(getattr(r, k) == v for k, v in fields.items())
    ]  # fmt: skip
    return row


def damage_of(found, arm="steered"):
    [row] = [r for r in found.damage if r.arm == arm]
    return row


def test_an_arm_by_hand():
    random = arm("random", thanks(3), emotion="gratitude", dose=0.2, layer=3)
    found = evaluated([*arm("clean", thanks(1)), *steered(9, perplexity=20.0), *random])
    row = score_of(found)
    assert (row.value, row.n_prompts, row.n_texts) == (pytest.approx(9 / 12), 12, 12)
    assert (row.chance, row.chance_of, row.ceiling) == (pytest.approx(3 / 12), "random", 1.0)
    assert row.difference == pytest.approx(8 / 12) and row.above_random == pytest.approx(6 / 12)
    assert row.difference_low <= row.difference <= row.difference_high
    assert row.p < 0.02 and row.p_random < 0.05 and row.wrong_way == 0
    # Concept 1 with fluency 1/2 in nine of twelve texts, concept 0 in the others.
    assert row.harmonic == pytest.approx(9 / 12 * 2 / 3, rel=1e-6)
    damage = damage_of(found)
    assert (damage.perplexity, damage.perplexity_ratio) == (pytest.approx(20), pytest.approx(2))
    assert (damage.regime, damage.n_unique, damage.n_empty) == ("steered", 12, 0)
    assert damage_of(found, "clean").regime == damage_of(found, "random").regime == "clean-like"
    own_random = score_of(found, "random")
    assert own_random.chance_of == "clean" and np.isnan(own_random.above_random)
    clean = score_of(found, "clean")
    assert clean.chance_of == "scorer" and np.isnan([clean.difference, clean.p, clean.harmonic, clean.wrong_way]).all()


def test_the_order_of_texts_does_not_matter():
    texts = [*arm("clean", thanks(2)), *steered(7), *steered(5, dose=0.4)]
    order = np.random.default_rng(1).permutation(len(texts))
    one, other = evaluated(texts), evaluated([texts[i] for i in order])
    assert [r[:6] for r in one.scores] == [r[:6] for r in other.scores]
    for a, b in zip(one.scores, other.scores, strict=True):
        assert (a.value, a.difference, a.n_texts) == pytest.approx((b.value, b.difference, b.n_texts), nan_ok=True)
    assert [r.regime for r in one.damage] == [r.regime for r in other.damage]


def test_samples_of_a_prompt_are_one_unit():
    """Doubling every sample adds no evidence."""
    texts = [*arm("clean", thanks(1)), *steered(6)]
    more = [*texts, *(t.model_copy(update={"sample": 1}) for t in texts)]
    one, two = score_of(evaluated(texts)), score_of(evaluated(more))
    assert (two.n_prompts, two.n_texts) == (one.n_prompts, 2 * one.n_texts)
    assert two[6:9] == pytest.approx(one[6:9]) and two.p == one.p


def test_repeated_lines_count_once_where_samples_are_named():
    texts = [*arm("clean", thanks(1)), *steered(6)]
    again = evaluated([*texts, *texts[:12]])
    assert score_of(again, "clean").n_texts == damage_of(again, "clean").n_texts == 12
    assert any("12 texts repeat" in note for note in again.notes)
    unnamed = [t.model_copy(update={"sample": None}) for t in texts]
    assert len(next(iter(cells_of([*unnamed, *unnamed[:12]]).values()))) == 24


def test_an_arm_that_is_the_clean_one_is_no_effect():
    found = evaluated([*arm("clean", thanks(5)), *steered(5)])
    row = score_of(found)
    assert (row.difference, row.difference_low, row.difference_high, row.p, row.wrong_way) == (0, 0, 0, 1, 0)
    assert damage_of(found).regime == "clean-like" and damage_of(found).perplexity_ratio == pytest.approx(1)


def test_on_noise_p_is_small_no_oftener_than_it_says():
    rng = np.random.default_rng(3)
    p = []
    for _ in range(60):
        drawn = [[thanks(12)[i] if hit else thanks(0)[i] for i, hit in enumerate(rng.random(12) < 0.5)] for _ in "ab"]
        texts = [*arm("clean", drawn[0]), *arm("steered", drawn[1], **{k: v for k, v in ROW.items() if k != "arm"})]
        p.append(score_of(evaluate_texts(texts, [MarkerScorer(prompts.bank())], n_bootstrap=20, n_flips=199)).p)
    assert np.mean(np.array(p) <= 0.05) < 0.13


def test_asking_for_less_turns_the_wrong_way_round():
    less = evaluated([*arm("clean", thanks(6)), *steered(2, dose=-0.2)])
    more = evaluated([*arm("clean", thanks(6)), *steered(2)])
    assert score_of(less).wrong_way == 0 and score_of(more).wrong_way == pytest.approx(4 / 12)
    assert np.isnan(score_of(less).harmonic) and not np.isnan(score_of(more).harmonic)
    assert np.isnan(score_of(more, scored="anger").wrong_way)


def test_vader_has_a_side_for_gratitude_and_anger_only():
    def wrong(emotion):
        texts = [*arm("clean", ["It is horrible."] * 12), *arm("steered", ["It is wonderful."] * 12, emotion=emotion)]
        return score_of(evaluated(texts, VaderScorer(prompts.bank())), scored="compound").wrong_way

    assert (wrong("gratitude"), wrong("anger")) == (0, 1)
    assert np.isnan(wrong("apology"))


def test_empty_texts_are_marked_and_never_zeros():
    texts = [*arm("clean", thanks(0)), *steered(12)]
    some = [t.model_copy(update={"text": " ", "perplexity": None}) if i in (14, 15) else t for i, t in enumerate(texts)]
    found = evaluated(some)
    row = score_of(found)
    assert (row.value, row.n_prompts, row.n_pairs) == (1.0, 10, 10)
    assert (damage_of(found).n_empty, damage_of(found).n_perplexity) == (2, 10)
    assert any("2 of 24 texts are empty" in note for note in found.notes)
    found = evaluated([*texts[:12], *(t.model_copy(update={"text": "", "perplexity": None}) for t in texts[12:])])
    row, damage = score_of(found), damage_of(found)
    assert np.isnan([row.value, row.ci_low, row.difference, row.p, row.harmonic, row.wrong_way]).all()
    assert damage.regime == "empty" and np.isnan([damage.words, damage.repetition, damage.perplexity_ratio]).all()


def test_looping_text_is_collapsed_whatever_its_perplexity():
    loop = arm("steered", ["thanks so much " * 12] * 12, perplexity=3.0, emotion="gratitude")
    found = evaluated([*arm("clean", thanks(0)), *loop])
    assert damage_of(found).regime == "collapsed" and damage_of(found).perplexity_ratio < 1
    assert score_of(found).value == 1 and score_of(found).harmonic < 0.3
    assert damage_of(found).n_unique == 1


def test_without_clean_text_differences_are_missing_and_it_says_so():
    found = evaluated(steered(4))
    row = score_of(found)
    assert row.value == pytest.approx(4 / 12) and row.chance_of == "scorer"
    assert np.isnan([row.difference, row.p, row.harmonic, row.wrong_way, damage_of(found).perplexity_ratio]).all()
    assert damage_of(found).regime == "unknown"
    assert any("no arm `clean`" in note for note in found.notes) and any("no arm `random`" in n for n in found.notes)


def test_without_perplexities_regimes_are_unknown_and_infinite_ones_are_left_out():
    texts = [*arm("clean", thanks(1), perplexity=None), *steered(6, perplexity=None)]
    assert stored_perplexities(texts) is None
    found = evaluated(texts)
    assert damage_of(found).regime == "unknown" and any("--model" in note for note in found.notes)
    broken = [
        t.model_copy(update={"perplexity": v})
        for t, v in zip(steered(6), [np.inf, np.nan, 0, -1] + [10.0] * 8, strict=True)
    ]
    found = evaluated([*arm("clean", thanks(1)), *broken])
    assert damage_of(found).n_perplexity == 8 and damage_of(found).perplexity_ratio == pytest.approx(1)


def test_clean_text_of_a_run_belongs_to_its_emotion():
    texts = [
        *arm("clean", thanks(0), emotion="gratitude"), *arm("clean", thanks(12), emotion="anger"),
        *steered(6), *steered(6, emotion="anger"), *arm("prompting", thanks(6)),
    ]  # fmt: skip
    found = evaluated(texts)
    assert score_of(found, emotion="gratitude").difference == pytest.approx(0.5)
    assert score_of(found, emotion="anger").difference == pytest.approx(-0.5)
    assert score_of(found, "prompting").difference == pytest.approx(0)


def test_the_random_arm_of_the_same_dose_and_layer_is_the_chance():
    randoms = [
        *arm("random", thanks(2), emotion="gratitude", dose=0.2, layer=3),
        *arm("random", thanks(8), emotion="gratitude", dose=0.4, layer=3),
    ]
    found = evaluated([*steered(6), *steered(6, dose=0.4), *arm("prompting", thanks(6), emotion="gratitude"), *randoms])
    assert score_of(found, dose=0.2).chance == pytest.approx(2 / 12)
    assert score_of(found, dose=0.4).chance == pytest.approx(8 / 12)
    assert score_of(found, "prompting").chance_of == "scorer"  # two random arms: neither is its own


def test_another_model_s_perplexities_stand_beside():
    texts = [*arm("clean", thanks(1)), *steered(6)]
    judge = np.array([5.0] * 12 + [20.0] * 12)
    row = damage_of(evaluated(texts, judge_perplexities=judge))
    assert (row.judge_perplexity, row.judge_ratio, row.perplexity_ratio) == pytest.approx((20, 4, 1))


def test_the_table_has_scores_and_damage_side_by_side(tmp_path):
    found = evaluated(
        [*arm("clean", thanks(1)), *steered(6)], MarkerScorer(prompts.bank()), VaderScorer(prompts.bank())
    )
    table = found.table()
    assert len(table) == 2 * 4 and not table.columns.duplicated().any()
    assert set(table.loc[table["arm"] == "steered", "regime"]) == {"clean-like"}
    assert table["layer"].tolist()[-1] == 3 and table["cell_n_texts"].eq(12).all()
    table.to_parquet(tmp_path / "t.parquet")


def test_one_prompt_has_a_value_and_no_interval():
    row = score_of(evaluated([*arm("clean", thanks(0))[:1], *steered(12)[:1]]))
    assert (row.value, row.difference) == (1, 1) and np.isnan([row.ci_low, row.difference_low]).all()


def test_what_cannot_be_evaluated():
    texts = steered(3)
    for arguments, said in (
        (([], [MarkerScorer(prompts.bank())]), "nothing to score"),
        ((texts, []), "nothing to score"),
        ((texts, [MarkerScorer(prompts.bank()), MarkerScorer(prompts.bank())]), "twice"),
    ):
        with pytest.raises(InputError, match=said):
            evaluate_texts(*arguments)
    with pytest.raises(InputError, match="differ in number"):
        evaluate_texts(texts, [MarkerScorer(prompts.bank())], perplexities=np.ones(3))


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"text": "x"}, "'prompt'"),
        ({"prompt": "p", "text": 3}, "'text'"),
        ({"prompt": "p", "text": "x", "arm": ""}, "'arm'"),
        ({"prompt": "p", "text": "x", "emotion": "hunger"}, "'hunger'"),
        ({"prompt": "p", "text": "x", "dose": "much"}, "'dose'"),
        ({"prompt": "p", "text": "x", "dose": float("inf")}, "'dose'"),
        ({"prompt": "p", "text": "x", "layer": 1.5}, "'layer'"),
    ],
)
def test_malformed_records_are_named(record, said):
    with pytest.raises(InputError, match="line 2") as caught:
        parse_generated(record, "file.jsonl, line 2", prompts.bank().names)
    assert said in str(caught.value) and len(str(caught.value).splitlines()) <= 4


def test_fields_that_nobody_asked_for_are_ignored():
    text = parse_generated({"prompt": "p", "text": "x", "seed": 3, "model": "m", "dose": ""}, "f")
    assert (text.arm, text.emotion, text.dose) == ("text", None, None)
