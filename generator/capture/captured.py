"""What a capture collects: files for `src/model/`, and the names that the model's pickle uses."""

import contextlib
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

SESSION_CODE = "session_code"
PICKLED_CODE = "pickled_code"
CHANGED_CODE = "changed_code"
PICKLE = f"{PICKLED_CODE}.pickle"
CHANGES = f"{CHANGED_CODE}.pickle"
OWN_CODE = (SESSION_CODE, PICKLED_CODE, CHANGED_CODE)
RESERVED = {"__main__", "common", "server", "model", "inference_server", *OWN_CODE}


@dataclass
class Captured:
    """The user's own code that a model needs.

    Attributes:
        files: maps a path in `src/model/` to its content.
        data: maps a path in `src/model/` to the file that is copied there.
        modules: the modules that these files provide.
        imports: maps each module of an installed distribution that the files import, to one of
            the files that import it.
        path: directories for `sys.path`, from which none of the user's own code is importable.
        given: the files and packages of modules that the user's requirement lines provide.
        roots: the directories that the user's own modules are imported from.
        names: the session's definitions, each with the module and the name that it has in the
            scaffold.
        sources: maps each module that has a file of source in `files`, to that.
        changed: what is put back into the code because the session had changed it, by name.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    data: dict[str, Path] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)
    imports: dict[str, str] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    given: list[Path] = field(default_factory=list)
    roots: list[Path] = field(default_factory=list)
    names: list[tuple[Any, str, str]] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)

    @property
    def by_value(self) -> list[str]:
        """What is pickled by value: only the running minor version of Python reads it."""
        values = [value.__qualname__ for value, module, _ in self.names if module == PICKLED_CODE]
        return [*values, *self.changed]

    def outside(self, references: Mapping[str, str]) -> dict[str, str]:
        """The references whose module is not captured. A distribution must provide these."""
        return {module: name for module, name in references.items() if module not in self.modules}

    @property
    def digests(self) -> dict[str, str]:
        """Maps each path in `src/model/` to the SHA-256 of what is written there."""
        data = {name: _sha256(file) for name, file in self.data.items()}
        return {**data, **{name: sha256(text).hexdigest() for name, text in self.files.items()}}

    def write(self, directory: Path) -> None:
        """Write the files into a scaffold's `src/model/`."""
        for name in (*self.data, *self.files):
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
        for name, source in self.data.items():
            shutil.copyfile(source, directory / name)
        for name, content in self.files.items():
            (directory / name).write_bytes(content)

    @contextlib.contextmanager
    def renamed(self) -> Iterator[None]:
        """Inside this context, the session's definitions have the names of their scaffold modules.

        A pickle that is written here refers to `session_code.NAME` and `pickled_code.NAME`.
        """
        with contextlib.ExitStack() as stack:
            for module in (SESSION_CODE, PICKLED_CODE):
                stack.enter_context(_in_sys_modules(module, self.members(module)))
            for value, module, name in self.names:
                stack.enter_context(named(value, module, name))
            yield

    def members(self, module: str) -> dict[str, Any]:
        """The top-level definitions of a scaffold module, by name."""
        return {
            name: value for value, home, name in self.names if home == module and "." not in name
        }


def _sha256(file: Path) -> str:
    found = sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()


@contextlib.contextmanager
def _in_sys_modules(name: str, members: Mapping[str, Any]) -> Iterator[None]:
    """Put a module with these members into `sys.modules`, in place of any with that name."""
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
def named(definition: Any, module: str, name: str) -> Iterator[None]:
    """Inside this context, a definition has another module and another qualified name."""
    # Python 3.13 deletes __firstlineno__ when __module__ is set
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
