from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from emotion_circuits.errors import InputError
from emotion_circuits.models import REFERENCE_NAMES, ModelName

part = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}[A-Za-z0-9]", fullmatch=True).filter(
    lambda text: "--" not in text and ".." not in text and not text.endswith((".git", ".gguf"))
)
hub_ids = (part | st.tuples(part, part).map("/".join)).filter(lambda text: not text.startswith("reference/"))
revisions = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,20}[A-Za-z0-9])?", fullmatch=True).filter(
    lambda text: not any(double in text for double in ("--", "..", "//"))
)
path_part = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="/?"), min_size=1, max_size=30)
paths = st.lists(path_part, min_size=1, max_size=3).map(lambda parts: "./" + "/".join(parts))
sources = st.sampled_from([*REFERENCE_NAMES, "smollm2-135m"]) | hub_ids | paths | paths.map("{}.gguf".format)
pinned = sources | st.tuples(hub_ids, revisions).map("@".join)
queries = st.just("") | st.integers(0, 999).map("?init=random&seed={}".format)
names = st.tuples(pinned, queries).map("".join)


@settings(max_examples=60)
@given(names)
def test_string_and_back(text: str) -> None:
    name = ModelName.parse(text)
    assert str(name) == text
    assert ModelName.parse(str(name)) == name


@pytest.mark.parametrize("text", ["./~0", "./~nobody-of-this-name/model", "~nobody-of-this-name/model.gguf"])
def test_a_tilde_that_names_nobody_is_part_of_the_path(text: str) -> None:
    assert ModelName.parse(text).path == Path(text.removeprefix("./"))


@settings(max_examples=60)
@given(names)
def test_slugs_are_file_names_everywhere(text: str) -> None:
    slug = ModelName.parse(text).slug
    assert not re.search(r'[/\\:*?"<>|&\s\x00-\x1f]', slug)
    assert not slug.startswith(".") and len(slug.encode()) <= 200


@settings(max_examples=60)
@given(names, names)
def test_different_models_have_different_slugs(first: str, second: str) -> None:
    one, two = ModelName.parse(first), ModelName.parse(second)
    if one.kind in ("folder", "gguf") and two.kind == one.kind:
        assume((one.path.resolve(), one.seed) != (two.path.resolve(), two.seed))
    assert (one.slug == two.slug) == (first == second)


@settings(max_examples=60)
@given(names, st.integers(0, 99))
def test_untrained_changes_only_the_seed(text: str, seed: int) -> None:
    name = ModelName.parse(text)
    twin = name.untrained(seed)
    assert twin.is_untrained and twin.seed == seed
    assert twin.trained == name.trained
    assert str(twin) == f"{name.trained}?init=random&seed={seed}"


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("gpt2", "gpt2"),
        ("EleutherAI/pythia-160m", "EleutherAI--pythia-160m"),
        ("EleutherAI/pythia-160m@step1000?init=random&seed=3", "EleutherAI--pythia-160m@step1000+init=random+seed=3"),
        ("reference/gpt-neox", "reference--gpt-neox"),
        ("smollm2-135m?init=random", "smollm2-135m+init=random+seed=0"),
    ],
)
def test_slugs_by_the_contract(text: str, slug: str) -> None:
    assert ModelName.parse(text).slug == slug


def test_folder_slug_has_base_name_and_hash(tmp_path: Path) -> None:
    folder = tmp_path / "my model"
    digits = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    assert ModelName.parse(str(folder)).slug == f"my_model-{digits}"
    assert ModelName.parse(f"{folder}/../my model?init=random&seed=1").slug == f"my_model-{digits}+init=random+seed=1"


def test_an_existing_relative_folder_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert ModelName.parse("models/mine").kind == "hub"
    (tmp_path / "models" / "mine").mkdir(parents=True)
    (tmp_path / "models" / "mine" / "config.json").write_text("{}")
    assert ModelName.parse("models/mine").kind == "folder"


@pytest.mark.parametrize(
    "text",
    ["", "a b", "a--b", "x/y/z", "-gpt2", "gpt2@", "gpt2@a b", "gpt2@a--b", "gpt2?seed=1", "gpt2?init=zero", "gpt2?",
     "gpt2?init=random&seed=-1", "reference/gpt3", "reference/gpt2@main", "smollm2-135m@main", "gpt2\n", "./a\0b", "é"],
)  # fmt: skip
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(InputError) as caught:
        ModelName.parse(text)
    assert len(str(caught.value).splitlines()) <= 4
