"""What is captured of the owner's own code: files for `src/model/`, and the names to write the model with."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

SESSION_CODE = "session_code"
PICKLED_CODE = "pickled_code"
PICKLE = f"{PICKLED_CODE}.pickle"
RESERVED = {"__main__", "common", "server", "model", "inference_server", SESSION_CODE, PICKLED_CODE}


@dataclass
class Captured:
    """Code that travels with the model.

    Attributes:
        files: path in `src/model/` to content.
        modules: the names under which the model's file refers to them.
        imports: each module that they import and an installed distribution holds, to the file that imports it.
        path: the directories to import from where nothing of the owner's is importable.
        names: the definitions to refer to by another module and name, while the model is written.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)
    imports: dict[str, str] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    names: list[tuple[Any, str, str]] = field(default_factory=list)

    @property
    def by_value(self) -> list[str]:
        """What is pickled by value, which ties the scaffold to the running minor version of Python."""
        return [value.__qualname__ for value, module, _ in self.names if module == PICKLED_CODE]

    def outside(self, references: Mapping[str, str]) -> dict[str, str]:
        """Those of the modules that an installed distribution must hold."""
        return {module: name for module, name in references.items() if module not in self.modules}

    def write(self, directory: Path) -> None:
        """Write the files into a scaffold's `src/model/`."""
        for file, content in self.files.items():
            (directory / file).parent.mkdir(parents=True, exist_ok=True)
            (directory / file).write_bytes(content)

    @contextlib.contextmanager
    def renamed(self) -> Iterator[None]:
        """While it lasts, whatever refers to the session's definitions by name names the modules in the scaffold."""
        with contextlib.ExitStack() as stack:
            for module in (SESSION_CODE, PICKLED_CODE):
                members = {
                    name: value
                    for value, to, name in self.names
                    if to == module and "." not in name
                }
                stack.enter_context(_stand_in(module, members))
            for value, module, name in self.names:
                stack.enter_context(_named(value, module, name))
            yield


@contextlib.contextmanager
def _stand_in(name: str, members: Mapping[str, Any]) -> Iterator[None]:
    module, before = ModuleType(name), sys.modules.get(name)
    vars(module).update(members)
    sys.modules[name] = module
    try:
        yield
    finally:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before


@contextlib.contextmanager
def _named(definition: Any, module: str, name: str) -> Iterator[None]:
    # Python 3.13 drops a class's first line when its module is set
    kept = ("__module__", "__qualname__", "__firstlineno__")
    before = {
        attribute: getattr(definition, attribute)
        for attribute in kept
        if hasattr(definition, attribute)
    }
    try:
        definition.__module__, definition.__qualname__ = module, name
        yield
    finally:
        for attribute, value in before.items():
            setattr(definition, attribute, value)
