"""scikit-learn's estimators, fitted on data that suits them."""

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import is_regressor
from sklearn.utils import get_tags

# Parameters that an estimator needs to have a `predict`
PARAMETERS = {"LocalOutlierFactor": {"novelty": True}}


def fitted(model: Any) -> tuple[Any, Any]:
    """The estimator, fitted, and the rows: data as scikit-learn's own checks take for its tags."""
    from sklearn.utils._testing import set_random_state
    from sklearn.utils.estimator_checks import _enforce_estimator_tags_X, _enforce_estimator_tags_y

    model.set_params(**PARAMETERS.get(type(model).__name__, {}))
    set_random_state(model)
    random = np.random.RandomState(0)
    X = _enforce_estimator_tags_X(model, random.normal(size=(60, 4)))
    y = np.arange(60) % 3
    if is_regressor(model):
        y = random.normal(size=60)
    y = _enforce_estimator_tags_y(model, y)
    if y.ndim == 2 and get_tags(model).target_tags.multi_output:
        y = np.column_stack([y, y[::-1]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, y), X


def instances(estimator: Any) -> list[Any]:
    """Unfitted instances of a class, as scikit-learn's own checks construct them."""
    from sklearn.utils._test_common.instance_generator import _construct_instances

    return list(_construct_instances(estimator))


def with_predict(config: pytest.Config) -> dict[str, Any]:
    """scikit-learn's classes with a `predict`, by name; none of them if no sweep is run.

    To find them, scikit-learn imports all of itself, and torch.
    """
    if "not sweep" in config.getoption("markexpr"):
        return {}
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.utils import all_estimators

    return {name: found for name, found in all_estimators() if hasattr(found, "predict")}
