"""A step of a pipeline that is no package's.

Scaffolds get a copy of this file: it imports nothing of the tests.
"""

from typing import Any

from sklearn.base import BaseEstimator, TransformerMixin


class Shift(TransformerMixin, BaseEstimator):  # type: ignore[misc, unused-ignore]
    def __init__(self, by: float = 0.0) -> None:
        self.by = by

    def fit(self, rows: Any, y: Any = None) -> "Shift":
        self.fitted_ = True
        return self

    def transform(self, rows: Any) -> Any:
        return rows + self.by
