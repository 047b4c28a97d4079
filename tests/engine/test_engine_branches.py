"""Texts on a common trunk against the same texts alone, in every family, clean and under edits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emotion_circuits.engine import Point, PrefixReplay, add, final_states, plan_batches, plan_branches
from emotion_circuits.engine._branches import LONGEST_ROW, BranchBatch
from emotion_circuits.engine._tails import takes_packed_tails

EDITED = Point("resid_post", 0)


def grown(seed: int, n_groups: int, n_texts: int, vocabulary: int) -> tuple[list[tuple[int, ...]], list[int]]:
    """Texts of several groups; those of a group begin with the same tokens."""
    generator = torch.Generator().manual_seed(seed)

    def some(low: int, high: int) -> list[int]:
        length = int(torch.randint(low, high, (), generator=generator))
        return torch.randint(3, vocabulary, (length,), generator=generator).tolist()

    ids, groups = [], []
    for group in range(n_groups):
        trunk = some(1, 12)
        for _ in range(n_texts):
            ids.append((*trunk, *some(1, 9)))
            groups.append(group)
    return ids, groups


def alone(lm, ids, vector=None):
    """(tokens, d) after the final norm of each text in a row of its own."""
    states = []
    for text in ids:
        [batch] = plan_batches([text], packed=False)
        states.append(final_states(lm, batch, [] if vector is None else [add(EDITED, vector)])[0])
    return states


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), n_groups=st.integers(1, 5), n_texts=st.integers(1, 6), most=st.integers(0, 14))
def test_every_token_is_what_the_text_alone_gives(lm, seed, n_groups, n_texts, most):
    ids, groups = grown(seed, n_groups, n_texts, lm.hf.config.vocab_size)
    batches = plan_branches(lm, ids, groups, [most] * len(ids), batch_tokens=200)
    assert sorted(text for batch in batches for text in batch.texts) == list(range(len(ids)))
    vector = torch.linspace(-1, 1, lm.d_model)
    for push, edits in ((None, []), (vector, [add(EDITED, vector)])):
        expected = alone(lm, ids, push)
        for batch in batches:
            states = final_states(lm, batch, edits).flatten(0, 1)
            for i, text in enumerate(batch.texts):
                places = [batch.flat(i, k) for k in range(len(ids[text]))]
                torch.testing.assert_close(states[places], expected[text], atol=2e-5, rtol=1e-4)


def test_shared_tokens_stand_in_a_row_once(lm):
    ids, groups = grown(0, 4, 6, lm.hf.config.vocab_size)
    batches = plan_branches(lm, ids, groups, [99] * len(ids))
    if not takes_packed_tails(lm):  # laid out as ever
        assert batches == plan_batches(ids, packed=lm.packing)
        return
    for batch in batches:
        assert isinstance(batch, BranchBatch)
        taken = {batch.flat(i, k) for i, ids in enumerate(batch.ids) for k in range(len(ids))}
        own = [len(text) - shared for text, shared in zip(batch.ids, batch.shared, strict=True)]
        trunks = {(row, trunk): shared for row, trunk, shared in zip(batch.row, batch.trunk, batch.shared, strict=True)}
        assert len(taken) == sum(own) + sum(trunks.values()) == int((batch.owner >= 0).sum())
        assert len(taken) < sum(map(len, batch.ids)) * 0.75
    # A text that is the beginning of another keeps a token of its own; of others' texts nothing is shared.
    [pair] = plan_branches(lm, [(5, 6, 7), (5, 6, 7, 8)], [0, 0], [99, 99])
    assert pair.shared == (2, 2)
    [apart] = plan_branches(lm, [(5, 6, 7), (5, 6, 7)], [0, 1], [99, 99])
    assert len({apart.flat(i, k) for i in range(2) for k in range(3)}) == 6
    [unshared] = plan_branches(lm, [(5, 6, 7), (5, 6, 7)], [0, 0], [0, 99])
    assert unshared.shared == (0, 0)


def test_a_group_too_long_for_a_row_is_parted(lm):
    ids, groups = grown(1, 1, 80, lm.hf.config.vocab_size)
    for batch in plan_branches(lm, ids, groups, [99] * len(ids)):
        assert batch.shape[1] <= LONGEST_ROW
    unpacked = replace(lm, packing=False)
    assert all(batch.plain for batch in plan_branches(unpacked, ids, groups, [99] * len(ids)))


@pytest.mark.parametrize("dose", [0.0, 2.0])
def test_a_replay_from_a_trunk(lm, dose):
    ids, groups = grown(2, 3, 4, lm.hf.config.vocab_size)
    vector = torch.linspace(-1, 1, lm.d_model) * dose
    expected = alone(lm, ids, vector)
    for batch in plan_branches(lm, ids, groups, [99] * len(ids)):
        [(_, states)] = PrefixReplay(lm, batch, 0).variants(vector[None], batch.last())
        torch.testing.assert_close(
            states[0], torch.stack([expected[text][-1] for text in batch.texts]), atol=2e-5, rtol=1e-4
        )
