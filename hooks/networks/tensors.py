"""Inputs and outputs by name, as the graphs of ONNX and of TensorFlow declare them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from generator.arguments import argument
from generator.common import Predictor, listing, schema
from generator.errors import ModelError, SettingError
from generator.owners import guarded, one_line
from generator.rows import tables
from generator.rows.body import body_rows

from ..base import Description, cannot_predict

MOST_EXAMPLE_VALUES = 1000
UNKNOWN_SIZES = (1, 32)  # tried for a size that the graph leaves open
HALVES = ("float16", "bfloat16")
STAND_INS = {"bfloat16": "float32"}  # what rows have in place of a dtype that numpy lacks

Arrays = Mapping[str, Any]
Call = Callable[[Arrays], dict[str, Any]]
"""The model: from arrays of shape [n, ...] by input to its outputs by name."""


def half_tolerance(config: Any, usual: float) -> float:
    """The last bit of 16 is more: 2**-11 of a float16, 2**-8 of a bfloat16."""
    text = repr((config.input, config.output))
    if any(f"'{half}'" in text for half in HALVES):
        return 1e-2
    return usual


# ---- what a row and a prediction are ----


@dataclass(frozen=True)
class Item:
    """An input or an output of a graph.

    Attributes:
        name: its name.
        words: what it is, for a message.
        dtype: as `config.yaml` names it; None for one that it has no name for.
        sizes: along each axis; None for one that is open. None where not even their number is
            known.
        is_tensor: whether it is one, and no sequence or map.
        takes_bytes: whether a text may be bytes.
    """

    name: str
    words: str
    dtype: str | None = None
    sizes: schema.Shape = None
    is_tensor: bool = False
    takes_bytes: bool = False

    @property
    def row(self) -> schema.Shape:
        """The shape of one row of an input."""
        return self.sizes and self.sizes[1:]

    def check_rows(self, whose: str, fix: str) -> None:
        """Refuse an input that does not have one entry for each row.

        Args:
            whose: what the input belongs to.
            fix: how its number of rows becomes open.

        Raises:
            ModelError: it has no axis, or a fixed number of entries.
        """
        if self.sizes == ():
            raise ModelError(
                f"{whose} input {self.name!r} is a scalar, the same for all rows: make it a"
                " constant of the graph when you export it"
            )
        if self.sizes is not None and self.sizes[0] not in (None, 1):
            raise ModelError(
                f"{whose} input {self.name!r} takes {self.sizes[0]} rows, no more and no fewer:"
                f" {fix}"
            )

    def array(self, values: Any) -> Any:
        """Rows as the model takes them. A row of one value may be the value alone."""
        if self.dtype == schema.TEXT:
            array = np.asarray(values, dtype=object)
            kinds = (str, bytes) if self.takes_bytes else str
            if not all(isinstance(item, kinds) for item in array.flat):
                raise SettingError(
                    f"{argument('sample_input')} must hold texts for the input {self.name!r}"
                )
            return array
        found = np.asarray(values)
        with np.errstate(over="ignore"):
            array = found.astype(STAND_INS.get(str(self.dtype), self.dtype))
        if array.dtype.kind in "biu" and not np.array_equal(found, array):
            raise SettingError(
                f"{argument('sample_input')} must hold values of {self.dtype} for the input"
                f" {self.name!r}"
            )
        return array

    def zeros(self, size: int) -> Any:
        """One row of zeros, or of empty texts. `size` replaces what is open."""
        shape = [1, *(size if known is None else known for known in self.row or ())]
        if self.dtype == schema.TEXT:
            return np.full(shape, "", dtype=object)
        return np.zeros(shape, STAND_INS.get(str(self.dtype), self.dtype))

    def described(self, output: Any, are_inputs_fixed: bool) -> schema.ArrayOutput | None:
        """What an output is in one prediction.

        Args:
            output: the output for one row; None where it is not known.
            are_inputs_fixed: whether rows have one shape: then outputs have too.
        """
        if not self.is_tensor:
            return None
        sizes = self.sizes
        if sizes is None and output is not None and are_inputs_fixed:
            sizes = tuple(output.shape)
        if sizes is None:
            return schema.ArrayOutput(None, self.dtype)
        first = sizes[:1]
        if output is not None:
            first = output.shape[:1]
        if first in ((1,), (None,)):
            sizes = sizes[1:]
        return schema.ArrayOutput(sizes, self.dtype)


@dataclass(frozen=True)
class Graph:
    """The inputs that a request has to bring, and the outputs of a graph."""

    inputs: tuple[Item, ...]
    outputs: tuple[Item, ...]

    def sampled(self, sample: Any) -> Any:
        """The rows alone of the only input, and a dict of arrays for a table of several inputs."""
        if len(self.inputs) > 1 and tables.is_frame(sample):
            return self.arrays(sample)
        name = self.inputs[0].name
        if len(self.inputs) == 1 and isinstance(sample, Mapping) and list(sample) == [name]:
            return sample[name]
        return sample

    def described_input(self, sample: Any) -> schema.ModelInput:
        """What one row is, as `model.input` describes it."""
        if len(self.inputs) > 1:
            tensors = (schema.Tensor(item.name, item.row, item.dtype) for item in self.inputs)
            return schema.TensorsInput(inputs=tuple(tensors))
        [item] = self.inputs
        described = schema.ArrayInput(item.row, item.dtype)
        if not tables.is_frame(sample):
            return described
        return replace(described, names=tuple(str(name) for name in sample.columns))

    def described_output(self, outputs: Arrays) -> schema.ModelOutput | None:
        """What a prediction is, as `model.output` describes it.

        Args:
            outputs: for one row, by name; empty where they are not known.
        """
        rows = [item.row for item in self.inputs]
        fixed = all(row is not None and None not in row for row in rows)
        parts = [item.described(outputs.get(item.name), fixed) for item in self.outputs]
        if len(parts) == 1:
            return parts[0]
        pairs = zip(self.outputs, parts, strict=True)
        return schema.TensorsOutput(
            tuple(schema.NamedOutput(item.name, part) for item, part in pairs)
        )

    def arrays(self, sample: Any) -> dict[str, Any]:
        """Sample rows as the model takes them, by the names of the inputs.

        Raises:
            SettingError: they are no rows of these inputs.
        """
        if len(self.inputs) == 1:
            [item] = self.inputs
            return {item.name: item.array(sample)}
        parts = _parts(sample)
        names = [item.name for item in self.inputs]
        if parts is None or sorted(parts) != sorted(names):
            came = type(sample).__name__ if parts is None else listing(list(parts))
            raise SettingError(
                f"{argument('sample_input')} must have the inputs {listing(names)}: a dict of"
                f" arrays by their names, or rows that are objects; it is {came}"
            )
        arrays = {item.name: _column(item, parts[item.name]) for item in self.inputs}
        if len({len(array) for array in arrays.values()}) > 1:
            raise SettingError(
                f"{argument('sample_input')} must have the same number of rows for each input"
            )
        return arrays


# ---- rows and predictions ----


def _column(item: Item, values: Any) -> Any:
    array = item.array(values)
    if item.row == (1,) and array.ndim == 1:
        return array[:, None]
    return array


def _parts(sample: Any) -> dict[str, Any] | None:
    """Rows of several inputs, by their names; None where they have none."""
    if tables.is_frame(sample):
        return {str(name): sample[name] for name in sample.columns}
    if isinstance(sample, Mapping):
        return {str(name): part for name, part in sample.items()}
    rows = sample if isinstance(sample, (list, tuple)) else ()
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        return None
    return {str(name): [row.get(name) for row in rows] for name in rows[0]}


def example(graph: Graph, call: Call, sample: Any) -> tuple[Any, Any, str | None]:
    """One row in JSON and as arrays: the sample's first, else zeros; or why there is none.

    Raises:
        SettingError: the model cannot predict from the sample.
    """
    if sample is not None:
        with guarded(cannot_predict(), SettingError):
            first = {name: array[:1] for name, array in graph.arrays(sample).items()}
            call(first)
        return body_rows(sample)[:1], first, None
    untried = "the graph says nothing of its inputs"
    for size in UNKNOWN_SIZES:
        zeros = {item.name: item.zeros(size) for item in graph.inputs}
        try:
            call(zeros)
        except Exception as error:
            untried = f"the model does not predict from zeros: {one_line(error)}"
            continue
        rows = zeros if len(zeros) > 1 else next(iter(zeros.values()))
        return body_rows(rows), zeros, None
    return None, None, untried


def predictions(call: Call, arrays: Arrays) -> Any:
    """One prediction a row; of several outputs an object with their names."""
    count = len(next(iter(arrays.values())))

    def answer(part: Any) -> Any:
        outputs = call(part)
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))

    return Predictor(answer).predictions(arrays, count)


def description(graph: Graph, call: Call, sample: Any) -> Description:
    """What is known about a model. The arguments are as for `example`."""
    described = graph.described_input(sample)
    rows, first, untried = example(graph, call, sample)
    if first is None:
        return Description(described, graph.described_output({}), None, untried=untried)
    output = graph.described_output(call(first))
    if sum(array.size for array in first.values()) > MOST_EXAMPLE_VALUES:
        rows = None
    return Description(described, output, rows, prediction=predictions(call, first))
