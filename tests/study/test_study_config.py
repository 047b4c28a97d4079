"""The study's YAML: what is accepted, and what a mistake is answered with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    assert read_study(write(tmp_path / "s.yaml", "components: {random_sizes: [0.5, 0.2]}")).components.draws == 199


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Cannot read"):
        read_study(tmp_path / "none.yaml")


def test_full_lifts_what_the_user_left_at_its_default(tmp_path: Path) -> None:
    path = write(
        tmp_path / "s.yaml",
        "untrained_seeds: [7]\nsteering: {doses: [-0.3, 0.3]}\ninterchange: {donors: 4}\nmethods: null\n"
        "components: {draws: 5}\nsharing: {draws: 150}\n",
    )
    given = read_study(path)
    for study in (given.lifted(), study_from_mapping(given.model_dump(exclude_unset=True)).lifted()):
        assert (study.untrained_seeds, study.steering.doses, study.methods) == ((7,), (-0.3, 0.3), None)
        assert (study.interchange.donors, study.components.draws, study.sharing.draws) == (4, 5, 150)
        assert len(study.interchange.places) == 6 and study.steering.covariance_controls == 2000
    assert Study().lifted().methods is not None and len(Study().lifted().untrained_seeds) == 5


def test_one_value_is_a_list_of_one(tmp_path: Path) -> None:
    study = read_study(
        write(tmp_path / "s.yaml", "models: reference/gpt2\nuntrained_seeds: 3\ninterchange: {places: word}\n")
    )
    assert (study.models, study.untrained_seeds, study.interchange.places) == (("reference/gpt2",), (3,), ("word",))


@pytest.mark.parametrize(
    "doses", ["[]", "[0.1]", "[0, 0.1, -0.1]", "[.nan, -.nan]", "[.inf, -.inf]", "[1e9, -1e9]", "[0.1, 0.1, -0.1]"]
)
def test_doses_that_no_stage_could_use_are_refused_at_once(tmp_path: Path, doses: str) -> None:
    with pytest.raises(InputError, match=r"steering\.doses") as error:
        read_study(write(tmp_path / "s.yaml", f"steering: {{doses: {doses}}}\n"))
    assert len(str(error.value).splitlines()) <= 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\nmodels: [gpt2]\nseed: 2\n", "seed, line 1 and line 3"),
        ("steering:\n  depths: 1\n  depths: 2\n", "depths, line 2 and line 3"),
        ("models: " + "[\n" * 2_000, "nested too deeply"),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in
                                                  zip("abcdefgh", "bcdefghi", strict=True)), "too large"),
        ("models: &m [*m]\n", "contains itself"),
        ("seed: " + "9" * 5000, "not YAML"),
        ('models: ["\\ud800"]', "not YAML"),
        ("results: \"a\\0b\"", "results"),
        ("seed: 99999999999999999999", "seed"),
        ("effects: {circuit: .nan}", "effects"),
        ("steering: {position: nowhere}", "position"),
        ("untrained_seeds: []", "untrained_seeds"),
        ("sharing: {untrained_seeds: [0, -1]}", "untrained_seeds"),
        ("methods: {doses: [0.1, 1.0]}", "methods"),
        ("components: {draws: 100000000000}", "draws"),
    ],
    ids=lambda value: value[:24],
)  # fmt: skip
def test_what_yaml_lets_pass_is_refused_before_work_begins(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        read_study(write(tmp_path / "s.yaml", text))
    assert len(str(error.value).splitlines()) <= 4 and len(str(error.value)) < 1500


_KEYS = st.sampled_from(
    [*Study.model_fields, *Study().steering.model_fields_set, "doses", "draws", "", "1", "results.x"]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS | st.integers() | st.none(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(_KEYS, _VALUES, max_size=5) | _VALUES)
def test_any_yaml_is_a_study_or_a_clear_refusal(tmp_path: Path, values: Any) -> None:
    path = write(tmp_path / "s.yaml", yaml.safe_dump(values, allow_unicode=True))
    try:
        assert isinstance(read_study(path), Study)
    except InputError as error:
        assert len(str(error).splitlines()) <= 4
