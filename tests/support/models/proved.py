"""Objects whose predictions are hard to send, or are none.

Scaffolds get a copy of this file: it imports nothing of the tests, and little else, so that their
workers start soon.
"""

import os
from typing import Any


class Forecaster:
    """A model as Prophet is one: its predictions are a table."""

    def predict(self, rows: Any) -> Any:
        import pandas

        days = pandas.date_range("2024-02-01", periods=len(rows))
        tags = [{"b", "a"}] * len(rows)
        return pandas.DataFrame({"ds": days, "yhat": rows.sum(axis=1), "tags": tags})


class Here:
    """A model that works in one process only."""

    def __init__(self) -> None:
        self.process = os.getpid()

    def predict(self, rows: Any) -> Any:
        if os.getpid() != self.process:
            raise LookupError("only in the process\n  that has made it")
        return rows[:, 0]


class Given:
    """Predicts what it was given, or raises it."""

    def __init__(self, given: Any) -> None:
        self.given = given

    def predict(self, rows: Any) -> Any:
        if isinstance(self.given, BaseException):
            raise self.given
        return self.given
