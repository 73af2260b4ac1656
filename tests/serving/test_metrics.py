"""KServe's figures count every request, though the workers tell of many at once."""

import os
import subprocess

from generator.environment.venvs import server_python
from support.running import LOCKS, TEMPLATE

SCRIPT = """
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from common.serving.metrics import observe

def text(count):
    registry = CollectorRegistry()
    histogram = Histogram("seconds", "some", ["model"], registry=registry).labels("model")
    for amount, times in ((0.0, 2), (0.001, 3), (0.005, 2), (0.0051, 1), (10.0, 3), (99.0, 4)):
        count(histogram, [amount], times)
    count(histogram, [0.0, 0.001, 0.001, 7.5, 99.0], 1)
    return [line for line in generate_latest(registry).decode().splitlines() if "created" not in line]

def one_by_one(histogram, amounts, times):
    for amount in amounts:
        for _ in range(times):
            histogram.observe(amount)

assert text(observe) == text(one_by_one), text(observe)
"""


def test_a_batch_is_counted_as_its_requests_one_by_one_would_be() -> None:
    environ = {**os.environ, "PYTHONPATH": str(TEMPLATE / "src")}
    python = server_python(LOCKS["kserve"])
    done = subprocess.run(
        [str(python), "-c", SCRIPT], env=environ, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
