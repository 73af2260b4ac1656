"""From the last release to what follows it: `copier copy` finds the tag, `copier update` the next.

Until there is a release, this working tree is taken for it. What follows is this working tree too,
with a line more in some files.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import copier
import numpy as np
import pytest

import generator
from generator.layout import ANSWERS, CONFIG, INFERENCE_MODEL, MODEL_CARD, README
from generator.rendering.answers import Answers
from generator.writing.pages import PART
from support.models.objects import Sums
from support.rendering.checkouts import VERSION, archived, commit, git, last_release, snapshot

LATER = "v90.0.0"
ROWS = np.array([[1.0, 2.0], [3.0, 4.0]])
# Old and new texts in template/, which LATER changes.
CHANGES = {
    "src/common/logs.py": ("import json\n", "import json  # newer\n"),
    "README.md.jinja": ("## Updating\n", "## Keeping it fresh\n"),
    "model-card.md.jinja": ("## Citation\n", "## How to cite\n"),
}
# Those of the owner.
EDITS = {
    README: ("## Without Docker\n", "## Ours\n\nAsk Maria.  \n\n## Without Docker\n"),
    MODEL_CARD: ("**Developed by:** To fill in", "**Developed by:** Maria"),
    CONFIG: ("    max_queue: 1024\n", "    max_queue: 64  # a small machine\n"),
    INFERENCE_MODEL: ("        return response\n", '        return {**response, "ours": 1}\n'),
}
MAKE = """
import numpy as np

import generator


class Model:
    def predict(self, rows):
        return [sum(row) for row in rows]


rows = np.array([[1.0, 2.0], [3.0, 4.0]])
generator.from_model(Model(), "made", framework="custom", sample_input=rows)
"""


def change(directory: Path, changes: dict[str, tuple[str, str]]) -> None:
    for name, (old, new) in changes.items():
        text = (directory / name).read_bytes().decode()
        assert text.count(old) == 1, (name, old)
        (directory / name).write_bytes(text.replace(old, new).encode())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("release")


@pytest.fixture(scope="module")
def release(place: Path) -> tuple[Path, str]:
    """The template's repository with the last release alone, and the release's tag."""
    template, tag = place / "template", last_release()
    if tag is None:
        return snapshot(template), f"v{VERSION}"
    archived(tag, template)
    git(template, "init", "--quiet")
    commit(template, tag)
    return template, tag


@pytest.fixture(scope="module")
def made(release: tuple[Path, str], place: Path) -> dict[str, Path]:
    """A scaffold by the generator of the release, and one by `copier copy`; LATER follows."""
    template, _ = release
    environ = os.environ | {"PYTHONPATH": str(template)}
    command = [sys.executable, "-W", "ignore", "-c", MAKE]
    done = subprocess.run(command, cwd=place, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers = {"framework": "custom"}
    copier.run_copy(str(template), place / "copied", data=answers, defaults=True, quiet=True)
    newest = snapshot(place / "newest")
    change(newest / "template", CHANGES)
    commit(newest, LATER)
    git(template, "fetch", "--quiet", str(newest), f"refs/tags/{LATER}:refs/tags/{LATER}")
    return {way: place / way for way in ("made", "copied")}


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path], Path]:
    """Copies a scaffold into a repository for one test."""

    def copied(directory: Path) -> Path:
        mine = shutil.copytree(directory, tmp_path / directory.name)
        git(mine, "init", "--quiet")
        commit(mine)
        return mine

    return copied


def by_copier(directory: Path) -> None:
    copier.run_update(directory, defaults=True, overwrite=True, quiet=True)


def by_generator(directory: Path) -> None:
    assert generator.load(directory).update().conflicts == ()


@pytest.mark.parametrize("way", ["made", "copied"])
def test_the_answers_name_the_tag(
    made: dict[str, Path], release: tuple[Path, str], way: str
) -> None:
    answers = Answers.read(made[way])
    assert (Path(answers.template), answers.version) == release


@pytest.mark.parametrize(
    ("way", "update"),
    [
        ("made", by_generator),
        *(
            pytest.param(way, update, marks=pytest.mark.sweep)
            for way, update in (
                ("made", by_copier),
                ("copied", by_copier),
                ("copied", by_generator),
            )
        ),
    ],
)
def test_the_next_version_reaches_an_edited_scaffold(
    made: dict[str, Path], copied: Callable[[Path], Path], way: str, update: Any
) -> None:
    """The owner edits it, puts a model there, edits again, and updates."""
    directory = copied(made[way])
    change(directory, EDITS)
    scaffold = generator.load(directory)
    scaffold.replace_model(Sums(), sample_input=ROWS)
    commit(directory)
    page, card = ((directory / name).read_text() for name in (README, MODEL_CARD))
    parts = [each[0] for each in PART.finditer(page)]
    assert "objects.Sums`" in parts[0] and "objects.Sums`" in card
    update(directory)
    assert Answers.read(directory).version == LATER
    assert "import json  # newer\n" in (directory / "src" / "common" / "logs.py").read_text()
    assert (directory / README).read_text() == page.replace(*CHANGES["README.md.jinja"])
    assert (directory / MODEL_CARD).read_text() == card.replace(*CHANGES["model-card.md.jinja"])
    for name, (_, new) in EDITS.items():
        assert new in (directory / name).read_text()
    assert scaffold.predict(ROWS) == {"predictions": [3.0, 7.0], "ours": 1}
    scaffold.close()
    states = git(directory, "status", "--porcelain").splitlines()
    assert {line[3:] for line in states} >= {ANSWERS, README} and not any("UU" in s for s in states)


@pytest.mark.sweep
def test_a_card_that_was_deleted_stays_away(
    made: dict[str, Path], copied: Callable[[Path], Path]
) -> None:
    directory = copied(made["copied"])
    (directory / MODEL_CARD).unlink()
    commit(directory)
    by_copier(directory)
    assert not (directory / MODEL_CARD).exists()
