"""The two stages, end to end: anything that holds a chest X-ray in, lungs and class probabilities out."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
import numpy.typing as npt

from lungcls.answering import Answerer, OnBadMask, OnReject, refused
from lungcls.classifier import Classifier
from lungcls.errors import OptionError
from lungcls.features import Features, film_features
from lungcls.files import fingerprint
from lungcls.finder import Finder
from lungcls.gate.screening import Gate
from lungcls.images import Image, ImageSource, several_sources
from lungcls.lineage import other_segmenter
from lungcls.lungs import Lungs
from lungcls.options import PipelineKeywords, PipelineOptions
from lungcls.pixels import MAX_MEGAPIXELS
from lungcls.prediction import Failure, Prediction, Predictions
from lungcls.regions import Mask, Region
from lungcls.segmenter import Segmenter
from lungcls.streaming import MaskSource, OnError, Streaming, ValueRange
from lungcls.weights import Card, find_weights, load_card, released

if TYPE_CHECKING:
    from torch import nn
    from typing_extensions import Unpack

    from lungcls.explanation import Explanation

logger = logging.getLogger(__name__)

_WHOLE_FILMS = "classifier-full"


class Pipeline(Streaming):
    """Both stages, loaded once.

    Parameters
    ----------
    region : str, optional
        Which released classifier: the one trained on this region of the image. By default that of
        `classifier`, and ``mask`` without either. Of a torch module: what it is shown.
    classifier : str, path-like, Classifier or torch.nn.Module, optional
        Weights of stage 2, by released name or path, by default ``classifier-<region>``; or a loaded stage;
        or a torch module of your own (:meth:`lungcls.classifier.Classifier.of_module` says what it must take
        and give, and has options for other classes, sizes and grey levels).
    segmenter : str, path-like, Segmenter or torch.nn.Module, default="segmenter"
        Weights of stage 1, by released name or path; or a loaded stage to share; or a module of your own
        (:meth:`lungcls.segmenter.Segmenter.of_module`).
    device : {"auto", "cpu", "cuda", "cuda:N", "mps"}, default="auto"
    engine : {"auto", "torch", "onnxruntime", "openvino"}, default="auto"
        What runs the networks: ``auto`` is torch where it is installed, else the first of the others that is.
    precision : {"fp32", "bf16"}, default="fp32"
        Arithmetic inside the networks.
    batch_size : int, default=16
        Images that go through the networks together.
    on_bad_mask : {"whole", "refuse"}, default="whole"
        What to do where no lungs or only one were found and the region needs them: let the whole film stand
        in, answered by `fallback` (``fallback`` of the prediction says so, ``quality`` says why), or raise
        LungMaskError.
    fallback : "auto", str, path-like, Classifier or None, default="auto"
        Which classifier answers for whole films that stand in. ``auto``: ``classifier-full`` beside the other
        released classifiers, none beside weights of your own. None: `classifier` itself, although it never
        saw whole films.
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

    Attributes
    ----------
    options : PipelineOptions
        As they were given.

    Attributes
    ----------
    lineage : str or None
        That stage 2 was trained on the masks of another segmenter than stage 1, in a sentence; None where it
        was not, or where its card does not say.

    Raises
    ------
    WeightsError
        If weights are missing or damaged. Stage 2 is loaded when it is first asked for; its card is checked
        at once.
    OptionError
        If an option is unknown, options contradict each other, or the device is not available.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        classifier: str | Path | Classifier | nn.Module | None = None,
        segmenter: str | Path | Segmenter | nn.Module = "segmenter",
        device: str = "auto",
        engine: str = "auto",
        precision: str = "fp32",
        batch_size: int = 16,
        on_bad_mask: OnBadMask = "whole",
        fallback: str | Path | Classifier | None = "auto",
        on_reject: OnReject = "flag",
        gate: str | Path | Gate | None = "gate",
        fill_holes: bool | None = None,
        keep_parts: int | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
        tta: int = 0,
        coverage: float | None = 0.9,
    ) -> None:
        self.options = PipelineOptions(
            region=region,
            classifier=classifier,
            segmenter=segmenter,
            device=device,
            engine=engine,
            precision=precision,
            batch_size=batch_size,
            on_bad_mask=on_bad_mask,
            fallback=fallback,
            on_reject=on_reject,
            gate=gate,
            fill_holes=fill_holes,
            keep_parts=keep_parts,
            max_megapixels=max_megapixels,
            tta=tta,
            coverage=coverage,
        )
        super().__init__(batch_size, max_megapixels)
        wanted = None if region is None else Region(region)
        self._running: dict[str, Any] = {"device": device, "engine": engine, "precision": precision}
        options = {"fill_holes": fill_holes, "keep_parts": keep_parts}
        cleaning: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        if not isinstance(segmenter, (str, Path, Segmenter)):
            segmenter = Segmenter.of_module(segmenter, device=device, precision=precision, **cleaning)
            cleaning = {}
        if classifier is not None and not isinstance(classifier, (str, Path, Classifier)):
            classifier = Classifier.of_module(
                classifier, region=wanted or Region(), device=device, precision=precision
            )
        self._classifier = classifier or f"classifier-{(wanted or Region()).name}"
        card = _card(self._classifier)
        own = Region(**(card.region or {}))
        if wanted is not None and own.name != wanted.name:
            raise OptionError(
                f"{card.name} sees the region {own.name!r}, not {wanted.name!r}; leave out the region"
            )
        if on_bad_mask == "refuse" and not own.needs_mask:
            raise OptionError(
                f"on_bad_mask is 'refuse', but {card.name} sees {own.kind.words} and needs no mask; leave it "
                "out, or use on_reject='raise'"
            )
        self._fallback = fallback_of(fallback, self._classifier, card)
        self.finder = Finder.load(segmenter, gate, **self._running, **cleaning)
        self.lineage = other_segmenter(card, self.segmenter.card)
        if self.lineage:
            logger.info(self.lineage)
        self._answerer: Answerer | None = None
        self.on_bad_mask = on_bad_mask
        self.on_reject = on_reject
        self.tta = tta
        self.coverage = coverage

    def __repr__(self) -> str:
        card = _card(self._classifier)
        gate = self.gate.card.name if self.gate else None
        return (
            f"Pipeline(classifier={card.name!r}, region={(card.region or {}).get('name')!r}, "
            f"segmenter={self.segmenter.card.name!r}, gate={gate!r}, device={self.segmenter.device!r}, "
            f"engine={self.segmenter.network.engine!r}, classes={list(card.classes)})"
        )

    @property
    def lead(self) -> Pipeline:
        """The pipeline itself."""
        return self

    @property
    def segmenter(self) -> Segmenter:
        """Stage 1."""
        return cast(Segmenter, self.finder.segmenter)

    @property
    def gate(self) -> Gate | None:
        """The quality gate."""
        return self.finder.gate

    @property
    def answerer(self) -> Answerer:
        """Stage 2 with its rules, loaded when first asked for: `segment` alone needs half of the memory."""
        if self._answerer is None:
            self._answerer = Answerer(
                self._loaded(self._classifier),
                None if self._fallback is None else self._loaded(self._fallback),
                on_bad_mask=self.on_bad_mask,
                on_reject=self.on_reject,
                tta=self.tta,
                coverage=self.coverage,
            )
        return self._answerer

    @property
    def classifier(self) -> Classifier:
        """Stage 2."""
        return self.answerer.classifier

    @property
    def classifiers(self) -> list[Classifier]:
        """Stage 2 as a list, of one but for an Ensemble."""
        return [self.classifier]

    @property
    def explainers(self) -> list[Classifier]:
        """Stage 2, and what stands in for it."""
        return [one for one in (self.answerer.classifier, self.answerer.fallback) if one is not None]

    @property
    def precision(self) -> str:
        """Arithmetic inside the networks."""
        return str(self._running["precision"])

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache: str | Path | None = None,
        offline: bool = False,
        endpoint: str | None = None,
        **options: Unpack[PipelineKeywords],
    ) -> Pipeline:
        """Load a pipeline from the hub, or from a folder of :meth:`save_pretrained`.

        Parameters
        ----------
        name : str or path-like
            ``user/name`` of the hub, or a folder.
        revision, token, cache, offline, endpoint
            As :func:`lungcls.hub.fetch` takes them; of the hub alone.
        **options
            Of :class:`Pipeline`, in place of those that were saved, such as ``device="cpu"``.

        Raises
        ------
        WeightsError
            If there is no such folder or repository, or a file is missing or damaged.
        MissingExtraError
            If the hub is asked and huggingface_hub is not installed (extra ``hub``).
        OptionError
            If an option is unknown or impossible.
        """
        from lungcls.hub import fetch, read_folder

        if Path(name).is_dir():
            folder = Path(name)
        else:
            folder = fetch(
                str(name), revision=revision, token=token, cache=cache, offline=offline, endpoint=endpoint
            )
        return cls(**{**read_folder(folder), **options})

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        name: str = "",
        licence: str = "",
        datasets: Sequence[str] = (),
    ) -> Path:
        """Write weights, cards, options and a model card into a folder that :meth:`from_pretrained` reads.

        Parameters
        ----------
        folder, name, licence, datasets
            As :func:`lungcls.hub.save_folder` takes them.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        OptionError
            If a stage was given as a loaded object or a module: there is no file to copy.
        WeightsError, MissingExtraError
            As :func:`lungcls.hub.save_folder`.
        """
        from lungcls.hub import save_folder

        stages = {
            "classifier": self._classifier,
            "segmenter": self.options.segmenter,
            "gate": self.options.gate,
            "fallback": self._fallback,
        }
        for stage, weights in stages.items():
            if weights is not None and not isinstance(weights, (str, Path)):
                raise OptionError(
                    f"the {stage} is a loaded {type(weights).__name__}, which has no file to copy; give the "
                    "pipeline its weights by name or path"
                )
        files = cast("dict[str, str | Path | None]", stages)
        return save_folder(
            folder, files, self.options.keywords(), name=name, licence=licence, datasets=datasets
        )

    def push_to_hub(
        self,
        name: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        licence: str = "",
        datasets: Sequence[str] = (),
        endpoint: str | None = None,
    ) -> str:
        """Upload what :meth:`save_pretrained` writes to the hub.

        Parameters
        ----------
        name : str
            ``user/name``; the repository is made if there is none.
        private, token, revision, endpoint
            As :func:`lungcls.hub.push` takes them.
        licence, datasets
            As :meth:`save_pretrained` takes them.

        Returns
        -------
        str
            URL of the commit.

        Raises
        ------
        OptionError, WeightsError, MissingExtraError
            As :meth:`save_pretrained`, and where the hub refuses or cannot be reached.
        """
        from tempfile import TemporaryDirectory

        from lungcls.hub import push

        with TemporaryDirectory() as folder:
            self.save_pretrained(folder, name=name, licence=licence, datasets=datasets)
            return push(folder, name, private=private, token=token, revision=revision, endpoint=endpoint)

    def features(
        self,
        source: Any,
        *,
        masks: Iterable[MaskSource | None] | None = None,
        value_range: ValueRange = None,
    ) -> npt.NDArray[np.float32]:
        """Return embeddings: the input of the classifier's head, for clustering, retrieval and probes.

        The pipeline's region says of what: the lungs (``mask``), the box around them (``crop``) or the film
        (``full``).

        Parameters
        ----------
        source, masks, value_range
            As :meth:`predict` takes them; `masks` of several films.

        Returns
        -------
        float32 array [D], or [N, D] of several films
            D is 1,024 for the released classifiers: the means of DenseNet121's last feature map. Where no two
            lungs were found, the same network sees the whole film.

        Raises
        ------
        ImageError, RejectedError
            As :meth:`predict`.
        OptionError
            If another engine than torch runs the classifier.
        """
        several = several_sources(source)
        if several is None:
            one = next(self.features_stream([source], masks=masks, value_range=value_range))
            return cast(Features, one).vector
        embeddings = self.features_stream(several, masks=masks, value_range=value_range)
        vectors = [cast(Features, one).vector for one in embeddings]
        return np.stack(vectors) if vectors else np.empty((0, 0), np.float32)

    def features_stream(
        self,
        sources: Iterable[ImageSource],
        *,
        masks: Iterable[MaskSource | None] | None = None,
        batch_size: int | None = None,
        value_range: ValueRange = None,
        on_error: OnError = "raise",
    ) -> Iterator[Features | Failure]:
        """Embed any number of films in constant memory; parameters and errors as :meth:`stream`.

        Yields
        ------
        Features or Failure
            In the order of the sources.
        """
        return self._batches(
            sources, masks, batch_size or self.batch_size, value_range, on_error, self._embed
        )

    def _embed(
        self, images: Sequence[Image], masks: Sequence[Mask | None] | None, read_options: dict[str, Any]
    ) -> list[Features | Failure]:
        lungs = self.finder.find(images, masks, read_options)
        refusals = [refused(one, self.on_reject) for one in lungs]
        taken = [one for one, refusal in zip(lungs, refusals) if refusal is None]
        embeddings = iter(film_features(self.classifier, taken) if taken else ())
        return [refusal or next(embeddings) for refusal in refusals]

    def _loaded(self, classifier: str | Path | Classifier) -> Classifier:
        if isinstance(classifier, Classifier):
            return classifier
        return Classifier.load(classifier, **self._running)

    def _find(
        self, images: Sequence[Image], masks: Sequence[Mask | None] | None, read_options: dict[str, Any]
    ) -> list[Lungs | Failure]:
        lungs = self.finder.find(images, masks, read_options)
        return [refused(one, self.on_reject) or one.without_pixels() for one in lungs]

    def _answer(
        self, images: Sequence[Image], masks: Sequence[Mask | None] | None, read_options: dict[str, Any]
    ) -> list[Prediction | Failure]:
        return self.answerer.answer(self.finder.find(images, masks, read_options))


def _card(classifier: str | Path | Classifier) -> Card:
    return classifier.card if isinstance(classifier, Classifier) else load_card(classifier)


def fallback_of(
    fallback: str | Path | Classifier | None, classifier: str | Path | Classifier, card: Card
) -> str | Path | Classifier | None:
    """Return which classifier answers for whole films, checked against the one that it stands in for.

    Parameters
    ----------
    fallback : "auto", str, path-like, Classifier or None
        As :class:`Pipeline` takes it.
    classifier : str, path-like or Classifier
        The one that it stands in for.
    card : Card
        Of that one.

    Returns
    -------
    str, path-like, Classifier or None
        None where the classifier itself answers.

    Raises
    ------
    OptionError
        If the fallback does not see whole films, or has other classes.
    """
    if fallback == "auto":
        family = released()
        if classifier not in family or classifier == _WHOLE_FILMS or _WHOLE_FILMS not in family:
            return None
        fallback = _WHOLE_FILMS if load_card(_WHOLE_FILMS).classes == card.classes else None
    if fallback is None or not Region(**(card.region or {})).needs_mask:
        return None
    other = _card(fallback)
    if Region(**(other.region or {})).needs_mask or other.classes != card.classes:
        raise OptionError(
            f"the fallback {other.name} sees the region {(other.region or {}).get('name')!r} and the classes "
            f"{', '.join(other.classes)}; expected a classifier of whole films ('full') and the classes "
            f"{', '.join(card.classes)}"
        )
    return fallback


@overload
def predict(
    source: list[Any] | tuple[Any, ...] | Iterator[Any],
    *,
    masks: Iterable[MaskSource | None] | None = None,
    value_range: ValueRange = None,
    **options: Unpack[PipelineKeywords],
) -> Predictions: ...
@overload
def predict(
    source: ImageSource,
    *,
    masks: MaskSource | None = None,
    value_range: ValueRange = None,
    **options: Unpack[PipelineKeywords],
) -> Prediction: ...
def predict(
    source: Any, *, masks: Any = None, value_range: ValueRange = None, **options: Unpack[PipelineKeywords]
) -> Any:
    """Classify one chest X-ray, or several, with a pipeline that stays loaded.

    Parameters
    ----------
    source : image source, or several of them
        Anything that :func:`lungcls.images.read_image` reads: a path, bytes, an open file, a PIL image, an
        array, a tensor; or a list, iterator, folder or glob of them.
    masks : bool array [H, W] or path, or as many of them as there are films, optional
        Lung masks of one's own in place of the segmenter's.
    value_range : (low, high), optional
        Of float arrays outside [0, 1]: what is black and what is white.
    **options
        Of :class:`Pipeline`, such as ``region="full"`` or ``device="cpu"``.

    Returns
    -------
    Prediction or Predictions
        One in, one out; several in, a list out.

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
    OptionError
        If an option is unknown or impossible.

    Notes
    -----
    For research and education only, never for diagnosis.
    """
    return _loaded(options).predict(source, masks=masks, value_range=value_range)


@overload
def segment(
    source: list[Any] | tuple[Any, ...] | Iterator[Any],
    *,
    value_range: ValueRange = None,
    **options: Unpack[PipelineKeywords],
) -> list[Lungs]: ...
@overload
def segment(
    source: ImageSource, *, value_range: ValueRange = None, **options: Unpack[PipelineKeywords]
) -> Lungs: ...
def segment(source: Any, *, value_range: ValueRange = None, **options: Unpack[PipelineKeywords]) -> Any:
    """Find the lungs of one chest X-ray, or of several; parameters and errors as :func:`predict`.

    Returns
    -------
    Lungs or list of Lungs
    """
    return _loaded(options).segment(source, value_range=value_range)


@overload
def explain(
    source: list[Any] | tuple[Any, ...] | Iterator[Any],
    *,
    method: str = "gradcam",
    target: str | None = None,
    layer: str | None = None,
    value_range: ValueRange = None,
    **options: Unpack[PipelineKeywords],
) -> list[Explanation]: ...
@overload
def explain(
    source: ImageSource,
    *,
    method: str = "gradcam",
    target: str | None = None,
    layer: str | None = None,
    value_range: ValueRange = None,
    **options: Unpack[PipelineKeywords],
) -> Explanation: ...
def explain(
    source: Any,
    *,
    method: str = "gradcam",
    target: str | None = None,
    layer: str | None = None,
    value_range: ValueRange = None,
    **options: Unpack[PipelineKeywords],
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
        One in, one out; several in, a list out.

    Raises
    ------
    ImageError, LungMaskError, WeightsError
        As :func:`predict`.
    MissingExtraError
        If the packages of the extra ``explain`` are missing.
    OptionError
        If an option is unknown, or the engine is not torch.
    """
    pipeline = _loaded(options)
    return pipeline.explain(source, method=method, target=target, layer=layer, value_range=value_range)


def _loaded(options: PipelineKeywords) -> Pipeline:
    classifier = options.get("classifier")
    if isinstance(classifier, (list, tuple)):
        raise OptionError(f"classifier is {classifier!r}; expected one, for several use lungcls.Ensemble")
    for name, value in options.items():
        if not isinstance(value, Hashable):
            raise OptionError(f"{name} is {value!r}, of type {type(value).__name__}; expected a single value")
    named = [options.get(stage) for stage in ("segmenter", "classifier", "fallback", "gate")]
    files = [find_weights(name) for name in named if isinstance(name, (str, Path)) and name != "auto"]
    states = tuple(fingerprint(one) for path in files for one in (path, path.with_suffix(".json")))
    return _kept(states, **options)


@lru_cache(maxsize=4)
def _kept(states: Any, **options: Any) -> Pipeline:
    """A pipeline that stays loaded as long as its files, whose `states` tell them apart, stay as they are."""
    return Pipeline(**options)
