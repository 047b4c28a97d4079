"""Head specifications and rankings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion_circuits.components import Component, Ranking, check_components, head_spec, parse_head_spec, parse_spec
from emotion_circuits.errors import InputError

heads = st.lists(st.builds(Component, st.just("head"), st.integers(0, 99), st.integers(0, 99)), min_size=1, unique=True)


@given(heads)
def test_a_spec_reads_back(components):
    assert parse_head_spec(head_spec(components)) == tuple(components)
    assert parse_head_spec(" , ".join(map(str, components))) == tuple(components)


@pytest.mark.parametrize(
    ("spec", "said"),
    [("", "No heads"), ("  ", "No heads"), ("a:b", "'a:b'"), ("3", "'3'"), ("3:5;7:2", "3:5;7:2"), ("-1:2", "-1:2"),
     ("3:5,", "empty place"), ("3:5,3:5", "twice"), ("3:5,03:05", "twice"), ("1.5:2", "1.5:2"), ("³:5", "³:5")],
)  # fmt: skip
def test_what_is_no_spec(spec, said):
    with pytest.raises(InputError) as caught:
        parse_head_spec(spec)
    assert said in str(caught.value) and len(str(caught.value).splitlines()) <= 4


def test_heads_that_a_model_lacks(tiny_gpt2_lm):
    assert parse_head_spec("2:3", tiny_gpt2_lm) == (Component("head", 2, 3),)
    for spec in ("12:99", "3:0", "0:4"):
        with pytest.raises(InputError, match="layers 0 to 2, heads 0 to 3"):
            parse_head_spec(spec, tiny_gpt2_lm)
    check_components(tiny_gpt2_lm, parse_spec("2:100", "unit"))
    with pytest.raises(InputError, match="units 0 to 127"):
        check_components(tiny_gpt2_lm, parse_spec("2:128", "unit"))


@given(st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0, np.nan]), min_size=6, max_size=6))
def test_rankings_go_by_size_and_ties_to_the_lower_layer(values):
    ranking = Ranking.of_map("score", "head", np.array(values).reshape(2, 3))
    assert len(ranking) == np.isfinite(values).sum()
    keys = [(-abs(s), c.layer, c.number) for s, c in zip(ranking.scores, ranking.components, strict=True)]
    assert keys == sorted(keys)
    assert all(values[c.layer * 3 + c.number] == s for c, s in zip(ranking.components, ranking.scores, strict=True))
    assert ranking.top(2) == ranking.components[:2]


def test_rankings_join_only_where_scores_are_alike():
    a, b = Ranking.of_map("effect", "head", [[1.0, -3.0]]), Ranking.of_map("effect", "unit", [[2.0]])
    assert [str(c) for c in a.joined(b).components] == ["0:1", "0:0", "0:0"]
    assert [c.kind for c in a.joined(b).components] == ["head", "unit", "head"]
    with pytest.raises(InputError, match="no common order"):
        a.joined(Ranking.of_map("attention", "head", [[1.0]]))
