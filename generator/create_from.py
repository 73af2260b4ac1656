"""Makes a scaffold of a model in a file, a directory or a registry."""

import os
from collections.abc import Callable
from typing import Any

from .arguments import argument
from .create import from_model
from .errors import ScaffoldError, SettingError
from .owners import guarded
from .scaffold import Scaffold
from .sources import find
from .sources.loaded import Ask


def from_file(
    source: "str | os.PathLike[str]",
    target_directory: "str | os.PathLike[str] | None" = None,
    *,
    trust: bool = False,
    **making: Any,
) -> Scaffold:
    """Write a scaffold that serves a model from a file, a directory or a registry.

    Args:
        source: a file of joblib's, pickle's, skops's (`.skops`), Keras's (`.keras`, `.h5`) or
            PyTorch's (`.pt`, `.pth`, `.pt2`); an MLflow model, as a directory or as an address that
            MLflow fetches, such as "models:/iris/1", "models:/iris@champion" or "runs:/ID/model";
            a SavedModel of TensorFlow's, by its directory; a directory that MLServer serves, with
            its `model-settings.json`; or the name of a repository of Hugging Face's.
        target_directory: the directory to create; by default named after the model's class.
        trust: whether the code in the source may run. Loading a pickle runs code, and so does
            loading most of what MLflow writes. A source that runs none needs no trust.
        making: any argument of `from_model`. What the source says holds where it is not given: the
            name in a registry, the input example as `sample_input`, the requirements, the code.

    Raises:
        ScaffoldError: there is no such source, it cannot be loaded, or it must be trusted; or as
            `from_model` does.
    """

    def ask() -> None:
        if not trust:
            raise SettingError(
                f"loading SOURCE {os.fspath(source)!r} runs the code in it: pass"
                f" {argument('trust', True)} if you know where it comes from"
            )

    return make(source, target_directory, ask, making)


@guarded("the scaffold cannot be made", ScaffoldError)
def make(
    source: "str | os.PathLike[str]",
    target_directory: "str | os.PathLike[str] | None",
    ask: Ask,
    making: dict[str, Any],
    loaded: Callable[[], None] = lambda: None,
) -> Scaffold:
    """Write a scaffold of a source's model; see `from_file`.

    Args:
        ask: decides about the code in the source.
        loaded: is called when the model is loaded.
    """
    with find.read(source, ask) as found:
        loaded()
        return from_model(found.model, target_directory, **found.arguments(making))
