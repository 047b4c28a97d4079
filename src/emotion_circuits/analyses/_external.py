"""Activations of labelled texts of the user's own, on which directions are judged and nothing is chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from emotion_circuits.analyses._activations import RecordActivations
from emotion_circuits.analyses._analysis import Measures, analysis
from emotion_circuits.analyses._settings import AnalysisPlan, Settings
from emotion_circuits.analyses._work import CLAIM_POSITION, Workshop, activation_folder, recorded_texts
from emotion_circuits.directions import Activations, extract, save_activations, token_positions
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.prompts import Dataset, LabelledTexts, read_labelled

FEWEST = 20
"""Texts of an emotion, and of the others, that its claim needs."""


def _as_pairs(value: Any) -> Any:
    """A mapping of labels as a list of `LABEL=CLASS`."""
    several = [f"{label}={name}" for label, name in value.items()] if isinstance(value, Mapping) else value
    return (several,) if isinstance(several, str) else several


def _each_once(pairs: tuple[str, ...]) -> tuple[str, ...]:
    labels = [pair.rpartition("=")[0].strip().casefold() for pair in pairs]
    if not all(labels):
        raise ValueError("LABEL=CLASS, as in remorse=apology")
    if len(set(labels)) < len(labels):
        raise ValueError("each label once")
    return tuple(sorted(pairs))


def _absolute(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("a path without NUL")
    return path.expanduser().resolve()


class QualityPlan(AnalysisPlan):
    """On what directions are judged besides the texts of the bank."""

    external: Annotated[Path, AfterValidator(_absolute)] | None = None
    """Labelled texts of your own: .csv, .tsv or .jsonl with `text` and `emotion`, or a .tsv of GoEmotions."""
    external_labels: Annotated[tuple[str, ...], BeforeValidator(_as_pairs), AfterValidator(_each_once)] = ()
    """LABEL=CLASS for labels that are no class's name or synonym; LABEL=other leaves a label out."""
    external_texts: Annotated[int, Field(ge=FEWEST, le=1_000_000)] = 300
    """Texts of each class, at most, drawn by the seed."""

    def as_decided(self) -> dict[str, Any]:
        """What decides a result: the file's content, wherever it lies.

        Raises:
            InputError: the file cannot be read.
        """
        values = self.model_dump(mode="json", exclude={"external"})
        if self.external is not None:
            try:
                values["external"] = hashlib.sha256(self.external.read_bytes()).hexdigest()[:16]
            except OSError as error:
                raise InputError(f"Cannot read {self.external}.", found=error.strerror or error) from error
        return values


@analysis("external_texts", command="", question="RQ1", plan_key="quality")
class RecordExternal:
    """In a model and in its untrained twins."""

    Plan = QualityPlan

    @staticmethod
    def decides(plan: QualityPlan) -> dict[str, Any]:
        """The content of the file."""
        return plan.as_decided()

    @staticmethod
    def targets(study: Settings) -> Iterable[tuple[str, ...]]:
        """What other texts are recorded in, where there is a file.

        Raises:
            InputError: a file that cannot be used, before any work.
        """
        plan = study.plan(QualityPlan)
        if plan.external is None:
            return []
        external_texts(study, plan)
        return RecordActivations.targets(study)

    def run(self, work: Workshop, plan: QualityPlan, name: str) -> Measures:
        lm, found = work.model(name), external_texts(work.study, plan)
        data = _readable(lm, found.data)
        if name in work.study.models:
            unread = len(found.data) - len(data)
            work.tell(f"{name}: external texts: {found}" + (f"; {unread} that the model cannot read" if unread else ""))
        if not len(data):
            return Measures()
        with work.progress(f"{name}: recording {data.name} texts", len(data)) as done:
            recorded = extract(
                lm, data, positions=(CLAIM_POSITION,), batch_tokens=work.study.batch_tokens, on_batch=done
            )
        return Measures(files=save_activations(recorded, activation_folder(work, name) / data.name))


def external_texts(study: Settings, plan: QualityPlan) -> LabelledTexts:
    """The texts of the user's file that take part, and how many do not.

    Raises:
        InputError: there is no file, or it cannot be used.
    """
    if plan.external is None:
        raise InputError("The study has no external texts.", next_step="name their file under quality.external")
    labels = dict(pair.rsplit("=", 1) for pair in plan.external_labels)
    return read_labelled(plan.external, study.bank, labels, most=plan.external_texts, seed=study.seed)


def recorded_external(work: Workshop, plan: QualityPlan, name: str, explicit: Activations) -> Activations:
    """A model's activations of these texts; of none where the study names no file."""
    folder = activation_folder(work, name) / "external"
    return explicit.none(folder.name) if plan.external is None else recorded_texts(folder, explicit)


def too_few(texts: Activations, emotion: str) -> str | None:
    """Why an emotion cannot be judged on these texts; None where it can."""
    own = int((texts.labels == emotion).sum())
    others = len(texts.data) - own
    if min(own, others) >= FEWEST:
        return None
    return f"The file has {own} texts of {emotion} and {others} of other classes, and the claim needs {FEWEST} of each"


def _readable(lm: LoadedModel, data: Dataset) -> Dataset:
    """The texts without those that are longer than the model's positions, or have no token to read."""

    def fits(text: str) -> bool:
        try:
            return bool(lm.encode([text]))
        except InputError:
            return False

    texts = [text for text in data if fits(text.text)]
    places = token_positions(texts, lm.encode([t.text for t in texts])).indices[CLAIM_POSITION]
    return Dataset(data.name, tuple(text for text, place in zip(texts, places, strict=True) if place))
