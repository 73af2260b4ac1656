"""`new owner/name`: a repository of Hugging Face's, fetched by its client into its cache."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.models.later import Later
from support.models.tiny_texts import TEXTS, bert, tokenizer
from support.servers.hub import hub

pytestmark = pytest.mark.sweep
transformers = Later("transformers")
NAME = "somebody/tiny-bert"
Ask = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def model(tmp_path: Path) -> Any:
    """A pipeline whose directory is what the hub has."""
    network = bert("BertForSequenceClassification")
    made = transformers.pipeline("text-classification", model=network, tokenizer=tokenizer())
    made.save_pretrained(tmp_path / "published")
    (tmp_path / "published" / "README.md").write_text("---\nlicense: mit\n---\n")
    return made


@pytest.fixture
def new(tmp_path: Path) -> Ask:
    """Runs `python -m generator new NAME DIRECTORY` with a hub and an empty cache."""

    def ask(name: str, place: str, address: str) -> subprocess.CompletedProcess[str]:
        own = {
            "HF_ENDPOINT": address,
            "HF_HOME": str(tmp_path / "cache"),
            "HF_HUB_ETAG_TIMEOUT": "3",
        }
        return subprocess.run(
            [sys.executable, "-m", "generator", "new", name, str(tmp_path / place)],
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return ask


def test_a_repository_is_fetched_once(model: Any, new: Ask, tmp_path: Path) -> None:
    with hub({NAME: tmp_path / "published"}) as address:
        fetched = new(NAME, "first", address)
        assert fetched.returncode == 0, fetched.stderr
        missing = new("somebody/else", "none", address)
    again = new(NAME, "second", address)  # the hub is gone
    assert again.returncode == 0, again.stderr
    for place in ("first", "second"):
        [score] = _scores(tmp_path / place)
        assert score == pytest.approx(model(TEXTS[0])[0]["score"], rel=1e-6)
    assert (
        missing.returncode == 1
        and "Traceback" not in missing.stderr
        and not (tmp_path / "none").exists()
    )
    line = missing.stderr.splitlines()[-1]
    assert "'somebody/else' does not exist here, and cannot be fetched" in line


def test_a_hub_that_does_not_answer(new: Ask) -> None:
    gone = new(NAME, "none", "http://127.0.0.1:9")
    assert gone.returncode == 1 and "Traceback" not in gone.stderr
    line = gone.stderr.splitlines()[-1]
    assert f"'{NAME}' does not exist here, and cannot be fetched" in line


def _scores(directory: Path) -> list[float]:
    """What the scaffold answers to the first text."""
    body = json.dumps({"instances": TEXTS[:1]})
    answer = subprocess.run(
        [sys.executable, "-m", "generator", "predict", str(directory), body],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return [each["score"] for each in json.loads(answer.stdout)["predictions"]]
