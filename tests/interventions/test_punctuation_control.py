"""The punctuation control against a plain loop over texts and tokens, and on a model whose word is known to matter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from steered_by_hand import log_p

from emotion_circuits import prompts
from emotion_circuits.engine import threads
from emotion_circuits.errors import InputError
from emotion_circuits.interventions import (
    GAP,
    GROUPS,
    SHARES,
    isotropic_directions,
    punctuation_control,
    token_groups,
)
from emotion_circuits.prompts import Dataset, bank
from emotion_circuits.scoring import slot_tokens
from emotion_circuits.selftest import Bench, bench
from emotion_circuits.statistics import Measure, measures_table
from tiny_models import direction_set

CLASSES = bank().names

BRIDGE = ' He wrote, "'


@pytest.fixture
def lm(contrasting):
    """What is ablated does not depend on the family; whether edits are right in each is for the engine's tests."""
    return contrasting


def some_texts(n: int) -> Dataset:
    """Scenarios of the bank, as many with commas as there are."""
    bank = prompts.bank().profile("baseline").select(split="test")
    with_commas = [t.scenario for t in bank if t.emotion == "anger" and "," in t.text]
    chosen = set(list(dict.fromkeys([*with_commas, *bank.scenarios]))[:n])
    return Dataset("some", tuple(t for t in bank if t.scenario in chosen))


def group_of(text, start, end):
    """The group of a token, from its characters alone."""
    if start >= end or end > len(text.text):
        return None
    if start < text.span[1] and end > text.span[0]:
        return "word"
    return "other" if any(c.isalnum() for c in text.text[start:end]) else "punctuation"


def test_tokens_of_a_text_are_parted_by_their_characters(lm):
    texts = list(prompts.bank().profile("baseline").select(split="test"))
    encoded = lm.encode([t.text + BRIDGE for t in texts])
    found = token_groups(texts, encoded)
    for i, (text, tokens) in enumerate(zip(texts, encoded, strict=True)):
        by_hand = [group_of(text, a, b) if k else None for k, (a, b) in enumerate(tokens.offsets)]
        for group in GROUPS[1:]:
            assert found[group][i] == [k for k, own in enumerate(by_hand) if own == group]
        assert found["all"][i] == sorted(k for group in GROUPS[1:] for k in found[group][i])
        assert found["word"][i] and found["punctuation"][i]
    marks = {
        t.text[slice(*e.offsets[k])] for t, e, f in zip(texts, encoded, found["punctuation"], strict=True) for k in f
    }
    assert {".", ","} <= marks


def ablated_by_hand(lm, text, tokens, layers, units, means):
    """Log probabilities after a text and its bridge, with plain hooks that touch one token at a time."""

    def ablate(unit, mean):
        def hook(_module, _inputs, output):
            hidden = output[0] if isinstance(output, tuple) else output
            for k in tokens:
                hidden[0, k] -= unit * (unit @ (hidden[0, k] - mean))

        return hook

    hooks = [
        lm.blocks[layer].register_forward_hook(ablate(torch.tensor(unit).float(), torch.tensor(mean).float()))
        for layer, unit, mean in zip(layers, units, means, strict=True)
    ]
    try:
        return log_p(lm, text + BRIDGE, 0, None)[-1]
    finally:
        for handle in hooks:
            handle.remove()


@pytest.mark.parametrize(("layer", "onwards"), [(0, True), (1, False)])
def test_gaps_are_those_of_a_plain_loop(lm, monkeypatch, layer, onwards):
    monkeypatch.setattr("emotion_circuits.interventions._sentiment.ALPHA", 2)  # random weights: no gap to speak of
    directions = direction_set(lm)
    rng = np.random.default_rng(3)
    mean = rng.standard_normal((lm.n_layers + 1, lm.d_model)).astype(np.float32)
    directions = replace(directions, generic=replace(directions.generic, mean=mean))

    def control(data):
        return punctuation_control(
            lm, directions, "anger", data=data, word_sets=bank().word_sets(), layer=layer, onwards=onwards,
            bridge=BRIDGE, seed=4, n_draws=50, batch_tokens=200,
        )  # fmt: skip

    many = some_texts(8)
    largest = {many.scenarios[i] for i in np.argsort(control(many).gaps)[-3:]}
    data = Dataset("largest", tuple(t for t in many if t.scenario in largest))
    found = control(data)
    assert found.tested
    layers = (0, 1) if onwards else (1,)
    assert found.layers == layers
    controls = isotropic_directions(20, lm.d_model, centred=lm.family.centred_norm, seed=4)
    words = slot_tokens(lm, prompts.bank().word_sets(), "opening", [BRIDGE])[0].tokens
    own = np.array(words[found.emotion])
    others = np.array([t for c in CLASSES if c != found.emotion for t in words[c]])

    def gaps(group, units):
        by_class = {}
        for text in data:
            if text.emotion not in ("neutral", found.emotion):
                continue
            [encoded] = lm.encode([text.text + BRIDGE])
            members = GROUPS[1:] if group == "all" else (group,)
            own_groups = [group_of(text, *place) for place in encoded.offsets]
            tokens = [k for k, own_group in enumerate(own_groups) if k > 0 and group and own_group in members]
            p = np.exp(ablated_by_hand(lm, text.text, tokens, layers, units, [mean[at + 1] for at in layers]))
            by_class.setdefault(text.emotion, []).append(np.log(p[own].sum()) - np.log(p[others].sum()))
        return np.array(by_class[found.emotion]) - np.array(by_class["neutral"])

    own_units = [directions.direction(found.emotion, at).unit for at in layers]
    np.testing.assert_allclose(found.gaps, gaps(None, own_units), atol=1e-4)
    for number, units in ((0, own_units), (1, [controls[0]] * len(layers)), (20, [controls[19]] * len(layers))):
        for i, group in enumerate(GROUPS):
            np.testing.assert_allclose(found.ablated[number, i], gaps(group, units), atol=1e-4)
    assert np.abs(found.ablated[0, 0] - found.gaps).max() > 0.01


@pytest.fixture(scope="module")
def planted() -> Bench:
    with threads(1):
        return bench("gpt2")


def of_planted(subject, emotion="amber", **settings):
    bank = subject.planted.bank
    return punctuation_control(
        subject.lm, subject.directions(), emotion, data=bank.explicit.select(split="test"), word_sets=bank.word_sets,
        bridge=' word_00 "', kind="matched", **settings,
    )  # fmt: skip


def test_where_a_head_reads_the_word_the_word_is_what_counts(planted):
    """Block 2 writes the direction at the cue; the head that moves it to the bridge sits in block 3."""
    subject = planted.subject
    found = of_planted(subject, layer=subject.facts.layer)
    assert found.tested and found.verdict == "tested"
    shares = {row.statistic: row for row in found.rows}
    assert shares[GAP].ci_low > 1 and shares[GAP].p < 0.001
    assert shares[SHARES["word"]].value > 0.9
    assert abs(shares[SHARES["punctuation"]].value) < 0.05
    assert abs(shares[SHARES["other"]].value) < 0.1
    for group in ("all", "word"):
        row = shares[SHARES[group]]
        assert row.p == pytest.approx(1 / 21)
        assert row.ci_low <= row.value <= row.ci_high and row.ci_low > row.null_high
        assert abs(row.chance) < 0.1
    by_hand = 1 - found.ablated[0, GROUPS.index("word")].mean() / found.gaps.mean()
    assert shares[SHARES["word"]].value == pytest.approx(by_hand)


def test_once_the_bridge_has_read_the_word_nothing_can_be_lost(planted):
    subject = planted.subject
    found = of_planted(subject, layer=subject.facts.head.layer)
    assert found.tested
    assert max(abs(row.value) for row in found.rows[1:]) < 0.05


def test_without_a_gap_nothing_is_tested(planted):
    found = of_planted(planted.twin, layer=2)
    assert not found.tested and found.verdict.startswith("not tested: the gap")
    assert found.ablated.shape == (0, 4, 16)
    assert [row.statistic for row in found.rows] == [GAP, *SHARES.values()]
    assert np.isfinite(found.rows[0].value) and found.rows[0].n_unique == 16
    assert all(np.isnan(row.value) and np.isnan(row.p) for row in found.rows[1:])
    assert list(measures_table(found.rows).columns) == list(Measure._fields)


def test_the_same_seed_gives_the_same_rows(planted):
    first, again, other = (of_planted(planted.subject, layer=2, onwards=False, seed=s) for s in (1, 1, 2))
    assert first.rows[1:] == again.rows[1:]
    assert first.rows[1:] != other.rows[1:]
    np.testing.assert_array_equal(first.ablated[0], other.ablated[0])


def test_a_chosen_last_layer_gives_way_to_the_one_before(planted):
    lm = planted.twin.lm
    directions = planted.twin.directions().with_layers({"amber": lm.n_layers - 1})
    bank = planted.twin.planted.bank
    found = punctuation_control(
        lm, directions, "amber", data=bank.explicit.select(split="test"), word_sets=bank.word_sets, bridge=' "'
    )
    assert found.layers == (lm.n_layers - 2,)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"layer": 5}, "0 to 4"),
        ({"layer": -1}, "0 to 4"),
        ({"n_controls": 19}, "20 or more"),
        ({"emotion": "neutral"}, "No direction"),
        ({"emotion": "joy"}, "joy"),
        ({"data": Dataset("others", some_texts(2).texts)}, "no texts of amber"),
    ],
)
def test_what_is_refused(planted, settings, said):
    bank = planted.subject.planted.bank
    asked = {"emotion": "amber", "data": bank.explicit, "word_sets": bank.word_sets, "layer": 2, **settings}
    with pytest.raises(InputError, match=said):
        punctuation_control(planted.subject.lm, planted.subject.directions(), asked.pop("emotion"), **asked)
