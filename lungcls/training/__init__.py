"""Training of both stages, on Lightning."""

from lungcls.training.train import train

__all__ = ["train"]
