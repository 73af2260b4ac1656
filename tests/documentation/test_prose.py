"""The check of the length of sentences in Markdown."""

import subprocess
import sys
from pathlib import Path

import pytest

from docs.building import prose
from support.rendering.checkouts import ROOT

LONG = " ".join(["word"] * 31)
FITS = " ".join(["word"] * 30)


def found(text: str) -> list[tuple[int, int]]:
    """The lines and the words of sentences that are too long."""
    return [(each.line, each.words) for each in prose.long_ones(text)]


def texts(text: str) -> list[str]:
    return [each.text for each in prose.sentences(text)]


@pytest.mark.parametrize("end", [".", "!", "?", ".)", '."', "", ":"])
def test_a_sentence_of_31_words_is_long_and_one_of_30_is_not(end: str) -> None:
    assert found(f"# Title\n\n{LONG}{end}\n") == [(3, 31)]
    assert found(f"{FITS}{end}\n\n{FITS}\n") == []


def test_lines_are_joined_and_the_line_is_where_the_sentence_begins() -> None:
    assert found(f"One. Two\nis here. {LONG[:50]}\n{LONG[50:]}. Four.\n") == [(2, 31)]


@pytest.mark.parametrize(
    "between",
    ["\n\n", "\n- ", "\n* ", "\n12. ", "\n## ", "\n> ", "\n| a | b |\n", "\n\n<!-- x -->\n"],
)
def test_another_paragraph_item_or_heading_is_another_sentence(between: str) -> None:
    assert found(f"{FITS}{between}{FITS}\n") == []


@pytest.mark.parametrize(
    "text",
    [
        f"---\ntitle: {LONG}\n---\n",
        f"```python\n{LONG}\n```\n",
        f"- item\n\n  ~~~\n  {LONG}\n  ```\n  {LONG}\n  ~~~\n",
        f"````text\n```\n{LONG}\n```\n{LONG}\n````\n",
        f"| {LONG} | b |\n",
        f"<!-- {LONG}\n{LONG} -->\n",
        f"{{% set x = '{LONG}' %}}\n{{{{ '{LONG}' }}}}\n",
        f"![{LONG}](a.png) `{LONG}` ``a ` {LONG}``\n",
        f"[a](https://example.org/{LONG.replace(' ', '_')} '{LONG}')\n",
    ],
)
def test_what_is_no_prose_does_not_count(text: str) -> None:
    assert found(text) == []
    assert found(f"{text}\n{LONG}\n") == [(text.count("\n") + 2, 31)]


def test_code_and_links_count_as_their_words() -> None:
    assert texts("Call `f(1, 2)` of [the page](a.md), e.g. so. Then [x][1].\n") == [
        "Call Word of the page, e.g. so.",
        "Then x.",
    ]


def test_the_program_names_file_line_and_sentence(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text(f"Short.\n\n{LONG}\n")
    (tmp_path / "docs" / "code.py").write_text(LONG)

    def run(name: str) -> "subprocess.CompletedProcess[bytes]":
        command = [sys.executable, str(ROOT / "docs" / "building" / "prose.py"), name]
        return subprocess.run(command, cwd=tmp_path, capture_output=True)

    done = run("docs")
    assert done.returncode == 1
    assert done.stdout.decode() == f"docs/page.md:3: 31 words: {LONG}\n"
    done = run("nothing.md")
    assert done.returncode == 1 and b"nothing.md is not there" in done.stderr
    (tmp_path / "docs" / "page.md").write_text("Short.\n")
    done = run("docs")
    assert (done.returncode, done.stdout) == (0, b"")


def test_every_page_that_is_checked_is_there() -> None:
    assert all((ROOT / name).exists() for name in prose.CHECKED)
