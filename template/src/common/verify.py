"""Compares a container's answer to the smoke test with the recorded one.

    docker exec --interactive CONTAINER /opt/server/bin/python -m common.verify < smoke-test.json

It runs inside the container, with what the image holds, once the model is ready. No port has to be
published.
"""

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any

from .config import Config, config_path
from .errors import ConfigError
from .tolerances import COMPILED, DTYPES, ON_GPU, named
from .words import listing, shown

POLL_SECONDS = 0.2
HEALTH_SECONDS = 4
NO_TEST = "there is no smoke-test.json, which verify(sample_input) writes, so nothing is compared"
NOISE = "model.tolerance in config.yaml says how much is noise"

Keys = tuple[str, ...]


class NotVerified(Exception):
    """The answer is not the recorded one, or there is none. The message is one line."""


def main() -> int:
    """Verify the server in this container; returns the exit status of the process."""
    try:
        print(verified(Config.read(config_path()), sys.stdin.buffer.read()))
    except (ConfigError, NotVerified) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def verified(config: Config, smoke_test: bytes) -> str:
    """What was found, in words.

    Args:
        config: the server's.
        smoke_test: the content of `smoke-test.json`; empty where there is none. The example of
            `config.yaml` is asked for then.

    Raises:
        NotVerified: the answer is not the recorded one, or there is none.
    """
    recorded = _recorded(smoke_test)
    _wait_until_ready(config)
    if recorded is None and config.model.example is None:
        return f"the model is ready; {NO_TEST}"
    if recorded is None:
        _ask(config, {"instances": config.model.example})
        return f"the example in config.yaml is answered; {NO_TEST}"
    expected = _predictions(recorded["response"])
    served = _predictions(_ask(config, recorded["request"]))
    tolerance = tolerance_of(config)
    found = difference(expected, served, tolerance)
    if found is not None:
        raise NotVerified(f"the answer is not that of smoke-test.json: {found}")
    return f"the answer is that of smoke-test.json, floats to {tolerance:g} of the largest"


def _recorded(smoke_test: bytes) -> dict[str, Any] | None:
    if not smoke_test.strip():
        return None
    try:
        recorded = json.loads(smoke_test)
    except (ValueError, RecursionError) as error:
        raise NotVerified(f"smoke-test.json cannot be read as JSON: {error}") from error
    if not isinstance(recorded, dict) or not recorded.keys() >= {"request", "response"}:
        raise NotVerified("smoke-test.json must hold a request and its response")
    return recorded


def _predictions(response: Any) -> Any:
    if not isinstance(response, dict) or "predictions" not in response:
        raise NotVerified(f"the response has no predictions, it is {shown(response)}")
    return response["predictions"]


# ---- the server ----


def _wait_until_ready(config: Config) -> None:
    patience = config.serving.load_timeout_seconds
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            if _call(config, "GET", "", None, HEALTH_SECONDS)[0] == 200:
                return
        except (OSError, HTTPException):
            pass  # it does not listen yet
        time.sleep(POLL_SECONDS)
    raise NotVerified(
        f"the model was not ready within {patience:g} s: raise load_timeout_seconds in config.yaml,"
        " or make load() faster"
    )


def _ask(config: Config, request: Any) -> Any:
    seconds = config.serving.predict_timeout_seconds + config.serving.grace_seconds
    try:
        status, body = _call(config, "POST", ":predict", json.dumps(request), seconds)
        answer = json.loads(body)
    except (OSError, HTTPException, ValueError) as error:
        raise NotVerified(f"the server does not answer: {error}") from error
    if status >= 400:
        raise NotVerified(f"the server answered {status}: {answer.get('error')}")
    return answer


def _call(
    config: Config, method: str, action: str, body: str | None, seconds: float
) -> tuple[int, bytes]:
    """Call the model's route, not through a proxy. Returns the status and the body."""
    connection = HTTPConnection("127.0.0.1", config.serving.http_port, timeout=seconds)
    headers = {"Content-Type": "application/json"}
    try:
        connection.request(method, f"/v1/models/{config.name}{action}", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


# ---- the comparison ----


def tolerance_of(config: Config) -> float:
    """How far a float may be off that another machine has predicted, relative to the largest."""
    model = config.model
    if model.tolerance is not None:
        return model.tolerance
    shares = [DTYPES[name] for name in named(model)] or [DTYPES["float32"]]
    if model.engine == "onnx":
        shares.append(COMPILED)
    if config.serving.gpu:
        shares.append(ON_GPU)
    return max(shares)


def difference(expected: Any, served: Any, tolerance: float) -> str | None:
    """The first difference of predictions, in words; None if there is none.

    Args:
        expected: the recorded predictions.
        served: those of the answer.
        tolerance: how far a float may be off, relative to the largest recorded one under the same
            keys. Everything else must be equal.
    """
    sizes: dict[Keys, float] = {}
    for keys, size in _sizes((), expected):
        sizes[keys] = max(sizes.get(keys, 0.0), size)
    allowed = {keys: tolerance * size for keys, size in sizes.items()}
    return next(_differences("predictions", (), expected, served, allowed), None)


def _sizes(keys: Keys, value: Any) -> Iterator[tuple[Keys, float]]:
    if isinstance(value, float) and math.isfinite(value):
        yield keys, abs(value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _sizes((*keys, key), inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _sizes(keys, inner)


def _differences(
    place: str, keys: Keys, expected: Any, served: Any, allowed: Mapping[Keys, float]
) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(served, dict):
        if expected.keys() != served.keys():
            yield f"{place} should have the keys {_names(expected)}, it has {_names(served)}"
            return
        for key, inner in expected.items():
            yield from _differences(f"{place}[{key!r}]", (*keys, key), inner, served[key], allowed)
    elif isinstance(expected, list) and isinstance(served, list):
        if len(expected) != len(served):
            yield f"{place} should have {len(expected)} entries, it has {len(served)}"
            return
        for index, (inner, given) in enumerate(zip(expected, served, strict=True)):
            yield from _differences(f"{place}[{index}]", keys, inner, given, allowed)
    elif isinstance(expected, float) and isinstance(served, float):
        if expected != served and not abs(expected - served) <= allowed.get(keys, 0.0):  # NaN too
            yield f"{place} should be {expected}, it is {served} ({NOISE})"
    elif type(expected) is not type(served) or expected != served:
        yield f"{place} should be {shown(expected)}, it is {shown(served)}"


def _names(mapping: Mapping[str, Any]) -> str:
    return listing(list(mapping)) or "none"


if __name__ == "__main__":
    sys.exit(main())
