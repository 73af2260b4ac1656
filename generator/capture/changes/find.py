"""Finds what is no longer as its source says: classes and functions that the session changed.

The captured code is imported in a clean process. What its definitions hold there is what their
source says; it is compared with what they hold here.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ..captured import SESSION_CODE, Captured
from . import snapshot

_SCRIPT = Path(snapshot.__file__)
_MOST_SECONDS = 600


@dataclass(frozen=True)
class Change:
    """What a place in captured code holds here, and not where only its source has run.

    Attributes:
        module: the module, as the scaffold names it.
        qualname: the class or the function in it; "" for the module itself.
        name: the attribute.
        values: the value here; empty if it was deleted.
    """

    module: str
    qualname: str
    name: str
    values: tuple[Any, ...]

    def __str__(self) -> str:
        return ".".join(filter(None, [self.module, self.qualname, self.name]))

    @property
    def place(self) -> tuple[str, str, str]:
        """Where it is."""
        return self.module, self.qualname, self.name

    @property
    def is_exact(self) -> bool:
        """Whether the change, once it is written, must be equal: an object may differ in caches."""
        return all(map(snapshot.is_code, self.values)) or snapshot.is_plain(list(self.values))


def changes(captured: Captured, source: Path, path: Sequence[str]) -> list[Change]:
    """What the session has changed in captured code after its source had run.

    Args:
        captured: the code.
        source: a scaffold's `src/`, with the code in it.
        path: the directories to import from, besides the scaffold and the standard library.

    Raises:
        ModelError: the code does not come to an end when it is imported.
    """
    members = dict(_members(captured))
    with captured.renamed():
        written = _written(list(members), source, path)
        found = [
            change
            for module, inside in members.items()
            if isinstance(written[module], list)  # else it cannot be imported: the worker tells why
            for change in _differences(module, inside, written[module])
        ]
    changed = {".".join(change.place) for change in found}
    return [each for each in found if f"{each.module}.{each.qualname}" not in changed]


def _members(captured: Captured) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The captured modules that are loaded here, with their members."""
    session = captured.members(SESSION_CODE)
    if session:
        yield SESSION_CODE, session
    for module in sorted(captured.modules):
        if module in captured.sources and module in sys.modules:
            members = vars(sys.modules[module]).items()
            yield module, {name: value for name, value in members if not _is_generators(value)}


def _is_generators(value: Any) -> bool:
    """Whether something is the generator's own: something else stands for it in a scaffold."""
    return str(getattr(value, "__module__", "")).partition(".")[0] == __name__.partition(".")[0]


def _written(modules: list[str], source: Path, path: Sequence[str]) -> dict[str, Any]:
    """The fingerprints of the modules in a clean process, as a scaffold's worker imports them."""
    search = [*path, str(source / "model")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(search), "PYTHONHASHSEED": "0"}
    with tempfile.TemporaryDirectory(prefix="scaffold-snapshot.") as place:
        result = Path(place) / "result.json"
        script = _SCRIPT.read_text(encoding="utf-8")
        try:
            done = subprocess.run(
                [sys.executable, "-S", "-c", script, str(result), *modules],
                cwd=source,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_MOST_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise ModelError(
                f"importing {', '.join(modules)} takes more than {_MOST_SECONDS} s: put what trains"
                " the model under `if __name__ == '__main__':`"
            ) from None
        if done.returncode or not result.exists():
            return dict.fromkeys(modules)
        found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


def _differences(module: str, members: Mapping[str, Any], written: list[Any]) -> Iterator[Change]:
    there = {(qualname, name): fingerprint for qualname, name, fingerprint in written}
    here = dict(snapshot.places(members, module))
    for place, value in here.items():
        if snapshot.fingerprint(value) != there.get(place):
            yield Change(module, *place, (value,))
    holders = {qualname for qualname, _ in here}
    for place in there.keys() - here.keys():
        if place[0] in holders and place[0] and place[1] not in snapshot.DEFAULTS:
            yield Change(module, *place, ())
