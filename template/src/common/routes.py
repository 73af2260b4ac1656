"""Routes of the owner's: methods of InferenceModel that answer at paths of their own."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from .platforms import is_taken

Method = TypeVar("Method", bound=Callable[..., Any])

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
MARK = "__routes__"
# Segments without what URLs, and the server's own paths, read as anything but themselves.
PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")
MOST_CHARACTERS = 200


@dataclass(frozen=True)
class OwnersRoute:
    """A route of the owner's.

    Attributes:
        path: its path.
        methods: those of HTTP that it takes.
        name: the name of the method that answers.
        about: the first line of its docstring.
    """

    path: str
    methods: tuple[str, ...]
    name: str = ""
    about: str = ""

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "OwnersRoute":
        """The route that a worker tells of, as JSON."""
        return cls(**{**said, "methods": tuple(said["methods"])})


def route(path: str, methods: Sequence[str] = ("POST",)) -> Callable[[Method], Method]:
    """A route for a method of InferenceModel, as in `@route("/explain")`.

    The method gets the decoded body, and a context where it has a second parameter, `context`. JSON
    and msgpack are decoded; another body is bytes, and none is None. What it returns is sent as
    JSON. Bytes are sent as they are, with the media type `context.media_type`.

    Args:
        path: letters, digits and `-._~` in segments, and no path of the server's own.
        methods: of GET, POST, PUT, PATCH and DELETE.

    Raises:
        ValueError: the path or a method is not one of these, or it is put before no method.
    """
    if not isinstance(path, str) or len(path) > MOST_CHARACTERS or not PATH.fullmatch(path):
        raise ValueError(
            f"the path of a route must be like /explain, of letters, digits and -._~,"
            f" it is {path!r}"
        )
    if is_taken(path):
        raise ValueError(f"the server has a route {path!r} of its own: name another path")
    given = (methods,) if isinstance(methods, str) else tuple(methods)
    if not given or any(method not in METHODS for method in given):
        known = ", ".join(METHODS)
        raise ValueError(f"the methods of the route {path} must be some of {known}, not {given!r}")

    def mark(method: Method) -> Method:
        # A static method's own attributes are not those of the function that it holds.
        function = getattr(method, "__func__", method)
        own = OwnersRoute(path, given, about=_about(function))
        try:
            setattr(function, MARK, (*_marks(function), own))
        except AttributeError:
            raise ValueError(
                f"the route {path} must stand before a method, not a {type(method).__name__}"
            ) from None
        return method

    return mark


def routes_of(model: Any) -> dict[tuple[str, str], OwnersRoute]:
    """The routes of an InferenceModel, by method and path.

    Raises:
        ValueError: two methods have the same one.
    """
    found: dict[tuple[str, str], OwnersRoute] = {}
    known: dict[int, OwnersRoute] = {}  # of each mark, whatever attributes it is on
    for name in dir(type(model)):
        for mark in _marks(getattr(type(model), name, None)):
            # By the attribute's name: a decorator may have given the function another one.
            own = known.setdefault(id(mark), replace(mark, name=name))
            for method in own.methods:
                other = found.setdefault((method, own.path), own)
                if other.name != own.name:
                    raise ValueError(
                        f"{other.name} and {own.name} have the same route, {method} {own.path}"
                    )
    return found


def _marks(value: Any) -> tuple[OwnersRoute, ...]:
    """The routes of a value of a class, which may be of any kind."""
    try:
        marks = getattr(value, MARK, ())
    except Exception:  # such as an object that is made when it is used
        return ()
    return marks if isinstance(marks, tuple) else ()


def _about(method: Any) -> str:
    lines = (method.__doc__ or "").strip().splitlines()
    return lines[0].strip()[:MOST_CHARACTERS] if lines else ""
