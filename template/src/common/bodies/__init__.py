"""Request and response bodies: JSON, and msgpack with numpy's arrays and Python's types.

Bodies come from the network. Both decoders raise `DecodeError` and nothing else. They never
unpickle, and the memory that they take is in proportion to the length of the body.

The codecs are imported when they are first used: the server reads other modules of this folder,
and has no numpy.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ..errors import DecodeError

if TYPE_CHECKING:
    from .json_codec import json_decode, json_encode
    from .msgpack_codec import msgpack_decode, msgpack_encode

__all__ = ["DecodeError", "json_decode", "json_encode", "msgpack_decode", "msgpack_encode"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f".{name.partition('_')[0]}_codec", __name__)
    globals()[name] = getattr(module, name)
    return globals()[name]
