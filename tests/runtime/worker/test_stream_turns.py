"""The turns of streams in a worker."""

from collections.abc import Iterator

from common.link.frames import CREDIT, Kind, Request, Response
from common.worker.streams import Stream, Streams


def stream(ident: int, values: Iterator[int]) -> Stream:
    def chunk(value: int) -> Response:
        return Response(ident, 200, Kind.CHUNK, b"%d" % value)

    def failed(error: BaseException) -> Response:
        raise error

    return Stream(Request(ident, Kind.JSON, "", b""), values, chunk, failed)


def test_each_has_its_turn_and_a_new_one_comes_first() -> None:
    streams = Streams()
    for ident in (1, 2):
        streams.add(stream(ident, (value for value in range(9))))
    turns = [streams.step() for _ in range(3)]
    for ident in (3, 4):
        streams.add(stream(ident, (value for value in range(9))))
    turns += [streams.step() for _ in range(5)]
    assert [turn and turn.ident for turn in turns] == [1, 2, 1, 3, 4, 2, 1, 3]


def test_one_waits_for_its_client() -> None:
    streams = Streams()
    streams.add(stream(1, (value for value in range(100))))
    for _ in range(CREDIT):
        assert streams.can_go_on and streams.step() is not None
    assert not streams.can_go_on
    streams.grant(1, 1)
    assert streams.can_go_on and streams.step() is not None
    assert not streams.can_go_on
    ended = streams.cancel(1)
    assert ended is not None and ended.kind == Kind.END and len(streams) == 0
    streams.grant(1, 1)
    assert not streams.can_go_on
