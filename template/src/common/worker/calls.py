"""Requests that are ready for `predict`, and one request made of several."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from ..bodies.values import Encoder
from ..context import Context
from ..link.frames import Request, Stats


@dataclass(slots=True)
class Call:
    """A request that is ready for `predict`.

    Attributes:
        frame: the frame that it came in.
        encode: encodes its response.
        request: what `preprocess` returned.
        rows: how many rows it has.
        decoded: how long decode took, in seconds.
        preprocessed: how long preprocess took, in seconds.
        context: what the hooks get beside it; None where none of them takes it.
        apart: what must be equal in requests that share a call of `predict`, beside their bodies.
    """

    frame: Request
    encode: Encoder
    request: dict[str, Any]
    rows: int
    decoded: float
    preprocessed: float
    context: Context | None = None
    apart: tuple[Hashable, ...] = ()


@dataclass(slots=True)
class Finishing:
    """A call of `predict` whose responses are postprocessed in the event loop.

    Attributes:
        stats: what is known of it.
        left: how many responses are to come.
    """

    stats: Stats
    left: int

    def one_more(self, postprocessed: float, encoded: float) -> Stats | None:
        """Count a response, and the seconds that it took; the statistics after the last one."""
        *others, post, encode = self.stats.seconds
        self.stats.seconds = (*others, post + postprocessed, encode + encoded)
        self.left -= 1
        return None if self.left else self.stats


def merged(calls: Sequence[Call]) -> dict[str, Any]:
    """One request with the rows of several, whose other keys are equal."""
    return with_rows(calls[0], _joined([call.request["instances"] for call in calls]))


def among_copies(calls: Sequence[Call], index: int) -> dict[str, Any]:
    """The merged request with all rows replaced by those of one call, which stay in their place."""
    call = calls[index]
    start = sum(before.rows for before in calls[:index])
    total = sum(each.rows for each in calls)
    places = [(place - start) % call.rows for place in range(total)]
    return with_rows(call, taken(call.request["instances"], places))


def taken(instances: Any, places: list[int]) -> Any:
    """The rows at these places."""
    if isinstance(instances, np.ndarray):
        return instances[places]
    return [instances[place] for place in places]


def with_rows(call: Call, instances: Any) -> dict[str, Any]:
    """The request of a call with other rows."""
    return {**call.request, "instances": instances}


def _joined(instances: list[Any]) -> Any:
    if isinstance(instances[0], np.ndarray):
        return np.concatenate(instances, dtype=instances[0].dtype)
    return list(chain(*instances))
