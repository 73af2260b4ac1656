"""A scaffold's log: as it is, or readable at a terminal; the reason of a failure."""

import io
import json
from typing import Any

from generator.running.log_lines import OwnersTraceback, failure, last_words, owners_traceback, show

TRACEBACK = """\
Traceback (most recent call last):
  File "/app/server/inference_model.py", line 7, in predict
    return self.model.predict(rows)
ValueError: no \u2028rows\x1b[2J
  on two lines"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def line(**values: Any) -> str:
    record = {"time": "2024", "level": "ERROR", "logger": "common", "message": "predict failed: E"}
    return json.dumps({**record, **values}, ensure_ascii=False) + "\n"


def shown(text: str, output: io.StringIO) -> str:
    show(text, output)
    return output.getvalue()


def test_a_terminal_gets_a_traceback_under_the_requests_id() -> None:
    text = shown("before\n" + line(request_id="r1", exception=TRACEBACK) + "a bar: 7%", Terminal())
    harmless = TRACEBACK.replace("\u2028", "\\u2028").replace("\x1b", "\\x1b")
    assert text == f"before\nERROR, request id r1: predict failed: E\n{harmless}\na bar: 7%"


def test_what_is_no_record_stays_as_it_is() -> None:
    for text in ('{"instances": 1}\n', "[1]\n", "[" * 100_000, "3\n", "\n", "\x1b[1mbold\n"):
        assert shown(text, Terminal()) == text


def test_a_file_gets_the_lines_as_they_are() -> None:
    text = line(request_id="r1", exception=TRACEBACK) + "more"
    assert shown(text, io.StringIO()) == text


def test_what_only_writes_gets_the_lines_as_they_are() -> None:
    class Written(list[str]):
        write = list.append

    written: Any = Written()
    show(line(request_id="r1"), written)
    assert written == [line(request_id="r1")]


def test_the_failure_is_the_last_one() -> None:
    lines = [
        line(request_id="r1", exception="E: first"),
        line(request_id="r2", exception=TRACEBACK),
    ]
    found = failure([*lines, line(), "said at the end"])
    assert found is not None and found.traceback == TRACEBACK
    assert found.reason == "predict failed: ValueError: no rows\x1b[2J on two lines"
    assert failure([line(), "x"]) is None and last_words([line(), "x", ""]) == ": x"


def test_the_cause_of_an_error_is_the_owners_traceback() -> None:
    assert owners_traceback({"error": "E"}) is None
    cause = owners_traceback({"error": "E", "traceback": TRACEBACK})
    assert isinstance(cause, OwnersTraceback) and str(cause) == f"\n{TRACEBACK}"
