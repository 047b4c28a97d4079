"""What is saved comes back, and what was spoilt is refused with a reason."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from planted import plain_generic, planted, reordered
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from emotion_circuits.directions import (
    Activations,
    fit_directions,
    load_activations,
    load_directions,
    save_activations,
    save_directions,
    save_generic,
)
from emotion_circuits.errors import InputError
from emotion_circuits.prompts import Dataset, Text, bank

CLASSES = bank().names
EMOTIONS = bank().emotions


def rewrite(path, change):
    """Write a file again after `change(tensors, header)`."""
    with safe_open(path, framework="numpy") as file:
        header = dict(file.metadata())
    tensors = load_file(path)
    change(tensors, header)
    save_file(tensors, path, metadata=header)


# Activations


def awkward():
    """Texts with quotes, new lines and other scripts; NaN; a span or none; arrays in every memory layout."""
    made = planted(4)
    texts = [
        Text('"Danke" 🥹\n\\ ありがとう', t.emotion, f"szene {t.scenario} é", t.split, (0, 3) if i % 2 else None)
        for i, t in enumerate(made.data)
    ]
    values = made.values["mean"].copy()
    values[:, 3] = np.nan
    layouts = {
        "mean": np.asfortranarray(values),
        "sentence_end": values[:, :, ::-1],
        "last_content": np.repeat(values, 2, axis=2)[:, :, ::2],
        "emotion_token": np.ascontiguousarray(values.transpose(2, 0, 1)).transpose(1, 2, 0),
    }
    assert not any(a.flags.c_contiguous for a in layouts.values())
    rates = {"neutral": 1.0, "gratitude": 0.9, "anger": None, "apology": 0.8}
    return Activations(made.source, Dataset("bank é", tuple(texts)), layouts, rates)


def test_activations_come_back_bit_for_bit(tmp_path):
    made = awkward()
    paths = save_activations(made, tmp_path)
    assert [p.name for p in paths] == [f"activations_{c}.safetensors" for c in CLASSES]
    found = load_activations(tmp_path)
    assert found.source == made.source and found.data.name == made.data.name and found.match_rate == made.match_rate
    order = [made.data.texts.index(t) for t in found.data]
    assert sorted(order) == list(range(len(made.data)))
    for position, values in made.values.items():
        assert found.values[position].dtype == np.float32
        np.testing.assert_array_equal(found.values[position], values[:, order])


def test_directions_of_loaded_activations_are_those_of_the_ones_saved(tmp_path):
    """The files are ordered by class; what was made from other orders is the same."""
    made = planted()
    save_activations(made, tmp_path)
    again = load_activations(tmp_path)
    here, there = (fit_directions(a, "mean", plain_generic()) for a in (made, again))
    shuffled = reordered(made, np.random.default_rng(0).permutation(len(made.data)))
    for other in (there, fit_directions(shuffled, "mean", plain_generic())):
        for kind, found in here.vectors.items():
            for emotion in EMOTIONS:
                np.testing.assert_allclose(other.vectors[kind][emotion], found[emotion], atol=1e-4)


def test_saving_twice_gives_the_same_bytes(tmp_path):
    made = awkward()
    first = [p.read_bytes() for p in save_activations(made, tmp_path / "a")]
    assert first == [p.read_bytes() for p in save_activations(made, tmp_path / "b")]
    directions = fit_directions(planted(), "mean", plain_generic())
    for name in "ab":
        save_directions(directions, tmp_path / name / "d.safetensors")
    assert (tmp_path / "a/d.safetensors").read_bytes() == (tmp_path / "b/d.safetensors").read_bytes()


def test_a_folder_without_activations(tmp_path):
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputError, match="No activations here") as caught:
            load_activations(folder)
        assert "extract" in str(caught.value)


def drop(key):
    return lambda tensors, header: header.pop(key)


def put(key, value):
    return lambda tensors, header: header.update({key: value})


def short(tensors, header):
    tensors["mean"] = tensors["mean"][:, :-1].copy()


ACTIVATION_DAMAGE = {
    "older schema": (put("schema", "activations-0"), "another version"),
    "no schema": (drop("schema"), "another version"),
    "directions' schema": (put("schema", "directions-1"), "another version"),
    "no data": (drop("data"), "lacks"),
    "no source": (drop("source"), "lacks"),
    "no match rate": (drop("match_rate"), "lacks"),
    "data is no JSON": (put("data", "{"), "lacks"),
    "data is a list": (put("data", "[]"), "lacks"),
    "a text without its scenario": (put("data", json.dumps({"name": "x", "texts": [{"text": "a"}]})), "lacks"),
    "source of another shape": (put("source", json.dumps({"model": "m"})), "lacks"),
    "fewer values than texts": (short, "lacks"),
    "no tensors": (lambda tensors, header: tensors.clear(), "lacks"),
}


@pytest.mark.parametrize("damage", ACTIVATION_DAMAGE)
def test_damaged_activations_are_refused(tmp_path, damage):
    change, said = ACTIVATION_DAMAGE[damage]
    save_activations(planted(), tmp_path)
    rewrite(tmp_path / "activations_anger.safetensors", change)
    with pytest.raises(InputError, match=said) as caught:
        load_activations(tmp_path)
    assert "activations_anger" in str(caught.value) and len(str(caught.value).splitlines()) <= 4


@pytest.mark.parametrize("cut", [0, 7, 60, -3])
def test_a_file_that_was_cut_short_is_refused(tmp_path, cut):
    save_activations(planted(), tmp_path)
    path = tmp_path / "activations_anger.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_activations(tmp_path)


@pytest.mark.parametrize("what", ["model", "bos", "data", "texts", "position"])
def test_classes_of_different_runs_do_not_mix(tmp_path, what):
    """A file left over from another model, setting, data set or list of positions."""
    made = planted()
    save_activations(made, tmp_path)
    other = {
        "model": replace(made, source=made.source.model_copy(update={"model": "n"})),
        "bos": replace(made, source=made.source.model_copy(update={"bos": False})),
        "data": replace(made, data=Dataset("other", made.data.texts)),
        "texts": replace(
            made, data=Dataset(made.data.name, (replace(made.data.texts[0], text="x"), *made.data.texts[1:]))
        ),
        "position": replace(made, values={"mean": made.values["mean"], "sentence_end": made.values["mean"]}),
    }[what]
    save_activations(other.select(emotion="gratitude"), tmp_path)
    with pytest.raises(InputError, match="another model or run"):
        load_activations(tmp_path)


# Directions


def test_directions_come_back_bit_for_bit(tmp_path):
    made = fit_directions(planted(), "mean", plain_generic(), share=0.3).with_layers({"anger": 1, "gratitude": 2})
    vectors = {
        kind: {emotion: np.asfortranarray(v) for emotion, v in found.items()} for kind, found in made.vectors.items()
    }
    made = replace(made, vectors=vectors)
    path = tmp_path / "emotion_vectors" / "m_mean.safetensors"
    save_directions(made, path)
    found = load_directions(path)
    for name in ("source", "position", "data_hash", "cleaned", "n_layers"):
        assert getattr(found, name) == getattr(made, name)
    assert dict(found.chosen_layer) == {"anger": 1, "gratitude": 2}
    assert set(found.vectors) == set(made.vectors) and set(found.emotions) == set(made.emotions)
    for kind, of_kind in made.vectors.items():
        for emotion, v in of_kind.items():
            assert found.vectors[kind][emotion].dtype == np.float32
            np.testing.assert_array_equal(found.vectors[kind][emotion], v)
    for a, b in zip(
        found.generic.components + found.generic.shares, made.generic.components + made.generic.shares, strict=True
    ):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(found.generic.mean, made.generic.mean)
    np.testing.assert_array_equal(found.generic.norm, made.generic.norm)
    assert found.generic.n_texts == made.generic.n_texts
    here, there = made.direction("anger"), found.direction("anger")
    assert here.provenance == there.provenance and np.array_equal(here.unit, there.unit)


DIRECTION_DAMAGE = {
    "older schema": (put("schema", "directions-0"), "another version"),
    "activations' schema": (put("schema", "activations-1"), "another version"),
    "no source": (drop("source"), "lacks"),
    "no position": (drop("position"), "lacks"),
    "no layers": (drop("chosen_layer"), "lacks"),
    "layers are no JSON": (put("chosen_layer", "{"), "lacks"),
    "layers are a list": (put("chosen_layer", "[1]"), "lacks"),
    "layers are names": (put("chosen_layer", '{"anger": "top"}'), "lacks"),
    "layers are null": (put("chosen_layer", '{"anger": null}'), "lacks"),
    "share is no number": (put("cleaned", "half"), "lacks"),
    "count is no number": (put("n_generic", ""), "lacks"),
    "no mean": (lambda tensors, header: tensors.pop("generic.mean"), "lacks"),
    "no components": (lambda tensors, header: tensors.pop("generic.components"), "lacks"),
    "a tensor of no kind": (lambda tensors, header: tensors.update(stray=np.zeros(2, np.float32)), "lacks"),
    "no vectors": (lambda tensors, header: [tensors.pop(k) for k in list(tensors) if k[:7] != "generic"], "lacks"),
}


@pytest.mark.parametrize("damage", DIRECTION_DAMAGE)
def test_damaged_directions_are_refused(tmp_path, damage):
    change, said = DIRECTION_DAMAGE[damage]
    path = tmp_path / "d.safetensors"
    save_directions(fit_directions(planted(), "mean", plain_generic()), path)
    rewrite(path, change)
    with pytest.raises(InputError, match=said):
        load_directions(path)


def test_directions_that_are_not_there_or_are_something_else(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        load_directions(tmp_path / "none.safetensors")
    (tmp_path / "x.safetensors").write_text("not a tensor")
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_directions(tmp_path / "x.safetensors")


def test_generic_statistics_of_another_model_are_refused(tmp_path):
    """As an `extract` that was stopped halfway leaves them: new classes beside an old `generic.safetensors`."""
    made = planted()
    save_activations(made, tmp_path)
    for source, fits in ((made.source, True), (made.source.model_copy(update={"revision": "s"}), False)):
        save_generic(replace(plain_generic(), source=source), tmp_path)
        if fits:
            assert load_activations(tmp_path).generic.source == source
        else:
            with pytest.raises(InputError, match="another model or run"):
                load_activations(tmp_path)


def test_the_hash_of_a_set_follows_every_number():
    made = fit_directions(planted(), "mean", plain_generic())
    vectors = {kind: {e: v.copy() for e, v in found.items()} for kind, found in made.vectors.items()}
    vectors["specific"]["anger"][1, 2] += 1e-3
    others = [
        replace(made, vectors=vectors),
        replace(made, chosen_layer={"anger": 1}),
        replace(made, generic=replace(made.generic, norm=made.generic.norm * 2)),
        replace(made, source=made.source.model_copy(update={"bos": False})),
    ]
    assert made.hash == replace(made).hash
    assert len({made.hash, *(other.hash for other in others)}) == 5
