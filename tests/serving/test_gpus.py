"""Workers and GPUs over HTTP. The driver's library is a stand-in: this machine may have no GPU."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from generator.scaffold import Scaffold
from support.rendering.checkouts import ROOT
from support.servers.running import Running, copied, serving, until

DRIVER = ROOT / "tests" / "support" / "programs" / "nvml.c"
FOUND = ["GPU-aaaa", "MIG-dddd", "GPU-cccc"]
LAST = "    cors_origins: []\n"  # of `serving` in config.yaml, before `gpu`


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the stand-in for libnvidia-ml.so.1."""
    place = tmp_path_factory.mktemp("driver")
    library = place / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, DRIVER], check=True)
    return place


@pytest.fixture(scope="module")
def for_gpu(sums: Scaffold, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scaffold whose workers may use GPUs."""
    directory = copied(sums, tmp_path_factory.mktemp("gpu") / "sums")
    file = directory / "config.yaml"
    text = file.read_text()
    assert text.count(LAST) == 1
    file.write_text(text.replace(LAST, f"{LAST}\n    gpu: true\n"))
    return directory


@pytest.fixture(scope="module")
def environ(driver: Path) -> Iterator[dict[str, str]]:
    """The environment of a server that sees the stand-in's GPUs."""
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        yield {"LD_LIBRARY_PATH": str(driver)}


def seen(running: Running) -> dict[int, str | None]:
    """What each worker's `CUDA_VISIBLE_DEVICES` is."""
    return {worker: _variable(worker, "CUDA_VISIBLE_DEVICES") for worker in running.workers()}


def _variable(process: int, name: str) -> str | None:
    try:
        entries = Path(f"/proc/{process}/environ").read_text().split("\0")
    except OSError:  # it has ended
        return None
    found = dict(entry.partition("=")[::2] for entry in entries if entry)
    return found.get(name)


def messages(running: Running) -> list[str]:
    return [line["message"] for line in running.lines()]


def memory(running: Running) -> dict[str, list[str]]:
    """What `/metrics` has of GPUs, by the UUID."""
    with running.client() as client:
        lines = client.get("/metrics").text.splitlines()
    found: dict[str, list[str]] = {}
    for line in (line for line in lines if line.startswith("scaffold_gpu_memory")):
        found.setdefault(line.split('UUID="')[1].partition('"')[0], []).append(line)
    return found


@pytest.fixture(scope="module")
def several(for_gpu: Path, environ: dict[str, str]) -> Iterator[Running]:
    """Four workers for three GPUs."""
    with serving(for_gpu, WORKERS="4", **environ) as running:
        yield running


def test_each_worker_has_a_gpu_and_its_successor_the_same(several: Running) -> None:
    before = seen(several)
    assert sorted(filter(None, before.values())) == sorted([*FOUND, FOUND[0]])
    assert [line for line in messages(several) if "4 workers share 3 GPUs" in line]
    for gpu in FOUND[1:]:
        [worker] = [each for each, name in before.items() if name == gpu]
        os.kill(worker, signal.SIGKILL)
    until(
        lambda: sorted(filter(None, seen(several).values())) == sorted([*FOUND, FOUND[0]]),
        "the successors have the GPUs of those that died",
    )
    kept = {each for each, name in before.items() if name == FOUND[0]}
    assert kept <= seen(several).keys()


def test_metrics_have_the_memory_of_each_gpu(several: Running) -> None:
    until(lambda: len(memory(several)) == 2, "the memory is read")  # the third is lost
    [used, total] = sorted(memory(several)["MIG-dddd"], reverse=True)
    assert used == 'scaffold_gpu_memory_used_bytes{UUID="MIG-dddd",gpu="1"} 3.221225472e+09'
    assert total == 'scaffold_gpu_memory_total_bytes{UUID="MIG-dddd",gpu="1"} 1.073741824e+10'


@pytest.mark.sweep
def test_gpus_that_the_environment_names_come_first_and_a_driver_that_hangs_holds_nothing_up(
    for_gpu: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    environ = environ | {
        "CUDA_VISIBLE_DEVICES": "3, GPU-eeee,-1,GPU-aaaa",
        "NVML_HANGS": str(tmp_path),
    }
    with serving(for_gpu, WORKERS="2", **environ) as running:
        assert sorted(filter(None, seen(running).values())) == ["3", "GPU-eeee"]
        assert not [line for line in messages(running) if "GPU" in line]
        assert memory(running) == {}


@pytest.mark.sweep
def test_one_worker_sees_all_and_a_missing_gpu_is_told_once(
    for_gpu: Path, environ: dict[str, str]
) -> None:
    with serving(for_gpu, NVML_GPUS="0", **environ) as running:
        assert list(seen(running).values()) == [None]
        told = [line for line in messages(running) if "no NVIDIA GPU is visible" in line]
        assert len(told) == 1 and "docker run --gpus all" in told[0]
        assert memory(running) == {}


@pytest.mark.sweep
def test_a_scaffold_without_gpu_hides_them(sums: Scaffold, environ: dict[str, str]) -> None:
    with serving(sums.directory, WORKERS="2", **environ) as running:
        assert list(seen(running).values()) == ["", ""]
        assert memory(running) == {}
        answer = httpx.post(
            f"{running.url}/v1/models/model:predict", json={"instances": [[1, 2, 3, 4]]}
        )
        assert answer.json() == {"predictions": [10.0]}
