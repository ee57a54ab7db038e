"""The two stages, end to end: anything that holds a chest X-ray in, lungs and class probabilities out."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, cast, overload

import numpy as np

from lungcls.classifier import Classifier
from lungcls.conformal import checked_coverage, p_values
from lungcls.errors import LungclsError, LungMaskError, OptionError, RejectedError
from lungcls.files import fingerprint
from lungcls.finder import assess
from lungcls.gate.gate import Gate
from lungcls.images import Image, ImageSource, find_images, read_image
from lungcls.pixels import MAX_MEGAPIXELS
from lungcls.prediction import Failure, Prediction, Segmentation
from lungcls.quality import Quality
from lungcls.regions import Region, View, lung_box, view
from lungcls.segmenter import Segmenter
from lungcls.uncertainty import changed_views, disagreement
from lungcls.weights import find_weights

OnBadMask: TypeAlias = Literal["whole", "refuse"]
OnReject: TypeAlias = Literal["flag", "raise", "abstain"]
OnError: TypeAlias = Literal["raise", "return"]
Answer = TypeVar("Answer", Segmentation, Prediction)

_WHOLE = Region("full")


class Pipeline:
    """Both stages, loaded once.

    Parameters
    ----------
    region : str, optional
        Which released classifier: the one trained on this region of the image. By default that of
        `classifier`, and ``mask`` without either.
    classifier : str or path-like, optional
        Weights of stage 2, by released name or path; by default ``classifier-<region>``.
    segmenter : str, path-like or Segmenter, default="segmenter"
        Weights of stage 1, by released name or path, or a loaded stage to share.
    device : {"auto", "cpu", "cuda", "cuda:N", "mps"}, default="auto"
    engine : {"auto", "torch", "onnxruntime", "openvino"}, default="auto"
        What runs the networks: ``auto`` is torch where it is installed, else the first of the others that is.
    precision : {"fp32", "bf16"}, default="fp32"
        Arithmetic inside the networks.
    batch_size : int, default=16
        Images that go through the networks together.
    on_bad_mask : {"whole", "refuse"}, default="whole"
        What to do where no lungs or only one were found and the region needs them: let the whole image stand
        in (``fallback`` of the prediction says so, ``quality`` says why), or raise LungMaskError.
    on_reject : {"flag", "raise", "abstain"}, default="flag"
        What to do where something is wrong with an image (``quality`` says what): ``flag`` gives the label
        all the same, unless the image is no chest X-ray; ``abstain`` gives none (``label`` is None) whatever
        is wrong; ``raise`` raises RejectedError. What could be corrected, as inverted grey levels, is not
        wrong.
    gate : str, path-like, Gate or None, default="gate"
        Weights of the quality gate, by released name or path, or a loaded one to share; None for none.
    fill_holes : bool, optional
        Fill holes in the lung mask; True unless `segmenter` is a loaded stage, which says so itself.
    keep_parts : int, optional
        Keep this many of the mask's largest parts; 0 keeps all. 2 unless `segmenter` is a loaded stage.
    max_megapixels : float, default=64
        Larger images are refused.
    tta : int, default=0
        Test-time augmentation: stage 2 sees so many slightly changed views besides the plain one
        (:func:`lungcls.uncertainty.changed_views`), and the probabilities are the mean over all. Predictions
        then have a ``spread`` and a ``disagreement``. Stage 2 takes ``1 + tta`` times as long.
    coverage : float or None, default=0.9
        How often a prediction's ``conformal_set`` shall hold the true class; None for no sets. There are none
        either where the card of the weights has no conformal scores (``lungcls calibrate`` makes them).

    Raises
    ------
    WeightsError
        If weights are missing or damaged; those of stage 2 when they are first asked for.
    ValueError
        If an option is unknown, options contradict each other, or the device is not available.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        classifier: str | Path | None = None,
        segmenter: str | Path | Segmenter = "segmenter",
        device: str = "auto",
        engine: str = "auto",
        precision: str = "fp32",
        batch_size: int = 16,
        on_bad_mask: OnBadMask = "whole",
        on_reject: OnReject = "flag",
        gate: str | Path | Gate | None = "gate",
        fill_holes: bool | None = None,
        keep_parts: int | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
        tta: int = 0,
        coverage: float | None = 0.9,
    ) -> None:
        if on_bad_mask not in ("whole", "refuse"):
            raise OptionError(f"on_bad_mask is {on_bad_mask!r}; expected 'whole' or 'refuse'")
        if on_reject not in ("flag", "raise", "abstain"):
            raise OptionError(f"on_reject is {on_reject!r}; expected 'flag', 'raise' or 'abstain'")
        if batch_size < 1:
            raise OptionError(f"batch_size is {batch_size}; expected at least 1")
        if tta < 0:
            raise OptionError(f"tta is {tta}; expected 0 (none) or a number of changed views")
        if coverage is not None:
            checked_coverage(coverage)
        # Stage 2 is loaded when it is first asked for: segment() alone needs half of the memory.
        self._classifier_weights = classifier or f"classifier-{Region(region or 'mask').name}"
        self._region = region if region is None else Region(region).name
        running: dict[str, Any] = {"engine": engine, "precision": precision}
        given = {"fill_holes": fill_holes, "keep_parts": keep_parts}
        cleaning: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if not isinstance(segmenter, Segmenter):
            segmenter = Segmenter.load(segmenter, device, **running, **cleaning)
        elif cleaning:
            raise OptionError(
                f"{' and '.join(cleaning)} given beside a loaded segmenter, which has its own; give them to "
                "Segmenter.load"
            )
        self.segmenter = segmenter
        self.gate = gate if isinstance(gate, Gate) or gate is None else Gate.load(gate, device, **running)
        self._device = device
        self._running = running
        self._classifier: Classifier | None = None
        self.batch_size = batch_size
        self.on_bad_mask = on_bad_mask
        self.on_reject = on_reject
        self.max_megapixels = max_megapixels
        self.tta = tta
        self.coverage = coverage

    @property
    def classifier(self) -> Classifier:
        """Stage 2; WeightsError where its weights are missing, ValueError where they see another region."""
        if self._classifier is None:
            found = Classifier.load(self._classifier_weights, self._device, **self._running)
            if self._region not in (None, found.region.name):
                raise OptionError(
                    f"{self._classifier_weights} sees the region {found.region.name!r}, not "
                    f"{self._region!r}; leave out the region"
                )
            self._classifier = found
        return self._classifier

    @property
    def precision(self) -> str:
        """Arithmetic inside the networks."""
        return str(self._running["precision"])

    @property
    def classifiers(self) -> list[Classifier]:
        """Stage 2 as a list, of one but for an Ensemble."""
        return [self.classifier]

    @overload
    def predict(
        self, source: list[Any] | tuple[Any, ...], *, value_range: tuple[float, float] | None = None
    ) -> list[Prediction]: ...
    @overload
    def predict(
        self, source: ImageSource, *, value_range: tuple[float, float] | None = None
    ) -> Prediction: ...
    def predict(self, source: Any, *, value_range: tuple[float, float] | None = None) -> Any:
        """Classify one image, or several.

        Parameters
        ----------
        source : image source, or a list, folder or glob of them
            Anything that :func:`lungcls.images.read_image` reads.
        value_range : (low, high), optional
            Of float arrays outside [0, 1]: what is black and what is white.

        Returns
        -------
        Prediction or list of Prediction
            One in, one out; a list, a folder or a glob in, a list out.

        Raises
        ------
        ImageError
            If an image cannot be read.
        LungMaskError
            If no lungs or only one were found and ``on_bad_mask="refuse"``.
        RejectedError
            If something is wrong with an image and ``on_reject="raise"``.
        """
        return self._one_or_many(source, value_range, classify=True)

    def segment(self, source: Any, *, value_range: tuple[float, float] | None = None) -> Any:
        """Find the lungs of one image, or of several; parameters and errors as :meth:`predict`.

        Returns
        -------
        Segmentation or list of Segmentation
        """
        return self._one_or_many(source, value_range, classify=False)

    def explain(
        self,
        source: Any,
        *,
        method: str = "gradcam",
        target: str | None = None,
        layer: str | None = None,
        value_range: tuple[float, float] | None = None,
    ) -> Any:
        """Show where one image, or each of several, holds what speaks for a class.

        Parameters
        ----------
        source, value_range
            As :meth:`predict` takes them.
        method : str, default="gradcam"
            One of :data:`lungcls.explanation.METHODS`: ``gradcam``, ``gradcam++``, ``hirescam``,
            ``layercam``, ``integrated_gradients``, ``occlusion``.
        target : str, optional
            The class to explain; by default the most probable one of each image.
        layer : str, optional
            Submodule of the network that a CAM is made from; by default the last feature map.

        Returns
        -------
        Explanation or list of Explanation
            One in, one out; a list, a folder or a glob in, a list out. Predictions whose label was withheld
            and those by the whole image are explained like all others; of an ensemble, the first member is.

        Raises
        ------
        ImageError, LungMaskError, RejectedError
            As :meth:`predict`.
        MissingExtraError
            If the packages of the extra ``explain`` are missing.
        ValueError
            If an option is unknown, or the engine is not torch.
        """
        several = _several(source)
        sources = [source] if several is None else several
        options: dict[str, Any] = {"method": method, "target": target, "layer": layer}
        results = list(self.explain_stream(sources, value_range=value_range, **options))
        return results[0] if several is None else results

    def explain_stream(
        self,
        sources: Iterable[ImageSource],
        *,
        method: str = "gradcam",
        target: str | None = None,
        layer: str | None = None,
        batch_size: int | None = None,
        value_range: tuple[float, float] | None = None,
        on_error: OnError = "raise",
    ) -> Iterator[Any]:
        """Explain any number of images in constant memory; parameters as :meth:`explain` and :meth:`stream`.

        Yields
        ------
        Explanation or Failure
            In the order of the sources.
        """
        from lungcls.explanation import explain_stream

        size = batch_size or self.batch_size
        results = self.stream(sources, batch_size=size, value_range=value_range, on_error=on_error)
        return explain_stream(
            results, self.classifier, batch_size=size, method=method, target=target, layer=layer
        )

    def stream(
        self,
        sources: Iterable[ImageSource],
        *,
        batch_size: int | None = None,
        value_range: tuple[float, float] | None = None,
        on_error: OnError = "raise",
        classify: bool = True,
    ) -> Iterator[Any]:
        """Work through any number of images in constant memory.

        Parameters
        ----------
        sources : iterable of image sources
            Read lazily, one batch ahead of the networks.
        batch_size : int, optional
            By default the pipeline's.
        value_range : (low, high), optional
            As in :meth:`predict`.
        on_error : {"raise", "return"}, default="raise"
            ``return`` yields a Failure in place of an input that cannot be read or is refused, and goes on.
        classify : bool, default=True
            False yields Segmentation, without stage 2.

        Yields
        ------
        Prediction, Segmentation or Failure
            In the order of the sources.

        Raises
        ------
        ImageError, LungMaskError, RejectedError
            As :meth:`predict`, with ``on_error="raise"``.
        """
        if on_error not in ("raise", "return"):
            raise OptionError(f"on_error is {on_error!r}; expected 'raise' or 'return'")
        run = self._predict_batch if classify else self._segment_batch
        remaining = iter(sources)
        size = batch_size or self.batch_size
        with ThreadPoolExecutor(min(size, os.cpu_count() or 1)) as pool:

            def submit() -> list[tuple[ImageSource, Future[Image]]]:
                batch = itertools.islice(remaining, size)
                return [(item, pool.submit(self._read, item, value_range)) for item in batch]

            following = submit()
            while following:
                # The next batch is decoded while the networks work on this one.
                current, following = following, submit()
                yield from self._finish(current, run, value_range, on_error)

    def _finish(
        self,
        batch: list[tuple[ImageSource, Future[Image]]],
        run: Any,
        value_range: tuple[float, float] | None,
        on_error: OnError,
    ) -> Iterator[Any]:
        """Answer one batch in order; a failure takes only its own place."""
        results: list[Any] = []
        images = []
        for source, future in batch:
            try:
                images.append((len(results), source, future.result()))
                results.append(None)
            except LungclsError as error:
                results.append(Failure(_name(source), error))
        answers = run([image for _, _, image in images], [source for _, source, _ in images], value_range)
        for (place, _, _), answer in zip(images, answers):
            results[place] = answer
        for result in results:
            if isinstance(result, Failure) and on_error == "raise":
                raise result.error
            yield result

    def _one_or_many(self, source: Any, value_range: tuple[float, float] | None, *, classify: bool) -> Any:
        several = _several(source)
        sources = [source] if several is None else several
        results = list(self.stream(sources, value_range=value_range, classify=classify))
        return results[0] if several is None else results

    def _read(self, source: ImageSource, value_range: tuple[float, float] | None) -> Image:
        return read_image(source, value_range=value_range, max_megapixels=self.max_megapixels)

    def _segment_batch(
        self, images: Sequence[Image], sources: Sequence[ImageSource], value_range: Any
    ) -> list[Segmentation | Failure]:
        return [
            self._refused(values) or Segmentation(**values)
            for values in self._stage_one(images, sources, value_range)
        ]

    def _predict_batch(
        self, images: Sequence[Image], sources: Sequence[ImageSource], value_range: Any
    ) -> list[Prediction | Failure]:
        return self._stage_two(images, self._stage_one(images, sources, value_range))

    def _stage_two(
        self, images: Sequence[Image], found: Iterable[dict[str, Any]]
    ) -> list[Prediction | Failure]:
        """Classify images of which stage 1 found so much."""
        classifier = self.classifier
        region, size = classifier.region, classifier.card.input_size
        results: list[Prediction | Failure | None] = []
        waiting = []
        for image, values in zip(images, found):
            quality = values["quality"]
            if refused := self._refused(values):
                results.append(refused)
                continue
            bad = region.needs_mask and not quality.both_lungs
            if bad and self.on_bad_mask == "refuse":
                reasons = "; ".join(reason.message for reason in quality.reasons)
                message = (
                    f"{image.name}: refused, {reasons}. The region {region.name!r} needs both lungs; "
                    "on_bad_mask='whole' lets the whole image stand in"
                )
                results.append(Failure(image.name, LungMaskError(message)))
                continue
            pixels = quality.apply(image.pixels)
            seen = view(pixels, values["lung_mask"], _WHOLE if bad else region, size)
            waiting.append((len(results), seen, bad, values))
            results.append(None)
        if waiting:
            answers = self._answers(np.stack([seen for _, seen, _, _ in waiting]))
            for (place, seen, bad, values), answer in zip(waiting, answers):
                if self._withholds(values["quality"]):
                    answer["label"] = None
                results[place] = Prediction(
                    **values,
                    **answer,
                    region=_WHOLE.name if bad else region.name,
                    fallback=bad,
                    view=seen,
                    classifier=classifier.card.name,
                )
        return cast("list[Prediction | Failure]", results)

    def _withholds(self, quality: Quality) -> bool:
        return not quality.accepted or (self.on_reject == "abstain" and not quality.ok)

    def _refused(self, values: dict[str, Any]) -> Failure | None:
        """The failure of an image with which something is wrong, where that is to be raised."""
        quality = values["quality"]
        if self.on_reject != "raise" or quality.ok:
            return None
        reasons = "; ".join(
            f"{reason.name} ({reason.message}: {reason.value:.3g}, threshold {reason.threshold:.3g})"
            for reason in quality.reasons
            if not reason.corrected
        )
        message = f"{values['path']}: rejected, {reasons}. on_reject='flag' answers all the same and says so"
        return Failure(values["path"], RejectedError(message))

    def _answers(self, views: View) -> Iterator[dict[str, Any]]:
        """What stage 2 says of each view: the fields of a Prediction that come from probabilities."""
        card = self.classifier.card
        changed = (changed_views(views, number) for number in range(self.tta))
        # One pass a change, so that memory does not grow with their number.
        members = np.stack([self.classifier.probabilities(each) for each in (views, *changed)])
        # The scores were calibrated on plain views: those of changed ones would not keep the coverage.
        fit = p_values(members[0], card.conformal, card.classes) if card.conformal else None
        doubt = disagreement(members)
        for index, row in enumerate(members.mean(axis=0)):
            yield {
                "label": card.classes[int(row.argmax())],
                "probabilities": dict(zip(card.classes, row.tolist())),
                "p_values": None if fit is None else dict(zip(card.classes, fit[index].tolist())),
                "coverage": None if fit is None else self.coverage,
                "spread": dict(zip(card.classes, members[:, index].std(axis=0).tolist()))
                if self.tta
                else None,
                "disagreement": float(doubt[index]) if self.tta else None,
            }

    def _stage_one(
        self, images: Sequence[Image], sources: Sequence[ImageSource], value_range: Any
    ) -> Iterator[dict[str, Any]]:
        """What a Segmentation and a Prediction have in common, for each image."""
        options = {"value_range": value_range, "max_megapixels": self.max_megapixels}
        pixels = [image.pixels for image in images]
        screened = self.gate.screen(pixels) if self.gate else [None] * len(pixels)
        pixels = [one.apply(image) if one else image for one, image in zip(screened, pixels)]
        masks = self.segmenter.segment_with_agreement(pixels)
        for image, source, screening, (mask, agreement) in zip(images, sources, screened, masks):
            yield {
                "path": image.name,
                "lung_mask": mask,
                "box": lung_box(mask),
                "quality": assess(mask, agreement, screening),
                "pixel_spacing": image.pixel_spacing,
                "segmenter": self.segmenter.card.name,
                "_origin": os.fspath(source) if isinstance(source, (str, os.PathLike)) else image.pixels,
                "_options": options,
            }


def predict(source: Any, *, value_range: tuple[float, float] | None = None, **options: Any) -> Any:
    """Classify one chest X-ray, or several, with a pipeline that stays loaded.

    Parameters
    ----------
    source : image source, or a list, folder or glob of them
        Anything that :func:`lungcls.images.read_image` reads: a path, bytes, an open file, a PIL image, an
        array, a tensor.
    value_range : (low, high), optional
        Of float arrays outside [0, 1]: what is black and what is white.
    **options
        Of :class:`Pipeline`, such as ``region="full"`` or ``device="cpu"``.

    Returns
    -------
    Prediction or list of Prediction
        One in, one out; a list, a folder or a glob in, a list out.

    Raises
    ------
    ImageError
        If an image cannot be read.
    LungMaskError
        If no lungs or only one were found and ``on_bad_mask="refuse"``.
    RejectedError
        If something is wrong with an image and ``on_reject="raise"``.
    WeightsError
        If weights are missing or damaged.

    Notes
    -----
    For research and education only, never for diagnosis.
    """
    return _loaded(**options).predict(source, value_range=value_range)


def segment(source: Any, *, value_range: tuple[float, float] | None = None, **options: Any) -> Any:
    """Find the lungs of one chest X-ray, or of several; parameters and errors as :func:`predict`.

    Returns
    -------
    Segmentation or list of Segmentation
    """
    return _loaded(**options).segment(source, value_range=value_range)


def explain(
    source: Any,
    *,
    method: str = "gradcam",
    target: str | None = None,
    layer: str | None = None,
    value_range: tuple[float, float] | None = None,
    **options: Any,
) -> Any:
    """Show where one chest X-ray, or each of several, holds what speaks for a class.

    Parameters
    ----------
    source, value_range, **options
        As :func:`predict` takes them.
    method, target, layer
        As :meth:`Pipeline.explain` takes them.

    Returns
    -------
    Explanation or list of Explanation
        One in, one out; a list, a folder or a glob in, a list out.

    Raises
    ------
    ImageError, LungMaskError, WeightsError
        As :func:`predict`.
    MissingExtraError
        If the packages of the extra ``explain`` are missing.
    ValueError
        If an option is unknown, or the engine is not torch.
    """
    pipeline = _loaded(**options)
    return pipeline.explain(source, method=method, target=target, layer=layer, value_range=value_range)


def _loaded(**options: Any) -> Pipeline:
    classifier = options.get("classifier")
    if isinstance(classifier, (list, tuple)):
        raise OptionError(f"classifier is {classifier!r}; expected one, for several use lungcls.Ensemble")
    named = [options.get(stage) for stage in ("segmenter", "classifier", "gate")]
    files = [find_weights(name) for name in named if isinstance(name, (str, Path))]
    states = tuple(fingerprint(one) for path in files for one in (path, path.with_suffix(".json")))
    return _kept(states, **options)


@lru_cache(maxsize=4)
def _kept(states: Any, **options: Any) -> Pipeline:
    """A pipeline that stays loaded as long as its files, whose `states` tell them apart, stay as they are."""
    return Pipeline(**options)


def _several(source: Any) -> list[Any] | None:
    """The inputs that a list, a folder or a glob stands for; None for a single image."""
    if isinstance(source, (list, tuple)):
        return list(source)
    if isinstance(source, (str, os.PathLike)):
        text = os.fspath(source)
        if os.path.isdir(text) or (any(sign in text for sign in "*?[") and not os.path.exists(text)):
            return list(find_images([text]))
    return None


def _name(source: Any) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return f"<{type(source).__name__}>"
