"""JAX: functions with their parameters, and modules of Flax, as programs of `jax.export`."""

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from generator.arguments import argument
from generator.capture.pickle_references import Named
from generator.common import Predictor, plain, schema
from generator.errors import ModelError, SettingError
from generator.owners import guarded, one_line, warn
from generator.rows import tables
from generator.rows.body import body_rows

from ..base import Description, WrittenModelScaffoldDefinition, cannot_predict
from . import batches, devices
from .tensors import half_tolerance

MODEL_DIRECTORY = "model"
PROGRAM_FILE, PARAMETERS_FILE = "model.jax", "parameters.npz"
PLATFORMS = (("cpu", "cuda"), ("cpu",))
MOST_EXAMPLE_VALUES = 1000


@dataclass(frozen=True)
class Program:
    """What is served: a program of `jax.export`, and the arrays that it takes before the rows."""

    content: bytes
    parameters: tuple[Any, ...]


class Jax(WrittenModelScaffoldDefinition):
    """`jax.jit` functions, partial functions over arrays, Flax's modules, and callable pytrees."""

    name: ClassVar[str] = "jax"
    label: ClassVar[str] = "JAX and Flax"
    models: ClassVar[str] = (
        "`jax.jit` functions, `functools.partial` over arrays of JAX, `flax.nnx` modules, bound"
        " `flax.linen` modules, and callable pytrees such as Equinox's"
    )
    files: ClassVar[tuple[str, ...]] = (MODEL_DIRECTORY,)
    # XLA compiles the program anew for other numbers of rows, which changes the last bits.
    tolerance: ClassVar[float] = 1e-6

    def tolerance_of(self, config: Any) -> float:
        return half_tolerance(config, self.tolerance)

    def recognises(self, model: object) -> bool:
        jax = sys.modules.get("jax")
        if jax is None or not callable(model) or isinstance(model, type):
            return False
        if _is_module(model) or _is_jitted(model):
            return True
        parts: Any = model
        if isinstance(model, functools.partial):
            parts = (model.args, model.keywords)
        return any(isinstance(leaf, jax.Array) for leaf in jax.tree_util.tree_leaves(parts))

    def check(self, model: Any) -> None:
        if _is_linen(model) and model.scope is None:
            raise ModelError(
                f"{type(model).__name__} has no parameters in it: pass model.bind(variables), or"
                " functools.partial(model.apply, variables)"
            )

    def on_gpu(self, model: Any) -> bool:
        """Whether an array of it is there; of a function that shows none, where JAX computes."""
        import jax

        arrays = _arrays(model)
        if arrays:
            return devices.arrays_on_gpu(arrays)
        return devices.arrays_on_gpu([jax.numpy.zeros(1)])

    def converted(self, model: Any, format: str | None, sample: Any) -> Any:
        super().converted(model, format, sample)
        if sample is None:
            raise _no_sample()
        return _program(_function(model), _batch(sample))

    def definitions(self, model: Any) -> list[Named]:
        return []

    def references(self, model: Any) -> dict[str, str]:
        return {"jax": "export.deserialize"}

    def describe(self, model: Any, sample: Any) -> Description:
        if sample is None:
            raise _no_sample()
        batch = _batch(sample)
        first = batches.mapped(batch, lambda part: part[:1])
        with guarded(cannot_predict(), SettingError):
            output = _answering(_function(model))(first)
        example = None
        if sum(part.size for part in batches.parts(first)) <= MOST_EXAMPLE_VALUES:
            example = body_rows(sample)[:1]
        distributions = {"jaxlib": "runs the model"}
        return Description(_input(batch, sample), _output(output), example, distributions)

    def facts(self, model: Any) -> dict[str, Any]:
        import jax

        if jax.config.jax_enable_x64:
            return {"settings": {"x64": True}}
        return {"settings": None}

    def predict(self, model: Any, inputs: Any) -> Any:
        batch, answer = _batch(inputs), _answering(_function(model))

        def call(part: Any) -> Any:
            return plain(answer(part), _array)

        return Predictor(call).predictions(batch, len(batches.parts(batch)[0]))

    def serialize_model_to_directory(self, model: Any, directory: Path) -> Path:
        place = directory / MODEL_DIRECTORY
        place.mkdir()
        (place / PROGRAM_FILE).write_bytes(model.content)
        np.savez(place / PARAMETERS_FILE, *model.parameters)
        return place


# ---- what kind of model it is ----


def _is_module(model: Any) -> bool:
    return _is_nnx(model) or _is_linen(model)


def _is_nnx(model: Any) -> bool:
    base = getattr(sys.modules.get("flax.nnx"), "Module", None)
    return base is not None and isinstance(model, base)


def _is_linen(model: Any) -> bool:
    base = getattr(sys.modules.get("flax.linen"), "Module", None)
    return base is not None and isinstance(model, base)


def _is_jitted(model: Any) -> bool:
    import jax

    return isinstance(model, jax.stages.Wrapped)


def _arrays(model: Any) -> list[Any]:
    """The arrays that can be seen of a model: in a module, or in what a function is given."""
    import jax

    while _is_jitted(model) and hasattr(model, "__wrapped__"):
        model = model.__wrapped__
    parts: Any = model
    if isinstance(model, functools.partial):
        parts = (model.args, model.keywords)
    elif _is_nnx(model):
        from flax import nnx

        parts = nnx.state(model)
    elif _is_linen(model):
        parts = model.variables
    return [leaf for leaf in jax.tree_util.tree_leaves(parts) if isinstance(leaf, jax.Array)]


def _function(model: Any) -> Callable[..., Any]:
    """The model as a function whose arrays can be seen: without `jit`, which hides them.

    A module of `flax.nnx` is copied in evaluation mode: the model stays as it is.
    """
    while _is_jitted(model) and hasattr(model, "__wrapped__"):
        model = model.__wrapped__
    if not _is_nnx(model):
        return model  # type: ignore[no-any-return]
    from flax import nnx

    copied = nnx.clone(model)
    copied.eval()
    return copied  # type: ignore[no-any-return]


# ---- rows ----


def _batch(sample: Any) -> Any:
    """Sample rows as an array, or as a dict of arrays by name, in dtypes that JAX has.

    Raises:
        SettingError: they are no numbers, or not the same number of rows for each input.
    """
    if isinstance(sample, (list, tuple)) and sample and isinstance(sample[0], Mapping):
        sample = {name: [row.get(name) for row in sample] for name in sample[0]}
    if not isinstance(sample, Mapping):
        return _rows(sample, "sample_input")
    batch = {str(name): _rows(part, f"sample_input[{name!r}]") for name, part in sample.items()}
    if len({len(part) for part in batch.values()}) != 1:
        raise SettingError(
            f"{argument('sample_input')} must have the same number of rows for each input"
        )
    return batch


def _rows(values: Any, place: str) -> Any:
    import jax

    with guarded(f"{place} must be an array or a list of rows of numbers", SettingError):
        array = np.asarray(values)
        array = array.astype(jax.dtypes.canonicalize_dtype(array.dtype))
    if not array.ndim or not len(array):
        raise SettingError(f"{place} must have rows, at least one, along its first axis")
    return array


# ---- the program ----


def _called(function: Callable[..., Any], inputs: Any) -> Any:
    """The outputs, in dicts and lists. Several inputs are parameters by name, else one dict."""
    if not isinstance(inputs, dict) or not _takes(function, inputs):
        return plain(function(inputs), lambda value: value)
    return plain(function(**inputs), lambda value: value)


def _takes(function: Callable[..., Any], inputs: Mapping[str, Any]) -> bool:
    """Whether the function has a parameter for each of the inputs, and needs no others."""
    try:
        inspect.signature(function).bind(**inputs)
    except (TypeError, ValueError):
        return False
    return True


def _answering(function: Callable[..., Any]) -> Callable[[Any], Any]:
    """The function as `jax.jit` computes it, which is what a scaffold serves."""
    import jax

    def answer(inputs: Any) -> Any:
        program, parameters = _apart(function, batches.mapped(inputs, _shape))
        return jax.jit(program)(list(parameters), inputs)

    return answer


def _shape(part: Any, rows: Any = None) -> Any:
    """The shape and the dtype of an input, with another number of rows if one is given."""
    import jax

    first = len(part) if rows is None else rows
    return jax.ShapeDtypeStruct((first, *part.shape[1:]), part.dtype)


def _apart(function: Callable[..., Any], taken: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The function with its arrays as first argument, and these arrays.

    XLA would compute with them while it compiles, and write all of them into the program: 100 MB
    take twenty seconds for each number of rows, in place of one.
    """
    import jax
    from jax.extend import core

    traced, form = jax.make_jaxpr(functools.partial(_called, function), return_shape=True)(taken)
    structure = jax.tree_util.tree_structure(form)

    def program(parameters: Any, inputs: Any) -> Any:
        pairs = zip(traced.consts, parameters, strict=True)
        consts = [_as_before(*pair) for pair in pairs]
        run = core.jaxpr_as_fun(core.ClosedJaxpr(traced.jaxpr, consts))
        return structure.unflatten(run(*jax.tree_util.tree_leaves(inputs)))

    return program, tuple(map(_parameter, traced.consts))


def _program(function: Callable[..., Any], batch: Any) -> Program:
    """The program for any number of rows; for one where the function does not allow for that.

    Raises:
        ModelError: the function cannot be traced.
    """
    import jax

    reasons = []
    for rows in (*jax.export.symbolic_shape("rows"), 1):
        for platforms in PLATFORMS:
            try:
                program = _exported(function, batch, rows, platforms)
            except Exception as error:
                reasons.append(error)
                continue
            if rows == 1:
                _check_fixed(batch, reasons[0])
            return program
    raise ModelError(f"jax.export cannot export the function: {one_line(reasons[0])}") from reasons[
        0
    ]


def _check_fixed(batch: Any, reason: Exception) -> None:
    """Warn that the model is called once a row.

    Raises:
        ModelError: the sample has one row, which cannot show that this makes no difference.
    """
    told = f"the program takes one row only: {one_line(reason)}"
    if len(batches.parts(batch)[0]) < 2:
        raise ModelError(
            f"{told}; pass a {argument('sample_input')} of two rows or more, to prove it with"
        )
    warn(f"the model is called once a row, which is slower, because {told}")


def _exported(
    function: Callable[..., Any], batch: Any, rows: Any, platforms: tuple[str, ...]
) -> Program:
    """The program, which takes the function's arrays before the rows."""
    import jax

    taken = batches.mapped(batch, functools.partial(_shape, rows=rows))
    program, parameters = _apart(function, taken)
    shapes = [jax.ShapeDtypeStruct(part.shape, part.dtype) for part in parameters]
    exported = jax.export.export(jax.jit(program), platforms=platforms)(shapes, taken)
    return Program(bytes(exported.serialize()), parameters)


def _is_key(array: Any) -> bool:
    """Whether it holds keys of JAX's random numbers, which numpy has no dtype for."""
    import jax

    return bool(jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key))


def _parameter(const: Any) -> Any:
    import jax

    if _is_key(const):
        return np.asarray(jax.random.key_data(const))
    return np.asarray(const)


def _as_before(const: Any, parameter: Any) -> Any:
    """A parameter in the form of the array that it was made of."""
    import jax

    if _is_key(const):
        return jax.random.wrap_key_data(parameter, impl=jax.random.key_impl(const))
    return parameter


# ---- what a row and a prediction are ----


def _array(value: Any) -> Any:
    array = np.asarray(value)
    if array.dtype.kind == "V":  # bfloat16, which numpy itself lacks
        return array.astype(np.float32)
    return array


def _input(batch: Any, sample: Any) -> schema.ModelInput:
    """What one row is, as `model.input` describes it."""
    if isinstance(batch, dict):
        tensors = (
            schema.Tensor(name, tuple(part.shape[1:]), str(part.dtype))
            for name, part in batch.items()
        )
        return schema.TensorsInput(inputs=tuple(tensors))
    described = schema.ArrayInput(tuple(batch.shape[1:]), str(batch.dtype))
    if not tables.is_frame(sample):
        return described
    return replace(described, names=tuple(str(name) for name in sample.columns))


def _output(output: Any) -> schema.ModelOutput | None:
    """What a prediction is, as `model.output` describes it; None if it is not an array."""
    if isinstance(output, dict):
        named = (schema.NamedOutput(name, _output(part)) for name, part in output.items())
        return schema.TensorsOutput(tuple(named))
    if isinstance(output, list):
        return schema.ListOutput(tuple(_output(part) for part in output))
    if output is None:
        return None
    sizes = tuple(int(size) for size in output.shape)
    if sizes[:1] == (1,):
        sizes = sizes[1:]
    return schema.ArrayOutput(sizes, str(output.dtype))


def _no_sample() -> SettingError:
    return SettingError(
        f"a JAX function needs a {argument('sample_input')}: its program is traced on the sample's"
        " rows"
    )
