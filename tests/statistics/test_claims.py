"""The claims contract: schema, the verdict rule branch by branch, Holm per question, and stable bytes."""

from __future__ import annotations

import errno
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from emotion_circuits.errors import InputError
from emotion_circuits.statistics import Claim, Interval, claims_json, holm, judge, read_claims, write_claims

FIELDS = {
    "id": "rq1.separability",
    "question": "RQ1",
    "model": "gpt2",
    "emotion": "gratitude",
    "layer": 7,
    "statistic": "AUROC on implicit texts",
    "value": 0.83,
    "ci95": (0.74, 0.90),
    "chance": 0.5,
    "ceiling": 1.0,
    "floors": {"bag_of_words": 0.58, "embedding": 0.61, "untrained": 0.55},
    "null": "label permutation within scenario, 1000 draws",
    "p": 0.001,
    "n_unique": 24,
    "evidence": ("cross_model/probes.parquet",),
}
STEERING = {"id": "rq3.steering", "question": "RQ3", "statistic": "slope", "chance": 0.0, "floors": {}}


def claim(**changes) -> Claim:
    return Claim(**{**FIELDS, **changes})


def verdict(**changes) -> str:
    return judge([claim(**changes)])[0].verdict


@pytest.mark.parametrize(
    ("changes", "expected", "words"),
    [
        ({}, "supported", "above the floor embedding (0.61), p = 0.001 after Holm over 1 is below 0.05"),
        ({"p": 0.05}, "not supported", "p = 0.05 after Holm over 1 is not below 0.05"),
        ({"p": 0.0499999}, "supported", "below"),
        ({"ci95": (0.61, 0.9)}, "not supported", "not above the floor embedding (0.61)"),
        ({"ci95": (0.6100001, 0.9)}, "supported", "above"),
        ({"floors": {}}, "supported", "above chance (0.5)"),
        ({"floors": {"embedding": 0.2}, "ci95": (0.45, 0.9)}, "not supported", "not above chance (0.5)"),
        ({"chance": None}, "supported", "embedding"),
        ({"chance": None, "floors": {}}, "not tested", "no defined chance level"),
        ({"value": None}, "not tested", "no defined value"),
        ({"value": float("nan"), "ci95": (float("nan"), 0.9)}, "not tested", "no defined value, interval"),
        ({"ci95": None}, "not tested", "no defined interval"),
        ({"p": None}, "not tested", "no defined p"),
        ({"p": 0.2, "smallest_detectable": 0.7, "effect_of_interest": 0.65}, "underpowered", "0.7, exceeds"),
        ({"p": 0.2, "smallest_detectable": 0.65, "effect_of_interest": 0.65}, "not supported", "not below"),
        ({"p": 0.2, "smallest_detectable": 0.7}, "not supported", "not below"),
        ({"p": 0.2, "effect_of_interest": 0.7}, "not supported", "not below"),
        ({"smallest_detectable": 0.9, "effect_of_interest": 0.65}, "supported", "above"),
        ({"value": None, "smallest_detectable": 0.9, "effect_of_interest": 0.65}, "not tested", "no defined value"),
        ({"side_conditions": {"perplexity_ratio": 1.5}}, "supported", "perplexity ratio of 1.5 is at most 1.5"),
        ({"side_conditions": {"perplexity_ratio": 1.51}}, "not supported", "perplexity ratio of 1.51 exceeds 1.5"),
        ({**STEERING, "side_conditions": {"perplexity_ratio": 1.2}}, "supported", "ratio of 1.2 is at most 1.5"),
        ({**STEERING}, "not supported", "perplexity ratio was not measured"),
        ({**STEERING, "side_conditions": {"perplexity_ratio": float("nan")}}, "not supported", "was not measured"),
        (
            {
                "side_conditions": {"perplexity_ratio": 9.0},
                "smallest_detectable": 1.0,
                "effect_of_interest": 0.6,
            },
            "underpowered",
            "exceeds 1.5; the smallest effect detectable with 80 % power, 1, exceeds the one of interest, 0.6",
        ),
        (
            {"p": 0.2, "smallest_p": 0.05},
            "underpowered",
            "with so few draws of the null no p after Holm could be",
        ),
        ({"p": 0.05, "smallest_p": 0.05}, "underpowered", "could be below 0.05"),
        ({"p": 0.2, "smallest_p": 0.0499}, "not supported", "not below"),
        ({"p": 0.01, "smallest_p": 0.01}, "supported", "above"),
        ({"p": 0.01, "smallest_p": 0.01, "ci95": (0.5, 0.9)}, "not supported", "not above the floor"),
        ({"p": None, "smallest_p": 0.5}, "not tested", "no defined p"),
        ({"p": 0.2, "smallest_p": float("nan")}, "not supported", "not below"),
        (
            {"p": 0.2, "smallest_p": 0.5e-1, "smallest_detectable": 0.9, "effect_of_interest": 0.7},
            "underpowered",
            "the smallest effect detectable",
        ),
    ],
)
def test_every_branch_of_the_verdict_rule(changes, expected, words):
    judged = judge([claim(**changes)])[0]
    assert judged.verdict == expected
    assert words in judged.why
    assert judged.why.endswith(".") and "\n" not in judged.why
    if expected != "not tested":
        assert f"n = {FIELDS['n_unique']}" in judged.why


@given(
    p=st.floats(0, 1),
    low=st.floats(-1, 1),
    chance=st.floats(-1, 1),
    floor=st.floats(-1, 1),
    ratio=st.none() | st.floats(0.5, 3),
    smallest=st.none() | st.floats(0, 1),
    wanted=st.none() | st.floats(0, 1),
)
def test_the_rule_as_written(p, low, chance, floor, ratio, smallest, wanted):
    found = verdict(
        p=p,
        ci95=(low, 2.0),
        chance=chance,
        floors={"bag_of_words": floor},
        side_conditions=None if ratio is None else {"perplexity_ratio": ratio},
        smallest_detectable=smallest,
        effect_of_interest=wanted,
    )
    if p < 0.05 and low > chance and low > floor and (ratio is None or ratio <= 1.5):
        assert found == "supported"
    elif smallest is not None and wanted is not None and smallest > wanted:
        assert found == "underpowered"
    else:
        assert found == "not supported"


def test_holm_runs_over_a_question_across_ids_models_and_emotions():
    rq1 = [
        claim(model=model, emotion=emotion, id=name, p=p)
        for model, emotion, name, p in [
            ("gpt2", "gratitude", "rq1.separability", 0.02),
            ("gpt2", "anger", "rq1.separability", 0.01),
            ("EleutherAI/pythia-160m", "anger", "rq1.stability", 0.004),
            ("EleutherAI/pythia-160m", "apology", "rq1.stability", None),
        ]
    ]
    rq2 = claim(id="rq2.shared", question="RQ2", emotion=None, layer=None, p=0.04)
    judged = judge([*rq1[:2], rq2, *rq1[2:]])
    assert [c.emotion for c in judged] == ["gratitude", "anger", None, "anger", "apology"]
    expected = holm([0.02, 0.01, 0.004, None])
    assert [judged[i].p_adjusted for i in (0, 1, 3, 4)] == expected
    assert judged[2].p_adjusted == 0.04
    assert "over 3" in judged[0].why
    assert judge(judged) == judged
    with pytest.raises(InputError, match="twice"):
        judge([rq2, rq2])
    assert judge([]) == ()


def with_draws(*of_claims: tuple[float | None, float | None]) -> list[str | None]:
    """Verdicts of one question's claims with these p and smallest possible p."""
    claims = [claim(layer=i, p=p, smallest_p=least) for i, (p, least) in enumerate(of_claims)]
    return [c.verdict for c in judge(claims)]


def test_too_few_draws_are_counted_after_holm():
    few = (0.3, 0.04)
    assert with_draws(few) == ["not supported"]
    assert with_draws(few, (0.5, None)) == ["underpowered", "not supported"]  # .04 would be doubled
    assert with_draws(few, (0.01, None)) == ["not supported", "supported"]  # .04 would be the second of two
    assert with_draws(few, (None, None)) == ["not supported", "not tested"]  # an undefined p does not count
    assert with_draws((0.04, 0.04), (0.04, 0.04)) == ["underpowered", "underpowered"]
    # Five more, each with a best p of .01: the first is through, so the next is multiplied by five.
    assert with_draws((0.002, 0.002), *[(0.8, 0.01)] * 5) == ["supported", *["underpowered"] * 5]


@given(
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from([9, 19, 59, 99, 199, 999])), min_size=1, max_size=6),
)
def test_a_claim_has_too_few_draws_exactly_if_its_best_p_would_not_have_been_enough(drawn):
    own = [((b + 1) / (m + 1) if b < m else 1.0, 1 / (m + 1)) for b, m in drawn]
    claims = [claim(layer=i, p=p, smallest_p=least) for i, (p, least) in enumerate(own)]
    for i, judged in enumerate(judge(claims)):
        best = judge([*claims[:i], claims[i].model_copy(update={"p": own[i][1]}), *claims[i + 1 :]])[i]
        expected = "not supported" if best.p_adjusted < 0.05 else "underpowered"
        assert judged.verdict == ("supported" if judged.p_adjusted < 0.05 else expected)


def test_draws_are_kept_in_the_file_and_left_out_where_they_are_not_known(tmp_path):
    path = tmp_path / "claims.json"
    write_claims(path, judge([claim(p=0.2, smallest_p=1 / 20), claim(layer=8)]))
    rows = json.loads(path.read_text())
    assert rows[0]["smallest_p"] == 0.05 and "smallest_p" not in rows[1]
    assert claims_json(read_claims(path)) == path.read_text()


def test_rounding_never_changes_a_verdict(tmp_path):
    close = claim(ci95=(0.610001, 0.9), p=0.0499999)
    path = tmp_path / "claims.json"
    write_claims(path, judge([close]))
    read = read_claims(path)[0]
    assert (read.ci95[0], read.p_adjusted) == (0.61, 0.05)
    assert read.verdict == "supported"


def test_the_file_has_the_contract_s_keys_in_order_and_stable_bytes(tmp_path):
    claims = [
        claim(model=model, emotion=emotion, layer=layer, p=0.001 / 3, value=0.123456789)
        for model in ("gpt2", "EleutherAI/pythia-160m")
        for emotion in ("gratitude", "anger", "apology")
        for layer in (10, 9)
    ]
    judged = list(judge(claims))
    first = claims_json(judged)
    random.Random(0).shuffle(judged)
    write_claims(tmp_path / "deep" / "claims.json", judged)
    assert (tmp_path / "deep" / "claims.json").read_bytes() == first.encode()
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["claims.json"]
    rows = json.loads(first)
    assert list(rows[0]) == [
        *["id", "question", "model", "emotion", "layer", "statistic", "value", "ci95", "chance", "ceiling", "floors"],
        *["null", "p", "p_adjusted", "n_unique", "verdict", "why", "evidence"],
    ]
    keys = [(row["model"], row["emotion"], row["layer"]) for row in rows]
    assert keys == sorted(keys)
    assert rows[0]["value"] == 0.1235
    assert rows[0]["p"] == 0.0003333
    assert str(tmp_path) not in first
    assert claims_json(read_claims(tmp_path / "deep" / "claims.json")) == first


def test_floor_order_and_signed_zero_do_not_change_bytes():
    one = judge([claim(floors={"a": 0.1, "b": -0.0}, ci95=(0.2, 0.9))])
    two = judge([claim(floors={"b": 0.0, "a": 0.1}, ci95=(0.2, 0.9))])
    assert claims_json(one) == claims_json(two)


@given(value=st.floats(-1e12, 1e12), low=st.floats(-1e3, 0), p=st.floats(0, 1))
def test_reading_gives_back_what_was_written_to_four_digits(value, low, p):
    written = judge([claim(value=value, ci95=(low, 1.0), p=p, side_conditions={"perplexity_ratio": 1.2})])
    row = json.loads(claims_json(written))[0]
    assert math.isclose(row["value"], value, rel_tol=5.1e-4, abs_tol=1e-300)
    again = Claim.model_validate(row)
    assert (again.verdict, again.why, again.evidence) == (written[0].verdict, written[0].why, written[0].evidence)
    assert claims_json([again]) == claims_json(written)


def test_numpy_values_and_intervals_are_taken():
    made = claim(
        value=np.float32(0.5),
        ci95=Interval(0.4, 0.6, 0.95, "bca"),
        layer=np.int64(3),
        n_unique=np.int64(9),
        p=np.float64(1),
    )
    assert made.ci95 == (0.4, 0.6)
    assert type(made.value) is float and type(made.layer) is int
    assert claim(value=np.float32("nan")).value is None
    claims_json(judge([made]))


@pytest.mark.parametrize(
    "changes",
    [
        {"ci95": (0.9, 0.1)},
        {"p": 1.5},
        {"p": 0.001, "smallest_p": 0.05},
        {"smallest_p": -0.1},
        {"value": float("inf")},
        {"floors": {"embedding": float("nan")}},
        {"evidence": ("/home/someone/x.parquet",)},
        {"evidence": ("../x.parquet",)},
        {"model": "/models/mine"},
        {"model": "C:\\models\\mine"},
        {"question": "RQ2"},
        {"side_conditions": {"perplexity": 1.0}},
        {"verdict": "probably"},
        {"extra": 1},
        {"n_unique": -1},
    ],
)
def test_claims_that_break_the_contract_are_refused(changes):
    with pytest.raises(ValidationError):
        claim(**changes)


def test_claims_are_frozen_and_need_a_verdict_to_be_written(tmp_path):
    with pytest.raises(ValidationError):
        claim().value = 1.0
    with pytest.raises(InputError, match="no verdict"):
        write_claims(tmp_path / "claims.json", [claim()])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{}",
        "[1]",
        '[{"id": "rq1.separability"}]',
        "\ufeff\x00",
        claims_json(judge([claim()])).replace('"ceiling"', '"upper_bound"'),
        claims_json(judge([claim()])).replace('"n_unique": 24,', ""),
        claims_json(judge([claim()])).replace('"supported"', "null"),
        claims_json(judge([claim()])).replace('"value": 0.83', '"value": "high"'),
    ],
)
def test_malformed_and_older_files_are_input_errors_of_four_lines(tmp_path, text):
    path = tmp_path / "claims.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_claims(path)
    assert len(str(caught.value).splitlines()) <= 4
    assert "claims.json" in str(caught.value)


def test_unreadable_and_unwritable_places_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="Cannot read"):
        read_claims(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not JSON"):
        read_claims(tmp_path / "binary.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot write"):
        write_claims(tmp_path / "file" / "claims.json", judge([claim()]))
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="Cannot write"):
        write_claims(tmp_path / "folder", judge([claim()]))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["binary.json", "file", "folder"]


def test_a_write_that_fails_halfway_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "claims.json"
    write_claims(path, judge([claim()]))
    before = path.read_bytes()
    whole_write = Path.write_text

    def disk_full(self: Path, data: str, **options: str) -> int:
        whole_write(self, data[: len(data) // 2], **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", disk_full)
    with pytest.raises(InputError, match="No space left"):
        write_claims(path, judge([claim(layer=1)]))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["claims.json"]
