"""ONNX: a `ModelProto` or an `InferenceSession`, served by ONNX Runtime as it is."""

import importlib.util
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from generator.capture.pickle_references import Named
from generator.common import schema
from generator.errors import ModelError
from generator.owners import guarded, one_line

from ..base import Description, WrittenModelScaffoldDefinition
from .tensors import Graph, Item, description, predictions

MODEL_FILE, MODEL_DIRECTORY = "model.onnx", "model"
WEIGHTS_FILE = "model.onnx.data"
TREES = "TreeEnsemble"  # how the names of its operators begin
ORT_FORMAT = b"ORTM"
# ONNX's names of dtypes, and those of `config.yaml`. Of the others numpy, which sessions take, has
# none.
DTYPES = {
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "FLOAT16": "float16",
    "BOOL": "bool",
    "STRING": schema.TEXT,
    **{name: name.lower() for name in ("INT8", "INT16", "INT32", "INT64")},
    **{name: name.lower() for name in ("UINT8", "UINT16", "UINT32", "UINT64")},
}
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
FIX_INPUT = (
    "which has no form in a request: take tensors of FLOAT, INT64, STRING or the like, and convert"
    " them in the graph"
)
FIX_OPERATORS = "a scaffold has ONNX Runtime's own operators, and no libraries of others"
FIX_OUTPUT = "which numpy has no dtype for: cast it to FLOAT in the graph"
FIX_ROWS = "export the model with an open first axis (dynamic_axes, dynamic_shapes), or with 1"


class Onnx(WrittenModelScaffoldDefinition):
    """`onnx.ModelProto` and `onnxruntime.InferenceSession`.

    Once it was unwrapped, a model is a session of this module's own, with the options that it is
    served with, on the GPU where the given session is there.
    """

    name: ClassVar[str] = "onnx"
    label: ClassVar[str] = "ONNX"
    models: ClassVar[str] = "`onnx.ModelProto` and `onnxruntime.InferenceSession`"
    files: ClassVar[tuple[str, ...]] = (MODEL_FILE, MODEL_DIRECTORY)
    suffixes: ClassVar[tuple[str, ...]] = (".onnx",)
    # Another processor has other instructions for the same sums.
    tolerance: ClassVar[float] = 1e-6

    def read(self, path: Path) -> Any:
        return _opened(path)

    def read_safely(self, path: Path) -> Any:
        return _opened(path)  # a graph holds no code

    def recognises(self, model: object) -> bool:
        kinds = (("onnx", "ModelProto"), ("onnxruntime", "InferenceSession"))
        found = [getattr(sys.modules.get(module), name, None) for module, name in kinds]
        return isinstance(model, tuple(kind for kind in found if isinstance(kind, type)))

    def unwrapped(self, model: Any) -> Any:
        _check_installed()
        if _is_session(model):
            return _opened(_source(model), CUDA in model.get_providers())
        return _session_of(model)

    def check(self, model: Any) -> None:
        graph = _graph(model)
        if not graph.inputs:
            raise ModelError("the graph has no inputs: there is nothing that a request could send")
        for item in graph.inputs:
            if item.dtype is None:
                raise ModelError(f"the graph's input {item.name!r} is {item.words}, {FIX_INPUT}")
            item.check_rows("the graph's", FIX_ROWS)
        for item in graph.outputs:
            if item.is_tensor and item.dtype is None:
                raise ModelError(f"the graph's output {item.name!r} is {item.words}, {FIX_OUTPUT}")

    def on_gpu(self, model: Any) -> bool:
        return CUDA in model.get_providers()

    def definitions(self, model: Any) -> list[Named]:
        return []

    def references(self, model: Any) -> dict[str, str]:
        return {"onnxruntime": "InferenceSession"}

    def sampled(self, model: Any, sample: Any) -> Any:
        return _graph(model).sampled(sample)

    def describe(self, model: Any, sample: Any) -> Description:
        return description(_graph(model), _call(model), sample)

    def facts(self, model: Any) -> dict[str, Any]:
        if _has_trees(_proto(SOURCES[model])):
            return {"settings": {"threads": 1}}
        return {"settings": None}

    def predict(self, model: Any, inputs: Any) -> Any:
        return predictions(_call(model), _graph(model).arrays(inputs))

    def serialize_model_to_directory(self, model: Any, directory: Path) -> Path:
        source = SOURCES[model]
        if isinstance(source, bytes):
            path = directory / MODEL_FILE
            path.write_bytes(source)
            return path
        weights = _weights_files(source)
        if not weights:
            return Path(shutil.copyfile(source, directory / MODEL_FILE))
        place = directory / MODEL_DIRECTORY
        place.mkdir()
        shutil.copyfile(source, place / MODEL_FILE)
        for name in weights:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.parent / name, place / name)
        return place


# ---- sessions ----

SOURCES: "weakref.WeakKeyDictionary[Any, bytes | Path]" = weakref.WeakKeyDictionary()
"""What each session of this module was made of: the model itself, or its file."""


def _check_installed() -> None:
    for name in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            raise ModelError(
                f"{name} is not installed here, which an ONNX model needs: pip install {name}"
            )


def _is_session(model: Any) -> bool:
    import onnxruntime

    return isinstance(model, onnxruntime.InferenceSession)


def _source(session: Any) -> bytes | Path:
    """The model that a session was made of, or its file.

    Raises:
        ModelError: this ONNX Runtime keeps it under another name, which is a private one; or the
            file is gone.
    """
    if session in SOURCES:
        return SOURCES[session]
    path: Any = getattr(session, "_model_path", None)
    content: Any = getattr(session, "_model_bytes", None)
    if path is None and content is None:
        raise ModelError(
            "this ONNX Runtime does not say which model is inside of an InferenceSession: pass the"
            " ModelProto, onnx.load(PATH)"
        )
    if path is None:
        return bytes(content)
    if not Path(path).is_file():
        raise ModelError(
            f"the session was made of {os.fspath(path)!r}, which is not there any more, or is no"
            " file: pass the ModelProto"
        )
    return Path(path).absolute()


def _session_of(proto: Any) -> Any:
    """A session of a ModelProto, which stays as it is.

    Raises:
        ModelError: its weights were not loaded, or ONNX Runtime does not take it.
    """
    if any(tensor.data_location == tensor.EXTERNAL for tensor in _tensors(proto)):
        raise ModelError(
            "the weights of the ModelProto are in files that were not loaded: load it with"
            " onnx.load(PATH), or pass an InferenceSession of the path"
        )
    try:
        content = proto.SerializeToString()
    except Exception:  # it is too large for a message of protobuf, whose releases raise several
        return _large(proto)
    return _opened(content)


def _large(proto: Any) -> Any:
    """A session of a model whose weights are beside it, in a directory that goes with it."""
    import onnx

    place = Path(tempfile.mkdtemp(prefix="scaffold-onnx-"))
    try:
        changed = onnx.ModelProto()  # to be saved changes it
        changed.CopyFrom(proto)
        file = place / MODEL_FILE
        onnx.save_model(changed, file, save_as_external_data=True, location=WEIGHTS_FILE)
        session = _opened(file)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    weakref.finalize(session, shutil.rmtree, place, ignore_errors=True)
    return session


def _opened(source: bytes | Path, on_gpu: bool = False) -> Any:
    """A session with the options that a scaffold has, on the CPU or on the GPU.

    Raises:
        ModelError: it is no ONNX model, or ONNX Runtime does not take it.
    """
    import onnxruntime

    proto = _proto(source)
    if isinstance(source, bytes) and any(_external(proto)):
        raise ModelError(
            "the session was made of bytes, and the weights are in files: pass an InferenceSession"
            " of the model's path"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised too: no need to log them
    if _has_trees(proto):
        options.intra_op_num_threads = 1
    try:
        providers = [CUDA, CPU] if on_gpu else [CPU]
        session = onnxruntime.InferenceSession(source, options, providers=providers)
    except Exception as error:
        fix = f"; {FIX_OPERATORS}" if "not a registered" in str(error) else ""
        raise ModelError(f"ONNX Runtime cannot load the model: {one_line(error)}{fix}") from error
    SOURCES[session] = source
    return session


def _proto(source: bytes | Path) -> Any:
    """The graph of a model, without the weights that are in files beside it."""
    import onnx

    if isinstance(source, bytes):
        start = source[:8]
    else:
        with source.open("rb") as file:
            start = file.read(8)
    if start[4:] == ORT_FORMAT:
        raise ModelError(
            "the model is in ONNX Runtime's own format: pass the .onnx that it was made of"
        )
    with guarded("this is no ONNX model"):
        if isinstance(source, bytes):
            return onnx.load_model_from_string(source)
        return onnx.load_model(source, load_external_data=False)


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph and those in its nodes, as the branches of an If are."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _graphs(inner)


def _tensors(proto: Any) -> Iterator[Any]:
    for graph in _graphs(proto.graph):
        yield from graph.initializer
        for node in graph.node:
            for attribute in node.attribute:
                yield from (attribute.t, *attribute.tensors)


def _external(proto: Any) -> Iterator[str]:
    """The files that hold weights, once for each tensor: paths from the model's own."""
    for tensor in _tensors(proto):
        if tensor.data_location == tensor.EXTERNAL:
            yield from (item.value for item in tensor.external_data if item.key == "location")


def _has_trees(proto: Any) -> bool:
    nodes = (node for graph in _graphs(proto.graph) for node in graph.node)
    return any(node.op_type.startswith(TREES) for node in nodes)


def _weights_files(path: Path) -> list[str]:
    """The files that hold a model's weights, as paths from the model's folder.

    Raises:
        ModelError: one of them lies elsewhere.
    """
    names = sorted(set(_external(_proto(path))))
    for name in names:
        parts = Path(name).parts
        if Path(name).is_absolute() or ".." in parts or name == MODEL_FILE:
            raise ModelError(
                f"the model's weights are in {name!r}, which cannot lie beside {MODEL_FILE}: save"
                " the model anew with onnx.save(model, PATH, save_as_external_data=True)"
            )
    return names


# ---- what a row and a prediction are ----


def _graph(model: Any) -> Graph:
    graph = _proto(SOURCES[model]).graph
    sparse = (tensor.values.name for tensor in graph.sparse_initializer)
    known = {*(tensor.name for tensor in graph.initializer), *sparse}
    inputs = (_item(value) for value in graph.input if value.name not in known)
    return Graph(tuple(inputs), tuple(map(_item, graph.output)))


def _item(value: Any) -> Item:
    """The item of a ValueInfoProto."""
    from onnx import TensorProto

    kind = value.type.WhichOneof("value") or "of no known type"
    if kind != "tensor_type":
        return Item(value.name, f"a {kind.removesuffix('_type').replace('_', ' ')}")
    tensor, sizes = value.type.tensor_type, None
    dtype = TensorProto.DataType.Name(tensor.elem_type)
    if tensor.HasField("shape"):
        sizes = tuple(map(_size, tensor.shape.dim))
    return Item(value.name, f"a tensor of {dtype}", DTYPES.get(dtype), sizes, True)


def _size(dimension: Any) -> int | None:
    if dimension.HasField("dim_value") and dimension.dim_value >= 0:
        return int(dimension.dim_value)
    return None


def _call(model: Any) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """The outputs of a session by their names, in the form that a scaffold answers them in."""
    names = [item.name for item in model.get_outputs()]

    def call(arrays: Mapping[str, Any]) -> dict[str, Any]:
        return dict(zip(names, map(_array, model.run(None, dict(arrays))), strict=True))

    return call


def _array(output: Any) -> Any:
    """An output as an array: of a sequence, one of its items. JSON has texts for keys alone."""
    if isinstance(output, dict):
        return {str(key): value for key, value in output.items()}
    if not isinstance(output, list):
        return output
    items = np.empty(len(output), dtype=object)
    for index, item in enumerate(output):
        items[index] = _array(item)
    return items
