"""What the service allows: every limit in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from lungcls.errors import OptionError


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
    ValueError
        If a limit is not a positive number.
    """

    classifiers: tuple[str, ...] = ()
    segmenter: str = "segmenter"
    gate: str | None = "gate"
    device: str = "auto"
    engine: str = "auto"
    batch_size: int = 8
    max_upload_mb: float = 32
    max_megapixels: float = 32
    max_files: int = 8
    max_requests: int = 32
    max_explanations: int = 4
    upload_timeout: float = 30
    timeout: float = 60
    explain_timeout: float = 120

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (int, float)) and not (math.isfinite(value) and value > 0):
                raise OptionError(f"{field.name} is {value!r}; expected a positive number")

    @property
    def max_upload(self) -> int:
        """Largest request body, in bytes."""
        return int(self.max_upload_mb * 1e6)
