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
    max_requests : int, default=32
        Requests that are read, waiting or worked on at the same time; the next one gets 429. It bounds the
        memory: at most ``max_requests * max_upload_mb`` of uploads are held.
    max_explanations : int, default=4
        As `max_requests`, for explanations, which are slower.
    upload_timeout : float, default=30
        Seconds in which a request body must have arrived.
    timeout : float, default=60
        Seconds until the networks must have answered.
    explain_timeout : float, default=120
        The same for explanations.

    Raises
    ------
    OptionError
        If an option is unknown or impossible, or a limit is not a positive number.
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
    max_requests: int = option(32, "Requests at a time; the next one gets 429.", low=1)
    max_explanations: int = option(4, "Explanations at a time.", low=1)
    upload_timeout: float = option(30, "Seconds in which a request must have arrived.", metavar="SECONDS")
    timeout: float = option(60, "Seconds until a prediction must be there.", metavar="SECONDS")
    explain_timeout: float = option(120, "Seconds until an explanation must be there.", metavar="SECONDS")

    def __post_init__(self) -> None:
        names = {field.name for field in fields(PipelineOptions)} & {field.name for field in fields(self)}
        PipelineOptions(**{name: getattr(self, name) for name in names})
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (int, float)) and not (math.isfinite(value) and value > 0):
                raise OptionError(f"{field.name} is {value!r}; expected a positive number")

    @property
    def max_upload(self) -> int:
        """Largest request body, in bytes."""
        return int(self.max_upload_mb * 1e6)
