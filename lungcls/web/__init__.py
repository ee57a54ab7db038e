"""The web page and the REST service: ``lungcls serve``, or :func:`create_app` for a server of one's own."""

from __future__ import annotations

from lungcls.web.app import create_app
from lungcls.web.settings import Settings

__all__ = ["Settings", "create_app"]
