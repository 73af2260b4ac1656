"""Models whose answers may come from another method than `predict`, or from several."""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

import numpy as np

from generator.arguments import NAME, argument
from generator.common import Methods, ModelFacts, listing, method_names, schema, shown
from generator.errors import ModelError, SettingError
from generator.owners import guarded
from generator.rows import arrays

from .base import WrittenModelScaffoldDefinition

PREDICT = "predict"
CALL = "__call__"
TYPES = ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"))
SHOWN = 12  # names in a message

Self = TypeVar("Self", bound="WithMethods")


class WithMethods(WrittenModelScaffoldDefinition):
    """A framework whose models answer with any of their methods.

    Attributes:
        methods: the names of those that answer.
        parameters: what a request may set of them.
    """

    defaults: ClassVar[tuple[str, ...]] = (PREDICT,)
    """The methods of which a model's first one answers where none is named."""

    methods: tuple[str, ...] = (PREDICT,)
    parameters: tuple[schema.Parameter, ...] = ()

    def answering(self: Self, model: Any, method: Any = None, parameters: Any = None) -> Self:
        named = _names(method) or self._default(model)
        for name in named:
            if not callable(getattr(model, name, None)):
                raise SettingError(
                    f"{argument('method')} {name!r}: {type(model).__name__} has no such method; it"
                    f" has {_listed(_methods(model))}"
                )
            check_returns(model, name)
        made = copy.copy(self)
        made.methods = named
        made.parameters = _parameters(model, named, parameters)
        return made

    def as_configured(self: Self, config: Any) -> Self:
        made = copy.copy(self)
        made.methods = method_names(getattr(config, "method", None))
        made.parameters = getattr(config, "parameters", None) or ()
        return made

    def tried(self: Self, model: Any, sample: Any) -> Self:
        made = copy.copy(self)
        made.parameters = tuple(self._tried(model, sample, each) for each in self.parameters)
        return made

    def _tried(self, model: Any, sample: Any, parameter: schema.Parameter) -> schema.Parameter:
        """A parameter with the outputs that a flag brings.

        Raises:
            SettingError: it brings something that is not one thing a row.
        """
        if parameter.type != "boolean":
            return parameter
        asked = copy.copy(self)
        flipped = replace(parameter, default=not parameter.default)
        asked.parameters = (flipped,)
        with guarded(f"the model cannot predict with {parameter.name}={flipped.default}"):
            together = _form(asked.predict(model, sample))
            alone = _form(asked.predict(model, arrays.first(sample)))
        if together != alone:
            raise SettingError(
                f"{argument('parameters')}: {parameter.name}={flipped.default} gives something that"
                " depends on the number of rows: leave it out"
            )
        usual = self.predict(model, arrays.first(sample))
        if together == _form(usual) or not isinstance(together, dict):
            return parameter
        return replace(parameter, outputs=tuple(together))

    @property
    def predicts(self) -> bool:
        """Whether `predict` alone answers."""
        return self.methods == (PREDICT,)

    def facts(self, model: Any) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        if not self.predicts:
            facts["method"] = list(self.methods)
            if len(self.methods) == 1:
                [facts["method"]] = self.methods
        if self.parameters:
            facts["parameters"] = [schema.as_document(each) for each in self.parameters]
        return facts

    def called(self, call: Callable[..., Any], inputs: Any) -> Any:
        """What the methods give for rows, as the scaffold answers it.

        Args:
            call: calls a method: takes its name, the rows and parameters by name.
            inputs: rows as the model takes them.
        """
        facts = ModelFacts(method=self.methods, parameters=self.parameters)
        return Methods(facts).predictions(call, inputs, {})

    def _default(self, model: Any) -> tuple[str, ...]:
        for name in self.defaults:
            if callable(getattr(model, name, None)):
                return (name,)
        raise ModelError(
            f"{type(model).__name__} has no {_listed(self.defaults)}: name the method that answers,"
            f" as in {argument('method', NAME)}; it has {_listed(_methods(model))}"
        )


def check_returns(model: Any, method: str) -> None:
    """Check that a method returns its predictions when it is called.

    Raises:
        ModelError: it is `async`, or a generator.
    """
    target = model if method == CALL else getattr(model, method)
    if inspect.iscoroutinefunction(target):
        kind, fix = "async", "asyncio.run"
    elif inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
        kind, fix = "a generator", "list"
    else:
        return
    name = getattr(target, "__qualname__", type(model).__name__)
    raise ModelError(
        f"{name} is {kind} and returns no predictions: pass one that does, with {fix}(...) in it"
    )


def _names(method: Any) -> tuple[str, ...]:
    """The methods that were named; none if none was."""
    if method is None:
        return ()
    if isinstance(method, str):
        method = [method]
    if not isinstance(method, Sequence) or not all(isinstance(name, str) for name in method):
        raise SettingError(
            f"{argument('method')} {method!r}: pass the name of a method, or a list of names"
        )
    if not method or len(set(method)) < len(method):
        raise SettingError(
            f"{argument('method')} {list(method)}: name at least one method, and each once"
        )
    return tuple(method)


def _methods(model: Any) -> list[str]:
    """The public methods of a model that may take rows."""
    names = [name for name in dir(model) if not name.startswith("_")]
    return [name for name in names if inspect.ismethod(getattr(model, name, None))]


def _listed(names: Sequence[str]) -> str:
    if len(names) > SHOWN:
        return f"{listing(list(names[:SHOWN]))} and others"
    return listing(list(names)) or "none"


def _form(predictions: Any) -> Any:
    """The names of what a prediction holds, with their shapes; the shape of one without names."""
    first = predictions[0]
    if isinstance(first, dict):
        return {name: np.shape(value) for name, value in first.items()}
    return np.shape(first)


# ---- what a request may set ----


def _parameters(model: Any, methods: Sequence[str], given: Any) -> tuple[schema.Parameter, ...]:
    if given is None:
        return ()
    if isinstance(given, str) or not isinstance(given, (Mapping, Sequence)):
        raise SettingError(
            f"{argument('parameters')} {given!r}: pass a list of names, or a dict of names to their"
            " defaults"
        )
    defaults = given if isinstance(given, Mapping) else dict.fromkeys(given)
    return tuple(_parameter(model, methods, *pair) for pair in defaults.items())


def _parameter(model: Any, methods: Sequence[str], name: Any, default: Any) -> schema.Parameter:
    taking = {method: found for method in methods if (found := _taken(model, method, name))}
    if not isinstance(name, str) or not taking:
        known = sorted({each for method in methods for each in _named(model, method)})
        raise SettingError(
            f"{argument('parameters')}: {shown(name)} is no parameter of {_listed(methods)}; it"
            f" must be one of {_listed(known)}"
        )
    if default is not None and not isinstance(default, (bool, int, float, str, list, dict)):
        raise SettingError(
            f"parameters: the default of {name!r} must be a value that JSON has, it is"
            f" {type(default).__name__}"
        )
    own = [found.default for found in taking.values()]
    if own[0] is None:  # scikit-learn's way to say: as the estimator itself
        own[0] = getattr(model, name, None)
    return schema.Parameter(
        name,
        _type_of(own[0] if default is None else default),
        default,
        None if len(taking) == len(methods) else tuple(taking),
    )


def _type_of(value: Any) -> str:
    return next((name for kind, name in TYPES if isinstance(value, kind)), "any")


def _taken(model: Any, method: str, name: Any) -> inspect.Parameter | None:
    """The parameter of a method; None if the method does not take it."""
    found = _signature(model, method)
    if name in list(found)[:1]:  # the rows
        return None
    if name in found and found[name].kind not in (
        inspect.Parameter.VAR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.POSITIONAL_ONLY,
    ):
        return found[name]
    any_name = [each for each in found.values() if each.kind is inspect.Parameter.VAR_KEYWORD]
    return next(iter(any_name), None)


def _named(model: Any, method: str) -> list[str]:
    """The parameters of a method that have a name, without its first, the rows."""
    others = list(_signature(model, method).values())[1:]
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [each.name for each in others if each.kind in kinds]


def _signature(model: Any, method: str) -> Mapping[str, inspect.Parameter]:
    target = model if method == CALL else getattr(model, method)
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):  # written in C
        return {}
