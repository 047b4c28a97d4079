# %% [markdown]
# # Your own emotion
#
# An emotion is data: one file with at least 20 pairs, a text and its neutral twin, alike in length, person and
# punctuation, the one word that carries the emotion in [brackets]. Here it is `docs/examples/pride.yaml`; copy
# it, and write your own.

# %%
from pathlib import Path

import pandas as pd

import emotion_circuits as ec

file = next(p / "docs/examples/pride.yaml" for p in (Path.cwd(), *Path.cwd().parents) if (p / "docs/examples").is_dir())
bank = ec.prompts.bank([*ec.prompts.bank().emotions, file])
mine = bank.emotions[-1]
bank

# %% [markdown]
# ## Before any model: what else tells the classes apart?
#
# If length, punctuation or the person alone tell your texts from their twins, so will any direction. Each
# number stands beside its chance.

# %%
texts = bank.profile("baseline")
pd.DataFrame([(t.text, t.emotion) for t in texts if t.scenario.startswith(mine)][:4], columns=["text", "class"])

# %%
report = ec.prompts.validate(ec.prompts.bank([file]).profile("baseline"))  # its own pairs only
pd.DataFrame(report.table()[1:], columns=report.table()[0])

# %% [markdown]
# ## Is there a direction?
#
# Two halves of the pairs give two directions; `chance` is their cosine when texts and twins are exchanged at
# random, `ceiling` what so few pairs allow. The bundled emotions, which have more texts, stand beside it.

# %%
lm = ec.load("reference/gpt2")
acts = ec.record(lm, texts, positions=["mean"])
directions = ec.directions(acts)
rows = ec.directions.stability_rows(acts, directions, layers=directions.chosen_layer)
shown = [
    "emotion",
    "layer",
    "statistic",
    "value",
    "ci_low",
    "ci_high",
    "chance",
    "null_high",
    "ceiling",
    "p",
    "n_unique",
]
ec.statistics.measures_table(rows)[shown].round(3)

# %% [markdown]
# Beside the bundled emotions it is weaker, with an interval that reaches far down: 24 pairs are enough for a
# direction, and few for a claim, which asks for 40.
#
# ## Any text
#
# A score is the distance along the direction from the mean of generic text. What 95 % of 100 generic texts stay
# below stands under yours.

# %%
said = ["I am so proud of what my daughter built.", "We won, and the whole town knows it.", "The bus was late again."]
usual = pd.Series([s.scores[mine] for s in ec.score(lm, directions, [t.text for t in ec.prompts.generic_sample(100)])])
scores = pd.Series({text: s.scores[mine] for text, s in zip(said, ec.score(lm, directions, said), strict=True)})
scores["95 % of generic texts are below"] = usual.quantile(0.95)
scores.round(3)

# %% [markdown]
# Here none of yours lies above it: halves of the pairs agree, and yet the direction does not find the emotion
# elsewhere. Next: `emotion-circuits quality --model reference/gpt2 --emotions ./pride.yaml`, and `study`.
# Steering is measured by the file's `words`, of which some must begin with a token of their own in the model's
# tokenizer. In this small model none does, and a sweep says so; larger vocabularies know them.
