"""`import emotion_circuits as ec`: the verbs on values."""

from __future__ import annotations

import numpy as np
import pytest

import emotion_circuits as ec
from emotion_circuits.directions import load_activations, save_activations, save_generic
from emotion_circuits.interventions import side_by_side
from emotion_circuits.scoring import score_texts

PROMPT = "She opened the letter and said:"


@pytest.fixture(scope="module")
def lm():
    return ec.load("reference/gpt2")


@pytest.fixture(scope="module")
def acts(lm):
    some = set(ec.prompts.bank().profile("baseline").scenarios[:10])
    texts = tuple(t for t in ec.prompts.bank().profile("baseline") if t.scenario in some)
    return ec.record(lm, ec.prompts.Dataset("few", texts), positions=["mean"])


@pytest.fixture(scope="module")
def found(acts):
    return ec.directions(acts)


def test_the_design_s_five_lines(lm, found):
    v = found["gratitude"]
    clean = lm.generate(PROMPT, max_tokens=8)
    with lm.steer(v, dose=1.0):
        steered = lm.generate(PROMPT, max_tokens=8)
    assert clean and steered != clean
    assert lm.generate(PROMPT, max_tokens=8) == clean


def test_steering_is_that_of_the_command(lm, found):
    with lm.steer(found["anger"], dose=0.7):
        mine = lm.generate([PROMPT], max_tokens=8)
    [row] = side_by_side(lm, found, "anger", [PROMPT], dose=0.7, max_tokens=8)
    assert mine == [row.steered.text]
    assert lm.generic.norm == pytest.approx(found.generic.norm)


def test_nested_blocks_add_up_and_end_in_any_order(lm, found):
    v = found["anger"]
    with lm.steer(v, dose=1.4):
        both = lm.generate(PROMPT, max_tokens=8)
    with lm.steer(v, dose=0.7), lm.steer(v, dose=0.7):
        assert lm.generate(PROMPT, max_tokens=8) == both
    first, second = lm.steer(v, dose=0.7), lm.steer(v, dose=-3)
    first.__enter__(), second.__enter__()
    first.__exit__(None, None, None)
    assert lm.steered
    second.__exit__(None, None, None)
    assert not lm.steered
    with lm.steer(v, dose=1.0), lm.steer(-v, dose=1.0):
        assert lm.generate(PROMPT, max_tokens=8) == lm.generate(PROMPT, max_tokens=8)


def test_an_exception_ends_the_steering(lm, found):
    with pytest.raises(KeyError), lm.steer(found["anger"], dose=1.0):
        raise KeyError
    assert not lm.steered


def test_alpha_and_dose_are_one_scale(lm, found):
    v = found["gratitude"]
    dose = 3 * v.norm / float(lm.generic.unit[v.provenance.layer + 1])
    texts = []
    for options in ({"alpha": 3.0}, {"dose": dose}):
        with lm.steer(v, **options):
            [vectors] = lm._added.values()
            texts.append((vectors[0], lm.generate(PROMPT, max_tokens=6)))
    np.testing.assert_allclose(texts[0][0], texts[1][0], rtol=1e-6)
    assert texts[0][1] == texts[1][1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dose": float("nan")}, "finite"),
        ({}, "either"),
        ({"dose": 1, "alpha": 1}, "either"),
        ({"dose": 1, "layer": 8}, "no layer 8"),
    ],
)
def test_what_cannot_be_added(lm, found, options, said):
    with pytest.raises(ec.InputError, match=said), lm.steer(found["anger"], **options):
        pass
    assert not lm.steered


def test_a_direction_of_another_model_is_refused(lm, found):
    v = found["anger"]
    other = type(v)(v.unit, v.norm, v.provenance.model_copy(update={"revision": "another"}))
    with pytest.raises(ec.InputError, match="another model"), lm.steer(other, dose=1):
        pass
    with pytest.raises(ec.InputError, match="another model"):
        ec.sweep(lm, other)


def test_what_does_not_take_part_in_steering_says_so(lm, found):
    with lm.steer(found["anger"], dose=1):
        for verb in (
            lambda: ec.record(lm, ["a text"]),
            lambda: ec.score(lm, found, ["a text"]),
            lambda: ec.sweep(lm, found),
        ):
            with pytest.raises(ec.InputError, match="does not take part"):
                verb()


def test_plain_texts_are_recorded_without_classes(lm):
    found = ec.record(lm, ["The train was late.", "It rained."])
    assert set(found.values) == {"sentence_end", "last_content", "mean"}
    assert found.values["mean"].shape == (lm.n_layers + 1, 2, lm.d_model)
    assert found.generic is None
    with pytest.raises(ec.InputError, match="generic"):
        ec.directions(found)
    with pytest.raises(ec.InputError):
        ec.directions(found, generic=lm.generic)
    with pytest.raises(ec.InputError, match="emotion_token"):
        ec.record(lm, ["It rained."], positions=["emotion-token"])
    with pytest.raises(ec.InputError, match="no texts"):
        ec.record(lm, [])
    for verb in (ec.record, lambda model, text: ec.score(model, {}, text)):
        with pytest.raises(TypeError, match="list"):
            verb(lm, "one text")


def test_extract_is_record_and_files_bring_generic_text_along(lm, acts, found, tmp_path):
    assert ec.extract is ec.record
    save_activations(acts, tmp_path)
    save_generic(acts.generic, tmp_path)
    again = ec.directions(load_activations(tmp_path))
    assert dict(again.chosen_layer) == dict(found.chosen_layer)
    # Texts are read back by class, so sums run in another order.
    assert again["anger"].cosine(found["anger"]) == pytest.approx(1, abs=1e-6)


def test_scores_are_those_of_the_library(lm, found):
    assert ec.score(lm, found, ["Thank you."]) == score_texts(lm, found, ["Thank you."])


def test_a_sweep_of_one_direction_is_that_direction_s_part_of_the_whole(lm, found):
    v = found["anger"]
    options = {"doses": [-0.2, 0.2], "prompts": ["The train was", "The hall was"]}
    one = ec.sweep(lm, v, **options)
    layer = v.provenance.layer
    assert one.layout[:3] == ((layer,), (-0.2, 0.2), ("anger",))
    whole = ec.sweep(lm, found, layers=[layer], emotions=["anger"], **options)
    np.testing.assert_allclose(one.log_odds, whole.log_odds, atol=1e-5)
    with pytest.raises(ec.InputError, match="either"):
        ec.sweep(lm, found, doses=[1], alphas=[1])
    with pytest.raises(ec.InputError, match="one emotion"):
        ec.sweep(lm, v + found["gratitude"] if layer == found.chosen_layer["gratitude"] else _mixed(v))


def _mixed(v):
    return type(v)(v.unit, v.norm, v.provenance.model_copy(update={"emotion": "anger + gratitude"}))


def test_a_list_of_prompts_gives_a_list(lm):
    both = ec.generate(lm, [PROMPT, "It rained, and"], max_tokens=5)
    assert both == lm.generate([PROMPT, "It rained, and"], max_tokens=5)
    assert both[0] == lm.generate(PROMPT, max_tokens=5)
