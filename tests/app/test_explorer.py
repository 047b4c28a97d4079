"""What the page shows is what the library says: the same texts and scores, and nothing that a text can break."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion_circuits.app import Benches, Explorer, Part, Recipe, Session, Workbench
from emotion_circuits.app._bench import chance_bands, scores_along
from emotion_circuits.app._evidence import evidence_of, find_claims
from emotion_circuits.app._heads import attention, head_map
from emotion_circuits.app._html import draft_html, message, reading_html, safe
from emotion_circuits.app._maps import LayerDoseMap, computed_map, stored_map
from emotion_circuits.app._own import fit_own, parse_pairs
from emotion_circuits.app._reading import profile_image, read_text
from emotion_circuits.app._recipe import arms_of, as_command, as_python, from_query, to_query
from emotion_circuits.app._session import explained
from emotion_circuits.app._share import as_html, as_json, numbers_of
from emotion_circuits.app._writing import ArmText, Draft, alternatives, fork, write
from emotion_circuits.cli._app import build_app
from emotion_circuits.directions import token_positions
from emotion_circuits.engine import Point, plan_batches, record_tokens
from emotion_circuits.errors import InputError, MeasurementError
from emotion_circuits.interventions import side_by_side
from emotion_circuits.prompts import Text
from emotion_circuits.scoring import continuation_perplexities, score_texts
from small_study import Small

ODD = [
    "<b>bold</b> & \"quotes\" 'n' {{braces}} ${x}",
    "مرحبا بالعالم",
    "🙂👩‍👩‍👧 ok",
    "日本語の文です。",
    "a\n\n b\tc ",
    ".",
]


def recipe(bench: Workbench, **changes: object) -> Recipe:
    part = Part(bench.directions.emotions[0], "add", 0.4)
    return replace(Recipe(str(bench.lm.name), "She opened the letter and said:", (part,), 1, max_tokens=8), **changes)  # type: ignore[arg-type]


def written(bench: Workbench, what: Recipe) -> Draft:
    *_, last = write(bench, bench.directions, what)
    assert last.done
    return last


@pytest.mark.parametrize(("temperature", "dose"), [(0.0, 0.4), (0.8, -0.4)])
def test_the_three_texts_are_those_of_generate(bench: Workbench, temperature: float, dose: float) -> None:
    emotion = bench.directions.emotions[0]
    what = recipe(bench, temperature=temperature, seed=5, parts=(Part(emotion, "add", dose),))
    [expected] = side_by_side(
        bench.lm, bench.directions, emotion, [what.prompt], dose=dose, layer=1, max_tokens=8, temperature=temperature,
        seed=5,
    )  # fmt: skip
    found = written(bench, what)
    for text, other in zip(found.texts, (expected.clean, expected.steered, expected.random), strict=True):
        assert text.text == other.text
        assert text.perplexity == pytest.approx(other.perplexity, rel=1e-3)


def test_dose_0_is_clean_and_a_shut_gate_changes_nothing(bench: Workbench) -> None:
    nothing = recipe(bench, parts=(Part(bench.directions.emotions[0], "add", 0.0),))
    for what in (nothing, recipe(bench, gate=-1e6)):
        clean, steered, random = written(bench, what).texts
        assert clean.ids == steered.ids == random.ids
        assert max(steered.kl) < 1e-5
    assert max(written(bench, recipe(bench, gate=1e6)).texts[1].kl) == pytest.approx(
        max(written(bench, recipe(bench)).texts[1].kl), rel=1e-4
    )


def test_mixtures_ablation_and_clamps_run_and_random_twins_have_their_size(bench: Workbench) -> None:
    one, two = bench.directions.emotions[:2]
    hidden = np.zeros((1, 3, bench.lm.d_model))
    import torch

    states, everywhere = torch.zeros(hidden.shape), torch.ones(1, 3, 1, dtype=torch.bool)
    mixed = recipe(bench, parts=(Part(one, "add", 0.3), Part(two, "add", 0.3)))
    _, [own], [twin] = arms_of(bench, bench.directions, mixed)
    lengths = [float(edit.apply(states, everywhere)[0, 0].norm()) for edit in (own, twin)]
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-4)
    for action, dose in (("ablate", 1.0), ("clamp", 0.5)):
        parts = (Part(one, action, dose), Part(two, "add", 0.2))  # type: ignore[arg-type]
        assert len(written(bench, recipe(bench, parts=parts)).texts[1].ids)
    with pytest.raises(InputError, match="share"):
        written(bench, recipe(bench, parts=(Part(one, "ablate", 3.0),)))


def test_token_scores_average_to_the_score_of_the_text(bench: Workbench) -> None:
    for text in ("I am so glad that you stayed with us.", *ODD[:4]):
        reading = read_text(bench, bench.directions, text, bench.directions.emotions[0], layer=1)
        [expected] = score_texts(bench.lm, bench.directions, [text], layer=1)
        assert reading.score == expected.scores[reading.emotion]
        encoded = bench.lm.encode([text])
        [at] = token_positions([Text(text, "neutral", "0", "test")], encoded).indices["mean"]
        rows = reading.profile[2]
        if len(at) > 1 or at != [0]:
            assert np.mean(rows[at]) == pytest.approx(reading.score, abs=1e-4)
        assert "".join(reading.pieces) == text


def test_heads_write_what_the_stream_gets_of_attention(bench: Workbench) -> None:
    """All heads of a layer together with the projection's bias are what attention adds along the direction."""
    reading = read_text(
        bench, bench.directions, "I am so glad that you stayed with us.", bench.directions.emotions[0], 2
    )
    found = head_map(bench, bench.directions, reading)
    assert found.values.shape == (3, bench.lm.n_heads) and (found.low <= found.high).all()
    vector = bench.directions.vectors["specific"][reading.emotion][3].astype(np.float64)
    along = vector / np.linalg.norm(vector) / float(bench.directions.generic.unit[3])
    [encoded] = bench.lm.encode([reading.text])
    [batch] = plan_batches([encoded.ids], packed=False)
    for layer in range(3):
        point = Point("attn_out", layer)
        added = record_tokens(bench.lm, batch, [point])[point][0, 1:].double().numpy() @ along
        bias = float(bench.lm.attention_out(layer).bias.double().numpy() @ along)  # type: ignore[union-attr, operator]
        assert found.values[layer].sum() + bias == pytest.approx(added.mean(), abs=1e-4)


def test_attention_shares_are_shares_beside_even_ones(bench: Workbench) -> None:
    shares, even = attention(bench, "I am so glad that you stayed.", 1, 0)
    assert np.isnan(shares[-1]) and ((shares[:-1] >= 0) & (shares[:-1] <= 1)).all()
    n = len(even)
    assert even[0] == pytest.approx(np.mean([1 / (k + 1) for k in range(1, n)]))


def test_the_chance_band_holds_95_of_100_generic_tokens(bench: Workbench) -> None:
    emotion = bench.directions.emotions[0]
    bands = chance_bands(bench, bench.directions, emotion, "specific")
    for row, (low, high) in enumerate(bands):
        scores = scores_along(bench.chance.tokens[row], bench.directions, emotion, "specific", row)
        assert np.mean((scores >= low) & (scores <= high)) == pytest.approx(0.95, abs=0.01)


class Seen(HTMLParser):
    """What a browser would show and run."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(max_size=60))
def test_no_text_becomes_markup(text: str) -> None:
    own = ArmText("clean", (1,), (text,), (-1.0,), (0.1,))
    draft = Draft(Recipe("m", text, ()), (own, own._replace(arm="steered"), own._replace(arm="random")), True)
    for page in (safe(text), message(text), draft_html(draft)):
        assert "{{" not in page and "${" not in page
        assert Seen(page).tags <= {"div", "section", "h3", "small", "span", "b", "i", "br"}
    assert Seen(safe(text)).text == text


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_are_read_and_written_on(bench: Workbench, text: str) -> None:
    reading = read_text(bench, bench.directions, text, bench.directions.emotions[0])
    assert Seen(reading_html(reading)).text.count(text.strip()[:1]) >= 1
    assert written(bench, recipe(bench, prompt=text)).done
    assert profile_image(reading, len(reading.pieces) - 1, bench).startswith("<img src=")


@pytest.mark.parametrize("text", ["", " \n ", "word " * 20_000])
def test_no_text_and_endless_text_are_told(bench: Workbench, text: str) -> None:
    with pytest.raises(InputError):
        read_text(bench, bench.directions, text, bench.directions.emotions[0])
    with pytest.raises(InputError):
        written(bench, recipe(bench, prompt=text))


def test_failures_are_a_few_lines() -> None:
    assert "Out of memory" in explained(MemoryError())
    assert "Out of memory" in explained(RuntimeError("DefaultCPUAllocator: not enough memory: you tried"))
    assert explained(ValueError("<x>\nmore")) == "Unexpected error, ValueError: <x>"
    assert explained(MeasurementError("No.", found=1)) == "No.\n  found: 1"


def test_alternatives_are_probabilities_and_a_fork_goes_on_from_them(bench: Workbench) -> None:
    what = recipe(bench)
    draft = written(bench, what)
    ids = draft.texts[1].ids
    found = alternatives(bench, bench.directions, what, ids[:2])
    assert found == sorted(found, key=lambda one: (-one.probabilities[1], one.token))
    assert found[0].token == ids[2]  # greedy
    assert all(0 <= p <= 1 for one in found for p in one.probabilities)
    text = fork(bench, what, ids[:2], found[0].token)
    assert text == what.prompt + "".join(draft.texts[1].pieces[:3])


def test_perplexity_is_that_of_the_library(bench: Workbench) -> None:
    text = written(bench, recipe(bench)).texts[0]
    [expected] = continuation_perplexities(bench.lm, [recipe(bench).prompt], [text.text])
    assert text.perplexity == pytest.approx(float(expected), rel=1e-3)


def test_links_come_back_and_commands_are_ones(bench: Workbench) -> None:
    from urllib.parse import parse_qsl

    default = Recipe("x", "y", ())
    for what in (recipe(bench), recipe(bench, gate=0.5, temperature=0.7, prompt="a&b=c 🙂 <i>", layer=-1)):
        assert from_query(dict(parse_qsl(to_query(what))), default) == what
        compile(as_python(what, 1, None), "page", "exec")
    words = shlex.split(as_command(recipe(bench, prompt="it's <b>"), 1, Path("v.safetensors")))
    build_app({}).parse_args(words[1:])
    assert from_query({}, default) == default
    for bad in ({"layer": "x"}, {"parts": "a"}, {"parts": "a,explode,1"}, {"gate": "?"}):
        with pytest.raises(InputError, match="link"):
            from_query(bad, default)


def test_a_map_is_the_stored_one_or_computed(
    bench: Workbench, explorer: Explorer, session: Session, results: Path, small: Small
) -> None:
    emotion = bench.directions.emotions[0]
    stored = stored_map(bench, results, emotion)
    assert stored is not None and stored.doses == [-0.2, 0.2]
    assert stored_map(bench, None, emotion) is None
    *shares, made = computed_map(bench, bench.directions, emotion)
    assert isinstance(made, LayerDoseMap) and len(shares) > 2 and shares == sorted(shares, key=float)  # type: ignore[arg-type]
    assert all(np.isfinite([c.words.null_low, c.words.null_high]).all() for c in made.cells.values())
    with pytest.raises(InputError, match="words"):
        list(computed_map(bench, bench.directions, "nothing"))


def test_claims_lead_to_evidence(results: Path, tmp_path: Path) -> None:
    found = find_claims(results)
    assert len(found) > 3
    for _, claim in found:
        evidence = evidence_of(results, claim)
        assert not evidence.missing
        assert evidence.tables or not claim.evidence or claim.question == "RQ4"
    assert 0 < len(find_claims(results, "STABILITY")) < len(found)
    assert find_claims(results, "no such words") == []
    for none in (None, tmp_path):
        with pytest.raises(InputError, match="no claims"):
            find_claims(none)
    outside = found[0][1].model_copy(update={"evidence": ("../../secret.parquet",)})
    assert evidence_of(results, outside).missing == ["../../secret.parquet"]


def test_an_own_emotion_has_floors_and_can_be_written_and_read(
    explorer: Explorer, session: Session, bench: Workbench, pairs: str
) -> None:
    name = str(bench.lm.name)
    found = explorer.own(session, name, "Delight", pairs)
    assert {floor.name for floor in found.floors} == {"bag of words", "embedding layer"}
    # One word tells these pairs apart, so counting words does it too: nothing is gained over that.
    assert found.quality.value > 0.9
    assert max(floor.gain[0] for floor in found.floors if floor.name == "bag of words") <= 0
    assert "delight" in explorer.emotions(session, bench)
    assert "delight" not in explorer.emotions(Session(), bench)
    *_, page = explorer.write(session, recipe(bench, parts=(Part("delight", "add", 0.5),)))
    assert page is not None and "steered" in page
    assert list(explorer.read(session, name, "", "I was overjoyed.", "delight", None))
    assert all(
        "this browser" in text
        for text in explorer.share(session, recipe(bench, parts=(Part("delight", "add", 1),)))[1:]
    )
    for bad in ("only one", "a | b | c\n" * 20, "x | y"):
        with pytest.raises(InputError):
            parse_pairs(bad)
    with pytest.raises(InputError):
        fit_own(bench, bench.bank.emotions[0], pairs)
    with pytest.raises(InputError):
        fit_own(bench, "<b>", pairs)


def test_sessions_share_nothing_and_a_new_run_ends_the_old_one(explorer: Explorer, bench: Workbench) -> None:
    one, two = Session(), Session()
    first = explorer.write(one, recipe(bench, max_tokens=200))
    next(first)
    list(explorer.write(two, recipe(bench)))
    assert two.draft is not None and two.draft.done
    list(explorer.write(one, recipe(bench)))
    assert list(first) == [None]
    with pytest.raises(InputError, match="Nothing was written"):
        explorer.alternatives(Session(), "clean:0")
    for pick in ("nobody:1", "clean:x", "<b>"):
        with pytest.raises(InputError):
            explorer.alternatives(one, pick)


def test_files_hold_the_numbers_and_ask_for_nothing(bench: Workbench) -> None:
    draft = written(bench, recipe(bench, prompt="<script>alert(1)</script> said:"))
    reading = read_text(bench, bench.directions, "I am <i>glad</i>.", bench.directions.emotions[0])
    data = as_json(draft, reading)
    assert json.loads(data)["texts"][1]["text"] == draft.texts[1].text
    assert numbers_of(data.encode())["steered"]["perplexity"] == pytest.approx(draft.texts[1].perplexity)
    page = as_html(draft, reading, None, "command")
    assert "script" not in Seen(page).tags and "http" not in page.replace("http-equiv", "")
    for bad in (b"", b"[]", b'{"texts": [{"arm": 1}]}', b"\xff"):
        with pytest.raises(InputError):
            numbers_of(bad)


def test_models_are_loaded_once_and_a_wrong_one_is_told() -> None:
    benches = Benches(None)
    for name in ("", "no/such/folder/here"):
        with pytest.raises(InputError):
            benches.get(name)
