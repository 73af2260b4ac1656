"""Whether a model is for a GPU: as its owner says, else as the model's own numbers lie."""

import functools
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from common.serving import gpu_memory
from common.worker.main import _reason
from generator import SettingError
from generator.hooks import DEFINITIONS, by_name
from generator.hooks.networks import devices
from support.packages.late import imported_late
from support.rendering.checkouts import ROOT
from support.servers.unrendered import inference_model

torch = imported_late("torch", "torch is only installed on Python 3.11")
jax = imported_late("jax", "jax is only installed on Python 3.11 and later")
WITHOUT = ("lightgbm", "sklearn", "statsmodels")


def test_hooks_questions_and_server_agree_on_who_has_none() -> None:
    question = yaml.safe_load((ROOT / "copier.yml").read_text())["gpu"]
    assert sorted(each.name for each in DEFINITIONS if not each.has_gpu) == [*WITHOUT]
    assert sorted(gpu_memory.ON_CPU) == [*WITHOUT]
    for text in (question["when"], question["validator"]):
        assert "('sklearn', 'lightgbm', 'statsmodels')" in text


@pytest.mark.parametrize("name", WITHOUT)
def test_a_framework_without_one_says_so(name: str) -> None:
    hook = by_name(name)
    assert hook.takes_gpu(None, None) is hook.takes_gpu(None, False) is False
    with pytest.raises(SettingError, match=f"gpu: {name} predicts on no GPU: leave it out"):
        hook.takes_gpu(None, True)


@pytest.mark.parametrize("given", [0, 1, "yes", "", [], np.bool_(True)])
def test_anything_but_yes_no_and_none_is_refused(given: Any) -> None:
    with pytest.raises(SettingError, match="pass True, False, or None"):
        by_name("custom").takes_gpu(None, given)


def test_what_the_owner_says_holds() -> None:
    hook, module = by_name("pytorch"), torch.nn.Linear(2, 2)
    answers = [hook.takes_gpu(module, given) for given in (None, True, False)]
    assert answers == [False, True, False]
    assert by_name("function").takes_gpu(print, None) is False


def on_cuda(place: str = "cuda:1") -> Any:
    """A module with a weight on the CPU and one on a GPU that is not there."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    module = torch.nn.Linear(2, 2)
    with FakeTensorMode():
        module.extra = torch.nn.Parameter(torch.empty(2, device=place))
    return module


def test_a_module_with_a_parameter_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = by_name("pytorch")
    assert hook.takes_gpu(on_cuda(), None) is True
    assert hook.takes_gpu(on_cuda(), False) is False
    assert hook.takes_gpu(on_cuda("meta"), None) is False
    for name, model in (
        ("transformers", SimpleNamespace(model=on_cuda())),
        ("sentence_transformers", on_cuda()),
    ):
        assert by_name(name).takes_gpu(model, None) is True
    monkeypatch.setattr(torch.version, "hip", "6.2")  # where AMD's GPUs are called cuda
    assert hook.takes_gpu(on_cuda(), None) is False


def test_a_program_on_the_cpu() -> None:
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(2, 2),))
    assert by_name("pytorch").takes_gpu(program, None) is False


@pytest.fixture
def _saves_as_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch writes each tensor into a file as one that was on a GPU."""
    monkeypatch.setattr("torch.serialization.location_tag", lambda storage: "cuda:0")


@pytest.mark.usefixtures("_saves_as_on_cuda")
def test_a_checkpoint_of_a_gpu_loads_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    by_name("pytorch").serialize_model_to_directory(torch.nn.Linear(2, 2), tmp_path / "model")
    with pytest.raises(RuntimeError, match="CUDA"):
        torch.load(tmp_path / "model" / "model.pt", weights_only=False)
    facts = {"file": "model.pt", "input": {"kind": "array", "shape": [2], "dtype": "float32"}}
    loaded = inference_model("pytorch", facts, tmp_path, monkeypatch)
    assert loaded.weight.device.type == "cpu"


@pytest.mark.usefixtures("_saves_as_on_cuda")
def test_a_pickle_that_needs_a_gpu_says_so_in_one_line() -> None:
    pickled = pickle.dumps({"weights": torch.zeros(2)})
    with pytest.raises(RuntimeError) as raised:
        pickle.loads(pickled)
    reason = _reason(raised.value)
    assert reason.startswith("this model needs an NVIDIA GPU, and no GPU is visible: give the")
    assert "\n" not in reason


def of_platform(platform: str, version: str) -> Any:
    client = SimpleNamespace(platform_version=version)
    return SimpleNamespace(devices=lambda: [SimpleNamespace(platform=platform, client=client)])


def test_arrays_of_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = by_name("jax")
    weights = jax.numpy.ones((2, 2))
    functions = (
        functools.partial(jax.numpy.matmul, weights),
        jax.jit(functools.partial(jax.numpy.matmul, weights)),
        jax.jit(lambda rows: rows + 1),
    )
    seen: list[int] = []
    monkeypatch.setattr(devices, "arrays_on_gpu", lambda arrays: seen.append(len(arrays)) or True)
    assert [hook.takes_gpu(each, None) for each in functions] == [True] * 3
    assert seen == [1, 1, 1]  # the last is an array where JAX computes
    monkeypatch.undo()
    assert [hook.takes_gpu(each, None) for each in functions] == [False] * 3
    assert devices.arrays_on_gpu([of_platform("gpu", "cuda 12080")])
    assert not devices.arrays_on_gpu([of_platform("gpu", "rocm 60200"), of_platform("cpu", "cpu")])


def test_variables_of_tensorflow() -> None:
    place = "/job:localhost/replica:0/task:0/device:{}:0"
    variables = [SimpleNamespace(device=place.format(kind)) for kind in ("CPU", "GPU")]
    assert devices.placed_on_gpu(variables) and not devices.placed_on_gpu(variables[:1])
    assert not devices.placed_on_gpu([object()])


def test_a_session_and_a_pipeline() -> None:
    def session(*providers: str) -> Any:
        return SimpleNamespace(get_providers=lambda: list(providers))

    onnx = by_name("onnx")
    assert onnx.on_gpu(session("CUDAExecutionProvider", "CPUExecutionProvider"))
    assert not onnx.on_gpu(session("CPUExecutionProvider"))

    def pipeline(*names: str) -> Any:
        models = [
            SimpleNamespace(model=SimpleNamespace(ops=SimpleNamespace(name=name))) for name in names
        ]
        return SimpleNamespace(components=[("own", print), *(("one", each) for each in models)])

    spacy = by_name("spacy")
    assert spacy.on_gpu(pipeline("numpy", "cupy")) and not spacy.on_gpu(pipeline("numpy"))


def test_a_booster_says_its_device() -> None:
    xgboost = pytest.importorskip("xgboost")
    rows = xgboost.DMatrix(np.eye(4), label=[0, 1, 0, 1])
    booster, hook = xgboost.train({}, rows, 1), by_name("xgboost")
    assert hook.takes_gpu(booster, None) is False
    facts = hook.facts(booster)
    assert hook.facts_for_gpu(facts)["settings"]["parameters"] == {"device": "cuda"}
    named = {"settings": {"class": "Booster", "parameters": {"device": "cuda:1"}}}
    assert hook.facts_for_gpu(named) == named
