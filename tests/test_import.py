from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lungcls

MAIN = "import sys; sys.argv = ['lungcls', *{words!r}]\nfrom lungcls.cli.main import main\n"
CHECK = """
try:
    main()
except SystemExit as stopped:
    heavy = sorted({'torch', 'torchvision', 'albumentations', 'lightning'} & sys.modules.keys())
    sys.exit(f'loaded {heavy}' if heavy else stopped.code)
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(lungcls.__file__).parent.parent)
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["predict", "--help"], ["train", "--help"], ["data", "--help"], ["info"]],
)
def test_the_command_line_loads_no_torch_to_tell_about_itself(words: list[str]) -> None:
    result = python(MAIN.format(words=words) + CHECK)
    assert result.returncode == 0, result.stderr
    assert result.stdout
    assert result.stderr == ""


def test_importing_leaves_global_state_alone() -> None:
    code = """
import logging, random, warnings
filters, handlers, state = list(warnings.filters), list(logging.getLogger().handlers), random.getstate()
import lungcls
assert warnings.filters == filters
assert logging.getLogger().handlers == handlers
assert random.getstate() == state
"""
    result = python(code)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_all_public_names_are_there() -> None:
    for name in lungcls.__all__:
        assert getattr(lungcls, name) is not None
    assert dir(lungcls) == sorted(lungcls.__all__)
    from lungcls.pipeline import Pipeline

    assert lungcls.Pipeline is Pipeline


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'lungcls' has no attribute 'predcit'"):
        _ = lungcls.predcit
    assert not hasattr(lungcls, "__wrapped__")
