"""Directions of every emotion at every position, with the layers chosen on development scenarios."""

from __future__ import annotations

from pathlib import Path

from emotion_circuits.analyses._analysis import Measures, analysis
from emotion_circuits.analyses._settings import AnalysisPlan
from emotion_circuits.analyses._work import Workshop, activation_folder, directions_path, recorded_texts
from emotion_circuits.directions import POSITIONS, fit_with_layers, load_generic, save_directions


@analysis("directions", command="", question="RQ1", needs=("activations",))
class FitDirections:
    """All later analyses read these."""

    def run(self, work: Workshop, plan: AnalysisPlan, name: str) -> Measures:
        folder = activation_folder(work, name)
        explicit = work.activations(name)
        implicit = recorded_texts(folder / "implicit", explicit)
        generic = load_generic(folder)
        spoken, ordinary = (recorded_texts(folder / kind, explicit) for kind in ("spoken", "ordinary"))
        files: list[Path] = []
        for position in POSITIONS:
            there = explicit.with_position(position)
            if not len(there.data):
                work.tell(f"{name}: no directions at {position}, which no text has")
                continue
            files.append(directions_path(work, name, position))
            fitted = fit_with_layers(there, position, generic, implicit=implicit, spoken=spoken, ordinary=ordinary)
            save_directions(fitted, files[-1])
        return Measures(files=files)
