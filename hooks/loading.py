"""Another way to load the model, in a scaffold's `inference_model.py`.

The template's file reads the usual format of a framework. One that few scaffolds use is read by an
edit, so that no other scaffold holds its code.
"""

from pathlib import Path

from generator import layout
from generator.arguments import argument
from generator.errors import SettingError

from .base import PICKLE


def edit_load(path: Path, format: str, usual: str, call: str, function: str) -> None:
    """Let a scaffold's `load` read another format.

    Args:
        path: its `inference_model.py`.
        format: the format's name.
        usual: the call that reads the usual one.
        call: the call that takes its place.
        function: the function that it calls, which follows at the end of the file.

    Raises:
        SettingError: its owner has written another `load`.
    """
    text = path.read_text(encoding="utf-8")
    if call in text:
        return
    if usual not in text:
        raise SettingError(
            f"{argument('format')} {format!r}: load in {layout.INFERENCE_MODEL} is yours, and no"
            f" longer has {usual}: put it back, or pass"
            f" {argument('format', PICKLE)}"
        )
    path.write_text(text.replace(usual, call) + function, encoding="utf-8")
