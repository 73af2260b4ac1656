"""`reference/configuration.md`: the keys of `config.yaml`, and what the environment overrides."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from common.config import (
    ENGINES,
    ENVIRONMENT,
    FACTS,
    SHARES,
    VERSION_RULE,
    Serving,
)

from .markup import blocks, code, heading, table
from .settings_file import Key, frameworks, keys

SERVING, MODEL = "model_metadata.serving.", "model_metadata.model."
SECTIONS = ("model_metadata", "model_name", "python_version")
# What the file itself does not explain.
WORDS = {
    "serving.http_port": "The port of HTTP.",
    "model.file": "The name of the model's file, or of its directory, in `src/model/`.",
    "model.trained_with": "The versions that the model was trained with.",
    "base_image.image": "The image that the Dockerfile starts from, of `python_version`.",
    "build_commands": "What makes the server's environment in the image.",
    "docker_server.server_port": "The port that truss's proxy asks.",
    "docker_server.predict_endpoint": "The route that truss's proxy passes predictions to.",
    "docker_server.readiness_endpoint": "The route that says whether the model is ready.",
    "docker_server.liveness_endpoint": "The route that says whether the server lives.",
    "resources.cpu": "The processors of an instance.",
    "resources.memory": "The memory of an instance.",
    "resources.accelerator": "The GPU of an instance, in a scaffold for a GPU.",
}
# What the value of a fact may be, where its check is a function.
ALLOWED = {
    "engine": " or ".join(map(code, ENGINES)),
    "version": f"`null`, or a string: {VERSION_RULE}",
    "method": "`null`, the name of a method, or a list of different names",
    "parameters": "`null`, or a list of [parameters](#parameters)",
    "input": "`null`, or one of the [forms of rows](#rows)",
    "output": "`null`, or one of the [forms of predictions](#predictions)",
    "code": "a mapping of paths to SHA-256, or `null`; the generator alone reads it",
    "class": "a string or `null`; the generator alone reads it",
    "trained_with": "a mapping or `null`; the generator alone reads it",
}


def serving() -> str:
    """The settings of the server."""
    rules = {item.name: item for item in dataclasses.fields(Serving)}
    listed = _under(SERVING)
    missing = rules.keys() - {key.path.removeprefix(SERVING) for key in listed}
    assert not missing, f"config.yaml.jinja has no {missing}"
    return blocks(
        _section(key, f"serving.{name}", _serving_rule(rules[name]))
        for key in listed
        for name in [key.path.removeprefix(SERVING)]
    )


def model() -> str:
    """The facts about the model."""
    return blocks(
        _section(key, f"model.{name}", _fact_rule(name))
        for key in _under(MODEL)
        for name in [key.path.removeprefix(MODEL)]
    )


def truss() -> str:
    """What truss reads of the file."""
    rows = [
        (code(key.path), code(_written(_first(key))), _words(key, key.path))
        for key in keys().values()
        if key.path.split(".")[0] not in SECTIONS and not isinstance(_first(key), dict)
    ]
    return table(("key", "in a new scaffold", "meaning"), rows)


def variables() -> str:
    """The variables that override settings."""
    rows = [(code(name), code(f"serving.{setting}")) for name, setting in ENVIRONMENT.items()]
    return table(("variable", "overrides"), rows)


def _under(prefix: str) -> list[Key]:
    return [key for key in keys().values() if key.path.startswith(prefix)]


def _section(key: Key, name: str, rule: str) -> str:
    lines = [f"- Allowed: {rule}.", f"- In a new scaffold: {_default(key)}."]
    if len(key.defaults) < len(frameworks()):
        lines.append(f"- Only with: {', '.join(key.defaults)}.")
    return blocks([heading(name, name), _words(key, name), "\n".join(lines)])


def _words(key: Key, name: str) -> str:
    return key.comment or WORDS[name]


def _serving_rule(rule: "dataclasses.Field[Any]") -> str:
    if rule.name == "cors_origins":
        return 'a list of origins, or `"*"`'
    if rule.type is bool:
        return "`true` or `false`"
    low, high = rule.metadata["low"], rule.metadata["high"]
    kind = "a whole number" if rule.type is int else "a number"
    return f"{kind} from {low:,} to {high:,}"


def _fact_rule(name: str) -> str:
    if name in FACTS:
        return FACTS[name][1]
    if name in SHARES:
        return "a number from 0 to 1, or `null`"
    return ALLOWED[name]


def _default(key: Key) -> str:
    """The default, with the frameworks of each where it differs."""
    by_value: dict[str, list[str]] = {}
    for framework, value in key.defaults.items():
        by_value.setdefault(_written(value), []).append(framework)
    if len(by_value) == 1:
        return code(next(iter(by_value)))
    return ", ".join(_named(by_value))


def _named(by_value: dict[str, list[str]]) -> Iterator[str]:
    """Each value with its frameworks; the most frequent one stands for all others."""
    usual = max(by_value, key=lambda value: len(by_value[value]))
    for value, names in by_value.items():
        if value != usual:
            yield f"{code(value)} ({', '.join(names)})"
    yield f"{code(usual)} (all others)"


def _first(key: Key) -> Any:
    return next(iter(key.defaults.values()))


def _written(value: Any) -> str:
    """A value as YAML has it, on one line."""
    if isinstance(value, str):
        return value
    return json.dumps(value)
