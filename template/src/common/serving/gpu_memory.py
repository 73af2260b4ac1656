"""The memory of the GPUs at `/metrics`. A thread reads it: a driver may take its time, or hang.

The labels are those of NVIDIA's DCGM exporter: https://github.com/NVIDIA/dcgm-exporter
"""

import logging
import os
import threading
import time
from collections.abc import Iterable

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ..config import Config
from ..link import gpus
from ..link.nvml import GPUs, Memory

logger = logging.getLogger(__name__)

SECONDS = 5.0  # between two readings
STALE_SECONDS = 4 * SECONDS  # after which a reading says nothing of now
LABELS = ("gpu", "UUID")
NO_GPU = (
    "config.yaml says gpu: true, and no NVIDIA GPU is visible: the model runs on the CPU, where it"
    " can. Give the container one (docker run --gpus all, the limit nvidia.com/gpu), or look at"
    f" {gpus.VISIBLE} in its environment"
)
UNUSED = (
    "there is an NVIDIA GPU, and this scaffold hides it from its workers, so that the model"
    " answers as it did on the CPU: gpu: true under serving in config.yaml shows it to them"
)
ON_CPU = ("sklearn", "lightgbm", "statsmodels")  # which predict nowhere else


class GPUMemory(Collector):
    """The memory of each GPU, as it was last read; nothing where no GPU was read of late.

    Args:
        registry: where it is registered.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._read: list[Memory] = []
        self._at = 0.0
        registry.register(self)

    def keep(self, memory: list[Memory]) -> None:
        """Keep a reading."""
        self._at = time.monotonic()
        self._read = memory

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The gauges, as prometheus_client shows its own."""
        if not self._read or time.monotonic() - self._at > STALE_SECONDS:
            return []
        used = GaugeMetricFamily(
            "scaffold_gpu_memory_used_bytes", "Memory of a GPU that is taken", labels=LABELS
        )
        total = GaugeMetricFamily(
            "scaffold_gpu_memory_total_bytes", "Memory that a GPU has", labels=LABELS
        )
        for each in self._read:
            used.add_metric((each.gpu, each.uuid), each.used)
            total.add_metric((each.gpu, each.uuid), each.total)
        return [used, total]


def start(config: Config) -> None:
    """Read the memory from now on, where workers may use GPUs; log what is amiss with them."""
    names = gpus.named(os.environ)
    if names is None and not config.serving.gpu:
        if config.framework not in ON_CPU and gpus.present():
            logger.warning(UNUSED)
        return
    if names == []:
        if config.serving.gpu:
            logger.warning(NO_GPU)
        return
    threading.Thread(target=_watch, args=(config,), name="gpu-memory", daemon=True).start()


def _watch(config: Config) -> None:
    try:
        found = GPUs()
        is_there = bool(found.uuids)
    except OSError as error:
        logger.debug("no GPU's memory is read: %s", error)
        found, is_there = None, gpus.present()
    if config.serving.gpu and not is_there:
        logger.warning(NO_GPU)
    if found is None or not is_there:
        return
    kept = GPUMemory()
    while True:
        kept.keep(found.memory())
        time.sleep(SECONDS)
