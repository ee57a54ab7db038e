from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lungcls.errors import RecipeError
from lungcls.labels import CLASSES
from lungcls.regions import Region
from lungcls.training.distillation import Teachers
from lungcls.weights import load_card


def _region(path: Path) -> Region:
    return Region(**(load_card(path).region or {}))


def _views() -> torch.Tensor:
    return torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_student_that_answers_as_its_teacher_has_nothing_to_learn(tiny_classifier: Path) -> None:
    teachers = Teachers([tiny_classifier], _region(tiny_classifier), CLASSES, temperature=2.0)
    views = _views()
    answers = teachers.probabilities(views)
    assert torch.allclose(answers.sum(1), torch.ones(3))
    same = 2.0 * answers.log() + 5.0  # logits are free up to a constant
    assert teachers.loss(same, views).abs() < 1e-5
    assert teachers.loss(torch.tensor([[9.0, 0, 0, 0]]).expand(3, 4), views) > 0.1


def test_the_divergence_by_hand(tiny_classifier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teachers = Teachers([tiny_classifier], _region(tiny_classifier), CLASSES, temperature=2.0)
    sure = torch.tensor([[0.7, 0.1, 0.1, 0.1]])
    monkeypatch.setattr(teachers, "probabilities", lambda views: sure)
    # KL(teacher || uniform) = sum p log(4 p), times the squared temperature.
    expected = 4 * (sure * (4 * sure).log()).sum()
    assert torch.isclose(teachers.loss(torch.zeros(1, 4), _views()), expected)


def test_several_teachers_answer_by_their_mean(tiny_classifier: Path) -> None:
    region = _region(tiny_classifier)
    one = Teachers([tiny_classifier], region, CLASSES, 1.0).probabilities(_views())
    two = Teachers([tiny_classifier, tiny_classifier], region, CLASSES, 1.0).probabilities(_views())
    assert torch.allclose(one, two)


def test_a_teacher_of_something_else_is_refused(tiny_classifier: Path) -> None:
    with pytest.raises(RecipeError, match=r"sees the region .*mask.*full"):
        Teachers([tiny_classifier], Region("full"), CLASSES, 1.0)
    with pytest.raises(RecipeError, match="knows the classes"):
        Teachers([tiny_classifier], _region(tiny_classifier), CLASSES[:3], 1.0)


def test_a_teacher_sees_the_size_that_it_was_trained_for(tiny_classifier: Path) -> None:
    teachers = Teachers([tiny_classifier], _region(tiny_classifier), CLASSES, 1.0)
    views = _views()
    twice = views.repeat_interleave(2, 1).repeat_interleave(2, 2)
    grey = torch.full((1, 16, 16), 90, dtype=torch.uint8)
    # Shrunk to half, every two by two equal pixels become one; a flat view stays what it is.
    assert torch.allclose(teachers.probabilities(twice), teachers.probabilities(views), atol=1e-5)
    large = grey.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.allclose(teachers.probabilities(grey), teachers.probabilities(large), atol=1e-5)
