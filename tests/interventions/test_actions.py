"""Adding, ablating and clamping, at one layer or a band, at all tokens or the last, against whole passes by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from emotion_circuits import interventions as iv
from emotion_circuits import prompts
from emotion_circuits._parts import Parts
from emotion_circuits.directions import DirectionSet, GenericStatistics, Source
from emotion_circuits.errors import InputError
from emotion_circuits.prompts import bank
from emotion_circuits.scoring import continuation_task, slot_task
from tiny_models import direction_set

CLASSES = bank().names
EMOTIONS = bank().emotions

CONTEXTS = tuple(
    c for slot in prompts.SLOTS for c in [x for x in prompts.contexts("development") if x.slot == slot][:2]
)


@pytest.fixture(scope="module", params=["gpt2", "gpt-neox", "gpt-neo"])
def lm(request, reference):
    return reference(request.param)


@pytest.fixture(scope="module")
def slots(lm):
    return slot_task(lm, CONTEXTS, prompts.bank().word_sets())


def odds_by_hand(lm, slots, k, changes, last):
    """Log-odds (classes,) of one context, float64 softmax, with `changes` {layer: h → h} made to (tokens, d)."""

    def hook(change):
        def run(_module, _inputs, output):
            tensor = output[0] if isinstance(output, tuple) else output
            first = tensor.shape[1] - 1 if last else 1
            tensor[0, first:] = change(tensor[0, first:].double()).float()

        return run

    handles = [lm.blocks[layer].register_forward_hook(hook(change)) for layer, change in changes.items()]
    try:
        with torch.no_grad():
            ids = torch.tensor([lm.encode([slots.contexts[k].text])[0].ids])
            logits = lm.hf(ids, use_cache=False).logits[0, -1].double()
    finally:
        for handle in handles:
            handle.remove()
    p = logits.softmax(-1)
    sums = torch.stack([p[list(slots.slots[k].tokens[c])].sum() for c in CLASSES])
    return (sums.log() - (sums.sum() - sums).log()).numpy()


def change_by_hand(action, unit, scale, mean, dose):
    v, mu = torch.from_numpy(unit), torch.from_numpy(mean.astype(np.float64))

    def change(h):
        above = (h - mu) @ v
        if action == "add":
            return h + dose * scale * v
        if action == "ablate":
            return h - dose * above[:, None] * v
        return h + (dose * scale - above)[:, None] * v

    return change


@pytest.mark.parametrize(("action", "doses"), [("add", (-0.3, 0.4)), ("ablate", (0.5, 1.0)), ("clamp", (-0.3, 0.4))])
@pytest.mark.parametrize(("band", "where"), [(1, "all"), (2, "all"), (1, "last"), (3, "last")])
def test_every_action_equals_whole_passes_by_hand(lm, slots, action, doses, band, where):
    directions = direction_set(lm)
    result = iv.sweep(
        lm, directions, slots, None, layers=[2], doses=doses, emotions=["anger"], action=action, band=band, where=where
    )
    assert result.layout == iv.Layout((2,), doses, ("anger",), action, band, where)
    for k in range(len(CONTEXTS)):
        clean = odds_by_hand(lm, slots, k, {}, False)
        for d, dose in enumerate(doses):
            changes = {}
            for layer in range(2, 2 + band):
                own = directions.direction("anger", layer)
                scale, mean = float(directions.generic.unit[layer + 1]), directions.generic.mean[layer + 1]
                changes[layer] = change_by_hand(action, own.unit, scale, mean, dose)
            expected = odds_by_hand(lm, slots, k, changes, where == "last") - clean
            np.testing.assert_allclose(result.log_odds[0, 0, d, k], expected, atol=3e-4)
    assert result.own_log_odds().shape == (1, 1, 2, 4)


def test_what_is_said_after_the_last_token_is_changed_too(lm):
    """Continuations under `last`: the context's last token and the continuation, against whole passes by hand."""
    directions = direction_set(lm)
    opening = next(c for c in CONTEXTS if c.slot == "opening")
    said = prompts.bank().continuations("development")[:2]
    task = continuation_task(lm, [opening], said)
    slots = slot_task(lm, [opening], prompts.bank().word_sets())
    found = iv.sweep(lm, directions, slots, task, layers=[3], doses=[0.4], emotions=["anger"], where="last")
    own = directions.direction("anger", 3)
    step = torch.from_numpy(0.4 * float(directions.generic.unit[4]) * own.unit).float()
    n_context = len(lm.encode([opening.text])[0])

    def mean_log_p(k, vector):
        def add(_module, _inputs, output):
            tensor = output[0] if isinstance(output, tuple) else output
            tensor[:, n_context - 1 :] += vector

        ids = torch.tensor([task.ids[k]])
        handle = lm.blocks[3].register_forward_hook(add)
        with torch.no_grad():
            log_p = lm.hf(ids, use_cache=False).logits[0].double().log_softmax(-1)
        handle.remove()
        return float(np.mean([log_p[t - 1, ids[0, t]] for t in task.scored[k]]))

    for k in range(2):
        assert task.first[k] == n_context
        expected = mean_log_p(k, step) - mean_log_p(k, torch.zeros_like(step))
        assert found.continuations[0, 0, 0, 0, k] == pytest.approx(expected, abs=2e-4)


def test_ablation_and_turning_round_should_lower_what_adding_raises():
    assert iv.Layout((0,), (0.2,), ()).raises(0.2)
    assert not iv.Layout((0,), (0.2,), ()).raises(-0.2)
    assert not iv.Layout((0,), (1.0,), (), "ablate").raises(1.0)


@pytest.mark.parametrize("action", ["add", "ablate", "clamp"])
def test_every_control_kind_goes_through_the_sweep_s_own_path(lm, slots, action):
    """A control that is the emotion's own direction does exactly what the sweep does."""
    directions = direction_set(lm)
    layout = iv.Layout((1, 4), (0.5,), EMOTIONS, action)
    result = iv.sweep(lm, directions, slots, None, layers=(1, 4), doses=(0.5,), action=action)
    bands = iv.control_bands(lm, iv.Controls(directions), slots, layout, 7, control="other-emotion")
    own = result.log_odds.mean(axis=3)  # layers, directions, doses, classes
    for i, emotion in enumerate(EMOTIONS):
        others = [j for j in range(3) if j != i]
        expected = own[..., CLASSES.index(emotion)][:, others].transpose(0, 2, 1)
        np.testing.assert_allclose(bands.changes[:, i], expected, atol=2e-5)


def test_fixed_controls_are_what_they_say(lm):
    directions = direction_set(lm)
    controls = iv.Controls(directions)
    own = directions.direction("anger", 3).unit
    np.testing.assert_array_equal(controls.units("sign-flipped", 3, 5, "anger", 0), -own[None])
    np.testing.assert_array_equal(
        controls.units("embedding", 3, 5, "anger", 0), directions.direction("anger", -1).unit[None]
    )
    assert controls.units("other-emotion", 3, 5, "anger", 0).shape == (2, lm.d_model)
    for kind in ("covariance", "shuffled-label"):
        with pytest.raises(InputError, match="need activations"):
            controls.units(kind, 3, 5, "anger", 0)
    with pytest.raises(InputError, match="no controls of the kind"):
        controls.units("lucky", 3, 5, "anger", 0)


def test_covariance_controls_have_the_covariance_of_the_tokens():
    """Draws are elongated as the tokens are, before they are made unit vectors; what is cleaned away stays away."""
    rng = np.random.default_rng(0)
    spread = np.array([9.0, 3.0, 1.0, 0.1])
    tokens = 50 + rng.standard_normal((4000, 4)) * spread

    basis = np.eye(4, dtype=np.float32)[:1]
    source = Source(model="m", revision="r", dtype="float32", bos=True, centred_norm=False)
    generic = GenericStatistics(
        np.zeros((2, 4), np.float32), np.ones(2, np.float32), (basis, basis), (np.array([0.9]),) * 2, 9
    )
    directions = DirectionSet(
        source, "mean", "h", {"specific": {"anger": np.ones((2, 4), np.float32)}}, generic, {}, 0.0
    )
    plain = iv.covariance_directions(tokens, directions, 0, 4000, seed=1)
    np.testing.assert_allclose(np.linalg.norm(plain, axis=1), 1)
    # The angle of two coordinates is that of Gaussian draws with these spreads.
    ratio = np.median(np.abs(plain[:, 1] / plain[:, 2]))
    assert ratio == pytest.approx(3.0, rel=0.1)
    cleaned = iv.covariance_directions(tokens, replace(directions, cleaned=0.5), 0, 50, seed=1)
    np.testing.assert_allclose(cleaned[:, 0], 0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"action": "twist"}, "no action"),
        ({"action": "ablate", "doses": [-0.5]}, "share"),
        ({"action": "ablate", "doses": [1.5]}, "share"),
        ({"action": "clamp", "alpha": True}, "for adding"),
        ({"layers": [7], "band": 2}, "No band of 2"),
        ({"band": 0}, "at least one layer"),
        ({"layers": []}, "No layers"),
    ],
)
def test_what_cannot_be_done_is_refused(lm, slots, options, message):
    given = {"layers": [1], "doses": [0.5]} | options
    with pytest.raises(InputError, match=message):
        iv.sweep(lm, direction_set(lm), slots, None, **given)


class Killed(BaseException):
    """As a signal would end the process: nothing may catch it."""


def test_a_sweep_that_was_killed_keeps_its_layers(lm, slots, tmp_path):
    directions = direction_set(lm)
    options = {"layers": (1, 3, 5), "doses": (-0.3, 0.3)}
    whole = iv.sweep(lm, directions, slots, None, **options)
    counted: list[int] = []

    def stop_in_the_second_layer(n: int) -> None:
        counted.append(n)
        if sum(counted) > 9 * len(slots.batches):
            raise Killed

    parts = Parts(tmp_path / "parts", ["a"])
    with pytest.raises(Killed):
        iv.sweep(lm, directions, slots, None, **options, parts=parts, on_variants=stop_in_the_second_layer)
    assert [p.name for p in (tmp_path / "parts").iterdir()] == ["layer-1.safetensors"]
    counted = []
    again = iv.sweep(
        lm, directions, slots, None, **options, parts=Parts(tmp_path / "parts", ["a"]), on_variants=counted.append
    )
    assert sum(counted) == 2 * 9 * len(slots.batches)
    np.testing.assert_array_equal(again.log_odds, whole.log_odds)
    counted.clear()
    iv.sweep(lm, directions, slots, None, **options, parts=Parts(tmp_path / "parts", ["b"]), on_variants=counted.append)
    assert sum(counted) == 3 * 9 * len(slots.batches)
    parts.clear()
    assert not (tmp_path / "parts").exists()


def test_a_torn_part_is_made_again(tmp_path):
    parts = Parts(tmp_path, 1)
    made = parts.kept("x", lambda: {"a": np.arange(3.0)})
    (tmp_path / "x.safetensors").write_bytes(b"torn")
    again = parts.kept("x", lambda: {"a": np.arange(3.0) + 1})
    np.testing.assert_array_equal(made["a"] + 1, again["a"])
    np.testing.assert_array_equal(parts.kept("x", dict)["a"], again["a"])
