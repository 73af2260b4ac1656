"""PyTorch: every module, scripted or not, and what `torch.export` makes of one."""

import contextlib
import copy
import inspect
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from generator.arguments import argument
from generator.capture.pickle_references import Named
from generator.common import Predictor, left_out, listing, plain, schema
from generator.errors import ModelError, SettingError
from generator.owners import warn
from generator.rows.body import body_rows

from ..base import PICKLE, Description, WrittenModelScaffoldDefinition
from ..loading import edit_load
from . import batches, devices, embeddings, lengths, lightning, safetensors
from .safetensors import SAFETENSORS, SAFETENSORS_FILE, Numbers

MODEL_FILE = "model.pt"
PROGRAM_FILE = "model.pt2"
EXPORT = "export"
FORMATS = {".pt2": EXPORT, ".safetensors": SAFETENSORS}  # of files that are no pickle
MOST_EXAMPLE_VALUES = 1000


class PyTorch(WrittenModelScaffoldDefinition):
    """`torch.nn.Module`, `torch.jit.ScriptModule`, and programs of `torch.export`.

    Of Lightning's `Trainer` the module is taken.
    """

    name: ClassVar[str] = "pytorch"
    label: ClassVar[str] = "PyTorch"
    models: ClassVar[str] = (
        "modules, Lightning's too, TorchScript, and what `torch.export` makes of a module"
    )
    files: ClassVar[tuple[str, ...]] = (MODEL_FILE, PROGRAM_FILE, SAFETENSORS_FILE)
    suffixes: ClassVar[tuple[str, ...]] = (".pt", ".pth", ".pt2")
    # Another number of threads, and an exported program, change the last bits.
    tolerance: ClassVar[float] = 1e-6

    def read(self, path: Path) -> Any:
        import torch

        if path.suffix == ".pt2":
            return torch.export.load(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns about TorchScript, but still loads it
            return torch.load(path, map_location="cpu", weights_only=False)

    def read_safely(self, path: Path) -> Any:
        import torch

        try:  # that is what a state_dict allows, which `check` refuses
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception:  # a module is pickled, or it is no such file: `read` says which
            return None

    def recognises(self, model: object) -> bool:
        torch = sys.modules.get("torch")
        base = getattr(getattr(torch, "nn", None), "Module", None)
        if base is None or torch is None:
            return False
        is_module = isinstance(model, base) or lightning.is_trainer(model)
        return is_module or _is_program(model) or _holds_tensors(model, torch)

    def sampled(self, model: Any, sample: Any) -> Any:
        """The sample. A program has the rows that it was traced on."""
        if sample is not None or not _is_program(model) or model.example_inputs is None:
            return sample
        arguments, named = model.example_inputs
        if len(arguments) == 1 and not named:
            return arguments[0]
        return dict(named) or None

    def unwrapped(self, model: Any) -> Any:
        from torch import nn

        inner = lightning.inside(model)
        while isinstance(inner, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = inner.module
        inner = _uncompiled(inner)
        if inner is not model:
            warn(
                f"the {type(inner).__name__} inside of {type(model).__name__} is served, without"
                " what is around it"
            )
        return inner

    def check(self, model: Any) -> None:
        from torch import nn

        name = type(model).__name__
        if isinstance(model, Mapping):
            raise ModelError(
                f"model is a state_dict or a checkpoint (a {name} with tensors in it), not a"
                " module: make the module, call its load_state_dict() with that, and pass the"
                " module"
            )
        if _is_program(model):
            return
        if not _is_script(model) and type(model).forward is nn.Module.forward:
            raise ModelError(f"{name} has no forward: pass the module that predicts")
        for place, tensor in _tensors_of(model):
            if nn.parameter.is_lazy(tensor):
                raise ModelError(
                    f"{name}.{place} has no shape yet: call the model once on rows like the real"
                    " ones"
                )
            if tensor.is_meta:
                raise ModelError(
                    f"{name}.{place} is on the meta device and holds no numbers: load the weights"
                    " first"
                )

    def format_of(self, path: Path) -> str | None:
        return FORMATS.get(path.suffix)

    def on_gpu(self, model: Any) -> bool:
        if _is_program(model):
            return devices.on_cuda([*model.state_dict.values(), *_held(model.constants)])
        return devices.on_cuda(devices.of_module(model))

    def converted(self, model: Any, format: str | None, sample: Any) -> Any:
        if format in (None, PICKLE) or (format == EXPORT and _is_program(model)):
            return model
        if format == SAFETENSORS and not _is_program(model) and not _is_script(model):
            return safetensors.numbers(model)
        if format != EXPORT:
            raise SettingError(
                f"{argument('format')} {format!r} is none of pytorch's for a"
                f" {type(model).__name__}: pass"
                f" {EXPORT!r} or {PICKLE!r}, {SAFETENSORS!r} for a module, or leave it out"
            )
        if sample is None:
            raise SettingError(
                f"{argument('format')} {EXPORT!r} needs a {argument('sample_input')}, on which the"
                f" model is traced: pass one, or {argument('format', PICKLE)}"
            )
        if _is_script(model):
            raise SettingError(
                f"{argument('format')} {EXPORT!r} takes no TorchScript: pass the module it was made"
                f" of, or {argument('format', PICKLE)}"
            )
        return _exported(model, _batch(model, sample)[0])

    def definitions(self, model: Any) -> list[Named]:
        if _is_program(model) or _is_script(model):
            return []
        return super().definitions(_module(model))

    def references(self, model: Any) -> dict[str, str]:
        if _is_program(model) or _is_script(model):
            return {}
        if isinstance(model, Numbers):
            return {"safetensors.torch": "load_model", **super().references(model.module)}
        try:
            return super().references(model)
        except ModelError as error:
            raise ModelError(
                f"{error}; or pass {argument('format', EXPORT)} with a {argument('sample_input')}:"
                " then nothing is pickled"
            ) from error

    def describe(self, model: Any, sample: Any) -> Description:
        model = _module(model)
        distributions = {"torch": "loads and runs the model"}
        if sample is None:
            untried = "a module does not say what shape and dtype a row has"
            return Description(_unknown_input(model), None, None, distributions, untried=untried)
        batch, output = _batch(model, sample)
        first = _part(batch, slice(1))
        if names := left_out(_raw_output(model, first)):
            warn(f"the model's outputs {listing(names)} have no form in an answer and are left out")
        example = None
        if sum(tensor.numel() for tensor in batches.parts(first)) <= MOST_EXAMPLE_VALUES:
            example = body_rows(first)
        free, call = _free_axes(model, batch), _caller(model, batch)
        found = lengths.varied(
            _output(output), _by_name(first), free, lambda inputs: _output(call(inputs))
        )
        taken = embeddings.of_module(model, _by_name(first), call)
        described = embeddings.limited(_input(batch, sample, free), taken)
        return Description(described, found, example, distributions)

    def served_input(self, description: Description, served: Any, sample: Any) -> Any:
        """What one row of an exported program is: it may take fewer lengths than the module."""
        if not _is_program(served) or sample is None:
            return description.input
        module = served.module()
        batch = batches.mapped(_batch(module, sample)[0], lambda tensor: tensor.cpu())
        described = _input(batch, sample, _free_axes(module, batch))
        return embeddings.limited(described, embeddings.limits(description.input))

    def served_facts(self, served: Any, file: Path) -> dict[str, Any]:
        if not isinstance(served, Numbers):
            return {}
        return {"settings": served.settings()}

    def edit_code(self, served: Any, path: Path) -> bool:
        if isinstance(served, Numbers):
            edit_load(path, SAFETENSORS, safetensors.USUAL, safetensors.LOAD, safetensors.FUNCTION)
        return isinstance(served, Numbers)

    def predict(self, model: Any, inputs: Any) -> Any:
        model = _module(model)
        batch, _ = _batch(model, inputs)
        count = len(batches.parts(batch)[0])
        return Predictor(lambda part: _call(model, part)).predictions(batch, count)

    def serialize_model_to_directory(self, model: Any, directory: Path) -> Path:
        import torch

        if isinstance(model, Numbers):
            return safetensors.write(model, directory / SAFETENSORS_FILE)
        name, save = MODEL_FILE, partial(torch.save, pickle_protocol=pickle.DEFAULT_PROTOCOL)
        if _is_program(model):
            name, save = PROGRAM_FILE, torch.export.save
        elif _is_script(model):
            save = torch.jit.save
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated, but still loads
            save(model, directory / name)
        return directory / name


# ---- what kind of model it is ----


def _module(model: Any) -> Any:
    """The module of a program of `torch.export`, or of numbers; any other model itself."""
    if isinstance(model, Numbers):
        return model.module
    if _is_program(model):
        return model.module()
    return model


def _uncompiled(model: Any) -> Any:
    """The module that torch.compile was given; any other model itself.

    Raises:
        ModelError: this PyTorch keeps the module under another name, which is a private one.
    """
    names = {kind.__name__ for kind in type(model).__mro__}
    if "OptimizedModule" not in names:
        return model
    inner = getattr(model, "_orig_mod", None)
    if inner is None:
        raise ModelError(
            f"this PyTorch does not say which module is inside of {type(model).__name__}: pass the"
            " module that torch.compile was given"
        )
    return inner


def _holds_tensors(model: object, torch: Any) -> bool:
    """Whether it is a state_dict, or a checkpoint that has one in it."""
    if not isinstance(model, Mapping):
        return False
    return any(
        isinstance(value, torch.Tensor) or _holds_tensors(value, torch) for value in model.values()
    )


def _is_script(model: Any) -> bool:
    import torch

    return isinstance(model, torch.jit.ScriptModule)


def _is_program(model: Any) -> bool:
    import torch

    return isinstance(model, torch.export.ExportedProgram)


def _held(constants: Mapping[str, Any]) -> Iterator[Any]:
    """The tensors among the constants of a program."""
    import torch

    return (value for value in constants.values() if isinstance(value, torch.Tensor))


def _tensors_of(model: Any) -> Iterator[tuple[str, Any]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _parameters(model: Any) -> dict[str, bool] | None:
    """The parameters of the model's forward, and whether each is required; None if it takes any."""
    if _is_script(model):
        arguments = model.forward.schema.arguments[1:]
        return {argument.name: not argument.has_default_value() for argument in arguments}
    parameters = inspect.signature(model.forward).parameters.values()
    if any(
        parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        for parameter in parameters
    ):
        return None
    return {parameter.name: parameter.default is parameter.empty for parameter in parameters}


# ---- rows as tensors ----


def _batch(model: Any, sample: Any) -> tuple[Any, Any]:
    """Sample rows as a tensor or a dict of tensors, and the model's output for the first.

    Whole numbers in lists or arrays may be ids or floats: ids are tried first.

    Raises:
        SettingError: the model takes neither.
    """
    for whole in (True, False):
        batch = _tensors(model, sample, whole)
        try:
            return batch, _call(model, _part(batch, slice(1)))
        except Exception as error:
            reason = error
    first = " ".join(str(reason).split())[:500] or type(reason).__name__
    raise SettingError(
        f"the model cannot predict from {argument('sample_input')}: {first}"
    ) from reason


def _tensors(model: Any, sample: Any, whole: bool) -> Any:
    if isinstance(sample, (list, tuple)) and sample and isinstance(sample[0], Mapping):
        sample = {name: [row.get(name) for row in sample] for name in sample[0]}
    if not isinstance(sample, Mapping):
        return _checked(_tensor(model, sample, whole), "sample_input")
    _check_names(model, list(sample))
    batch = {
        name: _checked(_tensor(model, part, whole), f"sample_input[{name!r}]")
        for name, part in sample.items()
    }
    if len({len(tensor) for tensor in batch.values()}) > 1:
        sizes = ", ".join(f"{name!r} has {len(tensor)}" for name, tensor in batch.items())
        raise SettingError(
            f"{argument('sample_input')} must have the same number of rows for each input: {sizes}"
        )
    return batch


def _check_names(model: Any, names: list[Any]) -> None:
    known = _parameters(model)
    if known is None:
        return
    missing = [name for name, required in known.items() if required and name not in names]
    if missing or not names or any(name not in known for name in names):
        raise SettingError(
            f"{argument('sample_input')} has the inputs {names}, the model's forward takes"
            f" {list(known)}"
        )


def _tensor(model: Any, values: Any, whole: bool) -> Any:
    """Rows as a tensor on the model's device. Floats outside a tensor get the model's dtype."""
    import torch

    if isinstance(values, (list, tuple)) and values and isinstance(values[0], torch.Tensor):
        values = _stacked(values)
    device, dtype = _device_and_dtype(model)
    if isinstance(values, torch.Tensor):
        return values.detach().to(device)
    tensor = _from_numbers(values)
    is_whole = not tensor.is_floating_point() and (whole or tensor.dtype is torch.bool)
    if is_whole or tensor.is_complex():
        return tensor.to(device)
    return tensor.to(device, dtype)


def _stacked(values: Any) -> Any:
    import torch

    try:
        return torch.stack(list(values))
    except (RuntimeError, TypeError) as error:
        raise SettingError(
            f"{argument('sample_input')} has rows of different shapes: {error}"
        ) from error


def _from_numbers(values: Any) -> Any:
    import numpy as np
    import torch

    try:
        return torch.as_tensor(np.asarray(values))
    except (TypeError, ValueError) as error:
        raise SettingError(
            f"{argument('sample_input')} must be a tensor, an array or a list of rows of numbers,"
            " or a dict of"
            f" them keyed by input name: {' '.join(str(error).split())}; for rows that are texts or"
            " images pass what makes tensors of them too, as in"
            " transformers.pipeline(TASK, model=model, tokenizer=tokenizer)"
        ) from error


def _device_and_dtype(model: Any) -> tuple[Any, Any]:
    """Where the model is, and the dtype of the first of its parameters that holds floats."""
    import torch

    tensors = [tensor for _, tensor in _tensors_of(model)]
    dtypes = (tensor.dtype for tensor in tensors if tensor.is_floating_point())
    device = next((tensor.device for tensor in tensors), torch.device("cpu"))
    return device, next(dtypes, torch.get_default_dtype())


def _checked(tensor: Any, name: str) -> Any:
    if not tensor.ndim or not len(tensor):
        raise SettingError(
            f"{name} has shape {list(tensor.shape)}: it must have rows, at least one, along its"
            " first axis"
        )
    return tensor


def _part(batch: Any, rows: Any) -> Any:
    return batches.mapped(batch, lambda tensor: tensor[rows])


# ---- the outputs of the model in memory ----


def _call(model: Any, batch: Any) -> Any:
    """The model's output in evaluation mode: numpy arrays, and dicts and lists of them."""
    return plain(_raw_output(model, batch), _array)


def _raw_output(model: Any, batch: Any) -> Any:
    import torch

    with evaluating(model), torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(batch, dict):
            return model(**batch)
        return model(batch)


def _array(value: Any) -> Any:
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    if value.dtype is torch.bfloat16:  # which numpy lacks
        value = value.float()
    return value.to_dense().numpy(force=True)


@contextlib.contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Put the model into evaluation mode; afterwards every part has its earlier mode again."""
    training = [module for module in model.modules() if getattr(module, "training", False)]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _exported(model: Any, batch: Any) -> Any:
    """The program of the model on the CPU, for any number of rows.

    Raises:
        ModelError: the model cannot be traced, or takes a fixed number of rows.
    """
    if _device_and_dtype(model)[0].type != "cpu":
        model = copy.deepcopy(model).cpu()
    rows, free = _two_rows(batch), _free_axes(model, batch)
    if free:
        with contextlib.suppress(Exception):
            return _program(model, rows, free)
    try:
        return _program(model, rows, set())
    except Exception as error:
        reason = " ".join(str(error).split())[:500] or type(error).__name__
        raise ModelError(
            f"torch.export cannot export {type(model).__name__}: {reason}; or pass"
            f" {argument('format', PICKLE)}"
        ) from error


def _program(model: Any, rows: Any, free: set[lengths.Axis]) -> Any:
    """The program of the model, for any number of rows, and other lengths along the free axes."""
    import torch

    dynamic: dict[str, dict[int, Any]] = {
        name: {0: torch.export.Dim.DYNAMIC} for name in _by_name(rows)
    }
    for name, axis in free:
        dynamic[name][axis] = torch.export.Dim.AUTO
    with warnings.catch_warnings(), evaluating(model), _plain_outputs(model):
        warnings.simplefilter("ignore")
        if isinstance(rows, dict):
            return torch.export.export(model, (), rows, dynamic_shapes=dynamic)
        return torch.export.export(model, (rows,), dynamic_shapes=(dynamic[""],))


@contextlib.contextmanager
def _plain_outputs(model: Any) -> Iterator[None]:
    """Inside it, the model returns dicts for named tuples and dataclasses, as export needs."""
    hook = model.register_forward_hook(
        lambda module, inputs, output: plain(output, lambda value: value)
    )
    try:
        yield
    finally:
        hook.remove()


def _two_rows(batch: Any) -> Any:
    """Two rows on the CPU. PyTorch would take a single one for a fixed number of rows."""
    last = len(batches.parts(batch)[0]) - 1
    return batches.mapped(batch, lambda tensor: tensor[[0, last]].cpu())


# ---- what a row and a prediction are ----


def _free_axes(model: Any, batch: Any) -> set[lengths.Axis]:
    """The axes of the batch that may have another length; a single tensor has the name ""."""
    first = _part(batch, slice(1))
    return lengths.free_axes(_by_name(first), _is_whole, _caller(model, batch))


def _caller(model: Any, batch: Any) -> Callable[[Mapping[str, Any]], Any]:
    """Calls the model with other tensors for the batch's, by name; a single one has the name ""."""

    def call(inputs: Mapping[str, Any]) -> Any:
        if isinstance(batch, dict):
            return _call(model, dict(inputs))
        return _call(model, inputs[""])

    return call


def _by_name(batch: Any) -> dict[str, Any]:
    if isinstance(batch, dict):
        return batch
    return {"": batch}


def _is_whole(tensor: Any) -> bool:
    import torch

    floats = tensor.is_floating_point() or tensor.is_complex()
    return not floats and tensor.dtype is not torch.bool


def _input(batch: Any, sample: Any, free: set[lengths.Axis]) -> schema.ModelInput:
    """What one row is, as `model.input` describes it."""
    parts = [
        schema.Tensor(name, lengths.sizes(name, part, free), _dtype_name(part.dtype))
        for name, part in _by_name(batch).items()
    ]
    if isinstance(batch, dict):
        return schema.TensorsInput(inputs=tuple(parts))
    described = schema.ArrayInput(parts[0].shape, parts[0].dtype)
    if not hasattr(sample, "columns"):
        return described
    return replace(described, names=tuple(str(name) for name in sample.columns))


def _unknown_input(model: Any) -> schema.ModelInput:
    """What is known without a sample: the names of several inputs, and the model's dtype."""
    known = _parameters(model) or {}
    required = [name for name, needed in known.items() if needed]
    dtype = _dtype_name(_device_and_dtype(model)[1])
    if len(required) > 1:
        inputs = (schema.Tensor(name, None, dtype) for name in required)
        return schema.TensorsInput(inputs=tuple(inputs))
    return schema.ArrayInput(None, dtype)


def _output(output: Any) -> schema.ModelOutput | None:
    """What a prediction is, as `model.output` describes it; None if it is not an array."""
    if isinstance(output, dict):
        named = (schema.NamedOutput(name, _output(part)) for name, part in output.items())
        return schema.TensorsOutput(tuple(named))
    if isinstance(output, list):
        return schema.ListOutput(tuple(_output(part) for part in output))
    if hasattr(output, "dtype"):
        return schema.ArrayOutput(*_described(output))
    return None


def _described(tensor: Any) -> tuple[tuple[int, ...], str]:
    """The shape of the output for one row, without its first axis if that is the row."""
    sizes = tuple(tensor.shape)
    if sizes[:1] == (1,):
        sizes = sizes[1:]
    return sizes, _dtype_name(tensor.dtype)


def _dtype_name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")
