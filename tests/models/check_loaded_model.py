"""A battery for any model folder: what the package measures equals what plain transformers code gives.

The plain side knows the tokenizer, the causal LM and the family's table of module names, and nothing else of the
package. Everything is measured alone and beside other texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers import AutoTokenizer
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

import emotion_circuits as ec
from emotion_circuits.engine import Point, Push, record
from emotion_circuits.interventions import continuation_outcomes, slot_outcomes
from emotion_circuits.models import Family, family_of
from emotion_circuits.prompts import Context, Continuation, bank
from emotion_circuits.scoring import continuation_perplexities, continuation_task, slot_task

CLASSES = bank().names

TEXTS = (
    "The parcel arrived on Tuesday, and nobody asked who had sent it or why.",
    "Thanks",
    " Two  spaces,\nand a line ",
    "Ünïcödé — 日本語 😀!",
    "She said: <|im_start|>a parcel <sep> of tea<|im_end|>",
    "We meet at half past nine at the corner of the market square, where the old clock used to stand.",
)
PROMPTS = ("She opened the letter and said:", "We met at the ", 'He said, "', "日本\n")
NEW_TOKENS = 5
TOLERANCE = {"float32": 2e-5, "bfloat16": 0.05}
"""Of the largest entry: rounding, where a sum is taken in another order."""

Bos = bool | Literal["auto"]


class Plain:
    """A model and its tokenizer as transformers reads them from a folder."""

    def __init__(self, folder: Path, dtype: str, bos: bool) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.hf = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
        first = self.tokenizer.bos_token_id
        first = self.tokenizer.eos_token_id if first is None else first
        self.head = [first] if bos else []
        self.word = self.tokenizer("Parcel", add_special_tokens=False)["input_ids"]

    @cached_property
    def family(self) -> Family:
        return family_of(self.hf.config)

    def ids(self, text: str) -> list[int]:
        return [*self.head, *self.tokenizer(text, add_special_tokens=False)["input_ids"]]

    def log_p(self, ids: Sequence[int]) -> np.ndarray:
        """(tokens, vocabulary) log probabilities of the next token."""
        with torch.no_grad():
            return self.hf(torch.tensor([ids])).logits[0].double().log_softmax(-1).numpy()

    def sites(self, ids: Sequence[int]) -> dict[Point, torch.Tensor]:
        """(tokens, width) at every site, by output_hidden_states and hooks on the modules themselves."""
        seen: dict[Point, torch.Tensor] = {}
        handles = []

        def watch(module: torch.nn.Module, point: Point, side: str) -> None:
            def hook(_: Any, args: Any, kwargs: Any, output: Any = None) -> None:
                value = (args[0] if args else kwargs["hidden_states"]) if side == "in" else output
                seen[point] = (value[0] if isinstance(value, tuple) else value)[0].detach().clone()

            register = module.register_forward_pre_hook if side == "in" else module.register_forward_hook
            handles.append(register(hook, with_kwargs=True))

        family, get = self.family, torch.nn.Module.get_submodule
        for layer, block in enumerate(get(self.hf, family.blocks)):  # type: ignore[arg-type, var-annotated]
            watch(block, Point("resid_post", layer), "out")
            watch(get(block, family.attention_post_norm or family.attention), Point("attn_out", layer), "out")
            watch(get(block, family.mlp_post_norm or family.mlp), Point("mlp_out", layer), "out")
            watch(get(block, family.attention_out), Point("z", layer), "in")
            watch(get(block, family.mlp_out), Point("mlp_act", layer), "in")
            if not family.is_parallel(self.hf.config):
                watch(get(block, family.mid_norm), Point("resid_mid", layer), "in")
        with torch.no_grad():
            hidden = [h[0] for h in self.hf(torch.tensor([ids]), output_hidden_states=True).hidden_states]
        for handle in handles:
            handle.remove()
        seen[Point("embed", 0)] = hidden[0]
        for layer in range(len(hidden) - 1):
            seen[Point("resid_pre", layer)] = hidden[layer]
            if layer + 2 < len(hidden):  # the last one has passed the final norm
                seen[Point("resid_post", layer)] = hidden[layer + 1]
        return seen

    def continued(self, prompt: str, n: int) -> tuple[str, list[int], int]:
        """Greedy: the text that follows the prompt, all tokens, and how many of them are the prompt's."""
        ids = torch.tensor([self.ids(prompt)])
        mask = torch.ones_like(ids)
        full = self.hf.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=n, pad_token_id=0)[0].tolist()
        return self.after(ids[0].tolist(), full), full, ids.shape[1]

    def after(self, prompt: Sequence[int], full: Sequence[int]) -> str:
        before, whole = (self.tokenizer.decode(x, skip_special_tokens=True) for x in (prompt, full))
        if not whole.startswith(before):  # bytes that end a prompt and begin no character with what follows
            before, whole = (
                self.tokenizer.decode([*self.word, *x], skip_special_tokens=True) for x in ([], full[len(prompt) :])
            )
        return whole[len(before) :]

    def keeps(self, text: str) -> bool:
        """Whether the tokenizer has tokens for the whole text."""
        return str(self.tokenizer.decode(self.tokenizer(text, add_special_tokens=False)["input_ids"])).strip() == text

    def places(self, text: str) -> list[tuple[int, int]]:
        """Which characters each token stands for, from what the tokens before it and with it decode to."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        shown = [self.tokenizer.decode(ids[:k]) for k in range(len(ids) + 1)]
        lead = len(shown[-1]) - len(text)  # a tokenizer may show the space that it puts before a text
        assert lead in (0, 1) and shown[-1] == " " * lead + text, "the text is not what its tokens decode to"
        ends = [max(0, len(s) - lead) for s in shown]
        found = []
        for start, end in pairwise(ends):
            word = len(text[start:end].lstrip())
            found.append((end - word if word else start, end))
        return [*((0, 0) for _ in self.head), *found]

    def own(self, before: str, after: str, masked: Sequence[tuple[int, int]] = ()) -> list[int]:
        """The tokens of `after` in `before + after` that can be predicted, without those of masked words."""
        start = len(before)
        return [
            k
            for k, (a, b) in enumerate(self.places(before + after))
            if k and b > a >= start and not any(a < start + end and b > start + begin for begin, end in masked)
        ]

    def word_tokens(self, context: Context) -> dict[str, set[int]]:
        """The first token of every class's words where they follow the context, if no other class has it."""
        head, lead = self.ids(context.text), " " if context.slot == "adjective" else ""
        before, found = len(self.tokenizer.decode(head)), {}
        for emotion in CLASSES:
            words = [context.text + lead + word for word in ec.prompts.bank().word_sets().words(emotion, context.slot)]
            found[emotion] = set()
            for ids in self.tokenizer(words, add_special_tokens=False)["input_ids"]:
                ids = [*self.head, *ids]
                follows = ids[: len(head)] == head
                if follows and len(ids) > len(head) + 1:  # a beginning must show three letters of the word
                    follows = len(self.tokenizer.decode(ids[: len(head) + 1])) - before - len(lead) >= 3
                if follows:
                    found[emotion].add(ids[len(head)])
        return {e: own - set().union(*(found[x] for x in CLASSES if x != e)) for e, own in found.items()}


def close(ours: Any, plain: Any, tolerance: float) -> None:
    """Equal up to rounding: of the largest entry, or of 1."""
    ours, plain = (np.asarray(torch.as_tensor(x).float()) for x in (ours, plain))
    np.testing.assert_allclose(ours, plain, rtol=0, atol=tolerance * max(1.0, float(np.abs(plain).max())))


def alone_and_beside(measure: Callable[[list[Any]], Sequence[Any]], items: Sequence[Any]) -> list[tuple[Any, Any]]:
    """(item, what was measured), for all items together and for every other one by itself."""
    together = list(zip(items, measure(list(items)), strict=True))
    return together + [(item, measure([item])[0]) for item in items[::2]]


def check_sites(lm: ec.LanguageModel, plain: Plain, tolerance: float, texts: Sequence[str] = TEXTS) -> None:
    """Every token of every text at every site, and the public verb at the texts' ends."""
    expected = {text: plain.sites(plain.ids(text)) for text in texts}
    points = list(expected[texts[0]])

    def sites(texts: list[str]) -> list[dict[Point, torch.Tensor]]:
        ids = [e.ids for e in lm.encode(texts)]
        places = {str(k): [[k] if k < len(i) else [] for i in ids] for k in range(max(map(len, ids)))}
        values = record(lm, ids, places, points).values
        return [{p: v[: len(i), t] for p, v in values.items()} for t, i in enumerate(ids)]

    for text, found in alone_and_beside(sites, texts):
        for point in points:
            close(found[point], expected[text][point], tolerance)

    def ends(texts: list[str]) -> list[np.ndarray]:
        return list(ec.record(lm, texts, positions=["sentence_end"]).at("sentence_end").swapaxes(0, 1))

    last = [Point("embed", 0), *(Point("resid_post", layer) for layer in range(lm.n_layers))]
    for text, found in alone_and_beside(ends, texts):
        close(found, torch.stack([expected[text][p][-1] for p in last]), tolerance)


def check_plain_side(plain: Plain, tolerance: float) -> None:
    """The family's names are the modules that they should be: the parts of a block add up to the stream."""
    seen = plain.sites(plain.ids(TEXTS[0]))
    for layer in range(plain.hf.config.num_hidden_layers):
        pre, attention, mlp, post = (seen[Point(s, layer)] for s in ("resid_pre", "attn_out", "mlp_out", "resid_post"))
        close(pre + attention + mlp, post, tolerance)


def _nothing(lm: ec.LanguageModel) -> list[dict[int, Push]]:
    return [{0: Push.add(torch.zeros(1, lm.d_model))}]


def check_slots(lm: ec.LanguageModel, plain: Plain, tolerance: float) -> None:
    """Which tokens count where, and the log-odds of each class's words."""
    contexts = [c for slot in ec.prompts.SLOTS for c in [x for x in ec.prompts.contexts() if x.slot == slot][:2]]
    words = ec.prompts.bank().word_sets()
    counted = {context: plain.word_tokens(context) for context in contexts}
    expected = {}
    for context, tokens in counted.items():
        log_p = plain.log_p(plain.ids(context.text))[-1]
        sums = [np.logaddexp.reduce(log_p[sorted(tokens[c])]) for c in CLASSES]
        others = [np.logaddexp.reduce([s for j, s in enumerate(sums) if j != k]) for k in range(len(CLASSES))]
        expected[context] = np.subtract(sums, others)

    def tokens_and_odds(chosen: list[Context]) -> list[tuple[Any, Any, Any]]:
        task = slot_task(lm, chosen, words)
        odds = [slot_outcomes(lm, task, _nothing(lm), where=where)[0][0] for where in ("all", "last")]
        return list(zip(task.slots, *odds, strict=True))

    for context, (slot, odds, at_last) in alone_and_beside(tokens_and_odds, contexts):
        assert {e: set(tokens) for e, tokens in slot.tokens.items()} == counted[context]
        close(odds, expected[context], tolerance)
        close(at_last, expected[context], tolerance)


def check_continuations(lm: ec.LanguageModel, plain: Plain, tolerance: float) -> None:
    """Mean log probability of continuations' tokens, without masked words, after every context."""
    contexts = [c for c in ec.prompts.contexts() if c.slot == "opening"][:2]
    said = ec.prompts.bank().continuations("test")
    chosen = [c for e in CLASSES for c in [x for x in said if x.emotion == e][:1]]
    assert any(c.masked for c in chosen)

    def expected(context: Context, continuation: Continuation) -> float:
        ids = plain.ids(context.text + continuation.text)
        log_p = plain.log_p(ids)
        own = plain.own(context.text, continuation.text, continuation.masked)
        return float(np.mean([log_p[k - 1, ids[k]] for k in own]))

    def means(some: list[Continuation]) -> list[Any]:
        return list(continuation_outcomes(lm, continuation_task(lm, contexts, some), _nothing(lm))[0][0].T)

    by_hand = {c: [expected(context, c) for context in contexts] for c in chosen}
    for continuation, found in alone_and_beside(means, chosen):
        close(found, by_hand[continuation], tolerance)


def check_perplexity(lm: ec.LanguageModel, plain: Plain, tolerance: float) -> None:
    """Of texts after prompts: joined as they stand, the text's own tokens only."""
    texts = [" is free on Sundays.", "Thanks a lot, my friend.", "s", " a", "\nNobody came."]
    prompts = ("Parking", 'He said, "', "The door", "We had", "She left.")
    pairs = [pair for pair in zip(prompts, texts, strict=True) if plain.keeps("".join(pair))]
    assert len(pairs) >= 4

    def expected(prompt: str, text: str) -> float:
        ids, own = plain.ids(prompt + text), plain.own(prompt, text)
        log_p = plain.log_p(ids)
        return float(np.mean([log_p[k - 1, ids[k]] for k in own])) if own else float("nan")

    def logs(some: list[tuple[str, str]]) -> list[Any]:
        return list(-np.log(continuation_perplexities(lm, [p for p, _ in some], [t for _, t in some])))

    for pair, found in alone_and_beside(logs, pairs):
        close(found, expected(*pair), tolerance)


def check_generation(lm: ec.LanguageModel, plain: Plain, tolerance: float) -> None:
    """Greedy text; where rounding is coarse it may turn off at a step at which two tokens are as good as equal."""
    expected = {prompt: plain.continued(prompt, NEW_TOKENS) for prompt in PROMPTS}
    for prompt, found in alone_and_beside(lambda some: lm.generate(some, max_tokens=NEW_TOKENS), PROMPTS):
        text, full, start = expected[prompt]
        if found != text:
            best = plain.log_p(full)[start - 1 : -1]
            gaps = np.diff(np.sort(best, axis=-1)[:, -2:], axis=-1)[:, 0]
            ties = [k for k, gap in enumerate(gaps) if gap <= tolerance * np.abs(best[k]).max()]
            same = [plain.after(full[:start], full[: start + k]) for k in ties]
            assert any(found.startswith(beginning) for beginning in same), (prompt, found, text)


CHECKS = (check_sites, check_slots, check_continuations, check_perplexity, check_generation)


def check_loaded_model(folder: Path, *, dtype: Literal["float32", "bfloat16"] = "float32", bos: Bos = "auto") -> None:
    """Every check on one folder; all that fail are reported together.

    Args:
        folder: a model in Hugging Face format.
        dtype: to measure in.
        bos: as for `ec.load`.
    """
    lm = ec.load(str(folder), dtype=dtype, bos=bos)
    plain = Plain(folder, dtype, lm.bos)
    tolerance = TOLERANCE[dtype]
    check_plain_side(plain, tolerance)
    failed = []
    for check in CHECKS:
        try:
            check(lm, plain, tolerance)
        except Exception as error:
            failed.append(f"{check.__name__}: {type(error).__name__}: {error}")
    assert not failed, "\n".join(failed)
