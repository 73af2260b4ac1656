"""scikit-learn's models as skops saves them: a file whose loading runs no code.

Nothing in it is called that `config.yaml` does not name, beside what skops itself trusts.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from generator.arguments import argument
from generator.capture.pickle_references import Named
from generator.errors import ModelError, SettingError
from generator.owners import one_line

from ..base import PICKLE, WrittenModelScaffoldDefinition

SKOPS = "skops"
SUFFIX = ".skops"
SKOPS_FILE = f"model{SUFFIX}"


@dataclass(frozen=True)
class Skops:
    """A model that is served from a file of skops's."""

    model: Any


# What reads the file in a scaffold's inference_model.py, in place of joblib.
JOBLIB = "joblib.load(model_path(self._config))"
LOAD = "_load(self._config)"
FUNCTION = '''

def _load(config: Config) -> Any:
    """The model in the file. skops makes only what it or `model.settings` trusts."""
    path, settings = model_path(config), config.model.settings or {}
    if path.suffix != ".skops":
        return joblib.load(path)
    from skops import io  # type: ignore[import-untyped, unused-ignore]

    return io.load(path, trusted=settings.get("trusted_types") or [])
'''


class WithSkops(WrittenModelScaffoldDefinition):
    """A framework whose models skops can write."""

    suffixes: ClassVar[tuple[str, ...]] = (SUFFIX,)

    def read(self, path: Path) -> Any:
        io = _skops()
        return io.load(path, trusted=io.get_untrusted_types(file=path))

    def read_safely(self, path: Path) -> Any:
        io = _skops()
        if io.get_untrusted_types(file=path):
            return None
        return io.load(path)

    def format_of(self, path: Path) -> str | None:
        return SKOPS if path.suffix == SUFFIX else None

    def converted(self, model: Any, format: str | None, sample: Any) -> Any:
        if format in (None, PICKLE):
            return model
        if format != SKOPS:
            raise SettingError(
                f"{argument('format')} {format!r} is none of {self.name}'s: pass {SKOPS!r} or"
                f" {PICKLE!r}, or leave it out"
            )
        _skops()
        return Skops(model)

    def definitions(self, model: Any) -> list[Named]:
        return super().definitions(_inner(model))

    def references(self, model: Any) -> dict[str, str]:
        found = super().references(_inner(model))
        if not isinstance(model, Skops):
            return found
        return {"skops.io": "load", **found}

    def served_facts(self, served: Any, file: Path) -> dict[str, Any]:
        if not isinstance(served, Skops):
            return {}
        return {"settings": {"trusted_types": _skops().get_untrusted_types(file=file)}}


def write(model: Any, path: Path) -> Path:
    """Write a model with skops.

    Raises:
        ModelError: it holds something that skops cannot write.
    """
    try:
        _skops().dump(model, path)
    except Exception as error:
        raise ModelError(
            f"{argument('format')} {SKOPS!r} cannot hold this {type(model).__name__}:"
            f" {one_line(error)}; pass {argument('format', PICKLE)}"
        ) from error
    return path


def _inner(model: Any) -> Any:
    if isinstance(model, Skops):
        return model.model
    return model


def _skops() -> Any:
    try:
        from skops import io
    except ImportError:
        raise SettingError(f"{SKOPS} is not installed, and a .skops file needs it") from None
    return io
