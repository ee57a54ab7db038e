"""What the service allows: every limit in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from lungcls.errors import OptionError
from lungcls.options import PipelineOptions, option, same_option


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Weights, limits and timeouts of the service.

    Parameters
    ----------
    classifiers : tuple of str
        Weights of stage 2, by released name or path; one a region. Empty: every released region.
    segmenter : str, default="segmenter"
        Weights of stage 1, by released name or path.
    gate : str or None, default="gate"
        Weights of the quality gate; None for none.
    device : str, default="auto"
        As :class:`lungcls.Pipeline` takes it.
    engine : str, default="auto"
        What runs the networks; explanations always run in torch.
    batch_size : int, default=8
        Most images that go through the networks together.
    max_upload_mb : float, default=32
        Largest request body, in units of 10^6 bytes.
    max_megapixels : float, default=32
        Larger images are refused before they are decoded.
    max_files : int, default=8
        Most files of one request.
    max_requests : int, default=256
        Whole requests that wait or are worked on at the same time; the next one gets 429.
    max_explanations : int, default=32
        As `max_requests`, for explanations, which are slower.
    max_uploads : int, default=256
        Bodies on their way in at the same time; for the next one, the slowest of them has to go.
    max_memory_mb : float, default=1024
        All bodies that are held, whole or on their way in, in units of 10^6 bytes.
    upload_timeout : float, default=30
        Seconds that a body may take beside one for every 64,000 bytes that have arrived.
    timeout : float, default=60
        Seconds until the networks must have answered.
    explain_timeout : float, default=120
        The same for explanations.
    allowed_hosts : tuple of str
        Names by which others reach the service, such as ``films.example.org`` or ``*.example.org``, beside
        those of this machine for itself and the address at which a connection comes in. ``*``: any.

    Raises
    ------
    OptionError
        If an option is unknown or impossible, a limit is not a positive number, or the memory does not hold
        one upload.
    """

    classifiers: tuple[str, ...] = ()
    segmenter: str = same_option("segmenter", "segmenter")
    gate: str | None = same_option("gate", "gate")
    device: str = same_option("device", "auto")
    engine: str = same_option("engine", "auto")
    batch_size: int = same_option("batch_size", 8)
    max_megapixels: float = same_option("max_megapixels", 32)
    max_upload_mb: float = option(32, "Largest request, in units of 10^6 bytes.", metavar="MB")
    max_files: int = option(8, "Most files of a request.", low=1)
    max_requests: int = option(256, "Requests at a time; the next one gets 429.", low=1)
    max_explanations: int = option(32, "Explanations at a time.", low=1)
    max_uploads: int = option(256, "Uploads at a time; the slowest makes way for the next one.", low=1)
    max_memory_mb: float = option(1024, "All uploads that are held, in units of 10^6 bytes.", metavar="MB")
    upload_timeout: float = option(
        30, "Seconds for an upload, and one more for every 64 kB of it.", metavar="SECONDS"
    )
    timeout: float = option(60, "Seconds until a prediction must be there.", metavar="SECONDS")
    explain_timeout: float = option(120, "Seconds until an explanation must be there.", metavar="SECONDS")
    allowed_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = {field.name for field in fields(PipelineOptions)} & {field.name for field in fields(self)}
        PipelineOptions(**{name: getattr(self, name) for name in names})
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (int, float)) and not (math.isfinite(value) and value > 0):
                raise OptionError(f"{field.name} is {value!r}; expected a positive number")
        if self.max_memory_mb < self.max_upload_mb:
            raise OptionError(
                f"max_memory_mb is {self.max_memory_mb:g}; expected at least max_upload_mb "
                f"({self.max_upload_mb:g}), or no request of that size could ever come in"
            )

    @property
    def max_upload(self) -> int:
        """Largest request body, in bytes."""
        return int(self.max_upload_mb * 1e6)
