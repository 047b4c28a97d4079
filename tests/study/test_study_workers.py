"""Stages side by side in processes of their own: the same bytes, the same refusals, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from emotion_circuits._files import read_json
from emotion_circuits.errors import EmotionCircuitsError, WriteError
from emotion_circuits.study import Study, run_study
from emotion_circuits.study._workers import usual_jobs
from small_study import Small

OWN = """import os

from emotion_circuits.analyses import analysis
from emotion_circuits.errors import InputError, WriteError


@analysis("refused", question="What cannot be?")
class Refused:
    def run(self, work, plan, model):
        work.tell(f"asked about {model}")
        raise InputError("This cannot be.", found=model)


@analysis("unwritten", question="What if the disk is full?")
class Unwritten:
    def run(self, work, plan, model):
        error = WriteError("Cannot write a table.")
        error.exit_status = 1
        raise error


@analysis("gone", question="What if memory runs out?")
class Gone:
    def run(self, work, plan, model):
        os._exit(3)


@analysis("broken", question="What breaks?")
class Broken:
    def run(self, work, plan, model):
        return 1 / 0
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "own.py"
    file.write_text(OWN)
    return file


def of_both(small: Small, results: Path, **changes: object) -> Study:
    return small.study(results, models=(small.model, small.other), **changes)


def test_side_by_side_gives_the_same_bytes_and_says_the_same(small: Small, tmp_path: Path, own: Path) -> None:
    found = {}
    for jobs in (1, 2):
        said: list[str] = []
        study = of_both(small, tmp_path / str(jobs), analyses=(own,), emotions=("gratitude",))
        result = run_study(study, only=("directions", "refused"), jobs=jobs, tell=said.append)
        stages = read_json(study.folder / "manifest.json")["stages"]
        assert {f"refused/{name}" for name in (small.slug, small.other_slug)} == {*result.failed} == result.bad_input
        assert all("This cannot be." in why for why in result.failed.values())
        assert sum(line.startswith("asked about") for line in said) == 2 and not list(study.folder.rglob(".parts/*"))
        found[jobs] = {name: (entry["key"], entry["files"]) for name, entry in stages.items()}
        assert run_study(study, only=("directions",), jobs=jobs).computed == ()
    assert found[1] == found[2] and any(name.startswith("directions/") for name in found[1])


def test_what_breaks_in_a_worker_is_raised_with_its_traceback(small: Small, tmp_path: Path, own: Path) -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run_study(of_both(small, tmp_path, analyses=(own,)), only=("broken",), jobs=2)


def test_a_full_disk_and_a_worker_that_dies_end_the_run_in_a_line(small: Small, tmp_path: Path, own: Path) -> None:
    study = of_both(small, tmp_path, analyses=(own,))
    with pytest.raises(WriteError, match="Cannot write a table") as full:
        run_study(study, only=("unwritten",), jobs=2)
    assert full.value.exit_status == 1
    with pytest.raises(EmotionCircuitsError, match="has died"):
        run_study(study, only=("gone",), jobs=2)


def test_workers_end_with_the_process_that_started_them(small: Small, tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from emotion_circuits.study import Study
from emotion_circuits.study._workers import Workers
if __name__ == "__main__":
    with Workers(Study(models=({small.model!r},), results={str(tmp_path)!r}), 2) as workers:
        print("ready", flush=True)
        time.sleep(600)
""")
    run = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None and run.stdout.readline() == "ready\n"
    started = psutil.Process(run.pid).children(recursive=True)
    assert len(started) >= 2
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    _, left = psutil.wait_procs(started, timeout=60)
    assert not left, time.time()


def test_as_many_as_models_and_processors(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert usual_jobs(small.study(tmp_path)) == 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert usual_jobs(of_both(small, tmp_path)) == 2
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 2e9}))
    assert usual_jobs(of_both(small, tmp_path)) == 1
