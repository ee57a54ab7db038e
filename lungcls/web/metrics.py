"""What the service counts, for Prometheus; in a registry of its own, so that applications do not mix."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_IMAGES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters and gauges of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "lungcls_requests_total",
            "Requests that were answered.",
            ["path", "method", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "lungcls_request_seconds",
            "Time from the head of a request to the end of its answer.",
            ["path"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.refused = Counter(
            "lungcls_refused_total",
            "Requests that were refused, by kind of problem.",
            ["problem"],
            registry=self.registry,
        )
        self.batches = Histogram(
            "lungcls_batch_images",
            "Images that went through the networks together.",
            buckets=_IMAGES,
            registry=self.registry,
        )
        self.batch_seconds = Histogram(
            "lungcls_batch_seconds",
            "Time that a batch took.",
            buckets=_SECONDS,
            registry=self.registry,
        )

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a gauge that is read when it is asked for."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def watch_process(self, name: str, pid: Callable[[], int | None]) -> None:
        """Add memory and time of another process, while there is one."""
        # The library's own sign for a process that is not there is an OSError while it reads /proc.
        ProcessCollector(name, lambda: pid() or -1, registry=self.registry)

    def text(self) -> bytes:
        """Return all values in Prometheus' text format."""
        return generate_latest(self.registry)
