"""Compressed bodies: what is decoded, what is refused, and when compression pays."""

import contextlib
import gzip
import os
import random
import zlib

import pytest
import zstandard

from common.serving.compression import (
    CODINGS,
    DEFLATE,
    ENCODERS,
    GZIP,
    ZSTD,
    Malformed,
    TooLarge,
    accepted,
    coding_of,
    compress,
    decompress,
)

BODY = b'{"instances": [[5.1, 3.5, 1.4, 0.2]]}' * 1000
LIMIT = 1 << 20


def raw_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return stream.compress(body) + stream.flush()


def streamed_zstd(body: bytes) -> bytes:
    """A frame that does not say how long its content is."""
    stream = zstandard.ZstdCompressor().compressobj()
    return bytes(stream.compress(body) + stream.flush())


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (GZIP, gzip.compress(BODY)),
        (GZIP, gzip.compress(BODY[:9]) + gzip.compress(BODY[9:])),
        (DEFLATE, zlib.compress(BODY, 0)),
        (DEFLATE, raw_deflate(BODY)),
        (ZSTD, zstandard.compress(BODY)),
        (ZSTD, streamed_zstd(BODY[:9]) + streamed_zstd(BODY[9:])),
    ],
)
def test_a_body_comes_out_as_it_was(coding: bytes, body: bytes) -> None:
    assert decompress(coding, body, len(BODY)) == BODY
    with pytest.raises(TooLarge):
        decompress(coding, body, len(BODY) - 1)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_body_that_is_not_complete_is_refused(coding: bytes) -> None:
    whole = ENCODERS[coding](BODY)
    for body in (b"", b"x", BODY, whole[:4], whole[:-1], whole + b"tail"):
        with pytest.raises(Malformed, match=f"not {coding.decode()}"):
            decompress(coding, body, LIMIT)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_bomb_is_refused_before_it_is_whole(coding: bytes) -> None:
    bomb = ENCODERS[coding](bytes(1 << 28))
    with pytest.raises(TooLarge):
        decompress(coding, bomb, LIMIT)


@pytest.mark.parametrize("coding", [GZIP, ZSTD])
def test_many_empty_members_are_refused(coding: bytes) -> None:
    empty = ENCODERS[coding](b"")
    assert decompress(coding, empty * 4000 + ENCODERS[coding](BODY), LIMIT) == BODY
    with pytest.raises(Malformed, match="more than 4096 members"):
        decompress(coding, empty * 2_000_000, LIMIT)


def test_a_frame_of_zstd_that_asks_for_much_memory_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = stream.compress(bytes(1 << 24)) + stream.flush()
    with pytest.raises(Malformed, match="memory"):
        decompress(ZSTD, body, 1 << 30)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_changed_body_is_refused_or_another_body(coding: bytes) -> None:
    choice = random.Random(0)
    whole = ENCODERS[coding](BODY)
    for _ in range(2000):
        changed = bytearray(whole)
        for _ in range(choice.randint(1, 4)):
            changed[choice.randrange(len(changed))] = choice.randrange(256)
        with contextlib.suppress(Malformed, TooLarge):
            decompress(coding, bytes(changed), LIMIT)


def test_compression_pays_where_a_body_gets_smaller() -> None:
    for coding in CODINGS:
        small = compress(coding, BODY)
        assert small is not None and decompress(coding, small, LIMIT) == BODY
        assert compress(coding, os.urandom(100_000)) is None


@pytest.mark.parametrize(
    ("field", "coding"),
    [
        (b"gzip, deflate, br, zstd", ZSTD),
        (b"gzip, deflate", GZIP),
        (b"deflate", DEFLATE),
        (b"X-GZIP", GZIP),
        (b"zstd;q=0.1, gzip; q=0.9", GZIP),
        (b"*", ZSTD),
        (b"zstd;q=0, *;q=0.5", GZIP),
        (b"gzip;q=0", None),
        (b"identity, gzip;q=0.5", None),
        (b"gzip;q=x", None),
        (b"br", None),
        (b"", None),
    ],
)
def test_the_best_coding_that_a_client_accepts(field: bytes, coding: bytes | None) -> None:
    assert accepted(field) == coding


def test_the_coding_of_a_body() -> None:
    fields = (b"GZip", b"x-gzip", b"identity", b" gzip , identity", b"gzip, gzip", b"br")
    codings = [GZIP, GZIP, b"", GZIP, b"gzip, gzip", b"br"]
    assert [coding_of(field) for field in fields] == codings
