"""An S3 bucket on this machine whose server fails, throttles and dawdles: moto behind a few lines.

Used by ``scale.py`` and by the tests.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class Flaky:
    """A WSGI application that answers some requests with 503 SlowDown, and some late.

    Parameters
    ----------
    application : WSGI application
    errors, slow : float
        Shares of requests.
    delay : float
        Seconds that a slow one waits.
    """

    def __init__(self, application: Any, errors: float, slow: float, delay: float) -> None:
        self._application = application
        self._random = random.Random(0)
        self.errors, self.slow, self.delay = errors, slow, delay
        self.counts: Counter[str] = Counter()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        chance = self._random.random()
        self.counts["requests"] += 1
        if chance < self.errors:
            self.counts["errors"] += 1
            start_response("503 Slow Down", [("Content-Type", "application/xml")])
            return [_SLOW_DOWN]
        if chance < self.errors + self.slow:
            self.counts["slow"] += 1
            time.sleep(self.delay)
        answer: Iterable[bytes] = self._application(environ, start_response)
        return answer


@contextmanager
def flaky_bucket(
    *, errors: float = 0.05, slow: float = 0.05, delay: float = 0.5
) -> Iterator[tuple[str, Flaky]]:
    """Serve an empty bucket called ``films``.

    Yields
    ------
    str
        The endpoint's URL.
    Flaky
        Counts what was asked; its shares can be changed.
    """
    import boto3
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    flaky = Flaky(DomainDispatcherApplication(create_backend_app), 0.0, 0.0, delay)
    server = make_server("127.0.0.1", 0, flaky, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
        boto3.client("s3", endpoint_url=endpoint, **keys).create_bucket(Bucket="films")
        flaky.errors, flaky.slow = errors, slow
        yield endpoint, flaky
    finally:
        server.shutdown()
        thread.join()
