"""Refuses classes of installed packages into which the session has put code of its own.

A scaffold installs the package, and would have the package's own code.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any

from ...errors import ModelError
from ..pickle_references import Named
from .staleness import parts


def check_unpatched(named: Named, is_users: Callable[[str], bool]) -> None:
    """Refuse a class or a function of an installed package that holds code of the session's.

    Args:
        named: what the model refers to.
        is_users: whether a module, by its name, is one of the user's own.

    Raises:
        ModelError: it does, or its module does.
    """
    kinds = [named.value]
    if isinstance(named.value, type):
        kinds = [kind for kind in named.value.__mro__ if not is_users(kind.__module__)]
    for kind in kinds:
        module = str(getattr(kind, "__module__", None) or named.module)
        holders: list[tuple[str, Mapping[str, Any]]] = [
            (module, vars(sys.modules.get(module, sys))),
        ]
        if isinstance(kind, type):
            holders.append((f"{module}.{kind.__qualname__}", vars(kind)))
        for place, members in holders:
            for name, function in _foreign(members, module.partition(".")[0]):
                if is_users(function.__globals__.get("__name__", "")):
                    raise _patched(f"{place}.{name}", function)


def _foreign(members: Mapping[str, Any], top: str) -> Iterator[tuple[str, FunctionType]]:
    """The functions in a class or a module that do not come from the same package."""
    for name, member in list(members.items()):
        for part in parts(member):
            if isinstance(part, FunctionType):
                origin = str(part.__globals__.get("__name__", ""))
                if origin.partition(".")[0] != top:
                    yield name, part


def _patched(place: str, function: FunctionType) -> ModelError:
    origin = f"{function.__globals__.get('__name__')}.{function.__qualname__}"
    return ModelError(
        f"{place} is not its package's own code but {origin}, which was put there, and a scaffold"
        " installs the package as it is: put your code into a class of your own, and train the"
        " model with that"
    )
