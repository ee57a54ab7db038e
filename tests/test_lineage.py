from __future__ import annotations

from dataclasses import replace

from lungcls.lineage import ancestors, other_segmenter
from lungcls.weights import load_card


def test_ancestors_are_named_with_their_own() -> None:
    lite = {"model": "efficientnet-lite0", "pretrained": "imagenet"}
    found = ancestors(lite, segmenter="segmenter", teachers=["classifier-full"])
    assert [one["role"] for one in found] == ["pretrained", "segmenter", "teacher"]
    assert found[1]["sha256"] == load_card("segmenter").sha256
    assert ancestors({"model": "densenet121"}) == ()


def test_a_classifier_on_the_masks_of_another_segmenter_is_told() -> None:
    classifier, segmenter = load_card("classifier-mask"), load_card("segmenter")
    own = {**classifier.training_data, "segmenter": segmenter.sha256}
    assert other_segmenter(replace(classifier, training_data=own), segmenter) is None
    assert other_segmenter(load_card("classifier-full"), segmenter) is None
    told = other_segmenter(replace(classifier, training_data={"segmenter": "0" * 64}), segmenter)
    assert told is not None
    assert "masks of another segmenter (000000000000)" in told
    line = {**segmenter.training_data, "init": "0" * 64}
    told = other_segmenter(
        replace(classifier, training_data={"segmenter": "0" * 64}), replace(segmenter, training_data=line)
    )
    assert told is not None
    assert "an earlier state of segmenter" in told
