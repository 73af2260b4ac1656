"""What no server can pass on this machine: the model's own calls in a loop, and the imports that a start needs.

`empty_server.py`, an ASGI application that does nothing on the same uvicorn, is the limit of requests.
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

# The worker's own imports with those of a forest, and what they take: printed by a process of its own.
WORKER_IMPORTS = """
import re, sys
sys.path.insert(0, sys.argv[1])
import common.worker.main, common.worker.flow, common.bodies.v2_codec, joblib, sklearn.ensemble
print(int(re.search(r"(?m)^Pss: +(\\d+)", open("/proc/self/smaps_rollup").read())[1]) << 10)
"""
# What it prints counts the import of the generator, and no import of scikit-learn.
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
    """Rows a second of the model in a loop, for each number of rows a call."""
    predict = predictor.load(str(file))
    model = MODELS[name]
    results = []
    for batch in BATCHES:
        inputs = model.inputs(batch)
        rate = _rate(lambda inputs=inputs: predict(inputs))
        results.append({"work": name, "batch": batch, "rows_per_second": batch * rate})
    return results


def decoded(name: str, file: Path, batch: int) -> dict[str, Any]:
    """Rows a second of decoding so many msgpack bodies of a row each and one call of the model, in a loop."""
    predict = predictor.load(str(file))
    bodies = [WIRES["msgpack"].encode(MODELS[name].inputs(1)).content] * batch
    rate = _rate(
        lambda: predict(np.concatenate([msgpack_decode(body)["instances"] for body in bodies]))
    )
    return {"work": name, "batch": batch, "decoded": True, "rows_per_second": batch * rate}


def _rate(call: Callable[[], Any]) -> float:
    """Calls a second in the best of some rounds, as a limit has it, after one call that is not counted."""
    call()
    return max(_round(call) for _ in range(ROUNDS))


def _round(call: Callable[[], Any]) -> float:
    count, begin = 0, time.perf_counter()
    while (seconds := time.perf_counter() - begin) < LEAST_SECONDS:
        call()
        count += 1
    return count / seconds


def imports(lock: Path) -> float:
    """Seconds that `import sklearn` and `import kserve` take, each in a process of its own, both at the same time."""
    begin = time.perf_counter()
    pythons = {"sklearn": sys.executable, "kserve": str(server_python(lock))}
    processes = [
        subprocess.Popen([python, "-c", f"import {module}"]) for module, python in pythons.items()
    ]
    for process in processes:
        process.wait()
    return time.perf_counter() - begin


def worker_imports(directory: Path) -> int:
    """Bytes of a process that has imported what the worker of a forest imports (Pss)."""
    command = [sys.executable, "-c", WORKER_IMPORTS, str(directory / "src")]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def generation(directory: Path) -> list[float]:
    """Seconds that `from_model` takes for the iris forest, without the proof, in processes of their own."""
    command = [sys.executable, "-c", GENERATE]
    outputs = [
        subprocess.run(
            [*command, str(directory / str(number))], check=True, stdout=subprocess.PIPE, cwd=ROOT
        ).stdout
        for number in range(GENERATIONS)
    ]
    return [float(output) for output in outputs]
