"""Request and response bodies: JSON, and msgpack with numpy's arrays and Python's types.

Bodies come from the network. Both decoders raise `DecodeError` and nothing else. They never
unpickle, and the memory that they take is in proportion to the length of the body.
"""

from .json_codec import json_decode, json_encode
from .msgpack_codec import msgpack_decode, msgpack_encode
from .values import DecodeError

__all__ = ["DecodeError", "json_decode", "json_encode", "msgpack_decode", "msgpack_encode"]
