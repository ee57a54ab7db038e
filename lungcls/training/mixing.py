"""Films and labels of a batch mixed with each other: mixup and cutmix, by torchvision."""

from __future__ import annotations

from torch import nn
from torchvision.transforms import v2

from lungcls.recipes import Recipe


def mixing(recipe: Recipe, classes: int) -> nn.Module | None:
    """Return what mixes a batch as a recipe asks, or None where it asks for nothing.

    Parameters
    ----------
    recipe : Recipe
        With ``mixup`` and ``cutmix``: the parameter of the Beta distribution that the shares are drawn from.
        With both, one of the two is drawn at each step.
    classes : int

    Returns
    -------
    torch.nn.Module or None
        float32 tensor [B, 1, S, S] and int64 labels [B] to the mixed views and float32 targets [B, classes].

    References
    ----------
    Zhang et al.: mixup: Beyond Empirical Risk Minimization, 2018.
    Yun et al.: CutMix: Regularization Strategy to Train Strong Classifiers, 2019.
    """
    choices: list[nn.Module] = []
    if recipe.mixup:
        choices.append(v2.MixUp(alpha=recipe.mixup, num_classes=classes))
    if recipe.cutmix:
        choices.append(v2.CutMix(alpha=recipe.cutmix, num_classes=classes))
    return v2.RandomChoice(choices) if choices else None
