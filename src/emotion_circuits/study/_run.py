"""Run a study: only what is not finished, in order, keeping each stage as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from emotion_circuits._parts import Parts
from emotion_circuits.statistics import Claim, read_claims
from emotion_circuits.study._config import Study
from emotion_circuits.study._plan import keys_of, plan_study
from emotion_circuits.study._store import Stopwatch, Store
from emotion_circuits.study._workshop import Progress, Workshop, no_progress


@dataclass(frozen=True)
class StudyResult:
    """What a run ended with.

    Attributes:
        claims: all judged claims.
        report: path of the HTML report.
        computed, kept: names of the stages that ran and that were found finished.
        seconds: of this run.
    """

    claims: tuple[Claim, ...]
    report: Path
    computed: tuple[str, ...]
    kept: tuple[str, ...]
    seconds: float


def run_study(
    study: Study, *, tell: Callable[[str], None] = lambda _: None, progress: Progress = no_progress
) -> StudyResult:
    """Run every stage that is not finished.

    Args:
        study: what to do.
        tell: called with a line when a stage starts, is kept or is done.
        progress: shows long steps.

    Raises:
        EmotionCircuitsError: a stage failed; the stages before it are kept.
    """
    watch = Stopwatch()
    store = Store(study.folder)
    store.check_writable()  # before anything is computed that could not be kept
    work = Workshop(study, tell, progress)
    computed: list[str] = []
    kept: list[str] = []
    # torch's threads decide the last digits of its sums, and which kind of product the probe finds faster. numpy's
    # products here are small: one thread is as fast, never waits for a busy core, and always sums in the same order.
    torch.set_num_threads(study.threads)
    with threadpool_limits(1, user_api="blas"):
        stages = plan_study(study)
        keys = keys_of(stages)
        for place, stage in enumerate(stages, 1):
            label = f"[{place}/{len(stages)}] {stage.name}"
            if store.finished(stage.name, keys[stage.name]):
                kept.append(stage.name)
                tell(f"{label}: kept")
                continue
            own = Stopwatch()
            work.parts = Parts(study.folder / ".parts" / stage.name.replace("/", "_"), keys[stage.name])
            files = stage.run(work)
            store.finish(stage.name, keys[stage.name], files, own.seconds, stage.parameters)
            work.parts.clear()
            computed.append(stage.name)
            tell(f"{label}: {own.seconds:.1f} s")
    return StudyResult(
        claims=read_claims(study.folder / "claims.json"),
        report=study.folder / "report" / "index.html",
        computed=tuple(computed),
        kept=tuple(kept),
        seconds=watch.seconds,
    )
