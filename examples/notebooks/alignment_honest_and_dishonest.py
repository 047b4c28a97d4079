# %% [markdown]
# # Aligning two models, dishonestly and honestly
#
# Two models have no common coordinates. A linear map from one to the other can be learnt, and then almost any
# number can be made to look like agreement. Here the same question is asked in a way that says yes to noise,
# and in a way that does not.

# %%
import numpy as np
import pandas as pd

import emotion_circuits as ec
from emotion_circuits.geometry import LeastSquares, Ridge

bank = ec.prompts.bank()
a, b = (ec.record(ec.load(f"reference/{name}"), bank.profile("baseline")) for name in ("gpt2", "gpt2-twin"))

# %% [markdown]
# ## Dishonest: judge a map on the texts that taught it
#
# 70 neutral texts and more dimensions than texts: least squares can always map them onto *anything*. Beside the
# real pair stands a pair that shares nothing, the second model's texts in another order.

# %%
texts_a, texts_b = (acts.select(emotion="neutral").at("mean")[4].astype(float) for acts in (a, b))
nothing = np.random.default_rng(0).permutation(texts_b)
taught = {
    name: [LeastSquares().fit(texts_a, target).score(texts_a, target)]
    for name, target in {"the other model": texts_b, "its texts shuffled": nothing}.items()
}
pd.DataFrame(taught, index=["R² on the texts it was fitted on"]).round(3)

# %% [markdown]
# Both are perfect, so it says nothing. On texts that the map never saw the two come apart: R² of 0 is what the
# mean alone predicts, and a map that is worse than that has learnt noise.

# %%
half = len(texts_a) // 2


def unseen(kind: type, target: np.ndarray) -> float:
    return float(kind().fit(texts_a[:half], target[:half]).score(texts_a[half:], target[half:]))


pd.DataFrame(
    {f"{kind.__name__}, {name}": [unseen(kind, target)] for kind in (LeastSquares, Ridge) for name, target in
     {"the other model": texts_b, "shuffled": nothing}.items()},
    index=["R² on other texts"],
).T.round(3)  # fmt: skip

# %% [markdown]
# ## Honest: fit on neutral text, judge on emotions, beside everything simpler
#
# The map is ridge, fitted on 300 other neutral texts. It carries the first model's directions over, and their
# cosine with the second model's own directions is judged on test scenarios. It has to beat shuffled pairs,
# random maps, maps between *untrained* copies of both models, and the map between the embeddings, which knows
# words only.

# %%
pair = ec.align(a, b, n_fit=300, untrained=1, layers=[-1, 3, 5], n_draws=200)
pair

# %% [markdown]
# The embedding is the strongest of the floors here, so the gain over it is what counts. An interval that
# reaches 0 claims nothing.

# %%
pd.DataFrame(
    [
        (g.emotion or "all", g.trained, g.best_other, g.gain.value, *g.gain.interval[:2], g.gain.p)
        for g in pair.over_embedding
    ],
    columns=["emotion", "cosine", "by the embeddings' map", "gain", "ci_low", "ci_high", "p"],
).round(3)
