"""Makes `requirements.lock` with uv: for one version of Python, on Linux and, if it can be, macOS.

Only wheels are locked. What is built has no hash of its own, and what its build installs has none.
"""

import itertools
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from packaging.markers import Marker

from ..errors import RequirementError, TargetError
from ..files import exchange
from ..layout import DOCKERFILES, LOCK, REQUIREMENTS, WHEELS
from ..progress import step
from .lock import STAMP, Lock, command, digest_of_packages, source_digest, wheels
from .venvs import MAX_OUTPUT, uv

COPY = "requirements.loc[k]"
"""How the Dockerfile names the file, which may be absent."""
OPTIONS = ("--generate-hashes", "--only-binary", ":all:", "--index-strategy", "unsafe-best-match")
LINUX, MACOS = "linux", "darwin"
MACHINES = {LINUX: ("Linux", ("x86_64", "aarch64")), MACOS: ("Darwin", ("arm64", "x86_64"))}
NAMES = {(LINUX, MACOS): "Linux and macOS", (LINUX,): "Linux alone"}
BUILT = re.compile(r"[^#]*\b(git|hg|svn|bzr)\+")
OTHER_FILE = re.compile(r"\s*(-[rce]|--requirement|--constraint|--editable)")
OPTION = re.compile(r"-(?!-hash)")
NO_WHEEL = "building"  # in what uv says where there is no wheel
FIX = f"put a wheel of it into {WHEELS}/ (`pip wheel --no-deps -w {WHEELS} PACKAGE`)"
DIGEST = r"""
#   of=$(awk '{ sub(/(^|[ \t\r]+)#.*/, ""); sub(/[ \t\r]+$/, "") } length' requirements.txt |
#     cat - $(find wheels -name '*.whl' 2>/dev/null | LC_ALL=C sort) | sha256sum | cut -c 1-64)"""
HEADER = """\
# All that requirements.txt needs, each package at one version, with the hashes of its files.
# Where this file is there, the image is built from it. It is made, not written: edit
# requirements.txt, then renew it, in this directory:
#   python -m generator lock .
# Without the generator, with uv alone, and for Linux on x86-64 alone:{digest}
#   find wheels -name '*.whl' 2>/dev/null | uv pip compile requirements.txt - \\
#     -o requirements.lock --custom-compile-command "of $of" \\
#     --python-version {version} --python-platform linux {indexes}\\
#     {options}
"""


def make(directory: Path, version: str) -> Path:
    """Write a scaffold's `requirements.lock`; what an earlier one locked stays where it still fits.

    Args:
        directory: the scaffold's.
        version: the version of Python, as in "3.11".

    Raises:
        RequirementError: there is no uv; a package cannot be locked or is not found; the lock there
            may hold edits of the owner's; or the Dockerfile is of a template that knows no lock.
        TargetError: the file cannot be written.
    """
    _check_dockerfile(directory)
    text = (directory / REQUIREMENTS).read_text(encoding="utf-8", errors="replace")  # uv refuses it
    _check_lines(text.splitlines())
    options = [line.rstrip() for line in text.splitlines() if OPTION.match(line)]
    source, before = source_digest(directory), _locked_before(directory)
    with tempfile.TemporaryDirectory(prefix="scaffold-lock.") as place:
        file = Path(place) / LOCK
        file.write_text(before, encoding="utf-8")
        with step("Locking the packages"):
            systems = _compile(directory, version, file)
        packages = _packages(file.read_text(encoding="utf-8"), version, systems)
        body = "".join(f"{line}\n" for line in (*options, *packages))
        stamp = STAMP.format(
            version=version,
            systems=NAMES[systems],
            source=source,
            itself=digest_of_packages(body),
        )
        file.write_text(_header(version, bool(options)) + stamp + body, encoding="utf-8")
        _write(directory, file)
    return directory / LOCK


def _write(directory: Path, file: Path) -> None:
    try:
        exchange(directory, {LOCK: file})
    except OSError as error:
        raise TargetError(f"{directory / LOCK} cannot be written: {error.strerror}") from error


def _header(version: str, has_options: bool) -> str:
    return HEADER.format(
        digest=DIGEST,
        version=version,
        indexes="--emit-index-url --emit-find-links " if has_options else "",
        options=" ".join(OPTIONS),
    )


def _check_dockerfile(directory: Path) -> None:
    for file in directory.glob(DOCKERFILES):
        if COPY not in file.read_text(encoding="utf-8"):
            raise RequirementError(
                f"{file.name} installs nothing from {LOCK}: run `python -m generator update` for"
                " the scaffold first"
            )


def _check_lines(lines: list[str]) -> None:
    """Refuse lines that no lock can hold."""
    for line in lines:
        shown = repr(line.partition(" #")[0].strip())
        if BUILT.match(line):
            raise RequirementError(
                f"{REQUIREMENTS}: {shown} cannot be locked, because what is built has no hash:"
                f" write NAME==VERSION, and {FIX}"
            )
        if OTHER_FILE.match(line):
            raise RequirementError(
                f"{REQUIREMENTS}: {shown} cannot be locked, because the image has no other file"
                " than this: write its lines here"
            )


def _locked_before(directory: Path) -> str:
    """The packages of the lock before, after a check that it holds nothing of the owner's."""
    lock = Lock.read(directory)
    if lock is None:
        return ""
    if not lock.is_as_made:
        raise RequirementError(
            f"{directory / LOCK} is not as the generator wrote it, and may hold edits of yours:"
            f" write them into {REQUIREMENTS}, remove {LOCK}, and run `{command(directory)}`"
        )
    return "".join(line for line in lock.text.splitlines(True) if not OPTION.match(line))


def _compile(directory: Path, version: str, file: Path) -> tuple[str, ...]:
    """Have uv write all packages into a file. It keeps the versions that it finds there.

    Returns:
        The systems that they are for: without macOS where a package has no wheel for that.
    """
    found = uv()
    if found is None:
        raise RequirementError(f"{LOCK} is made by uv, which is not found: run `pip install uv`")
    for systems in NAMES:
        _write_project(file.parent, version, systems)
        done = _run(found, directory, version, file)
        if done.returncode == 0:
            return systems
        if MACOS not in done.stderr:
            break
    output = " ".join(done.stderr.split()).removeprefix("error: ")[:MAX_OUTPUT]
    fix = f"; {FIX}" if NO_WHEEL in output.lower() else ""
    raise RequirementError(f"{LOCK} cannot be made of {directory / REQUIREMENTS}: {output}{fix}")


def _run(
    found: str, directory: Path, version: str, file: Path
) -> "subprocess.CompletedProcess[str]":
    settings = ("--quiet", "--color", "never", "--no-header", "--project", str(file.parent))
    python = ("--universal", "--python", sys.executable, "--python-version", version)
    target = ("--output-file", str(file))
    named = "".join(f"./{wheel.relative_to(directory)}\n" for wheel in wheels(directory))
    return subprocess.run(
        [found, "pip", "compile", *settings, *python, *target, *OPTIONS, REQUIREMENTS, "-"],
        cwd=directory,
        input=named,
        capture_output=True,
        text=True,
    )


def _write_project(place: Path, version: str, systems: tuple[str, ...]) -> None:
    """Tell uv for what to resolve: another system or Python may have no solution."""
    major, minor = version.split(".")
    python = f"python_full_version < '{major}.{int(minor) + 1}'"
    markers = [f"{python} and sys_platform == '{name}'" for name in systems]
    text = f"[tool.uv]\nenvironments = {json.dumps(markers)}\n"
    (place / "pyproject.toml").write_text(text, encoding="utf-8")


def _packages(compiled: str, version: str, systems: tuple[str, ...]) -> Iterator[str]:
    """The lines that uv has written, without markers that hold wherever the lock is for.

    Raises:
        RequirementError: a package has no hash.
    """
    environments = list(_environments(version, systems))
    for line in compiled.splitlines():
        if line.startswith((" ", "#")) or not line:
            yield line
            continue
        if not line.endswith(" \\"):
            raise RequirementError(
                f"{REQUIREMENTS}: {line.partition(' ; ')[0]} cannot be locked, because it has no"
                f" hash: write NAME==VERSION, and {FIX}"
            )
        name, _, marker = line.removesuffix(" \\").partition(" ; ")
        holds = not marker or all(map(Marker(marker).evaluate, environments))
        yield f"{name} \\" if holds else line


def _environments(version: str, systems: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """What markers are evaluated with: the first and a late release of Python on each platform."""
    for system in systems:
        name, machines = MACHINES[system]
        for machine, release in itertools.product(machines, ("0", "99")):
            yield {
                "os_name": "posix",
                "sys_platform": system,
                "platform_system": name,
                "platform_machine": machine,
                "python_version": version,
                "python_full_version": f"{version}.{release}",
            }
