"""`wheels/` of a scaffold: the wheels of packages that no index has, and truss's way to them.

The Dockerfile and the generator install what lies there. truss installs `requirements_file` of
`config.yaml` before a build command can show it `wheels/`, and empties `requirements.txt` in its
build. So with wheels a build command installs both, and finds the requirements by a link.
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..environment.wheels import Wheel
from ..errors import ScaffoldError
from ..layout import CONFIG, DOCKERFILES, REQUIREMENTS, WHEELS, WHEELS_REQUIREMENTS
from .config_file import read_config, write_values

COPY = "wheel[s]"
"""How the Dockerfile names the folder, which may be absent."""
INSTALL = (
    f"--mount=type=bind,source={WHEELS_REQUIREMENTS},target=/tmp/model/{REQUIREMENTS}"
    f" --mount=type=bind,source={WHEELS},target=/tmp/model/{WHEELS}"
    " cd /tmp/model && uv pip install --system --break-system-packages --no-cache"
    f' --index-strategy unsafe-best-match -r {REQUIREMENTS} -c "$OLDPWD/constraints.txt"'
    f' {WHEELS}/*.whl && cd "$OLDPWD" && '
)


def write_wheels(directory: Path, wheels: Sequence[Wheel]) -> list[str]:
    """Write wheels into a scaffold, and what truss needs for them into its `config.yaml`.

    Returns:
        The paths of the files in `wheels/`.

    Raises:
        ScaffoldError: the scaffold's Dockerfile is of a template that knows no wheels.
    """
    values = _values(read_config(directory / CONFIG), bool(wheels))
    if values:
        write_values(directory / CONFIG, values)
    if not wheels:
        return []
    _check_dockerfile(directory)
    for wheel in wheels:
        wheel.write(directory / WHEELS)
    with contextlib.suppress(FileExistsError):
        os.symlink(f"../{REQUIREMENTS}", directory / WHEELS_REQUIREMENTS)
    return [WHEELS_REQUIREMENTS, *(f"{WHEELS}/{wheel.name}" for wheel in wheels)]


def _check_dockerfile(directory: Path) -> None:
    for file in directory.glob(DOCKERFILES):
        if COPY not in file.read_text(encoding="utf-8"):
            raise ScaffoldError(
                f"{file.name} installs nothing from {WHEELS}/: run `python -m generator update` for"
                f" the scaffold first, or write `COPY {COPY} /tmp/{WHEELS}` as the template does"
            )


def _values(config: Mapping[str, Any], has_wheels: bool) -> dict[Sequence[str], Any]:
    """The values for truss that change, unless the owner has rewritten this part."""
    match config:
        case {"build_commands": [str(first), *others], "requirements_file": requirements}:
            installs = first.startswith(INSTALL)
        case _:
            return {}
    if has_wheels and not installs and requirements == REQUIREMENTS:
        return _truss(None, [f"{INSTALL}{{ {first}; }}", *others])
    if installs and not has_wheels:
        own = first.removeprefix(f"{INSTALL}{{ ").removesuffix("; }")
        return _truss(REQUIREMENTS, [own, *others])
    return {}


def _truss(requirements: str | None, commands: list[Any]) -> dict[Sequence[str], Any]:
    return {("requirements_file",): requirements, ("build_commands",): commands}
