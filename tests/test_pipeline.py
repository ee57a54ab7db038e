from __future__ import annotations

import csv
import gc
import io
import json
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import lungcls
from lungcls.classifier import Classifier
from lungcls.conformal import p_values
from lungcls.errors import ImageError, LungMaskError, OptionError, WeightsError
from lungcls.images import read_image
from lungcls.labels import CLASSES, NOTICE
from lungcls.lungs import Lungs
from lungcls.pipeline import Pipeline, _kept
from lungcls.prediction import Failure, Prediction
from lungcls.regions import Region, view, whole_view
from lungcls.segmenter import Segmenter
from lungcls.uncertainty import changed_views, disagreement

Pixels = npt.NDArray[np.float32]


def xray(shape: tuple[int, int] = (150, 200), lungs: int = 2, seed: int = 0) -> Pixels:
    """Dark lungs on grey."""
    height, width = shape
    pixels = np.random.default_rng(seed).uniform(0.5, 0.9, shape).astype(np.float32)
    for lung in range(lungs):
        left = width // 8 + lung * width // 2
        pixels[height // 6 : -height // 6, left : left + width // 4] = 0.1
    return pixels


def saved(path: Path, pixels: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def make(dark_segmenter: Segmenter, tiny_classifier: Path) -> Callable[..., Pipeline]:
    def build(**options: Any) -> Pipeline:
        stages = {"segmenter": dark_segmenter, "classifier": tiny_classifier, "gate": None, "device": "cpu"}
        return Pipeline(**{**stages, **options})

    return build


@pytest.fixture(scope="module")
def pipeline(make: Callable[..., Pipeline]) -> Pipeline:
    return make(batch_size=2)


def test_one_in_one_out(pipeline: Pipeline, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", xray())
    pixels = read_image(path).pixels
    picture = Image.open(path)
    expected = pipeline.predict(path)
    assert type(expected) is Prediction
    assert expected.path == str(path)
    for source in (
        str(path),
        path.read_bytes(),
        io.BytesIO(path.read_bytes()),
        picture,
        pixels,
        read_image(path),
    ):
        found = pipeline.predict(source)
        assert isinstance(found, Prediction)
        assert np.array_equal(found.view, expected.view)
        assert np.array_equal(found.lungs.mask, expected.lungs.mask)
        assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-6)
    assert pipeline.predict(pixels).path == "<array>"
    assert type(pipeline.segment(path)) is Lungs


def test_several_in_a_list_out(pipeline: Pipeline, tmp_path: Path) -> None:
    paths = [saved(tmp_path / f"in/{name}.png", xray(seed=place)) for place, name in enumerate("cab")]
    assert [p.path for p in pipeline.predict(paths)] == [str(path) for path in paths]
    assert [p.path for p in pipeline.segment(tuple(paths))] == [str(path) for path in paths]
    for source in (tmp_path / "in", str(tmp_path / "in"), str(tmp_path / "in" / "*.png")):
        assert [Path(p.path).name for p in pipeline.predict(source)] == ["a.png", "b.png", "c.png"]
    assert [p.path for p in pipeline.predict(str(tmp_path / "in" / "[c]*.png"))] == [str(paths[0])]
    assert pipeline.predict([]) == []
    assert len(pipeline.predict([xray(seed=1)])) == 1


def test_a_name_with_brackets_is_a_file_if_it_exists(pipeline: Pipeline, tmp_path: Path) -> None:
    path = saved(tmp_path / "scan[1].png", xray())
    assert isinstance(pipeline.predict(str(path)), Prediction)


def test_fields(pipeline: Pipeline) -> None:
    found = pipeline.predict(xray())
    assert found.lungs.mask.shape == (150, 200)
    assert found.lungs.mask.dtype == np.bool_
    assert found.box == (25, 25, 175, 125)
    assert found.quality.ok
    assert list(found.probabilities) == list(CLASSES)
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert found.label == max(found.probabilities, key=lambda name: found.probabilities[name])
    assert (found.region, found.fallback) == ("mask", False)
    assert (found.segmenter, found.classifier) == ("tiny-segmenter", "tiny-classifier")
    assert found.pixel_spacing is None
    with pytest.raises(FrozenInstanceError):
        found.label = "Normal"


def test_to_dict_is_safe_for_json(pipeline: Pipeline) -> None:
    found = pipeline.predict(xray())
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert next(iter(values)) == "path"
    assert values["probabilities"] == found.probabilities
    assert (values["height"], values["width"], values["box"]) == (150, 200, [25, 25, 175, 125])
    assert values["quality"]["ok"] is True
    assert values["notice"] == NOTICE
    segment = pipeline.segment(xray()).to_dict()
    assert "label" not in segment
    json.dumps(segment, allow_nan=False)


@pytest.mark.parametrize("shape", [(150, 200), (217, 164)])
def test_every_road_gives_the_same_tensor(pipeline: Pipeline, tmp_path: Path, shape: tuple[int, int]) -> None:
    from lungcls.data import RadiographyDatabase
    from lungcls.data.views import find_lungs, region_views

    for number in (1, 2):
        saved(tmp_path / f"Normal/images/Normal-{number}.png", xray(shape, lungs=number))
    database = RadiographyDatabase(tmp_path)
    classifier = pipeline.classifier
    size = classifier.card.input_size
    lungs = find_lungs(database, database.records, pipeline.finder, tmp_path / "cache")
    again = find_lungs(database, database.records, pipeline.finder, tmp_path / "cache")
    trained_on = region_views([lungs[record.file] for record in database.records], classifier.region, size)
    cached = region_views([again[record.file] for record in database.records], classifier.region, size)
    assert np.array_equal(trained_on, cached)
    predictions = pipeline.predict([database.path(record) for record in database.records])
    assert [prediction.fallback for prediction in predictions] == [True, False]
    for prediction, road, record in zip(predictions, trained_on, database.records):
        assert np.array_equal(prediction.view, road)
        pixels = read_image(database.path(record)).pixels
        region = Region("full") if prediction.fallback else classifier.region
        assert np.array_equal(prediction.view, view(pixels, prediction.lungs.mask, region, size))
    seen = np.stack([prediction.view for prediction in predictions])
    expected = classifier.probabilities(seen)
    for prediction, row in zip(predictions, expected):
        assert list(prediction.probabilities.values()) == pytest.approx(row.tolist(), abs=1e-6)


def test_batches_do_not_change_answers(pipeline: Pipeline) -> None:
    sources = [xray((150 + place, 180), seed=place) for place in range(5)]
    alone = [pipeline.predict(source) for source in sources]
    for size in (1, 3, 8):
        together = list(pipeline.stream(sources, batch_size=size))
        for one, other in zip(alone, together):
            assert np.array_equal(one.view, other.view)
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_stream_reads_one_batch_ahead_and_forgets(pipeline: Pipeline) -> None:
    drawn = 0
    alive: list[weakref.ref[Any]] = []

    def sources() -> Iterator[Pixels]:
        nonlocal drawn
        for seed in range(40):
            drawn += 1
            pixels = xray(seed=seed)
            alive.append(weakref.ref(pixels))
            yield pixels
            del pixels

    stream = pipeline.stream(sources(), batch_size=3, classify=False)
    assert drawn == 0
    for count, result in enumerate(stream, 1):
        assert drawn - count < 2 * 3
        del result
        if count % 10 == 0:
            gc.collect()
            assert sum(reference() is not None for reference in alive) <= 2 * 3 + 1
    assert count == drawn == 40


def test_abandoned_stream_stops_reading(pipeline: Pipeline) -> None:
    drawn: list[int] = []

    def sources() -> Iterator[Pixels]:
        for seed in range(1000):
            drawn.append(seed)
            yield xray(seed=seed)

    stream = pipeline.stream(sources(), batch_size=2)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert len(drawn) == 4


def test_an_error_takes_only_its_own_place(pipeline: Pipeline, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing")
    sources = [xray(seed=0), bad, xray(seed=1), np.full((20, 20), 7.0), tmp_path / "gone.png", xray(seed=2)]
    found = list(pipeline.stream(sources, on_error="return"))
    kinds = [Prediction, Failure, Prediction, Failure, Failure, Prediction]
    assert [type(result) for result in found] == kinds
    assert found[1].path == str(bad)
    assert str(bad) in str(found[1].error)
    assert found[1].to_dict() == {"path": str(bad), "error": str(found[1].error)}
    for place, seed in ((0, 0), (2, 1), (5, 2)):
        assert np.array_equal(found[place].view, pipeline.predict(xray(seed=seed)).view)


def test_on_error_raise(pipeline: Pipeline, tmp_path: Path) -> None:
    stream = pipeline.stream([xray(), tmp_path / "gone.png", xray()], batch_size=3)
    assert isinstance(next(stream), Prediction)
    with pytest.raises(ImageError, match=r"gone\.png"):
        next(stream)
    with pytest.raises(ImageError, match=r"gone\.png"):
        pipeline.predict([xray(), tmp_path / "gone.png"])
    with pytest.raises(ValueError, match="on_error is 'cry'"):
        next(pipeline.stream([xray()], on_error="cry"))  # type: ignore[arg-type]


@pytest.mark.parametrize(("lungs", "reason"), [(0, "no_lungs"), (1, "one_lung")])
def test_bad_mask_lets_the_whole_image_stand_in(pipeline: Pipeline, lungs: int, reason: str) -> None:
    pixels = xray(lungs=lungs)
    found = pipeline.predict(pixels)
    assert (found.fallback, found.region) == (True, "full")
    assert [why.name for why in found.quality.reasons] == [reason]
    assert np.array_equal(found.view, whole_view(pixels, 32)[0])
    assert (found.box is None) == (lungs == 0)
    assert found.to_dict()["fallback"] is True


@pytest.mark.parametrize("lungs", [0, 1])
def test_bad_mask_refused(make: Callable[..., Pipeline], tmp_path: Path, lungs: int) -> None:
    refusing = make(on_bad_mask="refuse")
    path = saved(tmp_path / "a.png", xray(lungs=lungs))
    with pytest.raises(LungMaskError, match=r"a\.png: refused.*on_bad_mask='whole'"):
        refusing.predict(path)
    found = list(refusing.stream([xray(), path, xray(seed=1)], on_error="return"))
    assert [type(result) for result in found] == [Prediction, Failure, Prediction]
    assert isinstance(found[1].error, LungMaskError)
    assert next(refusing.stream([path], on_error="return")).path == str(path)
    assert refusing.segment(path).mask.any() == bool(lungs)


def test_region_full_needs_no_lungs(
    make: Callable[..., Pipeline], tiny_classifier: Path, make_card_values: Any, tmp_path: Path
) -> None:
    from lungcls.weights import load_state, save_weights

    _, state = load_state(tiny_classifier)
    full = save_weights(tmp_path, state, **make_card_values(name="whole", region={"name": "full"}))
    pixels = xray(lungs=0)
    found = make(classifier=full).predict(pixels)
    with pytest.raises(OptionError, match="sees the whole image and needs no mask"):
        make(classifier=full, on_bad_mask="refuse")
    assert (found.region, found.fallback, found.quality.ok) == ("full", False, False)
    assert np.array_equal(found.view, whole_view(pixels, 32)[0])


def test_value_range_and_pixel_limit(make: Callable[..., Pipeline], tmp_path: Path) -> None:
    wide = xray() * 2000 - 1000
    small = make(max_megapixels=0.01)
    with pytest.raises(ImageError, match="value_range"):
        small.segment(wide[:80, :80])
    found = make().segment(wide, value_range=(-1000, 1000))
    assert np.array_equal(found.mask, xray() < 0.3)
    path = saved(tmp_path / "a.png", xray())
    with pytest.raises(ImageError, match="megapixels"):
        small.segment(path)


def test_segment_loads_no_classifier(make: Callable[..., Pipeline], tmp_path: Path) -> None:
    pipeline = make()
    assert pipeline.segment(xray()).quality.ok
    assert pipeline._answerer is None
    with pytest.raises(WeightsError, match="classifier-background: no such weight file"):
        make(classifier=None, region="background")
    with pytest.raises(WeightsError, match=r"gone\.safetensors"):
        make(classifier=tmp_path / "gone.safetensors")


def test_clean_up_switches_reach_stage_1(make: Callable[..., Pipeline], tiny_segmenter: Path) -> None:
    stage = make(segmenter=tiny_segmenter, fill_holes=False, keep_parts=0).segmenter
    assert (stage.fill_holes, stage.keep_parts) == (False, 0)
    stage = make(segmenter=tiny_segmenter).segmenter
    assert (stage.fill_holes, stage.keep_parts) == (True, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_bad_mask": "cry"}, "on_bad_mask is 'cry'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"classifier": None, "region": "liver"}, "unknown region 'liver'"),
        ({"region": "liver"}, "unknown region 'liver'"),
        ({"tta": -1}, "tta is -1"),
        ({"coverage": 90}, "coverage is 90"),
        ({"device": "quantum"}, "unknown device 'quantum'"),
        ({"device": "cuda:99"}, "'cuda:99' is not available"),
        ({"device": "meta"}, "unknown device 'meta'"),
        ({"fallback": "classifier-mask"}, "expected a classifier of whole films"),
    ],
)
def test_wrong_options(
    make: Callable[..., Pipeline], tiny_segmenter: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        make(segmenter=tiny_segmenter, **options)


def test_a_region_and_weights_of_another_contradict_each_other(make: Callable[..., Pipeline]) -> None:
    assert make(region="mask").classifier.region.name == "mask"
    with pytest.raises(OptionError, match="sees the region 'mask', not 'full'; leave out the region"):
        make(region="full")


def test_a_loaded_segmenter_keeps_its_own_switches(
    make: Callable[..., Pipeline], tiny_segmenter: Path
) -> None:
    stage = make(segmenter=tiny_segmenter, keep_parts=0).segmenter
    assert make(segmenter=stage).segmenter.keep_parts == 0
    with pytest.raises(ValueError, match="fill_holes and keep_parts given beside a loaded segmenter"):
        make(segmenter=stage, keep_parts=2, fill_holes=True)


def test_module_functions_see_that_a_weight_file_has_changed(
    tiny_segmenter: Path, tiny_classifier: Path, make_card_values: Any, tmp_path: Path
) -> None:
    from lungcls.weights import load_state, save_weights

    _, state = load_state(tiny_classifier)
    options = {"segmenter": tiny_segmenter, "gate": None, "device": "cpu"}
    path = save_weights(tmp_path, state, **make_card_values(name="again"))
    before = lungcls.predict(xray(), classifier=path, **options)
    other = {key: value * (-3 if key.startswith("classifier") else 1) for key, value in state.items()}
    assert save_weights(tmp_path, other, **make_card_values(name="again")) == path
    after = lungcls.predict(xray(), classifier=path, **options)
    assert after.probabilities == Pipeline(classifier=path, **options).predict(xray()).probabilities
    assert after.probabilities != before.probabilities
    with pytest.raises(ValueError, match=r"for several use lungcls\.Ensemble"):
        lungcls.predict(xray(), classifier=[path, path], **options)


def test_weights_of_the_other_stage(make: Callable[..., Pipeline], tiny_segmenter: Path) -> None:
    with pytest.raises(WeightsError, match="are for segmentation"):
        _ = make(classifier=tiny_segmenter).classifier


def test_module_functions_keep_the_pipeline_loaded(
    tiny_segmenter: Path, tiny_classifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = {"segmenter": str(tiny_segmenter), "classifier": str(tiny_classifier)}
    options: dict[str, Any] = {**stages, "gate": None, "device": "cpu"}
    loads = []
    load = Segmenter.load.__func__  # type: ignore[attr-defined]

    def counting(cls: Any, *arguments: Any, **keywords: Any) -> Any:
        loads.append(arguments)
        return load(cls, *arguments, **keywords)

    monkeypatch.setattr(Segmenter, "load", classmethod(counting))
    _kept.cache_clear()
    first = lungcls.predict(xray(), **options)
    again = lungcls.predict(xray(), **options)
    assert first.probabilities == again.probabilities
    assert lungcls.segment(xray(), **options).mask.shape == (150, 200)
    assert len(loads) == 1

    answers: list[Any] = [None] * 4

    def work(place: int) -> None:
        answers[place] = lungcls.predict(xray(seed=place), **options)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place, answer in enumerate(answers):
        alone = lungcls.predict(xray(seed=place), **options)
        assert np.array_equal(answer.view, alone.view)
        assert answer.probabilities == pytest.approx(alone.probabilities, abs=1e-6)
    assert len(loads) == 1
    _kept.cache_clear()


def test_library_prints_nothing_and_leaves_global_state_alone(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    before = np.random.get_state()[1].copy(), torch.get_rng_state(), torch.get_num_threads()  # noqa: NPY002
    pipeline.predict([xray(), xray(lungs=0)])
    assert np.array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (before[2], True)
    assert capsys.readouterr() == ("", "")


def test_test_time_augmentation_is_the_mean_over_changed_views(
    make: Callable[..., Pipeline], pipeline: Pipeline
) -> None:
    sources = [xray(seed=seed) for seed in range(3)]
    found = make(tta=3, batch_size=2).predict(sources)
    views = np.stack([prediction.view for prediction in pipeline.predict(sources)])
    every = [views, *(changed_views(views, number) for number in range(3))]
    members = np.stack([pipeline.classifier.probabilities(each) for each in every])
    for place, prediction in enumerate(found):
        assert np.array_equal(prediction.view, views[place])
        own = members[:, place]
        assert list(prediction.probabilities.values()) == pytest.approx(own.mean(axis=0).tolist(), abs=1e-6)
        assert prediction.spread is not None
        assert list(prediction.spread.values()) == pytest.approx(own.std(axis=0).tolist(), abs=1e-6)
        assert prediction.disagreement == pytest.approx(float(disagreement(own)), abs=1e-6)
    plain = pipeline.predict(sources[0])
    assert (plain.spread, plain.disagreement) == (None, None)


def test_sets_come_from_the_plain_view_and_the_card(
    make: Callable[..., Pipeline], tiny_classifier: Path, make_card_values: Any, tmp_path: Path
) -> None:
    from lungcls.evaluation.conformal import fit_conformal
    from lungcls.weights import load_state, save_weights

    rng = np.random.default_rng(0)
    stored = fit_conformal(rng.dirichlet(np.ones(4), 99), rng.integers(0, 4, 99), range(99), CLASSES)
    _, state = load_state(tiny_classifier)
    path = save_weights(tmp_path, state, **make_card_values(), conformal=stored)
    plain, changed = (make(classifier=path, coverage=0.8, tta=tta).predict(xray()) for tta in (0, 2))
    expected = p_values([list(plain.probabilities.values())], stored, CLASSES)[0]
    for found in (plain, changed):
        assert list(found.p_values.values()) == pytest.approx(expected.tolist())
        assert found.coverage == 0.8
        inside = {name for name, value in zip(CLASSES, expected) if value > 0.2} | {found.label}
        least = min(found.probabilities[name] for name in inside)
        assert set(found.conformal_set) == {c for c in CLASSES if found.probabilities[c] >= least}
    none = make(classifier=path, coverage=None).predict(xray())
    assert (none.coverage, none.conformal_set) == (None, ())
    assert none.set_at(0.8) == plain.conformal_set
    without = make().predict(xray())
    assert (without.p_values, without.coverage, without.conformal_set) == (None, None, ())


def test_real_images(pipeline: Pipeline, real_data: Path) -> None:
    with (real_data / "radiography/manifest.csv").open(newline="") as file:
        paths = [real_data / "radiography" / row["file"] for _, row in zip(range(5), csv.DictReader(file))]
    for path, found in zip(paths, pipeline.predict(paths)):
        with Image.open(path) as image:
            assert found.overlay().size == image.size
            assert found.lungs.mask.shape == image.size[::-1]


def test_own_masks_stand_in_for_stage_1(pipeline: Pipeline, tmp_path: Path) -> None:
    pixels = xray()
    mask = np.zeros(pixels.shape, np.bool_)
    mask[30:120, 25:80] = mask[30:120, 110:180] = True
    alone = pipeline.predict(pixels, masks=mask)
    assert np.array_equal(alone.lungs.mask, mask)
    assert alone.segmenter == "own mask"
    assert np.array_equal(alone.view, view(pixels, mask, pipeline.classifier.region, 32))
    path = tmp_path / "mask.png"
    Image.fromarray(np.kron(mask, np.ones((2, 2), np.uint8)).astype(np.uint8) * 255).save(path)
    found = pipeline.predict([pixels, pixels], masks=[path, None])
    assert np.array_equal(found[0].lungs.mask, mask)
    assert [one.quality.reasons[0].name for one in found[1:]] == ["no_lungs"]
    with pytest.raises(ImageError, match="expected the film's proportions"):
        pipeline.predict(pixels, masks=mask.T)


def test_a_torch_module_serves_as_either_stage(make: Callable[..., Pipeline]) -> None:
    import torch
    from torch import nn

    class Dark(nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return (0.3 - batch) * 100

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 1)

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return self.layer(batch).mean((2, 3))

    stage_1 = Segmenter.of_module(Dark(), input_size=160, mean=0.0, std=1.0)
    found = make(segmenter=stage_1, classifier=Mean(), region="crop").predict(xray((160, 160)))
    assert np.mean(found.lungs.mask == (xray((160, 160)) < 0.3)) > 0.99
    assert (found.region, found.fallback, found.classifier) == ("crop", False, "Mean")
    assert found.view.shape == (224, 224)
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert found.p_values is None
    with pytest.raises(OptionError, match=r"expected logits \(2, 3\)"):
        Classifier.of_module(Mean(), classes=("a", "b", "c"))
    with pytest.raises(OptionError, match="expected the name or path of weights"):
        make(classifier=len)
    with pytest.raises(OptionError, match=r"does not take a batch \[2, 1, 8, 8\]"):
        Classifier.of_module(nn.Conv2d(1, 4, 9), input_size=8)


def test_what_stands_for_several_images_gives_a_list(pipeline: Pipeline) -> None:
    import torch

    batch = torch.from_numpy(np.stack([xray(seed=seed) for seed in range(3)]))[:, None]
    alone = [pipeline.predict(xray(seed=seed)).probabilities for seed in range(3)]
    for source in (batch, batch.numpy(), (xray(seed=seed) for seed in range(3)), [batch, torch.zeros(3)]):
        found = pipeline.predict(source)
        for one, expected in zip(found, alone, strict=True):
            assert one.probabilities == pytest.approx(expected, abs=1e-5)


def test_a_list_becomes_a_table(pipeline: Pipeline) -> None:
    pytest.importorskip("pandas", reason="the table is pandas'")
    table = pipeline.predict([xray(), xray(lungs=0)]).to_dataframe()
    assert list(table["fallback"]) == [False, True]
    assert list(table.columns[:6]) == ["path", "label", *CLASSES]
    assert table[list(CLASSES)].sum(axis=1).tolist() == pytest.approx([1, 1])


def test_the_released_classifier_of_whole_films_answers_where_no_lungs_were_found(
    dark_segmenter: Segmenter,
) -> None:
    pipeline = Pipeline(segmenter=dark_segmenter, device="cpu", gate=None)
    plain, whole = pipeline.predict([xray(), xray(lungs=0)])
    assert (plain.classifier, plain.fallback) == ("classifier-mask", False)
    assert (whole.classifier, whole.fallback, whole.tier) == ("classifier-full", True, "low")
    full = Pipeline(region="full", segmenter=dark_segmenter, device="cpu", gate=None).predict(xray(lungs=0))
    assert whole.probabilities == pytest.approx(full.probabilities, abs=1e-6)
    assert "answered for the whole film by classifier-full" in whole.words()
    explained = pipeline.explain(xray(lungs=0), method="occlusion")
    assert explained.classifier == "classifier-full"


def test_repr_is_short_and_a_notebook_shows_film_and_bars(pipeline: Pipeline) -> None:
    found = pipeline.predict(xray())
    assert len(repr(found)) < 200
    assert repr(found).startswith("Prediction('<array>', ")
    assert repr(found.lungs) == "Lungs('<array>', 200 x 150, box=(25, 25, 175, 125), nothing wrong)"
    page = found._repr_html_()
    assert all(name in page for name in CLASSES)


def test_all_that_python_gives_out_says_itself_in_a_line(pipeline: Pipeline, tmp_path: Path) -> None:
    film = lungcls.read_image(saved(tmp_path / "a.png", xray()))
    several = pipeline.predict([film] * 30)
    stages = [
        pipeline,
        lungcls.Ensemble([pipeline]),
        pipeline.finder,
        pipeline.segmenter,
        pipeline.classifier,
    ]
    shown = [film, several, several[0], several[0].lungs, pipeline.explain(film, method="occlusion")]
    others = [pipeline.classifier.region, lungcls.REGIONS["mask"], lungcls.Failure("a", ImageError("gone"))]
    for thing in (*stages, *shown, *others):
        assert repr(thing).partition("(")[0] in lungcls.__all__
        assert len(repr(thing)) < 300
        assert "\n" not in repr(thing)
    assert repr(film) == f"Image({str(tmp_path / 'a.png')!r}, 200 x 150)"
    assert repr(several).startswith("Predictions(30 films, ")
    for thing in shown:
        page = thing._repr_html_()
        assert "a.png" in page
        assert ("data:image/png;base64," in page) != (thing is several)
    assert "and 10 more" in several._repr_html_()
