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
# # Masks for my folder
#
# Lung masks for a folder of films, with a doubt beside each that deserves one. Drawn films stand in for yours.

# %%
from pathlib import Path

import numpy as np
from PIL import Image

from lungcls.phantom import chest_phantom

Path("films").mkdir()
for number in range(6):
    film = np.rint(chest_phantom(256, seed=number).image * 255).astype(np.uint8)
    Image.fromarray(film).save(f"films/{number}.png")
Image.fromarray(film[:, :110]).save("films/half.png")  # a film that was cut

# %% [markdown]
# ## One command
#
# PNG masks and overlays for all; NIfTI, COCO and label maps on request. DICOM goes in as well. Kill it, and it goes on where it stopped.

# %%
# !lungcls segment films -o out --formats nifti,coco,csv

# %% [markdown]
# `segments.csv` has a row a film: the size of the lungs, the box, and what is doubtful with its value and threshold.

# %%
import pandas

table = pandas.read_csv("out/segments.csv")
table[[name for name in table if name in ("path", "accepted", "reasons", "lungs")]]

# %% [markdown]
# ## Which need a second look?

# %%
import lungcls

found = lungcls.segment("films")
for one in found:
    names = [reason.name for reason in one.quality.reasons]
    print(Path(one.path).name, one.box, names or "fine")

# %%
found[0].overlay()

# %% [markdown]
# ## Masks of your own beside them
#
# Dice with the mask that the film was drawn by, and prediction by a mask of your own in place of the U-Net's.

# %%
truth = chest_phantom(256, seed=0).mask
mask = found[0].mask
print(f"Dice {2 * (truth & mask).sum() / (truth.sum() + mask.sum()):.3f}")
lungcls.predict("films/0.png", masks=truth).lungs.segmenter

# %% [markdown]
# Lungs beside the films of any torchxrayvision dataset: [other libraries](../interop.md).
