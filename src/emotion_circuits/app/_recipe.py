"""What is done to a model and asked of it, as one value: a link, a command, a few lines of Python."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import numpy as np
import torch

from emotion_circuits.app._bench import Workbench
from emotion_circuits.directions import DirectionSet
from emotion_circuits.engine import Edit, edits_of, point_of, row_seeds
from emotion_circuits.errors import InputError
from emotion_circuits.interventions import (
    ACTIONS,
    Action,
    check_action,
    check_doses,
    isotropic_directions,
    line,
    pushes_along,
    steering_edit,
)

KIND = "specific"
"""The directions that steer, as the command `generate` takes them."""
MOST_TOKENS = 200


class Part(NamedTuple):
    """One emotion of a mixture: what is done along its direction, and how much."""

    emotion: str
    action: Action
    dose: float


@dataclass(frozen=True)
class Recipe:
    """A run.

    Attributes:
        model: its name.
        prompt: what is continued.
        parts: what is done, all at one layer.
        layer: -1 for `embed`; None for the first emotion's chosen layer.
        seed, temperature, max_tokens: as for `generate`.
        gate: change only those tokens whose score along the first direction is below it; None for all.
    """

    model: str
    prompt: str
    parts: tuple[Part, ...]
    layer: int | None = None
    seed: int = 0
    temperature: float = 0.0
    max_tokens: int = 40
    gate: float | None = None

    @property
    def plain(self) -> bool:
        """Whether the command `generate` does the same: one direction, added to every token."""
        return len(self.parts) == 1 and self.parts[0].action == "add" and self.gate is None

    @property
    def stream_seed(self) -> int:
        """Of the random stream, as the command `generate` takes it."""
        return row_seeds(self.seed, 1)[0]


def layer_of(directions: DirectionSet, recipe: Recipe) -> int:
    """Where a recipe acts.

    Raises:
        InputError: nothing is done, or a layer or emotion that is not there.
    """
    if not recipe.parts:
        raise InputError("No emotion was chosen.", accepted=", ".join(directions.emotions))
    for part in recipe.parts:
        if part.emotion not in directions.emotions:
            raise InputError(f"There is no direction for {part.emotion!r}.", accepted=", ".join(directions.emotions))
    return directions.layer_of(recipe.parts[0].emotion, recipe.layer)


def arms_of(bench: Workbench, directions: DirectionSet, recipe: Recipe) -> list[list[Edit]]:
    """The edits of three arms: none, the recipe's, and the same along random directions of the same size.

    Vectors that are added become one; its twin is the random direction that `generate` draws from the same seed.

    Raises:
        InputError: as from `layer_of`; a dose that the action cannot take.
    """
    at = layer_of(directions, recipe)
    added = np.zeros(bench.lm.d_model)
    others: list[Part] = []
    for part in recipe.parts:
        if part.action not in ACTIONS:
            raise InputError(f"There is no action {part.action!r}.", accepted=", ".join(ACTIONS))
        [dose] = check_doses([part.dose])
        if part.action == "add":
            length = dose * float(directions.generic.unit[at + 1])
            added = added + length * directions.direction(part.emotion, at, KIND).unit
        else:
            check_action(part.action, [dose])
            others.append(part)
    twins = isotropic_directions(
        1 + len(others), bench.lm.d_model, centred=directions.source.centred_norm, seed=recipe.seed
    )
    own: list[Edit] = []
    random: list[Edit] = []
    if any(part.action == "add" for part in recipe.parts):
        single = [part for part in recipe.parts if part.action == "add"]
        size = float(np.linalg.norm(added))
        # Of one emotion the sign of the dose goes to the twin, as in `side_by_side`.
        size = math.copysign(size, single[0].dose) if len(single) == 1 else size
        own.append(steering_edit(at, added))
        random.append(steering_edit(at, size * twins[0]))
    for part, twin in zip(others, twins[1:], strict=True):
        unit = directions.direction(part.emotion, at, KIND).unit
        for edits, along in ((own, unit), (random, twin)):
            edits += edits_of(pushes_along({at: line(directions, at, along)}, [part.dose], part.action))
    return [[], [_in_turn(own, directions, recipe, at)], [_in_turn(random, directions, recipe, at)]]


def _in_turn(edits: Sequence[Edit], directions: DirectionSet, recipe: Recipe, at: int) -> Edit:
    """One edit that makes several, where the gate is open before the first."""
    unit = torch.from_numpy(directions.direction(recipe.parts[0].emotion, at, KIND).unit)
    mean = torch.from_numpy(directions.generic.mean[at + 1].astype(np.float64))
    scale, gate = float(directions.generic.unit[at + 1]), recipe.gate

    def apply(hidden: torch.Tensor, editable: torch.Tensor) -> torch.Tensor:
        if gate is not None:
            score = (hidden.double() - mean.to(hidden.device)) @ unit.to(hidden.device) / scale
            editable = editable & (score < gate).unsqueeze(-1)
        for edit in edits:
            hidden = edit.apply(hidden, editable)
        return hidden

    return Edit(point_of(at), apply)


def to_query(recipe: Recipe) -> str:
    """The recipe as a link's query."""
    values = asdict(recipe) | {"parts": ";".join(f"{p.emotion},{p.action},{p.dose:g}" for p in recipe.parts)}
    return urlencode({name: value for name, value in values.items() if value is not None})


def from_query(query: Mapping[str, str], default: Recipe) -> Recipe:
    """What a link says, and the default where it says nothing.

    Raises:
        InputError: a value that is none.
    """
    found = default
    try:
        if "parts" in query:
            parts = [part.split(",") for part in query["parts"].split(";")]
            found = replace(found, parts=tuple(Part(e, _action(a), float(d)) for e, a, d in parts))
        texts = {name: query[name] for name in ("model", "prompt") if name in query}
        whole = {name: int(query[name]) for name in ("layer", "seed", "max_tokens") if name in query}
        floats = {name: float(query[name]) for name in ("temperature", "gate") if name in query}
        return replace(found, **texts, **whole, **floats)  # type: ignore[arg-type]
    except ValueError as error:
        raise InputError("This link holds a value that cannot be read.", found=error) from error


def _action(name: str) -> Action:
    for action in ACTIONS:
        if action == name:
            return action
    raise ValueError(f"no action {name!r}")


def as_command(recipe: Recipe, layer: int, stored: Path | None) -> str:
    """The command lines that write the same texts, or a remark where there are none.

    Args:
        recipe: what was done, and the layer it was done at.
        stored: the file that the directions are from; None where the app made them.
    """
    if not recipe.plain:
        return "# The command `generate` adds one direction to every token; mixtures, ablation and gates are in Python."
    [part] = recipe.parts
    flags = ["--model", recipe.model, "--emotion", part.emotion, f"--dose={part.dose:g}", f"--layer={layer}"]
    flags += [f"--max-tokens={recipe.max_tokens}", f"--temperature={recipe.temperature:g}", f"--seed={recipe.seed}"]
    flags += [f"--vectors={stored}"] if stored else []
    lines = [shlex.join(["emotion-circuits", "generate", *flags, "--prompt", recipe.prompt])]
    if stored is None:
        lines = [
            shlex.join(["emotion-circuits", verb, "--model", recipe.model]) for verb in ("extract", "vectors")
        ] + lines
    return " &&\n".join(lines)


def as_python(recipe: Recipe, layer: int, stored: Path | None) -> str:
    """Lines that write the clean and the steered text; arguments as of `as_command`."""
    made = [
        'acts = ec.record(lm, ec.prompts.bank().profile("baseline"))',
        "directions = ec.directions(acts)",
    ] if stored is None else [f"directions = ec.directions.load_directions(Path({str(stored)!r}))"]  # fmt: skip
    lines = [
        *(["from pathlib import Path", ""] if stored else []),
        "import emotion_circuits as ec",
        "",
        f"lm = ec.load({recipe.model!r})",
        *made,
        f"how = dict(max_tokens={recipe.max_tokens}, temperature={recipe.temperature:g}, seed={recipe.stream_seed})",
        f"prompt = {recipe.prompt!r}",
        "print(lm.generate(prompt, **how))",
    ]
    depth = ""
    for part in recipe.parts:
        if part.action == "add":
            lines.append(f"{depth}with lm.steer(directions.direction({part.emotion!r}, {layer}), dose={part.dose:g}):")
            depth += "    "
        else:
            lines.append(f"{depth}# {part.action} {part.emotion} {part.dose:g}: see interventions.pushes_along")
    lines.append(f"{depth}print(lm.generate(prompt, **how))")
    if recipe.gate is not None:
        lines.append(f"# Without the gate at {recipe.gate:g}, which only the app has.")
    return "\n".join(lines)
