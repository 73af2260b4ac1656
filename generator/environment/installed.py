"""Reads the metadata of the distributions that are installed for the running interpreter.

- Name, version and dependencies: the core metadata specification
  (https://packaging.python.org/en/latest/specifications/core-metadata/).
- Where a distribution came from, if not from an index: PEP 610's `direct_url.json`
  (https://packaging.python.org/en/latest/specifications/direct-url/).
- The variant of a build: the local label of its version, the part after `+` (PEP 440).
"""

import csv
import json
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from importlib.metadata import (
    Distribution,
    PackageNotFoundError,
    distribution,
    distributions,
    packages_distributions,
)
from typing import Any
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name

from ..arguments import argument
from ..errors import RequirementError
from ..importing import locate

# A scaffold runs in a Linux container, whatever system it is created on.
_CONTAINER = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux"}


class Installed:
    """An installed distribution. Its metadata is read when it is first needed, and cached."""

    def __init__(self, distribution: Distribution) -> None:
        self._distribution = distribution

    @cached_property
    def name(self) -> str:
        return self._distribution.metadata["Name"]

    @cached_property
    def version(self) -> str:
        return self._distribution.version

    @cached_property
    def location(self) -> str:
        return os.path.realpath(str(self._distribution.locate_file("")))

    @cached_property
    def origin(self) -> dict[str, Any]:
        """PEP 610's record of where it came from; empty if it came from an index."""
        origin: dict[str, Any] = json.loads(self._distribution.read_text("direct_url.json") or "{}")
        from_conda = (self._distribution.read_text("INSTALLER") or "").strip() == "conda"
        if from_conda and _is_file(origin):  # a path on the machine that built the package
            return {}
        return origin

    @cached_property
    def local(self) -> str | None:
        """The project or archive on this machine that it was installed from, if any."""
        if _is_file(self.origin):
            return _path(self.origin["url"])
        if self.in_project:
            return self.location
        return None

    @property
    def is_project(self) -> bool:
        """Whether it was installed from a directory on this machine, not from an archive."""
        return self.local is not None and "archive_info" not in self.origin

    @property
    def can_be_built(self) -> bool:
        """Whether a wheel of it can be built from a directory on this machine."""
        return self.is_project and "vcs_info" not in self.origin

    @property
    def hashes(self) -> dict[str, str]:
        """Algorithm to digest of the archive that it was installed from, as far as recorded."""
        archive = self.origin.get("archive_info", {})
        algorithm, _, digest = str(archive.get("hash", "")).partition("=")
        found = {algorithm: digest, **(archive.get("hashes") or {})}
        return {name: value for name, value in found.items() if value}

    @cached_property
    def in_project(self) -> bool:
        """Whether its metadata is in the project itself, where `setup.py develop` puts it."""
        return bool(self._distribution.read_text("PKG-INFO")) and not self.location.endswith(
            "-packages"
        )

    @cached_property
    def requires(self) -> list[Requirement]:
        """Its dependencies, without lines that PEP 508 forbids: installers ignore these too."""
        requirements = []
        for line in self._distribution.requires or ():
            with suppress(InvalidRequirement):
                requirements.append(Requirement(line))
        return requirements

    def dependencies(self, extras: Collection[str]) -> Iterator[Requirement]:
        """What it requires with these extras, in the container."""
        environments = [{**_CONTAINER, "extra": extra} for extra in ("", *extras)]
        for requirement in self.requires:
            if not requirement.marker or any(map(requirement.marker.evaluate, environments)):
                yield requirement

    def lists(self, file: str) -> bool:
        """Whether its record of installed files contains the file."""
        if not _is_inside(file, self.location):
            return False
        path = os.path.relpath(file, self.location).replace(os.sep, "/")
        return f"\n{path}," in f"\n{self._record}"

    @cached_property
    def files(self) -> list[str]:
        """Its files, relative to its location: all in its record, else those with its names."""
        if self._record:
            return [line[0] for line in csv.reader(self._record.splitlines()) if line]
        key = canonicalize_name(self.name)
        names = {
            key.replace("-", "_"),
            *(self._distribution.read_text("top_level.txt") or "").split(),
        }
        return [entry for entry in os.listdir(self.location) if _is_named(entry, names, key)]

    @cached_property
    def _record(self) -> str:
        return self._distribution.read_text("RECORD") or ""


class Environment:
    """The distributions that are installed for the running interpreter.

    Args:
        builds_wheels: whether a wheel is built of a project on this machine. Else its code is
            copied.
    """

    def __init__(self, builds_wheels: bool = False) -> None:
        self.builds_wheels = builds_wheels
        self._found: dict[NormalizedName, Installed | None] = {}

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def __getitem__(self, name: str) -> Installed:
        installed = self._find(name)
        if installed is None:
            raise RequirementError(
                f"{name} is not installed, and the scaffold needs it: install it, "
                f"or give a line for it, as in {argument('requirements', [f'{name}==1.0'])}"
            )
        return installed

    def _find(self, name: str) -> Installed | None:
        key = canonicalize_name(name)
        if key not in self._found:
            try:
                self._found[key] = Installed(distribution(name))
            except PackageNotFoundError:
                self._found[key] = None
        return self._found[key]

    def owner(self, module: str) -> Installed | None:
        """The distribution that the module was installed with."""
        file = module_file(module)
        if not file:
            return self._only_provider(module)
        for installed in self._all:
            if installed.lists(file):
                return installed
        provider = self._only_provider(module)
        if provider and _is_inside(file, provider.location):
            return provider  # a system's package manager may write no RECORD
        projects = [found for found in self._all if found.local and _is_inside(file, found.local)]
        return max(projects, key=lambda project: len(project.local or ""), default=None)

    def is_built(self, installed: Installed | None) -> bool:
        """Whether a wheel is built of a distribution."""
        return self.builds_wheels and installed is not None and installed.can_be_built

    @cached_property
    def path(self) -> list[str]:
        """The directories of `sys.path` with installed distributions, without local projects."""
        installed = {found.location for found in self._all if not found.in_project}
        return [directory for directory in sys.path if os.path.realpath(directory) in installed]

    def _only_provider(self, module: str) -> Installed | None:
        """The distribution that provides the top-level name, if exactly one does."""
        names = {name for name in self._providers.get(module.partition(".")[0], ()) if name}
        if len(names) != 1:
            return None
        return self[names.pop()]

    @cached_property
    def _providers(self) -> Mapping[str, Sequence[str]]:
        # A fallback: it takes 0.1 s or more, and on Python 3.10 knows declared names only
        return packages_distributions()

    @cached_property
    def _all(self) -> list[Installed]:
        return [Installed(found) for found in distributions()]


def _is_named(entry: str, modules: Collection[str], distribution: str) -> bool:
    """Whether an entry of a directory is one of the modules, or the distribution's metadata."""
    is_metadata = entry.endswith("-info")
    is_its = is_metadata and canonicalize_name(entry.partition("-")[0]) == distribution
    return is_its or entry.partition(".")[0] in modules


def module_file(module: str) -> str | None:
    """The file of a module, or of the innermost parent package that has one."""
    while module:
        if file := _own_file(module):
            # links to directories only: an installer may link each file into its cache
            return os.path.join(os.path.realpath(os.path.dirname(file)), os.path.basename(file))
        module = module.rpartition(".")[0]
    return None


def _own_file(module: str) -> str | None:
    if module in sys.modules:
        return getattr(sys.modules[module], "__file__", None)
    spec = locate(module)
    if spec and spec.has_location:
        return spec.origin
    return None


def _is_inside(file: str, directory: str) -> bool:
    return file.startswith(os.path.join(os.path.realpath(directory), ""))


def _is_file(origin: Mapping[str, Any]) -> bool:
    return urlsplit(str(origin.get("url"))).scheme == "file"


def _path(url: str) -> str:
    from urllib.request import url2pathname  # importing it takes 20 ms, and is rarely needed

    return url2pathname(urlsplit(url).path)
