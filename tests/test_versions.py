from __future__ import annotations

import platform

import numpy

from lungcls.versions import versions


def test_versions_of_what_is_there() -> None:
    found = versions()
    assert next(iter(found)) == "python"
    assert found["python"] == platform.python_version()
    assert found["numpy"] == numpy.__version__
    assert found["machine"] == platform.machine()
