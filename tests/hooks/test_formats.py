"""Formats whose loading runs no code: skops for scikit-learn, safetensors for PyTorch."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

import generator
from generator import ModelError, Scaffold, ServingError, SettingError
from generator.hooks import find
from support.models.own_steps import Shift
from support.packages.late import imported_late

torch = imported_late("torch")
X = np.random.default_rng(0).normal(size=(20, 3))
Y = X @ [1.0, 2.0, 3.0]


def model_facts(scaffold: Scaffold) -> dict[str, Any]:
    text = (scaffold.directory / "config.yaml").read_text()
    return dict(yaml.safe_load(text)["model_metadata"]["model"])


# ---- skops ----


@pytest.mark.sweep
def test_skops(tmp_path: Path) -> None:
    model = make_pipeline(Shift(2.0), LinearRegression()).fit(X, Y)
    place = tmp_path / "served"
    scaffold = generator.from_model(model, place, sample_input=X, format="skops")
    facts, files = model_facts(scaffold), {path.name for path in (place / "src/model").iterdir()}
    assert facts["file"] == "model.skops" and "model.joblib" not in files
    assert facts["settings"] == {"trusted_types": ["support.models.own_steps.Shift"]}
    assert scaffold.predict(X.tolist())["predictions"] == model.predict(X).tolist()
    assert "\nskops==" in (place / "requirements.txt").read_text()
    config = place / "config.yaml"
    config.write_text(config.read_text().replace("own_steps.Shift", "own_steps.Other"))
    with pytest.raises(ServingError, match="Shift"):  # is no longer trusted
        scaffold.predict(X.tolist())
    scaffold.replace_model(model)
    assert model_facts(scaffold)["file"] == "model.skops"
    scaffold.replace_model(model, format="pickle")
    assert model_facts(scaffold)["file"] == "model.joblib"
    assert model_facts(scaffold)["settings"] is None
    assert not (place / "src" / "model" / "model.skops").exists()
    scaffold.close()


@pytest.mark.sweep
def test_what_skops_cannot_hold_is_named(tmp_path: Path) -> None:
    model = LinearRegression().fit(X, Y)
    model.names_ = {("a", "b"): memoryview}  # which pickle takes
    with pytest.raises(ModelError, match="'skops' cannot hold this .*; pass format='pickle'"):
        generator.from_model(model, tmp_path / "no", sample_input=X, format="skops")
    with pytest.raises(SettingError, match="'export' is none of sklearn's: pass 'skops' or 'pi"):
        generator.from_model(model, tmp_path / "no", sample_input=X, format="export")
    assert not (tmp_path / "no").exists()


def test_skops_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "skops", None)
    model = LinearRegression().fit(X, Y)
    with pytest.raises(SettingError, match="skops is not installed"):
        generator.from_model(model, tmp_path / "no", sample_input=X, format="skops")


# ---- safetensors ----


@pytest.mark.sweep
def test_safetensors(tmp_path: Path) -> None:
    from support.models.rebuilt import Tied

    module, place = Tied(4, "relu").eval(), tmp_path / "served"
    rows = torch.randn(5, 4)
    scaffold = generator.from_model(module, place, sample_input=rows, format="safetensors")
    facts, files = model_facts(scaffold), {path.name for path in (place / "src/model").iterdir()}
    assert facts["file"] == "model.safetensors" and not {"model.pt", "model.pt2"} & files
    assert facts["settings"] == {
        "class": "support.models.rebuilt:Tied",
        "arguments": {"size": 4, "activation": "relu"},
    }
    pins = (place / "requirements.txt").read_text()
    assert "\nsafetensors==" in pins and "\ntorch==" in pins
    proof = json.loads((place / "smoke-test.json").read_text())
    with torch.inference_mode():
        expected = module(rows).numpy()
    np.testing.assert_allclose(proof["response"]["predictions"], expected, rtol=1e-6)
    scaffold.replace_model(Tied(4, "relu").eval())
    assert model_facts(scaffold)["file"] == "model.safetensors"
    scaffold.replace_model(module, format="pickle")
    assert model_facts(scaffold)["file"] == "model.pt"
    scaffold.close()


def forgetful() -> Any:
    from support.models.rebuilt import Forgets

    return Forgets(3)


def edited(change: Callable[[Any], None]) -> Any:
    from support.models.rebuilt import Tied

    module = Tied(4, "relu").eval()
    change(module)
    return module


CANNOT: dict[str, tuple[Callable[[], Any], str]] = {
    "an argument that is not kept": (
        lambda: torch.nn.Sequential(torch.nn.Linear(2, 1)),
        r"Sequential\(\) makes another module: 0 is Linear, there it is nothing",
    ),
    "required": (
        forgetful,
        "takes 'size', and the module has no attribute 'size' .*: set self.size = size",
    ),
    "attribute": (
        lambda: edited(lambda module: setattr(module, "scale", 3.0)),
        "the module itself: scale is 3.0, there 1.0",
    ),
    "dtype": (
        lambda: edited(lambda module: module.half()),
        "offset is torch.float16 of shape .*, there torch.float32",
    ),
    "hook": (
        lambda: edited(lambda module: module.register_forward_hook(print)),
        "a hook is registered on it",
    ),
    "buffer": (
        lambda: edited(lambda module: module.offset.fill_(3.0)),
        "the buffer offset, which a state_dict does not hold, has other numbers",
    ),
    "part": (
        lambda: edited(lambda module: setattr(module, "inner", torch.nn.Identity())),
        "inner is Identity, there it is Linear",
    ),
    "more": (
        lambda: edited(lambda module: module.add_module("more", torch.nn.ReLU())),
        "more is ReLU, there it is nothing",
    ),
}


@pytest.mark.parametrize("name", CANNOT)
def test_what_safetensors_cannot_hold_is_named(name: str) -> None:
    make, message = CANNOT[name]
    module = make()
    with pytest.raises(ModelError, match=message) as raised:
        find(module).converted(module, "safetensors", None)
    assert "pass format='pickle'" in str(raised.value) and "\n" not in str(raised.value)


# ---- programs of torch.export, from their files ----


@pytest.mark.sweep
def test_a_program_is_served_as_it_is(tmp_path: Path) -> None:
    module, rows = torch.nn.Linear(3, 2), torch.randn(2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            module, (rows,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
        )
        torch.export.save(program, tmp_path / "model.pt2")
    scaffold = generator.from_file(tmp_path / "model.pt2", tmp_path / "served", trust=True)
    assert model_facts(scaffold)["file"] == "model.pt2"
    proof = json.loads((scaffold.directory / "smoke-test.json").read_text())
    assert len(proof["request"]["instances"]) == 2, "the rows that it was traced on"
    many = torch.randn(7, 3)
    answer = scaffold.predict(many.tolist())["predictions"]
    np.testing.assert_allclose(answer, module(many).detach().numpy(), rtol=1e-5, atol=1e-6)
    scaffold.close()


@pytest.mark.sweep
def test_skops_in_an_environment_of_its_own(tmp_path: Path) -> None:
    model = make_pipeline(Shift(2.0), LinearRegression()).fit(X, Y)
    scaffold = generator.from_model(model, tmp_path / "served", sample_input=X, format="skops")
    assert scaffold.verify(environment="isolated")
    scaffold.close()
