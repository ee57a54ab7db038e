"""What the REST service answers to images that it can use."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

import lungcls
from lungcls.explanation import METHODS
from lungcls.images import read_image
from lungcls.labels import CLASSES, NOTICE

NAMES = ("Alpha", "Beta <b>", "Gamma", "Delta")


def picture(url: str) -> Image.Image:
    head, _, data = url.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_predict_answers_every_region_by_the_names_of_its_card(shared_client: Any, png: bytes) -> None:
    answer = shared_client.post("/v1/predict", files={"files": ("scan.png", png)})
    assert answer.status_code == 200
    document = answer.json()
    assert (document["notice"], document["version"]) == (NOTICE, lungcls.__version__)
    (result,) = document["results"]
    assert result["file"] == {
        "name": "scan.png",
        "format": "PNG",
        "bytes": len(png),
        "width": 110,
        "height": 90,
        "pixel_spacing": None,
    }
    assert list(result["predictions"]) == ["full", "mask"]
    assert tuple(result["predictions"]["mask"]["probabilities"]) == CLASSES
    assert tuple(result["predictions"]["full"]["probabilities"]) == NAMES
    assert sum(result["predictions"]["full"]["probabilities"].values()) == pytest.approx(1)
    assert result["pictures"] == {"image": None, "mask": None, "overlay": None}


def test_the_answer_is_that_of_the_pipeline(
    shared_client: Any, png: bytes, tiny_segmenter: Any, tiny_classifier: Any
) -> None:
    pipeline = lungcls.Pipeline(classifier=tiny_classifier, segmenter=tiny_segmenter, gate=None, device="cpu")
    expected = pipeline.predict(png)
    answer = shared_client.post("/v1/predict", files={"files": png}, data={"region": "mask"})
    (result,) = answer.json()["results"]
    found = result["predictions"]["mask"]
    assert found["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
    for field in ("label", "tier", "second", "fallback", "region", "classifier", "coverage"):
        assert found[field] == getattr(expected, field)
    assert found["words"] == expected.words()
    assert result["lungs"]["box"] == (list(expected.box) if expected.box else None)
    assert result["lungs"]["quality"] == json.loads(json.dumps(expected.quality.to_dict()))


def test_several_files_keep_their_order(shared_client: Any, encode: Any) -> None:
    sent = [("a.png", encode("PNG", 64)), ("b.jpg", encode("JPEG", 80)), ("c.tif", encode("TIFF", 96))]
    answer = shared_client.post("/v1/predict", files=[("files", each) for each in sent])
    files = [result["file"] for result in answer.json()["results"]]
    assert [(file["name"], file["format"], file["width"]) for file in files] == [
        ("a.png", "PNG", 64),
        ("b.jpg", "JPEG", 80),
        ("c.tif", "TIFF", 96),
    ]


def _dicom(grey: np.ndarray) -> bytes:
    """A monochrome scan whose bright is dark, as many scanners write them."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    data.Rows, data.Columns = grey.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME1"
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.PixelData = (255 - grey).tobytes()
    data["PixelData"].VR = "OB"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


def test_dicom_is_answered_as_the_same_picture_is(shared_client: Any, png: bytes) -> None:
    scan = _dicom(np.asarray(Image.open(io.BytesIO(png)).convert("L")))
    answer = shared_client.post("/v1/predict", files=[("files", ("a.dcm", scan)), ("files", ("a.png", png))])
    assert answer.status_code == 200
    dicom, raster = answer.json()["results"]
    assert dicom["file"]["format"] == "DICOM"
    for region, found in raster["predictions"].items():
        assert dicom["predictions"][region]["probabilities"] == pytest.approx(
            found["probabilities"], abs=1e-5
        )


def test_a_result_does_not_depend_on_its_company(shared_client: Any, encode: Any) -> None:
    images = [encode("PNG", 64, seed=seed) for seed in range(3)]
    together = shared_client.post("/v1/predict", files=[("files", image) for image in images])
    for image, result in zip(images, together.json()["results"]):
        alone = shared_client.post("/v1/predict", files={"files": image}).json()["results"][0]
        for region, found in result["predictions"].items():
            expected = alone["predictions"][region]["probabilities"]
            assert found["probabilities"] == pytest.approx(expected, abs=1e-5)


def test_pictures_are_sent_where_they_are_asked_for(shared_client: Any, png: bytes) -> None:
    fields = {"pictures": ["image", "mask", "overlay", "view"], "max_side": "64"}
    answer = shared_client.post("/v1/predict", files={"files": png}, data=fields)
    result = answer.json()["results"][0]
    assert picture(result["pictures"]["image"]).size == (64, 52)
    assert picture(result["pictures"]["overlay"]).size == (64, 52)
    mask = picture(result["pictures"]["mask"])
    assert mask.size == (110, 90)
    assert set(np.unique(np.asarray(mask))) <= {0, 255}
    assert picture(result["predictions"]["mask"]["view"]).size == (32, 32)


def test_pictures_are_of_the_image_s_own_size_without_a_limit(shared_client: Any, png: bytes) -> None:
    answer = shared_client.post("/v1/segment", files={"files": png}, data={"pictures": ["overlay", "image"]})
    pictures = answer.json()["results"][0]["pictures"]
    assert picture(pictures["overlay"]).size == (110, 90)
    shown = np.asarray(picture(pictures["image"])) / 255
    assert np.abs(shown - read_image(png).pixels).max() < 1 / 255


def test_segment_gives_the_lungs_and_no_class(shared_client: Any, png: bytes) -> None:
    answer = shared_client.post("/v1/segment", files={"files": png})
    (result,) = answer.json()["results"]
    assert set(result) == {"file", "lungs", "pictures"}
    assert result["lungs"]["segmenter"] == "tiny-segmenter"


def test_explain_maps_the_class_that_is_asked_for(shared_client: Any, png: bytes) -> None:
    fields = {"region": "full", "target": "Gamma", "pictures": ["overlay", "cam", "figure"]}
    answer = shared_client.post("/v1/explain", files={"files": ("scan.png", png)}, data=fields)
    assert answer.status_code == 200
    document = answer.json()
    assert (document["region"], document["method"], document["target"]) == ("full", "gradcam", "Gamma")
    assert document["prediction"]["classifier"] == "tiny-full"
    assert document["file"]["name"] == "scan.png"
    assert "lungs_chance" in document["shares"]
    assert picture(document["pictures"]["cam"]).size == (110, 90)
    assert picture(document["pictures"]["overlay"]).mode == "RGB"
    assert picture(document["pictures"]["figure"]).width > 400


def test_explain_takes_the_most_probable_class_and_the_default_region(shared_client: Any, png: bytes) -> None:
    document = shared_client.post("/v1/explain", files={"files": png}).json()
    probabilities = document["prediction"]["probabilities"]
    assert document["region"] == "mask"
    assert document["target"] == max(probabilities, key=lambda name: probabilities[name])
    assert document["pictures"] == {"overlay": None, "cam": None, "figure": None}


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/scan.png", "scan.png"),
        ("C:\\films\\scan.png", "scan.png"),
        ("a\x07b\u202e.png", "a_b_.png"),
        ("x" * 300 + ".png", "x" * 116 + ".png"),
        ("<img src=x>.png", "<img src=x>.png"),
    ],
)
def test_names_are_plain(sent: str, shown: str) -> None:
    from lungcls.web.uploads import plain_name

    assert plain_name(sent, 0) == shown


def test_a_file_without_a_name_gets_one(shared_client: Any, png: bytes) -> None:
    answer = shared_client.post("/v1/predict", files={"files": ("folder/", png)})
    assert answer.json()["results"][0]["file"]["name"] == "image-1"


def test_models_tells_what_is_loaded(shared_client: Any) -> None:
    document = shared_client.get("/v1/models").json()
    assert list(document["regions"]) == ["full", "mask"]
    assert document["default_region"] == "mask"
    assert document["methods"] == list(METHODS)
    assert list(document["classes"]) == [*NAMES, *CLASSES]
    assert document["classes"]["Alpha"] == {"note": None, "references": []}
    assert document["cards"]["mask"]["name"] == "tiny-classifier"
    assert document["limits"] == {"max_upload_bytes": 2_000_000, "max_megapixels": 1, "max_files": 3}


def test_health_names_the_weights(shared_client: Any) -> None:
    answer = shared_client.get("/healthz")
    assert answer.status_code == 200
    assert set(answer.json()["weights"]) == {"tiny-full", "tiny-classifier", "tiny-segmenter"}


def test_metrics_count_what_happened(make_client: Any, png: bytes) -> None:
    client = make_client()
    client.post("/v1/predict", files=[("files", png), ("files", png)])
    client.post("/v1/predict", files={"files": b"no image"})
    client.get("/nothing/of/the/kind")
    lines = client.get("/metrics").text.splitlines()
    assert 'lungcls_requests_total{method="POST",path="/v1/predict",status="200"} 1.0' in lines
    assert 'lungcls_requests_total{method="GET",path="other",status="404"} 1.0' in lines
    assert 'lungcls_refused_total{problem="not-an-image"} 1.0' in lines
    assert 'lungcls_request_seconds_count{path="/v1/predict"} 2.0' in lines
    assert "lungcls_batch_images_sum 2.0" in lines
    assert "lungcls_requests_in_work 0.0" in lines
    assert "lungcls_queue_images 0.0" in lines


def test_nothing_of_one_answer_is_in_the_next(shared_client: Any, png: bytes, encode: Any) -> None:
    first = shared_client.post("/v1/predict", files={"files": ("first.png", png)})
    second = shared_client.post("/v1/predict", files={"files": ("second.png", encode("PNG", 64))})
    assert "first.png" in first.text
    assert "first.png" not in second.text
    assert first.headers["cache-control"] == "no-store"
