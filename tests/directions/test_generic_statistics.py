"""What ordinary text is like: means, norms, dominant components, and projecting those out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emotion_circuits import prompts
from emotion_circuits.directions import GenericStatistics, energy_words, generic_statistics
from emotion_circuits.directions._generic import MAX_SHARE, TOKENS_PER_TEXT, _top_components
from emotion_circuits.errors import InputError

TEXTS = [t.text for t in prompts.generic(limit=24)]


def statistics_of(spectrum, seed=0):
    """One row whose tokens have these variances along random axes."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.standard_normal((len(spectrum), len(spectrum))))[0]
    tokens = np.vstack([np.sqrt(np.array(spectrum))[:, None] * axes] * 2) * np.repeat([1, -1], len(spectrum))[:, None]
    top, shares = _top_components(tokens)
    row = GenericStatistics(np.zeros((1, len(axes)), np.float32), np.ones(1, np.float32), (top,), (shares,), 9)
    return row, axes


SPECTRA = st.lists(st.floats(0.01, 10), min_size=3, max_size=8)


@settings(max_examples=50, deadline=None)
@given(SPECTRA, st.floats(0.01, MAX_SHARE), st.integers(0, 100))
def test_as_few_components_as_hold_the_share_are_taken_out(spectrum, share, seed):
    found, _ = statistics_of(spectrum, seed)
    values = np.random.default_rng(seed).standard_normal((5, len(spectrum)))
    cleaned = found.clean(values, 0, share)
    removed = np.linalg.matrix_rank(values - cleaned, tol=1e-5)
    held = np.cumsum(sorted(spectrum, reverse=True)) / sum(spectrum)
    if np.abs(held - share).min() > 1e-5:  # on the boundary rounding decides
        assert removed == min(5, int((held < share).sum()) + 1)


@settings(max_examples=30, deadline=None)
@given(SPECTRA, st.sampled_from([0.3, 0.5, 0.7]), st.integers(0, 100))
def test_cleaning_is_a_projection(spectrum, share, seed):
    found, axes = statistics_of(spectrum, seed)
    values = np.random.default_rng(seed).standard_normal((2, 4, len(spectrum)))
    once = found.clean(values, 0, share)
    np.testing.assert_allclose(found.clean(once, 0, share), once, atol=1e-5)
    np.testing.assert_allclose(
        found.clean(2 * values - 3, 0, share), 2 * once + found.clean(-3 * np.ones_like(values), 0, share), atol=1e-5
    )
    assert np.linalg.norm(once) <= np.linalg.norm(values) + 1e-9
    assert (
        np.abs(once @ axes[np.argmax(spectrum)]).max() < 1e-4 * np.abs(values).max()
        or sorted(spectrum)[-1] - sorted(spectrum)[-2] < 1e-3
    )
    quiet = axes[np.argmin(spectrum)]
    if sorted(spectrum)[0] < 0.9 * sorted(spectrum)[1]:
        np.testing.assert_allclose(found.clean(quiet, 0, 0.3), quiet, atol=1e-4)


def test_no_share_changes_nothing():
    found, _ = statistics_of([3.0, 2.0, 1.0])
    values = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    assert np.array_equal(found.clean(values, 0, 0), values.astype(np.float64))


@pytest.mark.parametrize("share", [-0.1, 0.71, 1.0, np.nan])
def test_shares_that_were_not_kept_are_refused(share):
    found, _ = statistics_of([3.0, 2.0, 1.0])
    with pytest.raises(InputError, match="cannot be removed"):
        found.clean(np.zeros((1, 3)), 0, share)


def test_components_are_orthonormal_sorted_and_of_a_fixed_sign():
    tokens = np.random.default_rng(0).standard_normal((200, 6)) * [9, 5, 3, 2, 1, 1]
    top, shares = _top_components(tokens - tokens.mean(axis=0))
    np.testing.assert_allclose(top @ top.T, np.eye(len(top)), atol=1e-5)
    assert (np.diff(shares) > 0).all() and shares[-1] >= MAX_SHARE > (shares[-2] if len(shares) > 1 else 0)
    assert all(row[np.abs(row).argmax()] > 0 for row in top)
    mirrored, _ = _top_components(-(tokens - tokens.mean(axis=0)))
    np.testing.assert_allclose(mirrored, top, atol=1e-6)
    explained = ((tokens - tokens.mean(axis=0)) @ top.T).var(axis=0).cumsum() / tokens.var(axis=0).sum()
    np.testing.assert_allclose(explained, shares, atol=1e-5)


def test_tensors_of_different_lengths_come_back():
    found = GenericStatistics(
        np.ones((3, 4), np.float32),
        np.arange(1, 4, dtype=np.float32),
        tuple(np.full((k, 4), k, np.float32) for k in (2, 1, 3)),
        tuple(np.full(k, 0.1 * k, np.float32) for k in (2, 1, 3)),
        11,
    )
    again = GenericStatistics.from_tensors(found.tensors(), 11)
    assert again.n_texts == 11
    for name in ("mean", "norm"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    for name in ("components", "shares"):
        for a, b in zip(getattr(again, name), getattr(found, name), strict=True):
            np.testing.assert_array_equal(a, b)


def test_files_of_before_keep_their_unit():
    """They have no spread: their doses and scores were, and are, in norms."""
    old = GenericStatistics(np.ones((2, 4), np.float32), np.full(2, 7, np.float32), (), (), 9)
    assert old.unit.tolist() == [7, 7] and old.unit_name == "median residual norm" and energy_words(old) == []
    spread = np.full(2, 3, np.float32)
    energy = np.array([[0.1, 0.2], [0.4, 0.9]], np.float32)
    new = replace(old, components=(np.eye(4, dtype=np.float32)[:1],) * 2, shares=(np.ones(1, np.float32),) * 2,
                  spread=spread, energy=energy)  # fmt: skip
    again = GenericStatistics.from_tensors(new.tensors(), 9)
    assert again.unit.tolist() == [3, 3] and "spread" in again.unit_name
    np.testing.assert_array_equal(again.energy, energy)
    first, warning = energy_words(again)
    assert "0.40 to 0.40" in first and "0.90 to 0.90" in first and "that dimension" in warning
    assert len(energy_words(replace(new, energy=energy / 2))) == 1


def test_statistics_of_a_model_against_a_loop_over_texts(lm):
    """Every token of position 1 and later, up to eight evenly spaced ones, each text run alone by transformers."""
    found = generic_statistics(lm, TEXTS)
    tokens: list[list[np.ndarray]] = [[] for _ in range(lm.n_layers + 1)]
    for encoded in lm.encode(TEXTS):
        seen: list[torch.Tensor] = []
        handles = [
            b.register_forward_pre_hook(
                lambda _m, a, k, seen=seen: seen.append(a[0] if a else k["hidden_states"]), with_kwargs=True
            )
            for b in lm.blocks
        ]
        last = lm.final_norm.register_forward_pre_hook(lambda _m, a, seen=seen: seen.append(a[0]))
        with torch.no_grad():
            lm.base(torch.tensor([encoded.ids]), use_cache=False)
        for handle in (*handles, last):
            handle.remove()
        places = sorted(set(np.linspace(1, len(encoded) - 1, TOKENS_PER_TEXT).round().astype(int)))
        for row, states in enumerate(seen):
            tokens[row].append(states[0, places].double().numpy())
    assert found.mean.shape == (lm.n_layers + 1, lm.d_model) and found.n_texts == len(TEXTS)
    for row, parts in enumerate(tokens):
        all_tokens = np.vstack(parts)
        np.testing.assert_allclose(found.mean[row], all_tokens.mean(axis=0), atol=1e-4)
        assert found.norm[row] == pytest.approx(np.median(np.linalg.norm(all_tokens, axis=1)), rel=1e-4)
        centred = all_tokens - all_tokens.mean(axis=0)
        assert (
            found.unit[row] == found.spread[row] == pytest.approx(np.median(np.linalg.norm(centred, axis=1)), rel=1e-4)
        )
        squares = (all_tokens**2).mean(axis=0)
        held = [(all_tokens.mean(axis=0) ** 2).sum() / squares.sum(), squares.max() / squares.sum()]
        assert found.energy[row] == pytest.approx(held, rel=1e-3)
        variances = np.linalg.eigvalsh(np.cov(all_tokens.T))[::-1]
        expected = np.cumsum(variances) / variances.sum()
        np.testing.assert_allclose(found.shares[row], expected[: len(found.shares[row])], atol=1e-4)
        assert np.isfinite(found.components[row]).all()


def test_first_tokens_do_not_count(reference):
    """With BOS or without, the huge norm of position 0 must not be in the median, nor in the mean."""
    lm = reference("gpt2")
    found = generic_statistics(lm, TEXTS)
    last = found.norm[-1]
    with torch.no_grad():
        states = lm.base(torch.tensor([lm.encode(TEXTS[:1])[0].ids]), output_hidden_states=True).hidden_states
    ordinary = float(states[-2][0, 1:].norm(dim=-1).median())
    assert found.norm[-2] == pytest.approx(ordinary, rel=0.3) and last > 0


def test_too_few_texts_are_refused(lm):
    with pytest.raises(InputError, match="Generic texts"):
        generic_statistics(lm, TEXTS[:7])
    with pytest.raises(InputError, match="Generic texts") as caught:
        generic_statistics(lm, ["a"] * 30)
    assert "found: 0" in str(caught.value)
    assert generic_statistics(lm, [*TEXTS[:8], *["a"] * 5]).n_texts == 8
