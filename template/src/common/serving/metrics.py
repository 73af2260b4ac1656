"""What `/metrics` shows: figures of our own, and KServe's by their names. In Prometheus's text format."""

import asyncio
from bisect import bisect_left
from collections import Counter as Counts
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from ..link.frames import PHASES, Stats

SECONDS = (
    0.0001,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)

REQUESTS = Counter(
    "scaffold_requests", "Requests answered, by route and HTTP status", ["route", "code"]
)
LATENCY = Histogram(
    "scaffold_request_seconds",
    "From a request's last byte to its answer",
    ["route"],
    buckets=SECONDS,
)
PHASE = Histogram(
    "scaffold_phase_seconds",
    "One call of predict and what belongs to it",
    ["phase"],
    buckets=SECONDS,
)
QUEUE = Gauge("scaffold_queue_length", "Requests that wait or are being answered")
BATCH_ROWS = Histogram("scaffold_batch_rows", "Rows that shared a call of predict", buckets=ROWS)
BATCH_REQUESTS = Histogram(
    "scaffold_batch_requests", "Requests that shared a call of predict", buckets=ROWS
)
WORKER_RESTARTS = Counter("scaffold_worker_restarts", "Workers replaced, by reason", ["reason"])

try:
    from kserve.metrics import POST_HIST_TIME, PRE_HIST_TIME, PREDICT_HIST_TIME
except ModuleNotFoundError:  # another server than KServe's
    PRE_HIST_TIME, PREDICT_HIST_TIME, POST_HIST_TIME = (
        Histogram(f"request_{phase}_seconds", f"{text} request latency", ["model_name"])
        for phase, text in (
            ("preprocess", "pre-process"),
            ("predict", "predict"),
            ("postprocess", "post-process"),
        )
    )

_PHASES = [PHASE.labels(phase) for phase in PHASES]


class Batches:
    """Counts what the workers report, on our figures and on KServe's.

    Args:
        model_name: the label of KServe's figures.
    """

    def __init__(self, model_name: str) -> None:
        self._pre = PRE_HIST_TIME.labels(model_name=model_name)
        self._predict = PREDICT_HIST_TIME.labels(model_name=model_name)
        self._post = POST_HIST_TIME.labels(model_name=model_name)

    def observe(self, stats: Stats) -> None:
        """Count one call of `predict`. KServe counts requests: each is given its share of what they took together."""
        BATCH_ROWS.observe(stats.rows)
        BATCH_REQUESTS.observe(stats.requests)
        for phase, seconds in zip(_PHASES, stats.seconds, strict=True):
            phase.observe(seconds)
        _, preprocess, predict, postprocess, _ = stats.seconds
        observe(self._pre, [preprocess / stats.requests], stats.requests)
        observe(self._predict, [predict], stats.requests)
        observe(self._post, [postprocess / stats.requests], stats.requests)


class Requests:
    """Counts answered requests, those of one round of the running event loop together."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, int], list[float]] = {}

    def add(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        if not self._seconds:
            asyncio.get_running_loop().call_soon(self._count)
        self._seconds.setdefault((route, status), []).append(seconds)

    def _count(self) -> None:
        for (route, status), seconds in self._seconds.items():
            REQUESTS.labels(route, status).inc(len(seconds))
            observe(LATENCY.labels(route), seconds)
        self._seconds.clear()


def observe(histogram: Any, amounts: list[float], times: int = 1) -> None:
    """What `histogram.observe(amount)` does, for each of the amounts, so many times each, in fewer steps."""
    histogram._sum.inc(sum(amounts) * times)
    buckets = Counts(bisect_left(histogram._upper_bounds, amount) for amount in amounts)
    for bucket, found in buckets.items():
        histogram._buckets[bucket].inc(found * times)
