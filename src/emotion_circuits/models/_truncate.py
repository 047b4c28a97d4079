"""Texts that are longer than a model reads."""

from __future__ import annotations

from emotion_circuits.models._loaded import LoadedModel


def first_tokens(lm: LoadedModel, text: str) -> str:
    """The longest beginning of a text that fits into the model and is tokenised just as it is in the whole text."""
    whole = lm.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids: list[int] = whole["input_ids"]
    room = lm.max_positions - int(lm.bos)
    if len(ids) <= room:
        return text
    for kept in range(room, 0, -1):
        cut = text[: whole["offset_mapping"][kept - 1][1]]
        if lm.tokenizer(cut, add_special_tokens=False, verbose=False)["input_ids"] == ids[:kept]:
            return cut
    return ""
