"""What the shells complete, in bash itself; and that help shows the values of each option."""

import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from generator import cli
from generator.cli import main, parser
from generator.completion import SHELLS, script
from support.rendering.checkouts import ROOT

ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_scaffold
echo "${COMPREPLY[@]}"
"""
CLOSED = {
    "framework": "custom",
    "server": "standalone",
    "platforms": "cloudrun",
    "python_version": "3.12",
    "ci": "gitlab",
    "format": "safetensors",
    "engine": "onnx",
    "environment": "isolated",
    "shell": "fish",
}


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash, in a file."""
    file = tmp_path_factory.mktemp("completion") / "scaffold"
    file.write_text(script(parser(), "bash"))
    return file


def completed(bash: Path, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    command = ["bash", "--norc", "-c", ASK, "bash", str(bash), "scaffold", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ver"], ["verify"]),
        (["new", "--serv"], ["--server"]),
        (["new", "--server", ""], ["kserve", "standalone", "kfserving"]),
        (["new", "--server", "="], ["kserve", "standalone", "kfserving"]),  # as bash splits it
        (["new", "--server", "=", "k"], ["kserve", "kfserving"]),
        (["new", "--server=k"], ["--server=kserve", "--server=kfserving"]),  # as zsh splits it
        (["new", "--server", "=", "kserve", "m", "d", "--ci", "g"], ["github", "gitlab"]),
        (["new", "--platform", "ray", "--gpu", "--platform", "s"], ["sagemaker"]),
        (["new", "my model", "d", "--no"], ["--no-gpu"]),
        (["verify", "d", "--environment", "i"], ["isolated"]),
        (["completion", ""], list(SHELLS)),
        (["new", "--name", ""], []),  # and the shell's own: files
        (["new", ""], []),
        (["nonsense", ""], []),
    ],
)
def test_bash(words: list[str], offered: list[str], bash: Path) -> None:
    assert completed(bash, *words) == offered


def test_every_command_option_and_value_is_completed(bash: Path) -> None:
    commands = parser().commands
    assert set(commands) <= set(completed(bash, ""))
    fish = script(parser(), "fish")
    for name, command in commands.items():
        names = {each for option in command.options for each in option.action.option_strings}
        assert set(completed(bash, name, "--")) == names - {"-h"}
        for option in filter(lambda option: option.values, command.options):
            words = option.action.option_strings[:1]
            assert completed(bash, name, *words, "") == list(option.values)
            assert f"-a '{' '.join(option.values)}'" in fish


def test_bash_completes_a_path_itself(bash: Path, tmp_path: Path) -> None:
    (tmp_path / "my model.joblib").touch()
    ours, terminal = pty.openpty()
    command = ["bash", "--norc", "--noprofile", "-i"]
    environ = {**os.environ, "TERM": "dumb", "INPUTRC": os.devnull}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environ, stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    try:
        os.write(ours, f"source '{bash}'; echo re''ady\n".encode())
        read_until(ours, b"ready\r\n")
        os.write(ours, b"scaffold new my\t")
        assert b"my\\ model.joblib" in read_until(ours, b"joblib")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(terminal: int, end: bytes) -> bytes:
    said, last = b"", time.monotonic() + 30
    while end not in said and time.monotonic() < last:
        if select.select([terminal], [], [], 1)[0]:
            said += os.read(terminal, 4096)
    return said


@pytest.mark.parametrize("shell", [name for name in SHELLS if shutil.which(name)])
def test_the_shell_can_read_its_script(shell: str) -> None:
    text = script(parser(), shell)
    subprocess.run([shell, "-n", "-c", text], check=True)


def test_help_shows_the_values_of_each_option(capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, Any] = {}
    for name, command in parser().commands.items():
        with pytest.raises(SystemExit):
            main([name, "--help"])
        told = "".join(capsys.readouterr().out.split())
        for option in filter(lambda option: option.values, command.options):
            found[option.action.dest] = option.values
            assert all(value in told for value in option.values)
            shown = (option.action.help or "").endswith(")")
            assert shown or not option.action.option_strings, option.action.dest  # the default
    assert found.keys() == CLOSED.keys()
    assert all(value in found[name] for name, value in CLOSED.items())


def test_the_values_are_the_templates() -> None:
    questions = yaml.safe_load((ROOT / "copier.yml").read_text())
    known = {
        name: set(questions[name]["choices"].values()) for name in ("server", "platforms", "ci")
    }
    assert known == {
        "server": set(cli.SERVERS),
        "platforms": set(cli.PLATFORMS),
        "ci": set(cli.CIS),
    }


def test_the_command_prints_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    for shell in SHELLS:
        assert main(["completion", shell]) == 0
        assert capsys.readouterr().out == script(parser(), shell)
