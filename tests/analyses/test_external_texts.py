"""Labelled texts of the user's own: what a study makes of them, beside the floors, and what it refuses."""

from __future__ import annotations

import json
import shutil
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.stats import rankdata

from emotion_circuits._files import read_table
from emotion_circuits.cli import main
from emotion_circuits.directions import (
    EXTERNAL,
    UntrainedTwin,
    extract,
    floor_scores,
    load_activations,
    load_directions,
    project,
)
from emotion_circuits.engine import load_verified
from emotion_circuits.models import ModelName
from emotion_circuits.prompts import Dataset, Text, generic_sample
from emotion_circuits.report import Chart, Picture, read_results, sections
from emotion_circuits.statistics import Claim, judge, write_claims
from emotion_circuits.study import QualityPlan, Study, kept_settings, keys_of, plan_study, read_study, run_study
from emotion_circuits.study._config import keep_settings
from small_study import N_LAYERS, Small


class Judged(NamedTuple):
    results: Path
    file: Path
    printed: dict[str, Any]
    said: str


COMMENTS = Path(__file__).parents[1] / "data" / "comments.jsonl"
EMOTION = "gratitude"
N = 60
"""Texts of each class in the planted file."""
FEW = 7


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("".join(json.dumps({"text": text, "emotion": label}) + "\n" for text, label in rows))
    return path


def planted(small: Small, baseline: Path) -> list[tuple[str, str]]:
    """Generic texts. Those are gratitude's that its direction ranks higher than every floor does, those neutral that it
    ranks lower; anger's are drawn at random, and of apology there are few."""
    twin = str(ModelName.parse(small.model).untrained(0))
    folders = [baseline / "activations" / ModelName.parse(name).slug for name in (small.model, twin)]
    explicit, of_twin = (load_activations(folder) for folder in folders)
    directions = load_directions(baseline / "emotion_vectors" / f"{small.slug}_mean.safetensors")
    texts = [t.text for t in generic_sample(600) if len(t.text) < 200]
    data = Dataset("generic", tuple(Text(t, EMOTION, str(k), "test") for k, t in enumerate(texts)))
    here, there = (extract(load_verified(name), data, positions=("mean",)) for name in (small.model, twin))
    rows = (directions.chosen_layer[EMOTION] + 1, 0)
    own, embedding = (rankdata(project(here, directions, EMOTION, "specific", row)) for row in rows)
    simpler = floor_scores(
        explicit.data, data, [(UntrainedTwin(of_twin, load_activations(folders[1] / "implicit"), "mean"), there)]
    )
    floors = [embedding, *(rankdata(floor.scores) for floor in simpler)]
    order = np.argsort(own - np.mean(floors, axis=0))
    rest = [texts[k] for k in np.random.default_rng(0).permutation(order[N:-N])]
    labelled = [(texts[k], "neutral") for k in order[:N]] + [(texts[k], "Grateful") for k in order[-N:]]
    return labelled + [(t, "anger") for t in rest[:N]] + [(t, "remorse") for t in rest[N : N + FEW]]


@pytest.fixture(scope="module")
def judged(small: Small, undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """What the command `quality` made of the planted file in the folder of a finished study."""
    results = tmp_path_factory.mktemp("external")
    shutil.copytree(undisturbed, results / "baseline")
    file = write(results / "mine.jsonl", planted(small, undisturbed))
    argv = ["quality", "--model", small.model, "--results", results, "--external", file, "--external-label",
            "anger=anger", "remorse=apology", "--json"]  # fmt: skip
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        assert main([str(part) for part in argv]) == 0
    return Judged(results, file, json.loads(out.getvalue()), err.getvalue())


def test_a_planted_emotion_is_supported_and_noise_and_too_few_texts_are_not(judged: Judged) -> None:
    claims = judge([Claim.model_validate(claim) for claim in judged.printed["claims"]])
    found = {claim.emotion: claim for claim in claims if claim.id == "rq1.external"}
    assert {*found} == {"gratitude", "anger", "apology"}
    own = found[EMOTION]
    assert own.verdict == "supported", own.why
    assert (own.question, own.statistic, own.unit, own.n_unique) == ("RQ1", EXTERNAL, "texts", 3 * N + FEW)
    assert set(own.floors) == {"bag_of_words", "embedding", "untrained"} and own.effect_of_interest == 0.1
    assert own.value is not None and own.value > max(own.floors.values()) + 0.05 and own.chance == 0.5
    assert found["anger"].verdict not in ("supported", "not tested"), found["anger"].why
    assert found["apology"].verdict == "not tested"
    assert f"{FEW} texts of apology and {3 * N} of other classes, and the claim needs 20" in found["apology"].why
    others = [claim for claim in claims if claim.id != "rq1.external"]
    assert {claim.id for claim in others} == {"rq1.separability", "rq1.stability"} and len(others) == 6


KINDS = ("specific", "probe", "detector")


def test_rows_stand_beside_their_floors_and_texts_are_recorded_once(judged: Judged, small: Small) -> None:
    baseline = judged.results / "baseline"
    rows = read_table(baseline / "emotion_vectors" / f"{small.slug}_quality.parquet")
    own = rows[rows["statistic"] == EXTERNAL]
    assert set(own["emotion"]) == {"gratitude", "anger"} and set(own["position"]) == {"mean"}
    directions = own[own["kind"].isin(KINDS)]
    assert len(directions) == 2 * len(KINDS) * (N_LAYERS + 1) and set(directions["n_unique"]) == {3 * N + FEW}
    assert {*own["kind"]} - {*KINDS} == {"floor: bag of words", "floor: untrained 0"}
    assert own[["value", "ci_low", "ci_high", "null_low", "null_high", "p"]].notna().all(axis=None)
    recorded = load_activations(baseline / "activations" / small.slug / "external")
    assert set(recorded.values) == {"mean"} and len(recorded.data) == 3 * N + FEW
    assert f"external texts: {N} neutral, {N} gratitude, {N} anger, {FEW} apology" in judged.said
    assert "activations" not in "".join(line for line in judged.said.splitlines() if "kept" not in line)


def test_the_report_has_the_claim_in_words_and_the_texts_in_a_figure(judged: Judged) -> None:
    folder = judged.results / "baseline"
    write_claims(folder / "claims.json", judge([Claim.model_validate(claim) for claim in judged.printed["claims"]]))
    shown = {section.title: section.parts for section in sections(read_results(folder))}
    words, forest, own = shown["Separability on external texts"]
    assert "by which nothing was chosen" in str(words) and "gratitude</b> in some" in str(own)
    assert isinstance(forest, Picture) and forest.path.endswith("rq1_external")
    [verdict] = next(parts for title, parts in shown.items() if title.startswith("RQ1"))
    assert "Separability on external texts is supported in 1 of 3 cases" in str(verdict)
    [by_texts] = shown["On which texts does the direction work?"]
    assert isinstance(by_texts, Picture) and isinstance(by_texts.drawing, Chart)
    row = by_texts.drawing.panels[by_texts.drawing.row_titles.index("external")]
    assert [bool(panel.series) for panel in row] == [True, True, False]  # of apology there are too few


def test_the_same_command_keeps_what_it_made(judged: Judged, small: Small, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder's study knows nothing of the file, and so the command has to name it again."""
    moved = shutil.move(judged.file, judged.results / "moved.jsonl")
    argv = ["quality", "--model", small.model, "--results", judged.results, "--external", moved, "--external-labels",
            "remorse=apology", "anger=anger"]  # fmt: skip
    assert main([str(part) for part in argv]) == 0
    out, err = capsys.readouterr()
    assert all(line.endswith("kept") for line in err.splitlines()) and "rq1.external" in out


def stage_keys(small: Small, results: Path, **plan: object) -> dict[str, str]:
    return keys_of(plan_study(small.study(results, quality=QualityPlan.model_validate(plan))))


def test_an_edited_file_runs_its_stages_again_and_no_others(small: Small, tmp_path: Path) -> None:
    file = tmp_path / "comments.jsonl"
    file.write_bytes(COMMENTS.read_bytes())
    before = stage_keys(small, tmp_path, external=file)
    assert before == stage_keys(small, tmp_path, external=COMMENTS)
    file.write_bytes(COMMENTS.read_bytes() + b'{"text": "ta love", "emotion": "gratitude"}\n')
    depend = {"external_texts", "quality", "claims", "report"}
    for changed in (
        stage_keys(small, tmp_path, external=file),
        stage_keys(small, tmp_path, external=COMMENTS, external_texts=20),
        stage_keys(small, tmp_path, external=COMMENTS, external_labels={"fear": "anger"}),
    ):
        assert [*changed] == [*before]
        assert {name.partition("/")[0] for name in before if changed[name] != before[name]} == depend
    without = stage_keys(small, tmp_path)
    assert {name.partition("/")[0] for name in set(before) - set(without)} == {"external_texts"}
    assert {name.partition("/")[0] for name in without if without[name] != before[name]} == depend - {"external_texts"}


def test_commands_go_on_with_the_texts_of_the_folder_s_study(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = shutil.copy(COMMENTS, tmp_path / "comments.jsonl")
    monkeypatch.chdir(tmp_path)
    keep_settings(Study(models=(small.model,), results=tmp_path, quality={"external": Path(file).name}))
    monkeypatch.chdir("/")
    assert kept_settings(tmp_path / "baseline")["quality"]["external"] == str(file)
    Path(file).unlink()
    assert main(["quality", "--model", small.model, "--results", str(tmp_path)]) == 2
    assert f"no file of labelled texts {file}" in capsys.readouterr().err


def test_a_study_file_names_the_texts_beside_it_and_maps_their_labels(tmp_path: Path) -> None:
    shutil.copy(COMMENTS, tmp_path / "comments.jsonl")
    (tmp_path / "study.yaml").write_text(
        "quality: {external: comments.jsonl, external_labels: {fear: anger, joy: other, neutral: neutral}}\n"
    )
    plan = read_study(tmp_path / "study.yaml").plan(QualityPlan)
    assert plan.external == (tmp_path / "comments.jsonl").resolve()
    assert plan.external_labels == ("fear=anger", "joy=other", "neutral=neutral")
    listed = QualityPlan.model_validate({"external_labels": ["joy=other", "neutral=neutral", "fear=anger"]})
    assert listed.external_labels == plan.external_labels


def test_texts_that_a_model_cannot_read_are_left_out_and_counted(small: Small, tmp_path: Path) -> None:
    rows = [(row["text"], row["emotion"]) for row in map(json.loads, COMMENTS.read_text().splitlines())]
    rows += [("well " * 2000, "anger"), ("?!", "anger"), ("...", "neutral")]
    study = Study(
        models=(small.model,), results=tmp_path, threads=1, quality={"external": write(tmp_path / "c.jsonl", rows)}
    )
    said: list[str] = []
    result = run_study(study, only=("external_texts",), tell=said.append)
    assert not result.failed and len(result.computed) == 2
    [told] = [line for line in said if "external texts: " in line]
    assert "16 neutral, 15 gratitude, 17 anger, 15 apology; left out: 45 of other labels; 3 that the model" in told
    recorded = load_activations(study.folder / "activations" / small.slug / "external")
    assert len(recorded.data) == 60 and np.isfinite(recorded.at("mean")).all()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--external", "nowhere.csv"), "no file of labelled texts"),
        (("--external", COMMENTS, "--external-labels", "fear=rage"), "fear=rage"),
        (("--external", COMMENTS, "--external-labels", "fear"), "LABEL=CLASS"),
        (("--external", COMMENTS, "--external-labels", "fear=anger", "Fear=apology"), "each label once"),
        (("--external", COMMENTS, "--external-texts", 19), "greater than or equal to 20"),
    ],
)
def test_what_is_refused_before_any_work(
    flags: tuple[object, ...], said: str, small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ("quality", "--model", small.model, "--results", tmp_path, *flags)
    assert main([str(part) for part in argv]) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and len(err.splitlines()) <= 4 and "activations" not in err, err
