"""Steering on GPT-2 small's shape beside a loop over cells and batched cells, all in one run.

Three tasks: a sweep of 12 layers × 7 doses × 3 emotions × 70 texts, read at the last position, with all positions
changed or the last one only; 100 control directions beside 100 times one; and generation of 30 tokens for 20 prompts ×
5 layers × 7 doses × 3 emotions. Slow arms run a fixed random sample of cells, interleaved with ours layer by layer, and
are scaled to all cells; their rows say so. Random weights serve: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from _common import Row, clock, gpt2_small, print_rows, write_rows

from emotion_circuits.engine import Pushes, added, generate_variants, joined, matmul_precision, plan_batches
from emotion_circuits.interventions import Where, slot_outcomes
from emotion_circuits.models import Encoded, LoadedModel
from emotion_circuits.prompts import Context, bank
from emotion_circuits.scoring import SlotTask, SlotTokens, log_odds

CLASSES = bank().names

LAYERS = tuple(range(12))
DOSES = (-0.4, -0.2, -0.1, 0.05, 0.1, 0.2, 0.4)
N_EMOTIONS, N_TEXTS, N_CONTROLS = 3, 70, 100
CELLS_PER_LAYER = 21
"""Of the loop, sampled: 252 cells in all. Of batched cells one a layer, 840 texts in all."""
WORDS_PER_CLASS = 20
GENERATED_LAYERS, N_PROMPTS, N_TOKENS = (2, 4, 6, 8, 10), 20, 30
GENERATED_SAMPLE = 200
SCALE = 30.0
"""Length of a dose of 1, about the residual norm of a trained model's middle layers."""


class Numbers:
    """Stands for a tokenizer: texts are their token ids."""

    eos_token_id = None

    def decode(self, ids: list[int], **_: Any) -> str:
        return " ".join(map(str, ids))


def random_ids(rng: random.Random, n: int, vocabulary: int) -> list[tuple[int, ...]]:
    """Texts of 8 to 24 tokens."""
    return [tuple(rng.randrange(vocabulary) for _ in range(rng.randint(8, 24))) for _ in range(n)]


def units(lm: LoadedModel, n: int) -> torch.Tensor:
    """(n, d) random unit vectors; which ones does not matter for speed."""
    drawn = torch.randn(n, lm.d_model, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return torch.nn.functional.normalize(drawn, dim=-1)


def variants(lm: LoadedModel, layer: int) -> Pushes:
    """Every emotion with every dose at a layer, doses fastest."""
    steps = torch.tensor(DOSES, dtype=torch.float64) * SCALE
    return added(layer, (units(lm, N_EMOTIONS)[:, None] * steps[:, None]).reshape(-1, lm.d_model))


def slot_task_of(ids: list[tuple[int, ...]], vocabulary: int) -> SlotTask:
    """Texts read at their last token, with 20 words for each class."""
    words = random.Random(3).sample(range(vocabulary), WORDS_PER_CLASS * len(CLASSES))
    tokens = {c: tuple(words[k * WORDS_PER_CLASS : (k + 1) * WORDS_PER_CLASS]) for k, c in enumerate(CLASSES)}
    contexts = tuple(Context(str(i), "", "opening", "test") for i in range(len(ids)))
    return SlotTask(contexts, plan_batches(ids, packed=True), (SlotTokens("opening", tokens, ()),) * len(ids))


@contextmanager
def hooked(lm: LoadedModel, layer: int, vector: torch.Tensor, where: Where) -> Iterator[None]:
    """What people write by hand: a forward hook that adds a vector to a block's output."""

    def add(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        if output.shape[1] == 1:  # a generated token, read from the cache
            return output + vector
        output = output.clone()
        output[:, -1 if where == "last" else 1 :] += vector
        return output

    handle = lm.blocks[layer].register_forward_hook(add)
    try:
        with torch.inference_mode():
            yield
    finally:
        handle.remove()


def padded(lm: LoadedModel, ids: list[tuple[int, ...]], layer: int, vector: torch.Tensor, where: Where) -> torch.Tensor:
    """One cell over all texts in one right-padded batch; (texts, vocabulary) logits at each text's last token."""
    longest = max(map(len, ids))
    tokens = torch.tensor([[*t, *[0] * (longest - len(t))] for t in ids])
    mask = torch.tensor([[1] * len(t) + [0] * (longest - len(t)) for t in ids])
    last = torch.tensor([len(t) - 1 for t in ids])
    row = torch.arange(len(ids))

    def add(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        if where == "last":
            output[row, last] += vector
        else:
            output[:, 1:] += vector
        return output

    handle = lm.blocks[layer].register_forward_hook(add)
    try:
        with torch.inference_mode():
            return lm.hf(tokens, attention_mask=mask).logits[row, last]
    finally:
        handle.remove()


def sweep_rows(lm: LoadedModel, where: Where, setting: str) -> list[Row]:
    """Ours in full, the other arms sampled, layer by layer."""
    rng = random.Random(0)
    ids = random_ids(rng, N_TEXTS, lm.vocab_size)
    task = slot_task_of(ids, lm.vocab_size)
    seconds = {"ours": 0.0, "loop": 0.0, "batched": 0.0}
    pushes = [variants(lm, layer) for layer in LAYERS]
    # Half of ours before the other arms and half after, so that a slow stretch of the machine meets all arms.
    found: dict[int, np.ndarray] = {}

    def half(layers: tuple[int, ...]) -> None:
        spent, odds = clock(lambda: slot_outcomes(lm, task, [pushes[layer] for layer in layers], where=where))
        seconds["ours"] += spent
        found.update(zip(layers, odds, strict=True))

    half(LAYERS[::2])
    theirs: list[tuple[int, int, int, torch.Tensor]] = []
    for layer in LAYERS:
        vectors = pushes[layer][layer].vector.float()
        for _ in range(CELLS_PER_LAYER):
            v, i = rng.randrange(len(vectors)), rng.randrange(N_TEXTS)
            with hooked(lm, layer, vectors[v], where):
                spent, out = clock(lambda i=i: lm.hf(torch.tensor([ids[i]])))  # type: ignore[misc]
            seconds["loop"] += spent
            theirs.append((layer, v, i, out.logits[0, -1]))
        v = rng.randrange(len(vectors))
        spent, logits = clock(lambda n=layer, w=vectors[v]: padded(lm, ids, n, w, where))  # type: ignore[misc]
        seconds["batched"] += spent
        theirs += [(layer, v, i, row) for i, row in enumerate(logits)]
    half(LAYERS[1::2])
    largest = max(float(logits.abs().max()) for *_, logits in theirs)
    error = 0.0
    for layer, v, i, logits in theirs:
        expected = log_odds(logits[None], task.slots[i : i + 1])[0].double()
        error = max(error, float((expected - torch.from_numpy(found[layer][v, i])).abs().max()))
    n_variants = len(DOSES) * N_EMOTIONS
    seconds["loop"] *= n_variants * N_TEXTS / CELLS_PER_LAYER
    seconds["batched"] *= n_variants
    places = "all positions" if where == "all" else "last position"
    task_name = f"sweep, {len(LAYERS)} × {len(DOSES)} × {N_EMOTIONS} × {N_TEXTS}, {places}"
    sampled = len(LAYERS) * CELLS_PER_LAYER
    arms = {
        "ours": "ours",
        "loop": f"huggingface loop over cells (sampled: {sampled} of {len(LAYERS) * n_variants * N_TEXTS:,})",
        "batched": f"huggingface batched cells (sampled: {len(LAYERS)} of {len(LAYERS) * n_variants} batches)",
    }
    return [
        Row(task_name, label, "cpu", setting, s, s, s, s / seconds["ours"], None,
            error / largest if arm == "ours" else None)
        for arm, label in arms.items() for s in [seconds[arm]]
    ]  # fmt: skip


def control_rows(lm: LoadedModel, setting: str) -> list[Row]:
    """100 control directions in one call beside 100 times one direction, at a middle layer."""
    task = slot_task_of(random_ids(random.Random(0), N_TEXTS, lm.vocab_size), lm.vocab_size)
    vectors = units(lm, N_CONTROLS) * SCALE * 0.2
    ours, _ = clock(lambda: slot_outcomes(lm, task, [added(6, vectors)]))
    singles = [clock(lambda k=k: slot_outcomes(lm, task, [added(6, vectors[k : k + 1])]))[0] for k in range(10)]  # type: ignore[misc]
    one = float(np.median(singles)) * N_CONTROLS
    name = f"{N_CONTROLS} controls, {N_TEXTS} texts, layer 6"
    return [
        Row(name, "ours", "cpu", setting, ours, ours, ours, 1.0, None, None),
        Row(name, "ours, 100 × one direction (median of 10)", "cpu", setting, one, one, one, one / ours, None, None),
    ]


def generation_rows(lm: LoadedModel, setting: str) -> list[Row]:
    """All cells in one call beside a sample of them one by one through `generate`."""
    lm = replace(lm, tokenizer=Numbers())  # type: ignore[arg-type]
    lm.hf.generation_config.eos_token_id = None
    rng = random.Random(0)
    prompts = [Encoded(t, ((0, 0),) * len(t), 0) for t in random_ids(rng, N_PROMPTS, lm.vocab_size)]
    per_layer = {layer: variants(lm, layer)[layer].vector for layer in GENERATED_LAYERS}
    cells = joined([added(layer, v) for layer, v in per_layer.items()])
    ours, texts = clock(lambda: generate_variants(lm, prompts, cells, max_tokens=N_TOKENS))
    n_each = len(DOSES) * N_EMOTIONS
    total = n_each * len(GENERATED_LAYERS) * N_PROMPTS
    seconds, same, tied = 0.0, 0, 0
    for _ in range(GENERATED_SAMPLE):
        place, v, i = rng.randrange(len(GENERATED_LAYERS)), rng.randrange(n_each), rng.randrange(N_PROMPTS)
        layer = GENERATED_LAYERS[place]
        with hooked(lm, layer, per_layer[layer][v].float(), "all"):
            ids = torch.tensor([prompts[i].ids])
            spent, out = clock(
                lambda ids=ids: lm.hf.generate(  # type: ignore[misc]
                    ids, max_new_tokens=N_TOKENS, do_sample=False, pad_token_id=0, return_dict_in_generate=True,
                    output_logits=True,
                )
            )  # fmt: skip
        seconds += spent
        theirs = out.sequences[0, len(prompts[i]) :].tolist()
        own = [int(t) for t in str(texts[place * n_each + v][i]).split()]
        if own == theirs:
            same += 1
            continue
        at = next(k for k, (a, b) in enumerate(zip(own, theirs, strict=True)) if a != b)
        top = out.logits[at][0].topk(2).values
        tied += bool(top[0] - top[1] < 1e-4 * out.logits[at].abs().max())
    print(f"Greedy text: {same} of {GENERATED_SAMPLE} the same, {tied} part where two logits are tied.")
    if same + tied < GENERATED_SAMPLE:
        raise SystemExit("Text differs where logits are not tied.")
    loop = seconds * total / GENERATED_SAMPLE
    name = f"generation, {N_PROMPTS} × {len(GENERATED_LAYERS)} × {len(DOSES)} × {N_EMOTIONS}, {N_TOKENS} tokens"
    return [
        Row(name, "ours", "cpu", setting, ours, ours, ours, 1.0, None, None),
        Row(name, f"huggingface generate, cell by cell (sampled: {GENERATED_SAMPLE} of {total:,})", "cpu", setting,
            loop, loop, loop, loop / ours, None, None),
    ]  # fmt: skip


TASKS = ("all", "last", "controls", "generation")


def run(tasks: tuple[str, ...], setting: str, threads: int = 2) -> list[Row]:
    """The tasks asked for, every arm under the same setting of torch's float32 products."""
    torch.set_num_threads(threads)
    lm = gpt2_small()
    rows = []
    with matmul_precision(lm, setting):  # type: ignore[arg-type]
        for task in tasks:
            if task in ("all", "last"):
                rows += sweep_rows(lm, task, setting)  # type: ignore[arg-type]
            elif task == "controls":
                rows += control_rows(lm, setting)
            else:
                rows += generation_rows(lm, setting)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--setting", default="highest", choices=("highest", "medium"))
    arguments = parser.parse_args()
    table = run(tuple(arguments.tasks), arguments.setting)
    print_rows(table)
    write_rows(table)
