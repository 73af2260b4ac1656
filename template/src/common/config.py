"""`config.yaml`, read and checked once. Environment variables override some of `serving`."""

import dataclasses
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import ConfigError
from .platforms import OwnRoutes, own_routes
from .schema import (
    ModelInput,
    ModelOutput,
    Parameter,
    any_of,
    as_document,
    check_json,
    check_spelling,
    nearest,
    read_input,
    read_method,
    read_output,
    read_parameters,
)
from .words import written

SOURCE = Path(__file__).resolve().parents[1]
SERVERS = ("kserve", "standalone", "kfserving")
ENGINES = ("native", "onnx")
# The last of them wins: Vertex AI and SageMaker ask at the port that they name.
PORT_VARIABLES = ("PORT", "AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT")
ENVIRONMENT = {
    "WORKERS": "workers",
    **dict.fromkeys(PORT_VARIABLES, "http_port"),
    "GRPC_PORT": "grpc_port",
}
# The keys of `model` that are not forms of schema.py, and what the value of each must be.
FACTS: dict[str, tuple[type, str]] = {
    **dict.fromkeys(("file", "sha256", "onnx_sha256", "backend"), (str, "a string or null")),
    **dict.fromkeys(("custom_objects", "settings", "sklearn_config"), (dict, "a mapping or null")),
    "example": (list, "a list or null"),
    "rows_independent": (bool, "true, false or null"),
}
OWN_KEYS = ("model_name", "python_version", "model_metadata")  # the others are truss's
METADATA_KEYS = ("framework", "server", "serving", "model")
MODEL_NOTES = ("code", "class", "trained_with")  # of `model`, which the generator alone reads
# It stands in routes, headers, metrics and HTML, where these characters need no escape.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
NAME_RULE = "1 to 128 letters, digits, '.', '_' or '-', with a letter or digit first"
# It stands in routes, headers and metrics too, and may have a build's `+`.
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
VERSION_RULE = "1 to 64 letters, digits, '.', '_', '-' or '+', with a letter or digit first"
DIGEST = re.compile(r"[0-9a-f]{64}")
MOST_DIGITS = 12  # of the model's digest, in a version made of it
MARGIN_SECONDS = 1  # for an answer to leave
SHARES = ("batch_noise", "tolerance")  # of the largest number


def config_path() -> Path:
    """`config.yaml` beside `src/`, or in it as in the container."""
    inside = SOURCE / "config.yaml"
    return inside if inside.exists() else SOURCE.parent / "config.yaml"


# What a browser sends as Origin: RFC 6454, 7.
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\sA-Z,*]+")


def _rule(default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True)
class Serving:
    """The settings of the server. `config.yaml` explains each."""

    workers: int = _rule(1, 1, 256)
    max_batch_size: int = _rule(256, 1, 1_000_000)
    fixed_batch_size: int = _rule(0, 0, 1_000_000)
    max_concurrency: int = _rule(64, 1, 100_000)
    max_queue: int = _rule(1024, 1, 1_000_000)
    max_queue_bytes: int = _rule(512 * 2**20, 1, 2**48)
    max_head_bytes: int = _rule(2**16, 2**10, 2**24)
    max_body_bytes: int = _rule(64 * 2**20, 1, 2**32 - 2**16)
    max_answer_bytes: int = _rule(2**30, 1, 2**32 - 2**16)
    predict_timeout_seconds: float = _rule(60, 0.001, 86_400)
    load_timeout_seconds: float = _rule(600, 0.001, 86_400)
    compress_from_bytes: int = _rule(2**14, 0, 2**32)
    header_timeout_seconds: float = _rule(60, 0.001, 86_400)
    body_timeout_seconds: float = _rule(60, 0.001, 86_400)
    keep_alive_seconds: float = _rule(65, 0.001, 86_400)
    max_connections: int = _rule(4096, 1, 1_000_000)
    poll_seconds: float = _rule(0.0002, 0, 1)
    drain_seconds: float = _rule(2, 0, 3_600)
    http_port: int = _rule(8080, 1, 65_535)
    grpc_port: int = _rule(8081, 0, 65_535)
    access_log: bool = False
    cors_origins: tuple[str, ...] = ()
    page: bool = True
    gpu: bool = False

    @property
    def grace_seconds(self) -> int:
        """How long a server that ends waits for its last answers: as long as `predict` may take."""
        return math.ceil(self.predict_timeout_seconds) + MARGIN_SECONDS


@dataclass(frozen=True)
class Model:
    """What is known about the model in `src/model/`; None stands for what is not known.

    Its version is the owner's, else the beginning of the file's SHA-256.
    """

    file: str | None = None
    sha256: str | None = None
    method: str | tuple[str, ...] | None = None
    parameters: tuple[Parameter, ...] | None = None
    engine: str = ENGINES[0]
    onnx_sha256: str | None = None
    input: ModelInput | None = None
    output: ModelOutput | None = None
    example: list[Any] | None = None
    rows_independent: bool | None = None
    batch_noise: float | None = None
    tolerance: float | None = None
    backend: str | None = None
    custom_objects: dict[str, str] | None = None
    settings: dict[str, Any] | None = None  # what inference_model.py needs beside the file
    sklearn_config: dict[str, Any] | None = None  # scikit-learn's own, where it is not the default
    version: str | None = None


@dataclass(frozen=True)
class Config:
    """`config.yaml` as the server and its workers see it."""

    name: str
    framework: str
    serving: Serving
    model: Model
    server: str = "kserve"
    python_version: str | None = None  # of the model's environment, as in "3.11"
    routes: OwnRoutes = OwnRoutes()  # which only the environment names
    port_variable: str = PORT_VARIABLES[0]  # it gives serving.http_port, or would

    @classmethod
    def read(cls, path: Path, environ: Mapping[str, str] = os.environ) -> "Config":
        """Read a `config.yaml`, with the environment's overrides.

        Raises:
            ConfigError: the file is missing or broken, or holds a value that is not allowed.
        """
        # Only the server's environment has yaml: a worker gets what was read.
        from . import config_file

        return cls.from_document(config_file.read(path), environ)

    @classmethod
    def from_document(cls, document: Any, environ: Mapping[str, str] = {}) -> "Config":
        """Check a parsed `config.yaml` and make a Config of it."""
        check_spelling("", _mapping(document, "config.yaml"), OWN_KEYS)
        metadata = _section(document, "model_metadata")
        check_spelling("model_metadata", metadata, METADATA_KEYS)
        server = _server(metadata)
        serving = dict(_section(metadata, "serving", {}))
        if server == "kfserving":
            serving.setdefault("grpc_port", 0)
        given = {setting: name for name, setting in ENVIRONMENT.items() if environ.get(name)}
        serving.update({setting: environ[name] for setting, name in given.items()})
        model = _section(metadata, "model")
        settings = Serving(
            **{name: _setting(name, value, given.get(name)) for name, value in serving.items()}
        )
        if server == "kfserving" and settings.grpc_port:
            raise ConfigError.value(
                _where("grpc_port"), "0 (KFServing has no gRPC)", settings.grpc_port
            )
        name = _name(document)
        return cls(
            name=name,
            framework=_text(metadata, "framework"),
            serving=settings,
            model=_model(model),
            server=server,
            python_version=_python_version(document),
            routes=own_routes(environ, name),
            port_variable=given.get("http_port", cls.port_variable),
        )

    def as_document(self) -> dict[str, Any]:
        """What `from_document` takes: the server sends its Config to a worker in this form."""
        serving = dataclasses.asdict(self.serving)
        serving["cors_origins"] = list(self.serving.cors_origins)
        model = {
            **vars(self.model),
            "input": as_document(self.model.input),
            "output": as_document(self.model.output),
            "parameters": [as_document(each) for each in self.model.parameters or ()] or None,
        }
        return {
            "model_name": self.name,
            "model_metadata": {
                "framework": self.framework,
                "server": self.server,
                "serving": serving,
                "model": model,
            },
        }


def _mapping(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{key} must be a mapping, it is {written(value)}")
    return value


def _section(parent: Mapping[str, Any], key: str, default: Any = None) -> dict[str, Any]:
    value = parent.get(key)
    if value is None:
        value = default
    return _mapping(value, f"config.yaml: {key}")


def _text(parent: Mapping[str, Any], key: str) -> str:
    value = parent.get(key)
    if not isinstance(value, str) or not value:
        raise ConfigError.value(key, "a string", value)
    return value


def _name(document: Mapping[str, Any]) -> str:
    name = _text(document, "model_name")
    if not NAME.fullmatch(name):
        raise ConfigError.value("model_name", NAME_RULE, name)
    return name


def _server(metadata: Mapping[str, Any]) -> str:
    server = _text({"server": SERVERS[0], **metadata}, "server")
    if server not in SERVERS:
        raise ConfigError.value("server", any_of(SERVERS), server)
    return server


def _python_version(document: Mapping[str, Any]) -> str | None:
    """Truss writes 3.11 as py311."""
    if document.get("python_version") is None:
        return None
    text = _text(document, "python_version")
    if not (version := re.fullmatch(r"py(3)([0-9]{1,3})", text)):
        raise ConfigError.value("python_version", "like py311", text)
    return f"{version[1]}.{version[2]}"


def _model(section: dict[str, Any]) -> Model:
    known = {item.name for item in dataclasses.fields(Model)}
    check_spelling("model", section, (*known, *MODEL_NOTES))
    facts = {key: section[key] for key in known & section.keys()}
    for key, (kind, allowed) in FACTS.items():
        value = facts.get(key)
        if value is not None and not isinstance(value, kind):
            raise ConfigError.value(f"model.{key}", allowed, value)
    for key in SHARES:
        facts[key] = _share(f"model.{key}", facts.get(key))
    engine = facts.get("engine", ENGINES[0])
    if engine not in ENGINES:
        raise ConfigError.value("model.engine", any_of(ENGINES), engine)
    facts["version"] = _version(facts.get("version"), facts.get("sha256"))
    facts["input"] = read_input(facts.get("input"))
    facts["output"] = read_output(facts.get("output"))
    facts["method"] = read_method(facts.get("method"))
    facts["parameters"] = read_parameters(facts.get("parameters"))
    check_json("model", section)
    return Model(**facts)


def _version(given: Any, sha256: str | None) -> str | None:
    """The version that the owner gave, else the beginning of the model's digest."""
    if given is None:
        if sha256 is None or not DIGEST.fullmatch(sha256):
            return None
        return sha256[:MOST_DIGITS]
    if not isinstance(given, str):  # YAML reads 1.10 as 1.1, and 010 as 8
        raise ConfigError.value("model.version", 'a string in quotes, as in "1.10"', given)
    if not VERSION.fullmatch(given):
        raise ConfigError.value("model.version", VERSION_RULE, given)
    return given


def _setting(name: str, value: Any, variable: str | None = None) -> Any:
    """One value of `serving`, converted where it comes from the environment as text.

    Args:
        name: the setting's.
        value: what was given.
        variable: the one of the environment that gave it; None if `config.yaml` did.
    """
    rules = {item.name: item for item in dataclasses.fields(Serving)}
    if name not in rules:
        meant = "the settings are"
        if near := nearest(name, rules):
            meant = f"did you mean {near}? The settings are"
        raise ConfigError(
            f"config.yaml: serving.{name} is not a setting; {meant} {', '.join(rules)}"
        )
    rule = rules[name]
    if name == "cors_origins":
        return _origins(name, value)
    if rule.type is bool:
        return _flag(name, value)
    place = _where(name, variable)
    number = _number(place, value, whole=rule.type is int)
    low, high = rule.metadata["low"], rule.metadata["high"]
    if not low <= number <= high:
        raise ConfigError.value(place, f"between {low} and {high}", value)
    return number


def _share(key: str, value: Any) -> float | None:
    """A number from 0 to 1. YAML takes 1e-5 for a text, and 1.0e-5 for a number."""
    if value is None:
        return None
    try:
        share = float(value)
    except (TypeError, ValueError, OverflowError):
        share = -1.0
    if isinstance(value, bool) or not 0 <= share <= 1:
        raise ConfigError.value(key, "a number from 0 to 1, or null", value)
    return share


def _origins(name: str, value: Any) -> tuple[str, ...]:
    """Origins, or `*` alone."""
    origins = [value] if value == "*" else value
    if not isinstance(origins, (list, tuple)):
        raise ConfigError.value(_where(name), 'a list of origins, or "*" for all', value)
    for index, origin in enumerate(origins):
        if origin == "*" and len(origins) == 1:
            continue
        if not isinstance(origin, str) or not ORIGIN.fullmatch(origin):
            allowed = "like https://example.org, in lower case and without a path"
            raise ConfigError.value(f"{_where(name)}[{index}]", allowed, origin)
    return tuple(origins)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError.value(_where(name), "true or false", value)
    return value


def _number(place: str, value: Any, whole: bool) -> float:
    kind, expected = (int, "a whole number") if whole else (float, "a number")
    try:
        if isinstance(value, bool) or (whole and isinstance(value, float)):
            raise ValueError
        return kind(value)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError.value(place, expected, value) from None


def _where(setting: str, variable: str | None = None) -> str:
    """A setting's key, and the environment variable that overrides it where there is one."""
    for name, target in ENVIRONMENT.items():
        if target == setting and variable in (None, name):
            return f"serving.{setting} (or {name} in the environment)"
    return f"serving.{setting}"
