"""Objects of no framework, each with a predict.

Scaffolds get a copy of this file: it imports nothing of the tests.
"""

from typing import Any

import numpy as np


class Sums:
    """Sums the values of each row."""

    def predict(self, rows: Any) -> Any:
        return [sum(row) for row in rows]


class Doubles:
    """Sums them, and doubles that."""

    def predict(self, rows: Any) -> Any:
        return [2 * sum(row) for row in rows]


class Columns:
    def predict(self, frame: Any) -> Any:
        return (frame["size"] * 2).where(frame["city"] == "Graz", 0).to_numpy()


class Longest:
    def predict(self, inputs: Any) -> Any:
        return np.maximum(inputs["left"], inputs["right"]).max(axis=1)


class Lengths:
    def predict(self, texts: Any) -> Any:
        return [{"text": text.upper(), "length": len(text)} for text in texts]


class Cells:
    """What it finds in each cell of a DataFrame, in words."""

    def predict(self, frame: Any) -> list[str]:
        rows = frame.rows() if hasattr(frame, "rows") else frame.itertuples(index=False, name=None)
        return ["; ".join(f"{type(cell).__name__} {cell!r}" for cell in row) for row in rows]


class Sizes:
    """The number of bytes of each row, or of one value in it."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name

    def predict(self, rows: Any) -> Any:
        values = [row if self.name is None else row[self.name] for row in rows]
        assert all(isinstance(value, bytes) for value in values)
        return [len(value) for value in values]


class Moduli:
    def predict(self, rows: Any) -> Any:
        assert rows.dtype == complex
        return np.abs(rows)[:, 0].astype(int)


class Stored:
    """The number of values of each row that are not absent."""

    def predict(self, rows: Any) -> Any:
        return np.diff(rows.tocsr().indptr)


def total_seconds(frame: Any) -> Any:
    return frame.apply(lambda column: column.dt.total_seconds())


class Encoder:
    """Answers with another method than predict."""

    def encode(self, texts: Any, scale: float = 1.0) -> list[list[float]]:
        return [[len(text) * scale] for text in texts]


def scaled(rows: Any, by: float = 1.0) -> Any:
    """The sum of each row, times a number."""
    return np.asarray(rows).sum(axis=1) * by


async def waiting(rows: Any) -> Any:
    return rows


class Days:
    """The days since the first of May, and x, of a table."""

    def predict(self, frame: Any) -> Any:
        may = np.datetime64("2024-05-01")
        return ((frame["day"] - may).dt.days + frame["x"]).to_numpy()


class Pixels:
    """The sum of each image's pixels."""

    def predict(self, images: Any) -> Any:
        return images.astype("int64").sum(axis=(1, 2))


class Mirror:
    """Each image, as it came."""

    def predict(self, images: Any) -> Any:
        return images


class Outlines:
    """Several facts of each row of bytes, one of them an image."""

    def predict(self, rows: Any) -> Any:
        picture = np.eye(8).tolist()
        return [{"length": len(row), "first": row[0], "picture": picture} for row in rows]


class Words:
    """Each row, in Python's words."""

    def predict(self, rows: Any) -> list[str]:
        return [repr(row) for row in rows]


class Files:
    """The number of bytes in a column of each row."""

    def predict(self, frame: Any) -> list[int]:
        return [len(value) for value in frame["data"]]
