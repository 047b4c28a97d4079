"""A model ready for measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import nn

from emotion_circuits.errors import InputError
from emotion_circuits.models._families import Family
from emotion_circuits.models._names import ModelName

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


SLIDING = "sliding_attention"
"""transformers' name for layers whose attention has a window."""
MOST_CONTEXTS = 2000
"""That tokens after them are remembered of: some megabytes."""

Float32Products = Literal["highest", "medium"]
"""torch's setting of float32 products on the CPU. "medium" lets processors with bfloat16 arithmetic round to it; on
others it changes nothing, or which library multiplies."""


@dataclass(frozen=True)
class Encoded:
    """One text as tokens."""

    ids: tuple[int, ...]
    """Token ids, BOS first if the model is used with one."""

    offsets: tuple[tuple[int, int], ...]
    """Per token, start and end of its characters in the text, without leading white space; (0, 0) for BOS. Tokens that
    are parts of one character all have that character's range."""

    bos_length: int
    """How many leading tokens are BOS: 0 or 1."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A causal language model in eval mode, without parameter gradients, and what the engine must know of it."""

    name: ModelName
    revision: str
    """What `models.revision_of` gives: changes with every file that decides a number."""
    family: Family
    hf: PreTrainedModel = field(repr=False)
    """The causal LM as transformers made it."""
    tokenizer: PreTrainedTokenizerFast = field(repr=False)
    bos: bool
    """Whether `encode` puts a BOS token before each text."""
    device: torch.device
    dtype: torch.dtype
    packing: bool = False
    """Several texts may share a row under a block mask. The engine sets it once that is proven."""
    float32_products: Float32Products = "highest"
    _after: dict[tuple[str, ...], dict[str, list[tuple[int, ...]]]] = field(
        default_factory=dict, init=False, repr=False
    )
    """What `tokens_after` has found, by pieces and context: the same words are asked for after the same prompts again
    and again."""

    @property
    def config(self) -> Any:
        return self.hf.config

    @property
    def n_layers(self) -> int:
        return int(self.config.num_hidden_layers)

    @property
    def d_model(self) -> int:
        return int(self.config.hidden_size)

    @property
    def n_heads(self) -> int:
        return int(self.config.num_attention_heads)

    @property
    def d_head(self) -> int:
        """Width of one head's output; `n_heads * d_head` is the width of the out-projection's input."""
        return int(getattr(self.config, "head_dim", None) or self.d_model // self.n_heads)

    @property
    def n_kv_heads(self) -> int:
        """Heads of keys and values; fewer than `n_heads` under grouped-query attention."""
        return int(getattr(self.config, "num_key_value_heads", None) or self.n_heads)

    @property
    def vocab_size(self) -> int:
        """Width of the logits, which may exceed the number of the tokenizer's tokens."""
        return int(self.config.vocab_size)

    @property
    def max_positions(self) -> int:
        return int(self.config.max_position_embeddings)

    @property
    def parallel(self) -> bool:
        """Attention and MLP read the same input: there is no `resid_mid`."""
        return self.family.is_parallel(self.config)

    @property
    def bos_id(self) -> int:
        """The token used as BOS: the tokenizer's BOS, else its EOS.

        Raises:
            InputError: the tokenizer has neither.
        """
        for candidate in (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id):
            if candidate is not None:
                return int(cast(int, candidate))
        raise InputError(f"The tokenizer of {self.name} has no BOS or EOS token.", next_step="load it with bos=False")

    @property
    def windows(self) -> dict[str, int | None]:
        """Kind of layer → how many tokens its attention reaches, the token itself included; None for all before."""
        kinds = getattr(self.config, "layer_types", None)
        window = getattr(self.config, "sliding_window", None)
        if kinds is None:
            return {"full_attention": None} if window is None else {SLIDING: int(window)}
        return {kind: window if kind == SLIDING else None for kind in dict.fromkeys(kinds)}

    def kind_of(self, layer: int) -> str:
        """The layer's key in `windows`."""
        kinds = getattr(self.config, "layer_types", None)
        return str(next(iter(self.windows)) if kinds is None else kinds[layer])

    @property
    def softcap(self) -> float | None:
        """c where the logits are c · tanh(head's output / c)."""
        return getattr(self.config, "final_logit_softcapping", None)

    @property
    def base(self) -> nn.Module:
        """The model without its LM head. Running it costs no vocabulary-sized product."""
        return self.hf.base_model

    @property
    def blocks(self) -> nn.ModuleList:
        return cast(nn.ModuleList, _module(self.hf, self.family.blocks))

    @property
    def embedding(self) -> nn.Module:
        return self.hf.get_input_embeddings()

    @property
    def final_norm(self) -> nn.Module:
        return _module(self.hf, self.family.final_norm)

    @property
    def lm_head(self) -> nn.Module:
        return cast(nn.Module, cast(Any, self.hf).get_output_embeddings())

    def attention(self, layer: int) -> nn.Module:
        return _module(self.block(layer), self.family.attention)

    def attention_out(self, layer: int) -> nn.Module:
        """The out-projection; its input is `z`, shape (..., n_heads * d_head)."""
        return _module(self.block(layer), self.family.attention_out)

    def attention_post_norm(self, layer: int) -> nn.Module | None:
        """What the out-projection's output passes before it is added to the stream, if there is anything."""
        path = self.family.attention_post_norm
        return None if path is None else _module(self.block(layer), path)

    def values(self, layer: int) -> nn.Module:
        """The projection that computes the heads' values (see `Family.value_layout`)."""
        return _module(self.block(layer), self.family.values)

    def mlp(self, layer: int) -> nn.Module:
        return _module(self.block(layer), self.family.mlp)

    def mlp_out(self, layer: int) -> nn.Module:
        """The MLP's out-projection; its input is `mlp_act`, shape (..., neurons)."""
        return _module(self.block(layer), self.family.mlp_out)

    def mlp_post_norm(self, layer: int) -> nn.Module | None:
        """As `attention_post_norm`, after the MLP."""
        path = self.family.mlp_post_norm
        return None if path is None else _module(self.block(layer), path)

    def mid_norm(self, layer: int) -> nn.Module:
        """The norm before the MLP; its input is `resid_mid`, unless the block is parallel."""
        return _module(self.block(layer), self.family.mid_norm)

    @property
    def d_mlp(self) -> int:
        """Neurons of one MLP: the width of its out-projection's input."""
        projection = self.mlp_out(0)
        weight = cast(torch.Tensor, projection.weight)
        return int(weight.shape[1] if isinstance(projection, nn.Linear) else weight.shape[0])  # Conv1D is transposed

    def block(self, layer: int) -> nn.Module:
        """One block, by its index from 0.

        Raises:
            InputError: the model has no such layer.
        """
        if not 0 <= layer < self.n_layers:
            raise InputError(f"{self.name} has no layer {layer}.", accepted=f"0 to {self.n_layers - 1}")
        return self.blocks[layer]

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Tokenize texts; no special token is added but BOS, and nothing is truncated.

        Raises:
            InputError: a text has no token, more than the model has positions, or one without a row in the embedding.
        """
        if isinstance(texts, str):
            raise TypeError("encode takes a list of texts, not one text")
        if not texts:
            return []
        batch = self._tokenized(texts, return_offsets_mapping=True)
        head = (self.bos_id,) if self.bos else ()
        encoded = []
        for text, ids, offsets in zip(texts, batch["input_ids"], batch["offset_mapping"], strict=True):
            result = Encoded(
                ids=(*head, *ids),
                offsets=(*((0, 0) for _ in head), *(_without_leading_space(text, *offset) for offset in offsets)),
                bos_length=len(head),
            )
            self._check(text, result.ids)
            encoded.append(result)
        return encoded

    def tokens_after(self, contexts: Sequence[str], pieces: Sequence[str]) -> list[list[tuple[int, ...]]]:
        """The tokens with which each piece goes on each context. Never those of the piece alone: many tokenizers put a
        space before whatever a text begins with.

        Returns:
            contexts × pieces; no tokens where the piece changes the context's own ones, so that nothing predicts it.
        """
        if sum(map(len, self._after.values())) > MOST_CONTEXTS:
            self._after.clear()
        known = self._after.setdefault(tuple(pieces), {})
        new = [context for context in dict.fromkeys(contexts) if context not in known]
        if new:
            before = self._tokenized(new)["input_ids"]
            joint = iter(self._tokenized([context + piece for context in new for piece in pieces])["input_ids"])
            for context, own in zip(new, before, strict=True):
                known[context] = [
                    tuple(ids[len(own) :]) if ids[: len(own)] == own else () for ids in islice(joint, len(pieces))
                ]
        return [list(known[context]) for context in contexts]

    def text_after(self, context: Sequence[int], new: Sequence[int]) -> str:
        """The text that new tokens add to a context's, without special tokens. Never that of the new tokens alone: many
        tokenizers drop the space that a text begins with.

        An unfinished character is `\N{REPLACEMENT CHARACTER}`. Where the new tokens change how the context itself reads
        (bytes that make its last ones invalid), they are read after the longest part of it that stays as it is.
        """
        for length in range(len(context), -1, -1):
            kept = list(context[:length])
            before, joint = self._text(kept), self._text([*kept, *new])
            if joint.startswith(before):
                break
        return joint[len(before) :]

    def _tokenized(self, texts: Sequence[str], **options: bool) -> Any:
        """What the tokenizer makes of texts, each from its beginning; no special token is added."""
        return self.tokenizer(
            list(texts),
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
            **options,
        )

    def _text(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _check(self, text: str, ids: tuple[int, ...]) -> None:
        length, rows = len(ids), len(cast(torch.Tensor, self.embedding.weight))
        if length == 0:
            raise InputError("A text has no tokens.", found=repr(text), next_step="leave out empty texts")
        if max(ids) >= rows:  # only a padding token may be there (see `check_tokens`)
            token = self.tokenizer.convert_ids_to_tokens(max(ids))
            raise InputError(
                f"A text holds a token that {self.name} has no row for in its embedding.",
                found=f"{token!r} in {text[:40]!r}",
                next_step="take it out of the text, or resize the model's embedding and save it",
            )
        if length > self.max_positions:
            raise InputError(
                f"A text is too long for {self.name}.",
                found=f"{length} tokens: {text[:40]!r} …",
                accepted=f"at most {self.max_positions} tokens",
                next_step="split or shorten the text",
            )


def _module(root: nn.Module, path: str) -> nn.Module:
    try:
        return cast(nn.Module, attrgetter(path)(root))
    except AttributeError as error:
        raise InputError(
            f"{type(root).__name__} has no module {path}, which a fact of its family names.",
            found=", ".join(name for name, _ in root.named_children()),
            next_step="correct the family's path; blocks whose attention and MLP read one input have parallel=True",
        ) from error


def _without_leading_space(text: str, start: int, end: int) -> tuple[int, int]:
    # Tokenizers differ in whether " word" starts at the space; positions in the text must not.
    stripped = len(text[start:end].lstrip())
    return (end - stripped, end) if stripped else (start, end)
