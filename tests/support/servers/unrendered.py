"""The flow of a model's scaffold in this process, without a scaffold: nothing is rendered."""

import importlib.machinery
import importlib.util
import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from common.bodies.v2 import v2_metadata
from common.bodies.v2.v2_codec import V2
from common.config import Config
from common.link.frames import V2_HEAD, Kind, Request
from common.worker.flow import Flow
from common.worker.options import Options
from generator.common import schema
from generator.hooks import by_name
from support.servers import v2_client
from support.servers.flows import proved

Asked = tuple[dict[str, Any], dict[str, Any]]
SERVER = Path(__file__).resolve().parents[3] / "template" / "src" / "server"


def ask_v2(
    framework: str,
    model: Any,
    sample: Any,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows: list[Any] | None = None,
) -> Asked:
    """A model's metadata, and the answer to a V2 request that is made by it alone.

    The request has the rows, by default the example. The answer has what the metadata says.
    """
    config, flow = flow_of(framework, model, sample, directory, monkeypatch)
    metadata = v2_metadata.of_model(config)
    request = v2_client.request(metadata, rows or config.model.example or [])
    body = V2_HEAD.pack(0) + json.dumps(request).encode()
    [([response], _)] = flow.answer([flow.open(Request(1, Kind.V2, "an-id", body))])
    assert response.status == 200, bytes(response.body)
    answer = json.loads(bytes(response.body[V2_HEAD.size :]))
    v2_client.check(metadata, answer)
    return metadata, answer


def flow_of(
    framework: str,
    model: Any,
    sample: Any,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    **answering: Any,
) -> tuple[Config, Flow]:
    """What a scaffold of the model has in its configuration, and the flow of its worker.

    Args:
        framework: the name of the model's hook.
        model: the model.
        sample: rows, or None.
        directory: an empty one, which becomes the working directory.
        monkeypatch: pytest's.
        answering: `method` and `parameters`, where `predict` alone does not answer.
    """
    hook = by_name(framework)
    if answering:
        hook = hook.answering(model, **answering)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        description = hook.describe(model, hook.sampled(model, sample))
        (directory / "model").mkdir()
        served = hook.converted(model, None, sample)
        file = hook.serialize_model_to_directory(served, directory / "model")
    facts = {
        "file": file.name,
        "input": schema.as_document(description.input),
        "output": schema.as_document(description.output),
        "example": description.example,
        **hook.facts(model),
    }
    config, owner = _loaded(framework, facts, directory, monkeypatch)
    v2 = V2(config.name, config.model.input)
    return config, Flow(owner, proved(1), v2, options=Options.of_config(config))


def inference_model(
    framework: str, facts: dict[str, Any], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """The model that a scaffold's worker loads.

    Args:
        framework: the name of the model's hook.
        facts: `model` of `config.yaml`.
        directory: the file is in `model/` there; it becomes the working directory.
        monkeypatch: pytest's.
    """
    return _loaded(framework, facts, directory, monkeypatch)[1]._model  # noqa: SLF001


def _loaded(
    framework: str, facts: dict[str, Any], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Config, Any]:
    """The configuration and the owner's InferenceModel."""
    config = Config.from_document(
        {
            "model_name": "model",
            "model_metadata": {"framework": framework, "serving": {}, "model": facts},
        }
    )
    monkeypatch.chdir(directory)
    source = SERVER / f"{{% if framework == '{framework}' %}}inference_model.py{{% endif %}}"
    owner = _module(source).InferenceModel(config)
    owner.load()
    return config, owner


def _module(file: Path) -> Any:
    loader = importlib.machinery.SourceFileLoader("unrendered_inference_model", str(file))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
