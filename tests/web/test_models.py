"""The loaded weights and what is done with them."""

from __future__ import annotations

from typing import Any

import pytest

from lungcls.web.models import Answer, Job, Models


@pytest.fixture(scope="module")
def models(make_settings: Any) -> Models:
    return Models(make_settings())


def test_the_lungs_of_an_image_are_found_once_for_all_regions(
    make_settings: Any, png: bytes, encode: Any
) -> None:
    models = Models(make_settings())
    stage = models._finder.segmenter
    assert stage is not None
    network, batches = stage.network, []

    def counted(views: Any) -> Any:
        batches.append(len(views))
        return network(views)

    stage.network = counted  # type: ignore[assignment]
    jobs = [Job(png, "a", ("full", "mask")), Job(encode("PNG", 64), "b", ("mask",)), Job(png, "c", ())]
    answers = [answer for answer in models.work(jobs) if isinstance(answer, Answer)]
    assert batches == [3]
    assert [list(answer.predictions) for answer in answers] == [["full", "mask"], ["mask"], []]
    assert all(one.lungs is answer.lungs for answer in answers for one in answer.predictions.values())


def test_images_beyond_the_budget_go_through_apart(
    models: Models, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lungcls.web.models._BUDGET", 15_000)
    sizes: list[int] = []
    answer = models._answer

    def counted(chunk: Any, answers: Any) -> None:
        sizes.append(len(chunk))
        answer(chunk, answers)

    monkeypatch.setattr(models, "_answer", counted)
    answers = models.work([Job(png, str(number), ()) for number in range(5)])
    assert sizes == [2, 2, 1]
    assert [each.lungs.path for each in answers if isinstance(each, Answer)] == ["0", "1", "2", "3", "4"]


def test_two_classifiers_of_one_region_are_refused(make_settings: Any, tiny_classifier: Any) -> None:
    with pytest.raises(ValueError, match="both see the region 'mask'"):
        Models(make_settings(classifiers=(str(tiny_classifier),) * 2))


def test_a_segmenter_is_no_classifier(make_settings: Any, tiny_segmenter: Any) -> None:
    with pytest.raises(ValueError, match="is no classifier"):
        Models(make_settings(classifiers=(str(tiny_segmenter),)))


def test_every_released_region_is_loaded_by_default() -> None:
    from lungcls.regions import REGIONS
    from lungcls.web.models import _classifiers
    from lungcls.weights import released

    found = _classifiers(())
    assert found == {r: f"classifier-{r}" for r in REGIONS if f"classifier-{r}" in released()}
    assert {"full", "mask"} <= set(found)
