"""Which methods of an owner's model are routes, however they are written."""

import functools
from typing import Any

import pytest

from common import route
from common.context import Context
from common.errors import LoadError
from common.routes import OwnersRoute
from common.worker.lifecycle import Lifecycle
from common.worker.own_routes import OwnRoutes

np = pytest.importorskip("numpy")


def timed(method: Any) -> Any:
    """A decorator that keeps neither the name nor the attributes of a method."""

    def inner(self: Any, *given: Any, **named: Any) -> Any:
        return method(self, *given, **named)

    return inner


def noted(method: Any) -> Any:
    """A decorator that keeps both."""

    @functools.wraps(method)
    def inner(self: Any, *given: Any, **named: Any) -> Any:
        return method(self, *given, **named)

    return inner


class Anything:
    """An object that has every attribute, as the stub of a remote service."""

    def __getattr__(self, name: str) -> Any:
        return self


class Refusing:
    """An object that is not there until it is used."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("there is no connection yet")


def doubled(request: Any) -> Any:
    return request * 2


class Model:
    """Routes in every way that Python has."""

    remote, late = Anything(), Refusing()

    @route("/static")
    @staticmethod
    def static(request: Any) -> Any:
        return request

    @staticmethod
    @route("/inner-static")
    def inner_static(request: Any) -> Any:
        return request

    @route("/class")
    @classmethod
    def of_class(cls, request: Any, context: Context) -> Any:
        return [cls.__name__, context.request.id]

    @route("/timed")
    @timed
    def first_timed(self, request: Any) -> Any:
        return request

    @route("/timed-too")
    @timed
    def timed_too(self, request: Any) -> Any:
        return request

    @noted
    @route("/noted")
    def reading(self, request: Any, context: Context) -> Any:
        return context.request.id

    another_name = reading
    part = route("/part")(functools.partial(doubled))


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/static", b"3"),
        ("/inner-static", b"3"),
        ("/class", b'["Model","an-id"]'),
        ("/timed", b"3"),
        ("/timed-too", b"3"),
        ("/noted", b'"an-id"'),
        ("/part", b"6"),
    ],
)
def test_a_method_of_every_kind_answers(path: str, answer: bytes) -> None:
    context = Context.of("an-id", b"", {}, None)
    routes = OwnRoutes(Model())
    said = routes.answer("POST", path, b"3", context)
    assert routes.encoded(said, context) == (answer, None)


def test_each_route_is_told_once() -> None:
    told = [own.path for own in OwnRoutes(Model()).routes]
    assert len(told) == len(set(told)) == 7


def test_two_methods_of_one_route_end_the_start() -> None:
    class Twice:
        @route("/a")
        def one(self, request: Any) -> Any: ...

        @route("/a", methods=["GET", "POST"])
        def two(self, request: Any) -> Any: ...

    with pytest.raises(LoadError, match="one and two have the same route, POST /a"):
        OwnRoutes(Twice())


def test_two_methods_that_look_alike_are_two() -> None:
    class Twice:
        @route("/a")
        def one(self, request: Any) -> Any: ...

        @route("/a")
        def two(self, request: Any) -> Any: ...

    with pytest.raises(LoadError, match="have the same route"):
        OwnRoutes(Twice())


def test_a_method_without_a_parameter_ends_the_start() -> None:
    class Bare:
        @route("/state", methods=["GET"])
        def state(self) -> Any: ...

    with pytest.raises(LoadError, match=r"state\(\) .* it has none"):
        OwnRoutes(Bare())


def test_a_route_stands_before_a_method() -> None:
    with pytest.raises(ValueError, match="the route /a must stand before a method, not a property"):
        route("/a")(property(lambda self: 3))  # type: ignore[type-var]


def test_a_method_that_is_replaced_without_a_route_has_none() -> None:
    class Without(Model):
        def reading(self, request: Any) -> Any: ...  # type: ignore[override]

        another_name = None

    assert "/noted" not in [own.path for own in OwnRoutes(Without()).routes]


def test_a_route_is_told_as_json() -> None:
    own = OwnersRoute("/a", ("GET",), "a", "About it.")
    assert OwnersRoute.of(vars(own)) == own


@pytest.mark.parametrize(
    ("said", "ailment"),
    [
        (True, None),
        (None, None),
        (np.bool_(True), None),
        (False, "health() returned False"),
        (np.bool_(False), "health() returned False"),
        ("away", "away"),
        ("", "health() returned an empty text"),
        (1, "health() must return True, False, None or a text, it returned 1"),
    ],
)
def test_what_health_may_say(said: Any, ailment: str | None) -> None:
    class Telling:
        def health(self) -> Any:
            return said

    lifecycle = Lifecycle(Telling())
    assert lifecycle.tells_health and lifecycle.ailment() == ailment
