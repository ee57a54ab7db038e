"""Whoever is examined: a lungcls weight file, or any torch module behind a small adapter."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lungcls.classifier import Classifier
from lungcls.errors import OptionError, WeightsError
from lungcls.regions import Region, View

if TYPE_CHECKING:
    import torch
    from torch import nn

logger = logging.getLogger(__name__)

Logits = NDArray[np.float32]


@runtime_checkable
class Subject(Protocol):
    """What the checks need of a classifier.

    Attributes
    ----------
    name : str
        For tables.
    region : Region
        What of an image its views show.
    classes : tuple of str
        Order of its outputs, spelled as the dataset's classes.
    input_size : int
        Side of its views, in pixels.
    """

    name: str
    region: Region
    classes: tuple[str, ...]
    input_size: int

    def logits(self, views: View) -> Logits:
        """Return logits [B, classes] of uint8 views [B, S, S]; any temperature is already in them."""
        ...


@runtime_checkable
class FeatureSubject(Subject, Protocol):
    """A subject whose last features can be looked at."""

    def features(self, views: View) -> Logits:
        """Return one row of features an image, [B, F]."""
        ...

    def cams(self, views: View, targets: NDArray[np.int64]) -> Logits:
        """Return class activation maps [B, h, w], 0 or more, at the network's own resolution."""
        ...

    def untrained(self) -> FeatureSubject:
        """Return the same network with random weights, as a control."""
        ...


class ModuleSubject:
    """An adapter for any torch module that classifies images.

    Parameters
    ----------
    module : torch.nn.Module
        float32 [B, channels, S, S] to logits [B, classes].
    classes : sequence of str
        Order of the outputs, spelled as the dataset's classes.
    input_size : int
        S, in pixels.
    region : Region, optional
        What the module was trained to see; by default the whole image.
    mean, std : float or sequence of float
        Of the normalisation, in units of the [0, 1] range, one value or one a channel.
    channels : int, default=1
        Grey views are repeated in so many channels.
    layer : str, optional
        Name of the submodule whose output is the last feature map [B, C, h, w] (``layer4`` of a ResNet); by
        default the last one of more than one cell.
    temperature : float, default=1.0
        Logits are divided by it.
    tone : str, default="range"
        What is done to the grey levels of its views (:mod:`lungcls.tone`).
    device : str, default="cpu"
    name : str, default="model"

    Raises
    ------
    ValueError
        If the module has no submodule of that name.

    Examples
    --------
    In a file ``mine.py``; ``lungcls shortcuts mine.py:adapter --data DIR`` examines it:

    >>> def adapter():
    ...     import torch, torchvision
    ...     from lungcls.shortcuts import ModuleSubject
    ...     model = torchvision.models.resnet18(weights=None, num_classes=4)
    ...     model.load_state_dict(torch.load("resnet18.pt", weights_only=True))
    ...     return ModuleSubject(
    ...         model, ["COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"], 224,
    ...         mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225], channels=3,
    ...     )
    """

    def __init__(
        self,
        module: nn.Module,
        classes: Sequence[str],
        input_size: int,
        *,
        region: Region | None = None,
        mean: float | Sequence[float] = 0.5,
        std: float | Sequence[float] = 0.25,
        channels: int = 1,
        layer: str | None = None,
        temperature: float = 1.0,
        tone: str = "range",
        device: str = "cpu",
        name: str = "model",
    ) -> None:
        if layer is not None:
            from lungcls.explanation.layers import named_layer

            named_layer(module, layer)
        self.module = module.to(device).eval()
        self.classes = tuple(classes)
        self.input_size = input_size
        self.region = region or Region("full")
        self.mean, self.std, self.channels = mean, std, channels
        self.layer = layer
        self.temperature = temperature
        self.tone = tone
        self.device = device
        self.name = name

    def _batch(self, views: View) -> torch.Tensor:
        import torch

        batch = torch.from_numpy(np.ascontiguousarray(views)).to(self.device).float().div(255)
        batch = batch.unsqueeze(1).expand(-1, self.channels, -1, -1)
        mean, std = (
            torch.as_tensor(value, device=self.device).view(-1, 1, 1) for value in (self.mean, self.std)
        )
        return ((batch - mean) / std).contiguous()

    def logits(self, views: View) -> Logits:
        """Return logits [B, classes] over the temperature."""
        import torch

        with torch.inference_mode():
            return np.asarray(self.module(self._batch(views)).float().cpu().numpy() / self.temperature)

    def features(self, views: View) -> Logits:
        """Return the last feature map averaged over its place, [B, C]."""
        import torch

        from lungcls.explanation.layers import target_layer, unfolded

        batch = self._batch(views)
        # A DenseNet's last ReLU is no module; unfolded, its features are what the classes are read from.
        network = self.module if self.layer else unfolded(self.module)
        layer = target_layer(network, batch, self.layer)
        kept: list[torch.Tensor] = []
        handle = layer.register_forward_hook(lambda _, __, output: kept.append(output.detach().clone()))
        try:
            with torch.inference_mode():
                network(batch)
        finally:
            handle.remove()
        return np.asarray(kept[-1].float().mean((2, 3)).cpu().numpy())

    def cams(self, views: View, targets: NDArray[np.int64]) -> Logits:
        """Return CAMs [B, h, w] of one class an image.

        HiResCAM: the CAM itself for networks that end in a global average and a linear layer, and, other than
        Grad-CAM, true to what networks with other ends compute. See `lungcls.explanation.attribution_maps`.
        """
        from lungcls.explanation import attribution_maps

        return attribution_maps(
            self.module, self._batch(views), targets.tolist(), "hirescam", layer=self.layer
        )

    def untrained(self) -> ModuleSubject:
        """Return a copy whose weights are drawn anew."""
        from lungcls.explanation import randomised

        twin = copy.copy(self)
        twin.module = randomised(self.module)
        twin.name = f"{self.name} (random weights)"
        return twin


class ClassifierSubject(ModuleSubject):
    """A lungcls classifier as a subject; its temperature is in its logits.

    Parameters
    ----------
    classifier : Classifier
        On the torch engine, for features and maps.
    faster : Classifier, optional
        The same weights on another engine, for the logits.
    """

    def __init__(self, classifier: Classifier, faster: Classifier | None = None) -> None:
        card = classifier.card
        if card.multilabel:
            raise OptionError(
                f"{card.name} gives several findings a film; the checks compare classes, one a film: give a "
                "classifier of classes, such as one of `lungcls finetune` on a table with one label a film"
            )
        super().__init__(
            classifier.module,
            card.classes,
            card.input_size,
            region=classifier.region,
            mean=card.mean,
            std=card.std,
            temperature=card.temperature,
            tone=card.tone,
            device=str(classifier.device),
            name=card.name,
        )
        self.card = card
        self._faster = faster

    def logits(self, views: View) -> Logits:
        """Return logits [B, classes] over the temperature."""
        if self._faster is None:
            return super().logits(views)
        return np.asarray(self._faster.logits(views) / np.float32(self.temperature))

    def untrained(self) -> ClassifierSubject:
        """Return a copy whose weights are drawn anew."""
        twin = super().untrained()
        assert isinstance(twin, ClassifierSubject)
        twin._faster = None
        return twin


def _faster(weights: str) -> Classifier | None:
    """The weights on an engine that is faster than torch on a CPU; None where they have no graph for it."""
    for engine in ("openvino", "onnxruntime"):
        if importlib.util.find_spec(engine):
            try:
                return Classifier.load(weights, "cpu", engine=engine)
            except WeightsError as error:
                logger.info("%s answers by torch, which is slower: %s", weights, error)
                return None
    return None


def load_subject(text: str, device: str = "auto") -> Subject:
    """Return the subject that a text names.

    Parameters
    ----------
    text : str
        A released weight file's name, the path of a ``.safetensors`` file, or ``file.py:function`` or
        ``package.module:function`` of a function without arguments that returns a :class:`Subject`.
    device : str, default="auto"
        For weight files; a function chooses its own.

    Raises
    ------
    WeightsError
        If the weights or the function cannot be loaded, or it returns something else.
    """
    place, colon, function = text.rpartition(":")
    if not colon or not function.isidentifier():
        classifier = Classifier.load(text, device, engine="torch")
        return ClassifierSubject(classifier, _faster(text) if classifier.device == "cpu" else None)
    try:
        module = _import(place)
        subject = getattr(module, function)()
    except (ImportError, OSError, AttributeError) as error:
        raise WeightsError(
            f"{text}: the adapter cannot be loaded ({error}); expected FILE.py:FUNCTION or MODULE:FUNCTION "
            "of a function that returns a lungcls.shortcuts.Subject"
        ) from error
    if not isinstance(subject, Subject):
        raise WeightsError(
            f"{text} returned a {type(subject).__name__}; expected an object with name, region, classes, "
            "input_size and logits(views), such as lungcls.shortcuts.ModuleSubject"
        )
    return subject


def _import(place: str) -> Any:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    spec = importlib.util.spec_from_file_location(Path(place).stem, place)
    if spec is None or spec.loader is None:
        raise ImportError(f"{place} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(spec.name, module)
    spec.loader.exec_module(module)
    return module
