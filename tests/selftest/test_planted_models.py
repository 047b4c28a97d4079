"""The plant is what the facts say, seen without any of the methods that are to find it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from emotion_circuits.engine import Point, plan_batches, record_tokens
from emotion_circuits.errors import InputError
from emotion_circuits.selftest import BUILDERS, Head, PlantedModel, PlantSpec, plant, planted_bank
from emotion_circuits.selftest._bank import neutral_texts
from emotion_circuits.selftest._coordinates import Coordinates

CLASSES = tuple(planted_bank().cues)
EMOTIONS = tuple(planted_bank().cues)[1:]

FAMILIES = tuple(BUILDERS)


@pytest.fixture(scope="module", params=FAMILIES)
def planted(request: pytest.FixtureRequest) -> PlantedModel:
    return plant(PlantSpec(family=request.param), seed=1)


def see(model: PlantedModel, text: str, *points: tuple[str, int]) -> dict[tuple[str, int], np.ndarray]:
    """(tokens, width) at each point."""
    [batch] = plan_batches([model.lm.encode([text])[0].ids], packed=False)
    found = record_tokens(model.lm, batch, [Point(*point) for point in points])  # type: ignore[arg-type]
    return {point: found[Point(*point)][0].numpy() for point in points}  # type: ignore[arg-type]


@pytest.mark.parametrize("emotion", CLASSES)
def test_units_fire_at_their_own_cue_and_nowhere_else(planted, emotion):
    facts = planted.facts
    own = {e: list(units) for e, units in facts.units.items()}
    for cue in planted.bank.cues[emotion][::7]:
        text = f"word_00 word_01 {cue} word_02 ."
        active = see(planted, text, ("mlp_act", facts.layer))["mlp_act", facts.layer]
        for e in EMOTIONS:
            at_cue = active[3, own[e]]
            elsewhere = np.delete(active, 3, axis=0)[:, own[e]]
            assert np.abs(elsewhere).max() < 1.5
            assert (at_cue > 5).sum() == (e == emotion)


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_the_direction_is_written_at_the_cue_and_then_moved(planted, emotion):
    facts, direction = planted.facts, planted.facts.directions[emotion]
    points = (("embed", 0), ("resid_post", facts.layer), ("resid_post", facts.head.layer))
    seen = see(planted, f"word_03 word_04 {planted.bank.cues[emotion][5]} word_05 word_06 .", *points)
    embedded, written, moved = (seen[p] @ direction for p in points)
    assert np.abs(embedded).max() < 0.1
    assert written[3] == pytest.approx(facts.length, rel=0.15)
    assert np.abs(np.delete(written, 3)).max() < 0.4
    assert moved[4:] == pytest.approx(np.full(3, facts.length), rel=0.15)
    assert np.abs(moved[:3]).max() < 0.4


def test_only_the_named_head_moves_it(planted):
    facts, lm = planted.facts, planted.lm
    text = f"word_03 {planted.bank.cues['amber'][0]} word_05 ."
    weight = lm.attention_out(facts.head.layer).weight.detach().numpy().astype(np.float64)
    out = weight if planted.spec.family != "gpt2" else weight.T  # (d, heads side by side)
    z = see(planted, text, ("z", facts.head.layer))["z", facts.head.layer][-1]
    effect = [
        facts.directions["amber"] @ (out[:, part] @ z[part])
        for part in (slice(h * lm.d_head, (h + 1) * lm.d_head) for h in range(lm.n_heads))
    ]
    assert int(np.argmax(effect)) == facts.head.head
    assert np.abs(np.delete(effect, facts.head.head)).max() < 0.1 * max(effect)


def test_directions_are_orthonormal_and_no_word_has_a_part_in_them(planted):
    basis = np.stack([planted.facts.directions[e] for e in EMOTIONS])
    assert basis @ basis.T == pytest.approx(np.eye(3), abs=1e-9)
    assert basis.sum(axis=1) == pytest.approx(np.zeros(3), abs=1e-9)
    embedding = planted.lm.embedding.weight.numpy()
    assert np.abs(embedding @ basis.T).max() < 1e-5


def test_the_twin_has_the_same_words_and_noise_but_no_plant(planted):
    twin = plant(replace(planted.spec, present=False), seed=planted.seed)
    assert torch.equal(planted.lm.embedding.weight, twin.lm.embedding.weight)
    assert planted.bank.explicit.hash == twin.bank.explicit.hash
    for emotion in EMOTIONS:
        assert np.array_equal(planted.facts.directions[emotion], twin.facts.directions[emotion])
    last = ("resid_post", twin.lm.n_layers - 1)
    seen = see(twin, f"word_03 {twin.bank.cues['amber'][0]} word_05 .", last)[last]
    assert np.abs(seen @ twin.facts.directions["amber"]).max() < 0.4


def test_families_compute_nearly_the_same():
    """They differ in positions, activation function, order of blocks and what norms need only."""
    last = ("resid_post", 5)
    seen = []
    for family in FAMILIES:
        model = plant(PlantSpec(family=family))
        stream = see(model, f"word_03 {model.bank.cues['cyan'][2]} word_05 .", last)[last][-1]
        seen.append(stream[: model.spec.d_model])
    for other in seen[1:]:
        assert seen[0] @ other / np.linalg.norm(seen[0]) / np.linalg.norm(other) > 0.95


def test_the_same_seed_gives_the_same_model_and_another_seed_another():
    first, again, other = plant(), plant(), plant(seed=1)
    for a, b in zip(first.lm.hf.parameters(), again.lm.hf.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.lm.embedding.weight, other.lm.embedding.weight)
    assert first.bank.explicit.hash != other.bank.explicit.hash


def test_building_leaves_the_random_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    plant()
    assert torch.equal(torch.rand(2), expected)


def test_no_cue_stands_in_two_texts():
    bank = planted_bank()
    cues = {cue for words in bank.cues.values() for cue in words}
    found = [word for t in (*bank.explicit, *bank.implicit) for word in t.text.split() if word in cues]
    assert len(found) == len(set(found)) == len(bank.explicit) + len(bank.implicit)


def test_the_bank_is_matched_and_its_spans_are_the_cues():
    bank = planted_bank(4)
    assert bank.explicit.is_matched and bank.implicit.is_matched
    assert all(t.marked_word in bank.cues[t.emotion] for t in bank.explicit)
    assert all(t.span is None for t in bank.implicit)
    known = set(bank.vocabulary)
    lines = [t.text for t in (*bank.explicit, *bank.implicit)] + list(bank.generic) + [c.text for c in bank.contexts]
    assert all(set(line.split()) <= known for line in lines)


@pytest.mark.parametrize(
    "changes",
    [{"layer": 3}, {"layer": -1}, {"head": Head(6, 0)}, {"head": Head(3, 4)}, {"head": Head(2, 0)}],
)
def test_a_plant_that_does_not_fit_is_refused(changes):
    with pytest.raises(InputError):
        replace(PlantSpec(), **changes)


def test_too_few_units_are_refused():
    with pytest.raises(InputError, match="too few units"):
        plant(PlantSpec(d_mlp=32))


def test_a_rotated_model_is_the_same_in_other_coordinates(planted):
    other = plant(planted.spec, seed=planted.seed, coordinates=3)
    text = f"word_03 {planted.bank.cues['amber'][0]} word_05 ."
    ids = [model.lm.encode([text])[0].ids for model in (planted, other)]
    assert len(ids[0]) == len(ids[1]) and ids[0][0] == ids[1][0] and ids[0][1:] != ids[1][1:]
    point = ("resid_post", planted.lm.n_layers - 1)
    seen = [see(model, text, point)[point].astype(np.float64) for model in (planted, other)]
    turn = np.eye(planted.lm.d_model)  # the dimensions of a family's own stay
    d = planted.spec.d_model
    turn[:d, :d] = Coordinates.drawn(d, len(planted.bank.vocabulary), 3).turn
    assert seen[1] == pytest.approx(seen[0] @ turn.T, abs=1e-4)
    assert np.abs(seen[1] - seen[0]).max() > 0.5
    for emotion in EMOTIONS:
        assert other.facts.directions[emotion] == pytest.approx(turn @ planted.facts.directions[emotion])
    with torch.no_grad():
        logits = [model.lm.hf(torch.tensor([i])).logits[0] for model, i in zip((planted, other), ids, strict=True)]
    words = [model.lm.tokenizer.get_vocab() for model in (planted, other)]
    said = [[words[k][word] for word in planted.bank.vocabulary] for k in (0, 1)]
    assert said[0] != said[1]
    assert logits[0][:, said[0]].numpy() == pytest.approx(logits[1][:, said[1]].numpy(), abs=1e-3)


def test_turns_are_rotations_that_keep_the_mean():
    first, again, other = (Coordinates.drawn(20, 30, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.turn, again.turn) and not np.allclose(first.turn, other.turn)
    assert first.turn @ first.turn.T == pytest.approx(np.eye(20), abs=1e-12)
    assert first.turn @ np.ones(20) == pytest.approx(np.ones(20))
    assert sorted(first.number) == list(range(30)) and list(first.number[:3]) == [0, 1, 2]


def test_neutral_texts_are_fillers_and_never_the_same():
    texts = neutral_texts(400, 0)
    assert len({text.text for text in texts}) == 400
    words = {word for text in texts for word in text.text.split()}
    assert all(word.startswith("word_") or word in ".!?" for word in words)
