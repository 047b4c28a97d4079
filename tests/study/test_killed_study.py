"""A study that is killed ends the same once it is run again. A file of its own, since it takes long (see `FIRST`)."""

from __future__ import annotations

import signal
from pathlib import Path

import yaml
from kill_study import SMALL, disturb, same_results

from emotion_circuits.study import read_study, run_study, study_from_mapping
from small_study import Small


def test_killed_and_run_again_it_keeps_what_was_finished_and_ends_the_same(small: Small, tmp_path: Path) -> None:
    """By either signal, the first time beside a rival; with one emotion and a model of random weights, which has every
    stage and takes the least time. `kill_study.py` does so at more moments and with all emotions."""
    whole, results = tmp_path / "whole", tmp_path / "killed"
    plan = SMALL | {"models": small.other, "emotions": "gratitude"}
    run_study(study_from_mapping(plan | {"results": str(whole)}))
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(plan | {"results": str(results)}))
    folder = results / "baseline"
    for number, made, n_runs in (
        (signal.SIGKILL, folder / "emotion_vectors" / f"{small.other_slug}_mean.safetensors", 2),
        (signal.SIGTERM, folder / "patching" / f"{small.other_slug}_sweep.parquet", 1),
    ):
        done = disturb(file, results, number, lambda runs, made=made: made.exists(), n_runs)
        assert not done, "it was to be killed halfway"
    result = run_study(read_study(file))
    assert {f"activations/{small.other_slug}", f"directions/{small.other_slug}"} <= {*result.kept}
    assert set(result.computed) >= {"claims", "report"} and not result.failed and not result.not_run
    assert same_results(whole, results)
