"""The builds of packages that compute on an NVIDIA GPU, and the builds for the CPU.

The names and extras are those of the packages' own metadata on PyPI. There, torch's wheels for
Linux are built for CUDA, and so are XGBoost's and CatBoost's.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

from .installed import Environment, Installed

TORCH = frozenset({"torch", "torchvision", "torchaudio"})
TORCH_CPU = "https://download.pytorch.org/whl/cpu"
LIBRARIES = re.compile(r"(nvidia|cuda|cupy|jax-cuda\d+|tensorrt)(-.*)?|triton")
NEEDED_BY, BESIDE = "needed by ", "what "
"""How the reasons begin of what is only a dependency, and of what a package needs on a GPU."""


@dataclass(frozen=True)
class Build:
    """The build for CUDA.

    Attributes:
        name: its distribution.
        extras: those that bring CUDA's libraries.
        since: the first version that has them, in a form that can be installed.
        others: other extras, by the distribution that is installed where they were chosen.
        beside: what it imports to compute on a GPU: any of these distributions.
        missing: the requirement where none of them is installed.
        note: what its line says further.
    """

    name: str
    extras: tuple[str, ...] = ()
    since: str = "0"
    others: dict[str, tuple[str, ...]] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    missing: str = ""
    note: str = ""


ONNX_RUNTIME = Build(
    "onnxruntime-gpu", ("cuda", "cudnn"), "1.21", note="; not every version of that has one"
)
TENSORFLOW = Build("tensorflow", ("and-cuda",), "2.15.0.post1")
BUILDS = {
    "jax": Build("jax", ("cuda12",), "0.4.26", {"jax-cuda13-plugin": ("cuda13",)}),
    "onnxruntime": ONNX_RUNTIME,
    "onnxruntime-gpu": ONNX_RUNTIME,
    # spaCy's own extras want a CuPy that takes no numpy 2, and brings none of CUDA's libraries.
    "spacy": Build(
        "spacy",
        beside=("cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x"),
        missing="cupy-cuda12x[ctk]>=11.5",
    ),
    "tensorflow": TENSORFLOW,
    "tensorflow-cpu": TENSORFLOW,
    "xgboost-cpu": Build("xgboost"),
}
FOR_CPU = {build.name: name for name, build in BUILDS.items() if name != build.name}
"""The distribution for the CPU, by that for CUDA, where they are two."""


class Variants:
    """What is pinned in place of the distributions that are installed here.

    Args:
        environment: what is installed here.
        gpu: whether the builds for CUDA are; else each distribution stands for itself.
    """

    def __init__(self, environment: Environment, gpu: bool) -> None:
        self._environment = environment
        self._gpu = gpu

    def label(self, installed: Installed) -> str:
        """The name and the extras, as a requirement has them."""
        build, extras = self._build(installed.name), ",".join(self.extras(installed))
        name = installed.name if build is None else build.name
        return f"{name}[{extras}]" if extras else name

    def extras(self, installed: Installed) -> tuple[str, ...]:
        """The extras that are asked for."""
        build = self._build(installed.name)
        if build is None or not _is_since(installed.version, build.since):
            return ()
        chosen = (extras for name, extras in build.others.items() if name in self._environment)
        return next(chosen, build.extras)

    def is_other(self, installed: Installed) -> bool:
        """Whether it is another file than the one that is installed."""
        key, build = canonicalize_name(installed.name), self._build(installed.name)
        if self._gpu and key in TORCH:
            return installed.version.endswith("+cpu")
        return build is not None and build.name != key

    def note(self, installed: Installed) -> str:
        """What the line of another file than the one that is installed says of that."""
        build = self._build(installed.name)
        here = f"{installed.name} {installed.version}"
        return f"the build for CUDA, in place of {here}{build.note if build else ''}"

    def beside(self, names: Iterable[str]) -> dict[NormalizedName, str]:
        """What distributions need besides on a GPU, as far as it is installed: name to reason."""
        return {
            canonicalize_name(each): f"{BESIDE}{name} computes with on a GPU"
            for name in names
            if (build := self._build(name)) is not None
            for each in build.beside
            if each in self._environment
        }

    def missing(self, names: Iterable[str], own: Collection[str]) -> dict[str, str]:
        """The same, as far as nothing of it is installed and the user has no line: as lines."""
        return {
            build.missing: f"{BESIDE}{name} computes with on a GPU"
            for name in names
            if (build := self._build(name)) is not None and build.missing
            if not any(each in self._environment or each in own for each in build.beside)
        }

    def names(self, name: str) -> set[NormalizedName]:
        """What a line may be called that stands in the place of a distribution's."""
        build = self._build(name)
        return {canonicalize_name(each) for each in (name, name if build is None else build.name)}

    def _build(self, name: str) -> Build | None:
        return BUILDS.get(canonicalize_name(name)) if self._gpu else None


def stand_in(name: str, environment: Environment) -> str:
    """The distribution that is here for a required one: the build for the CPU may stand for it."""
    other = FOR_CPU.get(canonicalize_name(name))
    if other is not None and name not in environment and other in environment:
        return other
    return name


def on_cpu(requirements: str) -> str:
    """A requirements.txt with the builds for the CPU, without CUDA's libraries."""
    lines, has_torch = [], False
    for line in requirements.splitlines():
        text, _, reason = line.partition("  # ")
        if text.startswith("--extra-index-url") and "download.pytorch.org" in text:
            continue
        try:
            requirement = Requirement(text.partition(" #")[0].strip())
        except InvalidRequirement:
            lines.append(line)
            continue
        key = canonicalize_name(requirement.name)
        if LIBRARIES.fullmatch(key) and reason.startswith((NEEDED_BY, BESIDE)):
            continue
        has_torch = has_torch or (key in TORCH and requirement.url is None)
        lines.append(_for_cpu(requirement) or line)
    if has_torch:
        lines.insert(0, f"--extra-index-url {TORCH_CPU}")
    return "".join(f"{line}\n" for line in lines)


def _for_cpu(requirement: Requirement) -> str | None:
    """The line for the CPU of a build that brings CUDA's libraries; None for any other."""
    key = canonicalize_name(requirement.name)
    build = next((each for each in BUILDS.values() if each.name == key), None)
    if build is None or requirement.url:
        return None
    if not requirement.extras and build is not ONNX_RUNTIME:
        return None
    extras = {*build.extras, *(extra for other in build.others.values() for extra in other)}
    requirement.extras -= extras
    requirement.name = FOR_CPU.get(key, requirement.name)
    return str(requirement)


def _is_since(version: str, first: str) -> bool:
    try:
        return Version(version) >= Version(first)
    except InvalidVersion:
        return False
