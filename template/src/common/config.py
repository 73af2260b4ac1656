"""`config.yaml`, read and checked once. Environment variables override what differs from machine to machine."""

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import ConfigError

SOURCE = Path(__file__).resolve().parents[1]
KINDS = {
    **dict.fromkeys(("file", "sha256", "onnx_sha256", "backend"), str),
    **dict.fromkeys(("input", "output", "custom_objects"), dict),
    "example": list,
}
SERVERS = ("kserve", "kfserving")
ENGINES = ("native", "onnx")
ENVIRONMENT = {"WORKERS": "workers", "PORT": "http_port", "GRPC_PORT": "grpc_port"}
# And the list that each must have.
INPUT_KINDS = {
    "array": "shape",
    "table": "columns",
    "tensors": "inputs",
    "text": None,
    "json": None,
}


def config_path() -> Path:
    """`config.yaml` beside `src/`, or in it as in the container."""
    inside = SOURCE / "config.yaml"
    return inside if inside.exists() else SOURCE.parent / "config.yaml"


def _rule(default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True)
class Serving:
    """The knobs of the server. `config.yaml` explains each."""

    workers: int = _rule(1, 1, 256)
    max_batch_size: int = _rule(256, 1, 1_000_000)
    max_queue: int = _rule(1024, 1, 1_000_000)
    max_body_bytes: int = _rule(64 * 2**20, 1, 2**32 - 2**16)
    predict_timeout_seconds: float = _rule(60, 0.001, 86_400)
    load_timeout_seconds: float = _rule(600, 0.001, 86_400)
    poll_seconds: float = _rule(0.0002, 0, 1)
    drain_seconds: float = _rule(2, 0, 3_600)
    http_port: int = _rule(8080, 1, 65_535)
    grpc_port: int = _rule(8081, 0, 65_535)
    access_log: bool = False


@dataclass(frozen=True)
class Model:
    """The facts of the model in `src/model/`; None stands for what nobody has told."""

    file: str | None = None
    sha256: str | None = None
    engine: str = ENGINES[0]
    onnx_sha256: str | None = None
    input: dict[str, Any] | None = None
    output: dict[str, Any] | None = None
    example: list[Any] | None = None
    backend: str | None = None
    custom_objects: dict[str, str] | None = None


@dataclass(frozen=True)
class Config:
    """`config.yaml` as the server and its workers see it."""

    name: str
    framework: str
    serving: Serving
    model: Model
    server: str = "kserve"
    python_version: str | None = None  # of the model's environment, as in "3.11"

    @classmethod
    def read(cls, path: Path, environ: Mapping[str, str] = os.environ) -> "Config":
        """Read a `config.yaml`, with the environment's overrides.

        Raises:
            ConfigError: the file is missing or broken, or holds a value that its rule forbids.
        """
        import yaml  # only the server's environment has it: a worker is handed what was read

        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
        except yaml.YAMLError as error:
            raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
        return cls.from_document(document, environ)

    @classmethod
    def from_document(cls, document: Any, environ: Mapping[str, str] = {}) -> "Config":
        """Check a parsed `config.yaml` and make a Config of it."""
        metadata = _section(_mapping(document, "config.yaml"), "model_metadata")
        server = _server(metadata)
        serving = dict(_section(metadata, "serving", {}))
        if server == "kfserving":
            serving.setdefault("grpc_port", 0)
        serving.update(
            {knob: environ[name] for name, knob in ENVIRONMENT.items() if environ.get(name)}
        )
        model = _section(metadata, "model")
        knobs = Serving(**{knob: _knob(knob, value) for knob, value in serving.items()})
        if server == "kfserving" and knobs.grpc_port:
            raise ConfigError(
                f"{_where('grpc_port')} must be 0, KFServing has no gRPC; it is {knobs.grpc_port}"
            )
        return cls(
            name=_text(document, "model_name"),
            framework=_text(metadata, "framework"),
            serving=knobs,
            model=_model(model),
            server=server,
            python_version=_python_version(document),
        )

    def as_document(self) -> dict[str, Any]:
        """What `from_document` takes: how the server hands its Config to a worker."""
        return {
            "model_name": self.name,
            "model_metadata": {
                "framework": self.framework,
                "server": self.server,
                "serving": dataclasses.asdict(self.serving),
                "model": dataclasses.asdict(self.model),
            },
        }


def _mapping(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{key} must be a mapping, it is {_shown(value)}")
    return value


def _section(parent: Mapping[str, Any], key: str, default: Any = None) -> dict[str, Any]:
    value = parent.get(key)
    return _mapping(default if value is None else value, f"config.yaml: {key}")


def _text(parent: Mapping[str, Any], key: str) -> str:
    value = parent.get(key)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"config.yaml: {key} must be a text, it is {_shown(value)}")
    return value


def _server(metadata: Mapping[str, Any]) -> str:
    server = _text({"server": SERVERS[0], **metadata}, "server")
    if server not in SERVERS:
        raise ConfigError(f"config.yaml: server must be {_or(SERVERS)}, it is {_shown(server)}")
    return server


def _python_version(document: Mapping[str, Any]) -> str | None:
    """Truss writes 3.11 as py311."""
    if document.get("python_version") is None:
        return None
    text = _text(document, "python_version")
    if not (version := re.fullmatch(r"py(3)(\d+)", text)):
        raise ConfigError(f"config.yaml: python_version must be like py311, it is {_shown(text)}")
    return f"{version[1]}.{version[2]}"


def _model(section: dict[str, Any]) -> Model:
    known = {item.name for item in dataclasses.fields(Model)}
    model = Model(**{key: section[key] for key in known & section.keys()})
    for key, kind in KINDS.items():
        value = getattr(model, key)
        if value is not None and not isinstance(value, kind):
            raise ConfigError(
                f"config.yaml: model.{key} must be a {kind.__name__} or null, it is {_shown(value)}"
            )
    if model.engine not in ENGINES:
        raise ConfigError(
            f"config.yaml: model.engine must be {_or(ENGINES)}, it is {_shown(model.engine)}"
        )
    _check_input(model.input)
    return model


def _check_input(signature: dict[str, Any] | None) -> None:
    if signature is None:
        return
    kind = signature.get("kind")
    if not isinstance(kind, str) or kind not in INPUT_KINDS:
        raise ConfigError(
            f"config.yaml: model.input.kind must be {_or(INPUT_KINDS)}, it is {_shown(kind)}"
        )
    key = INPUT_KINDS[kind]
    if kind == "array" and signature.get("shape", ()) is None:  # any shape
        return
    if key is not None and not isinstance(signature.get(key), list):
        raise ConfigError(
            f"config.yaml: model.input.{key} must be a list, it is {_shown(signature.get(key))}"
        )


def _or(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}"


def _knob(name: str, value: Any) -> Any:
    """One value of `serving`, converted where it comes from the environment as text."""
    rules = {item.name: item for item in dataclasses.fields(Serving)}
    if name not in rules:
        raise ConfigError(
            f"config.yaml: serving.{name} is no setting; the settings are {', '.join(rules)}"
        )
    rule = rules[name]
    if rule.type is bool:
        if not isinstance(value, bool):
            raise ConfigError(
                f"config.yaml: serving.{name} must be true or false, it is {_shown(value)}"
            )
        return value
    number = _number(name, value, whole=rule.type is int)
    low, high = rule.metadata["low"], rule.metadata["high"]
    if not low <= number <= high:
        raise ConfigError(f"{_where(name)} must be between {low} and {high}, it is {_shown(value)}")
    return number


def _number(name: str, value: Any, whole: bool) -> float:
    kind = int if whole else float
    try:
        if isinstance(value, bool) or (whole and isinstance(value, float)):
            raise ValueError
        return kind(value)
    except (TypeError, ValueError):
        expected = "a whole number" if whole else "a number"
        raise ConfigError(f"{_where(name)} must be {expected}, it is {_shown(value)}") from None


def _where(knob: str) -> str:
    variables = [name for name, target in ENVIRONMENT.items() if target == knob]
    return f"config.yaml: serving.{knob}" + (
        f" (or {variables[0]} in the environment)" if variables else ""
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
