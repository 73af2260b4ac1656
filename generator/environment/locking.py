"""Makes `requirements.lock` with uv: for one version of Python, on Linux (x86-64, ARM) and macOS.

Only wheels are locked. What is built has no hash of its own, and what its build installs has none.
"""

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from packaging.markers import Marker

from ..errors import RequirementError, TargetError
from ..files import exchange
from ..layout import DOCKERFILES, LOCK, REQUIREMENTS, WHEELS
from .lock import STAMP, Lock, command, digest_of_packages, source_digest, wheels
from .venvs import MAX_OUTPUT, uv

COPY = "requirements.loc[k]"
"""How the Dockerfile names the file, which may be absent."""
OPTIONS = ("--generate-hashes", "--only-binary", ":all:", "--index-strategy", "unsafe-best-match")
PLATFORMS = (
    {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
    {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64"},
    {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
    {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "x86_64"},
)
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
    lines = (directory / REQUIREMENTS).read_text(encoding="utf-8").splitlines()
    _check_lines(lines)
    source, before = source_digest(directory), _unedited(directory)
    with tempfile.TemporaryDirectory(prefix="scaffold-lock.") as place:
        file = Path(place) / LOCK
        if before is not None:
            file.write_text(before.text, encoding="utf-8")
        _compile(directory, version, file)
        options = [line.rstrip() for line in lines if OPTION.match(line)]
        packages = [*options, *_packages(file.read_text(encoding="utf-8"), version)]
        body = "".join(f"{line}\n" for line in packages)
        stamp = STAMP.format(version=version, source=source, itself=digest_of_packages(body))
        file.write_text(f"{_header(version, bool(options))}{stamp}{body}", encoding="utf-8")
        try:
            exchange(directory, {LOCK: file})
        except OSError as error:
            raise TargetError(f"{directory / LOCK} cannot be written: {error.strerror}") from error
    return directory / LOCK


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


def _unedited(directory: Path) -> Lock | None:
    """The lock before, after a check that it holds nothing of the owner's."""
    lock = Lock.read(directory)
    if lock is not None and not lock.is_as_made:
        raise RequirementError(
            f"{directory / LOCK} is not as the generator wrote it, and may hold edits of yours:"
            f" write them into {REQUIREMENTS}, remove {LOCK}, and run `{command(directory)}`"
        )
    return lock


def _compile(directory: Path, version: str, file: Path) -> None:
    """Have uv write all packages into a file. It keeps the versions that it finds there."""
    found = uv()
    if found is None:
        raise RequirementError(f"{LOCK} is made by uv, which is not found: run `pip install uv`")
    _write_project(file.parent, version)
    settings = ("--quiet", "--color", "never", "--no-header", "--project", str(file.parent))
    target = ("--universal", "--python-version", version, "--output-file", str(file))
    named = "".join(f"./{wheel.relative_to(directory)}\n" for wheel in wheels(directory))
    done = subprocess.run(
        [found, "pip", "compile", *settings, *target, *OPTIONS, REQUIREMENTS, "-"],
        cwd=directory,
        input=named,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        output = " ".join(done.stderr.split()).removeprefix("error: ")[:MAX_OUTPUT]
        fix = f"; {FIX}" if NO_WHEEL in output.lower() else ""
        raise RequirementError(
            f"{LOCK} cannot be made of {directory / REQUIREMENTS}: {output}{fix}"
        )


def _write_project(place: Path, version: str) -> None:
    """Tell uv for what to resolve: another platform or Python may have no solution."""
    major, minor = version.split(".")
    python = f"python_full_version < '{major}.{int(minor) + 1}'"
    markers = [f"{python} and sys_platform == '{name}'" for name in ("linux", "darwin")]
    text = f"[tool.uv]\nenvironments = {json.dumps(markers)}\n"
    (place / "pyproject.toml").write_text(text, encoding="utf-8")


def _packages(compiled: str, version: str) -> Iterator[str]:
    """The lines that uv has written, without markers that hold wherever the lock is for.

    Raises:
        RequirementError: a package has no hash.
    """
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
        yield f"{name} \\" if not marker or _holds(Marker(marker), version) else line


def _holds(marker: Marker, version: str) -> bool:
    """Whether a marker holds on each platform, with every release of a version of Python."""
    releases = [
        {"python_version": version, "python_full_version": f"{version}.{last}"} for last in (0, 99)
    ]
    return all(
        marker.evaluate({"os_name": "posix", **platform, **release})
        for platform in PLATFORMS
        for release in releases
    )
