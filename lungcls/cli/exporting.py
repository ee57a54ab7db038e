"""What ``lungcls predict`` and ``segment`` write besides tables and pictures: DICOM and research formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from lungcls.cli.batch import Batch
from lungcls.cli.tables import printable
from lungcls.errors import LungclsError, MissingExtraError, OptionError

if TYPE_CHECKING:
    from lungcls.cli.inputs import Input
    from lungcls.cli.journal import Journal, Row
    from lungcls.files import Fingerprint
    from lungcls.pacs.folder import ResultFolder

DicomKinds: TypeAlias = Annotated[
    str,
    typer.Option(
        "--dicom",
        metavar="seg,sr,gsps,sc",
        help="DICOM objects of each film: segmentation, structured report, outlines, picture.",
        show_default=False,
    ),
]
Formats: TypeAlias = Annotated[
    str,
    typer.Option(
        "--formats",
        metavar="nifti,coco,png,csv",
        help="Lungs as NIfTI, COCO and label PNG; csv is a table of measurements.",
        show_default=False,
    ),
]
NewStudy: TypeAlias = Annotated[
    bool, typer.Option("--new-study", help="Make DICOM of images that belong to no study, in a new one.")
]
Deidentify: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--deidentify",
        metavar="KEYFILE",
        help="Take the patient off the DICOM objects; the file holds the project's key, made if missing.",
        show_default=False,
    ),
]


ViewerPlane: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--viewer-plane",
        help="Give segmentations of films without a place the plane that OHIF needs to show them.",
    ),
]


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What was asked for on the command line; false where nothing was."""

    kinds: str = ""
    formats: str = ""
    new_study: bool = False
    deidentify: Path | None = None
    viewer_plane: bool = False

    def __bool__(self) -> bool:
        return bool(self.kinds or self.formats)


@dataclass
class Exporting(Batch):
    """A run that writes DICOM objects and research formats too.

    Parameters
    ----------
    options : ExportOptions

    Attributes
    ----------
    unwritten : list of str
        Why films have no DICOM objects, a line each.
    """

    options: ExportOptions = field(default_factory=ExportOptions)
    unwritten: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if self.out is None:
            raise OptionError("--dicom and --formats write files; name a folder with --out")
        try:
            from lungcls.pacs.deidentify import Deidentifier
            from lungcls.pacs.folder import ResultFolder, checked_formats
            from lungcls.pacs.objects import checked_kinds
            from lungcls.pacs.results import software_of
        except ModuleNotFoundError as error:
            raise MissingExtraError(error.name or "highdicom", "dicom-out", "writing DICOM") from error
        options = self.options
        self._folder: ResultFolder = ResultFolder(
            self.out,
            software_of(self.pipeline, classify=self.classes is not None),
            checked_kinds(_names(options.kinds)) if options.kinds else (),
            checked_formats(_names(options.formats)),
            options.new_study,
            Deidentifier.from_file(options.deidentify) if options.deidentify else None,
            options.viewer_plane,
        )

    def about(self) -> dict[str, Any]:
        """Return all that the rows depend on."""
        about = super().about()
        about["options"]["export"] = {
            "dicom": list(self._folder.kinds),
            "formats": list(self._folder.formats),
            "new_study": self.options.new_study,
            "viewer_plane": self.options.viewer_plane,
            "deidentify": self._folder.deidentifier.pseudonym("key", "")
            if self._folder.deidentifier
            else None,
        }
        return about

    def write_csv(self, path: Path, rows: Sequence[Row]) -> None:
        """Write the table of the rows and the files that hold all films, and name what is missing."""
        super().write_csv(path, rows)
        self._folder.write_tables(row for row in rows if not row["error"])
        for row in rows:
            if reason := (row.get("export") or {}).get("unwritten"):
                self.unwritten.append(reason)
                typer.echo(f"lungcls: no DICOM objects: {printable(reason)}", err=True)

    def _known(self, item: Input, state: Fingerprint | None, journal: Journal | None) -> Row | None:
        row = super()._known(item, state, journal)
        files = (row or {}).get("export", {}).get("files", [])
        return row if self.out and all((self.out / name).is_file() for name in files) else None

    def _row(self, item: Input, state: Fingerprint | None, result: Any) -> Row:
        row = super()._row(item, state, result)
        if row["error"]:
            return row
        stem = PurePosixPath(item.picture).with_suffix("").as_posix()
        try:
            return {**row, "export": self._folder.write(result, stem)}
        except LungclsError as error:  # the file is gone or has changed since it was read
            return {"path": item.path, "error": str(error)}


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
