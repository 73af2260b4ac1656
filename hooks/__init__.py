"""One module a framework: how its models are recognised, described and serialized.

`find` goes through the registry in its order. A framework's own package is imported by none of the others.
"""

from .base import NATIVE, ONNX, Description, WrittenModelScaffoldDefinition
from .registry import DEFINITIONS, by_name, find, reader

__all__ = [
    "DEFINITIONS",
    "NATIVE",
    "ONNX",
    "Description",
    "WrittenModelScaffoldDefinition",
    "by_name",
    "find",
    "reader",
]
