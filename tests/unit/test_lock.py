"""What a requirements.lock is of, whether it was edited, and what cannot be locked. No index."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from generator import RequirementError
from generator.environment import locking, venvs
from generator.environment.lock import STAMP, Lock, digest_of_packages, source_digest
from support.packages.wheels import write_wheel
from support.rendering.checkouts import ROOT

REQUIREMENTS = """\
# The model's environment
numpy==2.4.6  # the model
six @ https://example.org/six.whl#sha256=0  # has a fragment
"""
PACKAGES = "six==1.17.0 \\\n    --hash=sha256:0\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A scaffold's, with the files that a lock is of."""
    (tmp_path / "requirements.txt").write_text(REQUIREMENTS)
    return tmp_path


def write_lock(directory: Path) -> Path:
    """A lock as the generator writes one."""
    stamp = STAMP.format(
        version="3.11",
        systems="Linux alone",
        source=source_digest(directory),
        itself=digest_of_packages(PACKAGES),
    )
    (directory / "requirements.lock").write_text(f"# A lock.\n{stamp}{PACKAGES}")
    return directory / "requirements.lock"


def read(directory: Path) -> Lock:
    lock = Lock.read(directory)
    assert lock is not None
    return lock


SAME = [
    REQUIREMENTS + "\n  # more\n",
    REQUIREMENTS.replace("  # the model", "\t  # another reason"),
    REQUIREMENTS.replace("\n", "\r\n"),
    REQUIREMENTS.rstrip(),
]
OTHER = [
    REQUIREMENTS + "tqdm\n",
    REQUIREMENTS.replace("2.4.6", "2.4.5"),
    REQUIREMENTS.replace("sha256=0", "sha256=1"),
    "--pre\n" + REQUIREMENTS,
    "",
]


@pytest.mark.parametrize("text", SAME)
def test_comments_and_line_endings_do_not_count(directory: Path, text: str) -> None:
    write_lock(directory)
    (directory / "requirements.txt").write_bytes(text.encode())
    assert read(directory).is_current
    read(directory).check()


@pytest.mark.parametrize("text", OTHER)
def test_another_line_makes_it_stale(directory: Path, text: str) -> None:
    write_lock(directory)
    (directory / "requirements.txt").write_text(text)
    with pytest.raises(RequirementError, match=r"requirements.lock is not of .* generator lock"):
        read(directory).check()


def test_a_wheel_that_comes_changes_or_goes_makes_it_stale(directory: Path) -> None:
    write_lock(directory)
    wheel = write_wheel(directory / "wheels", "frame", "1.0", {"frame.py": ""})
    assert not read(directory).is_current
    write_lock(directory)
    assert read(directory).is_current
    wheel.write_bytes(wheel.read_bytes() + b"more")
    assert not read(directory).is_current
    write_lock(directory)
    wheel.unlink()
    assert not read(directory).is_current


def commands() -> dict[str, str]:
    """How the Dockerfile and the first lines of a lock compute what a lock is of."""
    (dockerfile,) = (ROOT / "template").glob("*server.Dockerfile.jinja")
    texts = {
        "Dockerfile": dockerfile.read_text().replace("\\\n", ""),
        "lock": locking.DIGEST.replace("\n#", "\n"),
    }
    return {
        name: found[1]
        for name, text in texts.items()
        if (found := re.search(r"of=\$\((awk .*? cut -c 1-64)\)", text, re.DOTALL))
    }


@pytest.mark.parametrize("place", ["Dockerfile", "lock"])
def test_the_shell_computes_the_same(directory: Path, place: str) -> None:
    write_wheel(directory / "wheels", "zeta", "1.0", {"frame.py": ""})
    write_wheel(directory / "wheels", "Alpha", "1.0", {"frame.py": ""})
    odd = b"\xef\xbb\xbfnumpy\t # \xff\r\n#\n \t\nname#fragment # b#c\n\n  six  \nlast"
    for content in (*(text.encode() for text in (*SAME, *OTHER)), odd):
        (directory / "requirements.txt").write_bytes(content)
        shell = subprocess.run(["sh", "-c", commands()[place]], cwd=directory, capture_output=True)
        assert shell.stdout.decode().strip() == source_digest(directory), content


def test_an_edit_of_the_lock_is_told(directory: Path) -> None:
    path = write_lock(directory)
    text = path.read_text()
    assert read(directory).is_as_made and read(directory).is_for("3.11")
    assert not read(directory).is_for("3.1")
    path.write_bytes(text.replace("\n", "\r\n").encode())
    assert read(directory).is_as_made
    for edited in (text.replace("1.17.0", "1.16.0"), text + "\n", PACKAGES, ""):
        path.write_text(edited)
        assert not read(directory).is_as_made


def test_a_scaffold_without_a_lock_has_none(directory: Path) -> None:
    assert Lock.read(directory) is None
    (directory / "requirements.lock").write_bytes(b"\xff")
    with pytest.raises(RequirementError, match=r"requirements.lock cannot be read"):
        Lock.read(directory)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("steps @ git+https://example.org/steps@v1  # ours", "'steps @ git.* wheels/"),
        ("-e git+https://example.org/steps", "'-e git.* wheels/"),
        ("  -r base.txt", "'-r base.txt' cannot be locked, because the image has no other file"),
        ("--constraint=limits.txt", "'--constraint=limits.txt' cannot be locked"),
    ],
)
def test_what_cannot_be_locked_is_named(directory: Path, line: str, message: str) -> None:
    (directory / "requirements.txt").write_text(f"{REQUIREMENTS}{line}\n")
    with pytest.raises(RequirementError, match=f"requirements.txt: {message}") as raised:
        locking.make(directory, "3.11")
    assert "\n" not in str(raised.value)
    assert not (directory / "requirements.lock").exists()


def test_an_edited_lock_is_not_replaced(directory: Path) -> None:
    path = write_lock(directory)
    path.write_text(path.read_text() + "tqdm==4.70.1 --hash=sha256:0\n")
    before = path.read_text()
    with pytest.raises(RequirementError, match="may hold edits of yours: .* remove"):
        locking.make(directory, "3.11")
    assert path.read_text() == before


def test_without_uv_the_error_says_how_to_get_it(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setattr(sys, "executable", str(directory / "python"))
    assert venvs.uv() is None
    with pytest.raises(RequirementError, match="made by uv, which is not found: run `pip install"):
        locking.make(directory, "3.11")


def test_a_dockerfile_that_knows_no_lock_is_named(directory: Path) -> None:
    (directory / "sklearn-server.Dockerfile").write_text("COPY wheel[s] /tmp/wheels\n")
    with pytest.raises(RequirementError, match=r"sklearn-server.Dockerfile installs nothing from"):
        locking.make(directory, "3.11")
