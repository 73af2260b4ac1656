"""Keras 3: Sequential, functional and subclassed models, on the TensorFlow and the torch backend."""

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar

from generator.errors import ModelError, SettingError
from generator.running.rows import body_rows

from .base import Description, WrittenModelScaffoldDefinition

MODEL_FILE = "model.keras"
BACKENDS = {"tensorflow": "function", "torch": "Tensor"}
MOST_EXAMPLE_VALUES = 1000
UNKNOWN_SIZES = (1, 32)  # what stands for None in a row's shape: a convolution finds 1 too small


class Keras(WrittenModelScaffoldDefinition):
    """Keras models that were built, compiled or not."""

    name: ClassVar[str] = "keras"
    suffixes: ClassVar[tuple[str, ...]] = (".keras",)
    tolerance: ClassVar[float] = (
        1e-6  # a compiled graph and another batch size change the last bits
    )

    def read(self, path: Path) -> Any:
        import keras

        return keras.saving.load_model(path, compile=False, safe_mode=False)

    def recognises(self, model: object) -> bool:
        base = getattr(sys.modules.get("keras"), "Model", None)
        return base is not None and isinstance(model, base)

    def check(self, model: Any) -> None:
        import keras

        name = type(model).__name__
        if int(keras.__version__.partition(".")[0]) < 3:
            raise ModelError(
                f"{name} is a model of Keras {keras.__version__}: a scaffold takes Keras 3 and later"
            )
        if keras.config.backend() not in BACKENDS:
            raise ModelError(
                f"Keras runs on {keras.config.backend()!r}, a scaffold takes {' and '.join(BACKENDS)}: save the"
                " model, set KERAS_BACKEND to one of them, load it and pass that"
            )
        if not model.built:
            raise ModelError(
                f"{name} {model.name!r} is not built: build it, or call it once on rows like real ones"
            )
        if layer := next(
            (layer for layer in _layers(model) if getattr(layer, "stateful", False)), None
        ):
            raise ModelError(
                f"{name} has the stateful layer {layer.name!r}, which would mix what clients send: make it with"
                " stateful=False"
            )
        _custom_objects(model)

    def references(self, model: Any) -> dict[str, str]:
        import keras

        backend = keras.config.backend()
        found = {item.__module__: item.__qualname__ for item in reversed(self.definitions(model))}
        return {"keras": "saving.load_model", backend: BACKENDS[backend], **found}

    def definitions(self, model: Any) -> list[Any]:
        """Every class and function that the saved model names and that is not Keras's own, and every layer's class.

        Raises:
            ModelError: Keras cannot write the model, or two of them have one name.
        """
        return list(
            dict.fromkeys(
                [*_custom_objects(model).values(), *(type(layer) for layer in _layers(model))]
            )
        )

    def describe(self, model: Any, sample: Any) -> Description:
        inputs, example, outputs = _example(model, sample)
        return Description(
            input=_signature(inputs, sample),
            output=None if outputs is None else _output(model, outputs),
            example=example if _count(example) <= MOST_EXAMPLE_VALUES else None,
        )

    def facts(self, model: Any) -> dict[str, Any]:
        import keras

        places = {
            name: f"{item.__module__}:{item.__qualname__}"
            for name, item in _custom_objects(model).items()
        }
        return {"backend": keras.config.backend(), "custom_objects": places or None}

    def predict(self, model: Any, inputs: Any) -> Any:
        arrays = _arrays(inputs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outputs = model.predict_on_batch(_passed(_inputs(model, arrays), arrays))
        return _predictions(model, outputs)

    def serialize_model_to_directory(self, model: Any, directory: Path) -> Path:
        path = directory / MODEL_FILE
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # lambdas: the file is as trusted as the code beside it
            model.save(path)
        return path


def _layers(model: Any) -> list[Any]:
    """The model and every layer in it, however deep, those that its code makes for itself too."""
    return list(model._flatten_layers())


def _has_inputs(model: Any) -> bool:
    """Whether the model is a graph whose inputs are known: a functional one, or a built Sequential."""
    return getattr(model, "inputs", None) is not None


# ---- what the saved model refers to ----


def _custom_objects(model: Any) -> dict[str, Any]:
    """The classes and functions that are not Keras's own, by the names under which the saved model has them.

    Raises:
        ModelError: Keras cannot write the model, or a name stands for nothing that is known, or for two things.
    """
    import keras

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = keras.saving.serialize_keras_object(model)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(
            f"Keras cannot write {type(model).__name__} to a file: {reason[:500]}"
        ) from error
    found = list(_candidates(model))
    return {
        name: _meant(name, [item for key, item in found if key == name])
        for name in _custom_names(config)
    }


def _custom_names(config: Any) -> list[str]:
    """The registered names in a configuration, in their order and each once. Serving needs none of `compile`'s."""
    if isinstance(config, (list, tuple)):
        return list(dict.fromkeys(name for item in config for name in _custom_names(item)))
    if not isinstance(config, dict):
        return []
    own = [name] if (name := _custom_name(config)) else []
    inner = [_custom_names(value) for key, value in config.items() if key != "compile_config"]
    return list(dict.fromkeys([*own, *(name for names in inner for name in names)]))


def _custom_name(config: dict[str, Any]) -> str | None:
    """The name by which Keras looks an object up that is not its own; None for its own, and for no object."""
    kind, module = config.get("class_name"), config.get("module") or ""
    if not isinstance(kind, str) or "config" not in config or kind.startswith("__"):
        return None
    if kind == "function":
        return None if module.partition(".")[0] == "keras" else str(config["config"])
    return (
        str(config.get("registered_name") or kind) if module.partition(".")[0] != "keras" else None
    )


def _candidates(model: Any) -> Iterator[tuple[str, Any]]:
    """Every class and function that the layers are made of, with its registered name."""
    import keras

    for layer in _layers(model):
        parts = (
            item if isinstance(item, FunctionType) else type(item) for item in vars(layer).values()
        )
        for part in dict.fromkeys([type(layer), *parts]):
            yield keras.saving.get_registered_name(part), part


def _meant(name: str, found: list[Any]) -> Any:
    """The one thing that a name in the saved model stands for."""
    import keras

    meant = list(dict.fromkeys(found)) or [keras.saving.get_registered_object(name)]
    if meant[0] is None:
        raise ModelError(
            f"the model's file names {name!r}, which is not registered: decorate its definition with"
            " @keras.saving.register_keras_serializable()"
        )
    if len(meant) > 1:
        raise ModelError(
            f"two things in the model are named {name!r}: {' and '.join(map(_place, meant))}; rename one of them"
        )
    return meant[0]


def _place(item: Any) -> str:
    return f"{item.__module__}.{item.__qualname__}"


# ---- rows and predictions ----


@dataclass(frozen=True)
class _Tensor:
    """One input: `shape` of one row, with None for any size."""

    name: str | None
    shape: list[int | None]
    dtype: str


def _mapped(structure: Any, leaf: Callable[[Any], Any]) -> Any:
    """A dict, a list or a single thing with `leaf` of its parts; a tuple of sizes is a single thing."""
    if isinstance(structure, dict):
        return {str(name): leaf(part) for name, part in structure.items()}
    if isinstance(structure, (list, tuple)) and not all(
        size is None or isinstance(size, int) for size in structure
    ):
        parts = [leaf(part) for part in structure]
        return parts[0] if len(parts) == 1 else parts
    return leaf(structure)


def _inputs(model: Any, sample: Any) -> Any:
    """A _Tensor, or a list or a dict of them, as the model takes them; None where that is not known.

    A graph declares its inputs. What a subclassed model takes is in the sample, else in the shapes it was built with.
    """
    import keras

    if _has_inputs(model):
        structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
        return _mapped(
            structure, lambda part: _Tensor(part.name, list(part.shape[1:]), str(part.dtype))
        )
    shapes = (model.get_build_config() or {}).get("input_shape")
    built = (
        None
        if shapes is None
        else _mapped(shapes, lambda part: _Tensor(None, list(part[1:]), model.input_dtype))
    )
    if sample is None or isinstance(built, list):
        return built
    return _mapped(sample, lambda array: _Tensor(None, list(array.shape[1:]), _dtype(array, model)))


def _dtype(array: Any, model: Any) -> str:
    """The dtype in which a model takes what it does not declare: floats in its own, all else as it is."""
    if array.dtype.kind in "biu":
        return str(array.dtype)
    return str(model.input_dtype) if array.dtype.kind == "f" else "string"


def _signature(inputs: Any, sample: Any) -> dict[str, Any] | None:
    """What one row is, as `model.input` of `config.yaml` has it."""
    if inputs is None:
        return None
    if isinstance(inputs, _Tensor):
        names = (
            {"names": [str(name) for name in sample.columns]} if hasattr(sample, "columns") else {}
        )
        return {"kind": "array", "shape": inputs.shape, "dtype": inputs.dtype, **names}
    structure = "object" if isinstance(inputs, dict) else "list"
    tensors = [
        {"name": name, "shape": part.shape, "dtype": part.dtype}
        for name, part in _named(inputs).items()
    ]
    return {"kind": "tensors", "structure": structure, "inputs": tensors}


def _named(inputs: Any) -> dict[str, Any]:
    """Several inputs by name; those of a list by their own."""
    if isinstance(inputs, dict):
        return inputs
    return {part.name or f"input_{index}": part for index, part in enumerate(inputs)}


def _arrays(sample: Any) -> Any:
    """Sample rows as the model takes them: one array, or a dict of them. None stays None."""
    import numpy as np

    if sample is None:
        return None
    if isinstance(sample, Mapping):
        return {name: np.asarray(part) for name, part in sample.items()}
    if isinstance(sample, (list, tuple)) and sample and isinstance(sample[0], Mapping):
        return {name: np.asarray([row[name] for row in sample]) for name in sample[0]}
    try:
        return np.asarray(sample)
    except ValueError:
        raise SettingError(
            "sample_input has rows of different shapes: make them alike, or pass a dict of arrays keyed by the name of"
            " the model's input where it has several"
        ) from None


def _passed(inputs: Any, arrays: Any) -> Any:
    """The arrays as the model is called with them: in a list where it takes one, a text alone as a row of one."""
    if (
        isinstance(inputs, _Tensor)
        and inputs.dtype == "string"
        and arrays.ndim == len(inputs.shape)
    ):
        return arrays[:, None]
    return [arrays[name] for name in _named(inputs)] if isinstance(inputs, list) else arrays


def _called(model: Any, inputs: Any, arrays: Any) -> Any:
    """What the model makes of arrays, in inference: the structure of its outputs, of numpy arrays."""
    import keras

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs = model(_passed(inputs, arrays), training=False)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)


def _example(model: Any, sample: Any) -> tuple[Any, list[Any] | None, Any]:
    """The inputs, one row of them, and what the model makes of it: of the sample's first, else of zeros."""
    arrays = _arrays(sample)
    inputs = _inputs(model, arrays)
    if arrays is not None:
        first = _mapped(arrays, lambda array: array[:1])
        try:
            return inputs, body_rows(sample)[:1], _called(model, inputs, first)
        except Exception as error:
            raise SettingError(
                f"the model cannot predict from sample_input: {' '.join(str(error).split())}"
            ) from error
    for guess in _guesses(model, inputs):
        for size in UNKNOWN_SIZES:
            zeros = _zeros(guess, size)
            with contextlib.suppress(Exception):
                return guess, body_rows(zeros), _called(model, guess, zeros)
    return inputs, None, None


def _guesses(model: Any, inputs: Any) -> list[Any]:
    """The inputs, then, where the model does not declare its dtypes, as texts."""
    if inputs is None:
        return []
    texts = _mapped(inputs, lambda tensor: replace(tensor, dtype="string"))
    return [inputs] if _has_inputs(model) else [inputs, texts]


def _zeros(inputs: Any, size: int) -> Any:
    """One row of zeros, or of empty texts: an array or a dict of them. `size` stands for every size that may be any."""
    import numpy as np

    def zeros(tensor: _Tensor) -> Any:
        shape = [1, *(size if known is None else known for known in tensor.shape)]
        return (
            np.full(shape, "", dtype=object)
            if tensor.dtype == "string"
            else np.zeros(shape, tensor.dtype)
        )

    return _mapped(inputs if isinstance(inputs, _Tensor) else _named(inputs), zeros)


def _count(rows: Any) -> int:
    """How many values there are in nested lists and dicts."""
    parts = rows.values() if isinstance(rows, dict) else rows
    return sum(map(_count, parts)) if isinstance(rows, (list, dict)) else 1


def _output_names(model: Any, outputs: Any) -> list[str]:
    """The names of several outputs: their keys, else those of the layers that give them, else their numbers."""
    if isinstance(outputs, dict):
        return [str(name) for name in outputs]
    names = list(getattr(model, "output_names", []))
    return (
        names
        if len(set(names)) == len(outputs)
        else [f"output_{index}" for index in range(len(outputs))]
    )


def _parts(outputs: Any) -> list[Any]:
    return list(outputs.values() if isinstance(outputs, dict) else outputs)


def _output(model: Any, outputs: Any) -> dict[str, Any]:
    """What a prediction is, as `model.output` of `config.yaml` has it."""
    if not isinstance(outputs, (dict, list, tuple)):
        return {"kind": "array", "shape": list(outputs.shape[1:]), "dtype": str(outputs.dtype)}
    named = zip(_output_names(model, outputs), _parts(outputs), strict=True)
    tensors = [
        {"name": name, "shape": list(part.shape[1:]), "dtype": str(part.dtype)}
        for name, part in named
    ]
    return {"kind": "tensors", "outputs": tensors}


def _predictions(model: Any, outputs: Any) -> Any:
    """One prediction a row: of several outputs an object keyed by their names."""
    if not isinstance(outputs, (dict, list, tuple)):
        return outputs
    names = _output_names(model, outputs)
    return [dict(zip(names, row, strict=True)) for row in zip(*_parts(outputs), strict=True)]
