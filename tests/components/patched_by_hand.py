"""Attribution and patching in plain torch, one head and one text at a time: nothing is shared with the package but the
names of modules."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from emotion_circuits import prompts
from emotion_circuits.models import LoadedModel

Z, ACT = "attention_out", "mlp_out"


def block(lm: LoadedModel, layer: int) -> Any:
    return attrgetter(lm.family.blocks)(lm.hf)[layer]


def projections(lm: LoadedModel, where: str) -> list[Any]:
    path = attrgetter(getattr(lm.family, where))
    return [path(block(lm, layer)) for layer in range(lm.n_layers)]


def post_norm(lm: LoadedModel, where: str, layer: int) -> Any:
    path = lm.family.attention_post_norm if where == Z else lm.family.mlp_post_norm
    return None if path is None else attrgetter(path)(block(lm, layer))


def gain(lm: LoadedModel, where: str, layer: int) -> torch.Tensor:
    """(d,) what the norm behind a projection multiplies by once lengths are 1, from what it does to one vector."""
    norm, u = post_norm(lm, where, layer), torch.linspace(50, 90, lm.d_model, dtype=lm.dtype)
    return torch.ones_like(u) if norm is None else (norm(u) / u * u.square().mean().sqrt()).detach()


def written(lm: LoadedModel, where: str, layer: int, values: torch.Tensor, part: slice) -> torch.Tensor:
    """(…, tokens, d) what some of a projection's inputs write by themselves, at the length that all of them have."""
    module, norm = projections(lm, where)[layer], post_norm(lm, where, layer)
    alone = torch.zeros_like(values)
    alone[..., part] = values[..., part]
    own = module(alone) - module(torch.zeros_like(alone))
    if norm is None:
        return own
    length = (module(values).square().mean(-1, keepdim=True) + lm.config.rms_norm_eps).sqrt()
    return own * gain(lm, where, layer) / length


@cache
def words_first(tokenizer: PreTrainedTokenizerBase, emotion: str) -> frozenset[int]:
    """Asked for after every pass, where it would take as long as the pass."""
    found = set()
    for word in prompts.bank().word_sets().words(emotion, "opening"):
        ids = tokenizer(word, add_special_tokens=False)["input_ids"]
        if len(ids) == 1 or len(tokenizer.decode([ids[0]]).strip()) >= 3:
            found.add(ids[0])
    return frozenset(found)


def log_odds(lm: LoadedModel, logits: torch.Tensor, emotion: str) -> torch.Tensor:
    """Of the last token of one text, (tokens, vocabulary)."""
    sets = {c: words_first(lm.tokenizer, c) for c in prompts.bank().names}
    own = {t for t in sets[emotion] if all(t not in s for c, s in sets.items() if c != emotion)}
    others = {t for c, s in sets.items() if c != emotion for t in s if sum(t in o for o in sets.values()) == 1}
    last = logits[-1]
    return last[sorted(own)].logsumexp(0) - last[sorted(others)].logsumexp(0)


def run(
    lm: LoadedModel,
    ids: tuple[int, ...],
    change: dict[Any, Callable[[torch.Tensor], torch.Tensor]] | None = None,
    embeddings: torch.Tensor | None = None,
) -> tuple[torch.Tensor, dict[Any, torch.Tensor]]:
    """Logits (tokens, vocabulary), and the input of every projection after its change."""
    seen: dict[Any, torch.Tensor] = {}
    handles = []

    def hook(module: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        value = args[0]
        if change and module in change:
            value = change[module](value)
        if value.requires_grad:
            value.retain_grad()
        seen[module] = value
        return (value,)

    for module in (*projections(lm, Z), *projections(lm, ACT)):
        handles.append(module.register_forward_pre_hook(hook))
    try:
        given = {"input_ids": torch.tensor([ids])} if embeddings is None else {"inputs_embeds": embeddings}
        logits = lm.hf(**given, use_cache=False).logits[0]
    finally:
        for handle in handles:
            handle.remove()
    return logits, seen


def embed(lm: LoadedModel, ids: tuple[int, ...]) -> torch.Tensor:
    return lm.hf.get_input_embeddings()(torch.tensor([ids])).detach()


def patched(lm: LoadedModel, pair: Any, emotion: str, where: str, chosen: list[tuple[int, slice]]) -> float:
    """m of the first prompt with chosen values of the second one's run, position 0 as it was."""
    with torch.no_grad():
        _, other = run(lm, pair.ids_b)
        modules = projections(lm, where)
        change: dict[Any, Callable[[torch.Tensor], torch.Tensor]] = {}
        for layer in {layer for layer, _ in chosen}:
            slices = [part for at, part in chosen if at == layer]

            def put(value: torch.Tensor, module: Any = modules[layer], slices: Any = slices) -> torch.Tensor:
                value = value.clone()
                for part in slices:
                    value[:, 1:, part] = other[module][:, 1:, part]
                return value

            change[modules[layer]] = put
        logits, _ = run(lm, pair.ids_a, change)
        return float(log_odds(lm, logits, emotion))


def attributed(lm: LoadedModel, pair: Any, emotion: str, where: str, points: list[float]) -> list[torch.Tensor]:
    """Per layer (width,) Σ over tokens of (x_a − x_b) · mean gradient at points between b (0) and a (1)."""
    modules = projections(lm, where)
    with torch.no_grad():
        _, a = run(lm, pair.ids_a)
        _, b = run(lm, pair.ids_b)
    total = [torch.zeros(()) for _ in modules]
    for share in points:
        start = embed(lm, pair.ids_b) + share * (embed(lm, pair.ids_a) - embed(lm, pair.ids_b))
        with torch.enable_grad():
            logits, seen = run(lm, pair.ids_a, embeddings=start.requires_grad_(True))
            log_odds(lm, logits, emotion).backward()
        for layer, module in enumerate(modules):
            gradient = seen[module].grad
            total[layer] = total[layer] + ((a[module] - b[module]) * gradient)[0, 1:].sum(0) / len(points)
    return total


def greedy(lm: LoadedModel, ids: tuple[int, ...], change: dict[Any, Any], n: int) -> str:
    """A continuation in whole forward passes, no cache: `change` acts in each, on all tokens that there are by then."""
    tokens = list(ids)
    for _ in range(n):
        with torch.no_grad():
            logits, _ = run(lm, tuple(tokens), change)
        tokens.append(int(logits[-1].argmax()))
        if tokens[-1] == lm.tokenizer.eos_token_id:
            tokens.pop()
            break
    return str(lm.tokenizer.decode(tokens[len(ids) :], skip_special_tokens=True))


def beyond_the_first(lm: LoadedModel, chosen: dict[tuple[str, int], Callable[[torch.Tensor], None]]) -> dict[Any, Any]:
    """(Z or ACT's name, layer) → a change in place of the values of all tokens but the first."""
    change: dict[Any, Any] = {}
    for (site, layer), act in chosen.items():

        def changed(value: torch.Tensor, act: Callable[[torch.Tensor], None] = act) -> torch.Tensor:
            value = value.clone()
            act(value[:, 1:])
            return value

        change[projections(lm, {"z": Z, "mlp_act": ACT}[site])[layer]] = changed
    return change
