"""Two models' heads and units beside each other, by relative depth."""

from __future__ import annotations

from emotion_circuits.analyses._analysis import Measures, analysis
from emotion_circuits.analyses._settings import AnalysisPlan
from emotion_circuits.analyses._work import Workshop, one_line
from emotion_circuits.comparison import write_component_rows
from emotion_circuits.components import read_depths
from emotion_circuits.errors import InputError


@analysis("components", command="", question="RQ4", needs=("heads",), scope="pair")
class CompareComponents:
    """Nothing where one of them has no screens."""

    def run(self, work: Workshop, plan: AnalysisPlan, a: str, b: str) -> Measures:
        try:
            sides = [read_depths(work.folder, name) for name in (a, b)]
        except InputError as error:
            work.tell(f"{a}, {b}: no profiles over depth to compare: {one_line(error)}")
            return Measures()
        return Measures(files=[write_component_rows(work.folder, *sides, seed=work.study.seed)])
