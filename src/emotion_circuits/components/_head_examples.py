"""What heads look at, token by token: a few pairs of prompts under a few heads, for people to read.

Which pairs are shown is a rule, the first ones in the bank's order, so that nobody picks what looks good. Numbers over
all pairs stand beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from emotion_circuits._files import write_text
from emotion_circuits.components._components import Component, Ranking, check_components
from emotion_circuits.components._direct import Moved, moved_to_last, output_grams
from emotion_circuits.components._pairs import Pair, PairSet
from emotion_circuits.components._screen import Agreement, Screen
from emotion_circuits.engine import DEFAULT_BATCH_TOKENS, plan_batches
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel

if TYPE_CHECKING:
    import pandas as pd

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1.001)]
_DECIMALS = 6
_SCORES = ("score", "ci_low", "ci_high", "p", "exact", "exact_ci_low", "exact_ci_high", "direct")
_LOOKS = ("attention", "attention_neutral")


class HasPairs(Protocol):
    """An outcome or a screen."""

    @property
    def pairs(self) -> PairSet: ...


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExampleHead(_Frozen):
    """A head, and what its screen says of it; None where it does not.

    Attributes:
        layer, head: which one, counted from 0.
        score, ci_low, ci_high, p: estimated effect on the outcome, its interval, p by max-T over all heads.
        exact, exact_ci_low, exact_ci_high: the effect measured by patching.
        direct: what it writes along the emotion's direction, emotion's prompt minus neutral one.
        attention, attention_neutral: mean value-weighted share of the word over all pairs, and in the neutral prompts.
        layer_attention, layer_attention_neutral: the same, mean over all heads of the layer: a chance level.
    """

    layer: int
    head: int
    score: _Number | None = None
    ci_low: _Number | None = None
    ci_high: _Number | None = None
    p: _Number | None = None
    exact: _Number | None = None
    exact_ci_low: _Number | None = None
    exact_ci_high: _Number | None = None
    direct: _Number | None = None
    attention: _Number | None = None
    attention_neutral: _Number | None = None
    layer_attention: _Number | None = None
    layer_attention_neutral: _Number | None = None

    def __str__(self) -> str:
        return f"{self.layer}:{self.head}"


class Look(_Frozen):
    """Where one head's last token looks in one prompt.

    Attributes:
        weights: of each token, the attention; they sum to 1.
        shares: of each token, its part of all that the head moves, attention · ‖W_O v‖ (see `Moved`).
        layer_share: the word's share, mean over all heads of the layer.
    """

    weights: tuple[_Share, ...]
    shares: tuple[_Share, ...]
    layer_share: _Share


class SeenPrompt(_Frozen):
    """A prompt as tokens, and each head's look at it.

    Attributes:
        tokens: readable; after a BOS token, if there is one, they join to `text`. Of a character that is several
            tokens the first one has it, and the others are empty.
        text: the prompt, bridge included.
        looks: in the order of the heads.
    """

    tokens: tuple[str, ...]
    text: str
    looks: tuple[Look, ...]

    @model_validator(mode="after")
    def _one_number_a_token(self) -> SeenPrompt:
        n = len(self.tokens)
        if any(len(look.weights) != n or len(look.shares) != n for look in self.looks):
            raise ValueError("not one weight and one share for each token")
        return self


class HeadExample(_Frozen):
    """One pair.

    Attributes:
        scenario: of the bank.
        span: tokens of the emotion's word, and of what stands there in the neutral prompt.
        emotion, neutral: both prompts.
    """

    scenario: str
    span: tuple[int, ...]
    emotion: SeenPrompt
    neutral: SeenPrompt

    @model_validator(mode="after")
    def _a_span_of_tokens(self) -> HeadExample:
        n = len(self.emotion.tokens)
        if len(self.neutral.tokens) != n or not self.span or not all(0 <= k < n for k in self.span):
            raise ValueError("the span lies outside the tokens, or the prompts differ in length")
        return self

    @property
    def uniform(self) -> float:
        """The word's share of the tokens: what a head that looks at all alike would give, a chance level."""
        return len(self.span) / len(self.emotion.tokens)

    def word_share(self, look: Look) -> float:
        """The share of all that a head moves to the last token that comes from the word."""
        return sum(look.shares[k] for k in self.span)


class HeadExamples(_Frozen):
    """Examples of one emotion.

    Attributes:
        emotion, reference: classes of the two prompts.
        heads: whose looks these are.
        examples: pairs.
        n_pairs, n_scenarios: pairs there are, and scenarios with texts of both classes.
        uniform: the word's share of the tokens, mean over all pairs.
        agreement: of estimated and exact effects, if it was measured.
    """

    emotion: str
    reference: str
    heads: tuple[ExampleHead, ...]
    examples: tuple[HeadExample, ...]
    n_pairs: int
    n_scenarios: int
    uniform: _Share
    agreement: Agreement | None = None

    @model_validator(mode="after")
    def _one_look_a_head(self) -> HeadExamples:
        prompts = [p for e in self.examples for p in (e.emotion, e.neutral)]
        if any(len(p.looks) != len(self.heads) for p in prompts):
            raise ValueError("not one look for each head")
        return self


class ModelExamples(_Frozen):
    """Examples of all emotions in one model, as `heads/examples_<slug>.json` holds them."""

    model: str
    emotions: tuple[HeadExamples, ...]


def head_examples(
    lm: LoadedModel,
    outcome: HasPairs,
    heads: Sequence[Component],
    n_examples: int = 3,
    *,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
) -> HeadExamples:
    """Where heads look from the last token of a prompt, in the first pairs in the bank's order.

    The rule for which pairs: the first `n_examples` of `outcome.pairs`, which hold the scenarios in the order of the
    bank, without those whose two prompts differ in length under this tokenizer. Nothing about effects plays a part.

    Args:
        lm: the model.
        outcome: an outcome, or a screen of it; only its pairs are used.
        heads: which, in the order in which they are to be shown.
        n_examples: how many pairs at most.
        batch_tokens: size of a forward pass.

    Raises:
        InputError: units, heads that the model lacks or named twice, fewer than one example, pairs made with another
            tokenizer.
    """
    check_components(lm, heads)
    if any(c.kind != "head" for c in heads):
        raise InputError("Only heads look at tokens.", found="units")
    if n_examples < 1:
        raise InputError("So many examples cannot be shown.", found=n_examples, accepted="1 or more")
    pairs = outcome.pairs
    shown = pairs.pairs[:n_examples]
    looks = _looks(lm, shown, heads, batch_tokens)
    examples = []
    for i, pair in enumerate(shown):
        sides = [
            SeenPrompt(tokens=_readable(lm, text, ids), text=text, looks=tuple(looks[2 * i + side]))
            for side, (text, ids) in enumerate([(pair.text_a, pair.ids_a), (pair.text_b, pair.ids_b)])
        ]
        examples.append(HeadExample(scenario=pair.scenario, span=pair.span, emotion=sides[0], neutral=sides[1]))
    return HeadExamples(
        emotion=pairs.emotion,
        reference=pairs.reference,
        heads=tuple(ExampleHead(layer=c.layer, head=c.number) for c in heads),
        examples=tuple(examples),
        n_pairs=len(pairs),
        n_scenarios=pairs.n_scenarios,
        uniform=float(np.mean([len(p.span) / len(p.ids_a) for p in pairs.pairs])),
    )


def _looks(lm: LoadedModel, pairs: Sequence[Pair], heads: Sequence[Component], batch_tokens: int) -> list[list[Look]]:
    """Of the emotion's and the neutral prompt of each pair in turn, each head's look."""
    ids = [side for pair in pairs for side in (pair.ids_a, pair.ids_b)]
    looks: list[dict[Component, Look]] = [{} for _ in ids]
    grams = output_grams(lm)
    for batch in plan_batches(ids, packed=lm.packing, batch_tokens=batch_tokens):
        for layer, found in moved_to_last(lm, batch, grams):
            for text, moved in zip(batch.texts, found, strict=True):
                own = [c for c in heads if c.layer == layer]
                looks[text] |= {c: _look(moved, c.number, pairs[text // 2].span) for c in own}
    return [[seen[c] for c in heads] for seen in looks]


def _look(moved: Moved, head: int, span: Sequence[int]) -> Look:
    weights, shares = (
        x[head].double().cpu().numpy().round(_DECIMALS).tolist() for x in (moved.weights, moved.shares())
    )
    return Look(weights=weights, shares=shares, layer_share=round(float(moved.share(span).mean()), _DECIMALS))


def _readable(lm: LoadedModel, text: str, ids: tuple[int, ...]) -> tuple[str, ...]:
    """Every token's own piece of the text, with the space before it; BOS as the tokenizer writes it."""
    [encoded] = lm.encode([text])
    if encoded.ids != ids:
        raise InputError(f"These pairs were not made with the tokenizer of {lm.name}.", found=repr(text))
    pieces = [str(lm.tokenizer.decode([token])) for token in ids[: encoded.bos_length]]
    done = 0
    for _, end in encoded.offsets[encoded.bos_length :]:
        pieces.append(text[done : max(done, end)])
        done = max(done, end)
    pieces[-1] += text[done:]
    return tuple(pieces)


def examples_of(
    lm: LoadedModel,
    measured: Sequence[HasPairs],
    table: pd.DataFrame,
    *,
    n_heads: int = 3,
    n_examples: int = 3,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
) -> ModelExamples:
    """Examples of every emotion's best heads by |score|, what the screen says of these heads beside them.

    Costs one forward pass of the few prompts for each emotion.

    Args:
        lm: the model.
        measured: a screen of heads for each emotion, or an outcome. Screens also give the agreement of estimated and
            exact effects.
        table: rows of `Screen.table()` of all these emotions.
        n_heads: how many heads for each emotion; the largest |score| first.
        n_examples: see `head_examples`.
        batch_tokens: size of a forward pass.

    Raises:
        InputError: an emotion without rows of heads in the table.
    """
    found = []
    for one in measured:
        emotion = one.pairs.emotion
        rows = table[table["emotion"] == emotion]
        if "head" not in table.columns or not len(rows):
            raise InputError(f"The table holds no scores of heads for {emotion}.")
        by_head = {Component("head", r["layer"], r["head"]): r for r in rows.to_dict("records")}
        best = Ranking.of("score", list(by_head), rows["score"].to_numpy()).top(n_heads)
        examples = head_examples(lm, one, best, n_examples, batch_tokens=batch_tokens)
        agreement = None
        if isinstance(one, Screen) and one.exact is not None and len(one.exact.components) > 2:
            agreement = one.agreement()
        heads = tuple(_with_scores(c, by_head) for c in best)
        found.append(examples.model_copy(update={"heads": heads, "agreement": agreement}))
    return ModelExamples(model=str(lm.name), emotions=tuple(found))


def _with_scores(head: Component, rows: Mapping[Component, Mapping[Any, Any]]) -> ExampleHead:
    def number(value: Any) -> float | None:
        return None if value is None or not np.isfinite(value) else float(value)

    row = rows[head]
    scores = {name: number(row.get(name)) for name in (*_SCORES, *_LOOKS)}
    for name in _LOOKS:
        scores[f"layer_{name}"] = number(
            np.mean([r.get(name, np.nan) for c, r in rows.items() if c.layer == head.layer])
        )
    return ExampleHead(layer=head.layer, head=head.number, **scores)


def write_head_examples(path: Path, examples: ModelExamples) -> None:
    """Write `heads/examples_<slug>.json`.

    Raises:
        InputError: the folder cannot be written.
    """
    write_text(path, examples.model_dump_json() + "\n")


def read_head_examples(path: Path) -> ModelExamples:
    """Read what `write_head_examples` wrote.

    Raises:
        InputError: missing or malformed.
    """
    try:
        return ModelExamples.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"No such file: {path}.") from error
    except (OSError, ValueError, ValidationError) as error:
        what = f"{error.error_count()} fields" if isinstance(error, ValidationError) else error
        raise InputError(
            f"{path} does not hold examples of heads.", found=what, next_step="make it again with this version"
        ) from error
