"""What a fitted scikit-learn model still knows of the columns that it was fitted on.

A column is described where everything that reads it agrees. Any other column stays unknown.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from generator.common import schema
from generator.errors import SettingError
from generator.rows import tables

Found = tuple[str, schema.Column | None]
"""A column's name, and what a step knows of it; None for a step that may take anything."""

# Transformers of scikit-learn that take numbers and nothing else, and convert them to floats.
NUMERIC = {
    "KBinsDiscretizer",
    "KNNImputer",
    "MaxAbsScaler",
    "MinMaxScaler",
    "Normalizer",
    "PCA",
    "PolynomialFeatures",
    "PowerTransformer",
    "QuantileTransformer",
    "RobustScaler",
    "SplineTransformer",
    "StandardScaler",
    "TruncatedSVD",
    "VarianceThreshold",
}


def learned(model: Any, names: Sequence[str]) -> tuple[schema.Column, ...]:
    """The columns of a model that was fitted on these names."""
    known: dict[str, list[schema.Column | None]] = {name: [] for name in names}
    with suppress(Exception):  # an estimator that looks like scikit-learn's, and is another's
        found = list(_read_by(model, names))
        for name, column in found:
            known[name].append(column)
    return tuple(_agreed(name, columns) for name, columns in known.items())


def first_categories(step: Any, names: Sequence[str]) -> dict[str, Any]:
    """A value of each column that an encoder or imputer has learned.

    Any other could be unknown to the model.
    """
    step = _first(step)
    if hasattr(step, "transformers_"):
        parts = [(part, _resolved(columns, names)) for _, part, columns in step.transformers_]
        found: dict[str, Any] = {}
        for part, own in parts:
            found |= first_categories(part, own)
        return found
    learned_values = getattr(step, "categories_", ())
    if type(step).__name__ == "SimpleImputer":
        return dict(zip(names, step.statistics_, strict=True))
    return {name: values[0] for name, values in zip(names, learned_values, strict=False)}


def _first(step: Any) -> Any:
    """The estimator that gets the columns: inside of a search, or the first one of a pipeline."""
    for inner in ("best_estimator_", "regressor_"):
        if (estimator := getattr(step, inner, None)) is not None:
            return _first(estimator)
    if (steps := getattr(step, "steps", None)) is not None:
        return _first(next(part for _, part in steps if part not in (None, "passthrough")))
    return step


def _agreed(name: str, columns: list[schema.Column | None]) -> schema.Column:
    if columns and columns[0] is not None and all(column == columns[0] for column in columns):
        return columns[0]
    return schema.Column(name)


def _read_by(step: Any, names: Sequence[str]) -> Iterator[Found]:
    """What a fitted estimator knows of the columns that it gets."""
    step = _first(step)
    if hasattr(step, "transformers_"):
        return _read_by_each(step.transformers_, names)
    if hasattr(step, "categories_"):
        pairs = zip(names, step.categories_, strict=True)
        return ((name, _of_values(name, values)) for name, values in pairs)
    if type(step).__name__ == "SimpleImputer" and step.statistics_.dtype == object:
        return ((name, _imputed(name, step)) for name in names)
    if _takes_numbers(step):
        return ((name, schema.Column(name, "number", "float64")) for name in names)
    categories = _categories(step)
    return ((name, _category(name, categories.get(place))) for place, name in enumerate(names))


def _read_by_each(transformers: Any, names: Sequence[str]) -> Iterator[Found]:
    """What the parts of a ColumnTransformer know, each of its own columns."""
    for _, part, columns in transformers:
        own = _resolved(columns, names)
        if part == "passthrough":
            yield from ((name, None) for name in own)
        elif part != "drop":
            yield from _read_by(part, own)


def _resolved(columns: Any, names: Sequence[str]) -> list[str]:
    """The names of columns that are given by name, number, mask or slice."""
    if isinstance(columns, (str, int)):
        columns = [columns]
    if isinstance(columns, slice):
        return list(names[columns])
    listed = list(columns)
    if listed and isinstance(listed[0], str):
        return [str(name) for name in listed]
    if listed and isinstance(listed[0], bool):
        return [name for name, taken in zip(names, listed, strict=True) if taken]
    return [names[int(place)] for place in listed]


def _of_values(name: str, values: Any) -> schema.Column | None:
    try:
        return tables.column_of(name, values)
    except SettingError:
        return None


def _imputed(name: str, imputer: Any) -> schema.Column | None:
    """A column of texts whose missing value is known."""
    if not all(isinstance(value, str) for value in imputer.statistics_):
        return None
    missing = None
    if imputer.missing_values is None:
        missing = "None"
    return schema.Column(name, "string", "object", missing=missing)


def _takes_numbers(step: Any) -> bool:
    if not type(step).__module__.startswith("sklearn."):
        return False
    if type(step).__name__ in NUMERIC:
        return True
    inner = getattr(step, "estimator", None) or getattr(step, "estimators", None)
    if inner is not None and not type(inner).__module__.startswith("sklearn.tree."):
        return False
    if not hasattr(step, "predict") or getattr(step, "is_categorical_", None) is not None:
        return False
    from sklearn.utils import get_tags

    tags = get_tags(step)
    inputs = tags.input_tags
    return not (tags.no_validation or inputs.string or inputs.categorical or inputs.dict)


# ---- the categories that boosters keep ----


def _categories(step: Any) -> dict[int, list[Any]]:
    """The categories of each column that LightGBM or XGBoost was given as a category."""
    if hasattr(step, "booster_"):
        return _of_lightgbm(step.booster_)
    if hasattr(step, "get_booster"):
        exported = step.get_booster().get_categories(export_to_arrow=True).to_arrow()
        return {place: kept.to_pylist() for place, (_, kept) in enumerate(exported) if kept}
    return {}


def _of_lightgbm(booster: Any) -> dict[int, list[Any]]:
    """Source: `[categorical_feature: 1,2]` among the parameters in `Booster.model_to_string`."""
    kept = booster.pandas_categorical or []
    found = re.search(r"^\[categorical_feature: ([\d,]+)\]$", booster.model_to_string(), re.M)
    if found is None:
        return {}
    places = sorted(map(int, found[1].split(",")))
    return dict(zip(places, kept, strict=True))


def _category(name: str, categories: list[Any] | None) -> schema.Column | None:
    kinds = {type(value) for value in categories or ()}
    if len(kinds) != 1:
        return None
    kind = {str: "string", bool: "boolean"}.get(kinds.pop(), "number")
    return schema.Column(name, kind, "category", categories=tuple(categories or ()))
