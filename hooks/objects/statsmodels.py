"""statsmodels: the results of a fitted model, without the data that it was fitted on."""

import contextlib
import copy
import inspect
import warnings
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from generator.errors import ModelError, SettingError

from ..base import Description
from ..methods import PREDICT
from .custom import MODEL_FILE
from .function import Function

ROWS = "exog"
FORMULA = "a formula does not say the dtypes of its columns"


class Statsmodels(Function):
    """Results of statsmodels whose `predict` takes rows of exogenous variables."""

    name: ClassVar[str] = "statsmodels"
    label: ClassVar[str] = "statsmodels"
    models: ClassVar[str] = "results of regressions, generalized linear, discrete and mixed models"
    files: ClassVar[tuple[str, ...]] = (MODEL_FILE,)
    has_gpu: ClassVar[bool] = False
    defaults: ClassVar[tuple[str, ...]] = (PREDICT,)

    def recognises(self, model: object) -> bool:
        is_its_own = type(model).__module__.startswith("statsmodels.")
        return is_its_own and (hasattr(model, "params") or hasattr(model, "fit"))

    def check(self, model: Any) -> None:
        name = type(model).__name__
        if not hasattr(model, "params"):
            raise ModelError(f"{name} is not fitted: pass the results that its fit() returns")
        taken = list(inspect.signature(getattr(model, PREDICT, _nothing)).parameters)
        if ROWS not in taken[:1]:
            raise ModelError(
                f"{name} predicts no rows: its predict takes {', '.join(taken) or 'nothing'}; pass"
                " a function of rows that calls it, as in"
                " lambda rows: [list(model.forecast(n)) for n in rows]"
            )

    def converted(self, model: Any, format: str | None, sample: Any) -> Any:
        """The results without the data of training, if they predict the same without it."""
        served = super().converted(model, format, sample)
        rows = _zeros(model) if sample is None else sample
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bare = copy.deepcopy(served)
            bare.remove_data()
            if _equal(self.predict(bare, rows), self.predict(model, rows)):
                return bare
        return served

    def describe(self, model: Any, sample: Any) -> Description:
        if sample is not None:
            return super().describe(model, sample)
        row, untried = _zeros(model), FORMULA
        if row is not None:
            try:
                return super().describe(model, row)
            except SettingError as error:
                untried = str(error)
        return replace(super().describe(model, None), untried=untried)


def _zeros(model: Any) -> Any:
    """A row of zeros, of shape [1, variables]; None for a formula, whose rows have names."""
    if getattr(model.model, "formula", None) is not None:
        return None
    return np.zeros((1, *np.shape(model.model.exog)[1:]))


def _nothing() -> None:
    """Stands for a `predict` that is not there."""


def _equal(one: Any, other: Any) -> bool:
    return bool(np.array_equal(np.asarray(one), np.asarray(other), equal_nan=True))
