from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import multiprocessing, sys
import numpy as np
from lungcls.engines import load_network
from lungcls.errors import ForkError

views = np.random.default_rng(0).integers(0, 256, (16, 192, 192), dtype=np.uint8)

def ask(_):
    try:
        return load_network.network(views)
    except ForkError as error:
        return str(error)

if __name__ == "__main__":
    loaded = load_network("classifier-mask", "classification", engine=sys.argv[1], device="cpu")
    load_network.network = loaded[1]
    expected = ask(0)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        [answer] = pool.map_async(ask, [0]).get(timeout=100)
    if isinstance(answer, str):
        print(answer)
    else:
        print("differs by", np.abs(answer - expected).max())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize(
    ("engine", "said"),
    [
        pytest.param("torch", "differs by", marks=pytest.mark.slow),
        ("onnxruntime", "get_context('spawn')"),
        ("openvino", "get_context('spawn')"),
    ],
)
def test_a_forked_child_answers_or_says_why_not(engine: str, said: str, tmp_path: Path) -> None:
    pytest.importorskip(engine)
    script = tmp_path / "forks.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}  # with one there is no thread to wait for
    command = [sys.executable, str(script), engine]
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert answer.returncode == 0, answer.stderr
    assert said in answer.stdout
    if engine == "torch":
        assert float(answer.stdout.split()[-1]) < 1e-5
