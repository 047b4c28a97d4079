"""A user's own emotion in a study: the example in the docs, what it lacks, and one emotion alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from emotion_circuits.cli import main
from emotion_circuits.errors import InputError
from emotion_circuits.prompts import ANALYSES, CLAIMS, SHARED, bank, lacking
from emotion_circuits.study import Study, StudyResult, read_study, run_study
from small_study import Small

PRIDE = Path(__file__).parents[2] / "docs" / "examples" / "pride.yaml"
RQ = {"rq1.separability", "rq1.stability", "rq3.steering", "rq4.circuit"}


@pytest.fixture(scope="module")
def finished(small: Small, tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyResult, list[str]]:
    said: list[str] = []
    study = small.study(tmp_path_factory.mktemp("results"), emotions=("gratitude", str(PRIDE)))
    return run_study(study, tell=said.append), said


def test_it_runs_to_a_report_and_says_what_is_not_tested(finished):
    result, said = finished
    assert not result.failed and not result.not_run
    assert "pride" in result.report.read_text("utf-8")
    own = {c.id: c for c in result.claims if c.emotion == "pride"}
    assert set(own) == RQ == {c.id for c in result.claims if c.emotion == "gratitude"}
    for claim in own.values():
        assert (claim.verdict, claim.value, claim.p) == ("not tested", None, None)
        assert "pride has 24 pairs, and claims need 40" in claim.why
        [line] = [line for line in said if line.startswith(f"  {claim.id}, pride in")]
        assert claim.why.removesuffix(".") in line
    for claim in result.claims:
        if claim.value is not None:  # told as soon as it is measured, with what it is judged by
            [line] = [line for line in said if line.startswith(f"  {claim.id}, {claim.emotion} in {claim.model}: ")]
            assert f"{claim.value:.3g}, chance " in line and f"over {claim.gain_over}, p " in line
    assert "pride has no implicit texts" in own["rq1.separability"].why
    assert any("pride has no utterances" in line for line in said)


def test_a_table_of_texts_is_an_emotion_in_studies_and_commands(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "pride.csv"
    rows = [(t.text, t.emotion, t.scenario) for t in bank([PRIDE]).profile("baseline")]
    pd.DataFrame(rows, columns=["text", "emotion", "scenario"]).to_csv(table, index=False)
    study = Study(models=(small.model,), emotions=(str(table),), results=tmp_path)
    assert study.bank.emotions == ("pride",)
    argv = ["--model", small.model, "--results", str(tmp_path / "r"), "--json"]
    assert main(["extract", "--dataset", str(table), *argv]) == 0
    assert json.loads(capsys.readouterr().out)["texts"] == {"neutral": 24, "pride": 24}
    for show in ("stability", "cleanings"):
        status = main(["vectors", "--show", show, *argv])
        out, err = capsys.readouterr()
        if show == "cleanings":
            assert status == 2 and "implicit" in err, err
            continue
        found = json.loads(out)
        assert status == 0 and set(found["chosen_layer"]) == {"pride"} and found["measures"]


def test_its_directions_are_judged_on_its_own_pairs(finished):
    result, _ = finished
    [table] = (result.report.parents[1] / "emotion_vectors").glob("*_quality.parquet")
    rows = pd.read_parquet(table)
    own = rows[(rows["emotion"] == "pride") & (rows["position"] == "mean")]
    held_out = own[own["statistic"].str.startswith("AUROC on explicit")]
    assert set(held_out["n_unique"]) == {14} and held_out["value"].notna().all()
    assert own[own["statistic"] == "AUROC on implicit texts"]["value"].isna().all()
    assert set(own[own["statistic"] == "split-half cosine"]["n_unique"]) == {24}


def test_a_study_of_one_emotion_without_words(small, tmp_path):
    values = yaml.safe_load(PRIDE.read_text("utf-8"))
    del values["words"], values["request"]
    values["pairs"] = [[re.sub(r"[\[\]]", "", text) for text in pair] for pair in values["pairs"]]
    (tmp_path / "bare.yaml").write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    result = run_study(small.study(tmp_path / "results", emotions=(str(tmp_path / "bare.yaml"),)))
    assert not result.failed and not result.not_run
    assert {(c.id, c.verdict) for c in result.claims} == {(id, "not tested") for id in RQ}
    assert "no words for the slot" in next(c.why for c in result.claims if c.id == "rq3.steering")


def test_names_and_paths(tmp_path):
    (tmp_path / "study.yaml").write_text("emotions: [gratitude, sub/../pride.yaml]\n", encoding="utf-8")
    (tmp_path / "pride.yaml").write_bytes(PRIDE.read_bytes())
    study = read_study(tmp_path / "study.yaml")
    assert study.emotions == ("gratitude", str(tmp_path / "pride.yaml"))
    assert study.bank.hash == Study(emotions=("gratitude", str(PRIDE))).bank.hash  # the content counts, not the place
    with pytest.raises(ValueError, match="files of your own"):
        Study(emotions=("gratitude", "pride"))
    values = yaml.safe_load(PRIDE.read_text("utf-8"))
    (tmp_path / "few.yaml").write_text(yaml.safe_dump(values | {"pairs": values["pairs"][:19]}), encoding="utf-8")
    with pytest.raises(InputError, match="19 pairs"):
        _ = Study(emotions=(str(tmp_path / "few.yaml"),)).bank


def test_bundled_emotions_lack_nothing_that_is_declared():
    for emotion in bank().emotions:
        assert not lacking(bank(), emotion)
    own = lacking(bank(["gratitude", PRIDE]), "pride")
    assert set(own) <= set(ANALYSES) and {CLAIMS, SHARED} <= set(own)


def test_validate_says_what_the_file_is_enough_for(capsys):
    from emotion_circuits.cli import main

    assert main(["prompts", "validate", str(PRIDE), "--permutations", "3", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] and set(report["enough_for"]) | set(report["lacking"]) == set(ANALYSES)
    assert report["lacking"][CLAIMS] == "pride has 24 pairs, and claims need 40"
