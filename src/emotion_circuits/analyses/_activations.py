"""Every text's activations in a model and in its untrained twins, and what generic text is like in it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from emotion_circuits import prompts
from emotion_circuits.analyses._analysis import Measures, analysis
from emotion_circuits.analyses._settings import AnalysisPlan, Settings
from emotion_circuits.analyses._work import Workshop, activation_folder, twin_names
from emotion_circuits.directions import POSITIONS, extract, generic_statistics, save_activations, save_generic

TWIN_POSITIONS = ("mean",)
PROBE_POSITIONS = ("mean",)
"""Where foils and intensity series are read."""


@analysis("activations", command="", question="RQ1", reads=("generic_texts",))
class RecordActivations:
    """Of the profile, the implicit and the real-world texts, foils, intensity series and utterances, and of generic
    text. A twin, for the floors, reads only what those are judged on."""

    @staticmethod
    def targets(study: Settings) -> Iterable[tuple[str, ...]]:
        """Every model, after its twins: what needs them follows it."""
        names = [(*twin_names(study, name), name) for name in study.models]
        return [(name,) for name in dict.fromkeys(name for own in names for name in own)]

    def run(self, work: Workshop, plan: AnalysisPlan, name: str) -> Measures:
        twin = name not in work.study.models
        lm, folder, everywhere = work.model(name), activation_folder(work, name), TWIN_POSITIONS if twin else POSITIONS
        sets = [
            (folder, work.bank.profile(work.study.profile), everywhere),
            (folder / "implicit", work.bank.implicit(), everywhere),
            (folder / "real_world", work.bank.real_world(), everywhere),
        ]
        if not twin:
            sets += [
                (folder / "foils", work.bank.foils(), PROBE_POSITIONS),
                (folder / "intensity", work.bank.intensity_series(), PROBE_POSITIONS),
                (folder / "spoken", work.bank.spoken("development"), PROBE_POSITIONS),
                (folder / "ordinary", prompts.ordinary(work.study.generic_texts), PROBE_POSITIONS),
            ]
        files: list[Path] = []
        for target, data, positions in sets:
            if not len(data):
                continue
            with work.progress(f"{name}: recording {data.name}", len(data)) as done:
                found = extract(lm, data, positions=positions, batch_tokens=work.study.batch_tokens, on_batch=done)
            files += save_activations(found, target)
        if not twin:
            generic = generic_statistics(lm, [t.text for t in prompts.generic_sample(work.study.generic_texts)])
            files.append(save_generic(generic, folder))
        return Measures(files=files)
