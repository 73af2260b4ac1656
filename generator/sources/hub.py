"""A repository of Hugging Face's, through its own cache."""

import re
from pathlib import Path

from ..errors import ScaffoldError, SettingError
from ..owners import one_line

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
FILE = re.compile(r".*\.(joblib|pickle|pkl|keras|h5|pt|pth|pt2|onnx|ubj|cbm|skops|json|bst)")


def is_name(source: str) -> bool:
    """Whether a source that is no path here may be `owner/name`."""
    is_file = FILE.fullmatch(source) or Path(source).parent.exists()
    return bool(NAME.fullmatch(source)) and not is_file


def fetched(name: str) -> Path:
    """The directory of a repository, from the cache or from the hub.

    Raises:
        SettingError: huggingface_hub is not installed.
        ScaffoldError: the repository is not there, or the hub does not answer.
    """
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError:
        raise SettingError(
            f"SOURCE {name!r} does not exist; for a repository of Hugging Face's, install"
            " huggingface_hub"
        ) from None
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except Exception:  # it is not in the cache
        pass
    try:
        return Path(snapshot_download(name))
    except Exception as error:
        raise ScaffoldError(
            f"SOURCE {name!r} does not exist here, and cannot be fetched from Hugging Face's hub:"
            f" {one_line(error)}"
        ) from error
