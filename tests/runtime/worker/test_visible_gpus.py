"""Which GPUs workers see, what is told of them, and their memory at `/metrics`."""

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from common.config import Config, Model, Serving
from common.link import gpus, launch
from common.link.nvml import Memory
from common.serving import gpu_memory
from common.worker import gpu
from common.worker.main import _reason

VISIBLE = gpus.VISIBLE


def config_of(framework: str = "pytorch", on_gpu: bool = True, workers: int = 1) -> Config:
    return Config("model", framework, Serving(workers=workers, gpu=on_gpu), Model())


@pytest.fixture(autouse=True)
def _unnamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VISIBLE, raising=False)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, None),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0", ["0"]),
        ("2, 0", ["2", "0"]),
        ("0,1,-1,2", ["0", "1"]),
        ("1,1", ["1"]),
        ("GPU-8932f937-d72c", ["GPU-8932f937-d72c"]),
        ("MIG-GPU-8932f937/1/0,MIG-5af4", ["MIG-GPU-8932f937/1/0", "MIG-5af4"]),
        ("0,,1", ["0"]),
        ("0,1,", ["0", "1"]),
        ("\u0663", []),  # a digit, but none of CUDA's
    ],
)
def test_the_environment_names_gpus(value: str | None, names: list[str] | None) -> None:
    assert gpus.named({} if value is None else {VISIBLE: value}) == names


@pytest.mark.parametrize(
    ("files", "there"),
    [
        (["nvidia0", "nvidiactl"], True),
        (["nvidiactl", "nvidia-uvm"], False),
        (["dxg"], True),
        ([], False),
    ],
)
def test_a_gpu_is_seen_by_its_device(files: list[str], there: bool, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).touch()
    assert gpus.present(tmp_path) == gpus.visible({}, tmp_path) == there
    assert not gpus.visible({VISIBLE: ""}, tmp_path)
    assert gpus.visible({VISIBLE: "0"}, tmp_path)


@pytest.mark.parametrize(
    ("workers", "on_gpu", "named", "seen"),
    [
        (1, True, None, [None]),
        (2, True, None, ["GPU-a", "GPU-b"]),
        (3, True, None, ["GPU-a", "GPU-b", "GPU-a"]),
        (2, True, "1,0,2", ["1", "0"]),
        (2, True, "", [None, None]),
        (2, False, None, [None, None]),
        (2, False, "1,0", ["1", "0"]),
    ],
)
def test_each_of_several_workers_has_one_in_turn(
    workers: int,
    on_gpu: bool,
    named: str | None,
    seen: list[str | None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    environ = {} if named is None else {VISIBLE: named}
    serving = Serving(workers=workers, gpu=on_gpu)
    assert gpus.of_workers(serving, lambda: ["GPU-a", "GPU-b"], environ) == seen
    assert ("3 workers share 2 GPUs" in caplog.text) == (workers == 3)


def test_several_workers_without_a_gpu_see_what_the_server_sees() -> None:
    assert gpus.of_workers(Serving(workers=2, gpu=True), list, {}) == [None, None]


@pytest.mark.parametrize(
    ("on_gpu", "own", "given", "seen"),
    [
        (True, None, None, None),
        (True, None, "GPU-a", "GPU-a"),
        (True, "0,1", "1", "1"),
        (True, "0,1", None, "0,1"),
        (False, None, None, ""),
        (False, "0", None, "0"),
    ],
)
def test_a_workers_environment_says_what_it_sees(
    on_gpu: bool,
    own: str | None,
    given: str | None,
    seen: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if own is not None:
        monkeypatch.setenv(VISIBLE, own)
    environ = launch.environment(config_of(on_gpu=on_gpu), None, given)
    assert environ.get(VISIBLE) == seen
    assert environ.items() >= gpus.MEMORY.items()


# ---- what is told ----


def told(config: Config, caplog: pytest.LogCaptureFixture) -> list[str]:
    gpu_memory._watch(config)  # noqa: SLF001
    return [record.message for record in caplog.records if record.levelno == logging.WARNING]


def test_a_missing_gpu_is_told_and_none_is_missed_where_none_is_wanted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.link.nvml.LIBRARY", "libnothing-of-the-kind.so.1")
    monkeypatch.setattr(gpus, "present", lambda: False)
    assert told(config_of(), caplog) == [gpu_memory.NO_GPU]
    caplog.clear()
    assert told(config_of(on_gpu=False), caplog) == []
    monkeypatch.setattr(gpus, "present", lambda: True)  # a container without the driver's library
    assert told(config_of(), caplog) == []
    monkeypatch.setenv(VISIBLE, "")
    gpu_memory.start(config_of())
    assert caplog.messages == [gpu_memory.NO_GPU]


@pytest.mark.parametrize(("framework", "lines"), [("pytorch", 1), ("sklearn", 0)])
def test_a_gpu_that_is_hidden_is_told_where_it_could_be_used(
    framework: str,
    lines: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpus, "present", lambda: True)
    gpu_memory.start(config_of(framework, on_gpu=False))
    assert caplog.messages == [gpu_memory.UNUSED] * lines


def test_a_framework_that_does_not_use_the_gpu_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VISIBLE, "0")
    monkeypatch.setattr(gpu, "in_use", lambda: False)
    gpu.check(config_of("pytorch", on_gpu=False))
    gpu.check(config_of("xgboost"))  # which does not tell
    assert caplog.messages == []
    gpu.check(config_of("pytorch"))
    assert "a build of the framework without CUDA" in caplog.text


@pytest.mark.parametrize(
    ("said", "needs"),
    [
        ("No CUDA GPUs are available", True),
        ("Found no NVIDIA driver on your system.", True),
        ("Torch not compiled with CUDA enabled", True),
        ("cudaErrorNoDevice: no CUDA-capable device is detected", True),
        ("CUDA out of memory", False),
    ],
)
def test_a_model_that_needs_a_gpu_is_one_line_with_what_to_do(said: str, needs: bool) -> None:
    reason = _reason(RuntimeError(said))
    assert reason == (f"{gpu.FIX} (RuntimeError: {said})" if needs else f"RuntimeError: {said}")


# ---- what frameworks need ----


def test_libraries_are_loaded_where_a_gpu_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    runtime: Any = SimpleNamespace(
        get_available_providers=lambda: ["CUDAExecutionProvider"],
        preload_dlls=lambda: done.append("onnxruntime"),
    )
    pipelines: Any = SimpleNamespace(prefer_gpu=lambda: not done.append("spacy"))  # type: ignore[func-returns-value]
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    monkeypatch.setitem(sys.modules, "spacy", pipelines)
    monkeypatch.setattr(gpus, "present", lambda *_: False)
    for framework in ("onnx", "spacy", "pytorch"):
        gpu.prepare(config_of(framework))
    assert done == []
    monkeypatch.setenv(VISIBLE, "0")
    for framework in ("onnx", "spacy", "pytorch"):
        gpu.prepare(config_of(framework))
    assert done == ["onnxruntime", "spacy"]


# ---- the memory ----


def test_a_reading_is_shown_while_it_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CollectorRegistry()
    memory = gpu_memory.GPUMemory(registry)
    assert list(registry.collect()) == []
    memory.keep([Memory("0", "GPU-a", 3, 8)])
    labels = {"gpu": "0", "UUID": "GPU-a"}
    assert registry.get_sample_value("scaffold_gpu_memory_used_bytes", labels) == 3
    assert registry.get_sample_value("scaffold_gpu_memory_total_bytes", labels) == 8
    monkeypatch.setattr(gpu_memory, "STALE_SECONDS", -1)  # the driver has not answered since
    assert list(registry.collect()) == []
