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
from lungcls.errors import LungclsError, LungMaskError
from lungcls.images import Image, ImageSource, find_images, read_image
from lungcls.pixels import MAX_MEGAPIXELS
from lungcls.prediction import Failure, Prediction, Segmentation
from lungcls.quality import mask_quality
from lungcls.regions import Region, lung_box, view
from lungcls.segmenter import Segmenter

OnBadMask: TypeAlias = Literal["whole", "refuse"]
OnError: TypeAlias = Literal["raise", "return"]
Answer = TypeVar("Answer", Segmentation, Prediction)

_WHOLE = Region("full")


class Pipeline:
    """Both stages, loaded once.

    Parameters
    ----------
    region : str, default="mask"
        Which released classifier: the one trained on this region of the image.
    classifier : str or path-like, optional
        Weights of stage 2, by released name or path; by default ``classifier-<region>``.
    segmenter : str or path-like, default="segmenter"
        Weights of stage 1, by released name or path.
    device : {"auto", "cpu", "cuda", "cuda:N", "mps"}, default="auto"
    batch_size : int, default=16
        Images that go through the networks together.
    on_bad_mask : {"whole", "refuse"}, default="whole"
        What to do where no lungs or only one were found and the region needs them: let the whole image stand
        in (``fallback`` of the prediction says so, ``quality`` says why), or raise LungMaskError.
    fill_holes : bool, default=True
        Fill holes in the lung mask.
    keep_parts : int, default=2
        Keep this many of the mask's largest parts; 0 keeps all.
    max_megapixels : float, default=64
        Larger images are refused.

    Raises
    ------
    WeightsError
        If weights are missing or damaged.
    ValueError
        If an option is unknown or the device is not available.
    """

    def __init__(
        self,
        *,
        region: str = "mask",
        classifier: str | Path | None = None,
        segmenter: str | Path = "segmenter",
        device: str = "auto",
        batch_size: int = 16,
        on_bad_mask: OnBadMask = "whole",
        fill_holes: bool = True,
        keep_parts: int = 2,
        max_megapixels: float = MAX_MEGAPIXELS,
    ) -> None:
        if on_bad_mask not in ("whole", "refuse"):
            raise ValueError(f"on_bad_mask is {on_bad_mask!r}; expected 'whole' or 'refuse'")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; expected at least 1")
        self.segmenter = Segmenter.load(segmenter, device, fill_holes=fill_holes, keep_parts=keep_parts)
        # Stage 2 is loaded when it is first asked for: segment() alone needs half of the memory.
        self._classifier_weights = classifier or f"classifier-{Region(region).name}"
        self._device = device
        self._classifier: Classifier | None = None
        self.batch_size = batch_size
        self.on_bad_mask = on_bad_mask
        self.max_megapixels = max_megapixels

    @property
    def classifier(self) -> Classifier:
        """Stage 2."""
        if self._classifier is None:
            self._classifier = Classifier.load(self._classifier_weights, self._device)
        return self._classifier

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
        """
        return self._one_or_many(source, value_range, classify=True)

    def segment(self, source: Any, *, value_range: tuple[float, float] | None = None) -> Any:
        """Find the lungs of one image, or of several; parameters and errors as :meth:`predict`.

        Returns
        -------
        Segmentation or list of Segmentation
        """
        return self._one_or_many(source, value_range, classify=False)

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
        ImageError, LungMaskError
            As :meth:`predict`, with ``on_error="raise"``.
        """
        if on_error not in ("raise", "return"):
            raise ValueError(f"on_error is {on_error!r}; expected 'raise' or 'return'")
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
        return [Segmentation(**values) for values in self._stage_one(images, sources, value_range)]

    def _predict_batch(
        self, images: Sequence[Image], sources: Sequence[ImageSource], value_range: Any
    ) -> list[Prediction | Failure]:
        classifier = self.classifier
        region, size = classifier.region, classifier.card.input_size
        results: list[Prediction | Failure | None] = []
        waiting = []
        for image, values in zip(images, self._stage_one(images, sources, value_range)):
            quality = values["quality"]
            bad = region.needs_mask and not quality.ok
            if bad and self.on_bad_mask == "refuse":
                reasons = "; ".join(reason.message for reason in quality.reasons)
                message = (
                    f"{image.name}: refused, {reasons}. The region {region.name!r} needs both lungs; "
                    "on_bad_mask='whole' lets the whole image stand in"
                )
                results.append(Failure(image.name, LungMaskError(message)))
                continue
            seen = view(image.pixels, values["lung_mask"], _WHOLE if bad else region, size)
            waiting.append((len(results), seen, bad, values))
            results.append(None)
        if waiting:
            probabilities = classifier.probabilities(np.stack([seen for _, seen, _, _ in waiting]))
            for (place, seen, bad, values), row in zip(waiting, probabilities):
                results[place] = Prediction(
                    **values,
                    label=classifier.card.classes[int(row.argmax())],
                    probabilities=dict(zip(classifier.card.classes, row.tolist())),
                    region=_WHOLE.name if bad else region.name,
                    fallback=bad,
                    view=seen,
                    classifier=classifier.card.name,
                )
        return cast("list[Prediction | Failure]", results)

    def _stage_one(
        self, images: Sequence[Image], sources: Sequence[ImageSource], value_range: Any
    ) -> Iterator[dict[str, Any]]:
        """What a Segmentation and a Prediction have in common, for each image."""
        options = {"value_range": value_range, "max_megapixels": self.max_megapixels}
        masks = self.segmenter.segment([image.pixels for image in images])
        for image, source, mask in zip(images, sources, masks):
            yield {
                "path": image.name,
                "lung_mask": mask,
                "box": lung_box(mask),
                "quality": mask_quality(mask),
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


@lru_cache(maxsize=4)
def _loaded(**options: Any) -> Pipeline:
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
