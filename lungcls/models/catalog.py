"""The classification networks by name: what each is and how large, without loading torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One network as it is built where a recipe gives its name alone.

    Attributes
    ----------
    name : str
    description : str
    channels : int
        Input channels. Where there are three, a grey view is repeated in them.
    size : int
        Side of the input, in pixels.
    classes : int
        Two classes of ``cnn-strided`` come out of one logit.
    parameters : int
        Weights and biases in all; the running statistics of batch norm are none.
    fixed_size : bool
        Whether the network takes no other size than the one it was built for: its first linear layer sees
        the flattened feature map.
    """

    name: str
    description: str
    channels: int
    size: int
    classes: int
    parameters: int
    fixed_size: bool = False

    @property
    def input(self) -> list[int]:
        """Shape of one input: channels, height, width."""
        return [self.channels, self.size, self.size]


_INFOS: Final = (
    ModelInfo(
        "cnn-4conv",
        "four 3x3 convolutions (32, 64, 128, 256), each with ReLU and 2x2 pooling; linear 256",
        3, 299, 4, 17_166_916, True,
    ),
    ModelInfo(
        "cnn-strided",
        "two 3x3 convolutions of stride 3 (64, 32) with pooling and dropout 0.25; linear 256; "
        "one logit for two classes",
        3, 256, 2, 422_177, True,
    ),
    ModelInfo(
        "cnn-vgg-bn",
        "three pairs of 3x3 convolutions (32, 64, 128), each convolution with ReLU and batch norm, "
        "pooling and dropout 0.2, 0.3, 0.4 after a pair",
        3, 256, 3, 681_123, True,
    ),
    ModelInfo(
        "cnn-3conv-512",
        "three 3x3 convolutions (64, 128, 256) with ReLU and pooling; linear 512, dropout 0.5",
        3, 224, 4, 88_978_052, True,
    ),
    ModelInfo("mobilenet-v2", "MobileNetV2; average pooling, dropout 0.5", 3, 224, 4, 2_228_996),
    ModelInfo("mobilenet-v3-small", "MobileNetV3 small, for edge devices", 3, 224, 4, 1_521_956),
    ModelInfo("efficientnet-b0", "EfficientNet-B0", 3, 224, 4, 4_012_672),
    ModelInfo("vgg16", "VGG16 with its own three linear layers", 3, 224, 4, 134_276_932),
    ModelInfo("resnet50", "ResNet50", 3, 224, 4, 23_516_228),
    ModelInfo("resnet101", "ResNet101", 3, 224, 4, 42_508_356),
    ModelInfo(
        "densenet121", "DenseNet121 with a stem for one grey channel: lungcls's own", 1, 224, 4, 6_951_684
    ),
    ModelInfo("densenet169", "DenseNet169", 3, 224, 4, 12_491_140),
    ModelInfo("densenet201", "DenseNet201", 3, 224, 4, 18_100_612),
)  # fmt: skip

MODELS: Final[dict[str, ModelInfo]] = {info.name: info for info in _INFOS}
"""Networks that serve as stage 2, by name."""
