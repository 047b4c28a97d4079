# %% [markdown]
# # A first look: where is an emotion in a model?
#
# Open this file as a notebook (Jupyter with jupytext, VS Code, PyCharm) or run it as a script. It needs no
# download: the model is bundled, small, and an instrument of this project. What is true of it says nothing
# about larger models.

# %%
import pandas as pd

import emotion_circuits as ec

lm = ec.load("reference/gpt2")  # Hugging Face's own model; the proofs run now
bank = ec.prompts.bank()
emotion = bank.emotions[0]

# %% [markdown]
# ## Directions
#
# Every layer is recorded on texts that come in scenarios: one text per emotion and a neutral one, alike in
# everything else. An emotion's direction is the mean difference between its texts and the neutral ones, minus
# what all emotions share.

# %%
texts = bank.profile("baseline")
acts = ec.record(lm, texts)
directions = ec.directions(acts)
directions

# %% [markdown]
# ## Is it a direction, or noise?
#
# Half of the scenarios give a direction, the other half another. Their cosine stands beside what labels
# shuffled within scenarios give (`chance`, and 97.5 % of the shuffles below `null_high`) and beside the
# `ceiling`, the most that so few texts allow.

# %%
numbers = ["value", "ci_low", "ci_high", "chance", "null_high", "ceiling", "p", "n_unique"]
shown = ["emotion", "layer", "statistic", *numbers]
stable = ec.directions.stability_rows(acts, directions, layers=directions.chosen_layer)
ec.statistics.measures_table(stable)[shown].round(3)

# %% [markdown]
# A high cosine says that the direction can be found again. It does not say that it is the emotion: a word that
# all of its texts share would do. So it is tried on texts that never name the emotion. An AUROC of .5 is
# chance; `embed` is layer −1, where the model has computed nothing yet, and what a direction there reaches is
# what the words alone tell.

# %%
implicit = ec.record(lm, bank.implicit().select(split="test"), positions=["mean"])
rows = [
    ec.directions.detection_row(implicit, directions, emotion, layer + 1, "specific", "AUROC on implicit texts", 0)
    for emotion in directions
    for layer in (-1, directions.chosen_layer[emotion])
]
ec.statistics.measures_table(rows)[shown].round(3)

# %% [markdown]
# ## Any text
#
# A score is how far a text lies along the direction from the mean of generic text, in spreads of generic text:
# 0 is usual. Beside yours stand the scores of 100 generic texts: only what is above nearly all of them means
# something.

# %%
mine = ["I can never thank you enough.", "How dare you!", "I am so sorry.", "The lift stops at the third floor."]
usual = pd.DataFrame(s.scores for s in ec.score(lm, directions, [t.text for t in ec.prompts.generic_sample(100)]))
scores = pd.DataFrame((s.scores for s in ec.score(lm, directions, mine)), index=mine)
scores.loc["95 % of generic texts are below"] = usual.quantile(0.95)
scores.round(3)

# %% [markdown]
# ## Say it stronger
#
# Steering adds the direction to every token. What a random direction of the same length does is in
# `steering.py`.

# %%
with lm.steer(directions[emotion], dose=0.4):
    print(lm.generate("She opened the letter and said:", max_tokens=20))
