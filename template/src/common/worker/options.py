"""The keys of a request beside `instances` that the template's own code reads."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InvalidInput
from ..words import kind_of

# Framework to keys; each is true or false.
OPTIONS = dict.fromkeys(("sklearn", "xgboost", "lightgbm", "catboost"), ("probabilities",))
ALIKE = 0.9  # difflib's ratio: one letter too few, or two that changed places
MOST_LETTERS = 40


def check_options(request: Mapping[Any, Any], options: Sequence[str]) -> None:
    """Refuse an option with a value that it cannot have, and a key that is spelled almost like one.

    Any other key is the owner's, whose code may read it.

    Raises:
        InvalidInput: it names the key, and what is known.
    """
    for key, value in request.items():
        if key in options:
            if not isinstance(value, (bool, np.bool_, type(None))):
                raise InvalidInput(f'"{key}" must be true or false, it is {kind_of(value)}')
        elif meant := _alike(key, options):
            raise InvalidInput(f'"{key}" is not known: write "{meant}"')


def _alike(key: Any, options: Sequence[str]) -> str | None:
    if not isinstance(key, str) or len(key) > MOST_LETTERS:
        return None
    return next(iter(difflib.get_close_matches(key.lower(), options, 1, ALIKE)), None)
