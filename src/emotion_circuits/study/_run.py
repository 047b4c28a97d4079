"""Run a study: only what is not finished, in order, keeping each stage as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from emotion_circuits._lock import owned
from emotion_circuits.analyses import Progress, Workshop, no_progress
from emotion_circuits.engine import threads
from emotion_circuits.prompts import lacking, write_bank
from emotion_circuits.statistics import Claims, read_claims
from emotion_circuits.study._claims import claim_line, read_unjudged
from emotion_circuits.study._config import Study, keep_settings
from emotion_circuits.study._plan import Stage, keys_of, needed_for, plan_study
from emotion_circuits.study._store import Stopwatch, Store, stage_key
from emotion_circuits.study._workers import Outcome, Workers, outcome_of, parts_of, usual_jobs


@dataclass(frozen=True)
class StudyResult:
    """What a run ended with.

    Attributes:
        claims: all judged claims.
        report: path of the HTML report.
        computed, kept: names of the stages that ran and that were found finished.
        failed: stage that could not run → why, in one line; the next run tries it again.
        bad_input: those of them that what the user gave stopped.
        not_run: names of the stages that need one of those.
        seconds: of this run.
    """

    claims: Claims
    report: Path
    computed: tuple[str, ...]
    kept: tuple[str, ...]
    failed: Mapping[str, str]
    bad_input: frozenset[str]
    not_run: tuple[str, ...]
    seconds: float


def run_study(
    study: Study,
    *,
    only: Collection[str] = (),
    jobs: int | None = 1,
    tell: Callable[[str], None] = lambda _: None,
    progress: Progress = no_progress,
) -> StudyResult:
    """Run every stage that is not finished.

    A stage that cannot run is reported, and so are those that need it; the others go on, and claims and report are
    made from what there is.

    Args:
        study: what to do.
        only: kinds of stages (`directions`, an analysis' name): these and what they need; all by default.
        jobs: processes that stages run in, side by side where they do not wait for each other; it changes no number.
            Each holds a model, and a script that asks for more than one needs `if __name__ == "__main__"`. None for
            `usual_jobs`.
        tell: called with a line when a stage starts, is kept or is done.
        progress: shows long steps.

    Raises:
        InputError: a model that cannot be found; another run at work in the folder.
        WriteError: a result that cannot be kept; the stages before it are.
    """
    watch = Stopwatch()
    for emotion in study.bank.emotions:
        for analysis, why in lacking(study.bank, emotion).items():
            tell(f"not tested: {analysis}: {why}")
    with owned(study.folder), threads(study.threads):
        store = Store(study.folder)
        write_bank(study.folder, study.bank)  # what commands that go on from here are about, and by which settings
        if not only:
            keep_settings(study)
        stages = plan_study(study)
        if only:
            stages = needed_for(stages, only)
        run = _Run(store, Workshop(study, tell, progress), keys_of(stages), watch)
        labels = {stage.name: f"[{place}/{len(stages)}] {stage.name}" for place, stage in enumerate(stages, 1)}
        jobs = usual_jobs(study) if jobs is None else jobs
        if jobs > 1:
            _side_by_side(run, study, stages, labels, jobs)
        else:
            for stage in stages:
                run.take(stage, labels[stage.name])
        judged = not only and "claims" not in run.failed
        claims = Claims() if not judged else read_claims(study.folder / "claims.json")
    return StudyResult(
        claims=claims,
        report=study.folder / "report" / "index.html",
        computed=tuple(run.computed),
        kept=tuple(run.kept),
        failed=run.failed,
        bad_input=frozenset(run.bad_input),
        not_run=tuple(run.not_run),
        seconds=watch.seconds,
    )


@dataclass
class _Run:
    """What has become of the stages so far."""

    store: Store
    work: Workshop
    keys: dict[str, str]
    watch: Stopwatch
    computed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    bad_input: set[str] = field(default_factory=set)
    not_run: list[str] = field(default_factory=list)

    def take(self, stage: Stage, label: str) -> None:
        """Keep a finished stage, run another, and note why it cannot run."""
        key = self.key_of(stage, label)
        if key is None:
            return
        self.work.parts = parts_of(self.work.folder, stage.name, key)
        self.end(stage, label, outcome_of(lambda: stage.run(self.work)))

    def key_of(self, stage: Stage, label: str) -> str | None:
        """The key to run a stage under; None where it is kept, or cannot run for want of what it needs."""
        work, tell = self.work, self.work.tell
        lacking = [name for name in stage.inputs if name in work.missing]
        if lacking and not stage.partial:
            self.not_run.append(stage.name)
            self._lose(stage, f"{label}: not run, for want of {', '.join(lacking)}")
            return None
        if lacking:  # it is another result than with all of its inputs
            inputs = [self.keys[name] for name in stage.inputs if name not in lacking]
            self.keys[stage.name] = stage_key(stage.name, stage.parameters | {"without": lacking}, inputs)
        if self.store.finished(stage.name, self.keys[stage.name]):
            self.kept.append(stage.name)
            tell(f"{label}: kept")
            return None
        return self.keys[stage.name]

    def end(self, stage: Stage, label: str, found: Outcome) -> None:
        """Note what became of a stage that ran."""
        if found.failed:
            self.failed[stage.name] = found.failed
            if found.bad_input:
                self.bad_input.add(stage.name)
            self._lose(stage, f"{label}: failed. {found.failed}")
            return
        key = self.keys[stage.name]
        self.store.finish(stage.name, key, found.files, found.seconds, stage.parameters)
        parts_of(self.work.folder, stage.name, key).clear()
        self.computed.append(stage.name)
        self.work.tell(f"{label}: {found.seconds:.1f} s{self._left()}")
        for claim in read_unjudged(self.work.folder, [stage.name]):
            self.work.tell(claim_line(claim))

    def _left(self) -> str:
        """How long the stages that are left take if they are like those that ran."""
        ran = len(self.computed)
        left = len(self.keys) - ran - len(self.kept) - len(self.failed) - len(self.not_run)
        seconds = self.watch.seconds / ran * left
        return f", about {seconds / 60:.0f} min left at this pace" if ran > 2 and seconds > 90 else ""

    def _lose(self, stage: Stage, why: str) -> None:
        self.work.missing.add(stage.name)
        self.store.forget(stage.name)
        self.work.tell(why)


def _side_by_side(run: _Run, study: Study, stages: Sequence[Stage], labels: Mapping[str, str], jobs: int) -> None:
    """Every stage as soon as what it needs is there; what reads all of them runs in this process."""
    waiting = {stage.name: stage for stage in stages}
    begun: dict[str, Stage] = {}
    with ExitStack() as stack:
        workers: Workers | None = None  # they take seconds to start: not for a study that is finished
        while waiting or begun:
            for stage in [*waiting.values()]:
                if any(name in waiting or name in begun for name in stage.inputs):
                    continue
                if stage.partial:
                    del waiting[stage.name]
                    run.take(stage, labels[stage.name])
                elif workers is None or workers.free:
                    del waiting[stage.name]
                    key = run.key_of(stage, labels[stage.name])
                    if key is not None:
                        workers = workers or stack.enter_context(Workers(study, jobs))
                        workers.start(stage.name, key, run.work.missing)
                        begun[stage.name] = stage
            if begun and workers is not None:
                for name, said in workers.said():
                    if isinstance(said, Outcome):
                        run.end(begun.pop(name), labels[name], said)
                    else:
                        run.work.tell(said)
