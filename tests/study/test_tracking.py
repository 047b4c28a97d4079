"""Tracking: the store holds what the files of a study say, once, and cannot fail a study."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from emotion_circuits._files import read_json, read_table
from emotion_circuits.cli import main
from emotion_circuits.statistics import Claim, read_claims
from emotion_circuits.study import Store, record_study
from small_study import Small

mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed (the extra `track`)")

OURS = "emotion_circuits."


@pytest.fixture(scope="module")
def tracked(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that is recorded in the default store beside it; its name has a space."""
    folder = tmp_path_factory.mktemp("tracked") / "my results" / "baseline"
    shutil.copytree(undisturbed, folder)
    assert record_study(folder).written
    return folder


def store_of(folder: Path) -> str:
    return f"sqlite:///{folder.parent / 'mlflow.db'}"


def runs_in(store: str) -> tuple[list[Any], dict[str, Any]]:
    """Studies' runs, and stages' by name."""
    client = mlflow.MlflowClient(store)
    [experiment] = [one for one in client.search_experiments() if one.name == "emotion-circuits"]
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    stages = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    return [run for run in runs if run not in stages], {run.info.run_name: run for run in stages}


def everything_in(folder: Path) -> tuple[list[str], dict[str, int]]:
    """Every row of the database, and when each file of the store was written."""
    with sqlite3.connect(folder.parent / "mlflow.db") as database:
        rows = sorted(database.iterdump())
    files = (folder.parent / "mlartifacts").rglob("*")
    return rows, {str(path): path.stat().st_mtime_ns for path in files if path.is_file()}


def about(claim: Claim, *others: str) -> str:
    return "/".join([claim.id, *([claim.emotion] if claim.emotion else []), *others])


def test_runs_are_the_study_and_its_stages(tracked: Path) -> None:
    [study], stages = runs_in(store_of(tracked))
    entries = Store(tracked).entries
    assert set(stages) == set(entries) - {"claims", "report"}
    assert study.data.tags[OURS + "study"] == entries["claims"]["key"]
    for name, run in stages.items():
        entry = entries[name]
        assert run.data.tags["mlflow.parentRunId"] == study.info.run_id and run.info.status == "FINISHED"
        assert (run.data.tags[OURS + "key"], run.data.metrics["seconds"]) == (entry["key"], entry["seconds"])
        assert run.info.end_time - run.info.start_time == pytest.approx(entry["seconds"] * 1000, abs=1)
        for key in ("seed", "threads"):
            assert run.data.params[key] == study.data.params[key] == str(entry["parameters"][key])
        for key, value in entry["parameters"].get("plan", {}).items():
            if not isinstance(value, dict):
                shown = value if isinstance(value, str) else json.dumps(value)
                assert run.data.params[f"plan.{key}"] == study.data.params[f"{name.partition('/')[0]}.{key}"] == shown
        assert {k.removeprefix("versions."): v for k, v in run.data.params.items() if k.startswith("versions.")} == (
            entry["versions"]
        )


def test_every_claim_is_in_the_study_s_run_and_in_one_stage_s(tracked: Path) -> None:
    [study], stages = runs_in(store_of(tracked))
    claims = read_claims(tracked / "claims.json")
    for claim in claims:
        assert study.data.tags[about(claim, claim.model)] == claim.verdict
        holding = [run for run in stages.values() if about(claim) in run.data.tags]
        [run] = holding
        assert (run.data.tags[about(claim)], run.data.tags[f"why/{about(claim)}"]) == (claim.verdict, claim.why)
        for key in ("value", "chance", "gain", "p_adjusted", "n_unique", "layer"):
            assert run.data.metrics.get(f"{key}/{about(claim)}") == getattr(claim, key)
        for key in ("value", "chance"):
            assert study.data.metrics.get(f"{key}/{about(claim, claim.model)}") == getattr(claim, key)
    counts = {key: x for key, x in study.data.metrics.items() if key.startswith("verdicts/")}
    assert counts == {f"verdicts/{v}": sum(c.verdict == v for c in claims) for v in {c.verdict for c in claims}}


def test_measures_are_the_tables_rows_at_the_chosen_layer_beside_chance(small: Small, tracked: Path) -> None:
    _, stages = runs_in(store_of(tracked))
    found = stages[f"quality/{small.slug}"].data.metrics
    table = read_table(tracked / "emotion_vectors" / f"{small.slug}_quality.parquet")
    for claim in read_claims(tracked / "claims.json"):
        if claim.id == "rq1.separability":
            [row] = table[(table["statistic"] == claim.statistic) & (table["emotion"] == claim.emotion)
                          & (table["position"] == "mean") & (table["kind"] == "specific")
                          & (table["layer"] == claim.layer)].to_dict(orient="records")  # fmt: skip
            for key in ("value", "chance", "ci_low", "ci_high", "n_unique"):
                assert found[f"{key}/{claim.emotion}/{claim.statistic}/specific"] == row[key]
    for run in stages.values():
        alone = {key for key in run.data.metrics if key.startswith("value/")}
        assert {key.replace("value/", "chance/", 1) for key in alone} <= set(run.data.metrics)


def test_claims_report_and_figures_are_kept(tracked: Path) -> None:
    [study], _ = runs_in(store_of(tracked))
    kept = Path(mlflow.artifacts.download_artifacts(run_id=study.info.run_id, tracking_uri=store_of(tracked)))
    files = {path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file()}
    drawn = {name for name in Store(tracked).entries["report"]["files"] if not name.endswith(".svg")}
    assert files == drawn | {"claims.json", "manifest.json", "study.json", "emotions.json"}
    assert "report/index.html" in files and any(name.endswith(".png") for name in files)
    assert all((kept / name).read_bytes() == (tracked / name).read_bytes() for name in files)


def test_a_second_sync_changes_nothing(tracked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = everything_in(tracked)
    assert main(["track", "sync", "--results", str(tracked.parent), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] is False
    assert everything_in(tracked) == before


def test_what_was_cut_short_is_completed(tracked: Path) -> None:
    """Without the last tag and some runs, what is missing comes back and nothing comes twice."""
    [study], stages = runs_in(store_of(tracked))
    client, gone = mlflow.MlflowClient(store_of(tracked)), list(stages.values())[:3]
    client.delete_tag(study.info.run_id, OURS + "report")
    for run in gone:
        client.delete_run(run.info.run_id)
    assert record_study(tracked).written
    [again], others = runs_in(store_of(tracked))
    assert again.to_dictionary() == study.to_dictionary()
    assert {name: (run.data.metrics, run.data.params) for name, run in others.items()} == {
        name: (run.data.metrics, run.data.params) for name, run in stages.items()
    }


def test_models_of_an_earlier_study_in_the_folder_are_left_out(tracked: Path, tmp_path: Path) -> None:
    folder = tmp_path / "baseline"
    shutil.copytree(tracked, folder)
    manifest = read_json(folder / "manifest.json")
    entry = next(entry for name, entry in manifest["stages"].items() if name.startswith("directions/"))
    manifest["stages"] |= {"directions/another--model": entry}
    manifest["stages"]["claims"]["key"] = "another"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert record_study(folder, store_of(tracked)).runs == record_study(tracked).runs


RECORD = """
import json, sys
from pathlib import Path
seen = []
sys.addaudithook(lambda event, args: seen.append([event, str(args)])
                 if event.split(".")[0] in ("socket", "subprocess", "os") and event not in QUIET else None)
QUIET = {"os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove", "os.chmod", "os.utime", "os.putenv",
         "os.unsetenv", "os.truncate", "os.rmdir", "os.walk", "os.fwalk", "os.add_dll_directory", "os.getxattr",
         "os.listxattr", "os.setxattr", "os.symlink", "os.link", "os.chown", "os.lockf"}
from emotion_circuits.study import record_study
assert not {"mlflow", "sqlalchemy"} & set(sys.modules)
before = len(seen)
for folder in sys.argv[2:]:
    record_study(Path(folder), sys.argv[1])
print(json.dumps(seen[before:]))
"""


@pytest.mark.slow
def test_two_at_once_record_into_one_fresh_store_and_reach_nobody(tracked: Path, tmp_path: Path) -> None:
    """Two studies, each recorded by both: both end well, every run is there once, and nothing was sent or started."""
    other = tmp_path / "other" / "baseline"
    shutil.copytree(tracked, other)
    manifest = read_json(other / "manifest.json")
    manifest["stages"]["claims"]["key"] = "another"
    (other / "manifest.json").write_text(json.dumps(manifest))
    store, folders = f"sqlite:///{tmp_path / 'new' / 'runs.db'}", [str(tracked), str(other)]
    both = [
        subprocess.Popen([sys.executable, "-c", RECORD, store, *order], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for order in (folders, folders[::-1])
    ]
    for process in both:
        out, err = process.communicate(timeout=170)
        assert (process.returncode, err) == (0, b"")
        for event, given in json.loads(out):
            # urllib3 looks whether there is IPv6 when it is imported; what Python is run on, a library asks uname.
            own = event == "socket.__new__" or (event == "socket.bind" and "('::1', 0)" in given) or "'uname'" in given
            assert own, (event, given)
    studies, stages = runs_in(store)
    assert {study.data.tags[OURS + "study"] for study in studies} == {
        "another", Store(tracked).entries["claims"]["key"]
    }  # fmt: skip
    everyone = mlflow.MlflowClient(store).search_runs([studies[0].info.experiment_id], max_results=1000)
    assert len(studies) == 2 and len(everyone) == 2 * (1 + len(stages))


@pytest.mark.parametrize("broken", ["no database", "a folder", "nobody there", "no MLflow"])
def test_tracking_cannot_fail_a_study(
    small: Small, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], broken: str,
) -> None:  # fmt: skip
    (tmp_path / "text.db").write_text("no database" * 100)
    store = {"no database": f"sqlite:///{tmp_path / 'text.db'}", "a folder": f"sqlite:///{tmp_path}"}.get(
        broken, "http://me:secret@127.0.0.1:9"
    )
    if broken == "no MLflow":
        monkeypatch.setattr("emotion_circuits.study._tracking.find_spec", lambda name: None)
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(small.study(undisturbed.parent).model_dump(mode="json", exclude_unset=True)))
    assert main(["study", str(file), "--json", "--jobs", "1", "--tracking", store]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["computed"] == []
    [line] = [line for line in err.splitlines() if line.startswith(("tracked", "not tracked"))]
    assert len(err.splitlines()) == 2 + len(Store(undisturbed).entries)  # what the study says of itself, and this
    assert line.startswith("not tracked: MLflow ") and "secret" not in line and "Traceback" not in line
    assert main(["track", "sync", "--results", str(undisturbed.parent), "--tracking", store]) == 2
    assert "secret" not in capsys.readouterr().err


def test_a_study_is_tracked_unless_told_otherwise(
    small: Small, tracked: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tracked.parent / "study.yaml"
    file.write_text(yaml.safe_dump(small.study(tracked.parent).model_dump(mode="json", exclude_unset=True)))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_of(tracked).replace("mlflow.db", "named.db"))
    assert main(["study", str(file), "--no-track"]) == 0
    assert (
        "tracked" not in capsys.readouterr().err.replace(str(tracked.parent), "")
        and not (tracked.parent / "named.db").exists()
    )
    assert main(["study", str(file), "--tracking", store_of(tracked)]) == 0
    assert f"tracked in {store_of(tracked)}" in capsys.readouterr().err


def test_without_a_finished_study_there_is_nothing_to_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["track", "sync", "--results", str(tmp_path / "nowhere")]) == 2
    assert "no finished study" in capsys.readouterr().err and list(tmp_path.iterdir()) == []
