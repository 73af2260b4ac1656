"""The first rows of a large body, tried before all of it is decoded.

A body of a few megabytes may decode to a hundred times its size. Where its first rows, or some
later one, are not what the model takes, this finds that out for the price of the rows before.

Rows need not be as `model.input` says: the owner's code may convert them. So a row that does not
fit is refused only if that code, asked with the row alone, refuses it in the same words.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

from ..bodies.columns import Columns
from ..bodies.density import LARGE_BYTES, Steps, at_once
from ..bodies.json_rows import EventRows, JsonRows
from ..bodies.msgpack_rows import MsgpackRows
from ..bodies.places import TooMuch
from ..bodies.scoring import ScoringRows
from ..bodies.v2 import first_row
from ..bodies.v2.long_lists import Unseen
from ..context import Context
from ..errors import InvalidInput, text_of
from ..link.frames import Kind
from ..rows.extent import extent
from ..schema import ModelInput
from ..signature import Signature
from .hooks import Hooks

Reader = Callable[[bytes | memoryview], "Rows"]
READERS: dict[int, Reader] = {
    Kind.JSON: JsonRows,
    Kind.MSGPACK: MsgpackRows,
    Kind.EVENT: EventRows,
}
TENSORS = (Kind.V2, Kind.GRPC)


class Rows(Protocol):
    """The rows of a body that is not decoded yet. They must be found first."""

    def find(self) -> Steps[None]: ...
    def batches(self) -> Iterator[list[Any]]: ...
    def next_row(self, most: int) -> tuple[int, int]: ...
    def exceed(self, lists: int, values: int) -> Steps[bool]: ...
    def others(self) -> Steps[dict[str, Any]]: ...


# The context of a decoded body; None where no hook takes one.
Contexts = Callable[[dict[str, Any]], Context | None]


def no_context(_: dict[str, Any]) -> None:
    """The context where no hook takes one."""


class FirstRows:
    """Refuses large bodies by a row of theirs.

    Args:
        model: the owner's InferenceModel.
        described: `model.input` of a Config.
        grpc: decodes gRPC's messages, if there is a port for them.
    """

    def __init__(self, model: Any, described: ModelInput | None, grpc: Any = None) -> None:
        self._hooks = Hooks(model)
        self._grpc = grpc
        self._described = described
        self._signature = Signature(described)
        self._extent = extent(described)
        of_scoring = partial(ScoringRows, Columns(described))
        self._readers: dict[int, Reader] = {**READERS, Kind.SCORING: of_scoring}
        # Whether the owner's code takes rows that do not fit; unknown where it runs later.
        self._converts = described is None or bool(self._hooks.later - {"postprocess"})

    def check(self, kind: int, body: bytes | memoryview, contexts: Contexts = no_context) -> None:
        """Check a body's first rows if it is large.

        Args:
            kind: what the body is.
            body: the body.
            contexts: the context that the owner's code gets for a part of it.

        Raises:
            InvalidInput: the model takes no such rows.
            TooMuch: the body holds too much beside them.
            DecodeError: they are tensors, and not as V2 specifies them.
        """
        at_once(self.steps(kind, body, contexts))

    def steps(
        self, kind: int, body: bytes | memoryview, contexts: Contexts = no_context
    ) -> Steps[None]:
        """As `check`, with pauses."""
        if len(body) < LARGE_BYTES or self._converts:
            return
        if kind in TENSORS:
            with contextlib.suppress(Unseen):
                yield from self._try_tensors(kind, body, contexts)
        if kind not in self._readers:
            return
        try:
            yield from self._try(self._readers[kind](body), contexts)
        except (InvalidInput, TooMuch):
            raise
        except ValueError:  # what is wrong with the body, its decoder says
            return

    def _try(self, rows: Rows, contexts: Contexts) -> Steps[None]:
        yield from rows.find()
        index = 0
        goes_on: bool | None = None  # after two batches
        for number, batch in enumerate(rows.batches()):
            if (misfit := self._misfit(batch)) is not None:
                yield from self._refuse(rows, batch[misfit], index + misfit, contexts)
                return
            index += len(batch)
            if number and goes_on is None:
                goes_on = yield from self._one_cannot_fit(rows)
            if goes_on is False:
                return
            yield
        yield from self._check_next(rows, index, contexts)

    def _try_tensors(self, kind: int, body: bytes | memoryview, contexts: Contexts) -> Steps[None]:
        """Check the first row of tensors, and that their data is as much as their shapes say."""
        if kind == Kind.V2:
            found = first_row.of_v2(body, self._described)
        else:
            found = self._grpc.first_row(body)
        for first in found:
            if first is None:
                yield
                continue
            refusal = self._refusal(first.request["instances"])
            if refusal is None:
                return
            said, row = refusal, first
        text = _too_large(0) if row.too_large else said
        self._ask(row.request, said, text, contexts)

    def _misfit(self, batch: list[Any]) -> int | None:
        """The first row that does not fit by itself."""
        if self._refusal(batch) is None:
            return None
        alone = (index for index, row in enumerate(batch) if self._refusal([row]) is not None)
        return next(alone, None)

    def _one_cannot_fit(self, rows: Rows) -> Steps[bool]:
        """Whether the body is too short for what it holds."""
        if self._extent is None:
            return False
        return (yield from rows.exceed(self._extent.lists, self._extent.values))

    def _check_next(self, rows: Rows, index: int, contexts: Contexts) -> Steps[None]:
        """Check a row that is too large to be decoded here: what it begins with may be too much."""
        if self._extent is None:
            return
        most_values = self._extent.values + self._extent.names
        lists, values = rows.next_row(self._extent.lists + most_values + 1)
        if lists <= self._extent.lists and values <= most_values:
            return
        like_it: list[Any] = [0] * (most_values + 1)
        if lists > self._extent.lists:
            like_it = [[]] * (self._extent.lists + 1)
        yield from self._refuse(rows, like_it, index, contexts, _too_large(index))

    def _refuse(
        self, rows: Rows, row: Any, index: int, contexts: Contexts, text: str | None = None
    ) -> Steps[None]:
        """Raise InvalidInput for a row that does not fit, if the owner's code says so too."""
        refusal = self._refusal([row])
        if refusal is None:
            return
        text = text or refusal.replace("instances[0]", f"instances[{index}]", 1)
        try:
            others = yield from rows.others()
        except Exception:  # the decoder shows what is wrong
            return
        self._ask({**others, "instances": [row]}, refusal, text, contexts)

    def _ask(self, request: dict[str, Any], refusal: str, text: str, contexts: Contexts) -> None:
        """Raise InvalidInput with a text if the owner's code refuses a request as expected."""
        try:
            context = contexts(request)
            prepared = self._hooks.preprocess(request, context)
            self._hooks.predict(prepared, self._hooks.of_predict(context))
        except InvalidInput as error:
            if text_of(error) == refusal:
                raise InvalidInput(text) from None
        except BaseException:  # the whole request shows what is wrong
            return
        else:
            self._converts = True

    def _refusal(self, rows: Any) -> str | None:
        """Why rows do not fit; None if they do."""
        try:
            self._signature.inputs(rows)
        except InvalidInput as error:
            return str(error)
        except Exception:  # the owner's code shows what is wrong
            return None
        return None


def _too_large(index: int) -> str:
    return f"instances[{index}] holds more lists or values than a row of this model"
