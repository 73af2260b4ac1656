"""Whatever pickle writes by name counts under the module and the name that pickle writes."""

import copyreg
import enum
import functools
import operator
import pickletools
import sys
from collections.abc import Iterator
from pickle import dumps
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from generator.capture import by_value
from generator.capture.collect import capture
from generator.capture.pickle_references import Named, definitions, references
from generator.environment.installed import Environment
from generator.errors import ModelError


class Mode(enum.Enum):
    FAST = 1


class Missing:
    """A singleton: its pickle is its name."""

    def __reduce__(self) -> str:
        return "MISSING"

    @classmethod
    def made(cls) -> "Missing":
        return MISSING


MISSING = Missing()


class Registered:
    """Pickled by what copyreg has for it."""


REGISTERED = Registered()
copyreg.pickle(Registered, lambda value: "REGISTERED")  # type: ignore[arg-type,return-value]

BY_NAME = {
    "a class": Mode,
    "a builtin function": len,
    "a builtin method": "a".join,
    "a method of a type": dict.fromkeys,
    "a function of C in a package": np.dot,
    "a ufunc": np.add,
    "a numpy dtype": np.dtype("f4"),
    "a numpy scalar type": np.float32,
    "a partial": functools.partial(accuracy_score, normalize=False),
    "a member of an enum": Mode.FAST,
    "a singleton": MISSING,
    "what copyreg has": REGISTERED,
    "a class method": Missing.made,
    "an operator": operator.attrgetter("x"),
    "an ellipsis": ...,
    "the type of None": type(None),
}


def written(pickled: bytes) -> Iterator[str]:
    """The modules of the names in a pickle: the first of each pair that STACK_GLOBAL takes."""
    texts: list[str] = []
    memo: dict[int, str] = {}
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "STACK_GLOBAL":
            yield texts[-2]
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = texts[-1] if texts else ""
        elif opcode.name in ("BINGET", "LONG_BINGET"):
            texts.append(memo[argument])
        elif isinstance(argument, str):
            texts.append(argument)


@pytest.mark.parametrize("value", BY_NAME.values(), ids=BY_NAME)
def test_each_module_that_pickle_writes_is_found(value: Any) -> None:
    found = {named.module for named in definitions([value])}
    assert set(written(dumps([value]))) <= found | set(references([value]))


def test_a_dtype_of_torch_belongs_to_torch() -> None:
    torch = pytest.importorskip("torch")
    values = [torch.float32, torch.channels_last, torch.device("cpu"), torch.nn.functional.gelu]
    found = definitions(values)
    assert capture(found, Environment()).files == {}
    modules = {named.module.partition(".")[0] for named in found}
    # pickle finds torch.channels_last in a module that imported all of torch's names before
    assert modules - {"polars", "sklearn"} == {"torch"}
    assert set(references(values)) <= {named.module for named in found} | {"builtins"}


def test_code_by_value_refers_to_functions_of_c_and_to_what_it_imports() -> None:
    from _bisect import bisect_left

    def step(X: Any) -> Any:
        from email import message

        import scipy.special

        return scipy.special.expit(bisect_left(X, MISSING)), message, np.add

    named, modules = by_value.references(step)
    assert {"_bisect.bisect_left", f"{__name__}.MISSING"} <= set(map(str, named))
    assert {"scipy.special", "email", "email.message", "numpy"} <= set(modules)


def test_a_value_of_the_session_that_is_pickled_by_name_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "MISSING", MISSING, raising=False)
    with pytest.raises(ModelError, match=r"^__main__\.MISSING is pickled by name, and no source"):
        capture([Named(MISSING, "__main__", "MISSING")], Environment())
