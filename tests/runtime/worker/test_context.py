"""What hooks know of a request beside its body, and say beside their response."""

import json
from typing import Any

import pytest

from common import Context
from common.bodies import json_encode
from common.bodies.v2.v2_codec import V2
from common.context import MOST_BYTES
from common.errors import InvalidInput, LoadError
from common.link.frames import V2_HEAD, Frame, Kind, Request, Response
from common.serving.beside import told
from common.worker.flow import Flow
from common.worker.hooks import Hooks
from support.servers.flows import proved

TENANT = [(b"x-tenant", b"a")]


class Plain:
    """An owner's model that answers with the first value of each row."""

    def load(self) -> None: ...

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"predictions": [row[0] for row in request["instances"]]}

    def postprocess(self, response: dict[str, Any]) -> dict[str, Any]:
        return response


class Telling(Plain):
    """Keeps the context that each method got."""

    def __init__(self) -> None:
        self.seen: list[Context] = []

    def preprocess(self, request: dict[str, Any], context: Context) -> dict[str, Any]:
        self.seen.append(context)
        return request

    def postprocess(self, response: dict[str, Any], context: Context) -> dict[str, Any]:
        self.seen.append(context)
        return response


class Multiplying(Plain):
    """Its `predict` reads a header, and records how many rows each call had."""

    shared_headers: Any = ("X-Factor",)

    def __init__(self) -> None:
        self.calls: list[tuple[str | None, int]] = []

    def predict(self, request: dict[str, Any], context: Context) -> dict[str, Any]:
        factor = context.request.headers.get("x-factor")
        self.calls.append((factor, len(request["instances"])))
        return {"predictions": [row[0] * int(factor or 1) for row in request["instances"]]}


def frame(
    ident: int, *firsts: Any, headers: Any = (), query: bytes = b"", **others: Any
) -> Request:
    body = json_encode({"instances": [[first] for first in firsts], **others})
    return Request(ident, Kind.JSON, f"id-{ident}", body, told(headers, query))


def answered(model: Any, *frames: Request, limit: int = 256) -> list[Response]:
    flow = Flow(model, proved(limit), version="1.2")
    found = [each for part, _ in flow.answer([flow.open(each) for each in frames]) for each in part]
    return sorted(found, key=lambda response: response.ident)


def only(model: Any, request: Request) -> tuple[int, Any, list[list[str]]]:
    """The status, the body and the header fields of the answer to one request."""
    [response] = answered(model, request)
    return response.status, json.loads(response.body), json.loads(response.beside or b"[]")


def test_a_hook_gets_what_was_said_beside_the_body() -> None:
    model = Telling()
    headers = [*TENANT, (b"accept", b"a"), (b"accept", b"b"), (b"x-name", "é".encode("latin-1"))]
    request = frame(7, 1, headers=headers, query=b"a=1&b=&a=2%20x", parameters={"k": 3})
    assert only(model, request)[0] == 200
    first, last = model.seen
    assert first is last
    assert first.request.id == "id-7" and first.model_version == "1.2"
    assert first.request.headers["X-Tenant"] == "a" and first.request.headers["accept"] == "a, b"
    assert first.request.headers["x-name"] == "é" and "x-other" not in first.request.headers
    assert first.request.query == {"a": "2 x", "b": ""} and first.parameters == {"k": 3}


def test_without_a_server_a_context_is_empty() -> None:
    model = Telling()
    assert only(model, Request(1, Kind.JSON, "id", b'{"instances": [[1]]}'))[0] == 200
    assert not model.seen[0].request.headers and not model.seen[0].parameters


def test_parameters_that_are_no_object_are_none() -> None:
    model = Telling()
    assert only(model, frame(1, 1, parameters=[1]))[0] == 200
    assert model.seen[0].parameters == {}


def test_values_go_from_one_hook_to_the_next() -> None:
    class Keeping(Plain):
        def preprocess(self, request: Any, context: Context) -> Any:
            context.values["by"] = request["instances"][0][0]
            return request

        def postprocess(self, response: Any, context: Context) -> Any:
            return {**response, "by": context.values["by"]}

    first, second = answered(Keeping(), frame(1, 1), frame(2, 2))
    assert json.loads(first.body)["by"] == 1 and json.loads(second.body)["by"] == 2


def test_a_hook_chooses_status_and_headers() -> None:
    class Choosing(Plain):
        def postprocess(self, response: Any, context: Context) -> Any:
            context.status = 202
            context.headers["X-Cost"] = "3"
            context.headers["Set-Cookie"] = ["a=1", "b=2"]
            return response

    status, body, fields = only(Choosing(), frame(1, 5))
    assert (status, body) == (202, {"predictions": [5]})
    assert fields == [["x-cost", "3"], ["set-cookie", "a=1"], ["set-cookie", "b=2"]]


@pytest.mark.parametrize(("status", "expected"), [(404, 404), (200, 400), (503, 503)])
def test_a_refusal_has_the_status_that_was_set(status: int, expected: int) -> None:
    class Refusing(Plain):
        def preprocess(self, request: Any, context: Context) -> Any:
            context.status = status
            context.headers["X-Why"] = "no such customer"
            raise InvalidInput("there is no customer 5")

    found, body, fields = only(Refusing(), frame(1, 5))
    assert found == expected and body == {"error": "there is no customer 5"}
    assert fields == [["x-why", "no such customer"]]


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("status", 99, "context.status"),
        ("status", 204, "context.status"),
        ("status", "200", "context.status"),
        ("status", True, "context.status"),
        ("headers", {"a b": "c"}, "'a b'"),
        ("headers", {"Content-Length": "3"}, "'Content-Length'"),
        ("headers", {"x-a": "b\r\nx-c: d"}, "'x-a'"),
        ("headers", {"x-a": 3}, "'x-a'"),
        ("headers", {"x-a": "☃"}, "'x-a'"),
        ("headers", {"x-a": "b" * MOST_BYTES}, "bytes"),
        ("headers", ["x-a"], "context.headers"),
    ],
)
def test_what_cannot_be_sent_is_the_owners_mistake(
    attribute: str, value: Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Wrong(Plain):
        def postprocess(self, response: Any, context: Context) -> Any:
            setattr(context, attribute, value)
            return response

    status, body, fields = only(Wrong(), frame(1, 5))
    assert status == 500 and "request id id-1" in body["error"] and not fields
    assert said in caplog.text


def test_requests_share_a_call_where_the_declared_headers_are_equal() -> None:
    model = Multiplying()
    one, two = [(b"x-factor", b"10")], [(b"x-factor", b"20"), *TENANT]
    frames = [
        frame(1, 1, headers=one),
        frame(2, 2, headers=two),
        frame(3, 3, headers=[*one, *TENANT]),
        frame(4, 4),
    ]
    bodies = [json.loads(response.body)["predictions"] for response in answered(model, *frames)]
    assert bodies == [[10], [40], [30], [4]]
    assert sorted(model.calls, key=str) == [("10", 2), ("20", 1), (None, 1)]


def test_predict_gets_nothing_that_is_not_declared() -> None:
    class Reading(Multiplying):
        shared_headers = ()

        def predict(self, request: Any, context: Context) -> Any:
            assert not context.request.headers and not context.request.id
            assert not context.values and not context.request.query
            return super().predict(request, context)

        def preprocess(self, request: Any, context: Context) -> Any:
            context.values["a"] = 1
            return request

    model = Reading()
    headers = [(b"x-factor", b"10")]
    first, second = answered(model, frame(1, 1, headers=headers, query=b"a=1"), frame(2, 2))
    assert json.loads(first.body) == {"predictions": [1]} and second.status == 200
    assert model.calls == [(None, 2)]


def test_parameters_that_preprocess_leaves_out_keep_requests_apart() -> None:
    class Adding(Multiplying):
        shared_headers = ()

        def preprocess(self, request: Any) -> Any:
            return {"instances": request["instances"]}

        def predict(self, request: Any, context: Context) -> Any:
            self.calls.append((None, len(request["instances"])))
            added = context.parameters.get("add", 0)
            return {"predictions": [row[0] + added for row in request["instances"]]}

    model = Adding()
    frames = [
        frame(1, 1, parameters={"add": 10}),
        frame(2, 2, parameters={"add": 20}),
        frame(3, 3, parameters={"add": 10}),
        frame(4, 4),
    ]
    bodies = [json.loads(response.body)["predictions"] for response in answered(model, *frames)]
    assert bodies == [[11], [22], [13], [4]]
    assert sorted(rows for _, rows in model.calls) == [1, 1, 2]


def test_a_field_that_comes_thousands_of_times_is_one() -> None:
    model = Telling()
    headers = [(b"x-a", b"%d" % number) for number in range(10_000)]
    assert only(model, frame(1, 1, headers=[*headers, (b"cookie", b"a=1"), (b"cookie", b"b=2")]))
    found = model.seen[0].request.headers
    assert found["X-A"] == ", ".join(map(str, range(10_000))) and found["cookie"] == "a=1; b=2"


def test_without_a_declaration_each_request_has_its_own_call() -> None:
    class Undeclared(Multiplying):
        shared_headers = None

    model = Undeclared()
    frames = [frame(n, n, headers=[(b"x-factor", b"10")]) for n in (1, 2, 3)]
    assert [json.loads(each.body)["predictions"] for each in answered(model, *frames)] == [
        [10],
        [20],
        [30],
    ]
    assert model.calls == [("10", 1)] * 3


def test_predict_sets_no_status_for_several_requests(caplog: pytest.LogCaptureFixture) -> None:
    class Setting(Multiplying):
        def predict(self, request: Any, context: Context) -> Any:
            context.status = 201
            return super().predict(request, context)

    first, second = answered(Setting(), frame(1, 1), frame(2, 2))
    assert (first.status, second.status) == (500, 500)
    assert "set them in postprocess" in caplog.text


def test_predict_alone_sets_what_it_likes() -> None:
    class Setting(Multiplying):
        shared_headers = None

        def predict(self, request: Any, context: Context) -> Any:
            context.status = 201
            return super().predict(request, context)

    assert only(Setting(), frame(1, 4))[:2] == (201, {"predictions": [4]})


@pytest.mark.parametrize("declared", ["x-tenant", 3, ["x tenant"], [b"x"]])
def test_a_wrong_declaration_ends_the_start(declared: Any) -> None:
    class Wrong(Multiplying):
        shared_headers = declared

    with pytest.raises(LoadError, match="shared_headers of InferenceModel"):
        Hooks(Wrong())


def test_a_second_parameter_of_another_name_ends_the_start() -> None:
    class Wrong(Plain):
        def predict(self, request: Any, ctx: Any) -> Any: ...  # type: ignore[override]

    with pytest.raises(LoadError, match=r"predict\(\).*called context; it also has 'ctx'"):
        Hooks(Wrong())


def test_other_parameters_with_a_default_stay_the_owners() -> None:
    class Own(Plain):
        def predict(self, request: Any, scale: float = 2.0, *more: Any, **others: Any) -> Any:
            assert scale == 2.0 and not more and not others
            return super().predict(request)

    hooks = Hooks(Own())
    assert not hooks.reads_context
    assert only(Own(), frame(1, 3))[1] == {"predictions": [3]}


def test_frames_with_and_without_something_beside() -> None:
    for beside in (b"", b'{"headers": []}'):
        request = Request(3, Kind.CSV, "an-id", b"body", beside)
        assert Request.unpack(request.pack()) == request
        response = Response(3, 201, Kind.GRPC, b"body", beside)
        assert Response.unpack(response.pack()) == response
        view: Frame = memoryview(request.pack())
        assert bytes(Request.unpack(view).body) == b"body"


def test_a_v2_answer_has_the_status_too() -> None:
    class Choosing(Plain):
        def postprocess(self, response: Any, context: Context) -> Any:
            context.status = 207
            return response

    tensor = {"name": "input", "shape": [1, 1], "datatype": "FP64", "data": [2.0]}
    body = V2_HEAD.pack(0) + json.dumps({"inputs": [tensor]}).encode()
    flow = Flow(Choosing(), proved(256), V2("model", None))
    [([response], _)] = flow.answer([flow.open(Request(1, Kind.V2, "an-id", body))])
    assert response.status == 207
    assert json.loads(response.body[V2_HEAD.size :])["outputs"][0]["data"] == [2.0]
