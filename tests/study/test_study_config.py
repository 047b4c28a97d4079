"""The study's YAML: what is accepted, and what a mistake is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest

from emotion_circuits.errors import InputError
from emotion_circuits.study import Study, read_study, study_from_mapping


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_default_is_the_baseline_study_of_the_reference_models() -> None:
    study = Study()
    assert study.models == ("reference/gpt2", "reference/gpt-neox", "reference/gpt-neo")
    assert study.folder == Path("results/baseline")


def test_yaml_round_trip(tmp_path: Path) -> None:
    path = write(tmp_path / "s.yaml", "models: [gpt2]\nprofile: extended\nsteering: {doses: [-0.2, 0.2]}\n")
    study = read_study(path)
    assert study.models == ("gpt2",)
    assert study.profile == "extended"
    assert study.steering.doses == (-0.2, 0.2)
    assert study_from_mapping(study.model_dump()) == study


def test_an_empty_file_is_the_default_study(tmp_path: Path) -> None:
    assert read_study(write(tmp_path / "s.yaml", "")) == Study()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modles: [gpt2]", "models"),
        ("steering: {dosses: [1]}", "doses"),
        ("effects: {stearing: 1}", "steering"),
    ],
)
def test_a_misspelt_key_is_named_with_its_neighbour(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        read_study(write(tmp_path / "s.yaml", text))
    lines = str(error.value).splitlines()
    assert len(lines) <= 4
    assert f"did you mean {said}?" in lines[-1]


@pytest.mark.parametrize(
    "text", ["models: []", "models: [gpt2, gpt2]", "profile: huge", "threads: 0", "seed: -1", "[1, 2]", "a: [", "\x00"]
)
def test_unusable_studies_are_refused_in_four_lines(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError) as error:
        read_study(write(tmp_path / "s.yaml", text))
    assert len(str(error.value).splitlines()) <= 4


@pytest.mark.parametrize("sizes", ["[0.3]", "[0.2, 0.2]", "[1.0]", "[0.2, 1.0]", "[]", "[-0.1]", "[.nan]"])
def test_random_circuits_have_different_sizes_of_the_curve_below_the_whole_model(tmp_path: Path, sizes: str) -> None:
    """Or the study fails after minutes, or CPR is that of the whole model."""
    with pytest.raises(InputError, match=r"components\.random_sizes") as error:
        read_study(write(tmp_path / "s.yaml", f"components: {{random_sizes: {sizes}}}\n"))
    assert len(str(error.value).splitlines()) <= 4
    assert read_study(write(tmp_path / "s.yaml", "components: {random_sizes: [0.5, 0.2]}")).components.draws == 19


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Cannot read"):
        read_study(tmp_path / "none.yaml")
