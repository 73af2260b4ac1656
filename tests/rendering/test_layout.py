"""The paths in layout.py are those of a rendered scaffold and of its worker."""

from pathlib import Path

from common.model_file import MODEL_DIRECTORY
from common.model_file import ONNX_FILE as WORKERS_ONNX_FILE
from generator import layout
from generator.rendering.render import render


def test_every_path_is_in_a_rendered_scaffold(tmp_path: Path) -> None:
    render({"framework": "sklearn"}, tmp_path)
    made_later = {"LOCK", "ONNX_FILE", "SMOKE_TEST", "WHEELS", "WHEELS_REQUIREMENTS"}
    names = {name for name in vars(layout) if name.isupper()} - made_later
    assert len(names) > 8
    for name in names:
        assert list(tmp_path.glob(getattr(layout, name))), name
    assert (tmp_path / layout.dockerfile("sklearn")).is_file()


def test_the_worker_reads_the_model_from_where_it_is_written() -> None:
    assert f"{layout.SOURCE}/{MODEL_DIRECTORY}" == layout.MODEL
    assert layout.ONNX_FILE == WORKERS_ONNX_FILE
