"""What predictions are that only the predictions themselves tell: `model.output`."""

from typing import Any

import numpy as np

from generator.common import schema
from generator.rows import arrays


def described(prediction: Any) -> schema.ModelOutput | None:
    """What a prediction is; None if the predictions are no arrays, and form none."""
    if hasattr(prediction, "shape") and hasattr(prediction, "dtype"):
        return schema.ArrayOutput(tuple(prediction.shape[1:]), str(prediction.dtype))
    if not isinstance(prediction, list):
        return None
    if names := _names(prediction):
        parts = ((name, [row[name] for row in prediction]) for name in names)
        return schema.TensorsOutput(
            tuple(schema.NamedOutput(name, described(part)) for name, part in parts)
        )
    return _listed(prediction)


def _names(rows: list[Any]) -> list[str]:
    """The keys that all rows have; none if they are no objects, or differ."""
    if not rows or not all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows):
        return []
    return [name for name in rows[0] if isinstance(name, str)]


def _listed(rows: list[Any]) -> schema.ArrayOutput | None:
    """What rows of numbers or texts are, alone or in lists, which may have any length."""
    try:
        array = np.asarray(rows)
    except ValueError:
        return None
    shape = (None,) * (array.ndim - 1)
    if array.dtype.kind in arrays.NUMBERS:
        return schema.ArrayOutput(shape, str(array.dtype))
    if all(isinstance(item, str) for item in np.asarray(rows, dtype=object).flat):
        return schema.ArrayOutput(shape, schema.TEXT)
    return None
