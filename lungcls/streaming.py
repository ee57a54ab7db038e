"""From anything that holds films to results in order: reading ahead, batches, failures in their places."""

from __future__ import annotations

import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np

from lungcls.errors import ImageError, LungclsError, OptionError
from lungcls.images import Image, ImageSource, read_image, several_sources
from lungcls.lungs import Lungs
from lungcls.prediction import Failure, Prediction, Predictions
from lungcls.regions import Mask, resize_mask

if TYPE_CHECKING:
    from lungcls.classifier import Classifier
    from lungcls.explanation import Explanation
    from lungcls.pipeline import Pipeline
    from lungcls.segmenter import Segmenter

OnError: TypeAlias = Literal["raise", "return"]
MaskSource: TypeAlias = "str | os.PathLike[str] | Mask"
ValueRange: TypeAlias = "tuple[float, float] | None"

_PROPORTIONS = 0.01


class Streaming(ABC):
    """What a pipeline and an ensemble have in common: all but how a batch of films is answered.

    Parameters
    ----------
    batch_size : int
    max_megapixels : float
        Larger images are refused.
    """

    def __init__(self, batch_size: int, max_megapixels: float) -> None:
        if batch_size < 1:
            raise OptionError(f"batch_size is {batch_size}; expected at least 1")
        self.batch_size = batch_size
        self.max_megapixels = max_megapixels

    @abstractmethod
    def _find(
        self, images: Sequence[Image], masks: Sequence[Mask | None] | None, read_options: dict[str, Any]
    ) -> list[Lungs | Failure]:
        """Find the lungs of one batch."""

    @abstractmethod
    def _answer(
        self, images: Sequence[Image], masks: Sequence[Mask | None] | None, read_options: dict[str, Any]
    ) -> list[Prediction | Failure]:
        """Find the lungs of one batch and classify them."""

    @property
    @abstractmethod
    def segmenter(self) -> Segmenter:
        """Stage 1; an ensemble's first."""

    @property
    @abstractmethod
    def classifier(self) -> Classifier:
        """Stage 2; an ensemble's first."""

    @property
    @abstractmethod
    def classifiers(self) -> list[Classifier]:
        """Stage 2 as a list, of one but for an Ensemble."""

    @property
    @abstractmethod
    def lead(self) -> Pipeline:
        """The pipeline itself, or an ensemble's first member: its options are those of the run."""

    @property
    @abstractmethod
    def explainers(self) -> list[Classifier]:
        """The classifiers whose views predictions carry: stage 2, and what stands in for it."""

    @overload
    def predict(
        self,
        source: list[Any] | tuple[Any, ...] | Iterator[Any],
        *,
        masks: Iterable[MaskSource | None] | None = None,
        value_range: ValueRange = None,
    ) -> Predictions: ...
    @overload
    def predict(
        self, source: ImageSource, *, masks: MaskSource | None = None, value_range: ValueRange = None
    ) -> Prediction: ...
    def predict(self, source: Any, *, masks: Any = None, value_range: ValueRange = None) -> Any:
        """Classify one film, or several.

        Parameters
        ----------
        source : image source, or several of them
            Anything that :func:`lungcls.images.read_image` reads; a list, iterator, series, folder or glob of
            them; or a tensor or array ``[B, 1, H, W]``.
        masks : bool array [H, W] or path, or as many of them as there are films, optional
            Lung masks of one's own in place of the segmenter's, in their film's proportions.
        value_range : (low, high), optional
            Of float arrays outside [0, 1]: what is black and what is white.

        Returns
        -------
        Prediction or Predictions
            One in, one out; several in, a list out, which has ``to_dataframe()``.

        Raises
        ------
        ImageError
            If an image cannot be read, or a mask is not in its film's proportions.
        LungMaskError
            If no lungs or only one were found and ``on_bad_mask="refuse"``.
        RejectedError
            If something is wrong with an image and ``on_reject="raise"``.
        """
        several = several_sources(source)
        if several is None:
            return next(
                self.stream([source], masks=None if masks is None else [masks], value_range=value_range)
            )
        return Predictions(self.stream(several, masks=masks, value_range=value_range))

    @overload
    def segment(
        self,
        source: list[Any] | tuple[Any, ...] | Iterator[Any],
        *,
        value_range: ValueRange = None,
    ) -> list[Lungs]: ...
    @overload
    def segment(self, source: ImageSource, *, value_range: ValueRange = None) -> Lungs: ...
    def segment(self, source: Any, *, value_range: ValueRange = None) -> Any:
        """Find the lungs of one film, or of several; parameters and errors as :meth:`predict`.

        Returns
        -------
        Lungs or list of Lungs
        """
        several = several_sources(source)
        sources = [source] if several is None else several
        results = list(self.stream(sources, value_range=value_range, classify=False))
        return results[0] if several is None else results

    @overload
    def explain(
        self,
        source: list[Any] | tuple[Any, ...] | Iterator[Any],
        *,
        method: str = "gradcam",
        target: str | None = None,
        layer: str | None = None,
        value_range: ValueRange = None,
    ) -> list[Explanation]: ...
    @overload
    def explain(
        self,
        source: ImageSource,
        *,
        method: str = "gradcam",
        target: str | None = None,
        layer: str | None = None,
        value_range: ValueRange = None,
    ) -> Explanation: ...
    def explain(
        self,
        source: Any,
        *,
        method: str = "gradcam",
        target: str | None = None,
        layer: str | None = None,
        value_range: ValueRange = None,
    ) -> Any:
        """Show where one film, or each of several, holds what speaks for a class.

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
            One in, one out; several in, a list out. Predictions whose label was withheld and those by the
            whole film are explained like all others; of an ensemble, the first member is.

        Raises
        ------
        ImageError, LungMaskError, RejectedError
            As :meth:`predict`.
        MissingExtraError
            If the packages of the extra ``explain`` are missing.
        OptionError
            If an option is unknown, or the engine is not torch.
        """
        several = several_sources(source)
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
        value_range: ValueRange = None,
        on_error: OnError = "raise",
    ) -> Iterator[Explanation | Failure]:
        """Explain any number of films in constant memory; parameters as :meth:`explain` and :meth:`stream`.

        Yields
        ------
        Explanation or Failure
            In the order of the sources.
        """
        from lungcls.explanation import explain_stream

        size = batch_size or self.batch_size
        results = self.stream(sources, batch_size=size, value_range=value_range, on_error=on_error)
        return explain_stream(
            results, self.explainers, batch_size=size, method=method, target=target, layer=layer
        )

    @overload
    def stream(
        self,
        sources: Iterable[ImageSource],
        *,
        masks: Iterable[MaskSource | None] | None = None,
        batch_size: int | None = None,
        value_range: ValueRange = None,
        on_error: Literal["raise"] = "raise",
        classify: Literal[True] = True,
    ) -> Iterator[Prediction]: ...
    @overload
    def stream(
        self,
        sources: Iterable[ImageSource],
        *,
        masks: Iterable[MaskSource | None] | None = None,
        batch_size: int | None = None,
        value_range: ValueRange = None,
        on_error: OnError,
        classify: Literal[True] = True,
    ) -> Iterator[Prediction | Failure]: ...
    @overload
    def stream(
        self,
        sources: Iterable[ImageSource],
        *,
        masks: Iterable[MaskSource | None] | None = None,
        batch_size: int | None = None,
        value_range: ValueRange = None,
        on_error: Literal["raise"] = "raise",
        classify: Literal[False],
    ) -> Iterator[Lungs]: ...
    @overload
    def stream(
        self,
        sources: Iterable[ImageSource],
        *,
        masks: Iterable[MaskSource | None] | None = None,
        batch_size: int | None = None,
        value_range: ValueRange = None,
        on_error: OnError,
        classify: Literal[False],
    ) -> Iterator[Lungs | Failure]: ...
    @overload
    def stream(
        self,
        sources: Iterable[ImageSource],
        *,
        masks: Iterable[MaskSource | None] | None = None,
        batch_size: int | None = None,
        value_range: ValueRange = None,
        on_error: OnError = "raise",
        classify: bool = True,
    ) -> Iterator[Prediction | Lungs | Failure]: ...
    def stream(
        self,
        sources: Iterable[ImageSource],
        *,
        masks: Iterable[MaskSource | None] | None = None,
        batch_size: int | None = None,
        value_range: ValueRange = None,
        on_error: OnError = "raise",
        classify: bool = True,
    ) -> Iterator[Any]:
        """Work through any number of films in constant memory.

        Parameters
        ----------
        sources : iterable of image sources
            Read lazily, one batch ahead of the networks.
        masks : iterable of bool arrays [H, W], paths or None, optional
            As :meth:`predict` takes them, one a source.
        batch_size : int, optional
            By default the pipeline's.
        value_range : (low, high), optional
            As in :meth:`predict`.
        on_error : {"raise", "return"}, default="raise"
            ``return`` yields a Failure in place of an input that cannot be read or is refused, and goes on.
        classify : bool, default=True
            False yields Lungs, without stage 2.

        Yields
        ------
        Prediction, Lungs or Failure
            In the order of the sources.

        Raises
        ------
        ImageError, LungMaskError, RejectedError
            As :meth:`predict`, with ``on_error="raise"``.
        OptionError
            If an option is unknown or impossible; at once, before the first film.
        """
        if on_error not in ("raise", "return"):
            raise OptionError(f"on_error is {on_error!r}; expected 'raise' or 'return'")
        size = self.batch_size if batch_size is None else batch_size
        if size < 1:
            raise OptionError(f"batch_size is {size}; expected at least 1")
        return self._batches(
            sources, masks, size, value_range, on_error, self._answer if classify else self._find
        )

    def _batches(
        self,
        sources: Iterable[ImageSource],
        masks: Iterable[MaskSource | None] | None,
        size: int,
        value_range: ValueRange,
        on_error: OnError,
        run: Callable[[Sequence[Image], Sequence[Mask | None] | None, dict[str, Any]], Sequence[Any]],
    ) -> Iterator[Any]:
        options = {"value_range": value_range, "max_megapixels": self.max_megapixels}
        pairs = zip(sources, itertools.repeat(None) if masks is None else masks)

        def read(source: ImageSource, mask: MaskSource | None) -> tuple[Image, Mask | None]:
            image = read_image(source, value_range=value_range, max_megapixels=self.max_megapixels)
            return image, None if mask is None else _fitted_mask(mask, image)

        with ThreadPoolExecutor(min(size, os.cpu_count() or 1)) as pool:

            def submit() -> list[tuple[ImageSource, Future[tuple[Image, Mask | None]]]]:
                return [(pair[0], pool.submit(read, *pair)) for pair in itertools.islice(pairs, size)]

            following = submit()
            while following:
                # The next batch is decoded while the networks work on this one.
                current, following = following, submit()
                results: list[Any] = []
                readable = []
                for source, future in current:
                    try:
                        readable.append((len(results), *future.result()))
                        results.append(None)
                    except LungclsError as error:
                        results.append(Failure(_name(source), error))
                images = [image for _, image, _ in readable]
                own = None if masks is None else [mask for _, _, mask in readable]
                for (place, _, _), answer in zip(readable, run(images, own, options)):
                    results[place] = answer
                for result in results:
                    if isinstance(result, Failure) and on_error == "raise":
                        raise result.error
                    yield result


def _fitted_mask(source: MaskSource, image: Image) -> Mask:
    """A mask at its film's size; ImageError where its proportions are another film's."""
    if isinstance(source, (str, os.PathLike)):
        from lungcls.data.masks import read_mask

        mask = read_mask(os.fspath(source))
    else:
        mask = np.asarray(source).astype(np.bool_)
    height, width = image.pixels.shape
    if mask.ndim != 2 or abs(mask.shape[0] * width / (mask.shape[1] * height) - 1) > _PROPORTIONS:
        raise ImageError(
            f"{image.name}: found a lung mask of shape {mask.shape} for a film of {height} x {width} pixels, "
            "expected the film's proportions; is it another film's mask, or turned?"
        )
    return resize_mask(mask, (height, width))


def _name(source: Any) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return f"<{type(source).__name__}>"
