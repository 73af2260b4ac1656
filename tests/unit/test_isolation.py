"""What a worker may import in the check: what the requirements install, and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from generator.environment import gpu
from generator.environment.installed import Environment
from generator.environment.isolation import lacking, link, required

FILES = {
    "plain.py": "import extra_part",
    "extra_part.py": "",
    "big/__init__.py": "from . import inner",
    "big/inner.py": "",
    "space/one/__init__.py": "",
    "space/two/__init__.py": "",
    "old/__init__.py": "__path__ = __import__('pkgutil').extend_path(__path__, __name__)",
    "old/one.py": "",
    "old/two.py": "",
    "unrecorded.py": "",
    "hidden.py": "",
}
DISTRIBUTIONS: dict[str, tuple[list[str], list[str]]] = {
    "plain-tool": (["plain.py"], ["Big-Tool>=1", "absent-tool", 'never; sys_platform == "win32"']),
    "big-tool": (["big/__init__.py", "big/inner.py"], ['extra-part; extra == "more"']),
    "extra-part": (["extra_part.py"], []),
    "space-one": (["space/one/__init__.py"], []),
    "space-two": (["space/two/__init__.py"], []),
    "old-one": (["old/__init__.py", "old/one.py"], []),
    "old-two": (["old/__init__.py", "old/two.py"], []),
    "unrecorded": ([], []),
    "hidden": (["hidden.py"], []),
}
FIND = """
import importlib, importlib.metadata, json, sys
found = []
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    found.append(name)
names = sorted(each.metadata["Name"] for each in importlib.metadata.distributions())
print(json.dumps([found, names]))
"""
MODULES = ("plain", "big.inner", "space.one", "space.two", "old.one", "old.two", "hidden")


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    site = tmp_path / "lib" / "site-packages"
    for name, text in FILES.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    for name, (files, requires) in DISTRIBUTIONS.items():
        info = site / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        lines = [f"Requires-Dist: {line}" for line in requires]
        core = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *lines, "", ""]
        (info / "METADATA").write_text("\n".join(core))
        record = [*files, "../../bin/tool", f"{info.name}/METADATA", f"{info.name}/RECORD"]
        if files:
            (info / "RECORD").write_text("".join(f"{file},,\n" for file in record))
    monkeypatch.syspath_prepend(str(site))
    return Environment()


def seen(
    environment: Environment, requirements: str, place: Path, *modules: str
) -> list[list[str]]:
    """The modules that can be imported in a process with these requirements, and its packages."""
    distributions = required(requirements, environment)
    assert distributions is not None
    place.mkdir()
    link(distributions, place)
    done = subprocess.run(
        [sys.executable, "-S", "-c", FIND, *modules],
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        check=True,
        text=True,
    )
    found: list[list[str]] = json.loads(done.stdout)
    return found


def test_only_what_is_required_can_be_imported(environment: Environment, tmp_path: Path) -> None:
    text = "# mine\n--pre\nplain-tool==1.0  # why\nspace.one\nold-two\nunrecorded\nnumpy\n"
    modules, names = seen(environment, text, tmp_path / "a", *MODULES, "unrecorded", "numpy")
    assert modules == ["big.inner", "space.one", "old.two", "unrecorded", "numpy"]
    assert names == ["big-tool", "numpy", "old-two", "plain-tool", "space-one", "unrecorded"]


def test_extras_bring_what_they_require(environment: Environment, tmp_path: Path) -> None:
    text = "plain-tool==1.0\nbig-tool[more]"
    assert seen(environment, text, tmp_path / "a", "plain") == [
        ["plain"],
        ["big-tool", "extra-part", "plain-tool"],
    ]


def test_a_build_for_the_cpu_stands_for_the_one_for_cuda(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "FOR_CPU", {"plain-gpu": "plain-tool", "big-tool": "hidden"})
    distributions = required("plain-gpu[cuda]==1.0\nbig-tool[more]\nother-gpu", environment)
    assert distributions is not None
    assert [each.name for each in distributions] == ["plain-tool", "big-tool", "extra-part"]


@pytest.mark.parametrize("line", ["-r more.txt", "-e .", "./wheels/some.whl"])
def test_requirements_that_are_not_understood_hide_nothing(
    environment: Environment, line: str
) -> None:
    assert required(f"plain-tool\n{line}", environment) is None


MESSAGES = {
    "ModuleNotFoundError: No module named 'hidden'": "hidden",
    "No module named 'extra_part'; add the package that provides it": "extra-part",
    "Missing optional dependency 'hidden'. Use pip or conda to install hidden.": "hidden",
    "Setting output container to 'hidden' requires hidden to be installed": "hidden",
    "This requires the hidden module. You can install it via `pip install hidden`": "hidden",
    "hidden>=13.0.0 is required for this": "hidden",
    "`Import hidden` failed. Run `pip install hidden`.": "hidden",
    "pip install -U big-tool": None,
    "No module named 'nowhere'": None,
    "a hidden layer is wrong": None,
}


@pytest.mark.parametrize(("message", "name"), MESSAGES.items())
def test_what_an_error_says_is_missing(
    environment: Environment, message: str, name: str | None
) -> None:
    present = required("plain-tool", environment)
    found = lacking(message, environment, present)
    assert (found and found.name) == name
    assert lacking(message, environment, None) is None
