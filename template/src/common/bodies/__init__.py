"""The bodies of requests and responses: JSON, and msgpack that carries numpy's arrays and Python's types.

Bodies come from the network, so both decoders raise `DecodeError` and nothing else, never unpickle, and take
no memory that the body's own length does not account for.
"""

from .json_codec import json_decode, json_encode
from .msgpack_codec import msgpack_decode, msgpack_encode
from .values import DecodeError

__all__ = ["DecodeError", "json_decode", "json_encode", "msgpack_decode", "msgpack_encode"]
