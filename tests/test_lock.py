"""The lock file names what ``pyproject.toml`` asks for; SECURITY.md says how it is made anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

tomllib = pytest.importorskip("tomllib", reason="comes with Python 3.11")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    if not (ROOT / "requirements.lock").is_file():
        pytest.skip("the tests run without the checkout: there is no lock file")
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def locked() -> dict[str, list[str]]:
    """The versions by package: more than one where they differ by Python or platform."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    versions: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", text, re.M):
        versions.setdefault(canonicalize_name(name), []).append(version)
    return versions


def wanted(project: dict[str, Any], extra: str) -> Iterator[Requirement]:
    """What an extra asks for, and the extras that it names."""
    for line in project["optional-dependencies"][extra]:
        requirement = Requirement(line)
        if canonicalize_name(requirement.name) == project["name"]:
            for inner in requirement.extras:
                yield from wanted(project, inner)
        else:
            yield requirement


def test_every_package_of_the_extra_all_is_locked_at_a_version_that_is_allowed(
    project: dict[str, Any],
) -> None:
    versions = locked()
    requirements = [*map(Requirement, project["dependencies"]), *wanted(project, "all")]
    assert len(requirements) > 40
    for requirement in requirements:
        found = versions.get(canonicalize_name(requirement.name), [])
        assert found, f"{requirement} is not in requirements.lock: lock anew (SECURITY.md)"
        assert any(requirement.specifier.contains(one, prereleases=True) for one in found), (
            f"requirements.lock has {requirement.name} {found}, and pyproject.toml asks for {requirement}: "
            "lock anew (SECURITY.md)"
        )


def test_every_locked_package_has_hashes_and_comes_from_no_address(project: dict[str, Any]) -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.M)[1:]
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
