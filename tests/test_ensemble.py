from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lungcls
from lungcls.ensemble import Ensemble
from lungcls.errors import RejectedError
from lungcls.evaluation.conformal import fit_conformal
from lungcls.labels import CLASSES
from lungcls.lungs import Lungs
from lungcls.phantom import chest_phantom
from lungcls.pipeline import Pipeline
from lungcls.prediction import Failure, Prediction
from lungcls.segmenter import Segmenter
from lungcls.weights import load_state, save_weights

IMAGES = [chest_phantom((70, 90), seed=seed).image for seed in range(3)]


class PhantomSegmenter(Segmenter):
    """A stage 1 that knows the lungs of the images of this file, and finds none on others."""

    batches: list[int]

    def segment_with_agreement(self, images: Any, aspects: Any = None) -> list[tuple[Any, float]]:
        self.batches = [*getattr(self, "batches", []), len(images)]
        masks = {
            image.tobytes(): chest_phantom((70, 90), seed=seed).mask for seed, image in enumerate(IMAGES)
        }
        return [(masks.get(image.tobytes(), np.zeros(image.shape, bool)), 1.0) for image in images]


class BlindSegmenter(Segmenter):
    """A stage 1 that finds no lungs."""

    def segment_with_agreement(self, images: Any, aspects: Any = None) -> list[tuple[Any, float]]:
        return [(np.zeros(image.shape, bool), 1.0) for image in images]


def _stored(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return fit_conformal(rng.dirichlet(np.ones(4), 80), rng.integers(0, 4, 80), range(80), CLASSES)


@pytest.fixture(scope="module")
def members(
    tiny_classifier: Path, make_card_values: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Two classifiers that differ in their last layer and their region."""
    folder = tmp_path_factory.mktemp("members")
    _, state = load_state(tiny_classifier)
    other = {key: value * (-3 if key.startswith("classifier") else 1) for key, value in state.items()}
    assert any(not np.array_equal(state[key], other[key]) for key in state)
    full = {"name": "full", "margin": 0.05, "dilate": 0.0}
    return [
        save_weights(folder, state, **make_card_values(name="one"), conformal=_stored(0)),
        save_weights(folder, other, **make_card_values(name="two", region=full), conformal=_stored(1)),
    ]


@pytest.fixture(scope="module")
def options(tiny_segmenter: Path) -> dict[str, Any]:
    loaded = Segmenter.load(tiny_segmenter, "cpu")
    return {"segmenter": PhantomSegmenter(loaded.card, loaded.network), "device": "cpu", "gate": None}


@pytest.fixture(scope="module")
def ensemble(members: list[Path], options: dict[str, Any]) -> Ensemble:
    return Ensemble(members, **options, batch_size=2)


def test_probabilities_are_the_mean_and_the_rest_says_how_far_members_differ(
    ensemble: Ensemble, members: list[Path], options: dict[str, Any]
) -> None:
    alone = [Pipeline(classifier=path, **options).predict(IMAGES) for path in members]
    together = ensemble.predict(IMAGES)
    for place, found in enumerate(together):
        rows = np.asarray([list(each[place].probabilities.values()) for each in alone])
        assert list(found.probabilities.values()) == pytest.approx(rows.mean(axis=0).tolist())
        assert list(found.spread.values()) == pytest.approx(rows.std(axis=0).tolist(), abs=1e-6)
        assert found.label == CLASSES[rows.mean(axis=0).argmax()]
        assert found.disagreement > 0
        assert (found.region, found.classifier) == ("mask", "one+two")
        assert [member.region for member in found.members] == ["mask", "full"]
        for name in CLASSES:
            mean = np.mean([each[place].p_values[name] for each in alone])
            assert found.p_values[name] == pytest.approx(min(1, 2 * mean))
        assert found.coverage == 0.9
        assert found.label in found.conformal_set


def test_lungs_are_found_once_for_all_members(ensemble: Ensemble) -> None:
    stage = ensemble.segmenter
    assert isinstance(stage, PhantomSegmenter)
    stage.batches = []
    ensemble.predict(IMAGES)
    assert stage.batches == [2, 1]
    assert len({id(member.segmenter) for member in ensemble.members}) == 1


def test_it_is_used_as_a_pipeline_is(ensemble: Ensemble, tmp_path: Path) -> None:
    assert lungcls.Ensemble is Ensemble
    assert type(ensemble.predict(IMAGES[0])) is Prediction
    assert type(ensemble.segment(IMAGES[0])) is Lungs
    kinds = [type(one) for one in ensemble.stream([IMAGES[0], tmp_path / "no.png"], on_error="return")]
    assert kinds == [Prediction, Failure]


def test_one_member_is_that_member(members: list[Path], options: dict[str, Any]) -> None:
    alone = Pipeline(classifier=members[0], **options).predict(IMAGES[0])
    found = Ensemble(members[:1], **options).predict(IMAGES[0])
    assert found.probabilities == pytest.approx(alone.probabilities)
    assert found.p_values == alone.p_values
    assert found.conformal_set == alone.conformal_set
    assert found.disagreement == pytest.approx(0, abs=1e-12)


def test_pipelines_keep_their_own_options_and_an_ensemble_lends_its_members(
    members: list[Path], options: dict[str, Any]
) -> None:
    first, second = (Pipeline(classifier=path, tta=2, **options) for path in members)
    both = Ensemble([first, second])
    assert both.segmenter is first.segmenter
    assert [member.tta for member in both.members] == [2, 2]
    again = Ensemble([both, members[0]], device="cpu")
    assert again.members[:2] == [first, second]
    assert len(again.classifiers) == 3


def test_an_ensemble_of_pipelines_answers_with_their_coverage_and_their_refusals(
    members: list[Path], options: dict[str, Any]
) -> None:
    pipelines = [Pipeline(classifier=one, coverage=0.6, on_reject="raise", **options) for one in members]
    ensemble = Ensemble(pipelines)
    assert ensemble.predict(IMAGES[0]).coverage == 0.6
    assert Ensemble(pipelines, coverage=0.8).predict(IMAGES[0]).coverage == 0.8
    with pytest.raises(RejectedError):
        ensemble.segment(IMAGES[0] / 2)


def test_the_first_members_view_is_explained_where_another_fell_back(
    members: list[Path], options: dict[str, Any]
) -> None:
    pytest.importorskip("pytorch_grad_cam", reason="lungcls[explain] is not installed")
    blind = BlindSegmenter(options["segmenter"].card, options["segmenter"].network)
    first = Pipeline(classifier=members[0], **options)
    second = Pipeline(classifier=members[0], **{**options, "segmenter": blind})
    found = Ensemble([first, second]).explain(IMAGES[0])
    assert found.prediction.fallback
    assert found.frame.box == first.explain(IMAGES[0]).frame.box


def test_a_member_that_refuses_refuses_for_all(members: list[Path], options: dict[str, Any]) -> None:
    nothing = np.full((70, 90), 0.5, np.float32)
    ensemble = Ensemble(members, **options, on_bad_mask="refuse")
    assert isinstance(next(ensemble.stream([nothing], on_error="return")), Failure)


def test_no_set_where_a_member_has_none(
    members: list[Path], tiny_classifier: Path, options: dict[str, Any]
) -> None:
    found = Ensemble([members[0], tiny_classifier], **options).predict(IMAGES[0])
    assert (found.p_values, found.coverage, found.conformal_set) == (None, None, ())


def test_members_that_cannot_answer_together_are_refused(
    members: list[Path], options: dict[str, Any], make_card_values: Any, tmp_path: Path
) -> None:
    _, state = load_state(members[0])
    other = save_weights(tmp_path, state, **make_card_values(name="other", classes=CLASSES[::-1]))
    with pytest.raises(ValueError, match="different classes"):
        Ensemble([members[0], other], **options)
    for nothing in ([], "one", members[0]):
        with pytest.raises(ValueError, match="expected a list"):
            Ensemble(nothing, **options)
    with pytest.raises(ValueError, match="takes no region"):
        Ensemble(members, region="full", **options)
