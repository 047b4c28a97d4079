"""Control vector files: what is in them bit by bit, seen without our reader, and what is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import SOURCE, plain_generic, planted

from emotion_circuits.directions import (
    DirectionSet,
    GenericStatistics,
    export_gguf,
    fit_directions,
    load_gguf_control_vector,
    to_repeng,
)
from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.models import family_of_model


def drawn(n_layers: int, d: int, seed: int = 0) -> DirectionSet:
    """Random directions of two kinds, far from unit length, in a stream that grows."""
    rng = np.random.default_rng(seed)
    rows = n_layers + 1
    norm = np.linspace(0.5, 90, rows).astype(np.float32)
    generic = GenericStatistics(np.zeros((rows, d), np.float32), norm, (), (), 9)
    vectors = {
        kind: {e: (7 * rng.standard_normal((rows, d))).astype(np.float32) for e in ("gratitude", "anger")}
        for kind in ("specific", "matched")
    }
    return DirectionSet(SOURCE, "mean", "hash", vectors, generic, {"anger": 1}, 0.5)


def parsed(content: bytes):
    """(version, fields, tensors) of a GGUF file, by the format's description: little-endian, aligned to 32 bytes."""
    at = 0

    def take(form):
        nonlocal at
        found = struct.unpack_from("<" + form, content, at)
        at += struct.calcsize("<" + form)
        return found if len(found) > 1 else found[0]

    def text():
        return take(f"{take('Q')}s").decode()

    magic, version, n_tensors, n_fields = take("4sIQQ")
    assert magic == b"GGUF"
    fields, places = {}, {}
    for _ in range(n_fields):
        key, form = text(), take("I")
        fields[key] = text() if form == 8 else take({4: "I", 5: "i"}[form])
    for _ in range(n_tensors):
        name, dimensions = text(), take("I")
        size = take("Q" * dimensions)
        places[name] = (dimensions, size, *take("IQ"))
    start = -(-at // 32) * 32
    tensors = {}
    for name, (dimensions, size, form, offset) in places.items():
        assert (dimensions, form) == (1, 0)  # one-dimensional, GGML_TYPE_F32
        assert offset % 32 == 0
        tensors[name] = content[start + offset : start + offset + 4 * size]
        assert len(tensors[name]) == 4 * size
    return version, fields, tensors


@settings(max_examples=25, deadline=None)
@given(
    st.integers(2, 6),
    st.integers(1, 40),
    st.floats(-4, 4).filter(lambda dose: abs(dose) > 1e-3),
    st.sampled_from(["specific", "matched"]),
    st.data(),
)
def test_every_reader_finds_the_same_bits(tmp_path_factory, n_layers, d, dose, kind, data):
    directions = drawn(n_layers, d, seed=d)
    layers = data.draw(st.none() | st.sets(st.integers(0, n_layers - 1), min_size=1))
    path = tmp_path_factory.mktemp("vectors") / "v.gguf"
    if layers == {0}:
        with pytest.raises(InputError, match="no slot for layer 0"):
            export_gguf(directions, "anger", path, layers=[0], model_hint="llama")
        assert not path.exists()
        return
    asked = None if layers is None else list(layers)
    done = export_gguf(directions, "anger", path, dose=dose, kind=kind, layers=asked, model_hint="llama")
    chosen = set(range(n_layers)) if layers is None else layers
    assert done.left_out == ((0,) if 0 in chosen else ())
    expected = {}
    for layer in sorted(chosen - {0}):
        raw = directions.vectors[kind]["anger"][layer + 1].astype(np.float64)
        length = dose * float(directions.generic.unit[layer + 1])
        expected[layer] = length * raw / np.linalg.norm(raw)
        assert done.lengths[layer] == pytest.approx(abs(length), rel=1e-6)

    version, fields, tensors = parsed(path.read_bytes())
    assert version == 3
    assert fields["general.architecture"] == "controlvector"
    assert fields["controlvector.model_hint"] == "llama"
    assert fields["controlvector.layer_count"] == len(expected)
    assert list(tensors) == [f"direction.{layer}" for layer in expected]
    by_package = {t.name: np.array(t.data).tobytes() for t in GGUFReader(path).tensors}
    ours = load_gguf_control_vector(path)
    assert ours.model_hint == "llama"
    assert list(ours.directions) == list(expected) == list(done.lengths)
    for layer, vector in expected.items():
        bits = tensors[f"direction.{layer}"]
        np.testing.assert_allclose(np.frombuffer(bits, "<f4"), vector, rtol=1e-6, atol=1e-12)
        assert by_package[f"direction.{layer}"] == bits == ours.directions[layer].tobytes()


def test_repeng_gets_layer_0_too_and_the_same_vectors(tmp_path):
    directions = drawn(4, 6)
    found = to_repeng(directions, "gratitude", dose=0.3)
    assert list(found) == [0, 1, 2, 3]
    assert all(v.dtype == np.float32 and v.shape == (6,) for v in found.values())
    export_gguf(directions, "gratitude", tmp_path / "v.gguf", dose=0.3, model_hint="gpt2")
    written = load_gguf_control_vector(tmp_path / "v.gguf").directions
    assert list(written) == [1, 2, 3]
    for layer, vector in written.items():
        np.testing.assert_array_equal(vector, found[layer])
    half = to_repeng(directions, "gratitude", dose=0.15, layers=[2, 1, 2])
    assert list(half) == [1, 2]
    np.testing.assert_allclose(2 * half[1], found[1], rtol=1e-6)


@pytest.mark.parametrize("centred", [True, False])
def test_what_a_layer_norm_cannot_see_is_not_exported(tmp_path, centred):
    made = planted(d=12)
    source = SOURCE.model_copy(update={"centred_norm": centred})
    fitted = fit_directions(type(made)(source, made.data, made.values, made.match_rate), "mean", plain_generic())
    export_gguf(fitted, "gratitude", tmp_path / "v.gguf", dose=1, model_hint="x")
    sums = [abs(float(v.sum())) for v in load_gguf_control_vector(tmp_path / "v.gguf").directions.values()]
    assert (max(sums) < 1e-4) is centred


def test_the_same_directions_give_the_same_file(tmp_path):
    for name in ("a", "b"):
        export_gguf(drawn(3, 5), "anger", tmp_path / name, model_hint="llama")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("model", "hint"),
    [("gpt2", "gpt2"), ("gpt-neox", "gptneox"), ("gpt-neo", "gpt_neo"), ("gpt2?init=random&seed=3", "gpt2")],
)
def test_the_hint_is_llama_cpp_s_name_of_the_architecture(tmp_path, model, hint):
    name = f"reference/{model}"
    directions = drawn(3, 5)
    source = SOURCE.model_copy(update={"model": name})
    named = DirectionSet(source, "mean", "h", directions.vectors, directions.generic, {}, 0.5)
    assert export_gguf(named, "anger", tmp_path / "v.gguf").model_hint == hint
    assert load_gguf_control_vector(tmp_path / "v.gguf").model_hint == hint
    family = family_of_model(name)
    assert (family.gguf or family.name) == hint


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"emotion": "joy"}, "joy"),
        ({"layers": [3]}, "no layer 3"),
        ({"layers": [-1, 1]}, "embed"),
        ({"layers": []}, "No layers"),
        ({"layers": [0]}, "no slot for layer 0"),
        ({"kind": "lda"}, "lda"),
        ({"dose": 0}, "no vector"),
        ({"dose": float("nan")}, "no vector"),
        ({"dose": 1e300}, "too large"),
        ({"model_hint": None}, "model hint"),
        ({"path": "file/v.gguf"}, "Cannot write"),
    ],
)
def test_what_export_refuses(tmp_path, settings, said):
    (tmp_path / "file").write_text("in the way")
    asked = {"emotion": "anger", "path": "v.gguf", "model_hint": "llama", **settings}
    path = tmp_path / asked.pop("path")
    with pytest.raises(InputError, match=said):
        export_gguf(drawn(3, 5), asked.pop("emotion"), path, **asked)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_direction_of_length_0_is_no_control_vector(tmp_path):
    directions = drawn(3, 5)
    directions.vectors["specific"]["anger"][2] = 0
    with pytest.raises(MeasurementError, match="layer 1"):
        export_gguf(directions, "anger", tmp_path / "v.gguf", model_hint="llama")
    assert not (tmp_path / "v.gguf").exists()


def written_elsewhere(path, tensors, architecture="controlvector", hint="mistral"):
    writer = GGUFWriter(path, architecture)
    if hint is not None:
        writer.add_string("controlvector.model_hint", hint)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_files_of_others_are_read(tmp_path):
    """In any order, with block 0 as repeng writes it, without a count, and with or without a hint."""
    rng = np.random.default_rng(0)
    vectors = {layer: rng.standard_normal(8).astype(np.float32) for layer in (11, 0, 2)}
    named = {f"direction.{layer}": v for layer, v in vectors.items()}
    found = load_gguf_control_vector(written_elsewhere(tmp_path / "v.gguf", named))
    assert (found.model_hint, list(found.directions)) == ("mistral", [0, 2, 11])
    for layer, vector in vectors.items():
        np.testing.assert_array_equal(found.directions[layer], vector)
    assert found.directions[0].flags.writeable and found.directions[0].base is None
    assert load_gguf_control_vector(written_elsewhere(tmp_path / "w.gguf", named, hint=None)).model_hint == ""


ONES = np.ones(4, np.float32)


@pytest.mark.parametrize(
    ("tensors", "settings", "said"),
    [
        ({"direction.1": ONES}, {"architecture": "llama"}, "no control vector"),
        ({"direction.one": ONES}, {}, "no direction"),
        ({"direction.-1": ONES}, {}, "no direction"),
        ({"blk.1.weight": ONES}, {}, "no direction"),
        ({"direction.1": ONES.astype(np.float16)}, {}, "F16"),
        ({"direction.1": np.ones((2, 4), np.float32)}, {}, r"\(2, 4\)"),
        ({"direction.1": ONES, "direction.2": np.ones(5, np.float32)}, {}, "4, 5"),
        ({"direction.1": ONES * np.nan}, {}, "NaN"),
        ({}, {}, "none"),
    ],
)
def test_what_is_no_control_vector(tmp_path, tensors, settings, said):
    path = written_elsewhere(tmp_path / "v.gguf", tensors, **settings)
    with pytest.raises(InputError, match=said):
        load_gguf_control_vector(path)


def test_missing_cut_and_foreign_files(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_gguf_control_vector(tmp_path / "v.gguf")
    whole = written_elsewhere(tmp_path / "v.gguf", {f"direction.{k}": np.ones(64, np.float32) for k in (1, 2)})
    content = whole.read_bytes()
    for kept in (b"", b"not a GGUF file at all, but long enough", content[:40], content[:-100]):
        whole.write_bytes(kept)
        with pytest.raises(InputError, match=r"v\.gguf"):
            load_gguf_control_vector(whole)
