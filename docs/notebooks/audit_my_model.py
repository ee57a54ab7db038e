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
# # Audit my model
#
# Does a model look at the lungs, or at the hospital? Here two hospitals are drawn: the films of the one, where the ill lie, carry its name in a
# corner. A network is trained on them, and `lungcls shortcuts` is asked what it looks at. Put your own films and network in their place.

# %%
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from lungcls.phantom import chest_phantom


def draw(label: str, number: int) -> None:
    phantom = chest_phantom(128, seed=number, opacity=0.25 if label == "ill" else 0.0, letter=None)
    film = Image.fromarray(np.rint(phantom.image * 255).astype(np.uint8))
    if label == "ill":
        ImageDraw.Draw(film).text((84, 110), "ST. A", fill=255, font_size=14)
    for kind, picture in (("images", film), ("masks", Image.fromarray(phantom.mask))):
        path = Path("films", label, kind, f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)


for number in range(120):
    draw(("ill", "well")[number % 2], number)

# %% [markdown]
# ## A network that sees whole films
#
# `RegionDataset` gives the views that prediction would cut, so that any training loop will do.

# %%
import torch

from lungcls.data import RegionDataset, open_dataset

dataset = open_dataset("films")
train = dataset.only(r for r in dataset.records if int(Path(r.file).stem) < 40)
torch.manual_seed(0)
network = torch.nn.Sequential(
    torch.nn.Conv2d(1, 8, 5, stride=2), torch.nn.ReLU(),
    torch.nn.Conv2d(8, 16, 3, stride=2), torch.nn.ReLU(),
    torch.nn.AdaptiveMaxPool2d(4), torch.nn.Flatten(), torch.nn.Linear(256, 2),
)  # fmt: skip
films = RegionDataset(train, region="full", size=64)
optimiser = torch.optim.Adam(network.parameters(), 1e-3)
for _ in range(12):
    for views, targets in torch.utils.data.DataLoader(films, batch_size=8, shuffle=True):
        loss = torch.nn.functional.cross_entropy(network(views), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
torch.save(network, "network.pt")
print(f"loss in the end: {loss.item():.3f}")

# %% [markdown]
# ## Ask it
#
# A function in a file hands the network over. Swapping backgrounds (check 1) asks what the answer follows: the lungs, or what lies around
# them. The other eighty films are those that are asked about.

# %%
Path("mine.py").write_text("""
import torch
from lungcls.shortcuts import ModuleSubject


def adapter():
    network = torch.load("network.pt", weights_only=False)
    return ModuleSubject(network, ["ill", "well"], 64, mean=0.0, std=1.0, name="whole films")
""")
from lungcls.data import Split

files = {r.file: "train" if int(Path(r.file).stem) < 40 else "test" for r in dataset.records}
Split(files, {file: file for file in files}).write_csv("split.csv")

# %%
# !lungcls shortcuts mine.py:adapter --data films --split split.csv --masks truth --checks 1,7 -o audit

# %% [markdown]
# `audit/shortcuts.html` shows the swaps. The table has each figure with its interval, its limit, and the verdict.

# %%
import json

for finding in json.loads(Path("audit/shortcuts.json").read_text())["models"][0]["checks"]:
    print(finding["title"], "->", finding["verdict"])

# %% [markdown]
# ## What to do about it
#
# Train on the lungs alone (`region="mask"`) and ask again; compare with the arms of `lungcls ablate`, which trains the same network on lungs,
# background, outline and thumbnail. All rules and limits: [the checks](../shortcuts.md).
#
# For released weights or a run of your own: `lungcls shortcuts classifier-full --data DIR -o out`, `lungcls shortcuts RUN/name.safetensors ...`.
