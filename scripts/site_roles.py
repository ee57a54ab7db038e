"""Docstrings of this library use Sphinx's roles; the site shows them as code."""

from __future__ import annotations

import re
from typing import Any, Final

import griffe

_ROLE: Final = re.compile(r":(?:class|func|meth|mod|data|attr|exc):`~?([^`]+)`")


class PlainRoles(griffe.Extension):
    """Turns ``:func:`name``` into code before a docstring is laid out."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = _ROLE.sub(r"`\1`", obj.docstring.value)
