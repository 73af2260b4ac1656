"""Checks that a scaffold works elsewhere.

Its worker runs without the owner's own modules, and with no package but those that its
requirements install.
"""

import contextlib
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import layout
from ..environment import isolation
from ..environment.installed import Environment, Installed
from ..errors import ModelError, ServingError
from .log_lines import owners_traceback
from .runtime import Worker
from .worker import LocalWorker


@dataclass(frozen=True)
class Site:
    """What a worker may import, besides the scaffold and the standard library.

    Attributes:
        path: the directories to import from.
        present: the distributions in them; None if all that are installed here are.
    """

    path: list[str]
    present: list[Installed] | None


@contextlib.contextmanager
def site(directory: Path, environment: Environment, given: Sequence[Path]) -> Iterator[Site]:
    """What a scaffold's requirements install, as far as it is installed here, and nothing else.

    Args:
        directory: the scaffold.
        environment: what is installed here.
        given: files and packages here that requirements of another form provide.
    """
    file = directory / layout.REQUIREMENTS
    present = None
    if file.is_file():
        present = isolation.required(file.read_text(encoding="utf-8"), environment)
    outside = [place for place in given if str(place.parent) not in environment.path]
    projects = [str(place.parent) for place in outside]
    if present is None:
        yield Site([*environment.path, *projects], None)
        return
    with tempfile.TemporaryDirectory(prefix="scaffold-environment.") as made:
        # some packages look for their own directory by this name
        packages = Path(made) / "site-packages"
        packages.mkdir()
        isolation.link(present, packages)
        for place in given:
            if place not in outside and not (packages / place.name).exists():
                (packages / place.name).symlink_to(place)
        yield Site([str(packages), *projects], present)


class CleanWorker(LocalWorker):
    """A scaffold's worker where the owner's own files are out of reach. `worker` makes it."""

    def started(self) -> Worker:
        """The process, which has loaded the model.

        Raises:
            ModelError: the model does not load there; the message says what is missing.
        """
        try:
            return super().started()
        except ServingError as error:
            raise ModelError(f"the scaffold would not load elsewhere: {error}") from error

    def ask(self, body: bytes, fields: Sequence[tuple[bytes, bytes]] = ()) -> tuple[int, bytes]:
        """Send a JSON body through the whole flow. Returns 200 and the body of the answer.

        Raises:
            ModelError: the model does not load or predict there; the message says what is missing.
        """
        try:
            status, answer = super().ask(body, fields)
        except ServingError as error:
            raise ModelError(f"the scaffold would not predict elsewhere: {error}") from error
        if status >= 400:
            content = json.loads(answer)
            said = content.get("error", f"it answers with status {status}")
            failed = ModelError(f"the scaffold would not predict elsewhere: {said}")
            raise failed from owners_traceback(content)
        return status, answer


@contextlib.contextmanager
def worker(directory: Path, path: Sequence[str], hidden: Sequence[Path]) -> Iterator[CleanWorker]:
    """A worker of a scaffold in a clean process.

    Args:
        directory: the scaffold.
        path: the directories that the worker may import from, besides the scaffold and the standard
            library.
        hidden: the directories whose files it must not read.
    """
    with contextlib.ExitStack() as stack:
        python = None
        if hidden:
            shown = [
                str(directory.resolve()),
                *path,
                sys.prefix,
                sys.base_prefix,
                tempfile.gettempdir(),
            ]
            real = [os.path.realpath(place) for place in shown]
            settings = {"hidden": list(map(str, hidden)), "shown": real}
            python = stack.enter_context(_interpreter(settings))
        made = CleanWorker(directory, path, python, shown=False)
        yield stack.enter_context(contextlib.closing(made))


@contextlib.contextmanager
def _interpreter(settings: dict[str, list[str]]) -> Iterator[str | None]:
    """A command that stands for this interpreter, and runs `elsewhere.py` with the settings.

    None where no file in the temporary directory can be executed: then nothing is hidden.
    """
    program = [sys.executable, "-S", str(Path(__file__).with_name("elsewhere.py"))]
    with tempfile.TemporaryDirectory(prefix="scaffold-check.") as place:
        script = Path(place) / "python"
        command = shlex.join([*program, json.dumps(settings)])
        script.write_text(f'#!/bin/sh\nshift\nexec {command} "$@"\n')  # without the option -E
        script.chmod(0o700)
        if os.access(script, os.X_OK):
            yield str(script)
        else:
            yield None
