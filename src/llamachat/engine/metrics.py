"""What the server has done, for Prometheus; what it is doing is asked when the figures are."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from llamachat.engine.jobs import Job

OUTCOMES = ("ok", "error", "cancelled", "refused")
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)


class Metrics:
    """Counted on the event loop. `answered` once a request was answered since the start."""

    def __init__(self, version: str, model: str, restarts: int) -> None:
        self.answered = False
        self._mean_seconds = 1.0
        self._registry = kept = CollectorRegistry()  # not the package's own, with Python's figures in it
        Info("llamachat", "What runs", registry=kept).info({"version": version, "model": model})
        Counter("llamachat_restarts", "Deaths that were repaired", registry=kept).inc(restarts)
        self._requests = Counter("llamachat_requests", "Requests to the model", ["outcome"], registry=kept)
        for outcome in OUTCOMES:  # a series that begins at zero can be added up
            self._requests.labels(outcome)
        self._read = Counter("llamachat_prompt_tokens_read", "Read of prompts", registry=kept)
        self._cached = Counter("llamachat_prompt_tokens_cached", "Of prompts, not read again", registry=kept)
        self._written = Counter("llamachat_completion_tokens", "Written", registry=kept)
        self._waited = Histogram(
            "llamachat_queue_seconds", "From a request to its turn", buckets=SECONDS, registry=kept
        )
        self._first = Histogram(
            "llamachat_first_token_seconds",
            "From a request to its first token",
            buckets=SECONDS,
            registry=kept,
        )

    def gauge(self, name: str, description: str, value: Callable[[], float]) -> None:
        Gauge(f"llamachat_{name}", description, registry=self._registry).set_function(value)

    def refused(self) -> None:
        self._requests.labels("refused").inc()

    def ended(self, job: Job) -> None:
        self._requests.labels(job.outcome).inc()
        self.answered = self.answered or job.outcome == "ok"
        self._read.inc(job.read_tokens)
        self._cached.inc(job.cached_tokens)
        self._written.inc(job.completion_tokens)
        if job.begun is not None:
            self._waited.observe(job.begun - job.joined)
            self._mean_seconds += 0.1 * (time.monotonic() - job.begun - self._mean_seconds)
        if job.completion_tokens and job.read is not None:
            self._first.observe(job.read - job.joined)

    def seconds_for(self, requests: int) -> int:
        """How long so many requests take, one after the other, by those before; at least a second."""
        return max(1, round(self._mean_seconds * requests))

    def text(self) -> bytes:
        return generate_latest(self._registry)
