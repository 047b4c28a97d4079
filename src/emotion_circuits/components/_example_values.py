"""Examples of what heads look at, as values and as a file; the rule that chooses them is in `_head_examples.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from emotion_circuits._files import write_text
from emotion_circuits.components._screen import Agreement
from emotion_circuits.errors import InputError

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1.001)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExampleHead(_Frozen):
    """A head, and what its screen says of it; None where it does not.

    Attributes:
        layer, head: which one, counted from 0.
        score, ci_low, ci_high, p: estimated effect on the outcome, its interval, p by max-T over all heads.
        exact, exact_ci_low, exact_ci_high: the effect measured by patching.
        direct, direct_ci_low, direct_ci_high: what it writes along the emotion's direction, emotion's prompt minus
            neutral one.
        attention, attention_ci_low, attention_ci_high: value-weighted share of the word, mean over all pairs.
        attention_neutral: the same in the neutral prompts.
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
    direct_ci_low: _Number | None = None
    direct_ci_high: _Number | None = None
    attention: _Number | None = None
    attention_ci_low: _Number | None = None
    attention_ci_high: _Number | None = None
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
