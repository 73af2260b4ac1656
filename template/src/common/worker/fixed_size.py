"""Calls of `predict` with one number of rows, however many a request has."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .calls import taken
from .responses import ROW_KEYS, cut, kept

Predict = Callable[[dict[str, Any]], Any]


class FixedSize:
    """Gives `predict` the same number of rows in each call, and cuts its answer.

    Fewer rows are filled up with the last one, more are taken in pieces. That is for models whose
    rows are independent: then the arithmetic of an answer is that of one batch size.

    Args:
        size: the number of rows of each call.
    """

    def __init__(self, size: int) -> None:
        self._size = size

    def __call__(self, predict: Predict, request: dict[str, Any]) -> Any:
        """The response to a request.

        Args:
            predict: the model's.
            request: of any number of rows.

        Raises:
            Uncut: the response cannot be cut by rows.
        """
        instances = request.get("instances")
        if not isinstance(instances, (list, np.ndarray)) or not len(instances):
            return predict(request)
        starts = range(0, len(instances), self._size)
        pieces = [instances[start : start + self._size] for start in starts]
        parts = [self._piece(predict, request, rows) for rows in pieces]
        if len(parts) == 1:
            return parts[0]
        return {key: _joined(key, [part[key] for part in parts]) for key in parts[0]}

    def _piece(self, predict: Predict, request: dict[str, Any], rows: Any) -> dict[str, Any]:
        count = len(rows)
        places = [min(place, count - 1) for place in range(self._size)]
        response = predict({**request, "instances": taken(rows, places)})
        part: dict[str, Any] = kept(cut(response, [count, self._size - count])[0])
        return part


def _joined(key: str, values: list[Any]) -> Any:
    if key not in ROW_KEYS:
        return values[0]
    if isinstance(values[0], np.ndarray):
        return np.concatenate(values)
    return [entry for value in values for entry in value]
