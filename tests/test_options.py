from __future__ import annotations

import inspect
import json
import math
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lungcls
from lungcls.errors import LungclsError, OptionError
from lungcls.options import PipelineKeywords, PipelineOptions


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"region": "heart"}, "unknown region 'heart'"),
        ({"device": "nonsense"}, "unknown device 'nonsense'; expected auto, cpu, cuda, cuda:N or mps"),
        ({"device": ["cpu"]}, "unknown device"),
        ({"device": "cuda:x"}, "unknown device"),
        ({"engine": "tea"}, "engine is 'tea'; expected one of 'auto', 'torch'"),
        ({"engine": ["torch"]}, "engine is"),
        ({"precision": "int3"}, "precision is 'int3'"),
        ({"batch_size": 0}, "batch_size is 0; expected a whole number, at least 1"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"batch_size": 2.5}, "batch_size is 2.5"),
        ({"batch_size": True}, "batch_size is True"),
        ({"batch_size": "4"}, "batch_size is '4'"),
        ({"on_bad_mask": "ignore"}, "expected one of 'whole', 'refuse'"),
        ({"on_reject": None}, "on_reject is None"),
        ({"keep_parts": -1}, "keep_parts is -1"),
        ({"tta": -1}, "tta is -1"),
        ({"max_megapixels": 0}, "max_megapixels is 0"),
        ({"max_megapixels": math.nan}, "max_megapixels is nan"),
        ({"max_megapixels": "64"}, "max_megapixels is '64'"),
        ({"coverage": 1}, "coverage is 1"),
        ({"coverage": math.nan}, "coverage is nan"),
        ({"coverage": "most"}, "coverage is 'most'"),
    ],
)
def test_wrong_values_are_told_before_anything_is_loaded(values: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as refused:
        PipelineOptions(**values)
    assert said in str(refused.value)
    assert isinstance(refused.value, LungclsError)
    assert isinstance(refused.value, ValueError)


def test_right_values() -> None:
    options = PipelineOptions(
        region="crop", device="cuda:3", keep_parts=0, coverage=None, max_megapixels=math.inf, batch_size=1
    )
    assert replace(options, device="cpu").device == "cpu"
    with pytest.raises(FrozenInstanceError):
        options.device = "cpu"  # type: ignore[misc]


def test_they_are_the_options_of_the_pipeline() -> None:
    keywords = inspect.signature(lungcls.Pipeline).parameters
    defaults = {name: parameter.default for name, parameter in keywords.items()}
    here = {each.name: each.default for each in fields(PipelineOptions)}
    assert {name: here[name] for name in defaults} == defaults


def test_type_checkers_know_the_same_options() -> None:
    assert set(PipelineKeywords.__annotations__) == {each.name for each in fields(PipelineOptions)}


def test_every_option_says_what_it_is_for() -> None:
    for each in fields(PipelineOptions):
        assert each.metadata["help"].endswith("."), each.name


def test_as_plain_values() -> None:
    stage = type("Stage", (), {"card": type("Card", (), {"name": "mine"})})()
    options = PipelineOptions(segmenter=Path("a/b.safetensors"), classifier=np.float64, gate=stage)
    values = json.loads(json.dumps(options.to_dict()))
    assert values["segmenter"] == str(Path("a/b.safetensors"))
    assert values["classifier"] == "type"
    assert values["gate"] == "mine"
    assert list(values) == [each.name for each in fields(PipelineOptions)]


def test_no_torch_is_loaded() -> None:
    root = str(Path(lungcls.__file__).parent.parent)
    code = (
        f"import sys; sys.path.insert(0, {root!r}); import lungcls.options; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
