"""TensorFlow: SavedModels, served by what their signature says of inputs and outputs."""

import shutil
import sys
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from generator.capture.pickle_references import Named
from generator.common import listing, schema
from generator.errors import ModelError
from generator.owners import guarded

from ..base import Description, WrittenModelScaffoldDefinition
from . import devices
from .tensors import Call, Graph, Item, description, half_tolerance, predictions

MODEL_DIRECTORY = "model"
GRAPHS = ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb")
PARTS = (*GRAPHS, "fingerprint.pb", "keras_metadata.pb", "variables", "assets", "assets.extra")
SIGNATURE = "serving_default"
NUMBERS = (
    *("bool", "float16", "float32", "float64", "bfloat16", "complex64", "complex128"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)
PYTHON = ("PyFunc", "PyFuncStateless", "EagerPyFunc")  # the operators that call Python
SAVE = (
    "tf.saved_model.save(module, PATH, signatures=module.f.get_concrete_function("
    "tf.TensorSpec([None, 4], tf.float32)))"
)
FIX_SIGNATURE = f"save it with {SAVE}, and pass tf.saved_model.load(PATH)"
FIX_INPUT = (
    "which has no form in a request: save a signature that takes tensors of numbers or strings, and"
    " converts them"
)
FIX_ROWS = "save the signature with an open first axis, as tf.TensorSpec([None, 4]) has, or with 1"
FIX_OUTPUT = "which has no form in an answer: return a tensor of numbers or strings"


class TensorFlow(WrittenModelScaffoldDefinition):
    """What `tf.saved_model.load` returns.

    A SavedModel brings no Python code: `tf.py_function` does not survive in it. But its graph is a
    program, which TensorFlow runs when it loads (a table is filled) and when it predicts, and whose
    operators read and write any file that the process may (`tf.io.read_file`,
    `tf.io.write_file`). So its directory needs the same consent as a pickle: there is no
    `read_safely`. See https://github.com/tensorflow/tensorflow/blob/master/SECURITY.md, "models are
    programs".
    """

    name: ClassVar[str] = "tensorflow"
    label: ClassVar[str] = "TensorFlow"
    models: ClassVar[str] = "SavedModels with a signature, as `tf.saved_model.load` returns them"
    files: ClassVar[tuple[str, ...]] = (MODEL_DIRECTORY,)
    # Another number of rows or of threads changes the last bits.
    tolerance: ClassVar[float] = 1e-6

    def tolerance_of(self, config: Any) -> float:
        return half_tolerance(config, self.tolerance)

    def reads(self, path: Path) -> bool:
        return any((path / name).is_file() for name in GRAPHS)

    def read(self, path: Path) -> Any:
        import tensorflow as tf

        model = tf.saved_model.load(str(path))
        SOURCES[model] = path.absolute()
        return model

    def recognises(self, model: object) -> bool:
        module = _module()
        if module is None or isinstance(model, module):
            return False
        base = module.__base__  # of what is loaded, whose own class has no public name
        return isinstance(model, base) and isinstance(getattr(model, "signatures", None), Mapping)

    def instead(self, model: object) -> str | None:
        module = _module()
        if module is None or not isinstance(model, module):
            return None
        return f"a tf.Module without a signature: {FIX_SIGNATURE}"

    def check(self, model: Any) -> None:
        function = _signature(model)
        _check_python(function)
        _check_composite(model, function)
        graph = _graph(model)
        if not graph.inputs:
            raise ModelError(
                "the signature has no inputs: there is nothing that a request could send"
            )
        for item in graph.inputs:
            if item.dtype is None:
                raise ModelError(
                    f"the signature's input {item.name!r} is {item.words}, {FIX_INPUT}"
                )
            item.check_rows("the signature's", FIX_ROWS)
        for item in graph.outputs:
            if item.dtype is None:
                raise ModelError(
                    f"the signature's output {item.name!r} is {item.words}, {FIX_OUTPUT}"
                )

    def on_gpu(self, model: Any) -> bool:
        return devices.placed_on_gpu(_signature(model).variables)

    def definitions(self, model: Any) -> list[Named]:
        return []

    def references(self, model: Any) -> dict[str, str]:
        return {"tensorflow": "saved_model.load"}

    def sampled(self, model: Any, sample: Any) -> Any:
        """The rows alone of the only input, and a dict of arrays for a table of several inputs."""
        return _graph(model).sampled(sample)

    def describe(self, model: Any, sample: Any) -> Description:
        return description(_graph(model), _call(model), sample)

    def predict(self, model: Any, inputs: Any) -> Any:
        return predictions(_call(model), _graph(model).arrays(inputs))

    def serialize_model_to_directory(self, model: Any, directory: Path) -> Path:
        place, source = directory / MODEL_DIRECTORY, SOURCES.get(model)
        if source is None:
            _save(model, place)
        else:
            _copy(source, place)
        return place


SOURCES: "weakref.WeakKeyDictionary[Any, Path]" = weakref.WeakKeyDictionary()
"""The directory of each model that `TensorFlow.read` has loaded, and that nobody has changed."""


def _module() -> Any:
    """`tf.Module`; None as long as TensorFlow is not imported."""
    return getattr(sys.modules.get("tensorflow"), "Module", None)


def _save(model: Any, place: Path) -> None:
    import tensorflow as tf

    with guarded("TensorFlow cannot write the model"):
        tf.saved_model.save(model, str(place), signatures=dict(model.signatures))


def _copy(source: Path, place: Path) -> None:
    """What belongs to a SavedModel: its directory may hold anything else, the scaffold too."""
    place.mkdir()
    for part in (source / name for name in PARTS):
        if part.is_dir():
            shutil.copytree(part, place / part.name)
        elif part.exists():
            shutil.copyfile(part, place / part.name)


# ---- the signature ----


def _signature(model: Any) -> Any:
    """The function that answers: `serving_default`, or the only one.

    Raises:
        ModelError: there is none, or several.
    """
    found = dict(model.signatures)
    if not found:
        raise ModelError(f"the SavedModel has no signature: {FIX_SIGNATURE}")
    if SIGNATURE in found:
        return found[SIGNATURE]
    if len(found) > 1:
        raise ModelError(
            f"the SavedModel has the signatures {listing(sorted(found))}, and none of them is"
            f" {SIGNATURE!r}: load it, save it with tf.saved_model.save(model, PATH,"
            " signatures=model.signatures[NAME]), and pass tf.saved_model.load(PATH)"
        )
    return next(iter(found.values()))


def _graph(model: Any) -> Graph:
    """The inputs and outputs by name, each in the order of their names: they are in no other."""
    function = _signature(model)
    _, inputs = function.structured_input_signature
    outputs = function.structured_outputs
    return Graph(
        tuple(_item(name, inputs[name]) for name in sorted(inputs)),
        tuple(_item(name, outputs[name]) for name in sorted(outputs)),
    )


def _item(name: str, spec: Any) -> Item:
    """The item of a TensorSpec, or of the tensor that a graph of TensorFlow 1 has."""
    import tensorflow as tf

    if not isinstance(spec, (tf.TensorSpec, tf.Tensor)):
        return Item(name, f"a {type(spec).__name__.removesuffix('Spec')}")
    dtype, sizes = spec.dtype.name, None
    if spec.shape.rank is not None:
        sizes = tuple(spec.shape.as_list())
    known = {"string": schema.TEXT, **{number: number for number in NUMBERS}}
    return Item(name, f"a tensor of {dtype}", known.get(dtype), sizes, True, takes_bytes=True)


def _check_python(function: Any) -> None:
    """Refuse a graph that calls Python, which is in no SavedModel.

    Raises:
        ModelError: it does.
    """
    graph = function.graph.as_graph_def()
    bodies = [graph.node, *(each.node_def for each in graph.library.function)]
    if any(node.op in PYTHON for body in bodies for node in body):
        raise ModelError(
            "the signature calls Python (tf.py_function or tf.numpy_function), which no SavedModel"
            " holds: write it with operators of TensorFlow's"
        )


def _check_composite(model: Any, function: Any) -> None:
    """Refuse ragged and sparse inputs, of which a signature has the parts as tensors.

    Raises:
        ModelError: a function that takes the same tensors has such an argument.
    """
    import tensorflow as tf

    _, inputs = function.structured_input_signature
    for traced in _traced(model):
        taken = traced.structured_input_signature
        parts = tf.nest.flatten(taken, expand_composites=True)
        if _forms(parts) != _forms(inputs.values()):
            continue
        positional, named = taken
        names = traced.function_type.parameters  # those of the positional ones come first
        for name, spec in {**dict(zip(names, positional, strict=False)), **named}.items():
            for leaf in tf.nest.flatten(spec):
                if not isinstance(leaf, tf.TensorSpec) and isinstance(leaf, tf.TypeSpec):
                    kind = type(leaf).__name__.removesuffix("Spec")
                    raise ModelError(f"the signature's input {name!r} is a {kind}, {FIX_INPUT}")


def _traced(model: Any) -> Iterator[Any]:
    """The functions that were saved as attributes of the model, for each of their arguments."""
    for value in vars(model).values():
        yield from getattr(value, "concrete_functions", ())


def _forms(specs: Any) -> list[str]:
    """What tells the tensors of two signatures apart but for their names."""
    return sorted(f"{spec.dtype} {spec.shape}" for spec in specs if hasattr(spec, "shape"))


# ---- rows and predictions ----


def _call(model: Any) -> Call:
    """The signature, from arrays to arrays, in the form that a scaffold answers them in."""
    function = _signature(model)
    _, specs = function.structured_input_signature

    def call(arrays: Mapping[str, Any]) -> dict[str, Any]:
        outputs = function(**{name: _tensor(specs[name], part) for name, part in arrays.items()})
        return {name: _array(outputs[name]) for name in sorted(outputs)}

    return call


def _tensor(spec: Any, array: Any) -> Any:
    """Rows as a tensor. A graph does not check shapes itself.

    Raises:
        ValueError: it takes none of this shape.
    """
    import tensorflow as tf

    if not spec.shape.is_compatible_with(array.shape):
        raise ValueError(f"{spec.name!r} takes the shape {spec.shape}, not {array.shape}")
    return tf.convert_to_tensor(array, spec.dtype)


def _array(tensor: Any) -> Any:
    import tensorflow as tf

    if tensor.dtype == tf.bfloat16:  # which numpy itself lacks
        tensor = tf.cast(tensor, tf.float32)
    return np.asarray(tensor.numpy())
