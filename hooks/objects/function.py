"""Functions, and objects that answer with another method than `predict`."""

import functools
import types
from typing import Any, ClassVar

from ..methods import CALL, PREDICT, WithMethods
from .custom import MODEL_FILE, Custom

FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial)


class Function(WithMethods, Custom):
    """A function of rows, or any object with the methods that the caller names."""

    name: ClassVar[str] = "function"
    label: ClassVar[str] = "a function, or a method of an object"
    models: ClassVar[str] = (
        "functions, and the methods of any object that you name with `method=`, that can be pickled"
    )
    files: ClassVar[tuple[str, ...]] = (MODEL_FILE,)
    defaults: ClassVar[tuple[str, ...]] = (PREDICT, CALL)

    def recognises(self, model: object) -> bool:
        return isinstance(model, FUNCTIONS)

    def check(self, model: Any) -> None:
        """What cannot answer, `answering` refuses."""

    def predict(self, model: Any, inputs: Any) -> Any:
        def call(method: str, rows: Any, **parameters: Any) -> Any:
            return getattr(model, method)(rows, **parameters)

        return self.called(call, inputs)
