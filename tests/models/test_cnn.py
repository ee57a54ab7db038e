from __future__ import annotations

import pytest
import torch

from lungcls.models import create_model


def test_one_logit_gives_two_probabilities() -> None:
    torch.manual_seed(0)
    network = create_model({"model": "cnn-strided", "size": 48}).eval()
    views = torch.rand(3, 1, 48, 48)
    with torch.inference_mode():
        logits = network(views)
        inner = network.network  # the colour network below the repeated channels
        single = inner.classifier[:-1](inner.features(views.expand(-1, 3, -1, -1)))
    assert single.shape == (3, 1)
    assert logits.shape == (3, 2)
    torch.testing.assert_close(logits.softmax(1)[:, 1], torch.sigmoid(single[:, 0]))


@pytest.mark.parametrize("name", ["cnn-4conv", "cnn-strided", "cnn-vgg-bn", "cnn-3conv-512"])
def test_a_grey_stem_has_a_third_of_the_first_kernels(name: str) -> None:
    counts = {
        channels: sum(
            value.numel()
            for value in create_model({"model": name, "size": 64, "channels": channels}).parameters()
        )
        for channels in (1, 3)
    }
    width = {"cnn-4conv": 32, "cnn-strided": 64, "cnn-vgg-bn": 32, "cnn-3conv-512": 64}[name]
    assert counts[3] - counts[1] == 2 * 9 * width


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 8}, "an input of 8 pixels is too small"),
        ({"channels": 2}, "channels is 2; expected 1"),
        ({"classes": 1}, "classes is 1; expected at least 2"),
        ({"pretrained": "imagenet"}, "cnn-4conv can start from 'none'"),
        ({"depth": 3}, "do not fit the model 'cnn-4conv'.*depth"),
    ],
)
def test_impossible_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_model({"model": "cnn-4conv", **options})
