"""The texts maps are fitted on hold no emotion, and no text of the data sets."""

from __future__ import annotations

import pytest

from emotion_circuits import prompts
from emotion_circuits.comparison import fit_texts
from emotion_circuits.errors import InputError
from emotion_circuits.prompts import bank

EMOTIONS = bank().emotions


@pytest.mark.parametrize("name", ["neutral", "generic"])
def test_fit_texts_name_no_emotion(name: str) -> None:
    texts = fit_texts(prompts.bank(), name, 500)
    assert len({t.text for t in texts}) == 500
    assert not any(prompts.bank().emotion_words(t.text) for t in texts)
    kinds = {t.scenario.rpartition("-")[0] for t in texts}
    assert kinds.isdisjoint(EMOTIONS)
    assert (kinds == {"neutral"}) == (name == "neutral")


def test_no_fit_text_is_an_emotion_text() -> None:
    emotional = {t.text for name in ("baseline", "extended") for t in prompts.bank().profile(name)}
    emotional |= {t.text for t in prompts.bank().implicit()}
    assert emotional.isdisjoint(t.text for t in fit_texts(prompts.bank(), "generic+target", 3000))


def test_a_smaller_number_is_the_beginning_of_a_larger_one() -> None:
    assert fit_texts(prompts.bank(), "neutral", 1000).texts[:200] == fit_texts(prompts.bank(), "neutral", 200).texts


def test_unknown_sets_are_refused() -> None:
    with pytest.raises(InputError, match="no such texts"):
        fit_texts(prompts.bank(), "poetry")
