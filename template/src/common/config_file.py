"""A YAML file, read strictly: what YAML takes without a word is an error that names its line."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from .errors import ConfigError
from .words import shown

MOST_BYTES = 1 << 25
MOST_LEVELS = 100
MERGE = "tag:yaml.org,2002:merge"
# Aliases may repeat what they name so often, and in a small file oftener.
MOST_COPIES, SMALL = 10, 100_000


def read(path: Path) -> Any:
    """The document in a YAML file.

    Raises:
        ConfigError: it cannot be read, is no YAML, has a key twice, a text that is no Unicode,
            too many levels, or aliases that repeat too much.
    """
    text = _text(path)
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _Check(path).check(node)
        return loader.construct_document(node)
    except RecursionError:
        raise ConfigError(f"{path} is not YAML: it has more than {MOST_LEVELS} levels") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    finally:
        loader.dispose()


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ConfigError(f"{path} has {size} bytes, more than {MOST_BYTES}")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} cannot be read: byte {error.start} is not UTF-8; save it as UTF-8"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


class _Check:
    """Checks the nodes of a document."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sizes: dict[int, int] = {}  # how many values a node is, with what its aliases repeat
        self._within: set[int] = set()

    def check(self, root: Node) -> None:
        found = self._size(root)
        most = max(SMALL, MOST_COPIES * len(self._sizes))
        if found > most:
            raise ConfigError(
                f"{self._path}: its aliases (*name) stand for {found} values, more than {most}"
            )

    def _size(self, node: Node) -> int:
        known = self._sizes.get(id(node))
        if known is not None:
            return known
        if id(node) in self._within:
            raise self._error(node, "the value contains itself: remove the alias in it")
        if len(self._within) > MOST_LEVELS:
            raise self._error(node, f"the value is nested in more than {MOST_LEVELS} levels")
        self._within.add(id(node))
        size = self._sizes[id(node)] = 1 + sum(map(self._size, self._parts(node)))
        self._within.remove(id(node))
        return size

    def _parts(self, node: Node) -> Iterator[Node]:
        if isinstance(node, ScalarNode):
            self._check_text(node)
        elif isinstance(node, SequenceNode):
            yield from node.value
        elif isinstance(node, MappingNode):
            self._check_keys(node)
            for pair in node.value:
                yield from pair

    def _check_text(self, node: ScalarNode) -> None:
        with contextlib.suppress(UnicodeEncodeError):
            node.value.encode()
            return
        raise self._error(node, f"the text {ascii(node.value)[:60]} holds half a character")

    def _check_keys(self, node: MappingNode) -> None:
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, ScalarNode) or key.tag == MERGE:
                continue
            name = (key.tag, key.value)
            if name in lines:
                raise self._error(
                    key,
                    f"the key {shown(key.value)} stands in line {lines[name]} already: keep one",
                )
            lines[name] = key.start_mark.line + 1

    def _error(self, node: Node, said: str) -> ConfigError:
        return ConfigError(f"{self._path}: line {node.start_mark.line + 1}: {said}")
