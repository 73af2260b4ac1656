"""The owner's methods, each of which gets a context where it takes one."""

import inspect
import pickle
from collections.abc import Callable, Hashable
from typing import Any

from ..context import FIELD_NAME, Context, Headers, Received
from ..errors import LoadError, Unsendable
from ..words import listing
from .coroutines import is_async

NAMES = ("preprocess", "predict", "postprocess")
PARAMETER = "context"
SHARED = "shared_headers"

Hook = Callable[[dict[str, Any], Context | None], Any]


class Hooks:
    """The owner's InferenceModel, each of whose methods gets a context where it takes one.

    Args:
        model: the owner's InferenceModel.

    Attributes:
        preprocess, predict, postprocess: its methods, with a context as the second argument.
        reads_context: whether any of them takes one.
        reads_in_predict: whether `predict` does.
        later: the names of those that are `async def`.
        shared: the header fields that `predict` reads, in lower case; None if nothing is declared.

    Raises:
        LoadError: a method or `shared_headers` has another form.
    """

    preprocess: Hook
    predict: Hook
    postprocess: Hook

    def __init__(self, model: Any) -> None:
        takes = {}
        for name in NAMES:
            takes[name] = takes_context(model, name)
            setattr(self, name, _called(model, name, takes[name]))
        self.later = frozenset(name for name in NAMES if is_async(getattr(model, name)))
        self.reads_context = any(takes.values())
        self.reads_in_predict = takes["predict"]
        self.shared = _shared(model)

    @property
    def is_apart(self) -> bool:
        """Whether each request needs a call of `predict` of its own."""
        return "predict" in self.later or (self.reads_in_predict and self.shared is None)

    def of_predict(self, context: Context | None) -> Context | None:
        """The context that `predict` gets in a call that requests may share."""
        if context is None or self.shared is None or not self.reads_in_predict:
            return context
        sent = context.request.headers
        fields = [(name, sent[name]) for name in self.shared if name in sent]
        received = Received(headers=Headers(fields))
        return Context(received, context.parameters, context.model_version)

    def apart(self, context: Context | None) -> tuple[Hashable, ...]:
        """What must be equal in requests that share a call of `predict`."""
        if context is None or self.shared is None or not self.reads_in_predict:
            return ()
        fields = [context.request.headers.get(name) for name in self.shared]
        # `preprocess` may have left the parameters out of what it returned.
        return (*fields, _comparable(context.parameters))


def check_shared(context: Context | None) -> None:
    """Refuse an answer's status and fields that `predict` has set for several requests.

    Raises:
        Unsendable: it has set one.
    """
    if context is not None and (context.status != 200 or context.headers):
        raise Unsendable(
            "predict has set context.status or context.headers, and requests share its calls"
            f" ({SHARED}): set them in postprocess"
        )


def takes_context(model: Any, name: str) -> bool:
    """Whether a method of the owner's has a second parameter called `context`.

    Raises:
        LoadError: it needs other parameters.
    """
    method = getattr(model, name)
    try:
        parameters = list(inspect.signature(method).parameters.values())
    except (TypeError, ValueError):  # a callable without a signature, such as one written in C
        return False
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    if any(each.name == PARAMETER and each.kind in named for each in parameters[1:]):
        return True
    if not parameters:
        raise LoadError(
            f"{name}() in src/server/inference_model.py must take one parameter, or two of which"
            f" the second is called {PARAMETER}; it has none"
        )
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [
        each.name
        for each in parameters[1:]
        if each.default is inspect.Parameter.empty and each.kind not in variable
    ]
    if needed:
        raise LoadError(
            f"{name}() in src/server/inference_model.py must take one parameter, or two of which"
            f" the second is called {PARAMETER}; it also has {listing(needed)}"
        )
    return False


def _called(model: Any, name: str, takes_context: bool) -> Hook:
    # The method is looked up at each call, as in any object: the owner may set another one.
    if takes_context:
        return lambda value, context: getattr(model, name)(value, context=context or Context())
    return lambda value, _: getattr(model, name)(value)


def _comparable(value: Any) -> Hashable:
    """What is equal only for equal values. Those that cannot be pickled equal nothing."""
    if not value:
        return None
    try:
        return pickle.dumps(value)
    except Exception:
        return object()


def _shared(model: Any) -> tuple[str, ...] | None:
    declared = getattr(model, SHARED, None)
    if declared is None:
        return None
    is_list = isinstance(declared, (list, tuple, set, frozenset))
    if not is_list or not all(
        isinstance(name, str) and FIELD_NAME.fullmatch(name) for name in declared
    ):
        raise LoadError(
            f"{SHARED} of InferenceModel in src/server/inference_model.py must be a tuple of names"
            f' of header fields, as in ("x-tenant",), it is {declared!r:.200}'
        )
    return tuple(sorted(name.lower() for name in declared))
