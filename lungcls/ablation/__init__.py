"""Where is the information? The same training on what is left of an image when parts are taken away."""

from lungcls.ablation.arms import ARMS, DEFAULT_ARMS, Arm

__all__ = ["ARMS", "DEFAULT_ARMS", "Arm"]
