"""Prints what `/metrics` shows after some traffic, and what it must show, for test_metrics.py.

The second is counted by prometheus_client's own metrics, one observation a request.
"""

import asyncio
import json
import sys
from collections.abc import Iterable
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import generate_latest as plain_text
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics

from common.link.frames import PHASES, Stats
from common.serving import metrics

SECONDS = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
SECONDS += (10, 30, 60)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)
BATCHES = [  # times that doubles hold exactly, some of them on a bucket's upper bound
    Stats(1, 1, (0.0, 0.0078125, 0.5, 0.25, 2.0)),
    Stats(4, 9, (0.5, 2.0, 1.0, 8.0, 128.0)),
    Stats(16384, 20000, (0.0078125, 0.0, 64.0, 16.0, 0.5)),
]
ANSWERS = [
    ("predict", 200, [0.5, 0.0078125, 0.5, 99.0]),
    ("infer", 400, [1.0]),
    ("kserve", 500, [0.0]),
]


def reference() -> CollectorRegistry:
    """What must be shown."""
    registry = CollectorRegistry()

    def histogram(name: str, text: str, labels: Iterable[str] = (), **options: Any) -> Histogram:
        return Histogram(name, text, labels, registry=registry, **options)

    requests = Counter(
        "scaffold_requests",
        "Requests answered, by route and HTTP status",
        ["route", "code"],
        registry=registry,
    )
    latency = histogram(
        "scaffold_request_seconds",
        "From a request's last byte to its answer",
        ["route"],
        buckets=SECONDS,
    )
    phase = histogram(
        "scaffold_phase_seconds",
        "One call of predict and what belongs to it",
        ["phase"],
        buckets=SECONDS,
    )
    labels = ["model_name", "version", "framework"]
    Gauge("scaffold_model_info", "The model: always 1", labels, registry=registry)
    Gauge(
        "scaffold_queue_length", "Requests that wait or are being answered", registry=registry
    ).set(3)
    rows = histogram("scaffold_batch_rows", "Rows that shared a call of predict", buckets=ROWS)
    shared = histogram(
        "scaffold_batch_requests", "Requests that shared a call of predict", buckets=ROWS
    )
    ended = Counter(
        "scaffold_sharing_ended",
        "Workers whose requests share no call of predict any more: an answer depended on it",
        registry=registry,
    )
    restarts = Counter(
        "scaffold_worker_restarts", "Workers replaced, by reason", ["reason"], registry=registry
    )
    for reason in ("died", "stuck", "broken"):
        restarts.labels(reason)  # shown before the first restart
    restarts.labels("died").inc()
    kserves = [
        histogram(f"request_{name}_seconds", f"{text} request latency", ["model_name"])
        for name, text in (
            ("preprocess", "pre-process"),
            ("predict", "predict"),
            ("postprocess", "post-process"),
        )
    ]
    ended.inc()
    for batch in BATCHES:
        rows.observe(batch.rows)
        shared.observe(batch.requests)
        for name, seconds in zip(PHASES, batch.seconds, strict=True):
            phase.labels(name).observe(seconds)
        shares = (batch.requests, 1, batch.requests)
        for figure, seconds, share in zip(kserves, batch.seconds[1:4], shares, strict=True):
            for _ in range(batch.requests):
                figure.labels("model").observe(seconds / share)
    for route, status, amounts in ANSWERS:
        for amount in amounts:
            requests.labels(route, status).inc()
            latency.labels(route).observe(amount)
    return registry


async def traffic() -> None:
    """Count the same with the scaffold's own metrics."""
    batches, requests = metrics.Batches("model"), metrics.Requests()
    metrics.QUEUE.set_function(lambda: 3)
    metrics.WORKER_RESTARTS.labels("died").inc()
    for batch in (*BATCHES, Stats(0, 0, (0.0,) * len(PHASES), 1)):
        batches.observe(batch)
    for route, status, amounts in ANSWERS:
        for amount in amounts:
            requests.add(route, status, amount)
    await asyncio.sleep(0)


if __name__ == "__main__":
    expected = reference()
    asyncio.run(traffic())
    texts = [
        [encode(registry).decode() for registry in (REGISTRY, expected)]
        for encode in (plain_text, open_metrics)
    ]
    json.dump(texts, sys.stdout)
