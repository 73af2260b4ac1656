"""Rooms import downwards only, without cycles, and only one module imports the template."""

from pathlib import Path

import pytest

from support.packages.imports import Order, imported_names, imports, modules, wrong
from support.rendering.checkouts import ROOT

GENERATOR: Order = [
    ("arguments", "errors", "layout", "importing", "progress", "template"),
    ("common", "files", "owners", "yaml_edit"),
    ("data",),
    ("environment", "rows", "showing"),
    ("capture", "rendering"),
    ("running", "clients"),
    ("hooks",),
    ("writing",),
    ("scaffold",),
    ("create",),
    ("sources",),
    ("create_from",),
    ("options",),
    ("completion",),
    ("cli", "__init__"),
    ("__main__",),
]
HOOKS: Order = [
    ("base", "outputs"),
    ("loading",),
    ("methods",),
    ("scikit", "networks"),
    ("boosting", "objects", "texts"),
    ("registry",),
    ("__init__",),
]
COMMON: Order = [
    ("current", "words", "threads", "documents", "tensorflow_start"),
    ("logs",),
    ("errors",),
    ("schema", "config_file", "platforms", "context"),
    ("config", "rows", "routes"),
    ("model_file", "health", "fast_path", "signature", "tolerances"),
    ("onnx_engine", "verify"),
    ("link",),
    ("bodies",),
    ("methods", "outputs"),
    ("pipelines",),
    ("serving", "worker"),
    ("__init__",),  # for owners alone
]
SEAM = "generator.common"


def generator_files() -> dict[str, Path]:
    """The generator's modules, and those of `hooks/` and of the template."""
    hooks = modules(ROOT / "hooks", "generator.hooks")
    template = modules(ROOT / "template" / "src" / "common", "generator.template.src.common")
    return {**modules(ROOT / "generator", "generator"), **hooks, **template}


def test_the_generators_rooms_import_downwards() -> None:
    graph = imports(generator_files())
    assert len(graph) > 40 and graph["generator.writing.prepare"] > {"generator.hooks"}
    assert wrong(graph, GENERATOR) == []


def test_the_rooms_of_the_hooks_import_downwards() -> None:
    graph = imports(modules(ROOT / "hooks", "hooks"))
    assert len(graph) > 30 and graph["hooks.registry"] > {"hooks.scikit.sklearn"}
    assert wrong(graph, HOOKS) == []


def test_the_rooms_of_common_import_downwards() -> None:
    graph = imports(modules(ROOT / "template" / "src" / "common", "common"))
    assert len(graph) > 30 and graph["common.bodies.v2.v2_codec"] > {"common.link.frames"}
    assert wrong(graph, COMMON) == []


def test_the_generator_reaches_the_template_through_one_module() -> None:
    template = ("generator.template.", "common.", "server.")
    reaching = {
        name
        for name, path in generator_files().items()
        if any(full.startswith(template) for full in imported_names(name, path))
    }
    assert {name for name in reaching if not name.startswith(template)} == {SEAM}


# ---- the check itself ----

LEVELS: Order = [("low",), ("left", "right"), ("top",), ("__init__",)]
TREE = {
    "__init__.py": "from .top import start",
    "low.py": "import os",
    "left/__init__.py": "",
    "left/a.py": "from ..low import path\nfrom . import b",
    "left/b.py": "",
    "right/__init__.py": "from .. import low",
    "top.py": "import house.left.a\nfrom .right import low",
}


def checked(directory: Path, changed: dict[str, str]) -> list[str]:
    """The wrong imports of a small package, after these files are changed."""
    for name, text in {**TREE, **changed}.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return wrong(imports(modules(directory, "house")), LEVELS)


def test_a_package_in_order_passes(tmp_path: Path) -> None:
    assert checked(tmp_path, {}) == []


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("low.py", "from .top import start", "house.low imports house.top: low is not above top"),
        ("left/b.py", "def f():\n    from .. import top", "house.left.b imports house.top"),
        ("left/b.py", "import house.top as t", "house.left.b imports house.top"),
        (
            "right/c.py",
            "from ..left.b import x",
            "house.right.c imports house.left.b: right",
        ),
        (
            "left/b.py",
            "from .a import path",
            "house.left.b imports house.left.a: in a cycle",
        ),
        ("left/__init__.py", "from ..top import x", "house.left imports house.top: left is not"),
        ("new.py", "", "house.new is in no room"),
    ],
)
def test_an_import_that_does_not_go_downwards_is_named(
    tmp_path: Path, file: str, text: str, message: str
) -> None:
    found = checked(tmp_path, {file: text})
    assert any(line.startswith(message) for line in found), found
