"""Tells who waits what is being done, a line a step: in a terminal, or in a notebook.

In a terminal the lines go to standard error. A notebook has one output, which changes and at last
says how long it took. Where neither is (a script, a log), nothing is told; nor by a thread of the
owner's, because several at once would tell a muddle.
"""

import contextlib
import importlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

WORTH_TELLING = 1.0  # seconds
INDENT = "  "


@contextlib.contextmanager
def step(doing: str) -> Iterator[None]:
    """Tell what the block does, as in "Rendering the files". Steps may hold others."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _teller() as teller:
        started, is_done = time.monotonic(), False
        teller.begin(doing)
        try:
            yield
            is_done = True
        finally:
            teller.end(doing, time.monotonic() - started, is_done)


def show(html: str, text: str) -> None:
    """Show HTML in a notebook, with a text for what keeps none. Elsewhere nothing is shown."""
    if _in_notebook():
        with contextlib.suppress(Exception):  # a front end that is gone: the work goes on
            _display({"text/html": html, "text/plain": text}, raw=True)


class _Silent:
    """Tells nothing."""

    def begin(self, doing: str) -> None: ...

    def end(self, doing: str, seconds: float, is_done: bool) -> None: ...


class _Terminal:
    """Tells on standard error. What others write there begins on a line of its own.

    The stream stays the object that it is, because a model may hold it and be pickled meanwhile.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._write = stream.write
        self._depth = 0
        self._line_is_open = False

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """See what others write, while the block lasts."""
        try:
            self._stream.write = self._by_others
        except AttributeError:  # a stream of another kind: lines may mix
            yield
            return
        try:
            yield
        finally:
            with contextlib.suppress(AttributeError):
                del self._stream.write

    def _by_others(self, text: str) -> Any:
        if text:
            self._end_line()
        return self._write(text)

    def begin(self, doing: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # the terminal is gone: the work goes on
            self._end_line()
            self._write(f"{INDENT * self._depth}{doing}")
            self._stream.flush()
            self._line_is_open = True
        self._depth += 1

    def end(self, doing: str, seconds: float, is_done: bool) -> None:
        self._depth -= 1
        with contextlib.suppress(OSError, ValueError):
            if is_done and seconds >= WORTH_TELLING:
                if not self._line_is_open:
                    self._write(f"{INDENT * self._depth}{doing}")
                self._write(f": {_in_words(seconds)}")
                self._line_is_open = True
            self._end_line()
            self._stream.flush()

    def _end_line(self) -> None:
        if self._line_is_open:
            self._line_is_open = False
            self._write("\n")


class _Notebook:
    """Tells in an output of the cell that runs."""

    def __init__(self) -> None:
        self._steps: list[str] = []
        self._output: Any = None

    def begin(self, doing: str) -> None:
        self._steps.append(doing)
        self._show("\n".join(INDENT * depth + each for depth, each in enumerate(self._steps)))

    def end(self, doing: str, seconds: float, is_done: bool) -> None:
        self._steps.pop()
        if self._steps:
            return
        if not is_done:
            self._show(f"{doing}: failed after {_in_words(seconds)}")
        elif seconds >= WORTH_TELLING:
            self._show(f"{doing}: {_in_words(seconds)}")
        else:
            self._show(f"{doing}: done")

    def _show(self, text: str) -> None:
        content = {"text/plain": text}
        with contextlib.suppress(Exception):  # a front end that is gone: the work goes on
            if self._output is None:
                self._output = _display(content, raw=True, display_id=True)
            else:
                self._output.update(content, raw=True)


Teller = _Silent | _Terminal | _Notebook

_telling: list[Teller] = []
"""The teller of the step that holds all others, while there is one."""


@contextlib.contextmanager
def _teller() -> Iterator[Teller]:
    """The teller of the steps around this one; of the first, the one that suits the place."""
    if _telling:
        yield _telling[0]
        return
    with contextlib.ExitStack() as stack:
        teller: Teller = _Silent()
        if _in_notebook():
            teller = _Notebook()
        elif _in_terminal():
            teller = _Terminal(sys.stderr)
            stack.enter_context(teller.watching())
        _telling.append(teller)
        stack.callback(_telling.clear)
        yield teller


def _display(*arguments: Any, **settings: Any) -> Any:
    """What IPython's `display` returns, which is loaded where there is a notebook."""
    return importlib.import_module("IPython.display").display(*arguments, **settings)


def _in_notebook() -> bool:
    """Whether a kernel runs this. IPython is not imported to find out."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return getattr(get_ipython and get_ipython(), "kernel", None) is not None


def _in_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def _in_words(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s"
