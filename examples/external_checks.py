"""Numbers of other people's papers, beside ours and beside chance.

    python examples/external_checks.py --models smollm2-135m gemma3-270m --out table.json

What is computed, from which texts and layers, beside which chance, and what counts as agreement was written down before
it was run: docs/external-checks.md. Each model is run once; all checks share what was recorded.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

import emotion_circuits as ec
from emotion_circuits import directions as dirs
from emotion_circuits import statistics as st
from emotion_circuits.directions import Activations

Array = NDArray[np.float64]
N_DRAWS, N_AUROC_DRAWS, N_HALVES, N_GENERIC, SEED, ALPHA = 500, 1000, 50, 256, 0, 0.05
REACHED, AT_ONCE = 0.9, 25
ROUNDING = 1e-9
MARKERS = ("<!-- table -->", "<!-- /table -->")


@dataclass(frozen=True)
class Row:
    """One line of the table. `chance` is the null's mean, `chance_high` its 97.5 % point."""

    check: str
    models: str
    theirs: str
    value: float
    low: float
    high: float
    beside: str
    chance: float
    chance_high: float
    p: float
    embedding: float | None
    verdict: str
    why: str


def judge(order: bool | None, p: float, beyond: bool | None) -> tuple[str, str]:
    """Verdict and reason by the declared rule; None where there is no order, or no embedding to go `beyond`."""
    failed = ["not in their order"] if order is False else []
    failed += [] if p < ALPHA else [f"not beyond chance ({of_p(p)})"]
    if failed:
        return "does not agree", "; ".join(failed)
    reached = of_p(p) if order is None else f"their order, {of_p(p)}"
    if beyond is None:
        return "agrees", reached
    if beyond:
        return "agrees", f"{reached}, beyond the embedding"
    return "agrees, no more than the embedding", f"{reached}, not beyond the embedding"


def short(value: float, digits: int = 2) -> str:
    """`.93`, `−.05`."""
    return f"{value:.{digits}f}".replace("0.", ".", 1 if abs(value) < 1 else 0).replace("-", "−")


def of_p(p: float) -> str:
    return "p < .001" if p < 0.001 else f"p = {short(p, 3)}"


def interval(draws: Array) -> tuple[float, float]:
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def bracketed(value: float, draws: Array, digits: int = 2) -> str:
    low, high = interval(draws)
    return f"{short(value, digits)} [{short(low, digits)}, {short(high, digits)}]"


def band(null: Array) -> tuple[float, float]:
    return float(null.mean()), float(np.quantile(null, 0.975))


# What is recorded, and contrasts of it


@dataclass(frozen=True)
class Recorded:
    """A model's states at position `mean`; of generic text each text's summed unit states, and its tokens' number."""

    name: str
    explicit: Activations
    implicit: Activations
    generic: Array  # (layers + 1, texts, d)
    n_tokens: Array  # (texts,)

    @property
    def middle(self) -> list[int]:
        """Rows of the blocks in the middle half of the depth."""
        n = self.explicit.n_layers
        return [k for k in range(1, n + 1) if 0.25 <= k / n <= 0.75]


def record(lm: ec.LanguageModel, n_scenarios: int | None = None, n_generic: int = N_GENERIC) -> Recorded:
    """Run the model on all texts; on `n_scenarios` of each split only, for a quick look."""
    bank = ec.prompts.bank(ec.prompts.bundled_emotions())
    sets = []
    for data in (bank.profile("baseline"), bank.implicit()):
        kept = {s for split in ec.prompts.SPLITS for s in data.select(split=split).scenarios[:n_scenarios]}
        some = ec.prompts.Dataset(data.name, tuple(t for t in data if t.scenario in kept))
        sets.append(ec.record(lm, some, positions=["mean"]))
    encoded = lm.encode([t.text for t in ec.prompts.generic_sample(n_generic)])
    points = [ec.engine.point_of(layer) for layer in range(-1, lm.n_layers)]
    found = ec.engine.record(lm, [e.ids for e in encoded], dirs.spread_positions(encoded), points)
    tokens = [found.values[point].double().numpy() for point in points]  # (8, texts, d), NaN where there is no token
    sums = [np.nansum(t / np.linalg.norm(t, axis=-1, keepdims=True), axis=0) for t in tokens]
    n_tokens = np.isfinite(tokens[0]).all(axis=-1).sum(axis=0).astype(np.float64)
    return Recorded(lm.name.slug, sets[0], sets[1], np.stack(sums), n_tokens)


def design(acts: Activations) -> st.Blocks:
    return st.Blocks.of(acts.labels, acts.scenarios)


def weights_of(blocks: st.Blocks, kind: str, codes: NDArray[np.intp] | None = None) -> Array:
    """(…, emotions, texts) what each text counts for in each emotion's contrast."""
    return np.stack([blocks.weights(e, kind, codes) for e in blocks.emotions], axis=-2)


def bootstrapped(blocks: st.Blocks, kind: str) -> Array:
    """(draws, emotions, texts), the same scenarios for every model."""
    drawn = blocks.draws(N_DRAWS, np.random.default_rng(SEED))
    return weights_of(blocks, kind) * drawn[:, None, blocks.groups]


def shuffled(blocks: st.Blocks, kind: str) -> Array:
    """(draws, emotions, texts) with classes permuted within scenarios, alike for every model."""
    return weights_of(blocks, kind, st.permute_within_groups(blocks.codes, blocks.groups, N_DRAWS, SEED))


def contrasts(acts: Activations, rows: Sequence[int], weights: Array) -> Iterator[Array]:
    """Of each draw (rows, emotions, d)."""
    values = acts.at("mean")[list(rows)]
    values = values - values.mean(axis=1, keepdims=True)  # contrasts ignore the mean; float32 does not
    for start in range(0, len(weights), AT_ONCE):  # as one product each: draws one by one would wait for memory
        some = weights[start : start + AT_ONCE].astype(np.float32)
        found = some.reshape(-1, some.shape[-1]) @ values
        yield from found.reshape(len(values), len(some), -1, values.shape[-1]).swapaxes(0, 1).astype(np.float64)


def unit(vectors: Array) -> Array:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0))


# 1: anisotropy, and one geometry in two models


def between_texts(model: Recorded, rows: Sequence[int]) -> Array:
    """(texts, texts) summed cosines between tokens of two texts, mean over rows; 0 within a text."""
    products = np.mean([sums @ sums.T for sums in model.generic[list(rows)]], axis=0)
    return np.asarray(products - np.diag(np.diag(products)))


def mean_cosine(model: Recorded, rows: Sequence[int], drawn: Array) -> Array:
    """(draws,) mean cosine between tokens of different texts that are drawn (draws, texts) times."""
    pairs = np.square(drawn @ model.n_tokens) - np.square(drawn) @ np.square(model.n_tokens)
    return np.asarray(((drawn @ between_texts(model, rows)) * drawn).sum(axis=1) / pairs)


def anisotropy(first: Recorded, second: Recorded) -> Row:
    n, models = len(first.n_tokens), (first, second)
    times = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=N_DRAWS)
    drawn = np.vstack([np.ones((1, n)), times])
    middle, embedding = ([mean_cosine(m, rows, drawn) for m, rows in zip(models, of, strict=True)]
                         for of in ((first.middle, second.middle), ([0], [0])))  # fmt: skip
    value, floor = middle[1] - middle[0], embedding[1] - embedding[0]
    per_text = [
        between_texts(m, m.middle).sum(axis=1) / np.maximum(m.n_tokens * (m.n_tokens.sum() - m.n_tokens), 1)
        for m in models
    ]
    null = st.sign_flip_test(per_text[1] - per_text[0], seed=SEED)
    beside = ", ".join(f"{m.name} {short(v[0])}" for m, v in zip(models, middle, strict=True))
    return Row(
        "1a anisotropy, second minus first", f"{first.name}, {second.name}", ".997 in Gemma-3 1B; SmolLM2 1.7B lower",
        float(value[0]), *interval(value[1:]), beside,
        null.null_mean, null.null_high, null.p, float(floor[0]),
        *judge(bool(value[0] > 0), null.p, interval(value[1:] - floor[1:])[0] > 0),
    )  # fmt: skip


def dissimilarities(vectors: Array) -> Array:
    """(2, emotions, emotions) 1 − cosine of vectors (rows, emotions, d): at row 0, and the mean of the others."""
    tables = 1 - unit(vectors) @ unit(vectors).swapaxes(1, 2)
    return np.stack([tables[0], tables[1:].mean(axis=0)])


def spearman(a: Array, b: Array) -> float:
    upper = np.triu_indices(len(a), 1)
    return float(np.corrcoef(stats.rankdata(a[upper]), stats.rankdata(b[upper]))[0, 1])


def relabelled(a: Array, b: Array) -> Array:
    """(orders,) correlations under every order of one table's emotions, the given one first."""
    return np.array([spearman(a[np.ix_(order, order)], b) for order in map(list, permutations(range(len(a))))])


def shared_geometry(first: Recorded, second: Recorded, texts: str) -> Row:
    sides = [(getattr(m, texts), [0, *m.middle]) for m in (first, second)]
    blocks = design(sides[0][0])

    def tables(weights: Array) -> Iterator[tuple[Array, Array]]:
        both = (map(dissimilarities, contrasts(acts, rows, weights)) for acts, rows in sides)
        return zip(*both, strict=True)

    def correlations(weights: Array) -> Array:
        """(draws, 2) of the embeddings and of the middle halves."""
        return np.array([[spearman(a[k], b[k]) for k in (0, 1)] for a, b in tables(weights)])

    [(a, b)] = tables(weights_of(blocks, "matched")[None])
    floor, value = (spearman(a[k], b[k]) for k in (0, 1))
    draws, null = (correlations(make(blocks, "matched")) for make in (bootstrapped, shuffled))
    exact = float(np.mean(relabelled(a[1], b[1]) >= value - ROUNDING))
    p, gain = max(exact, st.exceedance_p(value, null[:, 1])), draws[:, 1] - draws[:, 0]
    return Row(
        f"{'1b' if texts == 'explicit' else '1c'} RDM correlation, {texts} texts", f"{first.name}, {second.name}",
        ".74–.92 between five other families", value, *interval(draws[:, 1]),
        f"over the embedding {bracketed(value - floor, gain)}; p over all orders {short(exact, 3)}",
        *band(null[:, 1]), p, floor, *judge(value > 0, p, interval(gain)[0] > 0),
    )  # fmt: skip


# 2: with and without keywords


def keywords(model: Recorded) -> Row:
    assert model.explicit.generic is not None  # recorded with every data set
    directions = dirs.fit_directions(
        model.explicit.select(split="development"), "mean", model.explicit.generic, ("specific",)
    )
    layers = dirs.choose_layers(model.implicit.select(split="development"), directions)
    explicit, implicit = model.explicit.select(split="test"), model.implicit.select(split="test")

    def scores(acts: Activations, at: int | None = None) -> Array:
        rows = {e: layer + 1 if at is None else at for e, layer in layers.items()}
        return np.stack([dirs.project(acts, directions, e, "specific", row) for e, row in rows.items()])

    def aurocs(acts: Activations, read: Array, seed: int) -> Array:
        """(1 + draws,) mean over emotions, the observed one first."""
        blocks = design(acts)
        drawn = np.vstack([np.ones((1, blocks.n_groups)), blocks.draws(N_DRAWS, np.random.default_rng(seed))])
        own = [st.weighted_auroc(s, acts.labels == e, acts.scenarios) for e, s in zip(layers, read, strict=True)]
        return np.asarray(np.mean([np.asarray(a.of_weights(drawn)) for a in own], axis=0))

    read = scores(implicit)
    value, floor = aurocs(implicit, read, SEED), aurocs(implicit, scores(implicit, at=0), SEED)
    named = aurocs(explicit, scores(explicit), SEED + 1)
    orders = st.permute_within_groups(np.arange(len(implicit.data)), implicit.scenarios, N_AUROC_DRAWS, SEED)
    null = np.mean([st.auroc(s[orders], implicit.labels == e) for e, s in zip(layers, read, strict=True)], axis=0)
    p, drop = st.exceedance_p(float(value[0]), null), named - value
    return Row(
        "2 AUROC, implicit texts", model.name, ".999 with keywords, .93–.99 without", float(value[0]),
        *interval(value[1:]), f"explicit {short(named[0], 3)}; difference {bracketed(drop[0], drop[1:], 3)}",
        *band(null), p, float(floor[0]), *judge(interval(drop[1:])[0] > 0, p, interval(value[1:] - floor[1:])[0] > 0),
    )  # fmt: skip


# 3: valence


def first_axis(vectors: Array) -> Array:
    """(rows, emotions) scores on the first principal component of (rows, emotions, d), centred, of length 1."""
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    top = np.linalg.eigh(centred @ centred.swapaxes(1, 2))[1][..., -1]
    return unit(top - top.mean(axis=1, keepdims=True))


def axis_correlation(axes: Array, valence: Array) -> Array:
    """(rows,) absolute Pearson correlation of `first_axis` with valences (emotions,)."""
    return np.abs(axes @ unit(valence - valence.mean()))


def valences_of(path: Path | None) -> dict[str, float]:
    """Each emotion's valence in a CSV with the columns `emotion,valence`; without one the bank's coding by sign."""
    bank = ec.prompts.bank(ec.prompts.bundled_emotions())
    if path is None:
        return {e: float(bank[e].valence) for e in bank.emotions}
    try:
        given = pd.read_csv(path, index_col="emotion")["valence"].astype(float)
        found = {e: float(given[e]) for e in bank.emotions}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ec.InputError(
            f"{path} has no valence for every emotion.", found=error,
            accepted=f"CSV with the columns emotion,valence, and {', '.join(bank.emotions)}",
        ) from error  # fmt: skip
    return found


def valence_axis(model: Recorded, valences: dict[str, float], source: str) -> Row:
    blocks, rows = design(model.explicit), [0, *model.middle]
    given = np.array([valences[e] for e in blocks.emotions])
    axes = first_axis(next(contrasts(model.explicit, rows, weights_of(blocks, "matched")[None])))
    floor, *middle = axis_correlation(axes, given)
    value = float(np.mean(middle))
    null = np.array([axis_correlation(axes[1:], np.array(order)).mean() for order in permutations(given)])
    drawn = contrasts(model.explicit, rows, bootstrapped(blocks, "matched"))
    found = np.array([axis_correlation(first_axis(v), given) for v in drawn])
    draws, p = found[:, 1:].mean(axis=1), float(np.mean(null >= value - ROUNDING))
    return Row(
        "3 first axis and valence, absolute r", model.name, ".72–.83, larger models, more emotions", value,
        *interval(draws), f"valence: {source}", *band(null), p, float(floor),
        *judge(None, p, interval(draws - found[:, 0])[0] > 0),
    )  # fmt: skip


# 4: anger before gratitude


def depths(acts: Activations, emotion: str) -> Array:
    """(scenarios,) share of the depth at which an emotion has done `REACHED` of its rise; NaN without a rise."""
    assert acts.generic is not None
    pairs, values = design(acts).pairs(emotion), acts.at("mean").astype(np.float64)
    difference = values[:, pairs.texts] - values[:, pairs.twins]
    others = unit(difference.sum(axis=1, keepdims=True) - difference)
    profile = (difference * others).sum(axis=-1) / acts.generic.unit[:, None]
    rise = profile[1:] - profile[0]
    most = rise.max(axis=0)
    return np.where(most > 0, (np.argmax(rise >= REACHED * most, axis=0) + 1) / len(rise), np.nan)


def earlier(model: Recorded, one: str = "anger", other: str = "gratitude") -> Row:
    later = depths(model.implicit, other) - depths(model.implicit, one)
    later = later[np.isfinite(later)]
    wins, n = int((later > 0).sum()), int((later != 0).sum())
    if n == 0:
        raise ec.MeasurementError(f"{one} and {other} differ in depth in no scenario of {model.name}.")
    ci, p = stats.binomtest(wins, n).proportion_ci(), float(stats.binomtest(wins, n, alternative="greater").pvalue)
    mean = st.grouped_bootstrap(later, n_draws=N_DRAWS, seed=SEED, method="percentile")
    reach = f"[{short(mean.interval.low)}, {short(mean.interval.high)}]"
    return Row(
        f"4 {one} before {other}, share of scenarios", model.name, "negative early, positive mid to late", wins / n,
        float(ci.low), float(ci.high),
        f"earlier by {short(mean.value)} {reach} of the depth; {n} scenarios, {len(later) - n} ties",
        0.5, float(stats.binom.ppf(0.975, n, 0.5) / n), p, None, *judge(wins / n > 0.5, p, None),
    )  # fmt: skip


# 5: neighbouring layers


def layer_cosines(a: Array, b: Array) -> Array:
    """(layers, layers) cosines of (layers, emotions, d), mean over emotions."""
    return np.asarray(np.einsum("led,med->lm", unit(a), unit(b), optimize=True) / a.shape[1])


def adjacent(table: Array) -> float:
    return float(np.diag(table, 1).mean())


def neighbours(model: Recorded) -> Row:
    acts, blocks, rows = model.explicit, design(model.explicit), range(1, model.explicit.n_layers + 1)
    upper = np.triu_indices(len(rows), 1)

    def both(weights: Array) -> Array:
        """(draws, 2) adjacent blocks, and all pairs of blocks."""
        tables = (layer_cosines(v, v) for v in contrasts(acts, rows, weights))
        return np.array([[adjacent(t), t[upper].mean()] for t in tables])

    base = weights_of(blocks, "specific")
    value, overall = (float(v) for v in both(base[None])[0])
    draws, null = both(bootstrapped(blocks, "specific")), both(shuffled(blocks, "specific"))[:, 0]
    half = blocks.halves(N_HALVES, SEED)[:, None, blocks.groups]
    parts = zip(contrasts(acts, rows, base * half), contrasts(acts, rows, base * (1 - half)), strict=True)
    crossed = np.mean([layer_cosines(a, b) for a, b in parts], axis=0)
    p, ceiling = st.exceedance_p(value, null), float(np.diag(crossed).mean())
    return Row(
        "5 cosine of adjacent layers", model.name, ".77–.82 against .24 over all pairs", value, *interval(draws[:, 0]),
        f"all pairs {short(overall)}; across halves {short(adjacent(crossed))}, ceiling {short(ceiling)}",
        *band(null), p, None, *judge(interval(draws[:, 0] - draws[:, 1])[0] > 0, p, None),
    )  # fmt: skip


# The table


def all_checks(models: Sequence[Recorded], valences: dict[str, float], source: str) -> list[Row]:
    rows = []
    for first, second in combinations(models, 2):
        rows += [anisotropy(first, second), *(shared_geometry(first, second, t) for t in ("explicit", "implicit"))]
    rows += [keywords(m) for m in models] + [valence_axis(m, valences, source) for m in models]
    return rows + [earlier(m) for m in models] + [neighbours(m) for m in models]


def markdown(rows: Sequence[Row]) -> str:
    head = "| check | model | theirs | ours | beside it | chance (97.5 %) | p | embedding | |\n" + "|---" * 9 + "|\n"
    return head + "\n".join(
        f"| {r.check} | {r.models} | {r.theirs} | {short(r.value)} [{short(r.low)}, {short(r.high)}] | {r.beside} | "
        f"{short(r.chance)} ({short(r.chance_high)}) | {of_p(r.p).removeprefix('p ').removeprefix('= ')} | "
        f"{'–' if r.embedding is None else short(r.embedding)} | **{r.verdict}**: {r.why} |"
        for r in rows
    )


def fill(page: Path, table: str) -> None:
    """Put the table between the markers of a page."""
    text = page.read_text(encoding="utf-8")
    begin, end = (text.find(marker) for marker in MARKERS)
    if not 0 <= begin < end:
        raise ec.InputError("The page has no place for the table.", found=page, accepted=" … ".join(MARKERS))
    page.write_text(f"{text[: begin + len(MARKERS[0])]}\n{table}\n{text[end:]}", encoding="utf-8")


def as_json(rows: Sequence[Row], models: Sequence[Recorded]) -> str:
    def rounded(value: Any) -> Any:
        return float(f"{value:.4g}") if isinstance(value, float) else value

    sources = {m.name: m.explicit.source.model_dump() for m in models}
    found = [{name: rounded(value) for name, value in asdict(row).items()} for row in rows]
    return json.dumps({"models": sources, "rows": found}, indent=1, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["smollm2-135m", "gemma3-270m"], help="1a to 1c need two")
    parser.add_argument("--valence", type=Path, help="CSV of human norms: emotion,valence")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--scenarios", type=int, help="only so many of each split, for a quick look")
    parser.add_argument("--generic", type=int, default=N_GENERIC, help="how many generic texts")
    parser.add_argument("--out", type=Path, help="the table as JSON")
    parser.add_argument("--write", type=Path, help="a page between whose markers the table is put")
    given = parser.parse_args(arguments)
    try:
        valences = valences_of(given.valence)
        models = [record(ec.load(n, device=given.device), given.scenarios, given.generic) for n in given.models]
        rows = all_checks(models, valences, given.valence.name if given.valence else "by sign, no human norm")
        print(markdown(rows), flush=True)
        if given.out:
            given.out.write_text(as_json(rows, models), encoding="utf-8")
        if given.write:
            fill(given.write, markdown(rows))
    except ec.EmotionCircuitsError as error:
        parser.exit(2 if isinstance(error, ec.InputError) else 1, f"{error}\n")


if __name__ == "__main__":
    main()
