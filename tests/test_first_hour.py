"""The documents' examples do what they say: every block runs, in order, in one folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lungcls

DOCS = Path(__file__).parents[1] / "docs"

# In a process of its own: what a page registers is known to no other test.
DRIVER = r"""
import contextlib, io, re, subprocess, sys
names, printed = {"__name__": "document"}, []
page = open(sys.argv[1], encoding="utf-8").read()
for kind, code in re.findall(r"^```(python|sh|text)\n(.*?)^```$", page, re.M | re.S):
    if kind == "python":
        target = io.StringIO()
        with contextlib.redirect_stdout(target):
            exec(compile(code, repr(code[:40]), "exec"), names)
        printed = target.getvalue().splitlines()
    elif kind == "sh":
        command = 'lungcls() { "%s" -m lungcls "$@"; }\nset -e\n%s' % (sys.executable, code)
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        printed = done.stdout.splitlines()
    else:
        lacking = [line for line in code.splitlines() if line not in printed]
        assert not lacking, (lacking, printed)
        print("ok")
"""


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("first_hour.md", 10),
        ("extend.md", 4),
        pytest.param("trust.md", 2, marks=pytest.mark.slow),
        pytest.param("quality.md", 1, marks=pytest.mark.slow),
    ],
)
def test_every_block_prints_what_stands_below_it(name: str, outputs: int, tmp_path: Path) -> None:
    for package in ("pandas", "pytorch_grad_cam", "lightning"):
        pytest.importorskip(package, reason="the documents use every extra")
    page = DOCS / name
    if not page.is_file():
        pytest.skip("the tests run without the checkout: there are no documents")
    path = os.pathsep.join([str(Path(lungcls.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(page)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split().count("ok") == outputs
