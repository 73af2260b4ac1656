"""The words that distinguish copier's errors are those of the installed copier."""

import re
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from copier import run_copy
from plumbum import ProcessExecutionError

from generator import ScaffoldError, SettingError, TemplateError
from generator.rendering import copier_errors
from generator.rendering.render import Source, render
from support.rendering.checkouts import commit, git

QUESTIONS = (
    "word:\n  type: str\n  default: a\n  validator: \"{% if word == 'b' %}no b{% endif %}\"\n"
    "kind:\n  type: str\n  default: a\n  choices: [a]\n"
)


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A template with one question, in git."""
    directory = tmp_path / "template"
    directory.mkdir()
    (directory / "copier.yml").write_text(QUESTIONS)
    (directory / "{{ word }}.txt").write_text("text\n")
    git(directory, "init", "--quiet")
    commit(directory, "v1.0.0")
    return directory


def check_words(words: str, error: Any, template: Path, **settings: Any) -> None:
    """Check the words of an error of copier. The message names what to change."""
    with pytest.raises(error) as raised:
        run_copy(str(template), template.parent / "made", defaults=True, quiet=True, **settings)
    message = str(getattr(raised.value, "stderr", "") or raised.value)
    found = re.search(getattr(copier_errors, words), message)
    copier = f"copier {metadata.version('copier')}"
    assert found, (
        f"{copier} says {message!r}: change {words} in generator/rendering/copier_errors.py"
    )


def test_the_words_of_copier(template: Path, tmp_path: Path) -> None:
    check_words("REFUSED_ANSWER", ValueError, template, data={"word": "b"})
    check_words("REFUSED_ANSWER", ValueError, template, data={"kind": "b"})
    check_words("NO_TEMPLATE", ValueError, tmp_path / "nowhere")
    check_words("NO_VERSION", ValueError, template, vcs_ref="v5")


def test_the_words_of_git(template: Path) -> None:
    """For a template with a URL, copier lets git find the version."""
    with pytest.raises(ProcessExecutionError) as raised:
        run_copy(f"git+file://{template}", template.parent / "made", vcs_ref="v5", quiet=True)
    message = str(raised.value.stderr)
    assert re.search(copier_errors.NO_VERSION_IN_GIT, message), (
        f"NO_VERSION_IN_GIT: git says {message!r}"
    )


@pytest.mark.parametrize(
    ("answers", "ref", "kind", "message"),
    [
        ({"word": "b"}, None, SettingError, "^word: no b$"),
        ({}, "v5", TemplateError, "has no version 'v5': name a tag that it has"),
    ],
)
def test_errors_of_copier_become_errors_of_the_generator(
    template: Path, tmp_path: Path, answers: dict[str, str], ref: str, kind: Any, message: str
) -> None:
    for address in (str(template), f"git+file://{template}"):
        with pytest.raises(kind, match=message):
            render(answers, tmp_path / "made", Source(address, ref))


@pytest.mark.parametrize("words", ["NO_TEMPLATE", "NO_VERSION", "REFUSED_ANSWER"])
def test_unknown_words_become_an_error_of_the_generator_too(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """If copier changes its words, the message is its own, on one line."""
    monkeypatch.setattr(copier_errors, words, "(never)")
    tried: dict[str, tuple[dict[str, str], Source]] = {
        "NO_TEMPLATE": ({}, Source(str(tmp_path / "nowhere"), None)),
        "NO_VERSION": ({}, Source(str(template), "v5")),
        "REFUSED_ANSWER": ({"word": "b"}, Source(str(template), None)),
    }
    answers, source = tried[words]
    with pytest.raises(ScaffoldError) as raised:
        render(answers, tmp_path / "made", source)
    assert str(raised.value) and "\n" not in str(raised.value)
