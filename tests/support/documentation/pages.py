"""Runs the examples of a page of the documentation, from top to bottom.

Each page has one Python namespace and one empty directory.

- A python block is run. A text block right after it is what it prints.
- In a console block, lines that begin with "$ " are commands, the others their output. `pip
  install` is not run: what it names must be installed, or be this distribution.
- A diff block is an edit of a file in the page's directory.
- `...` in an output stands for anything.
- A server runs until the next one or the end of the page. Port 8080 becomes a free one; a python
  block that serves must name it.
- A console block with a docker command is left out where there is no Docker engine.
- A block after `<!-- skip: next "why" -->` is not run, nor is one of any other language.
"""

import os
import re
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest import SkipTest

from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser, SkipParser

from support.documentation import edits
from support.documentation.commands import PORT, Commands, Failure, parse, with_port
from support.documentation.comparing import difference, matches
from support.documentation.session import PythonSession
from support.rendering.checkouts import ROOT

DOCKER = re.compile(r"(?m)^\$ docker\b")
IMAGE = re.compile(r"(?<= -t )[\w.-]+")
# What a reader sees as such a block, and no parser finds.
UNKNOWN = re.compile(
    r"(?m)^[ \t]*```[ \t]*"
    r"(?:(?:python|console|text|diff)[^\w\n]+\S.*|py|python3|pycon|bash|sh|shell)$"
)


def run_page(path: Path, directory: Path, docker: Mapping[str, str] | None = None) -> None:
    """Run the examples of a page.

    Args:
        path: the page.
        directory: an empty directory.
        docker: an environment in which `docker` reaches an engine; without it, blocks with docker
            commands are left out.

    Raises:
        Failure: an example did something else than the page says.
    """
    examples = _Examples(path, directory, docker)
    try:
        examples.run()
    finally:
        examples.close()


def has_docker(path: Path) -> bool:
    """Whether a page has docker commands that are run."""
    return DOCKER.search(path.read_text()) is not None


class _Examples:
    def __init__(self, path: Path, directory: Path, docker: Mapping[str, str] | None) -> None:
        self._path = path
        self._directory = directory
        self._docker = docker
        self._port = _free_port()
        environ = _environ(docker or os.environ, directory.parent)
        self._environ = environ
        self._python: PythonSession | None = None
        self._commands = Commands(directory, environ, self._port)
        self._printed: tuple[int, str] | None = None  # where the last python block ended

    def run(self) -> None:
        parsers = {"python": self._run_python, "text": self._compare}
        parsers |= {"console": self._run_commands, "diff": self._edit}
        page = Document.parse(
            str(self._path), SkipParser(), *(CodeBlockParser(*each) for each in parsers.items())
        )
        if unknown := UNKNOWN.search(page.text):
            raise Failure(f"{self._path}: {unknown[0].strip()} would not be run")
        for example in page:
            try:
                example.evaluate()
            except SkipTest:
                self._printed = None
            except Failure as failure:
                raise Failure(f"{self._path}, line {example.line}: {failure}") from None

    def close(self) -> None:
        self._commands.close()
        if self._python is not None:
            self._python.close()

    def _run_python(self, example: Example) -> None:
        name = f"<{self._path.name}, line {example.line}>"
        if self._python is None:
            self._python = PythonSession(self._directory, self._environ)
        printed, failure = self._python.run(name, with_port(example.parsed, self._port))
        if failure is not None:
            raise Failure(f"{failure}\n{printed}")
        self._printed = example.end, with_port(printed, PORT, self._port)

    def _compare(self, example: Example) -> None:
        if self._printed is None:
            return
        end, printed = self._printed
        between = example.document.text[end : example.start]
        if not between.strip() and not matches(example.parsed, printed):
            raise Failure(difference(example.parsed, printed))

    def _run_commands(self, example: Example) -> None:
        self._printed = None
        if DOCKER.search(example.parsed):
            if self._docker is None:
                return
            for command, shown in parse(example.parsed):
                self._commands.run(IMAGE.sub(rf"\g<0>_{self._port}", command), shown)
            return
        for command, shown in parse(example.parsed):
            self._commands.run(command, shown)

    def _edit(self, example: Example) -> None:
        self._printed = None
        edits.apply(example.parsed, self._directory)


def _environ(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """An environment with this generator and this Python, and a curl that tells no progress."""
    (home / ".curlrc").write_text("silent\nshow-error\n")
    paths = [str(Path(sys.executable).parent), environ.get("PATH", "")]
    imports = [str(ROOT), environ.get("PYTHONPATH", "")]
    roles = [f"GIT_{role}_{key}" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")]
    return {
        **environ,
        **dict.fromkeys(roles, "docs"),
        "CURL_HOME": str(home),
        "PATH": os.pathsep.join(paths),
        "PYTHONPATH": os.pathsep.join(filter(None, imports)),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
