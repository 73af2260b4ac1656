"""The NVIDIA GPUs of this machine, and their memory, as the driver's own library tells them.

Source: NVML API Reference Guide. `pynvml` is NVIDIA's binding, the distribution nvidia-ml-py.
"""

import ctypes
import logging
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)

LIBRARY = "libnvidia-ml.so.1"


@dataclass(frozen=True)
class Memory:
    """The memory of a GPU, or of an instance of one that is divided (MIG), in bytes.

    Attributes:
        gpu: the number of the GPU, as nvidia-smi shows it.
        uuid: of the GPU or of the instance.
    """

    gpu: str
    uuid: str
    used: int
    total: int


class GPUs:
    """The GPUs, and the instances of those that are divided.

    Raises:
        OSError: there is no driver, no binding, or no GPU that it can speak to.
    """

    def __init__(self) -> None:
        ctypes.CDLL(LIBRARY)  # without a driver the binding is not imported: it is large
        try:
            import pynvml  # type: ignore[import-not-found, unused-ignore]
        except ImportError as error:
            raise OSError("nvidia-ml-py is not installed") from error
        self._nvml: Any = pynvml
        try:
            pynvml.nvmlInit()
            self._found = [
                each for number in range(pynvml.nvmlDeviceGetCount()) for each in self._of(number)
            ]
        except pynvml.NVMLError as error:
            raise OSError(str(error)) from error

    @property
    def uuids(self) -> list[str]:
        """Their UUIDs, as `CUDA_VISIBLE_DEVICES` takes them."""
        return [uuid for _, uuid, _ in self._found]

    def memory(self) -> list[Memory]:
        """The memory of each, without those that do not tell."""
        found = []
        for gpu, uuid, handle in self._found:
            try:
                told = self._nvml.nvmlDeviceGetMemoryInfo(handle)
            except self._nvml.NVMLError as error:
                logger.debug("the memory of GPU %s cannot be read: %s", uuid, error)
                continue
            found.append(Memory(gpu, uuid, int(told.used), int(told.total)))
        return found

    def _of(self, number: int) -> list[tuple[str, str, Any]]:
        """A GPU, or its instances: each with the GPU's number, its own UUID and its handle."""
        try:
            whole = self._nvml.nvmlDeviceGetHandleByIndex(number)
            handles = self._instances(whole) or [whole]
            return [(str(number), self._nvml.nvmlDeviceGetUUID(each), each) for each in handles]
        except self._nvml.NVMLError as error:  # one that fell off the bus does not hide the others
            logger.warning("GPU %d cannot be used: %s", number, error)
            return []

    def _instances(self, gpu: Any) -> list[Any]:
        nvml, found = self._nvml, []
        try:
            current, _ = nvml.nvmlDeviceGetMigMode(gpu)
            if current != nvml.NVML_DEVICE_MIG_ENABLE:
                return []
            count = nvml.nvmlDeviceGetMaxMigDeviceCount(gpu)
        except nvml.NVMLError:  # it cannot be divided, or the driver is older than that
            return []
        for number in range(count):
            try:
                found.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, number))
            except nvml.NVMLError:  # there are fewer than there may be
                continue
        return found


def uuids() -> list[str]:
    """The UUIDs of the GPUs and instances that this machine, or container, has."""
    try:
        return GPUs().uuids
    except OSError as error:
        logger.debug("no GPU is found: %s", error)
        return []
