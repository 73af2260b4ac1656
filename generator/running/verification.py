"""Compares a scaffold's predictions in one of three environments with the expected ones."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import layout
from ..arguments import argument
from ..common import gpus, json_encode
from ..environment.venvs import RUNNING, model_python
from ..errors import ModelError, ScaffoldError, ServingError, SettingError
from ..owners import warn
from ..rows.as_json import as_json
from ..rows.body import body_rows, request_of, sent
from . import container
from .comparison import Verification, compare
from .log_lines import owners_traceback
from .runtime import Config, Runtime, is_for_gpu
from .worker import LocalWorker

CURRENT, ISOLATED, DOCKER = ENVIRONMENTS = ("current", "isolated", "docker")

Ask = Callable[[bytes], tuple[int, bytes]]
"""Takes a JSON body; returns the status and the body of the answer."""


def response(ask: Ask, request: dict[str, Any]) -> dict[str, Any]:
    """The response to a request.

    Raises:
        SettingError: the request holds a value that JSON has no form for.
        ServingError: the answer is an error.
    """
    try:
        body = json_encode(request)
    except TypeError as error:
        raise SettingError(f"the rows cannot be sent as JSON: {error}") from error
    status, answer = ask(body)
    content = json.loads(answer)
    if status >= 400:
        failed = ServingError(f"the scaffold answered {status}: {content.get('error', content)}")
        raise failed from owners_traceback(content)
    return dict(content)


def verify_sample(
    worker: LocalWorker, environment: str, sample: Any, expected: Any, tolerance: float
) -> Verification:
    """Compare the predictions for a sample with the expected ones.

    A sample that passes becomes the scaffold's smoke test.

    Args:
        worker: the scaffold's, which answers where the environment is "current".
        environment: one of ENVIRONMENTS.
        sample: rows as `rows` takes them.
        expected: the predictions that the scaffold should give.
        tolerance: how far a number may be off, relative to the largest expected one.

    Raises:
        ModelError: the expected predictions cannot be sent as JSON, or there are none.
        ScaffoldError: the response holds no predictions.
        ServingError: the scaffold does not answer there.
    """
    check_expected(expected)
    answer = response(_asking(worker, environment), {"instances": sent(sample)})
    verification = compare(expected, _predictions(answer), tolerance)
    if verification:
        _write_smoke_test(worker.directory, body_rows(sample), answer)
    return verification


def check_expected(expected: Any) -> None:
    """Refuse predictions that no client could get.

    Raises:
        ModelError: they have no form in JSON, or there are none.
    """
    if as_json(expected, "predictions") is None:
        raise ModelError("predict returns None: let it return one prediction a row")


def verify_smoke_test(worker: LocalWorker, environment: str, tolerance: float) -> Verification:
    """Compare the predictions for the scaffold's smoke test with the recorded ones.

    The arguments are those of `verify_sample`.

    Raises:
        ScaffoldError: there is no smoke test, or it is broken.
        ServingError: the scaffold does not answer there.
    """
    recorded = _smoke_test(worker.directory)
    expected = _predictions(recorded["response"])
    answer = response(_asking(worker, environment), request_of(recorded["request"]))
    return compare(expected, _predictions(answer), tolerance)


def _predictions(answer: Any) -> Any:
    if not isinstance(answer, dict) or "predictions" not in answer:
        raise ScaffoldError(
            f"the response {str(answer)[:200]} has no predictions: there is nothing to compare"
        )
    return answer["predictions"]


# ---- the three environments ----


def _asking(worker: LocalWorker, environment: str) -> Ask:
    """How to ask the scaffold in an environment."""
    if environment == CURRENT:
        return worker.ask
    ask = {ISOLATED: _ask_isolated, DOCKER: _ask_container}[environment]
    return lambda body: ask(worker.directory, body)


def _ask_isolated(directory: Path, body: bytes) -> tuple[int, bytes]:
    runtime = Runtime(directory)
    runtime.check_layout()  # first, because creating an environment takes a minute
    config = runtime.config()
    version = config.python_version or RUNNING
    python = str(model_python(directory / layout.REQUIREMENTS, version, _lacks_gpu(config)))
    with contextlib.closing(runtime.worker(config, python=python)) as worker:
        return worker.ask(body)


def _lacks_gpu(config: Config) -> bool:
    """Whether the scaffold is for a GPU and none is visible here, which is told."""
    lacks = is_for_gpu(config) and not gpus.visible()
    if lacks:
        warn(
            "the scaffold is for a GPU, and is verified on the CPU, with the builds of its packages"
            " for the CPU, because no GPU is visible: verify it where there is one"
        )
    return lacks


def _ask_container(directory: Path, body: bytes) -> tuple[int, bytes]:
    config = Runtime(directory).config()
    dockerfile, patience = layout.dockerfile(config.framework), config.serving.load_timeout_seconds
    on_gpu = is_for_gpu(config) and gpus.visible()
    with container.running(directory, dockerfile, config.name, patience, on_gpu) as url:
        path = f"{url}/v1/models/{config.name}:predict"
        return container.post(path, body, config.serving.predict_timeout_seconds)


# ---- the smoke test ----


def _write_smoke_test(directory: Path, instances: list[Any], answer: dict[str, Any]) -> None:
    pair = {"request": {"instances": instances}, "response": answer}
    (directory / layout.SMOKE_TEST).write_text(json.dumps(pair) + "\n", encoding="utf-8")


def _smoke_test(directory: Path) -> dict[str, Any]:
    path = directory / layout.SMOKE_TEST
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ScaffoldError(
            f"{path} is missing: make the scaffold with a {argument('sample_input')}, or call"
            " verify with one"
        ) from None
    except (OSError, ValueError) as error:
        raise ScaffoldError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(recorded, dict) or not recorded.keys() >= {"request", "response"}:
        raise ScaffoldError(f"{path} is not a smoke test: it must hold a request and its response")
    return recorded
