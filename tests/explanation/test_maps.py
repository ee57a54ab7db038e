"""Maps of networks whose answer is known, and the control of random weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pytorch_grad_cam", reason="lungcls[explain] is not installed")
pytest.importorskip("captum", reason="lungcls[explain] is not installed")

from torch import nn  # noqa: E402

from lungcls.explanation import METHODS, attribution_maps, randomised  # noqa: E402
from lungcls.explanation.layers import target_layer, unfolded  # noqa: E402
from lungcls.models import create_model  # noqa: E402

CAMS = ("gradcam", "gradcam++", "hirescam", "layercam")


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _finder() -> nn.Module:
    """A network that knows of brightness for class 0, of darkness for class 1, and of nothing for class 2."""
    conv = nn.Conv2d(1, 2, 3, padding=1, bias=False)
    linear = nn.Linear(2, 3, bias=False)
    with torch.no_grad():
        conv.weight[0], conv.weight[1] = 1 / 9, -1 / 9
        linear.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    return nn.Sequential(
        conv, nn.ReLU(inplace=True), nn.AvgPool2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear
    )


def _scene() -> torch.Tensor:
    """A bright square in the first image's upper left, a dark one in its lower right; the other way round."""
    batch = torch.zeros(2, 1, 56, 56)
    batch[0, 0, 8:16, 12:20], batch[0, 0, 40:48, 36:44] = 1, -1
    batch[1] = -batch[0]
    return batch


@pytest.mark.parametrize("method", METHODS)
def test_each_method_finds_what_the_network_looks_at(method: str) -> None:
    maps = attribution_maps(_finder(), _scene(), [0, 0], method)
    assert maps.shape[0] == 2
    assert maps.dtype == np.float32
    assert (maps >= 0).all()
    for values, (top, left) in zip(maps, [(8, 12), (40, 36)]):
        scale = 56 / values.shape[0]
        row, column = np.unravel_index(int(values.argmax()), values.shape)
        assert top - scale <= (row + 0.5) * scale <= top + 8 + scale
        assert left - scale <= (column + 0.5) * scale <= left + 8 + scale


@pytest.mark.parametrize("method", METHODS)
def test_the_target_decides_and_what_nothing_speaks_for_has_an_empty_map(method: str) -> None:
    module, scene = _finder(), _scene()[:1]
    bright, dark = (attribution_maps(module, scene, [target], method)[0] for target in (0, 1))
    half = bright.shape[0] // 2
    assert bright[:half].sum() > 0.9 * bright.sum() > 0
    assert dark[half:].sum() > 0.9 * dark.sum() > 0
    assert not attribution_maps(module, scene, [2], method).any()


@pytest.mark.parametrize("method", METHODS)
def test_a_network_with_one_output_has_a_map_for_either_class(method: str) -> None:
    class OneOutput(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.finder = _finder()

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            scores = self.finder(batch)
            difference = scores[:, 1:2] - scores[:, :1]
            return torch.cat([torch.zeros_like(difference), difference], dim=1)

    first = attribution_maps(OneOutput(), _scene()[:1], [0], method)[0]
    half = first.shape[0] // 2
    assert first[:half].sum() > 0.9 * first.sum() > 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("training", [False, True])
def test_the_network_is_left_as_it_was(method: str, training: bool) -> None:
    module = nn.Sequential(_finder()[:4], nn.Flatten(), nn.BatchNorm1d(2), nn.Dropout(0.5), nn.Linear(2, 3))
    module.train(training)
    module[3].train(not training)
    before = copy.deepcopy(module.state_dict())
    random = torch.random.get_rng_state()
    with torch.inference_mode():
        attribution_maps(module, _scene(), [0, 1], method)
    assert [module.training, module[3].training] == [training, not training]
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in module.parameters())
    assert not any(each._forward_hooks for each in module.modules())
    assert torch.equal(torch.random.get_rng_state(), random)


def test_a_failing_layer_leaves_no_hooks() -> None:
    module = _finder()
    with pytest.raises(ValueError, match="no feature map"):
        attribution_maps(module, _scene(), [0, 0], "gradcam", layer="5")
    assert not any(each._forward_hooks for each in module.modules())


@pytest.fixture(scope="module")
def densenet() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = create_model({"model": "densenet", "growth": 8, "blocks": [2, 2, 2, 2], "stem": 16})
        # A last norm that lets some through and holds some back, as in a trained network.
        nn.init.normal_(module.features.norm5.bias)
    return module.eval()


def test_the_unfolded_densenet_is_the_same_network(densenet: nn.Module) -> None:
    batch = torch.randn(2, 1, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(unfolded(densenet)(batch), densenet(batch))


def test_the_cam_of_a_densenet_is_that_of_its_rectified_features(densenet: nn.Module) -> None:
    """Its ReLU works in place: a hook on the features holds values that are overwritten later."""
    batch = torch.randn(2, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        rectified = densenet.features(batch).relu()
        # With average pooling and one linear layer, Grad-CAM and HiResCAM are CAM (Zhou et al., 2016).
        cams = torch.einsum("bchw,kc->kbhw", rectified, densenet.classifier.weight).relu().numpy()
    cells = cams.shape[2] * cams.shape[3]
    for method in ("gradcam", "hirescam"):
        for label, expected in enumerate(cams):
            maps = attribution_maps(densenet, batch, [label, label], method)
            np.testing.assert_allclose(maps * cells, expected, rtol=1e-4, atol=1e-5)
    assert (cams > 0).any()
    assert (cams == 0).any()


def test_a_layer_before_an_in_place_relu_is_seen_as_it_was(densenet: nn.Module) -> None:
    batch = torch.randn(1, 1, 96, 96)
    with torch.no_grad():
        features = densenet.features(batch)
        assert (features < 0).any()
        weight = densenet.classifier.weight[2][None, :, None, None] / features[0, 0].numel()
        expected = ((features > 0) * weight * features).sum(dim=1).relu().numpy()
        gradient = ((features > 0) * weight).mean(dim=(2, 3), keepdim=True)
        averaged = (gradient * features).sum(dim=1).relu().numpy()
    for method, wanted in (("hirescam", expected), ("gradcam", averaged)):
        maps = attribution_maps(densenet, batch, [2], method, layer="features")
        np.testing.assert_allclose(maps, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "size", "cells"),
    [
        ("densenet121", 96, 3),
        ("densenet169", 96, 3),
        ("mobilenet-v2", 96, 3),
        ("mobilenet-v3-small", 96, 3),
        ("efficientnet-b0", 96, 3),
        ("resnet50", 96, 3),
        ("cnn-4conv", 96, 4),
        ("cnn-vgg-bn", 64, 8),
        ("cnn-strided", 96, 2),
    ],
)
def test_the_last_feature_map_of_every_architecture_is_found(name: str, size: int, cells: int) -> None:
    options = {"size": size} if name.startswith("cnn-") else {}
    module = create_model({"model": name, **options}).eval()
    maps = attribution_maps(module, torch.randn(1, 1, size, size), [1], "gradcam++")
    assert maps.shape == (1, cells, cells)
    assert np.isfinite(maps).all()


def test_the_feature_map_of_vgg_is_that_before_its_adaptive_pooling() -> None:
    from torchvision.models import vgg11

    with torch.device("meta"):  # its linear layers are half a gigabyte
        module = vgg11(num_classes=4)
    found = target_layer(module.eval(), torch.zeros(1, 3, 96, 96, device="meta"))
    assert found is module.features


def test_a_map_of_one_cell_is_passed_over_for_a_finer_one() -> None:
    module = create_model({"model": "densenet", "growth": 4, "blocks": [1, 1, 1, 1], "stem": 8}).eval()
    maps = attribution_maps(module, torch.randn(1, 1, 32, 32), [0], "layercam")
    assert maps.shape == (1, 2, 2)


def test_a_network_without_a_feature_map_is_refused() -> None:
    with pytest.raises(ValueError, match="no feature map"):
        attribution_maps(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), torch.zeros(1, 1, 8, 8), [0])


def test_wrong_options_are_refused() -> None:
    module, scene = _finder(), _scene()
    with pytest.raises(ValueError, match="gradcam, gradcam"):
        attribution_maps(module, scene, [0, 0], "saliency")
    with pytest.raises(ValueError, match="take a layer"):
        attribution_maps(module, scene, [0, 0], "occlusion", layer="0")
    with pytest.raises(ValueError, match="no layer 'features'"):
        attribution_maps(module, scene, [0, 0], "gradcam", layer="features")


def test_a_layer_can_be_named(densenet: nn.Module) -> None:
    batch = torch.randn(1, 1, 96, 96)
    fine = attribution_maps(densenet, batch, [0], "layercam", layer="features.denseblock2")
    assert fine.shape == (1, 12, 12)


def test_random_weights_leave_the_global_state_and_the_network_alone(densenet: nn.Module) -> None:
    before, random = copy.deepcopy(densenet.state_dict()), torch.random.get_rng_state()
    one, same, other = (randomised(densenet, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), random)
    for name, value in densenet.state_dict().items():
        assert torch.equal(value, before[name])
        assert torch.equal(one[name], same[name])
    convolutions = [name for name in one if "conv" in name]
    assert convolutions
    for name in (*convolutions, "classifier.weight"):
        assert not torch.equal(one[name], other[name])
        assert not torch.equal(one[name], before[name])


@pytest.mark.parametrize("method", [*CAMS, "integrated_gradients", "occlusion"])
def test_random_weights_change_the_map(method: str) -> None:
    """The sanity check of Adebayo et al. (2018): a map that stays is no map of the released classifier."""
    from scipy.stats import spearmanr

    from lungcls.classifier import Classifier
    from lungcls.models.runtime import normalise
    from lungcls.phantom import chest_phantom
    from lungcls.regions import view

    classifier = Classifier.load("classifier-full", "cpu", engine="torch")
    # Small views and few: these methods run the network many times, and have fine maps whatever its size.
    card = classifier.card
    count, size = (4, card.input_size) if method in CAMS else (1, 64)
    phantoms = [chest_phantom(200, seed=seed) for seed in range(count)]
    views = np.stack([view(one.image, one.mask, classifier.region, size) for one in phantoms])
    batch = normalise(torch.from_numpy(views), card.mean, card.std)
    targets = classifier.logits(views).argmax(axis=1).tolist()
    own, again, control = (
        attribution_maps(module, batch, targets, method, baseline=-card.mean / card.std)
        for module in (classifier.module, classifier.module, randomised(classifier.module))
    )
    np.testing.assert_array_equal(own, again)
    likeness = [spearmanr(one.ravel(), other.ravel()).statistic for one, other in zip(own, control)]
    assert own.any()
    assert np.nanmean(likeness) < 0.7
