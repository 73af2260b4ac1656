"""`reference/metrics.md`: the metrics, from the objects that count them."""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from common.link.frames import PHASES
from common.link.nvml import Memory
from common.serving import metrics
from common.serving.gpu_memory import GPUMemory
from common.serving.grpc.inference import ROUTE, STREAM_ROUTE
from common.serving.predict_routes import ROUTES

from .markup import code, table

VALUES = {"phase": PHASES, "route": (*ROUTES, ROUTE, STREAM_ROUTE)}
HEAD = ("metric", "type", "labels", "what it is")


def page() -> str:
    """A table of the metrics."""
    rows = [
        (code(_name(family)), family.type, _labels(labels), family.documentation)
        for family, labels in families()
    ]
    return table(HEAD, rows)


def families() -> Iterator[tuple[Metric, tuple[str, ...]]]:
    """Each metric, with the names of its labels."""
    for collector in vars(metrics).values():
        if isinstance(collector, (MetricWrapperBase, metrics.FastHistogram)):
            for family in collector.collect():
                yield family, _label_names(collector)
    gpus = GPUMemory(CollectorRegistry())
    gpus.keep([Memory(gpu="0", uuid="GPU-0", used=0, total=0)])
    for gauge in gpus.collect():
        yield gauge, tuple(gauge.samples[0].labels)


def _label_names(collector: Collector) -> tuple[str, ...]:
    """prometheus_client and our own histogram keep them under two names, and tell neither."""
    kept = vars(collector)
    names: Iterable[str] = kept.get("_labelnames") or kept.get("_label_names") or ()
    return tuple(names)


def _name(family: Metric) -> str:
    """The name as `/metrics` has it: that of a counter ends in `_total`."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def _labels(names: Iterable[str]) -> str:
    return "; ".join(map(_label, names))


def _label(name: str) -> str:
    values = VALUES.get(name)
    if values is None:
        return code(name)
    return f"{code(name)}: {', '.join(map(code, values))}"
