"""Prompts token by token: how much of what a head moves to the last token comes from each, as HTML without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from emotion_circuits.components import ExampleHead, HeadExample, HeadExamples, Look, SeenPrompt
from emotion_circuits.report._style import emotion_colour, equals, interval, number

SHOWN_HEADS = 3
_FAINTEST = 0.005
_MOST = 0.85
"""So that the text stays readable on it."""


def head_texts(examples: HeadExamples) -> Iterator[str]:
    """One emotion's examples: a part to unfold for each head, the first one open."""
    colour = emotion_colour(examples.emotion)
    yield f"<h4>{escape(examples.emotion.capitalize())}</h4>"
    for place, head in enumerate(examples.heads[:SHOWN_HEADS]):
        yield f'<details class="looks" style="--c:var(--{colour})"{" open" if place == 0 else ""}>'
        yield f"<summary>{_head_words(head, examples)}</summary>"
        for example in examples.examples:
            yield '<div class="pair">'
            for name, prompt, other in (
                (examples.emotion, example.emotion, False),
                (examples.reference, example.neutral, True),
            ):
                yield _line(name, example, prompt, prompt.looks[place], other=other)
            yield "</div>"
        yield "</details>"


def texts_caption(examples: HeadExamples) -> str:
    """How to read them, and the rule by which they were chosen."""
    n = len(examples.examples)
    return (
        "Where the best heads look from the prompt's last token: the stronger a token's background, the larger its "
        "part of all that the head moves there (attention times the length of what it moves). The marked word is "
        "underlined, and what stands in its place in the neutral twin below. Behind each prompt the underlined part's "
        "share, beside the mean of all heads of the layer and the part of the tokens that it is, which a head that "
        f"looks at all alike would give. Nothing was picked: the first {n} pairs in the bank's order. Pointing at a "
        "token gives its numbers."
    )


def _head_words(head: ExampleHead, examples: HeadExamples) -> str:
    parts = [f"head {head}"]
    if head.score is not None:
        band = "" if head.ci_low is None or head.ci_high is None else f" {interval(head.ci_low, head.ci_high)}"
        parts.append(f"score {number(head.score)}{band}")
    if head.p is not None:
        parts.append(f"p {equals(head.p)}")
    if head.exact is not None:
        parts.append(f"patched {number(head.exact)}")
    parts.append(f"n = {examples.n_pairs}")
    return escape(", ".join(parts))


def _line(name: str, example: HeadExample, prompt: SeenPrompt, look: Look, *, other: bool) -> str:
    tokens = "".join(
        _token(text, weight, share, k in example.span, first=k == 0 and "".join(prompt.tokens[1:]) == prompt.text)
        for k, (text, weight, share) in enumerate(zip(prompt.tokens, look.weights, look.shares, strict=True))
    )
    numbers = (
        f"{_percent(example.word_share(look))} from the word{' in its place' if other else ''} · heads of the layer "
        f"{_percent(look.layer_share)} · all tokens alike {_percent(example.uniform)}"
    )
    return (
        f'<p class="look"><span class="who">{escape(name)}</span><span class="said">{tokens}</span>'
        f"<small>{numbers}</small></p>"
    )


def _token(text: str, weight: float, share: float, marked: bool, *, first: bool) -> str:
    shown = "⟨start⟩ " if first else text.replace("\n", "⏎\n") or "·"
    space = shown[: len(shown) - len(shown.lstrip(" "))]
    word = escape(shown[len(space) :])
    said = f"{space}<u>{word}</u>" if marked else space + word
    title = f"{text.strip() or shown}: {_percent(share)} of what is moved, attention {_percent(weight)}"
    style = ""
    if share >= _FAINTEST:
        strength = 100 * min(share, _MOST)
        style = f' style="background:color-mix(in srgb,var(--c) {strength:.0f}%,transparent)"'
    css = "t muted" if first else "t"
    return f'<span class="{css}" title="{escape(title)}"{style}>{said}</span>'


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.095 or share == 0 else f"{100 * share:.1f} %"
