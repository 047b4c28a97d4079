from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emotion_circuits.errors import InputError
from emotion_circuits.models import REFERENCE_NAMES, ModelName, get, is_available

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
    if name.kind in ("folder", "gguf"):  # what the path names, from wherever it is named
        text = str(Path.cwd().resolve() / text)
    assert str(name) == text
    assert ModelName.parse(str(name)) == name


def test_a_folder_has_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "models")
    monkeypatch.setenv("HOME", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path / "link")
    texts = (
        "./tiny",
        "./tiny/",
        "tiny",
        "tiny/",
        "../models/tiny",
        "~/tiny",
        str(folder),
        str(tmp_path / "link" / "tiny"),
    )
    assert {ModelName.parse(text) for text in texts} == {ModelName(str(folder.resolve()), "folder")}
    monkeypatch.chdir(folder)
    assert ModelName.parse(".").source == str(folder.resolve())


def test_a_file_keeps_its_own_name_under_a_link(tmp_path: Path) -> None:
    """As in the hub's cache, whose files are links to ones that are named by their hash."""
    (tmp_path / "0123abcd").write_text("")
    (tmp_path / "tiny.gguf").symlink_to(tmp_path / "0123abcd")
    name = ModelName.parse(str(tmp_path / "tiny.gguf"))
    assert ModelName.parse(str(name)) == name and name.slug.startswith("tiny.gguf-")


def test_links_in_a_circle_are_a_name_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert not is_available(str(tmp_path / "a"))


def test_advice_about_a_folder_without_config_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named plainly it may be a hub id: the hub is out of reach, and the folder beside it is what was meant."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run" / "checkpoint-9").mkdir(parents=True)
    (tmp_path / "run" / "checkpoint-9" / "config.json").write_text("{}")
    for text in ("run", "run/", "./run"):
        with pytest.raises(InputError) as caught:
            get(text)
        advised = str(caught.value).rpartition(": ")[2]
        assert ModelName.parse(advised).path == (tmp_path / "run" / "checkpoint-9").resolve()


@pytest.mark.parametrize("text", ["./~0", "./~nobody-of-this-name/model", "~nobody-of-this-name/model.gguf"])
def test_a_tilde_that_names_nobody_is_part_of_the_path(text: str) -> None:
    assert ModelName.parse(text).path == Path.cwd().resolve() / text


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
    assert (one.slug == two.slug) == (one == two)


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
