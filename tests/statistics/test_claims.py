"""The claims contract: schema, the verdict rule branch by branch, Holm per question, and stable bytes."""

from __future__ import annotations

import errno
import json
import math
import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from emotion_circuits.errors import InputError
from emotion_circuits.statistics import (
    Claim,
    Interval,
    claims_json,
    floor_of,
    holm,
    judge,
    null_of,
    paired_gain,
    read_claims,
    write_claims,
)

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
    "nulls": {"permuted labels": {"mean": 0.5, "high": 0.62, "n_draws": 1000}},
    "gain": 0.22,
    "gain_ci95": (0.11, 0.33),
    "gain_over": "embedding",
    "effect_of_interest": 0.1,
    "null": "permuted labels, 1000 draws",
    "p": 0.001,
    "p_against": {"permuted labels": 0.001, "embedding": 0.0005},
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
        (
            {},
            "supported",
            "a gain of 0.22 [0.11, 0.33] over embedding (0.61), p = 0.001 after Holm over 1 is below 0.05.",
        ),
        ({"p": 0.05}, "underpowered", "p = 0.05 after Holm over 1 is not below 0.05 (largest against permuted labels"),
        ({"p": 0.0499999}, "supported", "below"),
        ({"gain_ci95": (0.0, 0.33)}, "underpowered", "about 25 units would decide it if the gain stayed"),
        ({"gain_ci95": (1e-7, 0.33)}, "supported", "below"),
        (
            {"gain": 0.05, "gain_ci95": (-0.01, 0.0999)},
            "not supported",
            "one of 0.1, which would matter, is excluded",
        ),
        ({"gain": 0.05, "gain_ci95": (-0.01, 0.1)}, "underpowered", "about 25 units would decide it"),
        ({"gain": 0.05, "gain_ci95": (0.01, 0.0999)}, "supported", "below"),  # small, but there
        ({"gain": -0.1, "gain_ci95": (-0.5, 0.3)}, "underpowered", "about 96 units would decide it"),
        ({"p": 0.2, "effect_of_interest": None}, "not supported", "no effect of interest is declared"),
        ({"gain_over": None}, "supported", "over chance (0.61)"),
        ({"value": None}, "not tested", "no defined value"),
        ({"value": float("nan"), "ci95": (float("nan"), 0.9)}, "not tested", "no defined value, interval"),
        ({"ci95": None}, "not tested", "no defined interval"),
        ({"gain": None}, "not tested", "no defined gain."),
        ({"gain_ci95": (float("nan"), 0.1)}, "not tested", "no defined gain's interval"),
        ({"p": None}, "not tested", "no defined p"),
        ({"side_conditions": {"perplexity_ratio": 1.5}}, "supported", "perplexity ratio of 1.5 is at most 1.5"),
        ({"side_conditions": {"perplexity_ratio": 1.51}}, "not supported", "perplexity ratio of 1.51 exceeds 1.5"),
        ({**STEERING, "side_conditions": {"perplexity_ratio": 1.2}}, "supported", "ratio of 1.2 is at most 1.5"),
        ({**STEERING}, "not supported", "perplexity ratio was not measured"),
        ({**STEERING, "side_conditions": {"perplexity_ratio": float("nan")}}, "not supported", "was not measured"),
        ({"p": 0.2, "smallest_p": 0.05}, "underpowered", "with so few draws of the null no p after Holm could be"),
        ({"p": 0.05, "smallest_p": 0.05}, "underpowered", "could be below 0.05"),
        ({"p": 0.2, "smallest_p": 0.0499}, "underpowered", "units would decide it"),
        ({"p": 0.6, "gain": 0.2}, "underpowered", "no number of units that could be had would decide it"),
        ({"p": 0.01, "smallest_p": 0.01}, "supported", "over"),
        ({"p": None, "smallest_p": 0.5}, "not tested", "no defined p"),
        ({"p": 0.2, "smallest_p": float("nan")}, "underpowered", "not below"),
        (
            {"p": 0.2, "smallest_p": 0.05, "gain": 0.0, "gain_ci95": (-0.05, 0.05)},
            "not supported",
            "is excluded; with so few draws of the null no p after Holm could be below 0.05.",
        ),
        ({"p": 0.2, "smallest_p": 0.01, "gain": 0.0, "gain_ci95": (-0.05, 0.05)}, "not supported", "is excluded."),
        (
            {"p": 0.9, "gain": -0.2, "gain_ci95": (-0.3, -0.05)},
            "not supported",
            "0.83 [0.74, 0.9], n = 24: a gain of -0.2 [-0.3, -0.05] over embedding (1.03), p = 0.9",
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
    ends=st.tuples(st.floats(-1, 1), st.floats(-1, 1)).map(sorted),
    place=st.floats(0, 1),
    ratio=st.none() | st.floats(0.5, 3),
    wanted=st.floats(0.001, 1),
    smallest=st.none() | st.floats(0, 0.001),
)
def test_the_rule_as_written(p, ends, place, ratio, wanted, smallest):
    low, high = ends
    judged = judge(
        [
            claim(
                p=max(p, smallest or 0.0),
                gain=low + place * (high - low),
                gain_ci95=(low, high),
                side_conditions=None if ratio is None else {"perplexity_ratio": ratio},
                smallest_p=smallest,
                effect_of_interest=wanted,
            )
        ]
    )[0]
    if ratio is not None and ratio > 1.5:
        assert judged.verdict == "not supported"
    elif max(p, smallest or 0.0) < 0.05 and low > 0:
        assert judged.verdict == "supported"
    elif high < wanted:
        assert judged.verdict == "not supported"
    else:
        assert judged.verdict == "underpowered"
        assert "would decide it" in judged.why


def test_a_claim_beside_its_rivals_has_the_largest_p_and_the_gain_over_the_strongest():
    rng = np.random.default_rng(0)
    draws = rng.normal(0.5, 0.05, 999)
    texts, floor = rng.normal(0.8, 0.1, 30), rng.normal(0.6, 0.1, 30)

    def difference(weights):
        return weights @ (texts - floor) / weights.sum(axis=1)

    gain = paired_gain(difference, 30, seed=0)
    rivals = [null_of("permuted labels", 0.8, draws, (0.7, 0.9)), floor_of("embedding", 0.6, gain)]
    own = {
        k: v for k, v in FIELDS.items() if k in ("id", "question", "model", "emotion", "layer", "statistic", "ceiling")
    }
    own |= {"ci95": (0.7, 0.9), "n_unique": 30, "evidence": (), "effect_of_interest": 0.1}
    made = Claim.beside(rivals, value=0.8, note="from layer 3", **own)
    assert made.gain_over == "embedding" and made.gain == pytest.approx(0.2)
    assert made.gain_ci95 == pytest.approx(gain.interval[:2])
    assert made.p == max(made.p_against.values()) == 0.001 and made.smallest_p == 0.001
    assert made.chance == pytest.approx(draws.mean()) and made.floors == {"embedding": 0.6}
    assert made.null == "permuted labels, 999 draws; from layer 3"
    alone = Claim.beside(rivals[:1], value=0.8, **own)
    assert alone.gain_over == "permuted labels"
    assert alone.gain_ci95 == pytest.approx((0.7 - draws.mean(), 0.9 - draws.mean()))
    with pytest.raises(InputError, match="needs a null"):
        Claim.beside(rivals[1:], value=0.8, **own)


def test_as_many_units_as_the_reason_says_decide_it():
    """The named number, with the gain as it is and everything else as it scales, is enough; a fifth fewer are not."""
    for gain, half, wanted in ((0.05, 0.3, 0.1), (0.3, 0.5, 0.1), (0.02, 0.1, 0.1)):
        spread = half / 1.96  # standard error at 24 units
        p = float(stats.norm.sf(gain / spread))
        made = claim(gain=gain, gain_ci95=(gain - half, gain + half), p=p, effect_of_interest=wanted)
        judged = judge([made])[0]
        assert judged.verdict == "underpowered"
        units = int(re.search(r"about (\d+) units", judged.why)[1])
        for n, decided in ((units + 1, True), (0.8 * units, False)):
            scale = math.sqrt(24 / n)
            then = made.model_copy(
                update={
                    "gain_ci95": (gain - half * scale, gain + half * scale),
                    "p": float(stats.norm.sf(gain / spread / scale)),
                }
            )
            assert (judge([then])[0].verdict != "underpowered") == decided, (gain, units, n)


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
    """Verdicts of one question's claims with these p and smallest possible p; `few` where draws are too few."""
    claims = [claim(layer=i, p=p, smallest_p=least) for i, (p, least) in enumerate(of_claims)]
    return ["few" if "so few draws" in c.why else c.verdict for c in judge(claims)]


def test_too_few_draws_are_counted_after_holm():
    def few(*of_claims):
        return [verdict == "few" for verdict in with_draws(*of_claims)]

    one = (0.3, 0.04)
    assert few(one) == [False]
    assert few(one, (0.5, None)) == [True, False]  # .04 would be doubled
    assert few(one, (0.01, None)) == [False, False]  # .04 would be the second of two
    assert few(one, (None, None)) == [False, False]  # an undefined p does not count
    assert few((0.04, 0.04), (0.04, 0.04)) == [True, True]
    # Five more, each with a best p of .01: the first is through, so the next is multiplied by five.
    assert few((0.002, 0.002), *[(0.8, 0.01)] * 5) == [False, *[True] * 5]


@given(
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from([9, 19, 59, 99, 199, 999])), min_size=1, max_size=6),
)
def test_a_claim_has_too_few_draws_exactly_if_its_best_p_would_not_have_been_enough(drawn):
    own = [((b + 1) / (m + 1) if b < m else 1.0, 1 / (m + 1)) for b, m in drawn]
    claims = [claim(layer=i, p=p, smallest_p=least) for i, (p, least) in enumerate(own)]
    for i, judged in enumerate(judge(claims)):
        best = judge([*claims[:i], claims[i].model_copy(update={"p": own[i][1]}), *claims[i + 1 :]])[i]
        if judged.p_adjusted < 0.05:
            assert judged.verdict == "supported"
        else:
            assert ("so few draws" in judged.why) == (best.p_adjusted >= 0.05)


def test_draws_are_kept_in_the_file_and_left_out_where_they_are_not_known(tmp_path):
    path = tmp_path / "claims.json"
    write_claims(path, judge([claim(p=0.2, smallest_p=1 / 20), claim(layer=8)]))
    rows = json.loads(path.read_text())
    assert rows[0]["smallest_p"] == 0.05 and "smallest_p" not in rows[1]
    assert claims_json(read_claims(path)) == path.read_text()


def test_a_notebook_shows_claims_beside_their_chance(tmp_path):
    path = tmp_path / "claims.json"
    write_claims(path, judge([claim(emotion="<b>"), claim(layer=8)]))
    read = read_claims(path)
    assert isinstance(read, tuple) and "&lt;b&gt;" in read._repr_html_()
    assert {"value", "chance", "gain", "n"} <= set(read.table().columns) and len(read.table().rows) == 2


def test_rounding_never_changes_a_verdict(tmp_path):
    close = claim(ci95=(0.610001, 0.9), gain_ci95=(1e-9, 0.3), p=0.0499999)
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
        *["nulls", "gain", "gain_ci95", "gain_over", "effect_of_interest", "null", "p", "p_against", "p_adjusted"],
        *["n_unique", "unit", "verdict", "why", "evidence"],
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
        {"gain_ci95": (0.9, 0.1)},
        {"effect_of_interest": 0.0},
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
