"""A scaffold's own `common` package, as the generator loads it."""

import shutil
from pathlib import Path

import pytest

from generator.errors import ScaffoldError
from generator.running.runtime import Runtime

COMMON = Path(__file__).resolve().parents[2] / "template" / "src" / "common"
CONFIG = "{model_name: iris, model_metadata: {framework: sklearn, model: {}}}"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """What the generator reads of a scaffold."""
    shutil.copytree(
        COMMON, tmp_path / "src" / "common", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


def test_a_link_to_nothing_is_no_module(directory: Path) -> None:
    """Emacs leaves one beside a file that it edits."""
    (directory / "src" / "common" / ".#config.py").symlink_to("user@host.123")
    assert Runtime(directory).config().name == "iris"


def test_a_changed_module_is_imported_anew(directory: Path) -> None:
    assert not hasattr(Runtime(directory).config(), "note")
    file = directory / "src" / "common" / "config.py"
    file.write_text(f"{file.read_text()}\nConfig.note = 'changed'\n")
    assert hasattr(Runtime(directory).config(), "note")


@pytest.mark.parametrize("name", ["__init__.py", "config.py"])
@pytest.mark.parametrize("line", ["def (", "import a_missing_module"])
def test_a_broken_module_is_named(directory: Path, name: str, line: str) -> None:
    file = directory / "src" / "common" / name
    file.write_text(f"{file.read_text()}\n{line}\n")
    with pytest.raises(ScaffoldError) as raised:
        Runtime(directory).config()
    message = str(raised.value)
    assert message.startswith(f"{file} cannot be imported: ") and "\n" not in message


@pytest.mark.parametrize("name", ["PORT", "GRPC_PORT", "WORKERS", "AIP_HTTP_PORT"])
def test_a_servers_variable_is_not_for_the_generator(
    directory: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A notebook may run where a platform has set it, to anything."""
    monkeypatch.setenv(name, "none")
    assert Runtime(directory).config().serving.http_port == 8080
