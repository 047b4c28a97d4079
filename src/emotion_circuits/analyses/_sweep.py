"""A sweep on development contexts: the layer and dose that the causal test is then made at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import field_validator

from emotion_circuits import prompts
from emotion_circuits._files import read_json, write_json, write_table
from emotion_circuits.analyses._analysis import Measures, analysis
from emotion_circuits.analyses._settings import (
    ALL_LAYERS,
    AnalysisPlan,
    Count,
    Draws,
    Finite,
    PositionName,
    Several,
)
from emotion_circuits.analyses._work import (
    Workshop,
    patching_path,
)
from emotion_circuits.errors import InputError
from emotion_circuits.interventions import (
    Choice,
    Layout,
    balanced_contexts,
    choose_layer_and_dose,
    few_continuations,
    relative_layers,
    seconds_for,
    sweep,
    sweep_cost,
)
from emotion_circuits.prompts import Context
from emotion_circuits.scoring import continuation_task, slot_task, where_told
from emotion_circuits.statistics import (
    measures_table,
)

MOST_READ = 16
"""Development contexts whose openings are read with continuations."""
FULL_DOSES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)


class SteeringPlan(AnalysisPlan):
    """How the causal test is run."""

    position: PositionName = "mean"
    """Position whose directions are added."""
    depths: Count = 5
    """How many relative depths the development sweep visits."""
    doses: Several[Finite] = (-0.4, -0.2, -0.1, 0.1, 0.2, 0.4)
    """Doses of the development sweep, in spreads of generic text (its median distance from the layer's mean); at least
    one of both signs."""
    development_contexts: Draws = 12
    """On which the layer and the dose are chosen."""
    continuations_per_class: Count = 2
    """Teacher-forced continuations of every class that the sweep and the test read."""
    covariance_controls: Draws = 1000
    """Directions with the covariance of generic text, at the chosen layer and dose; v and −v are two of them."""
    shuffled_controls: Draws = 1000
    """Directions of texts with labels shuffled within their scenarios; claims have to beat both kinds."""
    isotropic_controls: Draws = 100
    """Random directions without any preference, for a band beside them."""
    control_contexts: Draws = 12
    """Test contexts that controls are tried on; the slope is measured on all."""
    text_contexts: Draws = 24
    """Test contexts that texts are written after, whose openings are read with continuations, and on which mapped
    directions are steered with."""
    text_tokens: Count = 30
    """Of every continuation that is written."""

    @field_validator("doses")
    @classmethod
    def _of_both_signs(cls, doses: tuple[float, ...]) -> tuple[float, ...]:
        if 0 in doses or not any(-dose in doses for dose in doses):
            raise ValueError("doses other than 0, and one at least with both signs")
        if max(map(abs, doses)) > 100:
            raise ValueError("doses up to 100, a hundred times what generic text spreads")
        return doses

    FULL = {  # noqa: RUF012
        "depths": ALL_LAYERS,
        "doses": tuple(sign * dose for sign in (-1, 1) for dose in FULL_DOSES),
        "development_contexts": 16,
        "covariance_controls": 2000,
        "isotropic_controls": 1000,
        "control_contexts": 24,
    }


@analysis("sweep", command="", question="RQ3", needs=("directions",), plan_key="steering")
class SweepDevelopment:
    """Relative depths × doses × emotions on development contexts, and the layer and dose chosen there."""

    Plan = SteeringPlan

    def run(self, work: Workshop, plan: SteeringPlan, name: str) -> Measures:
        lm = work.model(name)
        directions = work.directions(name, plan.position)
        contexts = prompts.contexts("development")
        few = balanced_contexts(contexts, plan.development_contexts)
        slots, untold = where_told(lambda words: slot_task(lm, few, words), work.bank.word_sets())
        for emotion, why in untold.items():
            work.tell(f"{name}: no steering of {emotion}: {why}")
        continuations = continuation_task(
            lm,
            openings(balanced_contexts(contexts, MOST_READ)),
            few_continuations(work.bank, "development", plan.continuations_per_class),
        )
        emotions = tuple(e for e in directions.emotions if e in slots.classes)
        table, chosen = patching_path(work, name, "sweep.parquet"), patching_path(work, name, "choice.json")
        if not emotions:  # nothing to choose by: where the first emotion is told best, as little as is planned
            layer = max(0, directions.chosen_layer[directions.emotions[0]])
            write_table(table, measures_table([]))
            write_json(chosen, Choice(layer, min(abs(dose) for dose in plan.doses))._asdict())
            return Measures(files=[table, chosen])
        layout = Layout(relative_layers(lm.n_layers, plan.depths), plan.doses, emotions)
        announce(work, name, "the development sweep sends", sweep_cost(lm, slots, continuations, layout))
        forwards = (len(slots.batches) + len(continuations.batches)) * len(layout.layers)
        variants = forwards * len(layout.emotions) * (len(layout.doses) + 1)
        with work.counting(f"{name}: development sweep", variants) as add:
            result = sweep(
                lm,
                directions,
                slots,
                continuations,
                layers=layout.layers,
                doses=layout.doses,
                emotions=emotions,
                batch_tokens=work.study.batch_tokens,
                on_variants=add,
                parts=work.parts,
            )
        write_table(table, measures_table(result.measures(work.study.seed)))
        write_json(chosen, choose_layer_and_dose(result)._asdict())
        return Measures(files=[table, chosen])


def read_choice(path: Path) -> Choice:
    """The chosen layer and dose.

    Raises:
        InputError: missing or malformed.
    """
    found = read_json(path)
    try:
        return Choice(int(found["layer"]), float(found["dose"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} does not hold a layer and a dose.", found=found) from error


def openings(contexts: Sequence[Context]) -> list[Context]:
    """The contexts that open a text."""
    return [c for c in contexts if c.slot == "opening"]


def announce(work: Workshop, name: str, what: str, tokens: int) -> None:
    """Say what a long step costs before it starts; `what` ends with the verb, send or sends."""
    work.tell(
        f"{name}: {what} {tokens:,} tokens through the model, about {seconds_for(work.model(name), tokens):.0f} s"
    )
