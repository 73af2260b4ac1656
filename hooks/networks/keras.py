"""Keras 3: Sequential, functional and subclassed models, on TensorFlow, torch or JAX."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar

from generator.arguments import argument
from generator.capture.pickle_references import Named
from generator.common import Signature, listing, schema
from generator.errors import ModelError, SettingError
from generator.owners import guarded, one_line
from generator.rows.body import body_rows

from ..base import Description, WrittenModelScaffoldDefinition, cannot_predict
from . import devices, embeddings, lengths

MODEL_FILE = "model.keras"
BACKENDS = {"tensorflow": "function", "torch": "Tensor", "jax": "Array"}
MOST_EXAMPLE_VALUES = 1000
UNKNOWN_SIZES = (1, 32)  # tried for None in a row's shape: a convolution may need more than 1


class Keras(WrittenModelScaffoldDefinition):
    """Keras models that were built, compiled or not."""

    name: ClassVar[str] = "keras"
    label: ClassVar[str] = "Keras"
    models: ClassVar[str] = (
        "Sequential, functional and subclassed models, on TensorFlow, torch or JAX"
    )
    files: ClassVar[tuple[str, ...]] = (MODEL_FILE,)
    suffixes: ClassVar[tuple[str, ...]] = (".keras", ".h5")
    # A compiled graph and another batch size change the last bits.
    tolerance: ClassVar[float] = 1e-6

    def read(self, path: Path) -> Any:
        import keras

        return keras.saving.load_model(path, compile=False, safe_mode=False)

    def read_safely(self, path: Path) -> Any:
        import keras

        if path.suffix == ".h5":  # in which some versions of Keras 3 run lambdas
            return None
        try:
            return keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception:  # it has a lambda in it, or is no such file: `read` says which
            return None

    def recognises(self, model: object) -> bool:
        base = getattr(sys.modules.get("keras"), "Model", None)
        return base is not None and isinstance(model, base)

    def check(self, model: Any) -> None:
        import keras

        name = type(model).__name__
        if int(keras.__version__.partition(".")[0]) < 3:
            raise ModelError(
                f"{name} is a model of Keras {keras.__version__}: a scaffold takes Keras 3 and"
                " later"
            )
        if keras.config.backend() not in BACKENDS:
            raise ModelError(
                f"Keras runs on {keras.config.backend()!r}, a scaffold takes"
                f" {listing(list(BACKENDS))}: save the model, set KERAS_BACKEND to one of them,"
                " load it and pass that"
            )
        if not model.built:
            raise ModelError(
                f"{name} {model.name!r} is not built: build it, or call it once on rows like real"
                " ones"
            )
        for layer in _layers(model):
            if getattr(layer, "stateful", False):
                raise ModelError(
                    f"{name} has the stateful layer {layer.name!r}, which would mix what clients"
                    " send: make it with stateful=False"
                )
        _custom_objects(model)
        _check_paths(model)

    def on_gpu(self, model: Any) -> bool:
        import keras

        on_gpu = {
            "tensorflow": devices.placed_on_gpu,
            "torch": devices.on_cuda,
            "jax": devices.arrays_on_gpu,
        }
        told = on_gpu.get(keras.config.backend())
        return told is not None and told([weight.value for weight in model.weights])

    def references(self, model: Any) -> dict[str, str]:
        import keras

        backend = keras.config.backend()
        found = {item.module: item.name for item in reversed(self.definitions(model))}
        return {"keras": "saving.load_model", backend: BACKENDS[backend], **found}

    def definitions(self, model: Any) -> list[Named]:
        """Every layer's class, and every class and function in the saved model that is not Keras's.

        Raises:
            ModelError: Keras cannot write the model, or two of them share a name.
        """
        kinds = [type(layer) for layer in _layers(model)]
        return [
            Named.of(item) for item in dict.fromkeys([*_custom_objects(model).values(), *kinds])
        ]

    def describe(self, model: Any, sample: Any) -> Description:
        inputs, example, outputs, untried = _example(model, sample)
        inputs = _with_free_axes(model, inputs, _arrays(sample))
        described = _input(inputs, sample)
        output = _varied(model, inputs, described, example, _output(model, outputs))
        if _count(example) > MOST_EXAMPLE_VALUES:
            example = None
        return Description(
            described,
            output,
            example,
            prediction=_predictions(model, outputs),
            untried=untried,
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
            # Keras warns about lambdas, but the file is as trusted as the code beside it.
            warnings.simplefilter("ignore", UserWarning)
            model.save(path)
        return path


def _layers(model: Any) -> list[Any]:
    """The model and every layer in it, however deep: in attributes, lists and dicts."""
    import keras

    layers: list[Any] = []
    seen: set[int] = set()
    waiting = [model]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, keras.Layer):
            layers.append(item)
            waiting += reversed(vars(item).values())
        elif isinstance(item, dict):
            waiting += reversed(item.values())
        elif isinstance(item, (list, tuple, set)):
            waiting += reversed(list(item))
    return layers


def _has_inputs(model: Any) -> bool:
    """Whether the model declares its inputs: a functional one, or a built Sequential."""
    return getattr(model, "inputs", None) is not None


# ---- what the saved model refers to ----


def _custom_objects(model: Any) -> dict[str, Any]:
    """The classes and functions that are not Keras's own, by their names in the saved model.

    Raises:
        ModelError: Keras cannot write the model, or a name stands for nothing or for two things.
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


def _check_paths(model: Any) -> None:
    """Refuse layers that read a file of this machine when they are made again.

    A vocabulary travels in the model's file, whatever file it was read from.
    """
    for layer in _layers(model):
        try:
            config = layer.get_config()
        except Exception:  # it has none of its own: it is rebuilt from its class
            continue
        for key, value in config.items():
            if key != "vocabulary" and isinstance(value, str) and _is_path(key, value):
                raise ModelError(
                    f"the model's layer {layer.name!r} ({type(layer).__name__}) reads {value} of"
                    f" this machine ({key}): make the layer of weights that the model holds, or"
                    " load the model in an object of your own, with"
                    f" {argument('framework', 'custom')} and the files in {argument('data')}"
                )


def _is_path(key: str, text: str) -> bool:
    return (os.sep in text or "path" in key) and os.path.exists(text)


def _custom_names(config: Any) -> list[str]:
    """The registered names in a configuration, each once. Serving needs none of `compile`'s."""
    return list(dict.fromkeys(_walk_names(config)))


def _walk_names(config: Any) -> Iterator[str]:
    if isinstance(config, (list, tuple)):
        for item in config:
            yield from _walk_names(item)
    elif isinstance(config, dict):
        if name := _custom_name(config):
            yield name
        for key, value in config.items():
            if key != "compile_config":
                yield from _walk_names(value)


def _custom_name(config: dict[str, Any]) -> str | None:
    """The name by which Keras finds an object that is not its own.

    None for Keras's own, and for a mapping that is not an object.
    """
    kind, module = config.get("class_name"), config.get("module") or ""
    if not isinstance(kind, str) or "config" not in config or kind.startswith("__"):
        return None
    if module.partition(".")[0] == "keras":
        return None
    if kind == "function":
        return str(config["config"])
    return str(config.get("registered_name") or kind)


def _candidates(model: Any) -> Iterator[tuple[str, Any]]:
    """Every class and function in the layers' attributes, with its registered name."""
    import keras

    for layer in _layers(model):
        parts = [_class_or_function(item) for item in vars(layer).values()]
        for part in dict.fromkeys([type(layer), *parts]):
            yield keras.saving.get_registered_name(part), part


def _class_or_function(item: Any) -> Any:
    if isinstance(item, FunctionType):
        return item
    return type(item)


def _meant(name: str, found: list[Any]) -> Any:
    """The one thing that a name in the saved model stands for."""
    import keras

    meant = list(dict.fromkeys(found)) or [keras.saving.get_registered_object(name)]
    if meant[0] is None:
        raise ModelError(
            f"the model's file names {name!r}, which is not registered: decorate its definition"
            " with @keras.saving.register_keras_serializable()"
        )
    if len(meant) > 1:
        raise ModelError(
            f"two things in the model are named {name!r}: {' and '.join(map(_place, meant))};"
            " rename one of them"
        )
    return meant[0]


def _place(item: Any) -> str:
    return f"{item.__module__}.{item.__qualname__}"


# ---- rows and predictions ----


def _mapped(structure: Any, leaf: Callable[[Any], Any]) -> Any:
    """A dict, a list or a single part, with `leaf` of each part. A tuple of sizes is one part."""
    if isinstance(structure, dict):
        return {str(name): leaf(part) for name, part in structure.items()}
    if isinstance(structure, (list, tuple)) and not all(
        size is None or isinstance(size, int) for size in structure
    ):
        parts = [leaf(part) for part in structure]
        return parts[0] if len(parts) == 1 else parts
    return leaf(structure)


def _inputs(model: Any, sample: Any) -> Any:
    """A Tensor, or a list or a dict of them, as the model takes them; None where it is not known.

    If the model does not declare its inputs, they are those of the sample, else of the shapes that
    it was built with. An input without a name has the name "".
    """
    if _has_inputs(model):
        return _declared(model)
    shapes = (model.get_build_config() or {}).get("input_shape")
    built = None
    if shapes is not None:
        built = _mapped(shapes, lambda part: _row(part, str(model.input_dtype)))
    if sample is None or isinstance(built, list):
        return built
    return _mapped(sample, lambda array: _row(array.shape, _dtype(array, model)))


def _declared(model: Any) -> Any:
    def row(part: Any) -> schema.Tensor:
        described = _row(part.shape, str(part.dtype), part.name)
        return replace(described, below=embeddings.of_keras(model, part))

    return _mapped(_symbolic(model), row)


def _symbolic(model: Any) -> Any:
    """The declared inputs as Keras's own tensors.

    A Sequential has no `input` before it is called.
    """
    import keras

    if isinstance(model, keras.Sequential):
        return model.inputs[0]
    return model.input


def _with_free_axes(model: Any, inputs: Any, arrays: Any) -> Any:
    """The inputs of a model that does not declare them, with None for lengths that may vary."""
    if arrays is None or _has_inputs(model) or isinstance(inputs, list):
        return inputs

    def takes(resized: Mapping[str, Any]) -> Any:
        return _called(model, inputs, resized if isinstance(arrays, dict) else resized[""])

    parts = arrays if isinstance(arrays, dict) else {"": arrays}
    first = {name: part[:1] for name, part in parts.items()}
    free = lengths.free_axes(first, lambda part: part.dtype.kind in "iu", takes)
    if isinstance(inputs, schema.Tensor):
        return replace(inputs, shape=lengths.sizes("", arrays, free))
    return {
        name: replace(part, shape=lengths.sizes(name, arrays[name], free))
        for name, part in inputs.items()
    }


def _row(shape: Any, dtype: str, name: str | None = None) -> schema.Tensor:
    """One input, of the shape of a batch of rows."""
    return schema.Tensor(name or "", tuple(shape[1:]), dtype)


def _dtype(array: Any, model: Any) -> str:
    """The dtype of an input that a model does not declare: its own for floats, else the array's."""
    if array.dtype.kind in "biu":
        return str(array.dtype)
    if array.dtype.kind == "f":
        return str(model.input_dtype)
    return schema.TEXT


def _input(inputs: Any, sample: Any) -> schema.ModelInput | None:
    """What one row is, as `model.input` describes it."""
    if inputs is None:
        return None
    if isinstance(inputs, schema.Tensor):
        described = schema.ArrayInput(inputs.shape, inputs.dtype, below=inputs.below)
        if not hasattr(sample, "columns"):
            return described
        return replace(described, names=tuple(str(name) for name in sample.columns))
    tensors = tuple(replace(part, name=name) for name, part in _named(inputs).items())
    if isinstance(inputs, dict):
        return schema.TensorsInput(structure="object", inputs=tensors)
    return schema.TensorsInput(structure="list", inputs=tensors)


def _named(inputs: Any) -> dict[str, Any]:
    """Several inputs by name; those of a list by their own."""
    if isinstance(inputs, dict):
        return inputs
    return {part.name or f"input_{index}": part for index, part in enumerate(inputs)}


def _arrays(sample: Any) -> Any:
    """Sample rows as one array or a dict of arrays; None without a sample."""
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
            f"{argument('sample_input')} has rows of different shapes: make them alike, or pass a"
            " dict of arrays keyed by the name of the model's input where it has several"
        ) from None


def _passed(inputs: Any, arrays: Any) -> Any:
    """The arrays as the model's argument: in a list if it takes one, each text in a row of one."""
    if isinstance(inputs, list):
        return [arrays[name] for name in _named(inputs)]
    if isinstance(inputs, schema.Tensor) and inputs.dtype == schema.TEXT:
        flat = arrays.ndim == len(inputs.shape or ())
        return arrays[:, None] if flat else arrays
    return arrays


def _called(model: Any, inputs: Any, arrays: Any) -> Any:
    """The model's outputs for arrays, in inference: in their structure, as numpy arrays."""
    import keras

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs = model(_passed(inputs, arrays), training=False)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)


def _example(model: Any, sample: Any) -> tuple[Any, list[Any] | None, Any, str | None]:
    """The inputs, one row, and the model's outputs for it: the sample's first row, else zeros.

    The last part is why there is no row.
    """
    arrays = _arrays(sample)
    inputs = _inputs(model, arrays)
    if arrays is not None:
        first = _mapped(arrays, lambda array: array[:1])
        with guarded(cannot_predict(), SettingError):
            return inputs, body_rows(sample)[:1], _called(model, inputs, first), None
    untried = "the model does not declare its inputs"
    for guess in _guesses(model, inputs):
        for size in UNKNOWN_SIZES:
            zeros = _zeros(guess, size)
            try:
                return guess, body_rows(zeros), _called(model, guess, zeros), None
            except Exception as error:
                untried = f"it does not predict from zeros: {one_line(error)}"
    return inputs, None, None, untried


def _guesses(model: Any, inputs: Any) -> list[Any]:
    """The inputs. If the model does not declare its dtypes, also the same inputs as texts."""
    if inputs is None:
        return []
    if _has_inputs(model):
        return [inputs]
    return [inputs, _mapped(inputs, lambda tensor: replace(tensor, dtype=schema.TEXT))]


def _zeros(inputs: Any, size: int) -> Any:
    """One row of zeros, or of empty texts. `size` replaces None in a shape."""
    import numpy as np

    def zeros(tensor: schema.Tensor) -> Any:
        shape = [1, *(size if known is None else known for known in tensor.shape or ())]
        if tensor.dtype == schema.TEXT:
            return np.full(shape, "", dtype=object)
        return np.zeros(shape, tensor.dtype)

    if isinstance(inputs, schema.Tensor):
        return zeros(inputs)
    return _mapped(_named(inputs), zeros)


def _count(rows: Any) -> int:
    """How many values there are in nested lists and dicts."""
    if isinstance(rows, dict):
        return sum(map(_count, rows.values()))
    if isinstance(rows, list):
        return sum(map(_count, rows))
    return 1


def _output_names(model: Any, outputs: Any) -> list[str]:
    """The names of several outputs: their keys, else those of their layers, else their numbers."""
    if isinstance(outputs, dict):
        return [str(name) for name in outputs]
    names = list(getattr(model, "output_names", []))
    if len(set(names)) == len(outputs):
        return names
    return [f"output_{index}" for index in range(len(outputs))]


def _parts(outputs: Any) -> list[Any]:
    if isinstance(outputs, dict):
        return list(outputs.values())
    return list(outputs)


def _output(model: Any, outputs: Any) -> schema.ModelOutput | None:
    """What a prediction is, as `model.output` describes it; None where there are no outputs."""
    if outputs is None:
        return None
    if not isinstance(outputs, (dict, list, tuple)):
        return schema.ArrayOutput(tuple(outputs.shape[1:]), str(outputs.dtype))
    named = zip(_output_names(model, outputs), _parts(outputs), strict=True)
    return schema.TensorsOutput(
        tuple(_row(part.shape, str(part.dtype), name) for name, part in named)
    )


def _varied(
    model: Any,
    inputs: Any,
    described: schema.ModelInput | None,
    example: list[Any] | None,
    output: schema.ModelOutput | None,
) -> schema.ModelOutput | None:
    """What a prediction is, with None for each size that follows the length of an input."""
    if example is None or output is None:
        return output
    arrays = Signature(described).inputs(example)
    single = not isinstance(arrays, dict)
    parts = {"": arrays} if single else arrays
    tensors = {"": inputs} if single else _named(inputs)
    free = {
        (name, axis)
        for name, tensor in tensors.items()
        for axis, size in enumerate(tensor.shape or (), 1)
        if size is None
    }

    def again(resized: Mapping[str, Any]) -> schema.ModelOutput | None:
        return _output(model, _called(model, inputs, resized[""] if single else resized))

    return lengths.varied(output, parts, free, again)


def _predictions(model: Any, outputs: Any) -> Any:
    """One prediction per row. For several outputs it is an object keyed by their names."""
    if not isinstance(outputs, (dict, list, tuple)):
        return outputs
    names = _output_names(model, outputs)
    return [dict(zip(names, row, strict=True)) for row in zip(*_parts(outputs), strict=True)]
