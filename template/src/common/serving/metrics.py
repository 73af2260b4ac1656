"""The metrics at `/metrics`: the scaffold's own, and KServe's under their names.

Source of the format: Prometheus's text exposition format.
"""

import asyncio
import os
import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from ..config import Config
from ..link.frames import PHASES, Stats

# prometheus_client's own setting: no `_created` series.
CREATED = os.environ.get("PROMETHEUS_DISABLE_CREATED_SERIES", "").lower() not in ("true", "1", "t")


class HistogramSeries:
    """The observations of a histogram for one set of label values.

    Args:
        bounds: the buckets' upper bounds in ascending order, without +Inf.

    Attributes:
        created: when the series began, in Unix seconds.
        sum: the sum of all observations.
    """

    __slots__ = ("_bounds", "_counts", "created", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.created = time.time()
        self.sum = 0.0

    def observe(self, amount: float, times: int = 1) -> None:
        """Count an amount, as often as it was observed."""
        self._counts[bisect_left(self._bounds, amount)] += times
        self.sum += amount * times

    def buckets(self) -> list[tuple[str, float]]:
        """Each bucket's upper bound and its cumulative count; the last bound is +Inf."""
        bounds = [*map(repr, self._bounds), "+Inf"]
        return list(zip(bounds, accumulate(self._counts), strict=True))


class FastHistogram(Collector):
    """A Prometheus histogram without locks, several times faster than prometheus_client's.

    Any thread may collect it. One thread at a time may observe a series.

    Args:
        name: the metric's name.
        documentation: its help text.
        bounds: the buckets' upper bounds in ascending order, without +Inf.
        label_names: the names of its labels.
        registry: where it is registered.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        bounds: Iterable[float],
        label_names: Sequence[str] = (),
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = tuple(float(bound) for bound in bounds)
        self._label_names = label_names
        self._series: dict[tuple[str, ...], HistogramSeries] = {}
        registry.register(self)

    def labels(self, *values: str) -> HistogramSeries:
        """The series with these label values. It is shown from the first call on."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = HistogramSeries(self._bounds)
        return series

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """The histogram as prometheus_client shows its own."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._label_names)
        for values, series in self._series.copy().items():
            family.add_metric(values, series.buckets(), series.sum)
            if CREATED:
                labels = dict(zip(self._label_names, values, strict=True))
                family.samples.append(Sample(f"{self._name}_created", labels, series.created))
        return [family]


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
KSERVE_SECONDS = Histogram.DEFAULT_BUCKETS[:-1]  # the last is +Inf

REQUESTS = Counter(
    "scaffold_requests", "Requests answered, by route and HTTP status", ["route", "code"]
)
LATENCY = FastHistogram(
    "scaffold_request_seconds", "From a request's last byte to its answer", SECONDS, ["route"]
)
PHASE = FastHistogram(
    "scaffold_phase_seconds", "One call of predict and what belongs to it", SECONDS, ["phase"]
)
MODEL = Gauge("scaffold_model_info", "The model: always 1", ["model_name", "version", "framework"])
QUEUE = Gauge("scaffold_queue_length", "Requests that wait or are being answered")
BATCH_ROWS = FastHistogram("scaffold_batch_rows", "Rows that shared a call of predict", ROWS)
BATCH_REQUESTS = FastHistogram(
    "scaffold_batch_requests", "Requests that shared a call of predict", ROWS
)
SHARING_ENDED = Counter(
    "scaffold_sharing_ended",
    "Workers whose requests share no call of predict any more: an answer depended on it",
)
WORKER_RESTARTS = Counter("scaffold_worker_restarts", "Workers replaced, by reason", ["reason"])
for _reason in ("died", "stuck", "broken"):
    WORKER_RESTARTS.labels(_reason)  # shown as 0: PromQL's increase() misses a series' first value


def _unregister_from_kserve() -> None:
    """Remove the histograms that KServe registers: its model fills them, and ours replaces it."""
    try:
        from kserve import metrics as kserve
    except ModuleNotFoundError:  # a server without KServe
        return
    for histogram in (kserve.PRE_HIST_TIME, kserve.PREDICT_HIST_TIME, kserve.POST_HIST_TIME):
        REGISTRY.unregister(histogram)


def _kserve_histogram(phase: str, text: str) -> FastHistogram:
    name, documentation = f"request_{phase}_seconds", f"{text} request latency"
    return FastHistogram(name, documentation, KSERVE_SECONDS, ["model_name"])


_unregister_from_kserve()
KSERVE_PREPROCESS = _kserve_histogram("preprocess", "pre-process")
KSERVE_PREDICT = _kserve_histogram("predict", "predict")
KSERVE_POSTPROCESS = _kserve_histogram("postprocess", "post-process")


class Batches:
    """Counts the workers' calls of `predict`, in our metrics and in KServe's.

    Args:
        model_name: the label of KServe's metrics.
    """

    def __init__(self, model_name: str) -> None:
        self._rows = BATCH_ROWS.labels()
        self._requests = BATCH_REQUESTS.labels()
        self._phases = [PHASE.labels(phase) for phase in PHASES]
        self._preprocess = KSERVE_PREPROCESS.labels(model_name)
        self._predict = KSERVE_PREDICT.labels(model_name)
        self._postprocess = KSERVE_POSTPROCESS.labels(model_name)

    def observe(self, stats: Stats) -> None:
        """Count one call of `predict`.

        KServe counts requests. A request's `preprocess` and `postprocess` count as their mean.
        """
        requests = stats.requests
        if stats.ended:
            SHARING_ENDED.inc()
        if not requests:
            return
        self._rows.observe(stats.rows)
        self._requests.observe(requests)
        for phase, seconds in zip(self._phases, stats.seconds, strict=True):
            phase.observe(seconds)
        _, preprocess, predict, postprocess, _ = stats.seconds
        self._preprocess.observe(preprocess / requests, requests)
        self._predict.observe(predict, requests)
        self._postprocess.observe(postprocess / requests, requests)


def tell_model(config: Config) -> None:
    """Show which model is served. A label that is empty stands for none."""
    MODEL.labels(config.name, config.model.version or "", config.framework).set(1)


class Requests:
    """Counts answered requests. Those of one iteration of the event loop are counted together."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, int], list[float]] = {}

    def add(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        if not self._seconds:
            asyncio.get_running_loop().call_soon(self._count)
        self._seconds.setdefault((route, status), []).append(seconds)

    def _count(self) -> None:
        for (route, status), amounts in self._seconds.items():
            REQUESTS.labels(route, str(status)).inc(len(amounts))
            latency = LATENCY.labels(route)
            for amount in amounts:
                latency.observe(amount)
        self._seconds.clear()
