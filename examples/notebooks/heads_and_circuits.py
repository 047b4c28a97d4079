# %% [markdown]
# # Which heads carry an emotion, and are they a circuit?
#
# Pairs of prompts that differ in the emotion only, with equally many tokens: what one writes can be put into
# the other. In a model of 64 heads some head is always the best, so every number stands beside what noise gives
# over all of them.

# %%
import pandas as pd

import emotion_circuits as ec
from emotion_circuits.components import WordSetOutcome, circuit_means, judged_circuit, matched_pairs, screen

lm = ec.load("reference/gpt2")
bank = ec.prompts.bank()
emotion = bank.emotions[0]
texts, words = bank.profile("baseline"), bank.word_sets()
pairs = matched_pairs(lm, texts, emotion)
print(f"{emotion}: {len(pairs)} pairs of {len(texts.select(emotion=emotion))} scenarios have equally many tokens")

# %% [markdown]
# ## Every head
#
# `score` estimates from one backward pass how far the emotion's value of a head moves the next word towards the
# emotion, in nats; `exact` patches it in and looks. `p` is over the *whole* map: how often the largest head of
# all is as large when the pairs' signs are flipped at random. `gap` is what there is to explain.

# %%
outcome = WordSetOutcome(lm, pairs, words)
heads = screen(lm, outcome, exact=8)
table = heads.table(n_draws=999)
shown = ["layer", "head", "score", "ci_low", "ci_high", "p", "exact", "exact_ci_low", "exact_ci_high", "gap", "n_pairs"]
table.sort_values("score", ascending=False)[shown].head(5).round(3)

# %% [markdown]
# ## The floor: a model that learnt nothing
#
# The same screen on an untrained copy. Its p is small too, because even random weights hand a word on in the
# same way every time: it is the size that it lacks.

# %%
untrained = ec.load("reference/gpt2?init=random&seed=0")
floor = screen(untrained, WordSetOutcome(untrained, pairs, words), exact=0, attention=False).table(n_draws=999)
pd.DataFrame(
    {
        "largest |score|": [t["score"].abs().max() for t in (table, floor)],
        "smallest p": [t["p"].min() for t in (table, floor)],
    },
    index=["trained", "untrained"],
).round(4)

# %% [markdown]
# ## A circuit
#
# Heads and units, ranked on half of the scenarios, are kept alone on the other half; all else gets its mean on
# generic text. Faithfulness is the share of the gap that is left: 1 is the whole model, 0 nothing. Beside it
# stand 10 random circuits with as many heads and as many units in every layer. A circuit is worth the name
# where it does better than they do.

# %%
means = circuit_means(lm, [text.text for text in ec.prompts.generic_sample(64)])
sizes = (0.05, 0.1, 0.2, 0.5, 1.0)
found = judged_circuit(
    lm, lambda some: WordSetOutcome(lm, some, words), pairs, "path attribution", means, sizes=sizes, n_random=10
)  # fmt: skip
random = pd.DataFrame(found.random_curves, columns=found.sizes)
columns = {"circuit": found.curve, "random, mean": random.mean(), "lowest": random.min(), "highest": random.max()}
pd.DataFrame(columns, index=pd.Index(found.sizes, name="share kept")).round(3)
