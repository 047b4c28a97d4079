"""Layer × dose: what a direction did there in a study, or does in a small grid computed now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple

from emotion_circuits._files import read_table
from emotion_circuits.app._bench import Workbench
from emotion_circuits.app._recipe import KIND
from emotion_circuits.directions import DirectionSet
from emotion_circuits.errors import InputError
from emotion_circuits.interventions import (
    Controls,
    control_bands,
    relative_layers,
    sweep,
    sweep_material,
    with_bands,
)
from emotion_circuits.report import SweepCell, looks_of, sweeps_of
from emotion_circuits.statistics import Measure

DOSES = (-0.4, -0.2, 0.2, 0.4)
N_LAYERS, N_CONTROLS = 4, 20


class LayerDoseMap(NamedTuple):
    """What was measured of one emotion.

    Attributes:
        model, emotion: whose.
        where: where the numbers come from.
        cells: (layer, dose) → the measured change of own log-odds beside chance, and the damage.
    """

    model: str
    emotion: str
    where: str
    cells: Mapping[tuple[int, float], SweepCell]

    @property
    def layers(self) -> list[int]:
        """The deepest first."""
        return sorted({layer for layer, _ in self.cells}, reverse=True)

    @property
    def doses(self) -> list[float]:
        return sorted({dose for _, dose in self.cells})


def _map_of(rows: list[Measure], model: str, emotion: str, where: str, bench: Workbench) -> LayerDoseMap | None:
    for found in sweeps_of(rows, (), looks_of(bench.bank)):
        if found.series == KIND and found.unit == "dose":
            cells = {(p.layer, p.dose): cell for p, cell in found.cells.items() if p.emotion == emotion}
            if cells:
                return LayerDoseMap(model, emotion, where, cells)
    return None


def stored_map(bench: Workbench, folder: Path | None, emotion: str) -> LayerDoseMap | None:
    """The finished sweep of a results folder; None where there is none of this model and emotion."""
    path = None if folder is None else folder / "patching" / f"{bench.lm.name.slug}_sweep.parquet"
    if path is None or not path.is_file():
        return None
    rows = [Measure(*row) for row in read_table(path)[list(Measure._fields)].itertuples(index=False, name=None)]
    return _map_of(rows, str(bench.lm.name), emotion, str(path), bench)


def computed_map(bench: Workbench, directions: DirectionSet, emotion: str) -> Iterator[float | LayerDoseMap]:
    """A small grid: shares of the work that are done, then the map. Chance is what 20 random directions do.

    Raises:
        InputError: an emotion that lacks words to compare.
    """
    if emotion not in bench.bank.emotions:
        raise InputError("A map compares the words of the bank's emotions.", found=emotion,
                         accepted=", ".join(bench.bank.emotions))  # fmt: skip
    layers = relative_layers(bench.lm.n_layers, N_LAYERS)
    progress: SimpleQueue[float | LayerDoseMap | BaseException] = SimpleQueue()

    def work() -> None:
        try:
            progress.put(_grid(bench, directions, emotion, layers, progress.put))
        except BaseException as error:
            progress.put(error)

    # A thread, because the library calls back and the page asks.
    Thread(target=work, daemon=True).start()
    while True:
        found = progress.get()
        if isinstance(found, BaseException):
            raise found
        yield found
        if isinstance(found, LayerDoseMap):
            return


def _grid(
    bench: Workbench, directions: DirectionSet, emotion: str, layers: tuple[int, ...], tell: Callable[[float], None]
) -> LayerDoseMap:
    done = 0
    with bench.lock:
        material = sweep_material(bench.lm, bench.bank)
        variants = len(layers) * (1 + len(DOSES))
        passes = material.batches * variants + len(material.slots.batches) * variants * N_CONTROLS

        def count(n: int) -> None:
            nonlocal done
            done += n
            tell(min(done / passes, 0.99))

        found = sweep(
            bench.lm, directions, material.slots, material.continuations, layers=layers, doses=DOSES,
            emotions=[emotion], on_variants=count,
        )  # fmt: skip
        controls = Controls(directions, KIND)
        bands = control_bands(bench.lm, controls, material.slots, found.layout, N_CONTROLS, on_variants=count)
    rows = with_bands(found, bands, found.measures())
    where = f"a grid computed now: {len(material.slots.contexts)} development contexts, {N_CONTROLS} random directions"
    made = _map_of(rows, str(bench.lm.name), emotion, where, bench)
    if made is None:
        raise InputError("The grid gave no numbers.", found=emotion)
    return made
