"""The fields of the forms: checked by pydantic, and described in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lungcls.web.problems import Problem

_SIDE = "Make pictures but the mask no longer than this on either side."
_ACCEPTED = "image/png, image/jpeg, image/tiff, image/bmp, image/webp, application/dicom"


class SegmentForm(BaseModel):
    """Fields of `/v1/segment`."""

    model_config = ConfigDict(extra="forbid")

    pictures: list[Literal["image", "mask", "overlay"]] = Field(
        default=[], max_length=3, description="Pictures to send back; none by default."
    )
    max_side: int | None = Field(default=None, ge=64, le=8192, description=_SIDE)


class PredictForm(BaseModel):
    """Fields of `/v1/predict`."""

    model_config = ConfigDict(extra="forbid")

    region: list[str] = Field(
        default=[], max_length=8, description="Classifiers to ask, by their region; all by default."
    )
    pictures: list[Literal["image", "mask", "overlay", "view"]] = Field(
        default=[], max_length=4, description="Pictures to send back; none by default."
    )
    max_side: int | None = Field(default=None, ge=64, le=8192, description=_SIDE)


class ExplainForm(BaseModel):
    """Fields of `/v1/explain`."""

    model_config = ConfigDict(extra="forbid")

    region: str | None = Field(default=None, description="The classifier to explain, by its region.")
    method: str = Field(default="gradcam", description="How the map is made.")
    target: str | None = Field(
        default=None, description="The class to explain; the most probable by default."
    )
    pictures: list[Literal["overlay", "cam", "figure"]] = Field(
        default=[], max_length=3, description="Pictures to send back; none by default."
    )
    max_side: int | None = Field(default=None, ge=64, le=8192, description=_SIDE)


AnyForm = TypeVar("AnyForm", bound=BaseModel)


def parse_fields(model: type[AnyForm], fields: Mapping[str, Sequence[str]]) -> AnyForm:
    """Check the fields of a form; one that may stand once is no list.

    Raises
    ------
    Problem
        ``invalid-field``, naming each.
    """
    values: dict[str, Any] = {}
    for name, texts in fields.items():
        field = model.model_fields.get(name)
        several = field is None or str(field.annotation).startswith("list")
        values[name] = list(texts) if several or len(texts) > 1 else texts[0]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise Problem("invalid-field", f"{wrong}.") from error


def check_choice(field: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a value that is not among the choices.

    Raises
    ------
    Problem
        ``invalid-field``.
    """
    if value not in choices:
        raise Problem("invalid-field", f"{field}: expected one of {', '.join(choices)}.")


def documented_form(
    model: type[BaseModel], max_files: int, choices: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Return the OpenAPI request body of a form, with the choices that the loaded weights give."""
    schema = model.model_json_schema()
    properties: dict[str, Any] = {}
    for name, value in schema["properties"].items():
        kinds: list[dict[str, Any]] = value.get("anyOf", [])
        plain = next((kind for kind in kinds if kind.get("type") != "null"), {})
        plain_keys = {key: item for key, item in value.items() if key not in ("anyOf", "title", "default")}
        properties[name] = plain_keys | plain
        target = properties[name].get("items", properties[name])
        if name in choices:
            target["enum"] = list(choices[name])
    files = {
        "type": "array",
        "minItems": 1,
        "maxItems": max_files,
        "items": {"type": "string", "format": "binary"},
        "description": "Chest X-rays, one a file: PNG, JPEG, TIFF, BMP, WebP or DICOM.",
    }
    content = {
        "schema": {
            "type": "object",
            "properties": {"files": files, **properties},
            "required": ["files"],
            "additionalProperties": False,
        },
        "encoding": {"files": {"contentType": _ACCEPTED}},
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": content}}}
