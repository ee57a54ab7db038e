"""Networks by name. Importing this package loads no torch; building a network does."""

from lungcls.models.build import create_model
from lungcls.models.registry import MODELS, ModelSpec, model_spec, register

__all__ = ["MODELS", "ModelSpec", "create_model", "model_spec", "register"]
