"""What a request may hold beside `instances`, where the template's own code reads it."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..config import Config
from ..errors import InvalidInput
from ..schema import Parameter
from ..words import kind_of, listing

# Framework to keys; each is true or false.
FLAGS = {
    **dict.fromkeys(("sklearn", "xgboost", "lightgbm", "catboost"), ("probabilities",)),
    "transformers": ("stream",),
}
PARAMETERS = "parameters"
ALIKE = 0.9  # difflib's ratio: one letter too few, or two that changed places
MOST_LETTERS = 40
# For each type of a parameter, what its values are in Python, and what they are called.
VALUES: dict[str, tuple[tuple[type, ...], str]] = {
    "boolean": ((bool, np.bool_), "true or false"),
    "integer": ((int,), "a whole number"),
    "number": ((int, float), "a number"),
    "string": ((str,), "a string"),
}


class Options:
    """Checks the keys of a request that the template's own code reads.

    Attributes:
        has_parameters: whether a request may set any.

    Args:
        flags: the keys that are true or false.
        parameters: what the owner lets a request set, `model.parameters` of a Config.
    """

    def __init__(self, flags: Sequence[str] = (), parameters: Sequence[Parameter] = ()) -> None:
        self.has_parameters = bool(parameters)
        known: dict[str, Callable[[str, Any], None]] = dict.fromkeys(flags, _check_flag)
        if parameters:
            self._parameters = {each.name: each for each in parameters}
            known |= dict.fromkeys(self._parameters, self._check_parameter)
            known[PARAMETERS] = self._check_parameters
        self._known = known

    @classmethod
    def of_config(cls, config: Config) -> "Options":
        """Those of a scaffold."""
        return cls(FLAGS.get(config.framework, ()), config.model.parameters or ())

    def check(self, request: Mapping[Any, Any]) -> None:
        """Refuse an option with a value that it cannot have, and a key spelled almost like one.

        Any other key is the owner's, whose code may read it.

        Raises:
            InvalidInput: it names the key, and what is known.
        """
        for key, value in request.items():
            if key in self._known:
                self._known[key](key, value)
            elif meant := _alike(key, list(self._known)):
                raise InvalidInput(f'"{key}" is not known: write "{meant}"')

    def _check_parameters(self, key: str, value: Any) -> None:
        if value is None:
            return
        if not isinstance(value, Mapping):
            raise InvalidInput(f'"{key}" must be an object, it is {kind_of(value)}')
        for name, item in value.items():
            if name not in self._parameters:
                known = listing(list(self._parameters))
                raise InvalidInput(f'"{key}" has "{name}", which is not known; known are {known}')
            self._check_parameter(name, item)

    def _check_parameter(self, name: str, value: Any) -> None:
        rule = VALUES.get(self._parameters[name].type)
        if rule is None:
            return
        kinds, words = rule
        is_other_flag = isinstance(value, (bool, np.bool_)) and bool not in kinds
        if is_other_flag or not isinstance(value, kinds):
            raise InvalidInput(f'"{name}" must be {words}, it is {kind_of(value)}')


def _check_flag(key: str, value: Any) -> None:
    if not isinstance(value, (bool, np.bool_, type(None))):
        raise InvalidInput(f'"{key}" must be true or false, it is {kind_of(value)}')


def _alike(key: Any, known: Sequence[str]) -> str | None:
    if not isinstance(key, str) or len(key) > MOST_LETTERS:
        return None
    return next(iter(difflib.get_close_matches(key.lower(), known, 1, ALIKE)), None)
