"""The limits of the machine for every server: the model's own calls in a loop, and the imports.

The limits of requests are the servers in `limits/`, which do nothing but answer.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from models import MODELS
from peers import predictor
from wires import WIRES

from generator.environment.venvs import server_python
from generator.template.src.common.bodies import msgpack_decode

ROOT = Path(__file__).resolve().parents[1]
BATCHES = (1, 32, 256)
LEAST_SECONDS = 0.3
ROUNDS = 3
GENERATIONS = 5

# Prints the memory of a process with the imports of a worker that serves a forest.
WORKER_IMPORTS = """
import re, sys
sys.path.insert(0, sys.argv[1])
import common.worker.main, common.worker.flow, common.bodies.v2.v2_codec, joblib, sklearn.ensemble
print(int(re.search(r"(?m)^Pss: +(\\d+)", open("/proc/self/smaps_rollup").read())[1]) << 10)
"""
# Prints the seconds of `from_model`, with the import of the generator but not of scikit-learn.
GENERATE = """
import sys, time
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
model = RandomForestClassifier(random_state=0).fit(*load_iris(return_X_y=True))
start = time.perf_counter()
import generator
generator.from_model(model, sys.argv[1])
print(time.perf_counter() - start)
"""


def predictions(name: str, file: Path) -> list[dict[str, Any]]:
    """The rows a second of the model in a loop, for each number of rows in a call."""
    predict = predictor.load(str(file))
    model = MODELS[name]
    results = []
    for batch in BATCHES:
        inputs = model.inputs(batch)
        rate = _rate(lambda inputs=inputs: predict(inputs))
        results.append({"work": name, "batch": batch, "rows_per_second": batch * rate})
    return results


def decoded(name: str, file: Path, batch: int) -> dict[str, Any]:
    """The rows a second of a loop that decodes `batch` msgpack bodies and calls the model once.

    Each body has one row.
    """
    predict = predictor.load(str(file))
    bodies = [WIRES["msgpack"].encode(MODELS[name].inputs(1)).content] * batch
    rate = _rate(
        lambda: predict(np.concatenate([msgpack_decode(body)["instances"] for body in bodies]))
    )
    return {"work": name, "batch": batch, "decoded": True, "rows_per_second": batch * rate}


def _rate(call: Callable[[], Any]) -> float:
    """The calls a second in the best of several rounds, after one call as a warm-up."""
    call()
    return max(_round(call) for _ in range(ROUNDS))


def _round(call: Callable[[], Any]) -> float:
    count, begin = 0, time.perf_counter()
    while (seconds := time.perf_counter() - begin) < LEAST_SECONDS:
        call()
        count += 1
    return count / seconds


def imports(lock: Path) -> float:
    """The seconds of `import sklearn` and `import kserve` in two processes at the same time."""
    begin = time.perf_counter()
    pythons = {"sklearn": sys.executable, "kserve": str(server_python(lock))}
    processes = [
        subprocess.Popen([python, "-c", f"import {module}"]) for module, python in pythons.items()
    ]
    for process in processes:
        process.wait()
    return time.perf_counter() - begin


def worker_imports(directory: Path) -> int:
    """The bytes (Pss) of a process with the imports of a worker that serves a forest."""
    command = [sys.executable, "-c", WORKER_IMPORTS, str(directory / "src")]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def generation(directory: Path) -> list[float]:
    """The seconds of `from_model` for the iris forest without a sample, each in a new process."""
    command = [sys.executable, "-c", GENERATE]
    outputs = [
        subprocess.run(
            [*command, str(directory / str(number))], check=True, stdout=subprocess.PIPE, cwd=ROOT
        ).stdout
        for number in range(GENERATIONS)
    ]
    return [float(output) for output in outputs]
