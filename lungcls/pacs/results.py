"""From lungcls' results to what the writers of this package take: the only file here that knows both."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from highdicom.sc import SCImage
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

import lungcls
from lungcls.errors import ImageError, OptionError
from lungcls.images import NOTES, image_format
from lungcls.lungs import Lungs
from lungcls.pacs.codes import MANUFACTURER, MODEL, Software, WeightFacts, stable_uid
from lungcls.pacs.objects import Objects, make_objects
from lungcls.pacs.source import checked_header, read_header
from lungcls.pacs.sr import Findings
from lungcls.prediction import Prediction
from lungcls.regions import Pixels

if TYPE_CHECKING:
    from lungcls.streaming import Streaming


_log = logging.getLogger(__name__)

_GREY_ONLY: Final = frozenset({"inverted", *NOTES})
"""Corrections of a film that leave every pixel where it is in the file."""


def lungs_of(result: Prediction | Lungs) -> Lungs:
    """Return the lungs of a Prediction; lungs without a class are returned as they are."""
    return result if isinstance(result, Lungs) else result.lungs


def moved_pixels(lungs: Lungs) -> None:
    """Refuse lungs of a film that was turned or flipped: their mask does not fit the file any more.

    Raises
    ------
    ImageError
    """
    turned = sorted(set(lungs.quality.corrected) - _GREY_ONLY)
    if turned:
        raise ImageError(
            f"{lungs.path}: found a film whose geometry was corrected ({', '.join(turned)}), expected one "
            "whose mask fits the file pixel for pixel; correct the file itself and predict it again"
        )


def software_of(pipeline: Streaming, *, classify: bool = True) -> Software:
    """Name the version of lungcls and all weights that a pipeline may answer with."""
    segmenter = pipeline.segmenter.card
    members = getattr(pipeline, "members", [pipeline]) if classify else []
    cards = [stage.card for member in members for stage in member.explainers]
    facts = dict.fromkeys(WeightFacts(card.name, card.sha256) for card in cards)
    return Software(lungcls.__version__, WeightFacts(segmenter.name, segmenter.sha256), tuple(facts))


def answered_by(result: Prediction | Lungs, software: Software) -> Software:
    """Return the software with only those weights that answered for one film.

    Raises
    ------
    OptionError
        If the film was answered by other weights than the software has.
    """
    segmenter = software.segmenter
    if (drawn_by := lungs_of(result).segmenter) != segmenter.name:
        segmenter = WeightFacts(drawn_by or "no segmenter", "unknown")
    names = set()
    if isinstance(result, Prediction):
        names = {member.classifier for member in result.members} or {result.classifier}
    if missing := sorted(names - {weights.name for weights in software.classifiers}):
        raise OptionError(
            f"{result.path}: answered by {', '.join(missing)}, expected a prediction of this pipeline "
            f"({', '.join(weights.name for weights in software.classifiers) or 'no classifier'})"
        )
    used = tuple(weights for weights in software.classifiers if weights.name in names)
    return Software(software.version, segmenter, used)


def objects_of(
    result: Prediction | Lungs,
    header: Dataset,
    software: Software,
    kinds: Sequence[str],
    viewer_plane: bool = False,
) -> Objects:
    """Make the DICOM objects of a result; the rest as :func:`lungcls.pacs.objects.make_objects`."""
    lungs = lungs_of(result)
    moved_pixels(lungs)
    made_by, findings = answered_by(result, software), findings_of(result)
    return make_objects(header, lungs.mask, lungs.pixels(), findings, made_by, kinds, viewer_plane)


def dicom_of(
    result: Prediction | Lungs,
    pipeline: Streaming,
    kinds: Sequence[str] = ("seg", "sr"),
    *,
    new_study: bool = False,
    viewer_plane: bool = False,
) -> dict[str, Dataset]:
    """Make the DICOM objects of a result; see :meth:`lungcls.Prediction.to_dicom`."""
    lungs = lungs_of(result)
    header, film = header_of(lungs.path, new_study=lungs.pixels() if new_study else None)
    output = objects_of(result, header, software_of(pipeline), kinds, viewer_plane)
    for note in output.notes:
        _log.warning("%s: %s", lungs.path, note)
    objects: dict[str, Dataset] = {} if film is None else {"film": film}
    return objects | {str(kind): dataset for kind, dataset in output.datasets.items()}


def findings_of(result: Prediction | Lungs) -> Findings:
    """Return what a Prediction, or lungs without a class, say about a whole film."""
    quality = result.quality
    if isinstance(result, Lungs):
        return Findings(reasons=quality.reasons, accepted=quality.accepted)
    notes: tuple[str, ...] = ()
    if result.fallback:
        notes = ("the whole film stood in for the region, for want of two lungs",)
    if result.label is None:
        # What is withheld from the caller is withheld from the archive too.
        return Findings(quality.reasons, quality.accepted, notes=("no class is given for this film", *notes))
    return Findings(
        reasons=quality.reasons,
        accepted=quality.accepted,
        label=result.label,
        several=result.findings is not None,
        probabilities=dict(result.probabilities),
        conformal_set=result.conformal_set,
        coverage=result.coverage,
        region=result.region,
        notes=notes,
    )


def header_of(path: str, *, new_study: Pixels | None = None) -> tuple[Dataset, Dataset | None]:
    """Return the header that a film's results take over.

    Parameters
    ----------
    path : str
        Of the film.
    new_study : float32 array [H, W] in [0, 1], optional
        The film's pixels: where it has no study, they are made a DICOM film of a new one.

    Returns
    -------
    header, film : Dataset, Dataset or None
        `film` is the new DICOM film; None where the file is one itself.

    Raises
    ------
    ImageError
        If the file has no study and `new_study` was not given.
    """
    if _is_dicom(path):
        try:
            return read_header(path), None
        except ImageError:
            if new_study is None:
                raise
    elif new_study is None:
        raise ImageError(
            f"{path}: found an image that is no DICOM file and belongs to no study, expected a DICOM film: "
            "DICOM results would refer to nothing. Ask for a new study with --new-study (new_study=True)"
        )
    film = _new_film(new_study)
    return checked_header(film, path), film


def _is_dicom(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return image_format(file.read(132), path) == "DICOM"
    except (OSError, ImageError):
        return False


def _new_film(pixels: Pixels) -> SCImage:
    """A secondary capture of a film without a study: no patient, no date of study, no spacing, no sides."""
    stored = np.rint(pixels * 65535).astype(np.uint16)
    content = hashlib.sha256(str(stored.shape).encode() + stored.tobytes()).hexdigest()
    film = SCImage(
        pixel_array=stored,
        photometric_interpretation="MONOCHROME2",
        bits_allocated=16,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),
        study_instance_uid=stable_uid("film study", content),
        series_instance_uid=stable_uid("film series", content),
        series_number=1,
        series_description="Film without a study, taken over by lungcls",
        sop_instance_uid=stable_uid("film instance", content),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        software_versions=lungcls.__version__,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    film["PatientOrientation"].value = None
    film.Laterality = ""
    film.ConversionType = "DF"
    return film
