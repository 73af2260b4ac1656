"""Whether a model's rows are independent: whether an answer depends on the rows beside its own.

Two things are told apart:

- **Dependence**. A row among copies of itself, against the same row at the same place among other
  rows. Both batches have the same size, so the arithmetic is the same: any difference is another
  row's doing.
- **Noise of the batch's size**. A row alone against the row in a batch. Libraries add up in another
  order for another number of rows, which changes the last bits of floats, and of nothing else.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..config import Model
from ..errors import text_of
from ..tolerances import COARSE, COMPILED, DTYPES, ON_GPU, named
from . import gpu
from .calls import Call, among_copies, merged
from .responses import Difference, Uncut, cut, differences, kept, largest, shown

Predict = Callable[[dict[str, Any]], Any]
Response = dict[str, Any]

RULE = "set model.rows_independent: false in config.yaml"
MOST_SECONDS = 20.0  # that a trial takes
LARGE_NOISE = 1e-2  # no dtype is as inexact: other rows' doing, or random numbers


@dataclass(frozen=True)
class Finding:
    """What was found of a model's rows.

    Attributes:
        noise: the largest noise of the batch's size, as a fraction of the largest number.
        reason: why they are not independent, in words; None if they are.
        fix: what its owner can do.
    """

    noise: float = 0.0
    reason: str | None = None
    fix: str = RULE

    def __str__(self) -> str:
        return f"{self.reason}; {self.fix}"


@dataclass(frozen=True)
class Tolerance:
    """How much noise is taken for arithmetic, as a fraction of the largest number.

    Attributes:
        fixed: for all floats, as `model.tolerance` in `config.yaml` says; None for what the dtype
            and the device need.
        least: what the model's own dtype needs, where its outputs have a finer one.
    """

    fixed: float | None = None
    least: float = 0.0

    @classmethod
    def of_model(cls, model: Model) -> "Tolerance":
        """The tolerance for a model, from its facts in `config.yaml`."""
        # numpy's arrays may not show these.
        least = max((DTYPES[name] for name in named(model) if name in COARSE), default=0.0)
        if model.engine == "onnx":
            least = max(least, COMPILED)
        return cls(model.tolerance, least)

    def allows(self, difference: Difference, scale: float) -> bool:
        """Whether a difference is noise. `scale` is the largest number."""
        if self.fixed is not None:
            return difference.distance <= self.fixed * scale
        allowed = max(self.least, DTYPES.get(difference.dtype, 0.0))
        if difference.dtype != "float64" and gpu.in_use():
            allowed = max(allowed, ON_GPU)
        return difference.distance <= allowed * scale


def tried(predict: Predict, calls: Sequence[Call], tolerance: Tolerance) -> Finding | None:
    """Try whether requests get the same answers together, alone and in another order.

    It returns None where that would take too long.

    Args:
        predict: the model's.
        calls: at least two requests of one likeness.
        tolerance: what is taken for noise.

    Raises:
        BaseException: `predict` cannot answer one of them alone.
    """
    start = time.perf_counter()
    alone = [kept(predict(call.request)) for call in calls]
    calls_left = 3 + 2 * len(calls)
    if (time.perf_counter() - start) * calls_left > MOST_SECONDS:
        return None
    try:
        first = _together(predict, calls)
        return (
            _random(first, _together(predict, calls))
            or _dependent(predict, calls, first)
            or _dependent(predict, calls[::-1], _together(predict, calls[::-1]))
            or _noise(alone, first, tolerance)[0]
        )
    except Uncut as error:
        return Finding(reason=str(error))
    except BaseException as error:  # a panic of a library in Rust is no Exception
        return _failed(error)


def examined(
    predict: Predict, calls: Sequence[Call], alone: Sequence[Any], tolerance: Tolerance
) -> Finding:
    """Compare the answers that requests got alone with those of a shared call.

    Args:
        predict: the model's.
        calls: at least two requests of one likeness.
        alone: what `predict` returned for each of them.
        tolerance: what is taken for noise.
    """
    try:
        parts = _together(predict, calls)
        finding, noisiest = _noise(alone, parts, tolerance)
        if finding.reason is not None or noisiest is None:
            return finding
        return _changed(predict, calls, noisiest, parts) or finding
    except Uncut as error:
        return Finding(reason=str(error))
    except BaseException as error:  # one request must not fail the others
        return _failed(error)


def _failed(error: BaseException) -> Finding:
    said = " ".join(text_of(error).split())[:200]
    reason = (
        "predict fails for rows of several requests, and for none of them alone:"
        f" {type(error).__name__}: {said}"
    )
    return Finding(reason=reason, fix=f"lower serving.max_batch_size if it lacks memory, or {RULE}")


def _together(predict: Predict, calls: Sequence[Call]) -> list[Response]:
    """What each request gets of one call."""
    return list(kept(cut(predict(merged(calls)), [call.rows for call in calls])))


def _random(first: Sequence[Response], second: Sequence[Response]) -> Finding | None:
    """What two calls with the same rows differ in."""
    for one, other in zip(first, second, strict=True):
        for found in differences(one, other):
            said = _said(found, "once", "then")
            return Finding(reason=f"predict gives two answers for the same rows, {said}")
    return None


def _dependent(
    predict: Predict, calls: Sequence[Call], parts: Sequence[Response]
) -> Finding | None:
    found = (_changed(predict, calls, index, parts) for index in range(len(calls)))
    return next((finding for finding in found if finding is not None), None)


def _changed(
    predict: Predict, calls: Sequence[Call], index: int, parts: Sequence[Response]
) -> Finding | None:
    """Dependence: what a request gets among copies of its rows, against among other rows."""
    response = predict(among_copies(calls, index))
    copies = cut(response, [call.rows for call in calls])[index]
    for found in differences(copies, parts[index]):
        said = _said(found, "among copies of its rows", "among other rows")
        return Finding(reason=f"{calls[index].frame.request_id}: {said}")
    return None


def _noise(
    alone: Sequence[Any], parts: Sequence[Response], tolerance: Tolerance
) -> tuple[Finding, int | None]:
    """Noise of the batch's size, and the index of the request that has the most; None for none."""
    noise, noisiest = 0.0, None
    scales = {key: _scale([*alone, *parts], key) for key in parts[0]}
    for index, (one, part) in enumerate(zip(alone, parts, strict=True)):
        for key, found in _by_key(one, part):
            scale = scales.get(key, 0.0)
            if not tolerance.allows(found, scale):
                return _refused(found, scale), index
            share = found.distance / max(scale, sys.float_info.min)
            if noisiest is None or share > noise:
                noise, noisiest = share, index
    return Finding(noise), noisiest


def _scale(responses: Sequence[Any], key: str) -> float:
    """The largest number that responses have under a key."""
    return largest([part.get(key) for part in responses if isinstance(part, dict)])


def _by_key(one: Any, part: Response) -> Iterator[tuple[str, Difference]]:
    """Where two responses differ, each with the key that it is under."""
    if not isinstance(one, dict) or list(one) != list(part):
        yield "", Difference("the response", one, part)
        return
    for key, value in one.items():
        for found in differences(value, part[key], key):
            yield key, found


def _refused(found: Difference, scale: float) -> Finding:
    share = found.distance / max(scale, sys.float_info.min)
    reason = _said(found, "for a request alone", "for the same request among others")
    if share > LARGE_NOISE:
        return Finding(share, reason)
    fix = f"{RULE}, or model.tolerance: {share * 10:.0e} if that much is noise"
    return Finding(share, reason, fix)


def _said(found: Difference, one: str, other: str) -> str:
    return f"{found.place} is {shown(found.one)} {one}, and {shown(found.other)} {other}"
