"""What lungcls writes into a PACS, and the codes by which others understand it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

from highdicom import AlgorithmIdentificationSequence
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import AlgorithmIdentification
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, generate_uid

from lungcls.labels import NOTICE

Kind: TypeAlias = Literal["seg", "sr", "gsps", "sc"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""Segmentation, structured report, presentation state, secondary capture: the objects that can be written."""

SERIES: Final[Mapping[Kind, tuple[int, str]]] = {
    "seg": (9001, "lungcls lungs (research)"),
    "sr": (9002, "lungcls report (research)"),
    "gsps": (9003, "lungcls outlines (research)"),
    "sc": (9004, "lungcls picture (research)"),
}
"""Number and description of each kind's series."""

MANUFACTURER: Final = "The lungcls authors"
MODEL: Final = "lungcls"

LUNG: Final = codes.SCT.Lung
LEFT_LUNG: Final = Code("44029006", "SCT", "Left lung")
RIGHT_LUNG: Final = Code("3341006", "SCT", "Right lung")
BOTH: Final = Code("51440002", "SCT", "Right and left")
ANATOMY: Final = Code("123037004", "SCT", "Anatomical Structure")

SCHEME: Final = "99LUNGCLS"
PRIVATE_SCHEME: Final = CodingSchemeIdentificationItem(
    SCHEME, name="lungcls: classes, measurements and quality findings", responsible_organization=MANUFACTURER
)


def private_code(meaning: str) -> Code:
    """Return a code of lungcls' own scheme: the same value for the same meaning, always."""
    return Code(hashlib.sha256(meaning.encode()).hexdigest()[:12].upper(), SCHEME, meaning[:64])


@dataclass(frozen=True, slots=True)
class WeightFacts:
    """A weight file, by the name on its card and the SHA-256 of its content."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Software:
    """Who made a result.

    Attributes
    ----------
    version : str
        Of lungcls.
    segmenter : WeightFacts
        Stage 1, which found the lungs.
    classifiers : tuple of WeightFacts
        Stage 2; several for an ensemble, none where no class was asked for.
    """

    version: str
    segmenter: WeightFacts
    classifiers: tuple[WeightFacts, ...] = ()

    @property
    def device_uid(self) -> UID:
        """UID of this version with these weights."""
        return stable_uid("device", json.dumps(asdict(self)))

    def equipment(self) -> dict[str, Any]:
        """Return what highdicom asks of the equipment that makes an object."""
        return {
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": MODEL,
            "software_versions": self.version,
            "device_serial_number": self.segmenter.sha256[:16],
        }

    def segmentation_algorithm(self) -> AlgorithmIdentificationSequence:
        """Name stage 1 in a segmentation."""
        return AlgorithmIdentificationSequence(
            name=f"{MODEL} {self.segmenter.name}"[:64],
            family=codes.cid7162.ArtificialIntelligence,
            version=self.version,
            source=MANUFACTURER,
            parameters={"weights": self.segmenter.name, "sha256": self.segmenter.sha256},
        )

    def report_algorithm(self, *, classes: bool) -> AlgorithmIdentification:
        """Name stage 1, or stage 2 where `classes` is true, in a report."""
        used = self.classifiers if classes and self.classifiers else (self.segmenter,)
        return AlgorithmIdentification(
            name=f"{MODEL} {', '.join(weights.name for weights in used)}",
            version=self.version,
            parameters=[f"weights={weights.name}, sha256={weights.sha256}" for weights in used],
        )


def stable_uid(*sources: str) -> UID:
    """Return the UID that these texts always give, so that nothing sent twice is kept twice."""
    return generate_uid(prefix="2.25.", entropy_srcs=["lungcls", *sources])


__all__ = [
    "ANATOMY",
    "BOTH",
    "KINDS",
    "LEFT_LUNG",
    "LUNG",
    "MANUFACTURER",
    "MODEL",
    "NOTICE",
    "PRIVATE_SCHEME",
    "RIGHT_LUNG",
    "SCHEME",
    "SERIES",
    "Kind",
    "Software",
    "WeightFacts",
    "private_code",
    "stable_uid",
]
