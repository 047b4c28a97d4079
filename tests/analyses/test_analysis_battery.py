"""What every analysis does by being registered: flags, a command, a stage, kept results, claims by the schema."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from emotion_circuits._files import read_json, read_table
from emotion_circuits.analyses import BUILT_IN, Analysis, AnalysisPlan
from emotion_circuits.cli import main
from emotion_circuits.cli._analyses import BUILT_IN as COMMANDS
from emotion_circuits.prompts import bank
from emotion_circuits.statistics import Claim
from emotion_circuits.study import Study, keys_of, plan_study, read_unjudged
from small_study import Small

WITH_COMMAND = [one for one in BUILT_IN if one.command and not one.optional]
EMOTIONS = bank().emotions
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def results(undisturbed: Path, tmp_path: Path) -> Path:
    """A results folder with a finished study."""
    shutil.copytree(undisturbed, tmp_path / "baseline")
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run_it(*argv: object) -> tuple[int, str, str]:
        status = main([str(token) for token in argv])
        return status, *capsys.readouterr()

    return run_it


def test_the_help_page_has_them_without_loading_them() -> None:
    assert {one.command: one.heading for one in BUILT_IN if one.command} == COMMANDS


@pytest.mark.parametrize("one", BUILT_IN, ids=lambda one: one.name)
def test_its_settings_are_told_and_decide_its_key(one: Analysis, small: Small) -> None:
    assert all(field.description for field in one.plan_type.model_fields.values())
    asked_for = {one.plan_key: one.plan_type()} if one.optional else {}
    study = Study(models=(small.model, small.other), **asked_for)
    before = {name: key for name, key in keys_of(plan_study(study)).items() if name.startswith(f"{one.name}/")}
    assert len(before) == len(list(one.targets(study)))
    if one.plan_key:
        other = study.model_copy(update={one.plan_key: _another(getattr(study, one.plan_key))})
        after = keys_of(plan_study(other))
        assert all(after[name] != key for name, key in before.items())


def _another(plan: AnalysisPlan) -> AnalysisPlan:
    """The same plan with another value of a setting that each of its analyses reads."""
    for name, value in (
        ("n_fit", 300),
        ("text_tokens", 7),
        ("donors", 3),
        ("dropped", 2),
        ("controls", 33),
        ("external_texts", 40),
    ):
        if name in type(plan).model_fields:
            return plan.model_copy(update={name: value})
    raise LookupError(type(plan).__name__)


@pytest.mark.parametrize("one", WITH_COMMAND, ids=lambda one: one.command)
def test_its_command_finds_what_the_study_made(one: Analysis, small: Small, results: Path, run: Run) -> None:
    folder, argv = results / "baseline", (one.command, "--model", small.model, "--results", results)
    status, out, err = run(*argv, "--json")
    assert status == 0, err
    assert f"{one.stage(small.model)}: kept" in err and all(line.endswith("kept") for line in err.splitlines())
    found = json.loads(out)
    claims = read_unjudged(folder, [one.stage(small.model)])
    assert len(found["claims"]) == len(claims) and found["failed"] == {} and (found["rows"] or claims)
    assert all(Path(file).is_file() for file in found["files"])
    assert {Claim.model_validate(claim).question for claim in found["claims"]} <= {one.question}
    status, out, _ = run(*argv)
    assert status == 0 and out.startswith(one.heading) and f"Written to {folder}" in out
    assert all(emotion in out for emotion in ("gratitude", "anger", "apology"))


@pytest.mark.parametrize("one", WITH_COMMAND, ids=lambda one: one.command)
def test_what_its_command_refuses(one: Analysis, small: Small, tmp_path: Path, run: Run) -> None:
    for wrong, said in (
        (("--model", "no/model"), "no/model"),
        (("--model", small.model, "--emotions", "glee"), "glee"),
        (("--model", small.model, "--no-such-flag", "1"), "no-such-flag"),
        (("--model", small.model, "--seed", "-1"), "-1"),
    ):
        status, out, err = run(one.command, *wrong, "--results", tmp_path)
        assert status == 2 and out == "" and said in err and len(err.splitlines()) <= 5, err


def test_a_folder_stays_with_its_emotions(small: Small, results: Path, run: Run) -> None:
    argv = ("swap", "--model", small.model, "--results", results, "--emotion")
    status, out, err = run(*argv, "gratitude")
    assert status == 2 and out == "" and "gratitude, anger, apology" in err and "--results" in err
    status, _, err = run(*argv, "anger", "apology", "gratitude")
    assert status == 0 and "kept" in err, err


def test_flags_change_one_stage_and_the_study_s_own_settings_stay(small: Small, results: Path, run: Run) -> None:
    argv = ("swap", "--model", small.model, "--results", results, "--layers", 1, 2, "--site", "resid_post", "--place")
    status, out, err = run(*argv, "word", "all", "--directions", "denoising", "noising", "--json")
    assert status == 0 and "kept" not in err, err
    table = read_table(results / "baseline" / "patching" / f"{small.slug}_swap.parquet")
    assert len(table) == len(json.loads(out)["rows"]) and set(table["layer"]) == {1, 2}
    assert set(table["kind"]) == {"denoising resid_post", "noising resid_post"}
    whole = table[(table["position"] == "all") & (table["kind"] == "denoising resid_post") & table["p"].notna()]
    assert whole["value"].to_numpy() == pytest.approx([1.0] * len(whole), abs=1e-3)
    settings = read_json(results / "baseline" / "study.json")
    assert settings["generic_texts"] == 16 and settings["interchange"]["places"] == ["word", "last"]
    status, _, err = run(*argv, "word", "all", "--directions", "denoising", "noising")
    assert status == 0 and "kept" in err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("swap", "--layers", "12"), "no layer 12"),
        (("swap", "--place", "nowhere"), "nowhere"),
        (("swap", "--donors", "-1"), "greater than or equal to 0"),
        (("swap", "--layers", "3.5"), "3.5"),
        (("circuit", "--size", "0.3"), "one of"),
        (("circuit", "--ranking", "luck"), "luck"),
        (("compare-methods", "--dose", "1.5"), "less than 1"),
        (("compare-methods", "--strength", "0"), "greater than 0"),
        (("compare-methods", "--circuit-size", "2"), "less than or equal to 1"),
        (("compare-methods", "--scorers", "astrology"), "no such scorer"),
        (("compare-methods", "--layer", "99", "--no-circuit"), "99"),
        (("compare-methods", "--samples", "0"), "greater than or equal to 1"),
    ],
)
def test_values_that_cannot_be(argv: tuple[str, ...], said: str, small: Small, results: Path, run: Run) -> None:
    before = (results / "baseline" / "claims.json").read_bytes()
    status, out, err = run(argv[0], "--model", small.model, "--results", results, *argv[1:])
    assert status == 2 and said in err and out == "", err
    assert (results / "baseline" / "claims.json").read_bytes() == before


def test_circuits_are_modulated_beside_directions_and_requests(small: Small, results: Path, run: Run) -> None:
    """Ranked on development scenarios, judged in test prompts."""
    argv = (
        "compare-methods", "--model", small.model, "--results", results, "--dose", 0.3, "--controls", 1,
        "--text-tokens", 3, "--samples", 1, "--scorer", "markers", "--strength", 1, 4, "--temperature", 0,
        "--pairs", 6,
    )  # fmt: skip
    status, out, err = run(*argv, "--json")
    assert status == 0, err
    table = read_table(results / "baseline" / "patching" / f"{small.slug}_methods.parquet")
    assert len(json.loads(out)["rows"]) == len(table) and set(table["scorer"]) == {"markers"}
    assert set(table["way"]) == {"raise", "lower"}
    asked = table[table["method"] == "prompted"]
    assert len(asked) and asked[["chance", "chance_low", "p"]].notna().all(axis=None)
    own = table[(table["method"] == "circuit") & (table["emotion"] == "apology")]
    assert list(zip(own["way"], own["dose"], strict=True)) == [
        ("raise", 1.0), ("raise", 4.0), ("lower", -4.0), ("lower", -1.0)
    ]  # fmt: skip
    assert own[["chance", "p"]].notna().all(axis=None) and (own["layer"] == -1).all()
    sizes = read_table(results / "baseline" / "patching" / f"{small.slug}_methods_sizes.parquet")
    sizes = sizes[(sizes["emotion"] == "apology") & (sizes["way"] == "raise")]
    assert sizes[sizes["method"] == "add"]["size"].to_numpy() == pytest.approx([0.3], rel=1e-3)
    of_circuit = sizes[sizes["method"] == "circuit"]["size_last"].to_numpy()
    assert 0 < of_circuit[0] < of_circuit[1]
    status, out, _ = run(*argv, "--no-circuit", "--way", "lower")
    assert status == 0 and "ablate" in out and "prompted" not in out and "circuit" not in out.split("Written")[0]


def test_punctuation_as_a_positive_control(small: Small, results: Path, run: Run) -> None:
    argv = ("punctuation", "--model", small.model, "--results", results, "--layer", 1)
    status, out, err = run(*argv, "--json")
    assert status == 0, err
    rows = json.loads(out)["rows"]
    assert {row["emotion"] for row in rows} == {"gratitude"} and len(rows) == 5
    assert "gratitude: " in err and "tested" in err
    for row in rows:
        assert row["value"] is None or row["chance"] is not None
    told = read_json(results / "baseline" / "analyses" / f"punctuation_{small.slug}.json")
    assert {*told["words"]} == {"en", "ja"} and told["question"].startswith("Ablate a direction")
    status, out, _ = run(*argv, "--only", "--of", "anger")
    assert status == 0 and "anger" in out and "gratitude" not in out
    for wrong, said in ((("--controls", 3), "20"), (("--of", "glee"), "glee")):
        status, _, err = run(*argv, *wrong)
        assert status == 2 and said in err


def test_directions_are_judged_on_texts_of_another_language(small: Small, results: Path, run: Run) -> None:
    argv = ("language", "--model", small.model, "--results", results, "--contexts", 2, "--text-tokens", 3)
    status, out, err = run(*argv, "--json")
    assert status == 0, err
    told = json.loads(out)
    assert {claim["verdict"] or "" for claim in told["claims"]} <= {"", "not tested"}
    assert len(told["claims"]) == 2 * len(EMOTIONS) and "does not read ja" in err
    status, out, err = run(*argv, "--even-unread", "--json")
    assert status == 0, err
    claims = json.loads(out)["claims"]
    assert {claim["id"] for claim in claims} == {"rq2.language", "rq2.language_back"} and len(claims) == 2 * len(
        EMOTIONS
    )
    for claim in claims:
        assert claim["n_unique"] == 60 if claim["id"] == "rq2.language" else claim["n_unique"] > 0
        assert {"embedding", "characters", "untrained", "permuted labels"} == {*claim["p_against"]}
    written = read_json(results / "baseline" / "patching" / f"{small.slug}_languages.json")["ja"]
    assert set(written) == set(EMOTIONS) and all(len(texts) == 2 for texts in written.values())
    status, _, err = run(*argv, "--of", "xx")
    assert status == 2 and "xx" in err


def test_every_built_in_analysis_says_what_it_does() -> None:
    assert all(len(inspect.getdoc(one.kind) or "") > 20 for one in BUILT_IN)
