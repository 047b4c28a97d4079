"""Kill a small study at random moments, beside a rival in the same folder, until it is done; its claims must not care.

Run by hand: `python tests/study/kill_study.py --moments 20`. The suite kills once with each signal, the first time
beside a rival.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
from emotion_circuits._files import read_json
from tiny_models import VARIANTS, save_tiny

SMALL = {
    "threads": 1,
    "generic_texts": 16,
    "steering": {
        "depths": 1, "doses": [-0.2, 0.2], "development_contexts": 2, "continuations_per_class": 1,
        "covariance_controls": 10, "isotropic_controls": 2, "shuffled_controls": 2, "control_contexts": 8,
        "text_contexts": 8, "text_tokens": 4,
    },
    "interchange": {"depths": 1, "places": "last", "pairs": 4},
    "components": {
        "pairs": 4, "exact": 1, "examples": 1, "ranking": "attribution", "random_sizes": 0.2, "draws": 2, "dropped": 1
    },
}  # fmt: skip


def start(file: Path) -> subprocess.Popen[str]:
    """A study as a user starts it."""
    command = [sys.executable, "-m", "emotion_circuits", "study", str(file), "--no-track"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def seconds_of(runs: Sequence[subprocess.Popen[str]]) -> float:
    """Processor seconds of the busiest: other than the clock's, they do not depend on what else the machine does."""
    found = [0.0]
    for run in runs:
        if run.poll() is None:
            found.append(sum(psutil.Process(run.pid).cpu_times()[:2]))
    return max(found)


def disturb(
    file: Path,
    results: Path,
    number: signal.Signals,
    moment: Callable[[Sequence[subprocess.Popen[str]]], bool],
    n_runs: int = 2,
) -> bool:
    """Start two runs, and send both the signal once `moment` is true; whether the study was done before.

    Raises:
        AssertionError: a run ended otherwise than it may, or a terminated one left something half-written.
    """
    runs = [start(file) for _ in range(n_runs)]
    while not moment(runs) and any(run.poll() is None for run in runs):
        time.sleep(0.02)
    for run in runs:
        run.send_signal(number)  # does nothing to a run that has ended
    said = [run.communicate()[1] for run in runs]
    statuses = [run.returncode for run in runs]
    # −15: still importing, before there was anything to tidy up.
    assert set(statuses) <= {0, 2, -number, 128 + number}, (statuses, said)
    for status, text in zip(statuses, said, strict=True):
        assert status != 2 or "Another run is at work" in text, text
        assert "Traceback" not in text, text
    if number == signal.SIGTERM:
        left = [path.name for path in results.rglob(".*") for run in runs if f".{run.pid}.part" in path.name]
        owner = results / "baseline" / ".owner.json"
        assert not left, left
        assert not owner.exists() or read_json(owner)["pid"] not in [run.pid for run in runs]
    return 0 in statuses


def same_results(one: Path, two: Path) -> bool:
    """Whether claims, and all tables and tensors that the manifests list, have the same bytes."""
    stages = [read_json(folder / "baseline" / "manifest.json")["stages"] for folder in (one, two)]
    claims = [(folder / "baseline" / "claims.json").read_bytes() for folder in (one, two)]
    files = [{name: entry["files"] for name, entry in found.items()} for found in stages]
    return claims[0] == claims[1] and files[0] == files[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)

        def study(name: str) -> Path:
            file = folder / f"{name}.yaml"
            own = {"models": str(folder / "tiny"), "results": str(folder / name)}
            file.write_text(yaml.safe_dump(SMALL | own))
            return file

        save_tiny(VARIANTS[0], folder / "tiny")
        assert start(study("undisturbed")).wait() == 0
        whole = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        print(f"undisturbed: {whole:.0f} s of a processor", flush=True)
        made = number = 0
        while made < arguments.moments:
            number += 1
            file, results = study(str(number)), folder / str(number)
            done = False
            while not done and made < arguments.moments:
                sent = (signal.SIGKILL, signal.SIGTERM)[made % 2]
                at = rng.uniform(0, whole)
                done = disturb(file, results, sent, lambda runs, at=at: seconds_of(runs) > at)  # type: ignore[misc]
                made += not done
                print(
                    f"study {number}, moment {made}: {'done before' if done else f'{sent.name}, {at:.1f} s'}",
                    flush=True,
                )
            assert start(file).wait() == 0
            assert same_results(folder / "undisturbed", results), f"study {number} differs"
            print(f"study {number}: the same bytes", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
