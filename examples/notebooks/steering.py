# %% [markdown]
# # Steering: does a direction change what the model says, and more than any other direction would?
#
# Adding *any* vector changes what a model says. So everything here stands beside random directions of the same
# length.

# %%
import pandas as pd

import emotion_circuits as ec
from emotion_circuits.interventions import Choice, control_slopes, isotropic_directions, side_by_side, sweep_material

lm = ec.load("reference/gpt2")
bank = ec.prompts.bank()
directions = ec.directions(ec.record(lm, bank.profile("baseline")))
emotion, layer, dose = directions.emotions[-1], 4, 0.4
own = directions.direction(emotion, layer)

# %% [markdown]
# ## Reading probabilities
#
# No text is sampled: after neutral contexts the log-odds of the emotion's words as the next word are read,
# against the other classes' words. A dose is a multiple of how far generic texts lie from their mean at that
# layer, so that .4 means the same in every model.

# %%
swept = ec.sweep(lm, own, doses=[-dose, dose])
swept

# %% [markdown]
# ## Chance
#
# The same contexts and doses, 100 random directions and their opposites: the slope of the log-odds over the
# dose, in nats per unit of dose. p counts how many of the random slopes are as large; it can be no smaller than
# 1 over their number plus one.

# %%
low, high = swept.own_log_odds()[0, 0].mean(axis=-1)
slope = float(high - low) / (2 * dose)
random = isotropic_directions(100, lm.d_model, centred=directions.source.centred_norm, seed=0)
contexts, _ = sweep_material(lm, bank, None)
controls = control_slopes(lm, directions, contexts, Choice(layer, dose), "isotropic", random)
by_chance = controls.for_emotion(emotion)
found = {
    "slope": slope,
    "mean by chance": by_chance.mean(),
    "97.5 % of random slopes are below": pd.Series(by_chance).quantile(0.975),
}
pd.Series(
    found | {"highest of them": by_chance.max(), "p": controls.beyond(emotion, slope).p, "n": len(by_chance)}
).round(3)

# %% [markdown]
# Random directions are the easiest control. A study also tries directions with the covariance of generic text
# and directions of shuffled labels, up to a thousand of each, at a layer and dose chosen on other contexts.
#
# ## The price
#
# Perplexity of neutral text, steered over clean: 1 is no damage, and above 1.5 a study claims nothing, however
# large the effect.

# %%
pd.DataFrame({"dose": [-dose, dose], "perplexity ratio": swept.perplexity_ratios()[0, 0]}).round(2)

# %% [markdown]
# ## Text, last
#
# Text shows what the numbers mean and proves nothing: read what was steered beside what a random direction of
# the same length does.

# %%
beginnings = ["She opened the letter and said:", "He called his neighbour to say that", "I wanted to tell you that"]
for seen in side_by_side(lm, directions, emotion, beginnings, dose=dose, layer=layer, max_tokens=20):
    for arm in ("clean", "steered", "random"):
        print(f"{arm:8}", " ".join(getattr(seen, arm).text.split()))
    print()
