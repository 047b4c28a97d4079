"""What heads look at, token by token: a few pairs of prompts under a few heads, for people to read.

Which pairs are shown is a rule, the first ones in the bank's order, so that nobody picks what looks good. Numbers over
all pairs stand beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from emotion_circuits.components._components import Component, Ranking, check_components
from emotion_circuits.components._direct import Moved, moved_to_last, output_grams
from emotion_circuits.components._example_values import (
    ExampleHead,
    HeadExample,
    HeadExamples,
    Look,
    ModelExamples,
    SeenPrompt,
)
from emotion_circuits.components._pairs import Pair, PairSet
from emotion_circuits.components._screen import Screen
from emotion_circuits.engine import DEFAULT_BATCH_TOKENS, plan_batches
from emotion_circuits.errors import InputError
from emotion_circuits.models import LoadedModel
from emotion_circuits.statistics import grouped_bootstrap

if TYPE_CHECKING:
    import pandas as pd

_DECIMALS = 6
_SCORES = ("score", "ci_low", "ci_high", "p", "exact", "exact_ci_low", "exact_ci_high", "direct")
_LOOKS = ("attention", "attention_neutral")


class HasPairs(Protocol):
    """An outcome or a screen."""

    @property
    def pairs(self) -> PairSet: ...


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
    n_heads: int = 5,
    n_examples: int = 3,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
) -> ModelExamples:
    """Examples of every emotion's best heads by `|score|`, what the screen says of these heads beside them.

    Costs one forward pass of the few prompts for each emotion.

    Args:
        lm: the model.
        measured: a screen of heads for each emotion, or an outcome. Screens also give the agreement of estimated and
            exact effects, and intervals of direct effects and of attention.
        table: rows of `Screen.table()` of all these emotions.
        n_heads: how many heads for each emotion; the largest `|score|` first.
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
        agreement, screened = None, one if isinstance(one, Screen) else None
        if screened is not None and screened.exact is not None and len(screened.exact.components) > 2:
            agreement = screened.agreement()
        heads = tuple(_with_scores(c, by_head, screened) for c in best)
        found.append(examples.model_copy(update={"heads": heads, "agreement": agreement}))
    return ModelExamples(model=str(lm.name), emotions=tuple(found))


def _with_scores(head: Component, rows: Mapping[Component, Mapping[Any, Any]], screened: Screen | None) -> ExampleHead:
    def number(value: Any) -> float | None:
        return None if value is None or not np.isfinite(value) else float(value)

    row = rows[head]
    scores = {name: number(row.get(name)) for name in (*_SCORES, *_LOOKS)}
    for name in _LOOKS:
        scores[f"layer_{name}"] = number(
            np.mean([r.get(name, np.nan) for c, r in rows.items() if c.layer == head.layer])
        )
    for name, values in (
        ("direct", None if screened is None or screened.direct is None else screened.direct.difference),
        ("attention", None if screened is None or screened.attention is None else screened.attention.a),
    ):
        if values is not None:
            found = grouped_bootstrap(values[:, head.layer, head.number], seed=0, n_draws=2000).interval
            scores |= {f"{name}_ci_low": number(found.low), f"{name}_ci_high": number(found.high)}
    return ExampleHead(layer=head.layer, head=head.number, **scores)
