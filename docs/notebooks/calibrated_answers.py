# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Calibrated answers and sets
#
# How far to believe an answer: probabilities that are as high as they are right, and a set that holds the true class as often as you ask for.
# Drawn films stand in for yours, so the answers here mean nothing; their form does.

# %%
import numpy as np

import lungcls
from lungcls.phantom import chest_phantom

film = chest_phantom(256, seed=5).image
p = lungcls.predict(film)
print(p.words())
p.to_dict()["probabilities"]

# %% [markdown]
# ## A set for each coverage
#
# The surer it shall be to hold the true class, the larger the set.

# %%
for coverage in (0.5, 0.8, 0.9, 0.95, 0.99):
    print(coverage, p.set_at(coverage))

# %% [markdown]
# ## Does the answer move?
#
# Over slightly changed views, or over two networks.

# %%
moved = lungcls.predict(film, tta=4)
print("spread", {name: round(value, 3) for name, value in moved.spread.items()})
print("disagreement", round(moved.disagreement, 3), "nats")

# %% [markdown]
# ## Calibrate on your own films
#
# Another hospital's films are not like those that the weights were calibrated on. Folders called as the classes are, with films that were never
# trained on:

# %%
from pathlib import Path

from PIL import Image

for number in range(24):
    path = Path("my_hospital", lungcls.CLASSES[number % 4], f"{number}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = chest_phantom(160, seed=100 + number, opacity=(number % 4) / 6).image
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(path)

# %%
# !lungcls calibrate classifier-mask --data my_hospital --layout folders --part all --resamples 100 -o my_weights

# %% [markdown]
# The new card stands beside a copy of the weights. With six films a class no set can be told at 0.9, and none is pretended: nothing is ruled
# out.

# %%
mine = lungcls.Pipeline(classifier="my_weights/classifier-mask.safetensors")
print(mine.predict(film).words())

# %% [markdown]
# What is promised and what not: [how far to believe an answer](../trust.md).
