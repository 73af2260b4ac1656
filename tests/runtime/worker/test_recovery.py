"""Failures after which a worker's model never answers again, told from those of one request."""

import json
import sys
import types
from typing import Any

import numpy as np
import pytest

from common.errors import InvalidInput
from common.link.frames import Kind, Request
from common.worker import recovery
from common.worker.flow import Flow
from common.worker.recovery import Broken, Failure
from support.servers.flows import ask, proved

EXAMPLE = json.dumps({"instances": [[1.0]]}).encode()


def raised(name: str, base: type[BaseException], message: str) -> BaseException:
    """An error of a class with this name."""
    return type(name, (base,), {})(message)


def refused(cause: BaseException) -> BaseException:
    error = InvalidInput(f"the model cannot take these instances: {cause}")
    error.__cause__ = cause
    return error


ASSERTED = "CUDA error: device-side assert triggered\nCUDA kernel errors might be reported later"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InvalidInput("no"), Failure.INPUT),
        (refused(ValueError("CUDA error: as the client wrote it")), Failure.INPUT),
        (refused(RuntimeError("mat1 and mat2 shapes cannot be multiplied")), Failure.INPUT),
        (refused(RuntimeError(ASSERTED)), Failure.FINAL),
        (RuntimeError(ASSERTED), Failure.FINAL),
        (raised("AcceleratorError", RuntimeError, "CUDA error: an illegal"), Failure.FINAL),
        (raised("AcceleratorError", RuntimeError, "anything else"), Failure.FINAL),
        (raised("InternalError", Exception, "CUDA_ERROR_ILLEGAL_ADDRESS"), Failure.FINAL),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), Failure.FINAL),
        (RuntimeError("HIP error: unspecified launch failure"), Failure.FINAL),
        (raised("Fail", Exception, "CUDA failure 700: an illegal memory access"), Failure.FINAL),
        (RuntimeError("CUDA error: invalid configuration argument"), Failure.UNKNOWN),
        (KeyError("CUDA error: device-side assert, says the client"), Failure.UNKNOWN),
        (RuntimeError("a specced eccentric"), Failure.UNKNOWN),
        (MemoryError(), Failure.UNKNOWN),
        (raised("OutOfMemoryError", RuntimeError, "CUDA out of memory."), Failure.OUT_OF_MEMORY),
        (raised("ResourceExhaustedError", Exception, "OOM when"), Failure.OUT_OF_MEMORY),
        (RuntimeError("CUDA error: out of memory"), Failure.OUT_OF_MEMORY),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when"), Failure.OUT_OF_MEMORY),
        (refused(RuntimeError("CUDA out of memory. Tried")), Failure.OUT_OF_MEMORY),
        (ValueError("CUDA out of memory"), Failure.UNKNOWN),
    ],
)
def test_what_an_error_says_about_later_requests(error: BaseException, expected: Failure) -> None:
    assert Failure.of(error) == expected


def test_an_error_without_a_text_is_a_failure_like_others() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise KeyError

    assert Failure.of(Mute()) == Failure.UNKNOWN


class Owner:
    """Doubles the rows. 13 fails, 666 breaks it for good. It counts the tries of the example."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error or OSError("of this request")
        self.broken = False
        self.examples = 0

    def load(self) -> None: ...

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        rows = np.array(request["instances"])
        self.examples += int(rows.tolist() == [[1.0]])
        self.broken = self.broken or bool((rows == 666).any())
        if self.broken:
            raise OSError("broken")
        if (rows == 13).any():
            raise self.error
        return {"predictions": rows[:, 0] * 2}

    def postprocess(self, response: dict[str, Any]) -> dict[str, Any]:
        return response


def watched(owner: Owner) -> Flow:
    flow = Flow(owner, proved(256))
    assert flow.refusal(EXAMPLE, "warm-up") is None
    flow.try_after_failures(EXAMPLE)
    owner.examples = 0
    return flow


def body(*values: float) -> dict[str, Any]:
    return {"instances": [[value] for value in values]}


def test_failing_rows_cost_one_try_of_the_example_in_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery, "PAUSE_SECONDS", 1000)
    owner = Owner()
    flow = watched(owner)
    for _ in range(50):
        assert ask(owner, body(13), flow=flow)[0][0] == 500
    assert ask(owner, body(2), body(13), body(3), flow=flow)[2] == (200, {"predictions": [6]})
    assert owner.examples == 1


def test_what_cannot_be_tried_is_not_ended() -> None:
    owner = Owner()
    flow = Flow(owner, proved(256))
    assert [ask(owner, body(666), flow=flow)[0][0] for _ in range(3)] == [500] * 3
    assert owner.examples == 0


def test_a_model_that_a_request_broke_is_found_and_others_are_not_answered_with_its_failure() -> (
    None
):
    owner = Owner()
    with pytest.raises(Broken, match="which it has answered"):
        ask(owner, body(2), body(666), body(3), flow=watched(owner))
    assert owner.examples == 1


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_failure_that_is_known_to_be_final_is_not_tried(wrapped: bool) -> None:
    error: BaseException = RuntimeError(ASSERTED)
    owner = Owner(refused(error) if wrapped else error)
    flow = watched(owner)
    opened = [flow.open(frame) for frame in frames(13, 2)]
    answers = []
    with pytest.raises(Broken, match="device-side assert"):
        for responses, _ in flow.answer(opened):
            answers += responses
    assert answers == [] and owner.examples == 0, "who of the two was it?"
    with pytest.raises(Broken):
        for responses, _ in flow.answer(opened[:1]):
            answers += responses
    assert [answer.status for answer in answers] == [500]


def frames(*values: float) -> list[Any]:
    return [
        Request(ident, Kind.JSON, f"id-{ident}", json.dumps(body(value)).encode())
        for ident, value in enumerate(values, 1)
    ]


def test_a_full_gpu_is_the_requests_own_503_and_its_memory_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emptied: list[bool] = []
    cuda = types.SimpleNamespace(
        is_initialized=lambda: True, empty_cache=lambda: emptied.append(True)
    )
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))  # type: ignore[arg-type]
    owner = Owner(raised("OutOfMemoryError", RuntimeError, "CUDA out of memory. Tried to"))
    flow = watched(owner)
    one, full, two = ask(owner, body(2), body(13), body(3), flow=flow)
    assert (one[0], full[0], two[0]) == (200, 503, 200)
    assert "send fewer rows" in full[1]["error"] and "Tried" not in full[1]["error"]
    assert emptied and owner.examples == 0
