"""Clean, steered and random text side by side as it is written, and what else could have come at a token."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from emotion_circuits.app._bench import Workbench
from emotion_circuits.app._recipe import MOST_TOKENS, Recipe, arms_of
from emotion_circuits.directions import DirectionSet
from emotion_circuits.engine import next_log_p, stream
from emotion_circuits.errors import InputError

ARMS = ("clean", "steered", "random")
TOP = 8


class ArmText(NamedTuple):
    """What one arm has written so far.

    Attributes:
        arm: its name.
        ids: tokens.
        pieces: the text that each token added.
        log_p: of each token under the clean model, nats.
        kl: of the arm's prediction from the clean model's at each token, nats.
    """

    arm: str
    ids: tuple[int, ...] = ()
    pieces: tuple[str, ...] = ()
    log_p: tuple[float, ...] = ()
    kl: tuple[float, ...] = ()

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def perplexity(self) -> float:
        """Under the clean model; NaN of no text."""
        return math.exp(-float(np.mean(self.log_p))) if self.log_p else math.nan

    @property
    def mean_kl(self) -> float:
        """Per token; NaN of no text."""
        return float(np.mean(self.kl)) if self.kl else math.nan


class Draft(NamedTuple):
    """The three texts, while they are written or when they are done."""

    recipe: Recipe
    texts: tuple[ArmText, ...]
    done: bool = False


def check_prompt(text: str, what: str = "The prompt") -> str:
    """The text, if there is one.

    Raises:
        InputError: nothing but white space.
    """
    if not text.strip():
        raise InputError(f"{what} is empty.", next_step="write a few words")
    return text


def write(bench: Workbench, directions: DirectionSet, recipe: Recipe) -> Iterator[Draft]:
    """Write the three texts; one draft after each token, the last one `done`.

    Raises:
        InputError: an empty or too long prompt, a layer, dose or emotion that cannot be used.
        MeasurementError: the dose makes the model's logits overflow.
    """
    check_prompt(recipe.prompt)
    if not 1 <= recipe.max_tokens <= MOST_TOKENS:
        raise InputError(
            "So many tokens are not written here.", found=recipe.max_tokens, accepted=f"1 to {MOST_TOKENS}"
        )
    [prompt] = bench.lm.encode([recipe.prompt])
    arms = arms_of(bench, directions, recipe)
    texts = [ArmText(arm) for arm in ARMS]
    steps = stream(
        bench.lm, prompt, arms, max_tokens=recipe.max_tokens, temperature=recipe.temperature,
        seed=recipe.stream_seed, lock=bench.lock,
    )  # fmt: skip
    for step in steps:
        for place, token in enumerate(step.tokens):
            if token is not None:
                texts[place] = _longer(bench, prompt.ids, texts[place], token, step.log_p[place], step.kl[place])
        yield Draft(recipe, tuple(texts))
    yield Draft(recipe, tuple(texts), done=True)


def _longer(bench: Workbench, prompt: Sequence[int], text: ArmText, token: int, log_p: float, kl: float) -> ArmText:
    ids = (*text.ids, token)
    whole = bench.lm.text_after(prompt, ids)
    # A character of several tokens is shown whole at its last one.
    piece = "" if whole.endswith("\N{REPLACEMENT CHARACTER}") else whole[len(text.text) :]
    return ArmText(text.arm, ids, (*text.pieces, piece), (*text.log_p, log_p), (*text.kl, kl))


class Alternative(NamedTuple):
    """A token that could have come, and how likely it was in each arm after the same tokens."""

    token: int
    text: str
    probabilities: tuple[float, float, float]


def alternatives(
    bench: Workbench, directions: DirectionSet, recipe: Recipe, written: Sequence[int]
) -> list[Alternative]:
    """The likeliest next tokens of the clean, the steered and the random model after a prompt and tokens behind it.

    Those among the first of any arm, the likeliest under steering first.
    """
    check_prompt(recipe.prompt)
    [prompt] = bench.lm.encode([recipe.prompt])
    ids = (*prompt.ids, *written)
    if len(ids) > bench.lm.max_positions:
        raise InputError("The text is too long.", found=len(ids), accepted=f"{bench.lm.max_positions} tokens")
    with bench.lock:
        p = next_log_p(bench.lm, ids, arms_of(bench, directions, recipe)).exp()
    wanted = {int(token) for arm in p.topk(min(TOP, p.shape[1]), dim=-1).indices for token in arm}
    found = [Alternative(t, bench.lm.text_after(ids, [t]), tuple(p[:, t].tolist())) for t in wanted]
    return sorted(found, key=lambda one: (-one.probabilities[1], one.token))


def fork(bench: Workbench, recipe: Recipe, written: Sequence[int], token: int) -> str:
    """The prompt from which another token's text goes on."""
    [prompt] = bench.lm.encode([recipe.prompt])
    return recipe.prompt + bench.lm.text_after(prompt.ids, [*written, token])
