"""`config.yaml` as the template renders it: each key, its default and the comment above it."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template" / "config.yaml.jinja"
KEY = re.compile(r"(?P<indent> *)(?P<key>[a-z_0-9]+):( |$)")
WIDTH = 2  # of a level


@dataclass
class Key:
    """A key of `config.yaml`.

    Attributes:
        path: its place, as in `model_metadata.serving.workers`.
        comment: what the file says of it.
        defaults: its value in a new scaffold, by framework.
    """

    path: str
    comment: str
    defaults: dict[str, Any] = field(default_factory=dict)


@functools.cache
def answers() -> dict[str, Any]:
    """The questions of the template, as `copier.yml` has them."""
    document: dict[str, Any] = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    return document


def frameworks() -> list[str]:
    """The frameworks that the template knows."""
    return list(answers()["framework"]["choices"].values())


@functools.cache
def keys() -> dict[str, Key]:
    """Every key that the file of some scaffold has, by its path."""
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    model_file = environment.from_string(answers()["model_file"]["default"])
    found: dict[str, Key] = {}
    for framework in frameworks():
        text = template.render(
            framework=framework,
            model_file=model_file.render(framework=framework),
            model_name="model",
            python_version="3.11",
            server="kserve",
            engine="native",
            gpu=True,
        )
        document = yaml.safe_load(text)
        for path, comment in _commented(text):
            key = found.setdefault(path, Key(path, comment))
            key.defaults[framework] = _value(document, path)
    return found


def _commented(text: str) -> Iterator[tuple[str, str]]:
    """The path of each key in the text of a file, and the comment right above it."""
    path: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            comment.append(line.strip().removeprefix("#").strip())
            continue
        if found := KEY.match(line):
            path[len(found["indent"]) // WIDTH :] = [found["key"]]
            yield ".".join(path), " ".join(comment)
        comment = []


def _value(document: Any, path: str) -> Any:
    for key in path.split("."):
        document = document[key]
    return document
