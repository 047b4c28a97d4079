"""Time of aligning every layer of every model with every layer of every other, all nulls included.

    python benchmarks/alignment_speed.py [--untrained 5] [--models 3] [--layers 9] [--texts 1000] [--draws 1000]

The activations are planted numbers in the shape of the reference models (embedding and 8 blocks, 192 dimensions).
"""

from __future__ import annotations

import argparse
import itertools
import os
import time

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from emotion_circuits.geometry import PlantedModels, align_all_layers, layer_gain, planted_models

LIMIT_S = 180.0
Layers = list[npt.NDArray[np.float64]]


def activations(planted: PlantedModels, n_layers: int, seed: int) -> tuple[Layers, Layers]:
    """Training and emotion activations of a model whose layers are rotations of the plant with noise of their own."""
    rng = np.random.default_rng(seed)
    width = planted.fit_a.shape[1]
    fit, emotion = [], []
    for _ in range(n_layers):
        rotation = np.linalg.qr(rng.standard_normal((width, width)))[0]
        fit.append(planted.fit_a @ rotation + rng.standard_normal(planted.fit_a.shape))
        emotion.append(planted.emotion_a @ rotation + rng.standard_normal(planted.emotion_a.shape))
    return fit, emotion


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("models", 3), ("layers", 9), ("width", 192), ("texts", 1000), ("scenarios", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--draws", type=int, default=1000, help="draws of each null")
    parser.add_argument(
        "--untrained", type=int, default=0, help="untrained twins of each model, aligned on either side"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="pairs of layers at once, each on one core")
    options = parser.parse_args()

    plant = planted_models(
        n_fit=options.texts, n_scenarios=options.scenarios, width_a=options.width, width_b=options.width, seed=0
    )
    trained = [activations(plant, options.layers, seed) for seed in range(options.models)]
    twins = [
        [activations(plant, options.layers, 100 * model + seed) for seed in range(1, options.untrained + 1)]
        for model in range(options.models)
    ]
    pairs = list(itertools.permutations(range(options.models), 2))
    seconds = {"trained, all nulls": 0.0, "untrained twins": 0.0}

    def align(a: tuple[Layers, Layers], b: tuple[Layers, Layers], n_draws: int):  # type: ignore[no-untyped-def]
        design = {"labels": plant.labels, "groups": plant.groups, "fit_labels": plant.fit_labels}
        return align_all_layers(a[0], b[0], a[1], b[1], **design, n_draws=n_draws, n_jobs=options.jobs, seed=0)

    with Progress(console=Console(stderr=True), transient=True) as progress:
        for a, b in progress.track(pairs, description="pairs of models"):
            start = time.perf_counter()
            result = align(trained[a], trained[b], options.draws)
            seconds["trained, all nulls"] += time.perf_counter() - start
            start = time.perf_counter()
            arms = [align(twin, trained[b], 0) for twin in twins[a]] + [align(trained[a], twin, 0) for twin in twins[b]]
            if arms:
                layer_gain(result, arms)
            seconds["untrained twins"] += time.perf_counter() - start

    table = Table("part", "alignments", "seconds", "of the limit", title=f"{options.jobs} jobs")
    counts = {"trained, all nulls": len(pairs), "untrained twins": len(pairs) * 2 * options.untrained}
    for part, taken in seconds.items():
        table.add_row(part, str(counts[part] * options.layers**2), f"{taken:.1f}", f"{taken / LIMIT_S:.0%}")
    Console().print(table)


if __name__ == "__main__":
    main()
