"""The exceptions that lungcls raises: one small tree, each message naming the way out."""

from __future__ import annotations


class LungclsError(Exception):
    """Base of all errors that lungcls raises on purpose."""


class OptionError(LungclsError, ValueError):
    """An option is unknown, out of range, contradicts another, or cannot be had on this machine."""


class ImageError(LungclsError, ValueError):
    """An image cannot be read, or is not something that lungcls can use."""


class ImageFormatError(ImageError):
    """The content is of no format that lungcls reads."""


class ConstantImageError(ImageError):
    """The image, or what its window shows of it, holds one value throughout.

    Attributes
    ----------
    value : float
        That value, in [0, 1].
    """

    def __init__(self, message: str, value: float) -> None:
        super().__init__(message)
        self.value = value

    def __reduce__(self) -> tuple[type[ConstantImageError], tuple[str, float]]:
        return type(self), (str(self), self.value)


class ImageSizeError(ImageError):
    """The image has more pixels than the caller allows."""


class LungMaskError(LungclsError):
    """The lungs were not found (or only one of them), and the caller chose to refuse."""


class RejectedError(LungclsError):
    """The quality gate found something wrong with an image, and the caller chose to have that raised."""


class DataError(LungclsError):
    """A dataset folder, manifest or split file is not what was expected."""


class WeightsError(LungclsError):
    """A weight file or its card is missing, incomplete or does not match."""


class RecipeError(LungclsError, ValueError):
    """A recipe file has an unknown, missing or impossible value."""


class MissingExtraError(LungclsError, ImportError):
    """An optional dependency is needed and not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed; "
            f"install it with: pip install 'lungcls[{extra}]'"
        )
        self.package = package
        self.extra = extra
