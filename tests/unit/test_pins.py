"""Pins are inferred from real distributions, which the tests write as installers do."""

import functools
import json
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement

from generator.capture.pickle_references import references
from generator.environment import gpu, pins
from generator.environment.installed import Environment
from generator.environment.lines import Pin, Requirements, parse
from generator.errors import ModelError, RequirementError, SettingError

ALWAYS = {"numpy": "the worker's wire format", "msgpack": "the worker's wire format"}


class Site:
    """A directory on sys.path that holds distributions in the layout of installed wheels."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)

    def install(
        self,
        name: str,
        version: str = "1.0",
        *,
        files: Sequence[str] = (),
        requires: Sequence[str] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Write the files, and a .dist-info with what `metadata` maps file names to."""
        directory = f"{name.replace('-', '_')}-{version}.dist-info"
        core = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        core += [f"Requires-Dist: {line}" for line in requires]
        record = "".join(
            f"{file},,\n" for file in (*files, f"{directory}/METADATA", f"{directory}/RECORD")
        )
        content = {"METADATA": "\n".join([*core, "", ""]), "RECORD": record, **(metadata or {})}
        self.write(
            {
                **dict.fromkeys(files, ""),
                **{f"{directory}/{file}": content[file] for file in content},
            }
        )

    def write(self, content: Mapping[str, str]) -> None:
        for file, text in content.items():
            path = self.path / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    loaded = set(sys.modules)
    created = Site(tmp_path / "env" / "site-packages")
    monkeypatch.syspath_prepend(str(created.path))
    yield created
    for name in set(sys.modules) - loaded:
        del sys.modules[name]


def origin(url: str, **info: Any) -> dict[str, str]:
    """PEP 610's file for a .dist-info."""
    return {"direct_url.json": json.dumps({"url": url, **info})}


def infer(modules: Mapping[str, str], **given: Any) -> Requirements:
    """The pins, with what is installed at the moment."""
    return pins.infer(modules, Environment(), **given)


def lines(requirements: Requirements) -> list[str]:
    return [pin.line for pin in requirements.pins]


def read(text: str) -> list[Requirement]:
    """The requirements of a text as pip reads them: a comment starts at a `#` after a space."""
    stripped = [line.partition(" #")[0].strip() for line in text.splitlines()]
    return [Requirement(line) for line in stripped if line and not line.startswith("-")]


# Which distribution a module belongs to


def test_the_distribution_may_have_another_name_than_the_module(site: Site) -> None:
    site.install("frame-cpu", "2.15.0", files=["frame/__init__.py", "frame/nn.py"])
    assert infer({"frame.nn": "Dense"}).pins == [
        Pin("frame-cpu==2.15.0", "the model: frame.nn.Dense")
    ]


def test_the_name_is_written_as_the_distribution_writes_it(site: Site) -> None:
    site.install("Py.Frame", "1.0", files=["frame.py"])
    requirements = infer({"frame": "Dense"})
    assert lines(requirements) == ["Py.Frame==1.0"]
    assert requirements.versions == {"py-frame": "1.0"}


@pytest.mark.parametrize("declared", [True, False], ids=["top_level.txt", "record only"])
def test_the_file_decides_in_a_namespace_package(site: Site, declared: bool) -> None:
    metadata = {"top_level.txt": "space\n"} if declared else {}
    site.install("space-one", files=["space/one/__init__.py"], metadata=metadata)
    site.install("space-two", files=["space/two/__init__.py"], metadata=metadata)
    assert lines(infer({"space.two": "Model"})) == ["space-two==1.0"]


def test_a_package_without_a_record(site: Site) -> None:
    site.install("frame-lib", files=["frame.py"], metadata={"RECORD": "", "top_level.txt": "frame"})
    assert lines(infer({"frame": "Dense"})) == ["frame-lib==1.0"]


def test_a_namespace_package_that_one_distribution_declares(site: Site) -> None:
    site.install("space-one", files=["space/one/__init__.py"], metadata={"top_level.txt": "space"})
    site.install("space-two", files=["space/two/__init__.py"])
    assert lines(infer({"space.two": "Model"})) == ["space-two==1.0"]


def test_a_namespace_package_shared_with_an_editable_project(site: Site, tmp_path: Path) -> None:
    project = tmp_path / "project"
    Site(project / "src").write({"space/mine.py": ""})
    site.install("space-one", files=["space/one.py"])
    site.install("space-mine", metadata=origin(project.as_uri(), dir_info={"editable": True}))
    sys.path.append(str(project / "src"))
    try:
        with pytest.raises(
            RequirementError, match=r"^space-mine \(from .*project\) cannot be installed"
        ):
            infer({"space.mine": "Model"})
        assert lines(infer({"space.one": "Model"})) == ["space-one==1.0"]
    finally:
        sys.path.remove(str(project / "src"))


def test_an_extension_module_at_the_top(site: Site) -> None:
    suffix = ".cpython-3-test.so"
    site.install("fast", files=[f"_fast{suffix}"])
    module = ModuleType("_fast")
    module.__file__ = str(site.path / f"_fast{suffix}")
    sys.modules["_fast"] = module
    assert lines(infer({"_fast": "Tree"})) == ["fast==1.0"]


def test_a_module_made_at_run_time_belongs_to_its_package(site: Site) -> None:
    site.install("frame", files=["frame/__init__.py"])
    sys.modules["frame.ops"] = ModuleType("frame.ops")
    assert lines(infer({"frame.ops": "matmul"})) == ["frame==1.0"]


def test_files_that_are_links_into_a_cache(site: Site, tmp_path: Path) -> None:
    site.install("frame", files=["frame/__init__.py"], metadata={"top_level.txt": "frame"})
    cached = tmp_path / "cached.py"
    (site.path / "frame/__init__.py").rename(cached)
    (site.path / "frame/__init__.py").symlink_to(cached)
    assert lines(infer({"frame": "Dense"})) == ["frame==1.0"]


def test_a_site_directory_that_is_a_link(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("frame", files=["frame/__init__.py"])
    (tmp_path / "link").symlink_to(site.path.parent)
    monkeypatch.syspath_prepend(str(tmp_path / "link" / "site-packages"))
    assert lines(infer({"frame": "Dense"})) == ["frame==1.0"]


def test_the_standard_library_needs_no_pin() -> None:
    assert (
        infer({"builtins": "len", "collections": "OrderedDict", "functools": "partial"}).pins == []
    )


def test_the_reason_names_the_first_of_many_modules(site: Site) -> None:
    site.install("frame", files=["frame/__init__.py", "frame/a.py", "frame/b.py"])
    assert infer({"frame.b": "B", "frame.a": "A"}).pins == [
        Pin("frame==1.0", "the model: frame.b.B")
    ]


# Modules of no distribution


def test_a_local_file_is_an_error_with_a_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_steps.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RequirementError) as caught:
        infer({"my_steps": "Clip"})
    assert str(caught.value) == (
        f"my_steps.Clip ({tmp_path / 'my_steps.py'}) belongs to no installed distribution: "
        "move it to a module of an installed package, or give a line for it, "
        "as in requirements=['my-steps @ git+https://...']"
    )
    line = "my-steps @ git+https://git.example/steps@1f0c"
    assert infer({"my_steps": "Clip"}, given=[line]).pins == [Pin(line, "given by you")]


def test_a_local_file_with_the_name_of_an_installed_package(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("sloppy", files=["utils/__init__.py"])
    (tmp_path / "utils.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RequirementError, match=r"utils\.py\) belongs to no installed distribution"):
        infer({"utils": "Clip"})


def test_main_belongs_to_no_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    with pytest.raises(RequirementError) as caught:
        infer({"__main__": "Clip"})
    assert str(caught.value) == (
        "__main__.Clip (defined in this session) belongs to no installed distribution: "
        "move it to a module of an installed package"
    )


# Where a distribution came from (PEP 610)

COMMIT = "7921be1537eac1e97bc40179a57f0349c2aee67d"


@pytest.mark.parametrize(
    ("recorded", "reference"),
    [
        (
            origin("https://git.example/f.git", vcs_info={"vcs": "git", "commit_id": COMMIT}),
            f"git+https://git.example/f.git@{COMMIT}",
        ),
        (
            origin(
                "ssh://git@git.example/f.git",
                vcs_info={"vcs": "git", "commit_id": COMMIT, "requested_revision": "main"},
                subdirectory="python",
            ),
            f"git+ssh://git@git.example/f.git@{COMMIT}#subdirectory=python",
        ),
        (
            origin("https://x:secret@git.example/f", vcs_info={"vcs": "hg", "commit_id": COMMIT}),
            f"hg+https://git.example/f@{COMMIT}",
        ),
        (
            origin("https://${USER}:${TOKEN}@files.example/f.zip", archive_info={}),
            "https://${USER}:${TOKEN}@files.example/f.zip",
        ),
        (
            origin(
                "https://files.example/f.whl",
                archive_info={"hashes": {"md5": "0f", "sha256": "2dc6"}},
            ),
            "https://files.example/f.whl#sha256=2dc6",
        ),
        (
            origin(
                "https://files.example/f.zip",
                archive_info={"hash": "sha256=2dc6"},
                subdirectory="py",
            ),
            "https://files.example/f.zip#sha256=2dc6&subdirectory=py",
        ),
    ],
    ids=["git", "ssh", "password", "variables", "hashes", "hash"],
)
def test_an_origin_is_kept(site: Site, recorded: dict[str, str], reference: str) -> None:
    site.install("frame", "1.0+local", files=["frame.py"], metadata=recorded)
    requirements = infer({"frame": "Dense"})
    assert requirements.pins == [Pin(f"frame @ {reference}", "the model: frame.Dense")]
    assert [requirement.url for requirement in read(requirements.text())] == [reference]


@pytest.mark.parametrize(
    "recorded",
    [
        origin("file:///home/me/frame", dir_info={"editable": True}),
        origin("file:///home/me/frame", dir_info={}),
        origin("file:///home/me/frame-1.0.tar.gz", archive_info={"hash": "sha256=2dc6"}),
        origin("file:///home/me/frame", vcs_info={"vcs": "git", "commit_id": COMMIT}),
    ],
    ids=["editable", "project", "archive", "repository"],
)
def test_what_is_only_on_this_machine_is_refused(site: Site, recorded: dict[str, str]) -> None:
    site.install("frame", files=["frame.py"], metadata=recorded)
    with pytest.raises(RequirementError) as caught:
        infer({"frame": "Dense"})
    assert str(caught.value).startswith("frame (from /home/me/frame")
    assert str(caught.value).endswith(
        "or give a line for it, as in requirements=['frame @ git+https://...']"
    )
    assert lines(infer({"frame": "Dense"}, given=["frame==1.0"])) == ["frame==1.0"]


def test_one_error_names_all_that_is_refused(site: Site) -> None:
    site.install(
        "frame", requires=["part"], metadata=origin("file:///f", dir_info={}), files=["frame.py"]
    )
    site.install("part", metadata=origin("file:///p.zip", archive_info={}))
    with pytest.raises(RequirementError, match=r"^frame \(from /f\), part \(from /p.zip\) cannot"):
        infer({"frame": "Dense"})


def test_what_setup_py_develop_installed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Site(tmp_path / "project")
    core = "Metadata-Version: 2.1\nName: frame\nVersion: 1.0\n"
    project.write(
        {"frame.py": "", "frame.egg-info/PKG-INFO": core, "frame.egg-info/top_level.txt": "frame"}
    )
    monkeypatch.syspath_prepend(str(project.path))
    with pytest.raises(RequirementError, match=r"^frame \(from .*project\) cannot be installed"):
        infer({"frame": "Dense"})


def test_conda_records_the_path_of_its_build(site: Site) -> None:
    recorded = {**origin("file:///home/conda/work", dir_info={}), "INSTALLER": "conda\n"}
    site.install("frame", files=["frame.py"], metadata=recorded)
    assert lines(infer({"frame": "Dense"})) == ["frame==1.0"]


# Local version labels (PEP 440)


@pytest.mark.parametrize(
    ("version", "pin", "index"),
    [
        ("2.13.0+cpu", "torch==2.13.0", "cpu"),
        ("2.13.0+cu121", "torch==2.13.0", "cu121"),
        ("2.13.0+rocm6.2", "torch==2.13.0", "rocm6.2"),
        ("2.14.0.dev20261101+cpu", "torch==2.14.0.dev20261101", "nightly/cpu"),
    ],
)
def test_a_variant_of_torch_brings_its_index(
    site: Site, version: str, pin: str, index: str
) -> None:
    site.install("torch", version, files=["torch/__init__.py"])
    requirements = infer({"torch": "Tensor"})
    assert requirements.pins == [Pin(pin, "the model: torch.Tensor")]
    assert requirements.versions == {"torch": version}
    option = f"--extra-index-url https://download.pytorch.org/whl/{index}"
    variant = index.removeprefix("nightly/")
    assert requirements.options == [f"{option}  # serves the {variant} variant of torch"]
    assert requirements.text().startswith(option)


def test_one_index_serves_the_family(site: Site) -> None:
    site.install("torch", "2.13.0+cpu", files=["torch/__init__.py"])
    site.install("torchvision", "0.28.0+cpu", files=["torchvision/__init__.py"], requires=["torch"])
    option = "--extra-index-url https://download.pytorch.org/whl/cpu"
    options = infer({"torchvision": "ResNet"}).options
    assert options == [f"{option}  # serves the cpu variant of torchvision, torch"]
    given = [option.replace("url ", "url=")]
    assert infer({"torchvision": "ResNet"}, given=given).options == [f"{option}  # given by you"]


@pytest.mark.parametrize(("name", "label"), [("frame", "cpu"), ("torch", "nv24.3")])
def test_another_label_is_dropped_with_a_reason(site: Site, name: str, label: str) -> None:
    site.install(name, f"1.0+{label}", files=[f"{name}/__init__.py"])
    requirements = infer({name: "Dense"})
    dropped = f"its local label +{label} is dropped: no public index is known to serve it"
    assert requirements.pins == [Pin(f"{name}==1.0", f"the model: {name}.Dense; {dropped}")]
    assert requirements.options == []


# Dependencies


def test_dependencies_follow_with_markers_and_extras(site: Site) -> None:
    site.install(
        "frame",
        files=["frame.py"],
        requires=[
            "part[fast]>=1",
            "absent",
            "old; python_version < '3'",
            "win; sys_platform == 'win32'",
            "lin; sys_platform == 'linux'",
            "plot; extra == 'plot'",
            "broken (>=1.*.2",
        ],
    )
    site.install(
        "part", "1.5", requires=["speedup; extra == 'fast'", "docs; extra == 'docs'", "lin"]
    )
    for name in ("old", "win", "lin", "plot", "speedup", "docs", "broken"):
        site.install(name)
    assert infer({"frame": "Dense"}).pins == [
        Pin("frame==1.0", "the model: frame.Dense"),
        Pin("lin==1.0", "needed by frame, part"),
        Pin("part==1.5", "needed by frame"),
        Pin("speedup==1.0", "needed by part"),
    ]


def test_cycles_end_and_later_extras_count(site: Site) -> None:
    site.install("frame", files=["frame.py"], requires=["part", "other"])
    site.install(
        "part", requires=["frame", "speedup; extra == 'fast'", "part[fast]; extra == 'all'"]
    )
    site.install("other", requires=["part[all]", "other"])
    site.install("speedup")
    assert infer({"frame": "Dense"}).pins[1:] == [
        Pin("other==1.0", "needed by frame"),
        Pin("part==1.0", "needed by frame, other"),
        Pin("speedup==1.0", "needed by part"),
    ]


def test_a_dependency_keeps_its_origin(site: Site) -> None:
    site.install("frame", files=["frame.py"], requires=["part"])
    vcs_info = {"vcs": "git", "commit_id": COMMIT}
    site.install("part", metadata=origin("https://git.example/part", vcs_info=vcs_info))
    pin = Pin(f"part @ git+https://git.example/part@{COMMIT}", "needed by frame")
    assert infer({"frame": "Dense"}).pins[1:] == [pin]


# What is always needed, and what the user gives


def test_always_gives_its_reason(site: Site) -> None:
    site.install("frame", files=["frame.py"])
    site.install("wire-format", "3.0")
    requirements = infer(
        {"frame": "Dense"}, always={"frame": "the worker", "Wire.Format": "the wire"}
    )
    assert requirements.pins == [
        Pin("frame==1.0", "the model: frame.Dense; the worker"),
        Pin("wire-format==3.0", "the wire"),
    ]
    assert requirements.versions == {"frame": "1.0", "wire-format": "3.0"}


def test_always_must_be_installed_or_given() -> None:
    with pytest.raises(
        RequirementError, match="^not-there is not installed, and the scaffold needs it"
    ):
        infer({}, always={"not-there": "the wire"})
    assert lines(infer({}, always={"not_there": "the wire"}, given=["Not.There>=1"])) == [
        "Not.There>=1"
    ]


def test_given_lines_replace_and_add(site: Site) -> None:
    site.install("frame", "2.0", files=["frame.py"], requires=["part"])
    site.install("part", "2.0", requires=["deep"])
    site.install("deep")
    site.install("more", requires=["less; extra == 'x'"])
    site.install("less")
    given = [
        "",
        "# mine",
        "Frame>=1  # it is faster",
        "part==1.0",
        "more[x]",
        "unheard-of",
        "--pre",
    ]
    requirements = infer({"frame": "Dense"}, given=given)
    assert requirements.pins == [
        Pin("Frame>=1", "given by you: it is faster"),
        Pin("more[x]", "given by you"),
        Pin("part==1.0", "given by you"),
        Pin("unheard-of", "given by you"),
        Pin("less==1.0", "needed by more"),
    ]
    assert requirements.options == ["--pre  # given by you"]
    assert requirements.versions == {"frame": "2.0", "more": "1.0", "part": "2.0"}


def test_two_lines_with_markers_for_one_distribution_stay_two(site: Site) -> None:
    site.install("frame", files=["frame.py"])
    given = ["frame==1.0; python_version < '3.14'", "frame==2.0; python_version >= '3.14'"]
    assert lines(infer({"frame": "Dense"}, given=given)) == given


@pytest.mark.parametrize("line", ["numpy #", "numpy  # ", " numpy\n"])
def test_an_empty_comment_is_ignored(line: str) -> None:
    assert parse([line]).pins == [Pin("numpy", "given by you")]


@pytest.mark.parametrize(
    ("line", "written"),
    [
        (
            "--extra-index-url https://pypi.example/simple?a=b",
            "--extra-index-url https://pypi.example/simple?a=b",
        ),
        ("--index-url=https://pypi.example/simple", "--index-url https://pypi.example/simple"),
        ("-i  https://pypi.example/simple", "-i https://pypi.example/simple"),
        ("-f ./wheels # built here", "-f ./wheels"),
        ("--pre\n", "--pre"),
    ],
)
def test_options_are_kept(line: str, written: str) -> None:
    assert parse([line]).options[0].split("  #")[0] == written


@pytest.mark.parametrize(
    "line",
    [
        "frame==",
        "git+https://git.example/frame",
        "./frame.whl",
        "two words",
        "frame==1 --hash=sha256:2dc6",
        "frame\npart",
        "-e .",
        "-r more.txt",
        "--index-url",
        "--pre yes",
        "--find-links a b",
        "--",
    ],
)
def test_another_line_is_an_error_with_the_rule(line: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse(["numpy", line])
    message = str(caught.value)
    assert message.startswith(f"requirements: {line!r} is not a")
    assert ": give " in message
    assert "\n" not in message


def test_a_string_is_not_a_list_of_lines() -> None:
    with pytest.raises(SettingError, match="'numpy' is one string: give a list"):
        parse("numpy")


# The text, and real models


def test_the_text_has_options_then_direct_pins_then_dependencies(site: Site) -> None:
    site.install("torch", "2.13.0+cpu", files=["torch/__init__.py"], requires=["aaa"])
    site.install("aaa")
    assert infer(
        {"torch": "Tensor"}, given=["zzz>=1 ; python_version > '3'"]
    ).text() == textwrap.dedent(
        """\
        --extra-index-url https://download.pytorch.org/whl/cpu  # serves the cpu variant of torch
        torch==2.13.0  # the model: torch.Tensor
        zzz>=1 ; python_version > '3'  # given by you
        aaa==1.0  # needed by torch
        """
    )


@pytest.fixture(scope="module")
def pipeline() -> Any:
    lightgbm, xgboost = pytest.importorskip("lightgbm"), pytest.importorskip("xgboost")
    from sklearn.datasets import load_iris
    from sklearn.ensemble import VotingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    boosters = [
        ("xgboost", xgboost.XGBClassifier(n_estimators=2)),
        ("lightgbm", lightgbm.LGBMClassifier(n_estimators=2, verbose=-1)),
    ]
    return make_pipeline(StandardScaler(), VotingClassifier(boosters)).fit(
        *load_iris(return_X_y=True)
    )


def test_a_pipeline_is_pinned_with_its_steps(pipeline: Any, tmp_path: Path) -> None:
    requirements = infer(references(pipeline), always=ALWAYS)
    reasons = {Requirement(pin.line).name: pin.reason for pin in requirements.pins}
    assert reasons["scikit-learn"] == "the model: sklearn.pipeline.Pipeline"
    installed = Environment().owner("xgboost")  # xgboost, or another build of it
    assert installed is not None
    xgboost = installed.name
    assert reasons[xgboost] == "the model: xgboost.sklearn.XGBClassifier"
    assert reasons["lightgbm"] == "the model: lightgbm.sklearn.LGBMClassifier"
    assert reasons["scipy"] == f"needed by lightgbm, scikit-learn, {xgboost}"
    assert reasons["numpy"].endswith("; the worker's wire format")
    assert [str(requirement) for requirement in read(requirements.text())] == lines(requirements)


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_installers_find_nothing_to_install_here(
    pipeline: Any, tmp_path: Path, installer: str
) -> None:
    pytest.importorskip(installer)
    file = tmp_path / "requirements.txt"
    option = "--extra-index-url https://pypi.example/simple  # never asked"
    file.write_text(f"{option}\n{infer(references(pipeline), always=ALWAYS).text()}")
    arguments = {
        "pip": ["install", "--dry-run", "--no-index", "-r"],
        "uv": ["pip", "install", "--dry-run", "--offline", "--python", sys.executable, "-r"],
    }
    command = [sys.executable, "-m", installer, *arguments[installer], str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Would install" not in done.stdout + done.stderr


# What a pickle refers to


@functools.lru_cache
def cached(value: int) -> int:
    return value


class Part:
    """A part of a model."""


def test_references_contain_everything_pickled_by_name() -> None:
    special = pytest.importorskip("scipy.special")
    found = references([special.expit, cached, Part, Part(), textwrap.dedent, len, str.upper])
    assert any(module.startswith("scipy.special") for module in found)
    assert {__name__: "cached", "textwrap": "dedent", "builtins": "len"}.items() <= found.items()


def test_references_do_not_copy_arrays() -> None:
    numpy = pytest.importorskip("numpy")
    tracemalloc = pytest.importorskip("tracemalloc")
    array = numpy.zeros(10_000_000)
    tracemalloc.start()
    try:
        assert references({"weights": array})["numpy"] == "ndarray"
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_what_cannot_be_pickled_is_an_error_with_its_path_and_a_fix() -> None:
    model, part = Part(), Part()
    model.steps, part.model = [("part", part)], model  # type: ignore[attr-defined]
    part.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(ModelError) as caught:
        references(model)
    assert str(caught.value) == (
        "the model cannot be pickled: model.steps[0][1].lock: cannot pickle '_thread.lock' object: "
        "leave it out of the state in __getstate__, or replace it with a picklable object"
    )


def test_the_fix_for_a_lambda_and_for_a_local_class() -> None:
    class Local:
        pass

    with pytest.raises(
        ModelError, match=r"model\['f'\]: .*<lambda>.*: replace the lambda with a function in"
    ):
        references({"f": lambda: None})
    with pytest.raises(
        ModelError, match=r"Local.*: define it at the top level of an importable module$"
    ):
        references(Local())


def test_a_model_nested_too_deep_is_one_line() -> None:
    model: list[Any] = []
    for _ in range(100_000):
        model = [model]
    with pytest.raises(ModelError, match=r"recursion.*: nest the model less deeply") as caught:
        references(model)
    assert len(str(caught.value)) < 300


# The builds for CUDA


def on_gpu(site: Site, name: str, version: str, module: str = "frame", **given: Any) -> list[str]:
    """The lines for a distribution with one module, in a scaffold for a GPU."""
    site.install(name, version, files=[f"{module}.py"])
    return lines(infer({module: "Model"}, gpu=True, **given))


@pytest.mark.parametrize(
    ("name", "version", "line"),
    [
        ("tensorflow-cpu", "2.21.0", "tensorflow[and-cuda]==2.21.0"),
        ("tensorflow_cpu", "2.21.0", "tensorflow[and-cuda]==2.21.0"),
        ("tensorflow", "2.15.0.post1", "tensorflow[and-cuda]==2.15.0.post1"),
        ("tensorflow", "2.15.0", "tensorflow==2.15.0"),  # its extra cannot be installed
        ("onnxruntime", "1.21.0", "onnxruntime-gpu[cuda,cudnn]==1.21.0"),
        ("onnxruntime", "1.20.1", "onnxruntime-gpu==1.20.1"),
        ("onnxruntime-gpu", "1.23.2", "onnxruntime-gpu[cuda,cudnn]==1.23.2"),
        ("jax", "0.10.2", "jax[cuda12]==0.10.2"),
        ("jax", "0.4.20", "jax==0.4.20"),
        ("xgboost-cpu", "3.2.0", "xgboost==3.2.0"),
        ("xgboost", "3.2.0", "xgboost==3.2.0"),
        ("torch", "2.13.0+cpu", "torch==2.13.0"),
        ("torch", "2.13.0", "torch==2.13.0"),
        ("catboost", "1.2.10", "catboost==1.2.10"),
    ],
)
def test_the_build_for_cuda_is_pinned(site: Site, name: str, version: str, line: str) -> None:
    site.install(name, version, files=["frame.py"])
    [pin] = infer({"frame": "Model"}, gpu=True).pins
    assert pin.line == line
    assert infer({"frame": "Model"}).pins[0].line == f"{name}=={version.partition('+')[0]}"
    is_other = Requirement(line).name.replace("-", "_") != name.replace("-", "_")
    assert ("the build for CUDA" in pin.reason) == (is_other or version.endswith("+cpu"))


@pytest.mark.parametrize(("label", "kept"), [("cpu", False), ("cu124", True), ("rocm6.2", True)])
def test_of_torchs_indexes_only_that_of_the_cpu_is_left_out(
    site: Site, label: str, kept: bool
) -> None:
    site.install("torch", f"2.5.1+{label}", files=["frame.py"], requires=["torchvision"])
    site.install("torchvision", f"0.20.1+{label}")
    found = infer({"frame": "Model"}, gpu=True)
    assert lines(found) == ["torch==2.5.1", "torchvision==0.20.1"]
    index = f"--extra-index-url https://download.pytorch.org/whl/{label}"
    assert [option.partition("  #")[0] for option in found.options] == [index] * kept


def test_a_build_for_the_cpu_from_a_file_or_an_address_does_not_travel(site: Site) -> None:
    place = origin("https://download.pytorch.org/whl/cpu/torch-2.5.1%2Bcpu.whl", archive_info={})
    site.install("torch", "2.5.1+cpu", files=["frame.py"], metadata=place)
    site.install("onnxruntime", "1.22.0", files=["other.py"], metadata=origin("file:///tmp/o.whl"))
    found = infer({"frame": "Model", "other": "Session"}, gpu=True)
    assert lines(found) == ["onnxruntime-gpu[cuda,cudnn]==1.22.0", "torch==2.5.1"]
    assert found.wheels == [] and found.options == []


def test_what_the_extras_bring_is_pinned_where_it_is_installed(site: Site) -> None:
    site.install("jax-cuda13-plugin", "0.10.2", requires=["nvidia-cublas"])
    site.install("nvidia-cublas", "13.1")
    extra = ['jax-cuda13-plugin; extra == "cuda13"', 'never; extra == "cuda12"']
    site.install("jax", "0.10.2", files=["frame.py"], requires=extra)
    pinned = ["jax[cuda13]==0.10.2", "jax-cuda13-plugin==0.10.2", "nvidia-cublas==13.1"]
    assert lines(infer({"frame": "Model"}, gpu=True)) == pinned
    assert lines(infer({"frame": "Model"})) == ["jax==0.10.2"]


def test_spacy_computes_with_the_cupy_that_is_here_or_the_latest(site: Site) -> None:
    assert on_gpu(site, "spacy", "3.8.18") == ["cupy-cuda12x[ctk]>=11.5", "spacy==3.8.18"]
    own = ["cupy-cuda12x==14.2.0"]
    assert lines(infer({"frame": "M"}, gpu=True, given=own)) == [*own, "spacy==3.8.18"]
    site.install("cupy-cuda13x", "14.2.0")
    assert lines(infer({"frame": "M"}, gpu=True)) == ["cupy-cuda13x==14.2.0", "spacy==3.8.18"]
    assert lines(infer({"frame": "M"})) == ["spacy==3.8.18"]


@pytest.mark.parametrize("own", ["onnxruntime-gpu==1.31.1", "onnxruntime==1.32.0"])
def test_your_line_for_either_build_is_the_only_one(site: Site, own: str) -> None:
    assert on_gpu(site, "onnxruntime", "1.32.0", given=[own]) == [own]


FOR_CUDA = """\
--extra-index-url https://download.pytorch.org/whl/cu124  # serves the cu124 variant of torch
--pre
torch==2.5.1  # the model
tensorflow[and-cuda]==2.21.0  # the model
onnxruntime-gpu[cuda,cudnn]==1.22.0  # the model; the build for CUDA, in place of onnxruntime 1.22.0
jax[cuda13]==0.10.2  # the model
cupy-cuda12x[ctk]>=11.5  # what spacy computes with on a GPU
xgboost==3.2.0  # the model
nvidia-ml-py==13.0  # given by you
odd[extra] @ https://example.org/odd.whl  # needed by torch
nvidia-cublas-cu12==12.4  # needed by torch
triton==3.1.0  # needed by torch
jax-cuda13-plugin==0.10.2  # needed by jax
"""
FOR_CPU = """\
--extra-index-url https://download.pytorch.org/whl/cpu
--pre
torch==2.5.1  # the model
tensorflow-cpu==2.21.0
onnxruntime==1.22.0
jax==0.10.2
xgboost==3.2.0  # the model
nvidia-ml-py==13.0  # given by you
odd[extra] @ https://example.org/odd.whl  # needed by torch
"""


def test_an_environment_without_a_gpu_has_the_builds_for_the_cpu() -> None:
    assert gpu.on_cpu(FOR_CUDA) == FOR_CPU
    assert gpu.on_cpu(FOR_CPU.partition("\n")[2]) == FOR_CPU
    assert gpu.on_cpu("numpy==2.4.6\n") == "numpy==2.4.6\n"
