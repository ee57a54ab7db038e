"""Networks by name. Importing this package loads no torch; building a network does."""

from lungcls.models.build import create_model

__all__ = ["create_model"]
