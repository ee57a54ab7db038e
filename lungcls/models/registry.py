"""Every network by name, in one place: what it is, how it is built and what it can start from.

Reading this loads no torch; building a network, or counting its parameters, does. A network of one's own, in
three lines from anywhere::

    import lungcls.models

    lungcls.models.register("mine", build, size=128)  # build(classes=4, **options) -> torch.nn.Module

Recipes then name it (``[model] model = "mine"``), and so do the cards of what it is trained to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from lungcls.errors import OptionError

if TYPE_CHECKING:
    from torch import nn

TASKS: Final = ("classification", "segmentation", "gate")


@dataclass(frozen=True)
class ModelSpec:
    """All that the library knows of a network; whatever lists, checks or builds networks reads it here.

    Parameters
    ----------
    name : str
        As recipes and cards name it.
    build : callable or str
        ``build(**options)`` returns a torch module: float32 [B, 1, S, S] to logits, [B, classes] of a
        classifier (which has the option `classes`) and [B, 1, S, S] of a segmenter. As text it is
        ``package.module:function``, imported when a network is built.
    description : str
    size : int
        Side of the input that it was made for, in pixels.
    channels : {1, 3}
        Input channels of the network within, where options say nothing else. Where there are three, a grey
        view is repeated in them.
    task : {"classification", "segmentation", "gate"}
    fixed_size : bool
        Whether it takes no other size than the one that it was built for, which is its option `size`.
    starts : tuple of str
        What its ``pretrained`` may name beside ``none`` and lungcls weight files, such as ``imagenet``.
    normalisation : (float, float) or None
        Mean and standard deviation of the pixels that the weights of `starts` were trained with, if the
        network must have the same.
    options : mapping
        What `build` is given where an architecture does not say it.
    """

    name: str
    build: Callable[..., nn.Module] | str
    description: str = ""
    size: int = 224
    channels: int = 1
    task: str = "classification"
    fixed_size: bool = False
    starts: tuple[str, ...] = ()
    normalisation: tuple[float, float] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise OptionError(f"task is {self.task!r}; expected one of {', '.join(TASKS)}")
        if not self.name or not isinstance(self.name, str):
            raise OptionError(f"the name of a network is {self.name!r}; expected a text")
        if not callable(self.build) and not (isinstance(self.build, str) and self.build.count(":") == 1):
            raise OptionError(f"build is {self.build!r}; expected a function, or 'package.module:function'")

    @property
    def input(self) -> list[int]:
        """Shape of one input of the network within: channels, height, width."""
        return [self.channels, self.size, self.size]

    @property
    def parameters(self) -> int:
        """Weights and biases of the network as its name alone gives it, counted; needs torch."""
        import torch

        with torch.device("meta"):  # without memory for them
            network = self.builder()(**self.options)
        return sum(value.numel() for value in network.parameters())

    def builder(self) -> Callable[..., nn.Module]:
        """Return the function that builds it."""
        if not isinstance(self.build, str):
            return self.build
        module, _, function = self.build.partition(":")
        build: Callable[..., nn.Module] = getattr(import_module(module), function)
        return build


_SPECS: Final[dict[str, ModelSpec]] = {}

MODELS: Final[Mapping[str, ModelSpec]] = MappingProxyType(_SPECS)
"""The networks by name, in the order in which they were registered."""


def register(
    name: str, build: Callable[..., nn.Module] | str, *, replace: bool = False, **fields: Any
) -> ModelSpec:
    """Make a network known by name to recipes, cards and commands.

    Parameters
    ----------
    name : str
    build : callable or str
        As :class:`ModelSpec` takes it.
    replace : bool, default=False
        Take the place of a network of this name.
    **fields
        The other fields of :class:`ModelSpec`.

    Returns
    -------
    ModelSpec

    Raises
    ------
    OptionError
        If the name is taken, or a field is impossible.
    """
    if name in _SPECS and not replace:
        raise OptionError(f"a network {name!r} is registered already; give another name, or replace=True")
    spec = ModelSpec(name, build, **fields)
    _SPECS[name] = spec
    return spec


def model_spec(name: Any) -> ModelSpec:
    """Return a network by name; OptionError lists what there is."""
    if not isinstance(name, str) or name not in _SPECS:
        raise OptionError(
            f"unknown model {name!r}; the models are {', '.join(sorted(_SPECS))}. One of your own is made "
            "known with lungcls.models.register"
        )
    return _SPECS[name]


_CNN: Final = "lungcls.models.cnn:"
register(
    "cnn-4conv", _CNN + "cnn_4conv", size=299, channels=3, fixed_size=True,
    description="four 3x3 convolutions (32, 64, 128, 256), each with ReLU and 2x2 pooling; linear 256",
)  # fmt: skip
register(
    "cnn-strided", _CNN + "cnn_strided", size=256, channels=3, fixed_size=True,
    description="two 3x3 convolutions of stride 3 (64, 32) with pooling and dropout 0.25; linear 256; "
    "one logit for two classes",
)  # fmt: skip
register(
    "cnn-vgg-bn", _CNN + "cnn_vgg_bn", size=256, channels=3, fixed_size=True,
    description="three pairs of 3x3 convolutions (32, 64, 128), each convolution with ReLU and batch norm, "
    "pooling and dropout 0.2, 0.3, 0.4 after a pair",
)  # fmt: skip
register(
    "cnn-3conv-512", _CNN + "cnn_3conv_512", channels=3, fixed_size=True,
    description="three 3x3 convolutions (64, 128, 256) with ReLU and pooling; linear 512, dropout 0.5",
)  # fmt: skip
for _name, _network, _description, _options in (
    ("mobilenet-v2", "mobilenet_v2", "MobileNetV2; average pooling, dropout 0.5", {"dropout": 0.5}),
    ("mobilenet-v3-small", "mobilenet_v3_small", "MobileNetV3 small, for edge devices", {"dropout": 0.2}),
    ("efficientnet-b0", "efficientnet_b0", "EfficientNet-B0", {"dropout": 0.2}),
    ("vgg16", "vgg16", "VGG16 with its own three linear layers", {}),
    ("resnet50", "resnet50", "ResNet50", {}),
    ("resnet101", "resnet101", "ResNet101", {}),
    ("densenet121", "densenet121", "DenseNet121 with a stem for one grey channel: lungcls's own",
     {"channels": 1}),
    ("densenet169", "densenet169", "DenseNet169", {}),
    ("densenet201", "densenet201", "DenseNet201", {}),
):  # fmt: skip
    register(
        _name,
        "lungcls.models.backbones:backbone",
        description=_description,
        channels=int(str(_options.get("channels", 3))),
        starts=("imagenet",),
        options={"network": _network, **_options},
    )
for _variant, _size in ((0, 224), (1, 240), (2, 260)):
    register(
        f"efficientnet-lite{_variant}",
        "lungcls.models.efficientnet_lite:efficientnet_lite",
        description=f"EfficientNet-Lite{_variant}, grey stem: fast on a CPU, ImageNet features by pip",
        size=_size,
        starts=("imagenet",),
        normalisation=(0.5, 0.5),
        options={"variant": _variant},
    )
register(
    "densenet", "lungcls.models.densenet:densenet", size=64,
    description="a DenseNet of any width and depth, for small views",
)  # fmt: skip
register(
    "unet", "lungcls.models.unet:unet", size=192, task="segmentation", starts=("imagenet",),
    description="U-Net on any encoder of segmentation-models-pytorch; tu-resnet18 by default",
)  # fmt: skip
register(
    "gate",
    "lungcls.gate.network:gate_network",
    size=64,
    task="gate",
    description="the quality gate's small network",
)
