"""A PyTorch module as its numbers alone, and the call of its class that makes it again.

The numbers are a file of safetensors, which runs no code. The class is code in the scaffold. What
a module is beside its numbers must follow from the arguments of its class: that is compared here.
"""

import inspect
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generator.arguments import argument
from generator.errors import ModelError, SettingError
from generator.owners import one_line

from ..base import PICKLE

SAFETENSORS = "safetensors"
SAFETENSORS_FILE = "model.safetensors"
# What reads the file in a scaffold's inference_model.py, in place of PyTorch.
USUAL = "_load(model_path(self._config), self._device)"
LOAD = "_made(self._config, self._device)"
FUNCTION = '''

def _made(config: Config, device: torch.device) -> Any:
    """The model that the class in `model.settings` makes, with the numbers of the file."""
    import importlib
    import operator

    from safetensors.torch import load_model

    path, settings = model_path(config), config.model.settings or {}
    if path.suffix != ".safetensors":
        return _load(path, device)
    module, _, name = settings["class"].partition(":")
    model = operator.attrgetter(name)(importlib.import_module(module))(**settings["arguments"])
    load_model(model, path)
    return model.to(device).eval()
'''
PLAIN = (bool, int, float, str, type(None))
HOOKS = ("_forward_hooks", "_forward_pre_hooks")


@dataclass(frozen=True)
class Numbers:
    """A module that is served from its numbers.

    Attributes:
        module: the module.
        arguments: those of its class, by name.
    """

    module: Any
    arguments: dict[str, Any]

    def settings(self) -> dict[str, Any]:
        """How `inference_model.py` makes the module again."""
        kind = type(self.module)
        return {
            "class": f"{kind.__module__}:{kind.__qualname__}",
            "arguments": self.arguments,
        }


def numbers(module: Any) -> Numbers:
    """The module as its numbers.

    Raises:
        SettingError: safetensors is not installed.
        ModelError: the module is more than its class, called with its arguments, and its numbers.
    """
    try:
        import safetensors.torch  # noqa: F401
    except ImportError:
        raise SettingError(
            f"{argument('format')} {SAFETENSORS!r} needs safetensors: install it"
        ) from None
    name, arguments = type(module).__name__, _arguments(module)
    call = f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
    try:
        made = type(module)(**arguments)
    except Exception as error:
        raise _unable(module, f"{call} fails: {one_line(error)}") from error
    if difference := next(_differences(module, made), None):
        raise _unable(module, f"{call} makes another module: {difference}")
    return Numbers(module, arguments)


def write(model: Numbers, path: Path) -> Path:
    """Write the numbers."""
    from safetensors.torch import save_model

    save_model(model.module, str(path))
    return path


def _unable(module: Any, reason: str) -> ModelError:
    return ModelError(
        f"{argument('format')} {SAFETENSORS!r} cannot hold this {type(module).__name__}, because"
        f" {reason}; pass"
        f" {argument('format', PICKLE)}, or 'export' with a {argument('sample_input')}"
    )


def _arguments(module: Any) -> dict[str, Any]:
    """The arguments of the module's class, from its attributes with the same names."""
    arguments = {}
    for name, parameter in inspect.signature(type(module)).parameters.items():
        value = getattr(module, name, parameter.empty)
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if _is_plain(value) and parameter.kind is not parameter.POSITIONAL_ONLY:
            arguments[name] = value
        elif parameter.default is parameter.empty:
            raise _unable(
                module,
                f"its __init__ takes {name!r}, and the module has no attribute {name!r} that is a"
                f" number, a text or a list of them: set self.{name} = {name} in __init__",
            )
    return arguments


def _is_plain(value: Any) -> bool:
    """Whether YAML holds the value as it is."""
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return type(value) in PLAIN


# ---- whether two modules are the same but for their numbers ----


def _differences(module: Any, made: Any) -> Iterator[str]:
    theirs = dict(made.named_modules())
    for name, part in module.named_modules():
        place = name or "the module itself"
        if name not in theirs or type(theirs[name]) is not type(part):
            kind = type(theirs[name]).__name__ if name in theirs else "nothing"
            yield f"{place} is {type(part).__name__}, there it is {kind}"
            return
        yield from (f"{place}: {text}" for text in _part_differences(part, theirs[name]))
    yield from (f"{name} is only there" for name in theirs.keys() - dict(module.named_modules()))


def _part_differences(part: Any, made: Any) -> Iterator[str]:
    from torch import nn

    for name in HOOKS:
        if getattr(part, name, None):
            yield f"a hook is registered on it ({name})"
    own = vars(part).keys() | vars(made).keys()
    for name in sorted(own - vars(nn.Module()).keys()):
        if not _is_equal(vars(part).get(name), vars(made).get(name)):
            yield f"{name} is {vars(part).get(name)!r:.60}, there {vars(made).get(name)!r:.60}"
    yield from _tensor_differences(part, made)


def _tensor_differences(part: Any, made: Any) -> Iterator[str]:
    import torch

    saved = part.state_dict(keep_vars=True)
    theirs = {**dict(_tensors(made))}
    for name, tensor in _tensors(part):
        other = theirs.pop(name, None)
        if other is None or (other.shape, other.dtype) != (tensor.shape, tensor.dtype):
            there = "nothing" if other is None else f"{other.dtype} of shape {list(other.shape)}"
            yield f"{name} is {tensor.dtype} of shape {list(tensor.shape)}, there {there}"
        elif name not in saved and not torch.equal(tensor.cpu(), other.cpu()):
            yield f"the buffer {name}, which a state_dict does not hold, has other numbers"
    yield from (f"{name} is only there" for name in theirs)


def _tensors(part: Any) -> Iterator[tuple[str, Any]]:
    yield from part.named_parameters(recurse=False)
    yield from part.named_buffers(recurse=False)


def _is_equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    try:
        return pickle.dumps(one) == pickle.dumps(other)
    except Exception:  # it cannot be written, so it is not known
        return False
