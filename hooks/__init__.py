"""One module a framework: how its models are recognised, described and serialized.

`find` asks the frameworks in the registry's order. No module imports another framework's package.
"""

from .base import NATIVE, ONNX, Description, WrittenModelScaffoldDefinition
from .registry import DEFINITIONS, by_name, find, names, reader

__all__ = [
    "DEFINITIONS",
    "NATIVE",
    "ONNX",
    "Description",
    "WrittenModelScaffoldDefinition",
    "by_name",
    "find",
    "names",
    "reader",
]
