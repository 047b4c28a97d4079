"""Does the engine record and edit exactly what the model computes?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from emotion_circuits.directions import POSITIONS, extract
from emotion_circuits.engine import (
    Batch,
    Edit,
    Point,
    PrefixReplay,
    add,
    count_hooks,
    final_states,
    verify,
)
from emotion_circuits.models import LoadedModel
from emotion_circuits.selftest._bank import EMOTIONS
from emotion_circuits.selftest._bench import Bench, Subject
from emotion_circuits.selftest._check import SelftestCheck, check

EXACT = 1e-5


def edits_are_exact(bench: Bench) -> Iterator[SelftestCheck]:
    """At every layer a replayed edit equals the full forward pass with it, and a zero edit the clean run."""
    subject = bench.subject
    zero = torch.zeros(len(EMOTIONS), subject.lm.d_model)
    steps = torch.stack([subject.facts.length * torch.from_numpy(v).float() for v in subject.facts.directions.values()])
    yield check("zero edit against the clean run, largest difference", replay_error(subject, zero), 0, 0)
    yield check("replayed edit against the full forward pass", replay_error(subject, steps), 0, EXACT)
    moved = min(_change(subject.lm, batch, steps) for batch in subject.slots("test").batches)
    yield check("what that edit changes, relative", moved, 0.01, 10)


def replay_error(subject: Subject, deltas: Tensor) -> float:
    """Largest difference at the last tokens, over layers and deltas (variants, d), relative to the largest entry."""
    lm, worst = subject.lm, 0.0
    for batch in subject.slots("test").batches:
        read = batch.last()
        for layer in range(lm.n_layers):
            replay = PrefixReplay(lm, batch, layer)
            for delta in deltas:
                [(_, states)] = replay.variants(delta[None], read)
                edits = [add(Point("resid_post", layer), delta)] if delta.any() else []
                worst = max(worst, _difference(states[0], _last(final_states(lm, batch, edits), read)))
    return worst


def _change(lm: LoadedModel, batch: Batch, deltas: Tensor) -> float:
    clean = _last(final_states(lm, batch), batch.last())
    point = Point("resid_post", 0)
    return min(_difference(_last(final_states(lm, batch, [add(point, d)]), batch.last()), clean) for d in deltas)


def _last(states: Tensor, read: list[int]) -> Tensor:
    return states.reshape(-1, states.shape[-1])[read]


def _difference(a: Tensor, b: Tensor) -> float:
    return 0.0 if torch.equal(a, b) else float((a - b).abs().max() / b.abs().max())


def rows_are_independent(bench: Bench) -> Iterator[SelftestCheck]:
    """Texts packed side by side in a row give the activations that they give alone."""
    subject = bench.subject
    together = extract(replace(subject.lm, packing=True), subject.planted.bank.explicit)
    worst = max(
        _difference(torch.from_numpy(together.at(p)), torch.from_numpy(subject.explicit.at(p))) for p in POSITIONS
    )
    yield check("activations of texts that share a row, largest difference", worst, 0, EXACT)


def hooks_are_removed(bench: Bench) -> Iterator[SelftestCheck]:
    """An exception inside an edit, at any layer, leaves nothing behind."""
    lm, [batch, *_] = bench.subject.lm, bench.subject.slots("test").batches
    before = _last(final_states(lm, batch), batch.last())
    raised = sum(_raises(lm, batch, layer) for layer in range(lm.n_layers))
    yield check("edits that raised an exception, as they were to", raised, lm.n_layers, lm.n_layers)
    yield check("hooks left after them", count_hooks(lm), 0, 0)
    after = _last(final_states(lm, batch), batch.last())
    yield check("clean run after them against before", _difference(after, before), 0, 0)


class _OnPurpose(Exception):
    pass


def _raises(lm: LoadedModel, batch: Batch, layer: int) -> bool:
    """Whether an edit that raises does so."""

    def fail(hidden: Tensor, editable: Tensor) -> Tensor:
        raise _OnPurpose

    try:
        final_states(lm, batch, [Edit(Point("resid_post", layer), fail)])
    except _OnPurpose:
        return True
    return False


def proofs_hold(bench: Bench) -> Iterator[SelftestCheck]:
    """The proofs that run when a model is loaded."""
    proofs = verify(bench.subject.lm).checks
    yield check("failed proofs of the engine", sum(not proof.ok for proof in proofs), 0, 0)
