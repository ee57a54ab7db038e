"""The four classes, in the one order that every probability vector and weight file follows."""

from __future__ import annotations

from typing import Final

CLASSES: Final[tuple[str, ...]] = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
"""Class names, spelled as the folders of the COVID-19 Radiography Database."""

NO_FINDING: Final = "none"
"""The label of a film with none of the findings that a multi-label dataset or classifier knows."""

NOTICE: Final = "For research and education only. Not a medical device: never use it for diagnosis."
"""The notice that the README, the command line and the web page show."""

LICENCE: Final = "Research and education only, as the terms of the training data are"
"""What the cards of weights say that are trained with this library."""
