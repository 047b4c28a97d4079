"""Proofs that recording, editing and replaying are exact for a model. The quick ones run whenever one is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from emotion_circuits import models
from emotion_circuits.engine import _edits
from emotion_circuits.engine._batches import Batch, plan_batches
from emotion_circuits.engine._precision import matmul_precision
from emotion_circuits.engine._record import record, record_tokens
from emotion_circuits.engine._replay import PrefixReplay, final_states
from emotion_circuits.engine._run import count_hooks, forward, hooks, logits_of
from emotion_circuits.engine._sites import Point, Site
from emotion_circuits.engine._writes import written
from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.models import LoadedModel

PROBE_TEXTS = (
    "The parcel arrived on Tuesday.",
    "She read the letter twice, then put it back into the drawer and closed it.",
    "Rain.",
    "We meet at the corner of the market square at half past nine tomorrow morning.",
)
NO_OVERFLOW = "points where ordinary text overflows"
_COMPUTED: tuple[Site, ...] = ("resid_pre", "z", "attn_out", "resid_mid", "mlp_act", "mlp_out", "resid_post")
_MIDDLE: tuple[Site, Site] = ("resid_mid", "attn_out")
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.05, torch.float16: 0.01}


@dataclass(frozen=True)
class Check:
    """One proof: a measured value that must not exceed its limit."""

    name: str
    value: float
    limit: float

    @property
    def ok(self) -> bool:
        return self.value <= self.limit


@dataclass(frozen=True)
class Verification:
    """All proofs for one model."""

    model: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)


def _difference(a: Tensor, b: Tensor) -> float:
    """Largest absolute difference over the largest entry; 0 only if every bit that matters is the same."""
    if torch.equal(a, b):
        return 0.0
    difference = float((a.float() - b.float()).abs().max() / b.float().abs().max().clamp(min=1e-30))
    # NaN is smaller than nothing and larger than nothing: `max` over layers would drop it.
    return difference if math.isfinite(difference) else math.inf


def _batches(lm: LoadedModel, packed: bool) -> tuple[Batch, ...]:
    return plan_batches([e.ids for e in lm.encode(PROBE_TEXTS)], packed=packed)


def _proof_batch(lm: LoadedModel) -> Batch:
    return (_batches(lm, packed=True) if lm.packing else _batches(lm, packed=False)[-1:])[0]


def packing_error(lm: LoadedModel) -> float:
    """How far packed rows are from one text a row, over all layers' `resid_post` and every token."""
    encoded = lm.encode(PROBE_TEXTS)
    positions = {str(k): [[k] if k < len(e) else [] for e in encoded] for k in range(max(map(len, encoded)))}
    points = [Point("resid_post", layer) for layer in range(lm.n_layers)]
    ids = [e.ids for e in encoded]
    together, alone = (record(lm, ids, positions, points, packed=packed) for packed in (True, False))
    return max(_difference(torch.nan_to_num(together.values[p]), torch.nan_to_num(alone.values[p])) for p in points)


def _hidden_states_error(lm: LoadedModel, batch: Batch) -> float:
    """Our `resid_post` and `embed` against transformers' own `output_hidden_states`, same batch: 0 is exact."""
    points = [Point("embed", 0), *(Point("resid_post", layer) for layer in range(lm.n_layers - 1))]
    with torch.inference_mode(), matmul_precision(lm):
        theirs = lm.base(**batch.inputs(lm), output_hidden_states=True, use_cache=False).hidden_states
    ours = record_tokens(lm, batch, points)
    return max(_difference(ours[p], theirs[i]) for i, p in enumerate(points))


def _addition_error(lm: LoadedModel, batch: Batch) -> float:
    """resid_post against resid_pre + attn_out + mlp_out at every layer."""
    sites: tuple[Site, ...] = ("resid_pre", "attn_out", "mlp_out", "resid_post")
    seen = record_tokens(lm, batch, [Point(site, layer) for layer in range(lm.n_layers) for site in sites])
    worst = 0.0
    for layer in range(lm.n_layers):
        pre, attn, mlp, post = (seen[Point(site, layer)] for site in sites)
        worst = max(worst, _difference(pre + attn + mlp, post))
    return worst


def _parts_error(lm: LoadedModel, batch: Batch) -> float:
    """Out-projections of `z` and `mlp_act` (and norms behind them) against `attn_out` and `mlp_out`, also as sums of
    what components write, and what the MLP's norm reads against the stream after attention, at every layer."""
    sites: list[Site] = ["z", "attn_out", "mlp_act", "mlp_out", "resid_pre"]
    if not lm.parallel:
        sites.append("resid_mid")
    seen = record_tokens(lm, batch, [Point(site, layer) for layer in range(lm.n_layers) for site in sites])
    worst = 0.0
    with torch.no_grad(), matmul_precision(lm):
        for layer in range(lm.n_layers):
            at = {site: seen[Point(site, layer)] for site in sites}
            parts = [(one, at["attn_out"]) for one in written(lm, "z", layer, at["z"])]
            parts += [(one, at["mlp_out"]) for one in written(lm, "mlp_act", layer, at["mlp_act"])]
            if not lm.parallel:
                parts.append((at["resid_pre"] + at["attn_out"], at["resid_mid"]))
            worst = max(worst, *(_difference(*part) for part in parts))
    return worst


def _middle_edit_error(lm: LoadedModel, batch: Batch) -> float:
    """The same vector added at `resid_mid` and at `attn_out`, which are one change of the stream, at every layer."""
    if lm.parallel:
        return 0.0
    vector = torch.linspace(-1.0, 1.0, lm.d_model)
    keep = torch.from_numpy(batch.owner >= 0)
    worst = 0.0
    for layer in range(lm.n_layers):
        edits = [_edits.add(Point(site, layer), vector) for site in _MIDDLE]
        at_mid, at_attention = (final_states(lm, batch, [edit]).cpu()[keep] for edit in edits)
        worst = max(worst, _difference(at_mid, at_attention))
    return worst


def _logits_error(lm: LoadedModel, batch: Batch) -> float:
    """Final norm and LM head on the last layer's `resid_post` against the logits that transformers gives."""
    point = Point("resid_post", lm.n_layers - 1)
    last = record_tokens(lm, batch, [point])[point]
    with torch.no_grad(), matmul_precision(lm):
        ours = logits_of(lm, lm.final_norm(last))
        theirs = lm.hf(**batch.inputs(lm), use_cache=False).logits
    return _difference(ours, theirs)


def _replay_error(lm: LoadedModel, batch: Batch, layer: int, dose: float) -> float:
    """A replayed edit against the full forward pass with that edit; dose 0 against the clean run."""
    point = Point("resid_post", layer)
    vector = torch.linspace(-1.0, 1.0, lm.d_model) * dose
    replay = PrefixReplay(lm, batch, layer)
    [(_, states)] = replay.variants(vector[None], list(range(batch.shape[0] * batch.shape[1])), batch_tokens=1)
    full = final_states(lm, batch, [_edits.add(point, vector)] if dose else [])
    keep = torch.from_numpy(batch.owner >= 0).reshape(-1)
    return _difference(states[0].cpu()[keep], full.reshape(-1, full.shape[-1]).cpu()[keep])


def _norm_error(lm: LoadedModel) -> float:
    """1 unless the final norm is blind to the all-ones direction exactly if the family says so."""
    vector = torch.linspace(-1.0, 1.0, lm.d_model, dtype=lm.dtype, device=lm.device)[None, None]
    with torch.no_grad():
        blind = _difference(lm.final_norm(vector + 3), lm.final_norm(vector)) <= TOLERANCE[torch.bfloat16]
    return float(blind != lm.family.centred_norm)


def _causality_error(lm: LoadedModel) -> float:
    """The beginning of a text without its end against the whole text."""
    ids = torch.tensor([lm.encode(PROBE_TEXTS[-1:])[0].ids], device=lm.device)
    half = ids.shape[1] // 2
    with torch.inference_mode():
        return _difference(forward(lm, ids[:, :half]), forward(lm, ids)[:, :half])


def _padding_error(lm: LoadedModel) -> float:
    """Right padding under a mask against one text a row, at real tokens."""
    encoded = lm.encode(PROBE_TEXTS)
    longest = max(map(len, encoded))
    ids = torch.zeros(len(encoded), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, e in enumerate(encoded):
        ids[row, : len(e)] = torch.tensor(e.ids)
        mask[row, : len(e)] = 1
    worst = 0.0
    with torch.inference_mode():
        padded = forward(lm, ids.to(lm.device), attention_mask=mask.to(lm.device))
        for row, e in enumerate(encoded):
            alone = forward(lm, torch.tensor([e.ids], device=lm.device))
            worst = max(worst, _difference(padded[row, : len(e)], alone[0]))
    return worst


def _hooks_left_after_an_exception(lm: LoadedModel, batch: Batch) -> float:
    before = count_hooks(lm)

    def fail(_: Tensor) -> None:
        raise KeyError("on purpose")

    try:
        with hooks(lm, {Point("resid_post", 0): fail}):
            forward(lm, **batch.inputs(lm))
    except KeyError:
        pass
    return float(count_hooks(lm) - before)


def _points(lm: LoadedModel) -> list[Point]:
    """Every site of every layer, in the order in which a forward pass comes to them."""
    sites = [site for site in _COMPUTED if not (site == "resid_mid" and lm.parallel)]
    return [Point("embed", 0), *(Point(site, layer) for layer in range(lm.n_layers) for site in sites)]


def _all_sites_fire(lm: LoadedModel, seen: dict[Point, Tensor]) -> float:
    """How many points did not fire exactly once (0)."""
    return float(len(_points(lm)) - len(seen))


def _strays(lm: LoadedModel) -> float:
    """How many projections are not within the attention or the MLP that they are said to belong to."""
    inside = [
        (module, whole)
        for layer in range(lm.n_layers)
        for module, whole in (
            (lm.values(layer), lm.attention(layer)),
            (lm.attention_out(layer), lm.attention(layer)),
            (lm.mlp_out(layer), lm.mlp(layer)),
        )
    ]
    return float(sum(all(module is not part for part in whole.modules()) for module, whole in inside))


def _overflows(lm: LoadedModel, seen: dict[Point, Tensor]) -> list[str]:
    """Where values are not finite, or so large that their squares are not, which norms sum: first come first."""
    found = [
        f"{point.site} of layer {point.layer}"
        for point in _points(lm)
        if not bool(seen[point].float().square().sum(-1).isfinite().all())
    ]
    with torch.no_grad():
        last = lm.final_norm(seen[Point("resid_post", lm.n_layers - 1)][:, -1:])
        return found if bool(logits_of(lm, last).isfinite().all()) else [*found, "logits"]


def verify(lm: LoadedModel, *, quick: bool = False) -> Verification:
    """Prove the engine on a model.

    Args:
        lm: the model.
        quick: only the proofs that run at every load: hooks fire, the stream adds up, the sites of a block fit
            together, a zero edit is nothing and a replay equals the forward pass at one layer, logits are the model's,
            texts are read forwards, no hook remains.
    """
    packed = _proof_batch(lm)
    near = TOLERANCE[lm.dtype]
    hooks_before = count_hooks(lm)
    middle = lm.n_layers // 2
    [short] = plan_batches([lm.encode(PROBE_TEXTS[2:3])[0].ids], packed=False)
    seen = record_tokens(lm, packed, _points(lm))
    values: list[tuple[str, float, float]] = [
        ("points that did not fire once", _all_sites_fire(lm, seen), 0.0),
        ("modules outside those they belong to", _strays(lm), 0.0),
        (NO_OVERFLOW, float(len(_overflows(lm, seen))), 0.0),
        ("residual stream adds up", _addition_error(lm, packed), near),
        ("parts of every block fit together", _parts_error(lm, packed), near),
        ("zero edit equals the clean run, bit for bit", _replay_error(lm, packed, middle, 0.0), 0.0),
        ("replay equals forward, middle layer", _replay_error(lm, packed, middle, 1.0), near),
        ("final norm and head give transformers' logits", _logits_error(lm, short), near),
        ("norms are centred as the family says", _norm_error(lm), 0.0),
        ("the end of a text changes nothing before it", _causality_error(lm), near),
    ]
    if not quick:
        layers = range(lm.n_layers)
        values += [
            ("recorded equals transformers' hidden states, bit for bit", _hidden_states_error(lm, packed), 0.0),
            ("edits in the middle of a block reach the stream", _middle_edit_error(lm, packed), near),
            ("replay equals forward, all layers", max(_replay_error(lm, packed, k, 1.0) for k in layers), near),
            ("zero edit, all layers, bit for bit", max(_replay_error(lm, packed, k, 0.0) for k in layers), 0.0),
            ("right padding changes nothing", _padding_error(lm), near),
            ("hooks left after an exception", _hooks_left_after_an_exception(lm, packed), 0.0),
        ]
    if not quick and lm.packing:  # a model that does not take packed rows is run without them
        values.append(("packed rows equal one text a row", packing_error(lm), near))
    values.append(("hooks left", float(count_hooks(lm) - hooks_before), 0.0))
    return Verification(str(lm.name), tuple(Check(*v) for v in values))


def with_packing(lm: LoadedModel) -> LoadedModel:
    """The same model, with packed rows where they give what one text a row gives."""
    return replace(lm, packing=packing_error(lm) <= TOLERANCE[lm.dtype])


def load_verified(name: str, **options: Any) -> LoadedModel:
    """Load a model, find out whether it takes packed rows, and run the quick proofs.

    Args:
        name: a model name (see `models.ModelName`).
        options: as for `models.load`.

    Raises:
        InputError: numbers overflow on ordinary text.
        MeasurementError: a proof failed, so no number from this model could be trusted.
    """
    lm = with_packing(models.load(name, **options))
    verification = verify(lm, quick=True)
    failed = [c for c in verification.checks if not c.ok]
    if any(c.name == NO_OVERFLOW for c in failed):
        first = _overflows(lm, record_tokens(lm, _proof_batch(lm), _points(lm)))[0]
        raise InputError(
            f"{lm.name} overflows on ordinary text.",
            found=f"numbers too large to square in the {first}",
            next_step="its weights there are damaged or far too large: fetch or convert the model again",
        )
    if failed:
        raise MeasurementError(
            f"The engine is not exact on {lm.name}: {failed[0].name}.",
            found=f"{failed[0].value:.3g}",
            accepted=f"at most {failed[0].limit:.3g}",
            next_step=f"emotion-circuits models verify {lm.name} shows all proofs",
        )
    return lm
