"""The JSON that the service sends, as pydantic models: they are its documentation too."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class FileProblem(BaseModel):
    """What is wrong with one file of a request."""

    index: int = Field(ge=0, description="Place of the file in the request, from 0.")
    name: str = Field(description="Its name, as it was sent.")
    type: str = Field(description="Kind of problem.")
    title: str = Field(description="The kind in words.")
    detail: str = Field(description="What was found, what was expected, and the way out.")


class ProblemDocument(BaseModel):
    """A problem object (RFC 9457)."""

    type: str = Field(description="Kind of problem, such as `urn:lungcls:busy`; it stays the same.")
    title: str = Field(description="The kind in words.")
    status: int = Field(ge=400, le=599, description="HTTP status.")
    detail: str = Field(description="What was found, what was expected, and the way out.")
    errors: list[FileProblem] | None = Field(
        default=None, description="The files that are meant, where the problem is one of files."
    )


class File(BaseModel):
    """One image as it was sent."""

    name: str = Field(description="Its name, as it was sent, without folders.")
    format: str = Field(description="As its content tells: PNG, JPEG, TIFF, BMP, WebP or DICOM.")
    bytes: int = Field(ge=1)
    width: int = Field(ge=1, description="Pixels.")
    height: int = Field(ge=1, description="Pixels.")
    pixel_spacing: tuple[float, float] | None = Field(
        description="Millimetres between rows and between columns, where the file tells them."
    )


class Reason(BaseModel):
    """One thing that is wrong with an image or its lung mask."""

    name: str
    value: float | None = Field(description="What was measured.")
    threshold: float | None = Field(description="What it was held against.")
    message: str
    corrected: bool = Field(description="Whether it was put right before the image was used.")


class QualityReport(BaseModel):
    """What was measured on the image and its lung mask; more measured values may stand beside these."""

    model_config = ConfigDict(extra="allow")

    ok: bool = Field(description="Whether nothing is wrong.")
    accepted: bool = Field(description="False: this is no frontal chest X-ray, and no label is given.")
    reasons: list[Reason]


class Lungs(BaseModel):
    """Stage 1: where the lungs are."""

    box: tuple[int, int, int, int] | None = Field(
        description="Bounding box x0, y0, x1, y1 in pixels of the image, end exclusive; null without lungs."
    )
    quality: QualityReport
    segmenter: str = Field(description="Name of the weights.")


class RegionPrediction(BaseModel):
    """Stage 2: what one classifier says of the region that it was trained on."""

    label: str | None = Field(
        description="The most probable class, or the findings joined by `|`; null where it is withheld."
    )
    findings: list[str] | None = Field(
        default=None, description="Findings at their thresholds, of weights that give several a film."
    )
    confidence: float | None = Field(
        ge=0, le=1, description="The probability of the label; null where that is withheld."
    )
    tier: str = Field(description="`high`, `moderate` or `low` confidence.")
    second: str | None = Field(description="The second most probable class.")
    probabilities: dict[str, float] = Field(description="Calibrated; of classes they sum to 1.")
    conformal_set: list[str] = Field(
        description="Classes that cannot be ruled out at `coverage`, most probable first."
    )
    coverage: float | None = Field(
        description="How often such sets hold the true class, for images like those of the calibration."
    )
    words: str = Field(description="The answer and its doubts in one sentence.")
    region: str = Field(description="The region that the classifier saw.")
    fallback: bool = Field(description="Whether the whole image stood in for want of two lungs.")
    classifier: str = Field(description="Name of the weights.")
    view: str | None = Field(
        default=None, description="What the classifier saw, as a data URL (PNG), where it was asked for."
    )


class Pictures(BaseModel):
    """Pictures that were asked for, as data URLs (PNG)."""

    image: str | None = Field(default=None, description="The image as it was read: grey, 8 bits.")
    mask: str | None = Field(default=None, description="Lung mask at the image's own size: 255 on the lungs.")
    overlay: str | None = Field(default=None, description="The image with the lungs tinted and outlined.")


class PredictedImage(BaseModel):
    """All answers about one image."""

    file: File
    lungs: Lungs
    predictions: dict[str, RegionPrediction] = Field(description="By the region that was asked for.")
    pictures: Pictures


class SegmentedImage(BaseModel):
    """The lungs of one image."""

    file: File
    lungs: Lungs
    pictures: Pictures


class PredictAnswer(BaseModel):
    """Answer of `/v1/predict`: one result a file, in their order."""

    notice: str
    version: str = Field(description="Of lungcls.")
    results: list[PredictedImage]


class SegmentAnswer(BaseModel):
    """Answer of `/v1/segment`: one result a file, in their order."""

    notice: str
    version: str = Field(description="Of lungcls.")
    results: list[SegmentedImage]


class ExplainPictures(BaseModel):
    """Pictures of an explanation, as data URLs (PNG)."""

    overlay: str | None = Field(default=None, description="The map over the image.")
    cam: str | None = Field(default=None, description="The map alone, grey: white is 1.")
    figure: str | None = Field(default=None, description="Several panels with their legends.")


class ExplainAnswer(BaseModel):
    """Answer of `/v1/explain`: where the classifier's evidence for one class lies."""

    notice: str
    version: str = Field(description="Of lungcls.")
    file: File
    region: str = Field(description="The region that was asked for.")
    method: str
    target: str = Field(description="The class that is explained.")
    shares: dict[str, Any] = Field(
        description="How much of the map lies where, beside what an even spread would give."
    )
    prediction: RegionPrediction
    pictures: ExplainPictures


class Limits(BaseModel):
    """What a request may hold."""

    max_upload_bytes: int
    max_megapixels: float
    max_files: int


class Reference(BaseModel):
    """Something to read."""

    title: str
    url: str


class ClassNotes(BaseModel):
    """Where to read about a class, and where its training images came from."""

    note: str | None
    references: list[Reference]


class Models(BaseModel):
    """What is loaded."""

    notice: str
    version: str
    limits: Limits
    regions: dict[str, str] = Field(
        description="Regions that can be asked for, the widest first, and what they show."
    )
    default_region: str
    methods: list[str] = Field(description="Methods of `/v1/explain`.")
    classes: dict[str, ClassNotes] = Field(description="Every class of the loaded weights.")
    cards: dict[str, dict[str, Any]] = Field(
        description="Model cards by region, and of `segmenter` and `gate`."
    )


class Health(BaseModel):
    """Whether the service works."""

    status: str
    version: str
    weights: dict[str, str] = Field(description="SHA-256 of the loaded weights, by name.")
