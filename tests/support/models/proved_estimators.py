"""Estimators of which little is certain without a sample.

Scaffolds get a copy of this file: it imports nothing of the tests.
"""

import os
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin


class Untagged(RegressorMixin):
    """An estimator whose tags cannot be made."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}

    def set_params(self) -> "Untagged":
        return self

    def fit(self, X: Any, y: Any = None) -> "Untagged":
        self.fitted_ = True
        return self

    def predict(self, X: Any) -> Any:
        return np.asarray(X)[:, 0]

    def __sklearn_tags__(self) -> Any:
        return super().__sklearn_tags__()


class Ahead:
    """As sktime's are: of scikit-learn's interface, without its tags. A row is a step ahead."""

    is_fitted = False

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}

    def set_params(self) -> "Ahead":
        return self

    def fit(self, y: Any) -> "Ahead":
        self.last, self.is_fitted = y[-1], True
        return self

    def predict(self, fh: Any) -> Any:
        return self.last + np.asarray(fh)


class Process(BaseEstimator):
    """An estimator that predicts something else in each process."""

    def fit(self, X: Any, y: Any = None) -> "Process":
        self.n_features_in_ = 2
        return self

    def predict(self, X: Any) -> Any:
        return X[:, 0] + os.getpid()


def numbers(frame: Any) -> Any:
    return np.ones((len(frame), 1))


def months(frame: Any) -> Any:
    return frame[["day"]].apply(lambda column: column.dt.month)
