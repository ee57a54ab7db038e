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
# # My own classes
#
# Two classes to many, in a folder each. The lungs are cut out as prediction cuts them; then any training loop, or one command, makes a
# classifier that works in `predict`, `serve`, `export` and `shortcuts`. Drawn films stand in for yours.

# %%
from pathlib import Path

import numpy as np
from PIL import Image

from lungcls.phantom import chest_phantom

for number in range(60):
    label = ("clear", "cloudy")[number % 2]
    film = chest_phantom(192, seed=number, opacity=0.6 * (number % 2)).image
    path = Path("films", label, f"{number}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(film * 255).astype(np.uint8)).save(path)

# %% [markdown]
# ## What is there, and a split without leaks

# %%
from lungcls.data import RegionDataset, open_dataset, split_dataset

dataset = open_dataset("films")
split = split_dataset(dataset, seed=0)
print(dataset, split.counts(), split.hash)

# %% [markdown]
# ## A plain loop
#
# `RegionDataset` finds the lungs once, with the released U-Net, and gives views and targets.

# %%
import torch

torch.manual_seed(0)
parts = {
    part: RegionDataset(dataset.only(split.select(dataset.records, part)), region="mask", size=64)
    for part in ("train", "test")
}
network = torch.nn.Sequential(
    torch.nn.Conv2d(1, 8, 5, stride=2), torch.nn.ReLU(),
    torch.nn.Conv2d(8, 16, 3, stride=2), torch.nn.ReLU(),
    torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(16, 2),
)  # fmt: skip
optimiser = torch.optim.Adam(network.parameters(), 1e-2)
for _ in range(15):
    for views, targets in torch.utils.data.DataLoader(parts["train"], batch_size=8, shuffle=True):
        loss = torch.nn.functional.cross_entropy(network(views), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

views, targets = next(iter(torch.utils.data.DataLoader(parts["test"], batch_size=99)))
with torch.no_grad():
    right = (network(views).argmax(1) == targets).float().mean()
print(f"{right:.0%} of {len(targets)} test films")

# %% [markdown]
# ## It takes the place of ours
#
# The same gate, lungs, views and checks as for the released weights.

# %%
import lungcls

mine = lungcls.Classifier.of_module(
    network, classes=dataset.classes, region="mask", input_size=64, mean=0.0, std=1.0
)
prediction = lungcls.Pipeline(classifier=mine).predict("films/cloudy/1.png")
print(prediction.words())

# %% [markdown]
# ## By a recipe
#
# `lungcls train` does all of it, with early stopping, augmentation, calibration, conformal scores and a card: the number of classes follows the
# dataset. Start from the released features with `pretrained`.

# %%
Path("mine.toml").write_text("""
name = "mine"
task = "classification"
input_size = 224
loss = "cross_entropy"
augmentation = "classification"
batch_size = 16
learning_rate = 1e-3
stages = [{ size = 224, epochs = 5, train = "head" }]

[model]
model = "densenet121"
pretrained = "classifier-mask"

[region]
name = "mask"
""")

# %% [markdown]
# ```sh
# lungcls train mine.toml --data films -o run
# lungcls predict films -o out --classifier run/mine.safetensors
# lungcls shortcuts run/mine.safetensors --data films -o audit
# ```
#
# All keys of a recipe: [models and recipes](../models.md).
