from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fresh_process import environment

from emotion_circuits import prompts


def test_the_first_version_s_steps(run, tmp_path, monkeypatch):
    """create_individual_prompt_files --data_dir data; build_dataset --profile ..., one after the other."""
    monkeypatch.chdir(tmp_path)
    assert run("prompts", "build", "--data_dir", "data").status == 0
    first = {path.name: path.read_bytes() for path in Path("data").iterdir()}
    for profile in ("baseline", "extended"):
        assert run("prompts", "build", "--profile", profile).status == 0
    assert {path.name: path.read_bytes() for path in Path("data").iterdir()} == first
    for suffix, per_class in (("", 70), ("_extended", 100)):
        for emotion in prompts.bank().names:
            file = json.loads(first[f"{emotion}_prompts{suffix}.json"])
            assert len(file["prompts"]) == per_class
        assert len(first[f"emotion_dataset{suffix}.jsonl"].splitlines()) == 4 * per_class


def test_one_profile_writes_its_own_files_only(run, tmp_path):
    outcome = run("prompts", "build", "--profile", "baseline", "--data-dir", tmp_path, "--json")
    written = [Path(row["file"]).name for row in json.loads(outcome.out)]
    assert sorted(written) == sorted(path.name for path in tmp_path.iterdir())
    assert not any("extended" in name for name in written)


def test_own_prompts_in_the_first_version_s_shape(run, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    for emotion in prompts.bank().names:
        (own / f"{emotion}_prompts.json").write_text(json.dumps({"prompts": [f"{emotion} one", f"{emotion} two"]}))
    outcome = run("prompts", "build", "--prompts-dir", own, "--data-dir", tmp_path / "data")
    assert outcome.status == 0
    assert {text.text for text in prompts.read_dataset(tmp_path / "data" / "emotion_dataset.jsonl")} == {
        f"{emotion} {number}" for emotion in prompts.bank().names for number in ("one", "two")
    }


def test_files_that_hold_something_else_are_not_lost(run, tmp_path):
    mine = tmp_path / "anger_prompts.json"
    mine.write_text('{"prompts": ["mine"]}')
    outcome = run("prompts", "build", "--data-dir", tmp_path)
    assert outcome.status == 2 and len(outcome.error_lines) <= 4
    assert mine.read_text() == '{"prompts": ["mine"]}'
    assert run("prompts", "build", "--data-dir", tmp_path, "--overwrite").status == 0
    assert len(json.loads(mine.read_text())["prompts"]) == 70


@pytest.mark.parametrize("argv", [("build", "--prompts-dir", "nowhere"), ("validate", "nowhere.jsonl")])
def test_missing_files(run, argv):
    outcome = run("prompts", *argv)
    assert outcome.status == 2
    assert "nowhere" in outcome.err and "Traceback" not in outcome.err


def write(path, texts):
    path.write_text("".join(json.dumps(row) + "\n" for row in texts))


def test_validate_prints_every_number_beside_chance(run):
    outcome = run("prompts", "validate", "--permutations", 3)
    assert outcome.status == 0
    header, _, *rows = (line for line in outcome.out.splitlines()[1:])
    assert "chance" in header
    nuisance = next(row for row in rows if row.startswith("nuisance"))
    assert "0.250" in nuisance


def test_validate_judges_a_file_and_says_so_by_its_status(run, tmp_path):
    text = "I waited at the corner of the market square for an hour today."
    path = tmp_path / "set.jsonl"
    write(path, [{"text": text, "emotion": emotion} for emotion in ("neutral", "anger")])
    outcome = run("prompts", "validate", path, "--permutations", 0, "--json")
    report = json.loads(outcome.out)
    assert outcome.status == 1
    assert report["ok"] is False
    assert "duplicate" in {problem["kind"] for problem in report["problems"]}
    shown = run("prompts", "validate", "--dataset", path, "--permutations", 0)
    assert shown.status == 1
    assert "problem, duplicate: " in shown.out


KINDS = (
    "explicit",
    "implicit",
    "foils",
    "real-world",
    "contexts",
    "continuations",
    "word-sets",
    "intensity",
    "generic",
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_shown(run, kind):
    shown = run("prompts", "show", "--kind", kind, "--limit", 2)
    assert shown.status == 0
    assert "2 of " in shown.out.splitlines()[-1]
    assert len(json.loads(run("prompts", "show", "--kind", kind, "--json", "--limit", 3).out)) == 3


def test_show_selects(run):
    argv = ("prompts", "show", "--emotion", "gratitude", "anger", "--scenario", 2, 31, "--profile", "extended")
    rows = json.loads(run(*argv, "--json").out)
    assert {(row["emotion"], row["scenario"]) for row in rows} == {
        (emotion, scenario) for emotion in ("gratitude", "anger") for scenario in ("2", "31")
    }
    [row] = json.loads(run(*argv[:4], "--scenario", 2, "--json").out)
    start, end = row["span"]
    assert f"[{row['text'][start:end]}]" in run(*argv[:4], "--scenario", 2).out
    assert {r["split"] for r in json.loads(run("prompts", "show", "--split", "test", "--json").out)} == {"test"}


def test_show_without_a_limit(run):
    assert len(json.loads(run("prompts", "show", "--json").out)) == 280
    assert run("prompts", "show").out.splitlines()[-1] == "20 of 280 shown; --limit 280 shows all."
    assert run("prompts", "show", "--scenario", 999).out.splitlines()[-1] == "0 of 0 shown."


def test_show_refuses_a_filter_that_the_kind_lacks(run):
    outcome = run("prompts", "show", "--kind", "generic", "--emotion", "anger")
    assert (outcome.status, outcome.out) == (2, "")
    assert "leave out --emotion" in outcome.err


@pytest.mark.skipif(os.name == "nt", reason="signals")
def restore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_quietly():
    process = subprocess.Popen(
        [sys.executable, "-m", "emotion_circuits", "prompts", "validate", "--permutations", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        # A shell that starts jobs in the background has them ignore the signal, and children inherit that.
        preexec_fn=restore_interrupt,
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("Checking")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == "Interrupted. Files that were finished are kept; nothing half-written remains.\n"
