"""What a study's picture of separability looks like under chance: the same texts, models and code, but within every
scenario the labels are dealt out at random before anything is fitted, chosen or judged.

    python docs/examples/under_chance.py results/baseline results/under_chance
"""

import sys
from dataclasses import replace
from pathlib import Path

from emotion_circuits.analyses import separability_claim
from emotion_circuits.directions import (
    IMPLICIT,
    Activations,
    UntrainedTwin,
    fit_with_layers,
    floor_scores,
    load_activations,
    project,
)
from emotion_circuits.prompts import Dataset
from emotion_circuits.report import write_report
from emotion_circuits.statistics import Claim, judge, permute_within_groups, write_claims

SEED = 0


def dealt(recorded: Activations) -> Activations:
    """With labels shuffled within scenarios: the same ones for the same texts, whatever the model."""
    [labels] = permute_within_groups(recorded.labels, recorded.scenarios, 1, SEED)
    texts = [replace(text, emotion=str(label)) for text, label in zip(recorded.data, labels, strict=True)]
    return replace(recorded, data=Dataset(recorded.data.name, tuple(texts)))


def claims_of(model: Path) -> list[Claim]:
    explicit, implicit = (dealt(load_activations(folder)) for folder in (model, model / "implicit"))
    directions = fit_with_layers(explicit, "mean", explicit.generic, implicit=implicit, kinds=("specific",))
    judged, twins = implicit.select(split="test"), []
    for texts in sorted(model.parent.glob(f"{model.name}+init=random*/implicit")):
        of_twin = [dealt(load_activations(part)) for part in (texts.parent, texts)]
        twins.append((UntrainedTwin(*of_twin, "mean"), of_twin[1].select(split="test")))
    floors = floor_scores(explicit.data, judged.data, twins)
    found = []
    for emotion, layer in directions.chosen_layer.items():
        scores, embedding = (project(judged, directions, emotion, "specific", row) for row in (layer + 1, 0))
        simpler = {"embedding": [embedding]}
        for floor in floors:
            if floor.emotion == emotion:
                simpler.setdefault(floor.name, []).append(floor.scores)
        claim = separability_claim(
            scores, judged.data, emotion, simpler, effect=0.1, seed=SEED, id="rq1.separability", statistic=IMPLICIT,
            unit="scenarios", model=explicit.source.model, layer=layer, evidence=(),
        )  # fmt: skip
        found.append(claim)
    return found


study, here = Path(sys.argv[1]), Path(sys.argv[2])
models = [folder for folder in sorted((study / "activations").iterdir()) if "+init=" not in folder.name]
write_claims(here / "claims.json", judge([claim for folder in models for claim in claims_of(folder)]))
write_report(here)
print(here / "report" / "index.html")
