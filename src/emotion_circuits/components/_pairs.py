"""Paired prompts: an emotion's text and the neutral text of the same scenario, token beside token.

Writing one run's activations into another means something only where both have a token at the same place. So a pair
has equally many tokens, and how many scenarios have none is part of the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from typing import NamedTuple

from emotion_circuits.errors import InputError
from emotion_circuits.models import Encoded, LoadedModel
from emotion_circuits.prompts import BRIDGE, Dataset, Slot, Text

MIN_PAIRS = 2


class Bridge(NamedTuple):
    """What follows every text, so that a next word can show the emotion, and the kind of word that it asks for."""

    text: str = BRIDGE
    slot: Slot = "opening"


DEFAULT_BRIDGE = Bridge()


@dataclass(frozen=True)
class Pair:
    """Two prompts of one scenario with equally many tokens.

    Attributes:
        scenario: the group that statistics resample.
        split: development or test.
        text_a, text_b: the emotion's prompt and the neutral one, bridge included.
        ids_a, ids_b: their tokens; the first is the same.
        span: tokens of the emotion's marked word; where none is marked, from the first to the last difference.
        bridge: the first token of the bridge, which both prompts end with.
    """

    scenario: str
    split: str
    text_a: str
    text_b: str
    ids_a: tuple[int, ...]
    ids_b: tuple[int, ...]
    span: tuple[int, ...]
    bridge: int

    def places(self) -> dict[str, tuple[int, ...]]:
        """The prompt's tokens but the first by where they stand; some places may hold none."""
        first, last, end = self.span[0], self.span[-1], len(self.ids_a)
        bridge = max(self.bridge, last + 1)
        return {
            "before": tuple(range(1, first)),
            "word": tuple(k for k in self.span if k),
            "after": tuple(range(last + 1, min(bridge, end - 1))),
            "bridge": tuple(range(min(bridge, end - 1), end - 1)),
            "last": (end - 1,) if end - 1 > last else (),
            "all": tuple(range(1, end)),
        }


@dataclass(frozen=True)
class PairSet:
    """All pairs of one emotion.

    Attributes:
        emotion, reference: classes of the two texts.
        bridge: what follows both.
        pairs: one for each scenario that has one.
        n_scenarios: scenarios with a text of both classes; those beyond `pairs` differ in length.
        prompts_a, prompts_b: scenario → tokens of each class's prompt, of all these scenarios.
    """

    emotion: str
    reference: str
    bridge: Bridge
    pairs: tuple[Pair, ...]
    n_scenarios: int
    prompts_a: Mapping[str, tuple[int, ...]]
    prompts_b: Mapping[str, tuple[int, ...]]

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def scenarios(self) -> tuple[str, ...]:
        """Of the pairs, in order."""
        return tuple(pair.scenario for pair in self.pairs)

    def at_most(self, n: int) -> PairSet:
        """The first pairs. Bundled scenarios are numbered at random: the first are as good as any."""
        return replace(self, pairs=self.pairs[:n])

    def donors(self, pair: Pair, side: int) -> list[tuple[int, ...]]:
        """Tokens of other scenarios' prompts of a class (0 the emotion's, 1 the neutral one) that have as many as the
        pair's own, from its scenario on: what any other such prompt's values do is their chance level."""
        known = self.prompts_b if side else self.prompts_a
        own = pair.ids_b if side else pair.ids_a
        names = list(known)
        place = names.index(pair.scenario)
        following = (known[name] for name in (*names[place + 1 :], *names[:place]))
        return [ids for ids in following if len(ids) == len(own) and ids != own]


def matched_pairs(
    lm: LoadedModel,
    texts: Dataset,
    emotion: str,
    *,
    reference: str = "neutral",
    bridge: Bridge = DEFAULT_BRIDGE,
    split: str | None = None,
) -> PairSet:
    """The scenarios whose texts of two classes have equally many tokens under this model, bridge included.

    Where texts name other words for their marked one, the earliest are taken that make both equally long.
    Pairs whose first token differs are left out too: what the first token carries is never edited.

    Args:
        lm: whose tokens count.
        texts: scenarios with texts of both classes; of several of one class the first is taken.
        emotion, reference: the two classes.
        bridge: what is put after both.
        split: only scenarios of that split.

    Raises:
        InputError: an unknown class or split, or fewer than two pairs.
    """
    sides = [{t.scenario: t for t in reversed(texts.select(c, split).texts)} for c in (emotion, reference)]
    shared = [s for s in texts.scenarios if s in sides[0] and s in sides[1]]
    pairs: list[Pair] = []
    found: tuple[dict[str, tuple[int, ...]], ...] = ({}, {})
    variants = [(sides[0][s].variants, sides[1][s].variants) for s in shared]
    encoded = iter(lm.encode([text.text + bridge.text for own in variants for side in own for text in side]))
    for scenario, (first, second) in zip(shared, variants, strict=True):
        of_first, of_second = (list(islice(encoded, len(side))) for side in (first, second))
        pair, prompts = _best_pair(first, second, of_first, of_second, bridge)
        if pair is not None:
            pairs.append(pair)
        for side, ids in zip(found, prompts, strict=True):
            side[scenario] = ids
    if len(pairs) < MIN_PAIRS:
        raise InputError(
            f"Too few scenarios have texts of {emotion} and {reference} with equally many tokens in {lm.name}.",
            found=f"{len(pairs)} of {len(shared)} scenarios",
            accepted=f"{MIN_PAIRS} or more",
            next_step="give more scenarios; of the bundled texts --profile extended has most",
        )
    return PairSet(emotion, reference, bridge, tuple(pairs), len(shared), *found)


def _best_pair(
    first: Sequence[Text], second: Sequence[Text], of_first: Sequence[Encoded], of_second: Sequence[Encoded],
    bridge: Bridge,
) -> tuple[Pair | None, tuple[tuple[int, ...], tuple[int, ...]]]:  # fmt: skip
    """The earliest variants that make a pair, and the tokens of both prompts: the first variants' where none do."""
    places = sorted(product(range(len(first)), range(len(second))), key=lambda place: (sum(place), place))
    for i, j in places:
        pair = _pair(first[i], second[j], (of_first[i], of_second[j]), bridge)
        if pair is not None:
            return pair, (pair.ids_a, pair.ids_b)
    return None, (of_first[0].ids, of_second[0].ids)


def _pair(a: Text, b: Text, encoded: Sequence[Encoded], bridge: Bridge) -> Pair | None:
    encoded_a, encoded_b = encoded
    ids_a, ids_b = encoded_a.ids, encoded_b.ids
    differing = [k for k, (x, y) in enumerate(zip(ids_a, ids_b, strict=False)) if x != y]
    if len(ids_a) != len(ids_b) or not differing or differing[0] == 0:
        return None
    span = tuple(range(differing[0], differing[-1] + 1))
    if a.span is not None:
        start, end = a.span
        marked = tuple(
            k for k, (x, y) in enumerate(encoded_a.offsets) if k >= encoded_a.bos_length and x < end and y > start
        )
        span = marked or span
    in_bridge = (k for k, (start, _) in enumerate(encoded_a.offsets) if k and start >= len(a.text))
    text_a, text_b = a.text + bridge.text, b.text + bridge.text
    return Pair(a.scenario, a.split, text_a, text_b, ids_a, ids_b, span, next(in_bridge, len(ids_a)))
