"""Packages that were installed from a wheel or a project on this machine bring a wheel."""

import json
from pathlib import Path

import pytest

from generator.environment import pins
from generator.environment.installed import Environment
from generator.environment.lines import Pin, Requirements
from generator.errors import RequirementError
from support.packages.wheels import install, sha256, write_project, write_wheel

FILES = {"frame.py": "class Dense:\n    pass\n"}
OPTION = "--find-links wheels  # holds what was installed from a file: frame"


def infer(*given: str, builds_wheels: bool = False) -> Requirements:
    return pins.infer({"frame": "Dense"}, Environment(builds_wheels), given=given)


@pytest.mark.parametrize("record", ["hashes", "hash", "none"])
@pytest.mark.parametrize("tag", ["py3-none-any", "cp311-cp311-manylinux_2_17_x86_64.linux_x86_64"])
def test_a_wheel_travels_and_is_pinned(site: Path, tmp_path: Path, record: str, tag: str) -> None:
    wheel = write_wheel(tmp_path / "a b", "frame", "1.0+own", FILES, tag)
    digest = sha256(wheel)
    records = {"hashes": {"hashes": {"sha256": digest}}, "hash": {"hash": f"sha256={digest}"}}
    install(wheel, site, records.get(record, {}))
    found = infer()
    assert found.pins == [
        Pin("frame==1.0+own", f"the model: frame.Dense; from wheels/frame-1.0+own-{tag}.whl")
    ]
    assert found.text().startswith(f"{OPTION}\nframe==1.0+own  # the model")
    (travels,) = found.wheels
    assert (travels.name, travels.sha256) == (wheel.name, digest)
    travels.write(tmp_path / "wheels")
    assert (tmp_path / "wheels" / wheel.name).read_bytes() == wheel.read_bytes()
    assert infer("--find-links wheels").text().count("--find-links") == 1


def test_a_line_for_it_takes_it_from_an_index(site: Path, tmp_path: Path) -> None:
    install(write_wheel(tmp_path, "frame", "1.0", FILES), site)
    found = infer("frame==1.0")
    assert found.text() == "frame==1.0  # given by you\n" and found.wheels == []


def test_what_cannot_travel_is_an_error_with_a_fix(site: Path, tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, "frame", "1.0", FILES)
    install(wheel, site)
    with wheel.open("ab") as file:
        file.write(b"more")
    with pytest.raises(RequirementError, match="is not the wheel that frame was installed from"):
        infer()
    wheel.unlink()
    with pytest.raises(RequirementError) as caught:
        infer()
    assert str(caught.value) == (
        f"frame was installed from the wheel {wheel}, which is gone: bring it back, install frame"
        " from another wheel or from an index, or give a line for it, as in"
        " requirements=['frame==1.0']"
    )


@pytest.mark.parametrize(
    ("name", "version", "tag", "message"),
    [
        ("frame", "1.0", "cp311-cp311-macosx_11_0_arm64", "frame-1.0-.* is for macosx_11_0_arm64,"),
        ("frame", "1.0", "cp311-cp311-win_amd64", "is for win_amd64, and the image is Linux"),
        ("frame", "1.0", "cp311-cp311-musllinux_1_1_x86_64", "is Linux with glibc: install a"),
    ],
)
def test_a_wheel_for_another_system_is_refused(
    site: Path, tmp_path: Path, name: str, version: str, tag: str, message: str
) -> None:
    install(write_wheel(tmp_path, name, version, FILES, tag), site)
    with pytest.raises(RequirementError, match=message):
        infer()


def test_a_wheel_of_another_package_or_version_is_refused(site: Path, tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, "frame", "1.0", FILES)
    install(wheel, site)
    origin = site / "frame-1.0.dist-info" / "direct_url.json"
    for other, message in (
        ("frame-2.0-py3-none-any.whl", "is not the wheel of frame 1.0, which is installed"),
        ("other-1.0-py3-none-any.whl", "is a wheel of other, not of frame: give it its own name"),
        ("frame.whl", "give the file the name that its builder gave"),
    ):
        path = wheel.rename(wheel.with_name(other))
        origin.write_text(json.dumps({"url": path.as_uri(), "archive_info": {}}))
        with pytest.raises(RequirementError, match=message):
            infer()
        path.rename(wheel)


@pytest.fixture
def project(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_project(tmp_path / "project", site, "frame", FILES)
    monkeypatch.syspath_prepend(str(tmp_path / "project"))
    return tmp_path / "project"


def test_a_wheel_is_built_of_a_project_where_its_owner_asks(project: Path) -> None:
    with pytest.raises(
        RequirementError, match="or pass wheels=True, which builds one of a project"
    ):
        infer()
    found = infer(builds_wheels=True)
    assert [pin.line for pin in found.pins] == ["frame==1.1"]
    (wheel,) = found.wheels
    assert wheel.name == "frame-1.1-py3-none-any.whl" and isinstance(wheel.content, bytes)
    (project / "backend.py").write_text("raise ImportError('no compiler')")
    with pytest.raises(
        RequirementError, match=r"no wheel of frame can be built from .*no compiler"
    ):
        infer(builds_wheels=True)
