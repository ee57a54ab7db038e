"""Maps of what speaks for a class: four CAMs, integrated gradients, occlusion; for any torch classifier."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from lungcls.errors import MissingExtraError, OptionError

if TYPE_CHECKING:
    from torch import Tensor, nn

Maps = npt.NDArray[np.float32]

_CAMS: Final = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
}
METHODS: Final = (*_CAMS, "integrated_gradients", "occlusion")
"""The methods, by the names that all functions take."""

_CELLS: Final = {"integrated_gradients": 28, "occlusion": 10}
_STEPS: Final = 20
_AT_ONCE: Final = 32


def checked_method(method: str, layer: str | None = None) -> str:
    """Return `method` if it is one of :data:`METHODS` and takes `layer`; ValueError otherwise."""
    if method not in METHODS:
        raise OptionError(f"method is {method!r}; expected one of {', '.join(METHODS)}")
    if layer is not None and method not in _CAMS:
        raise OptionError(f"{method} looks at the image itself; only {', '.join(_CAMS)} take a layer")
    return method


def backend(method: str) -> Any:
    """Return the package that computes a method; MissingExtraError if it is not installed."""
    try:
        if method in _CAMS:
            import pytorch_grad_cam as package
        else:
            import captum.attr as package
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "grad-cam", "explain", f"the method {method!r}") from error
    return package


def attribution_maps(
    module: nn.Module,
    batch: Tensor,
    targets: Sequence[int],
    method: str = "gradcam",
    *,
    layer: str | None = None,
    baseline: float = 0.0,
) -> Maps:
    """Compute what speaks for a class, image by image.

    Parameters
    ----------
    module : torch.nn.Module
        float [B, C, S, S] to logits [B, classes]. It is left as it was: mode, weights, gradients, hooks.
    batch : float tensor [B, C, S, S]
        Normalised, on the module's device.
    targets : sequence of int, length B
        The class that each map speaks for.
    method : str, default="gradcam"
        One of :data:`METHODS`.
    layer : str, optional
        Submodule that a CAM is made from; by default the last feature map.
    baseline : float, default=0.0
        What stands for "nothing there" in integrated gradients and occlusion, in the normalised units of the
        batch: ``(0 - mean) / std`` for black.

    Returns
    -------
    float32 array [B, h, w], nowhere negative
        Evenly dividing the square S x S: a CAM has the cells of its layer; integrated gradients are summed in
        28 x 28 cells and occlusion averaged in 10 x 10 (a window covers four of them). What speaks against
        the class is cut off at 0, after summing. The scale means nothing; a map may be 0 everywhere.

    Raises
    ------
    ValueError
        If the method or layer is unknown.
    MissingExtraError
        If the packages of the extra ``explain`` are missing.

    References
    ----------
    Selvaraju et al.: Grad-CAM, 2017. Chattopadhay et al.: Grad-CAM++, 2018. Draelos, Carin: Use HiResCAM
    instead of Grad-CAM, 2020. Jiang et al.: LayerCAM, 2021. Sundararajan et al.: Axiomatic Attribution for
    Deep Networks, 2017. Zeiler, Fergus: Visualizing and Understanding Convolutional Networks, 2014.
    """
    import torch

    from lungcls.explanation.layers import evaluating

    checked_method(method, layer)
    # The gradients of a model's own training must not see this, and prediction may have turned them off.
    with torch.inference_mode(False), torch.enable_grad(), evaluating(module):
        inputs = batch.detach().clone().requires_grad_(True)
        classes = torch.as_tensor(list(targets), device=batch.device)
        if method in _CAMS:
            values = _cam(module, inputs, classes, method, layer)
        elif method == "occlusion":
            values = _occlusion(module, inputs.detach(), classes, baseline)
        else:
            values = _integrated_gradients(module, inputs, classes, baseline)
    return np.maximum(np.nan_to_num(values.astype(np.float32)), 0)


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """Return a copy of a network with random weights: the control that no explanation may survive.

    Parameters
    ----------
    module : torch.nn.Module
    seed : int, default=0
        The global random state is left as it was.

    References
    ----------
    Adebayo et al.: Sanity Checks for Saliency Maps, 2018.
    """
    import torch
    from torch import nn

    control = copy.deepcopy(module)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for each in control.modules():
            own = list(each.parameters(recurse=False))
            if isinstance(each, nn.Conv2d):
                # He's scale, so that deep networks neither die out nor blow up.
                with torch.no_grad():
                    fan = each.weight[0].numel()
                    each.weight.copy_(torch.randn(each.weight.shape) * (2 / fan) ** 0.5)
                    if each.bias is not None:
                        each.bias.zero_()
            elif callable(reset := getattr(each, "reset_parameters", None)):
                reset()
            else:
                with torch.no_grad():
                    for parameter in own:
                        parameter.copy_(torch.randn(parameter.shape) * 0.02)
    return control


def _cam(module: nn.Module, inputs: Tensor, classes: Tensor, method: str, layer: str | None) -> Maps:
    import torch
    from torch import Tensor

    from lungcls.explanation.layers import target_layer, unfolded

    # A name means a submodule of the network as it is.
    chosen = target_layer(module, inputs, layer) if layer else None
    network = unfolded(module)
    chosen = chosen or target_layer(network, inputs)
    cam = getattr(backend(method), _CAMS[method])(network, [chosen])

    def protect(_: object, __: object, output: object) -> object:
        # Comes after the library's own hooks: what follows in place then changes the copy.
        return output.clone() if isinstance(output, Tensor) else output

    handle = chosen.register_forward_hook(protect)
    hooks = cam.activations_and_grads
    try:
        scores = _scores(hooks(inputs))
        # Only towards the inputs: the weights' own .grad stay as they are.
        torch.autograd.grad(scores.gather(1, classes[:, None]).sum(), inputs)
        # Of a layer that is called several times, the last call counts.
        recorded = hooks.activations[-1:], hooks.gradients[-1:]
    finally:
        handle.remove()
        hooks.release()
    if not all(recorded) or recorded[0][0].ndim != 4:
        raise OptionError(f"the layer {layer!r} gives no feature map [B, C, h, w] that the classes depend on")
    activations, gradients = (values[0].float().numpy() for values in recorded)
    # The library's own scaling subtracts each map's minimum, which makes contrast where there is none.
    maps: Maps = cam.get_cam_image(inputs, chosen, [], activations, gradients, False)
    return maps


def _integrated_gradients(module: nn.Module, inputs: Tensor, classes: Tensor, baseline: float) -> Maps:
    explainer = backend("integrated_gradients").IntegratedGradients(lambda views: _scores(module(views)))
    values = explainer.attribute(
        inputs, baseline, target=classes, n_steps=_STEPS, internal_batch_size=max(_AT_ONCE, len(inputs))
    )
    return _pooled(values, "integrated_gradients")


def _occlusion(module: nn.Module, inputs: Tensor, classes: Tensor, baseline: float) -> Maps:
    import torch

    explainer = backend("occlusion").Occlusion(lambda views: _scores(module(views)))
    side = max(1, round(inputs.shape[-1] / _CELLS["occlusion"]))
    with torch.no_grad():
        values = explainer.attribute(
            inputs,
            sliding_window_shapes=(inputs.shape[1], 2 * side, 2 * side),
            strides=(inputs.shape[1], side, side),
            baselines=baseline,
            target=classes,
            perturbations_per_eval=max(1, _AT_ONCE // len(inputs)),
        )
    return _pooled(values, "occlusion")


def _scores(logits: Tensor) -> Tensor:
    """What is explained: a class's logit, or of two classes how far it is above the other's.

    A network with one output has a constant for the logit of its first class, which nothing speaks for.
    """
    return logits - logits.flip(1) if logits.shape[1] == 2 else logits


def _pooled(values: Tensor, method: str) -> Maps:
    from torch.nn.functional import adaptive_avg_pool2d

    cells = min(_CELLS[method], values.shape[-1])
    pooled: Maps = adaptive_avg_pool2d(values.detach().sum(dim=1).float().cpu(), cells).numpy()
    return pooled
