"""The service against its own OpenAPI document: whatever schemathesis sends, the answer is documented."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis makes the requests")

OPERATIONS = (
    ("/v1/predict", "POST"),
    ("/v1/segment", "POST"),
    ("/v1/explain", "POST"),
    ("/v1/models", "GET"),
    ("/healthz", "GET"),
    ("/metrics", "GET"),
)


@pytest.fixture(scope="module")
def api(make_settings: Any, tiny_classifier: Any, encode: Any) -> Any:
    from lungcls.web import create_app

    # One classifier, so that each class that the document names is one of the region's.
    app = create_app(make_settings(classifiers=(str(tiny_classifier),)))
    # The document can only say "a file"; these are X-rays.
    films = [encode("PNG", 48, seed=1), encode("JPEG", 64), encode("TIFF", (40, 52))]
    for kind in ("image/png", "image/jpeg", "image/tiff", "image/bmp", "image/webp", "application/dicom"):
        schemathesis.openapi.media_type(kind, st.sampled_from(films))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


def test_every_operation_is_tried(api: Any) -> None:
    found = {(each.ok().path, each.ok().method.upper()) for each in api.get_all_operations()}
    assert found == set(OPERATIONS)


@pytest.mark.parametrize(
    ("path", "method", "mode"),
    # An operation without parameters cannot be asked wrongly.
    [(*each, "positive") for each in OPERATIONS] + [(*each, "negative") for each in OPERATIONS[:3]],
)
def test_every_answer_is_as_documented(api: Any, path: str, method: str, mode: str) -> None:
    from schemathesis import GenerationMode

    statuses = []

    @given(case=api[path][method].as_strategy(generation_mode=GenerationMode(mode)))
    @settings(
        max_examples=5 if path == "/v1/explain" else 12,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def send(case: Any) -> None:
        statuses.append(case.call_and_validate(timeout=120).status_code)

    send()
    assert statuses
    if mode == "positive":
        assert set(statuses) == {200}
