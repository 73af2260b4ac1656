"""The routes and variables of platforms that run containers, without a server."""

import asyncio
import contextlib
from typing import Any

import httpx
import pytest

from common.config import PORT_VARIABLES, Config
from common.errors import ConfigError
from common.link.frames import FirstLine, Kind
from common.platforms import LIVE, READY, SCORING, OwnRoutes, check_arguments
from common.serving.applications import fallback_routes, openapi
from common.serving.listener import Port, ports
from common.serving.predict_routes import Headers, PredictRoutes, Refused
from support.servers.running import free_port

HEALTH, PREDICT = "AIP_HEALTH_ROUTE", "AIP_PREDICT_ROUTE"
# What Vertex AI names where the deployment names no routes.
DEFAULT = "/v1/endpoints/12/deployedModels/34:predict"


def config(server: str = "kserve", **environ: str) -> Config:
    metadata: dict[str, Any] = {"framework": "sklearn", "server": server, "model": {}}
    return Config.from_document({"model_name": "iris", "model_metadata": metadata}, environ)


# ---- ports


@pytest.mark.parametrize(
    ("environ", "port"),
    [
        ({}, 8080),
        ({"PORT": "9090"}, 9090),
        ({"AIP_HTTP_PORT": "7080"}, 7080),
        ({"PORT": "9090", "AIP_HTTP_PORT": "7080"}, 7080),
        ({"AIP_HTTP_PORT": "7080", "PORT": "9090"}, 7080),
        ({"PORT": "9090", "AIP_HTTP_PORT": ""}, 9090),
        ({"SAGEMAKER_BIND_TO_PORT": "7081", "PORT": "9090"}, 7081),
    ],
)
def test_the_port_is_the_platforms(environ: dict[str, str], port: int) -> None:
    made = config(**environ)
    assert made.serving.http_port == port
    assert environ.get(made.port_variable, "8080") == str(port)


@pytest.mark.parametrize("variable", PORT_VARIABLES)
def test_a_port_in_use_is_named_with_its_variable(variable: str) -> None:
    port = free_port()
    made = config(**{variable: str(port)})
    with (
        contextlib.closing(Port("127.0.0.1", port, "PORT")),
        pytest.raises(ConfigError, match=f"port {port} cannot be taken .*; set {variable} or"),
        ports(made, "127.0.0.1"),
    ):
        pass
    both = config(**{variable: str(port), "GRPC_PORT": str(port)})
    with pytest.raises(ConfigError, match=f"^{variable} and GRPC_PORT are both"), ports(both, ""):
        pass


@pytest.mark.parametrize("variable", PORT_VARIABLES)
@pytest.mark.parametrize(
    "value", ["http", "tcp://10.0.0.1:80", "80.5", "0", "65536", "-1", "8080,"]
)
def test_what_is_no_port_is_named_with_its_variable(variable: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(**{variable: value})
    message = str(caught.value)
    assert f"serving.http_port (or {variable} in the environment) must be" in message
    assert message.endswith(f"it is {value!r}")


# ---- routes


@pytest.mark.parametrize(
    ("health", "predict", "routes"),
    [
        ("", "", OwnRoutes()),
        ("/isalive", "/predict", OwnRoutes("/isalive", "/predict")),
        (DEFAULT, DEFAULT, OwnRoutes(DEFAULT, DEFAULT)),
        ("/health/", "/a.b/~c-d_e/", OwnRoutes("/health/", "/a.b/~c-d_e/")),
        ("/", "/", OwnRoutes(None, "/")),
        ("/ping", "/invocations", OwnRoutes()),
        ("/v1/models/iris", "/v1/models/iris:predict", OwnRoutes()),
        ("/v2/health/ready", "/score", OwnRoutes()),
        ("/healthz", "/v1/predict", OwnRoutes(None, "/v1/predict")),
    ],
)
def test_the_routes_of_vertex_ai(health: str, predict: str, routes: OwnRoutes) -> None:
    assert config(**{HEALTH: health, PREDICT: predict}).routes == routes


@pytest.mark.parametrize("variable", [HEALTH, PREDICT])
@pytest.mark.parametrize(
    "path",
    ["predict", "http://host/predict", "/{model}", "/a?b=c", "/a#b", "/a b", "/a%20b", "//host/a",
     "/a//b", "/../a", "/a/..", "/a/./b", "/ä", "/a\n", " /a", "/a" * 600, "*"],
)  # fmt: skip
def test_what_is_no_path_is_one_clear_line(variable: str, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(**{variable: path})
    message = str(caught.value)
    assert message.startswith(f"{variable} must be a path like /predict") and "\n" not in message


@pytest.mark.parametrize(
    ("variable", "path"),
    [
        (HEALTH, "/invocations"),
        (HEALTH, "/v1/models/iris:predict"),
        *((variable, "/v1/models/other:predict") for variable in (HEALTH, PREDICT)),
        *((variable, "/docs") for variable in (HEALTH, PREDICT)),
        *((PREDICT, path) for path in (*READY, *LIVE, "/v1/models/iris", "/v2/health/ready")),
        (PREDICT, "/v2/models/iris/infer"),
    ],
)
def test_a_path_of_another_route_is_one_clear_line(variable: str, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(**{variable: path})
    assert str(caught.value) == (
        f"{variable} is {path!r}, where the server answers something else: name another"
    )


@pytest.mark.parametrize("server", ["kserve", "standalone", "kfserving"])
def test_no_route_of_the_document_can_be_taken(server: str) -> None:
    """So that the table of routes in `platforms.py` has all of them."""
    own = {"/", *SCORING, "/v1/models/iris:predict"}
    paths = openapi.document(config(server))["paths"]
    assert {*READY, *LIVE, *own} <= set(paths) and len(paths) > 15
    for path in set(paths) - own:
        with pytest.raises(ConfigError):
            config(server, **{PREDICT: path})


def test_the_document_has_the_routes_of_the_environment() -> None:
    paths = openapi.document(config(**{HEALTH: DEFAULT, PREDICT: DEFAULT}))["paths"]
    assert set(paths[DEFAULT]) == {"get", "post"}
    scoring = paths["/invocations"]["post"]["requestBody"]["content"]
    assert set(scoring) == {"application/json", "text/csv"}


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
def test_health_is_readiness_or_liveness(ready: bool, status: int) -> None:
    made = config(**{HEALTH: "/isalive"})
    app = fallback_routes.application(made, lambda: ready, "kfserving", "0")

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://model") as client:
            paths = (*READY, "/isalive", *LIVE)
            return [(await client.get(path)).status_code for path in paths]

    assert asyncio.run(ask()) == [status] * (len(READY) + 1) + [200] * len(LIVE)


# ---- arguments


def test_serve_is_the_only_argument() -> None:
    check_arguments([])
    check_arguments(["serve"])
    for arguments in (["train"], ["serve", "-v"], ["--port", "80"], [""], ["x\ny" * 99]):
        with pytest.raises(ConfigError) as caught:
            check_arguments(arguments)
        message = str(caught.value)
        assert message.startswith("the arguments may be none or serve, they are")
        assert "\n" not in message and len(message) < 250


# ---- header fields


class Nobody:
    draining = reads_context = False
    own_routes = ()

    def submit(self, *_: Any) -> Any:
        raise AssertionError

    submit_stream = submit


def routes(**environ: str) -> PredictRoutes:
    return PredictRoutes(config(**environ), Nobody())


def headers(*fields: tuple[str, str]) -> Headers:
    return Headers([(name.encode(), value.encode()) for name, value in fields])


@pytest.mark.parametrize(
    ("media_type", "first"),
    [
        ("text/csv", FirstLine.NAMES),
        ("TEXT/CSV; Charset=UTF-8", FirstLine.NAMES),
        ("text/csv;header=absent", FirstLine.ABSENT),
        ('text/csv; charset="utf-8" ; header="present"', FirstLine.PRESENT),
        ("text/csv; Header = ABSENT; format=x", FirstLine.ABSENT),
    ],
)
def test_the_media_type_of_csv(media_type: str, first: FirstLine) -> None:
    made, given = routes(), headers(("content-type", media_type))
    for path in SCORING:
        route = made.route(path, "POST", given)
        assert route is not None and route.kind == Kind.CSV
        made.check(route, path, "POST", given)
        assert made.worker_body(route, given, [b"a", b"b"]) == [bytes([first]), b"a", b"b"]


@pytest.mark.parametrize(
    ("media_type", "words"),
    [("text/csv; header=no", "must be present or absent, it is 'no'"),
     ("text/csv; header", "present or absent, it is ''"),
     ("text/csv; charset=latin-1", "charset of text/csv must be utf-8, it is latin-1")],
)  # fmt: skip
def test_a_media_type_of_csv_that_is_refused(media_type: str, words: str) -> None:
    made, given = routes(), headers(("content-type", media_type))
    route = made.route("/invocations", "POST", given)
    assert route is not None
    with pytest.raises(Refused, match=words) as caught:
        made.worker_body(route, given, [b""])
    assert caught.value.status == 415


def test_csv_is_for_the_routes_that_say_so() -> None:
    made, given = routes(**{PREDICT: "/predict"}), headers(("content-type", "text/csv"))
    for path in ("/v1/models/iris:predict", "/predict"):
        route = made.route(path, "POST", given)
        assert route is not None
        with pytest.raises(Refused, match="does not take text/csv: send Content-Type: application"):
            made.check(route, path, "POST", given)


def test_the_request_id_of_sagemaker() -> None:
    made = routes()
    theirs, ours = ("x-amzn-sagemaker-inference-id", "a-1"), ("x-request-id", "b-2")
    assert made.request_id(headers(theirs)) == "a-1"
    for fields in ((theirs, ours), (ours, theirs)):
        assert made.request_id(headers(*fields)) == "b-2"
    assert made.request_id(headers((theirs[0], "no id"))) not in ("no id", "")
    assert not headers(("x-amzn-sagemaker-custom-attributes", "x")).event
    assert headers(("ce-id", "1")).event


def test_one_path_tells_health_and_predicts() -> None:
    made, none = routes(**{HEALTH: DEFAULT, PREDICT: DEFAULT}), headers()
    assert made.route(DEFAULT, "GET", none) is made.route(DEFAULT, "HEAD", none) is None
    for method in ("POST", "PUT"):
        route = made.route(DEFAULT, method, none)
        assert route is not None and route.kind == Kind.JSON
    alone = routes(**{PREDICT: DEFAULT}).route(DEFAULT, "GET", none)
    assert alone is not None  # which answers 405


@pytest.mark.parametrize(
    ("environ", "path", "allowed"),
    [
        ({HEALTH: DEFAULT, PREDICT: DEFAULT}, DEFAULT, ("GET", "HEAD", "POST")),
        ({PREDICT: "/"}, "/", ("GET", "HEAD", "POST")),
        ({PREDICT: DEFAULT}, DEFAULT, ("POST",)),
        ({HEALTH: DEFAULT}, "/score", ("POST",)),
    ],
)
def test_every_method_of_a_path_is_named(
    environ: dict[str, str], path: str, allowed: tuple[str, ...]
) -> None:
    made = routes(**environ)
    route = made.route(path, "PUT", headers())
    assert route is not None and made.allowed(path) == allowed
    with pytest.raises(Refused, match=f"must be {' or '.join(allowed)}, it is PUT"):
        made.check(route, path, "PUT", headers())
