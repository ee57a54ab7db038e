"""The exceptions that lungcls raises: one small tree, each message naming the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class LungclsError(Exception):
    """Base of all errors that lungcls raises on purpose."""


class OptionError(LungclsError, ValueError):
    """An option is unknown, out of range, contradicts another, or cannot be had on this machine."""


class ImageError(LungclsError, ValueError):
    """An image cannot be read, or is not something that lungcls can use.

    Attributes
    ----------
    finding, advice : str
        What was found and expected, and the way out in Python; empty where only the message says it.
    """

    finding: str = ""
    advice: str = ""

    @classmethod
    def of(cls, source: str, finding: str, advice: str) -> Self:
        """Return an error whose message is all three, and which keeps the latter two apart."""
        error = cls(f"{source}: {finding}; {advice}")
        error.finding, error.advice = finding, advice
        return error


class ImageFormatError(ImageError):
    """The content is of no format that lungcls reads."""


class DamagedImageError(ImageError):
    """The file is of a format that lungcls reads, and is truncated or damaged."""


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


class StorageError(LungclsError):
    """A file cannot be read from, or written to, where a URI says."""


class FilmError(LungclsError):
    """A row of a manifest names no film, or one that cannot be fetched."""


class ForkError(LungclsError):
    """A network was asked in a process that was forked after it had been loaded; use spawned processes."""


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
        self.purpose = purpose

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str, str]]:
        """Let it pass from one process to another."""
        return type(self), (self.package, self.extra, self.purpose)
