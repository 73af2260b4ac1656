"""Compressed bodies: gzip, deflate and zstd.

Source: RFC 9110, 8.4 and 12.5.3; RFC 1950 to 1952; RFC 8878. A body of `deflate` may lack zlib's
header, as some clients send it.
"""

import asyncio
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from backports import zstd

GZIP, DEFLATE, ZSTD = b"gzip", b"deflate", b"zstd"
CODINGS = (ZSTD, GZIP, DEFLATE)  # the smallest first
ACCEPTED = b", ".join(CODINGS)
ALIASES = {b"x-gzip": GZIP, b"identity": b""}
GZIP_WINDOW, RAW_WINDOW = 31, -15  # zlib's `wbits`
# The most memory that a zstd frame may ask for: what every decoder must support.
ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}  # 8 MiB
PIECE_BYTES = 1 << 20
INPUT_BYTES = 1 << 16
MOST_MEMBERS = 4096  # of gzip, or frames of zstd: empty ones would take for ever
TOO_MANY = f"it has more than {MOST_MEMBERS} members or frames"
TRUNCATED = "it is truncated"
LEVEL = 1
SAMPLE_BYTES = 1 << 14
MOST_KEPT = 0.8  # of a sample, for compression to pay


# Both libraries let other threads run. Few at a time, so that few bodies are held twice. Answers do
# not wait for the bodies of others.
REQUESTS = ThreadPoolExecutor(2, "decompression")
ANSWERS = ThreadPoolExecutor(2, "compression")
HeaderList = list[tuple[bytes, bytes]]
Message = tuple[HeaderList, bytes]


class TooLarge(Exception):
    """A body is larger than the limit once it is decompressed."""


class Malformed(Exception):
    """A body is not compressed as it says."""


def coding_of(field: bytes) -> bytes:
    """The coding that a Content-Encoding names: empty for none; several as they are."""
    names = [name.strip().lower() for name in field.split(b",")]
    codings = [ALIASES.get(name, name) for name in names]
    return b", ".join(coding for coding in codings if coding)


def accepted(field: bytes) -> bytes | None:
    """The best coding for a client's Accept-Encoding; None to send the body as it is."""
    weights = {}
    for part in field.lower().split(b","):
        name, _, parameter = part.partition(b";")
        weights[ALIASES.get(name.strip(), name.strip())] = _weight(parameter)
    others = weights.get(b"*", 0.0)
    best = max(CODINGS, key=lambda coding: weights.get(coding, others))
    weight = weights.get(best, others)
    if weight <= 0 or weight < weights.get(b"", 0.0):
        return None
    return best


def _weight(parameter: bytes) -> float:
    """The weight of `q=0.5`; 1 without one, 0 for one that is not valid."""
    name, _, value = parameter.partition(b"=")
    if name.strip() != b"q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def decompress(coding: bytes, body: bytes, limit: int) -> bytes:
    """A body without its coding.

    Raises:
        TooLarge: it is larger than the limit.
        Malformed: it is not complete, or not of the coding.
    """
    whole = bytearray()
    try:
        if not body:
            raise EOFError(TRUNCATED)
        for piece in DECODERS[coding](body):
            whole += piece
            if len(whole) > limit:
                raise TooLarge
    except (zlib.error, zstd.ZstdError, EOFError) as error:
        raise Malformed(f"the body is not {coding.decode()}: {error}") from None
    return bytes(whole)


def compress(coding: bytes, body: bytes) -> bytes | None:
    """A body in a coding; None where that would not pay."""
    encode = ENCODERS[coding]
    sample = body[:SAMPLE_BYTES]
    if len(encode(sample)) > MOST_KEPT * len(sample):
        return None
    return encode(body)


def compressed(coding: bytes, headers: HeaderList, body: bytes) -> "asyncio.Future[Message]":
    """The headers and the body of a response in a coding, or as they are where that does not pay.

    A thread compresses it, so that the event loop goes on.
    """
    loop = asyncio.get_running_loop()
    return loop.run_in_executor(ANSWERS, _message, coding, headers, body)


def _message(coding: bytes, headers: HeaderList, body: bytes) -> Message:
    small = compress(coding, body)
    varied = [*headers, (b"vary", b"accept-encoding")]
    if small is None:
        return varied, body
    kept = [field for field in varied if field[0] != b"content-length"]
    length = b"%d" % len(small)
    return [*kept, (b"content-encoding", coding), (b"content-length", length)], small


def _zlib_members(body: bytes, window: int) -> Iterator[bytes]:
    """The contents of one or more members of gzip, or of a stream of deflate."""
    at = 0
    for _ in range(MOST_MEMBERS):
        stream = zlib.decompressobj(window)
        while not stream.eof:
            part = stream.unconsumed_tail
            if not part:
                part = body[at : at + INPUT_BYTES]
                at += len(part)
            if not part:
                raise EOFError(TRUNCATED)
            yield stream.decompress(part, PIECE_BYTES)
        at -= len(stream.unused_data)
        if at == len(body):
            return
        if window != GZIP_WINDOW:
            raise EOFError(f"{len(body) - at} bytes follow its end")
    raise EOFError(TOO_MANY)


def _deflate(body: bytes) -> Iterator[bytes]:
    window = zlib.MAX_WBITS
    if not _has_zlib_header(body):
        window = RAW_WINDOW
    return _zlib_members(body, window)


def _has_zlib_header(body: bytes) -> bool:
    first = body[:2]
    return len(first) == 2 and first[0] & 15 == 8 and not int.from_bytes(first, "big") % 31


def _zstd_frames(body: bytes) -> Iterator[bytes]:
    at = 0
    for _ in range(MOST_MEMBERS):
        stream = zstd.ZstdDecompressor(options=ZSTD_OPTIONS)
        while not stream.eof:
            part = b""
            if stream.needs_input:
                part = body[at : at + INPUT_BYTES]
                at += len(part)
                if not part:
                    raise EOFError(TRUNCATED)
            yield stream.decompress(part, PIECE_BYTES)
        at -= len(stream.unused_data)
        if at == len(body):
            return
    raise EOFError(TOO_MANY)


def _with_zlib(window: int) -> Callable[[bytes], bytes]:
    def encode(body: bytes) -> bytes:
        stream = zlib.compressobj(LEVEL, zlib.DEFLATED, window)
        return stream.compress(body) + stream.flush()

    return encode


def _encode_zstd(body: bytes) -> bytes:
    return zstd.compress(body, LEVEL)


DECODERS: dict[bytes, Callable[[bytes], Iterator[bytes]]] = {
    GZIP: lambda body: _zlib_members(body, GZIP_WINDOW),
    DEFLATE: _deflate,
    ZSTD: _zstd_frames,
}
ENCODERS: dict[bytes, Callable[[bytes], bytes]] = {
    GZIP: _with_zlib(GZIP_WINDOW),
    DEFLATE: _with_zlib(zlib.MAX_WBITS),
    ZSTD: _encode_zstd,
}
