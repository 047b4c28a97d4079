"""What checks work on: a planted model and its twin, measured by the same code as any other model, when first asked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

from emotion_circuits.directions import (
    Activations,
    DirectionSet,
    GenericStatistics,
    extract,
    fit_with_layers,
    generic_statistics,
)
from emotion_circuits.interventions import (
    Choice,
    ControlSlopes,
    SweepResult,
    choose_layer_and_dose,
    control_slopes,
    isotropic_directions,
    relative_layers,
    sweep,
)
from emotion_circuits.models import LoadedModel
from emotion_circuits.scoring import ContinuationTask, SlotTask, continuation_task, slot_task
from emotion_circuits.selftest._bank import neutral_texts
from emotion_circuits.selftest._blueprint import Facts, PlantSpec
from emotion_circuits.selftest._planted import PlantedModel, plant

CANDIDATE_DOSES = (-0.2, -0.1, 0.1, 0.2)
"""Small enough that every layer keeps the perplexity limit."""
CONTINUED = 3
"""How many contexts continuations follow."""
UNMARKED = ("sentence_end", "last_content", "mean")
"""Positions of texts without spans."""
WHERE = "mean"
"""The position whose directions claims and steering use."""
TEXTS_PER_DIMENSION = 5
"""Neutral texts that maps are fitted on: the fewest that keep all of a model's dimensions in the map."""


@dataclass(eq=False)
class Subject:
    """A model under test, with everything measured on it so far."""

    planted: PlantedModel
    _directions: dict[str, DirectionSet] = field(default_factory=dict)
    _controls: dict[tuple[Choice, int, int], ControlSlopes] = field(default_factory=dict)

    @property
    def lm(self) -> LoadedModel:
        """The model."""
        return self.planted.lm

    @property
    def facts(self) -> Facts:
        """What is planted in it."""
        return self.planted.facts

    @cached_property
    def explicit(self) -> Activations:
        """Of texts with cues, at all positions."""
        return extract(self.lm, self.planted.bank.explicit)

    @cached_property
    def implicit(self) -> Activations:
        """Of texts whose cues no direction has seen."""
        return extract(self.lm, self.planted.bank.implicit, positions=UNMARKED)

    @cached_property
    def generic(self) -> GenericStatistics:
        """Of texts of fillers."""
        return generic_statistics(self.lm, self.planted.bank.generic)

    @cached_property
    def neutral(self) -> Activations:
        """Of the texts of fillers that maps to other models are fitted on."""
        texts = neutral_texts(TEXTS_PER_DIMENSION * self.lm.d_model, self.planted.seed)
        return extract(self.lm, texts, positions=(WHERE,))

    def directions(self, position: str = WHERE) -> DirectionSet:
        """Every kind at every layer, with layers chosen on development scenarios."""
        if position not in self._directions:
            self._directions[position] = fit_with_layers(self.explicit, position, self.generic, implicit=self.implicit)
        return self._directions[position]

    def slots(self, split: str) -> SlotTask:
        """The neutral contexts of a split."""
        contexts = [c for c in self.planted.bank.contexts if c.split == split]
        return slot_task(self.lm, contexts, self.planted.bank.word_sets)

    def cue_slots(self, emotion: str) -> SlotTask:
        """The test contexts with a cue of a class in each."""
        return slot_task(self.lm, self.planted.bank.cue_contexts(emotion, "test"), self.planted.bank.word_sets)

    def continuations(self, split: str) -> ContinuationTask:
        """Some contexts of a split with all its continuations."""
        bank = self.planted.bank
        return continuation_task(
            self.lm,
            [c for c in bank.contexts if c.split == split][:CONTINUED],
            [c for c in bank.continuations if c.split == split],
        )

    @cached_property
    def choice(self) -> Choice:
        """Layer and dose, chosen on development contexts as a study does."""
        found = sweep(
            self.lm,
            self.directions(),
            self.slots("development"),
            self.continuations("development"),
            layers=relative_layers(self.lm.n_layers),
            doses=CANDIDATE_DOSES,
        )
        return choose_layer_and_dose(found)

    @cached_property
    def tested(self) -> SweepResult:
        """The chosen layer and both signs of the chosen dose, on test contexts."""
        return sweep(
            self.lm,
            self.directions(),
            self.slots("test"),
            self.continuations("test"),
            layers=[self.choice.layer],
            doses=(-self.choice.dose, self.choice.dose),
        )

    def controls(self, choice: Choice, n: int, seed: int) -> ControlSlopes:
        """Slopes of `n` isotropic vectors ±v at a layer and dose, on test contexts."""
        key = (choice, n, seed)
        if key not in self._controls:
            units = isotropic_directions(n, self.lm.d_model, centred=self.lm.family.centred_norm, seed=seed)
            self._controls[key] = control_slopes(
                self.lm, self.directions(), self.slots("test"), choice, "isotropic", units
            )
        return self._controls[key]


@dataclass(eq=False)
class Bench:
    """Everything that checks of one family share.

    Attributes:
        subject: the planted model.
        twin: the same model without the plant.
        seed: of every draw.
        full: more draws.
    """

    subject: Subject
    twin: Subject
    seed: int = 0
    full: bool = False

    @property
    def name(self) -> str:
        """The family, which the names of its checks begin with."""
        return self.subject.planted.spec.family

    @cached_property
    def rotated(self) -> Subject:
        """The planted model in other coordinates."""
        return in_other_coordinates(self.subject)

    @cached_property
    def rotated_twin(self) -> Subject:
        """The model without the plant in the same other coordinates."""
        return in_other_coordinates(self.twin)

    def drawn(self, few: int, many: int) -> int:
        """A number of draws."""
        return many if self.full else few


def in_other_coordinates(subject: Subject) -> Subject:
    """The same model with its residual stream turned and its words renumbered."""
    planted = subject.planted
    return Subject(plant(planted.spec, seed=planted.seed, coordinates=planted.seed))


def bench(family: str = "gpt2", *, seed: int = 0, full: bool = False) -> Bench:
    """Plant a model of a family and its twin."""
    spec = PlantSpec(family=family)
    return Bench(Subject(plant(spec, seed=seed)), Subject(plant(replace(spec, present=False), seed=seed)), seed, full)
