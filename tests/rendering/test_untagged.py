"""Updates from a template that has no tags: from commit to commit."""

from pathlib import Path

import pytest

from generator.rendering import update
from generator.rendering.answers import Answers
from generator.rendering.render import Source, render
from support.rendering.checkouts import commit, git

FILE, LINES = "{{ word }}.txt", "1\n2\n3\n4\n5\n6\n"


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A template of one file and one commit."""
    directory = tmp_path / "template"
    (directory / "template").mkdir(parents=True)
    (directory / "copier.yml").write_text(
        "_subdirectory: template\nword:\n  type: str\n  default: a\n"
    )
    answers = directory / "template" / "{{ _copier_conf.answers_file }}.jinja"
    answers.write_text("# answers\n{{ _copier_answers | to_nice_yaml -}}\n")
    (directory / "template" / FILE).write_text(LINES)
    git(directory, "init", "--quiet")
    commit(directory)
    return directory


def made(template: Path, ref: str | None = None) -> Path:
    """A scaffold of it that its owner has edited, in git."""
    directory = template.parent / "made"
    directory.mkdir()
    render({}, directory, Source(str(template), ref))
    (directory / "a.txt").write_text(LINES.replace("1", "mine"))
    git(directory, "init", "--quiet")
    commit(directory)
    return directory


def head(repository: Path) -> str:
    return git(repository, "rev-parse", "HEAD").strip()


MORE = pytest.mark.sweep


@pytest.mark.parametrize(
    ("tag", "ref"),
    [
        (None, None),
        pytest.param(None, "HEAD", marks=MORE),
        ("latest", None),
        pytest.param("v1.0.0rc1", None, marks=MORE),
    ],
)
def test_an_update_goes_from_commit_to_commit(
    template: Path, tag: str | None, ref: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    file = template / "template" / FILE
    file.write_text(LINES.replace("3", "not committed"))  # else copier would commit it, in a copy
    directory, first = made(template, ref), head(template)
    assert first.startswith(Answers.read(directory).version)
    assert (directory / "a.txt").read_text() == LINES.replace("1", "mine")
    file.write_text(LINES.replace("6", "six"))
    commit(template)
    second = head(template)
    file.write_text(LINES.replace("6", "not committed"))
    if tag is not None:
        git(template, "tag", tag)
    result = update.run(directory, ref, pretend=False, template=None)
    assert result.merged == ("a.txt",) and result.conflicts == ()
    assert (directory / "a.txt").read_text() == LINES.replace("1", "mine").replace("6", "six")
    recorded = Answers.read(directory).version
    assert (tag and recorded.startswith(tag)) or second.startswith(recorded)
    commit(directory)
    assert update.run(directory, None, pretend=True, template=None).merged == ()
    assert capfd.readouterr().err == ""


def test_a_named_commit_is_taken(template: Path) -> None:
    directory = made(template)
    for text in ("six", "seven"):
        (template / "template" / FILE).write_text(LINES.replace("6", text))
        commit(template)
    update.run(directory, head(template) + "~1", pretend=False, template=None)
    assert (directory / "a.txt").read_text() == LINES.replace("1", "mine").replace("6", "six")
