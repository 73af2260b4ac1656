"""PyTorch: a scaffold gives the outputs of the module in memory, whatever their structure."""

import contextlib
import copy
import importlib.util
import json
import sys
import textwrap
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import generator
from common.bodies import json_decode, json_encode, msgpack_decode, msgpack_encode
from common.config import Config
from common.errors import InvalidInput, LoadError
from common.link.frames import Kind, Request
from common.worker.flow import Flow
from generator.capture.pickle_references import references
from generator.errors import ModelError, ServingError, SettingError
from generator.hooks import by_name
from generator.running.comparison import compare
from generator.scaffold import Scaffold
from support.models import scripts
from support.packages.late import imported_late
from support.servers.flows import proved
from support.servers.unrendered import ask_v2

NO_TORCH = "torch is in the tests' environment on Python 3.11 only: CONTRIBUTING.md"
torch, nn = imported_late("torch", NO_TORCH), imported_late("torch.nn", NO_TORCH)

NETS = '''
    from typing import NamedTuple

    import torch
    from torch import nn


    class Convolutions(nn.Module):
        def __init__(self):
            super().__init__()
            convolution = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
            self.body = nn.Sequential(*convolution, nn.Flatten(), nn.Dropout(0.5))
            self.head = nn.Linear(4 * 6 * 6, 3)

        def forward(self, image):
            return self.head(self.body(image))


    class Span(NamedTuple):
        first: torch.Tensor
        last: torch.Tensor


    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(20, 6)
            self.head = nn.Linear(6, 2)

        def forward(self, ids, mask, scale=None):
            read = self.words(ids) * mask.unsqueeze(-1)
            span = Span(read[:, 0], read[:, -1, 0])
            return {"logits": self.head(read.sum(1)), "span": span, "pair": (ids, None)}


    class Scorer(Reader):
        def forward(self, ids, mask, scale=None):
            read = super().forward(ids, mask)
            logits = read["logits"]
            parts = {"pair": read["pair"]}
            return {"logits": logits, "likely": logits.argmax(-1), "parts": parts}


    class Tokens(nn.Module):
        """As small as a BERT can be: at most 16 tokens, and a mask that may be left out."""

        def __init__(self):
            super().__init__()
            self.words, self.places = nn.Embedding(50, 8), nn.Embedding(16, 8)
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)

        def forward(self, input_ids, attention_mask=None):
            places = torch.arange(input_ids.shape[1], device=input_ids.device)
            read = self.words(input_ids) + self.places(places)
            padding = None if attention_mask is None else attention_mask == 0
            return self.layer(read, src_key_padding_mask=padding)[:, 0]
    '''


@pytest.fixture(scope="module", autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An installed package of modules, importable here and in workers."""
    site = tmp_path_factory.mktemp("env") / "site-packages"
    (site / "nets").mkdir(parents=True)
    (site / "nets" / "__init__.py").write_text(textwrap.dedent(NETS))
    info = site / "nets-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: nets\nVersion: 1.2\nRequires-Dist: torch\n"
    )
    (info / "RECORD").write_text(
        "nets/__init__.py,,\nnets-1.2.dist-info/METADATA,,\nnets-1.2.dist-info/RECORD,,\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("PYTHONPATH", str(site))
        yield __import__("nets")
    del sys.modules["nets"]


def perceptron() -> Any:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


@pytest.fixture(scope="module")
def mlp() -> Any:
    """In training mode, except one submodule."""
    made = perceptron()
    made[1].eval()
    return made


@pytest.fixture(scope="module")
def served(mlp: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scaffold]:
    """A scaffold of the perceptron, verified with a sample."""
    made = generator.from_model(
        mlp, tmp_path_factory.mktemp("torch") / "mlp", sample_input=torch.randn(5, 4)
    )
    yield made
    made.close()


def unknown_rows(sample: Any) -> Any:
    """The warning where there is no sample: a module does not say what a row is."""
    if sample is not None:
        return contextlib.nullcontext()
    return pytest.warns(UserWarning, match="what shape and dtype a row has: pass sample_input")


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A function that makes a scaffold without proof and loads its InferenceModel here."""

    def load(model: Any, sample: Any = None, **settings: Any) -> Any:
        monkeypatch.setattr("generator.writing.prepare.Prepared._compared", lambda *_: None)
        directory = tmp_path / f"made_{len(list(tmp_path.iterdir()))}"
        with unknown_rows(sample):
            made = generator.from_model(model, directory, sample_input=sample, **settings)
        return loaded(made, monkeypatch)

    return load


@pytest.fixture(scope="module")
def same(tmp_path_factory: pytest.TempPathFactory) -> Scaffold:
    """A scaffold of the identity, for tests that replace its module."""
    with unknown_rows(None):
        return generator.from_model(nn.Identity(), tmp_path_factory.mktemp("same") / "same")


@pytest.fixture(scope="module")
def ids(tmp_path_factory: pytest.TempPathFactory) -> Scaffold:
    """A scaffold of a module that takes two ids below 5."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("generator.writing.prepare.Prepared._compared", lambda *_: None)
        return generator.from_model(
            nn.Embedding(5, 2), tmp_path_factory.mktemp("ids") / "ids", sample_input=[[1, 2]]
        )


def loaded(scaffold: Scaffold, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(scaffold.directory / "src")
    file = scaffold.directory / "src" / "server" / "inference_model.py"
    spec = importlib.util.spec_from_file_location("pytorch_inference_model", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.InferenceModel(Config.read(scaffold.directory / "config.yaml", {}))
    model.load()
    return model


def predictions(model: Any, rows: Any) -> Any:
    """The predictions as a client parses them."""
    return json_decode(json_encode(model.predict({"instances": rows})))["predictions"]


def recorded(directory: Path) -> Any:
    """`model` of a scaffold's config.yaml."""
    return Config.read(directory / "config.yaml", {}).model


def stored(directory: Path) -> Any:
    """The module in a scaffold's model file."""
    return torch.load(directory / "src" / "model" / "model.pt", weights_only=False)


def in_memory(model: Any, *rows: Any) -> Any:
    """The outputs of a copy of the module, in evaluation mode."""
    with torch.inference_mode():
        return copy.deepcopy(model).eval()(*rows)


# ---- a scaffold, its worker and its server ----


def test_a_scaffold_is_verified_and_described(served: Scaffold) -> None:
    model = recorded(served.directory)
    assert model.file == "model.pt" and (served.directory / "smoke-test.json").exists()
    assert (model.input.kind, model.input.shape, model.input.dtype) == ("array", (4,), "float32")
    assert (model.output.kind, model.output.shape) == ("array", (3,))
    assert len(model.example) == 4 and len(model.example[0]) == 4
    assert served.docker_build_string.endswith(
        f"{served.directory}/pytorch-server.Dockerfile {served.directory}"
    )


def test_the_model_in_memory_is_unchanged(served: Scaffold, mlp: Any) -> None:
    assert [module.training for module in mlp.modules()] == [True, True, False, True, True]
    assert all(parameter.requires_grad and parameter.grad is None for parameter in mlp.parameters())


def test_the_running_variant_of_torch_is_pinned(served: Scaffold) -> None:
    public, _, variant = torch.version.__version__.partition("+")
    lines = (served.directory / "requirements.txt").read_text().splitlines()
    pins = {line.partition("  #")[0] for line in lines}
    assert f"torch=={public}" in pins
    assert (f"--extra-index-url https://download.pytorch.org/whl/{variant}" in pins) == bool(
        variant
    )


def test_a_worker_predicts_as_the_model_in_memory(served: Scaffold, mlp: Any) -> None:
    rows = torch.randn(7, 4)
    assert served.verify(rows)
    answer = np.array(served.predict(rows)["predictions"], dtype=np.float32)
    np.testing.assert_allclose(answer, in_memory(mlp, rows), rtol=1e-6, atol=1e-7)
    assert served.verify()


def test_over_http(served: Scaffold, mlp: Any) -> None:
    rows = np.arange(8, dtype=np.float32).reshape(2, 4)
    expected = in_memory(mlp, torch.from_numpy(rows)).numpy()
    with served.serve(port=0) as server, httpx.Client(timeout=30) as client:
        answer = client.post(server.predict_url, json={"instances": rows.tolist()})
        assert answer.status_code == 200
        np.testing.assert_allclose(answer.json()["predictions"], expected, rtol=1e-6)
        body = msgpack_encode({"instances": rows})
        headers = {"Content-Type": "application/msgpack"}
        binary = msgpack_decode(
            client.post(f"{server.predict_url}_binary", content=body, headers=headers).content
        )
        np.testing.assert_allclose(binary["predictions"], expected, rtol=1e-6)
        refused = client.post(server.predict_url, json={"instances": [[1, 2, 3]]})
        assert (refused.status_code, refused.json()) == (
            400,
            {"error": "instances[0]: the model takes 4 values a row, this one has 3"},
        )


def test_a_changed_model_file_is_not_loaded(
    served: Scaffold, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = served.directory / "src" / "model" / "model.pt"
    written = path.read_bytes()
    try:
        path.write_bytes(written + b"\0")
        with pytest.raises(LoadError, match="is not the model that config.yaml records"):
            loaded(served, monkeypatch)
    finally:
        path.write_bytes(written)


@pytest.mark.sweep
def test_convolutions_of_an_installed_package(nets: Any, tmp_path: Path) -> None:
    model, rows = nets.Convolutions(), torch.randn(3, 1, 8, 8)
    statistics = model.body[1].running_mean.clone()
    with closing(generator.from_model(model, tmp_path / "cnn", sample_input=rows)) as scaffold:
        described = recorded(scaffold.directory).input
        assert (described.kind, described.shape) == ("array", (1, 8, 8))
        assert (
            "nets==1.2  # the model: nets.Convolutions\n"
            in (tmp_path / "cnn" / "requirements.txt").read_text()
        )
    assert torch.equal(model.body[1].running_mean, statistics)


@pytest.mark.sweep
def test_the_owners_package_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "own_nets"
    package.mkdir()
    (package / "__init__.py").write_text("from .model import Twice\n")
    (package / "parts.py").write_text("def double(rows):\n    return rows * 2\n")
    (package / "model.py").write_text(
        "from torch import nn\n\nfrom .parts import double\n\n\n"
        "class Twice(nn.Linear):\n    def forward(self, rows):\n"
        "        return double(super().forward(rows))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    model = __import__("own_nets").Twice(4, 2)
    with closing(
        generator.from_model(model, tmp_path / "twice", sample_input=torch.randn(3, 4))
    ) as scaffold:
        copied = scaffold.directory / "src" / "model" / "own_nets"
        assert {path.name for path in copied.glob("*.py")} == {
            "__init__.py",
            "model.py",
            "parts.py",
        }
    for name in [name for name in sys.modules if name.startswith("own_nets")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.sweep
def test_several_inputs_and_named_outputs(
    nets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nets.Reader()
    sample = {"ids": torch.randint(0, 20, (3, 5)), "mask": torch.ones(3, 5)}
    with closing(generator.from_model(model, tmp_path / "reader", sample_input=sample)) as scaffold:
        inputs = recorded(scaffold.directory).input.inputs
        assert [(item.name, item.shape, item.dtype) for item in inputs] == [
            ("ids", (None,), "int64"),
            ("mask", (None,), "float32"),
        ]
        answer = predictions(
            loaded(scaffold, monkeypatch), [{"ids": [1, 2, 3, 4, 5], "mask": [1, 1, 1, 1, 0]}]
        )
    expected = in_memory(model, torch.tensor([[1, 2, 3, 4, 5]]), torch.tensor([[1.0, 1, 1, 1, 0]]))
    assert [list(row) for row in answer] == [["logits", "span", "pair"]]
    np.testing.assert_allclose(answer[0]["logits"], expected["logits"][0], rtol=1e-6)
    np.testing.assert_allclose(answer[0]["span"]["first"], expected["span"].first[0], rtol=1e-6)
    assert list(answer[0]["span"]) == ["first", "last"] and answer[0]["pair"] == [
        [1, 2, 3, 4, 5],
        None,
    ]


def test_v2_metadata_of_named_outputs(
    nets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = {"ids": torch.ones(3, 4, dtype=torch.int64), "mask": torch.ones(3, 4)}
    metadata, answer = ask_v2("pytorch", nets.Scorer(), sample, tmp_path, monkeypatch)
    assert metadata == {
        "name": "model",
        "platform": "pytorch",
        "inputs": [
            {"name": "ids", "datatype": "INT64", "shape": [-1, -1]},
            {"name": "mask", "datatype": "FP32", "shape": [-1, -1]},
        ],
        "outputs": [
            {"name": "logits", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "likely", "datatype": "INT64", "shape": [-1]},
            {"name": "parts", "datatype": "BYTES", "shape": [-1]},
        ],
    }
    assert json.loads(answer["outputs"][2]["data"][0])["pair"][0] == [1, 1, 1, 1]


def test_v2_metadata_of_outputs_without_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output is as long as the input; the first axis of the states counts layers."""
    model = nn.GRU(3, 4, num_layers=2, batch_first=True)
    metadata, _ = ask_v2("pytorch", model, torch.randn(2, 5, 3), tmp_path, monkeypatch)
    assert metadata["outputs"] == [
        {"name": "predictions_0", "datatype": "FP32", "shape": [-1, -1, 4]},
        {"name": "predictions_1", "datatype": "FP32", "shape": [-1, 2, 1, 4]},
    ]


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_program_of_torch_export_takes_any_number_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Encoder(nn.TransformerEncoder):
        """A local class, which no other process can import."""

    model = Encoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    model.lock = threading.Lock()
    made = generator.from_model(
        model, tmp_path / "e", sample_input=torch.randn(1, 5, 8), format="export"
    )
    with closing(made) as scaffold:
        assert recorded(scaffold.directory).file == "model.pt2"
        assert "torch==" in (tmp_path / "e" / "requirements.txt").read_text()
        served = loaded(scaffold, monkeypatch)
    assert model.training
    del model.lock
    for rows in (torch.randn(count, 5, 8) for count in (1, 2, 7)):
        np.testing.assert_allclose(
            predictions(served, rows.tolist()), in_memory(model, rows), rtol=1e-5, atol=2e-6
        )


# ---- every kind of module, in this process ----


def test_an_encoder(worker: Any) -> None:
    model, rows = (
        nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1),
        torch.randn(2, 3, 8),
    )
    np.testing.assert_allclose(
        predictions(worker(model, rows), rows.tolist()), in_memory(model, rows), rtol=1e-5
    )


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_scripted_module(worker: Any) -> None:
    for model in (
        torch.jit.script(perceptron()),
        torch.jit.trace(perceptron().eval(), torch.ones(1, 4)),
    ):
        training, rows = model.training, torch.randn(3, 4)
        made = worker(model, rows)
        assert model.training == training
        np.testing.assert_allclose(
            predictions(made, rows.tolist()), model.eval()(rows).detach(), rtol=1e-6
        )
        with pytest.raises(InvalidInput, match="^the model cannot take these instances: .*shape"):
            made._call(torch.ones(1, 3))  # noqa: SLF001  past the check of the shape


def test_the_hook_predicts_what_is_served(worker: Any) -> None:
    model, rows = nn.LSTM(3, 4, num_layers=2, batch_first=True), torch.randn(2, 5, 3)
    expected = by_name("pytorch").predict(model, rows)
    assert compare(expected, predictions(worker(model, rows), rows.tolist()), 1e-6)


def test_states_of_layers_are_not_taken_for_rows(worker: Any) -> None:
    """With two layers and two rows, the states have the shape of an output with a row each."""
    model = nn.LSTM(3, 4, num_layers=2, batch_first=True)
    made = worker(model, torch.randn(2, 5, 3))
    for rows in (torch.randn(count, 5, 3) for count in (1, 2, 3)):
        for row, served in zip(rows, predictions(made, rows.tolist()), strict=True):
            output, (hidden, _) = in_memory(model, row[None])
            np.testing.assert_allclose(served[0], output[0], rtol=1e-5)
            np.testing.assert_allclose(served[1][0], hidden, rtol=1e-5)


def called(sample: Any) -> Any:
    """A sample, or what the function returns: tensors are made when the tests run."""
    if callable(sample):
        return sample()
    return sample


def applied(function: Callable[[Any], Any]) -> Any:
    """A module that returns a function of its rows."""

    class Applied(nn.Module):
        def forward(self, rows: Any) -> Any:
            return function(rows)

    return Applied()


Pair = namedtuple("Pair", ["low", "high"])


@dataclass
class Scored:
    score: Any
    note: Any = None


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda rows: rows[:, 0], [1.0, 3.0]),
        (lambda rows: {"sum": rows.sum(1), "rows": rows},
         [{"sum": 3, "rows": [1, 2]}, {"sum": 7, "rows": [3, 4]}]),
        (lambda rows: (rows[:, 0], rows), [[1, [1, 2]], [3, [3, 4]]]),
        (lambda rows: Pair(rows[:, 0], rows[:, 1]), [{"low": 1, "high": 2}, {"low": 3, "high": 4}]),
        (lambda rows: rows.max(1), [{"values": 2, "indices": 1}, {"values": 4, "indices": 1}]),
        (lambda rows: Scored(rows[:, 0]), [{"score": 1, "note": None}, {"score": 3, "note": None}]),
        (lambda rows: {"all": rows, "mean": rows.mean()},
         [{"all": [1, 2], "mean": 1.5}, {"all": [3, 4], "mean": 3.5}]),
        (lambda rows: rows.mean(), [1.5, 3.5]),
        (lambda rows: rows.view(1, 2) * 2, [[2, 4], [6, 8]]),
        (lambda rows: rows.bfloat16(), [[1, 2], [3, 4]]),
        (lambda rows: rows.to_sparse(), [[1, 2], [3, 4]]),
        (lambda rows: [{"at": {"last": rows[:, -1:]}}],
         [[{"at": {"last": [2]}}], [{"at": {"last": [4]}}]]),
    ],
    ids=["tensor", "dict", "tuple", "named tuple", "torch's", "dataclass", "loss", "number",
         "one row only", "bfloat16", "sparse", "nested"],
)  # fmt: skip
def test_each_row_has_one_entry_with_the_names_of_the_outputs(
    same: Scaffold, monkeypatch: pytest.MonkeyPatch, function: Any, expected: Any
) -> None:
    model = loaded(same, monkeypatch)
    monkeypatch.setattr(model, "_model", applied(function))
    assert predictions(model, [[1, 2], [3, 4]]) == expected
    hook = by_name("pytorch")
    assert compare(hook.predict(applied(function), [[1.0, 2], [3, 4]]), expected, hook.tolerance)


def test_requests_in_a_batch_get_the_same_answers_as_alone(
    same: Scaffold, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded(same, monkeypatch)
    monkeypatch.setattr(model, "_model", applied(lambda rows: {"rows": rows, "mean": rows.mean()}))
    frames = [
        Request(n, Kind.JSON, str(n), json_encode({"instances": [[n, n], [n, 0]]}))
        for n in (1, 2, 3)
    ]
    flow = Flow(model, proved(256))
    answered = flow.answer([flow.open(frame) for frame in frames])
    bodies = [response.body for responses, _ in answered for response in responses]
    expected = [[{"rows": [n, n], "mean": n}, {"rows": [n, 0], "mean": n / 2}] for n in (1, 2, 3)]
    assert [json_decode(body)["predictions"] for body in bodies] == expected


@pytest.mark.parametrize(
    ("made", "sample", "dtype", "rows"),
    [
        (lambda: nn.Linear(2, 1), None, "float32", [[1, 2]]),
        (lambda: nn.Linear(2, 1), [[1, 2]], "float32", [[1, 2]]),
        (lambda: nn.Linear(2, 1), np.ones((1, 2)), "float32", [[1, 2]]),
        (lambda: nn.Linear(2, 1).double(), [[1, 2]], "float64", [[1, 2]]),
        (lambda: nn.Linear(2, 1).half(), lambda: torch.ones(1, 2).half(), "float16", [[1, 2]]),
        (
            lambda: nn.Linear(2, 1).bfloat16(),
            lambda: torch.ones(1, 2).bfloat16(),
            "bfloat16",
            [[1, 2]],
        ),
        (lambda: nn.Linear(2, 1), lambda: [torch.ones(2), torch.zeros(2)], "float32", [[1, 2]]),
        (lambda: nn.Embedding(5, 2), [[1, 2]], "int64", [[1, 2]]),
        (
            lambda: nn.Embedding(5, 2),
            lambda: torch.ones(1, 2, dtype=torch.int32),
            "int32",
            [[1, 2]],
        ),
    ],
    ids=[
        "no sample",
        "whole numbers",
        "numpy's",
        "double",
        "half",
        "bfloat16",
        "rows",
        "ids",
        "int32",
    ],
)
def test_numbers_are_cast_to_the_models_dtype(
    worker: Any, tmp_path: Path, made: Any, sample: Any, dtype: str, rows: Any
) -> None:
    model, sample = made(), called(sample)
    served = worker(model, sample)
    assert recorded(tmp_path / "made_0").input.dtype == dtype
    expected = in_memory(model, torch.tensor(rows).to(getattr(torch, dtype))).double()
    np.testing.assert_allclose(predictions(served, rows), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.5, 2]], "instances must hold values of torch.int64, it holds values of torch.float64"),
        ([[None, 2]], r"instances\[0\]\[0\] must be a number, it is null, which int64 does not"),
        ([[2**63, 2**63]], rf"instances\[0\]\[0\] must be from 0 to 4, it is {2**63}"),
        ([["a", 2]], r"instances\[0\]\[0\] must be a number, it is the string 'a'"),
        ([[1, 99]], r"instances\[0\]\[1\] must be from 0 to 4, it is 99"),
        ([1], r"instances\[0\] must be a row with a list of values, it is the number 1"),
    ],
)
def test_rows_that_the_model_cannot_take(
    ids: Scaffold, monkeypatch: pytest.MonkeyPatch, rows: Any, message: str
) -> None:
    model = loaded(ids, monkeypatch)
    with pytest.raises(InvalidInput, match=message):
        model.predict({"instances": rows})
    assert len(predictions(model, [[1, 2]])) == 1


@pytest.mark.sweep
def test_inputs_have_names_without_a_sample_too(worker: Any) -> None:
    model = nn.Bilinear(3, 4, 2)
    served = worker(model)
    answer = predictions(served, [{"input1": [1, 2, 3], "input2": [1, 2, 3, 4]}])
    np.testing.assert_allclose(
        answer, in_memory(model, torch.tensor([[1.0, 2, 3]]), torch.tensor([[1.0, 2, 3, 4]]))
    )
    with pytest.raises(
        InvalidInput,
        match=r"instances\[0\] must be an object keyed by input name \('input1', 'input2'",
    ):
        served.predict({"instances": [[1, 2, 3]]})


def test_an_image_is_too_large_to_be_the_example(worker: Any, tmp_path: Path) -> None:
    worker(nn.Flatten(), torch.zeros(1, 3, 32, 32))
    assert recorded(tmp_path / "made_0").example is None


# ---- lengths that may vary ----


def convolutions() -> Any:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Centred(nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, rows: Any) -> Any:
        return rows - rows.mean(1, keepdim=True)


IDS, ONES = torch.arange(12).reshape(3, 4), torch.ones(3, 4)


@pytest.mark.parametrize(
    ("model", "sample", "shapes"),
    [
        ("Tokens", IDS, [(None,)]),
        ("Tokens", IDS[:, :1], [(None,)]),
        ("Tokens", torch.ones(2, 16, dtype=torch.int64), [(None,)]),
        ("Tokens", {"input_ids": IDS, "attention_mask": ONES}, [(None,), (None,)]),
        (nn.Sequential(nn.Embedding(50, 2), nn.Flatten(), nn.Linear(8, 1)), IDS, [(4,)]),
        (nn.LSTM(3, 2, batch_first=True), torch.ones(2, 5, 3), [(None, 3)]),
        (convolutions(), torch.ones(2, 3, 8, 8), [(3, None, None)]),
        (nn.Linear(4, 2), ONES, [(4,)]),
        (Centred(), ONES, [(4,)]),  # which takes any number of features, but by chance
        (nn.Embedding(50, 2), IDS[:, 0], [()]),
    ],
)
def test_lengths_that_may_vary_are_found(nets: Any, model: Any, sample: Any, shapes: Any) -> None:
    if isinstance(model, str):
        model = getattr(nets, model)()
    described: Any = by_name("pytorch").describe(model, sample).input
    parts = getattr(described, "inputs", (described,))
    assert [part.shape for part in parts] == shapes


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="module"),
        pytest.param({"format": "export"}, id="export", marks=pytest.mark.sweep),
    ],
)
def test_tokens_of_any_length_are_answered(
    nets: Any, worker: Any, settings: dict[str, Any]
) -> None:
    model = nets.Tokens().eval()
    served = worker(model, {"input_ids": IDS, "attention_mask": ONES}, **settings)
    for length in (1, 3, 9):
        ids = torch.arange(2 * length).reshape(2, length)
        rows = [{"input_ids": row, "attention_mask": [1.0] * length} for row in ids.tolist()]
        expected = in_memory(model, ids)
        np.testing.assert_allclose(predictions(served, rows), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(InvalidInput, match="the model cannot take these instances"):
        predictions(served, [{"input_ids": [1] * 17, "attention_mask": [1.0] * 17}])


# ---- what cannot be served ----


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            lambda: nn.Sequential(nn.Linear(2, 2, device="meta")),
            "Sequential.0.weight is on the meta device and holds no",
        ),
        (
            lambda: nn.Linear(2, 2).state_dict(),
            "model is a state_dict or a checkpoint .* call its load_state_dict",
        ),
        (
            lambda: {"epoch": 3, "model": nn.Linear(2, 2).state_dict()},
            "model is a state_dict or a checkpoint",
        ),
        (lambda: "checkpoint.pt", "model is the string 'checkpoint.pt', not a model"),
        (lambda: Path("checkpoint.pt"), "model is the path 'checkpoint.pt', not a model"),
        (lambda: nn.ModuleList([nn.Linear(2, 2)]), "ModuleList has no forward"),
        (lambda: nn.Linear, "Linear is a class, not a model"),
        (
            lambda: locked(nn.Linear(2, 2)),
            r"model.lock: cannot pickle .*lock.*pass format='export'",
        ),
    ],
    ids=["meta", "state_dict", "checkpoint", "text", "path", "no forward", "class", "lock"],
)
def test_values_that_are_not_models_and_models_that_cannot_be_saved(
    tmp_path: Path, made: Any, message: str
) -> None:
    with pytest.raises(ModelError, match=message) as raised:
        generator.from_model(made(), tmp_path / "no")
    assert "\n" not in str(raised.value) and not (tmp_path / "no").exists()


def locked(module: Any) -> Any:
    module.lock = threading.Lock()
    return module


@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_a_lazy_module_has_to_be_called_first(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="LazyLinear.weight has no shape yet: call the model once"):
        generator.from_model(nn.LazyLinear(3), tmp_path / "no")


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    "wrapper",
    [
        pytest.param(nn.DataParallel, id="DataParallel"),
        pytest.param(torch.compile, id="compile"),
    ],
)
@pytest.mark.sweep
def test_a_wrapper_for_training_is_removed(worker: Any, tmp_path: Path, wrapper: Any) -> None:
    model = nn.Linear(2, 1)
    with pytest.warns(
        UserWarning, match="the Linear inside of .* is served, without what is around it"
    ):
        worker(wrapper(model))
    served = stored(tmp_path / "made_0")
    assert type(served) is nn.Linear and torch.equal(served.weight, model.weight)


@pytest.mark.sweep
def test_distributed_data_parallel_is_removed(
    worker: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model, rows = perceptron(), torch.randn(5, 4)
    meeting = (tmp_path_factory.mktemp("group") / "meeting").as_uri()
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(model)
        with pytest.warns(
            UserWarning, match="the Sequential inside of DistributedDataParallel is served, without"
        ):
            served = worker(wrapped, rows)
    finally:
        torch.distributed.destroy_process_group()
    assert type(stored(tmp_path / "made_0")) is nn.Sequential and model.training
    np.testing.assert_allclose(
        predictions(served, rows.tolist()), in_memory(model, rows), rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (
            lambda: torch.ones(2, 3),
            "the model cannot predict from sample_input: mat1 and mat2 shapes cannot be multiplied",
        ),
        (lambda: torch.tensor(1.0), r"sample_input has shape \[\]"),
        (lambda: torch.ones(0, 4), r"sample_input has shape \[0, 4\]"),
        (
            [[1, 2, 3, 4], [1]],
            "sample_input must be a tensor, an array or a list of rows of numbers",
        ),
        (lambda: [torch.ones(4), torch.ones(3)], "sample_input has rows of different shapes"),
        ("a text", "sample_input is .a text.: pass rows, or the path of a file that ends in"),
        (
            lambda: {"image": torch.ones(2, 4)},
            r"sample_input has the inputs \['image'\], the model's forward takes \['input'\]",
        ),
        ({"input": [[1, 2, 3, 4]], 7: [1]}, "sample_input has the inputs"),
    ],
)
def test_a_sample_that_the_model_cannot_take(
    mlp: Any, tmp_path: Path, sample: Any, message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        generator.from_model(mlp, tmp_path / "no", sample_input=called(sample))


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_formats_that_are_refused(mlp: Any, forest: Any, tmp_path: Path) -> None:
    rows = torch.ones(2, 4)
    for model, sample, format, error, message in [
        (mlp, None, "export", SettingError, "format 'export' needs a sample_input"),
        (
            mlp,
            rows,
            "onnx",
            SettingError,
            "format 'onnx' is none of pytorch's for a Sequential: pass 'export'",
        ),
        (
            forest,
            None,
            "export",
            SettingError,
            "format 'export' is none of sklearn's: pass 'skops' or 'pickle', or leave it",
        ),
        (
            torch.jit.script(perceptron()),
            rows,
            "export",
            SettingError,
            "format 'export' takes no TorchScript",
        ),
        (
            applied(lambda rows: rows.view(2, -1)),
            rows,
            "export",
            ModelError,
            "torch.export cannot export Applied: .*specialized",
        ),
    ]:
        with pytest.raises(error, match=message):
            generator.from_model(model, tmp_path / "no", sample_input=sample, format=format)


def test_a_file_that_holds_a_state_dict_is_named(
    worker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker(nn.Linear(2, 1))
    scaffold = generator.load(tmp_path / "made_0")
    torch.save(nn.Linear(2, 1).state_dict(), scaffold.directory / "src" / "model" / "model.pt")
    text = (scaffold.directory / "config.yaml").read_text()
    digest = recorded(scaffold.directory).sha256
    (scaffold.directory / "config.yaml").write_text(text.replace(digest, "null"))
    with pytest.raises(
        TypeError, match="model.pt holds a OrderedDict, not a module: build that here, and load the"
    ):
        loaded(scaffold, monkeypatch)


def test_references_of_a_module_are_found_without_copying_its_weights() -> None:
    module = nn.Linear(1 << 14, 1 << 12, bias=False)  # 256 MB
    import tracemalloc

    tracemalloc.start()
    found = references(module)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {"torch.nn.modules.linear", "torch.storage"} <= found.keys() and peak < 1 << 24


# ---- the sweep ----

FORMATS = pytest.mark.parametrize("format", [None, "export"], ids=["whole", "exported"])
# Relative to the largest number. Another number of rows uses other kernels. So does a program of
# torch.export: it has none of the fused operators that nn.TransformerEncoder uses in evaluation.
TOLERANCE = 1e-6
PACKAGE = {
    "__init__.py": "from .models.residual import Residual\n",
    "settings.py": "CHANNELS = 8\n",
    "models/__init__.py": "",
    "models/parts.py": """
from torch import nn

from ..settings import CHANNELS


def convolution(channels, stride=1):
    weights = nn.Conv2d(channels, CHANNELS, 3, stride, 1, bias=False)
    return nn.Sequential(weights, nn.BatchNorm2d(CHANNELS))


class Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = convolution(CHANNELS), convolution(CHANNELS)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, image):
        return self.relu(image + self.second(self.relu(self.first(image))))
""",
    "models/residual.py": """
from torch import nn

from . import parts


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(parts.convolution(3, 2), nn.ReLU(), parts.Skip(), parts.Skip())
        pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(pool, nn.Flatten(), nn.Dropout(0.5), nn.Linear(8, 5))

    def forward(self, image):
        return self.head(self.body(image))
""",
}


def assert_same(scaffold: Scaffold, model: Any, *samples: Any) -> None:
    """Check that a worker predicts as the model, for each sample and for its first row alone."""
    for sample in samples:
        for rows in (sample, of_tensors(sample, lambda tensor: tensor[:1])):
            expected = by_name("pytorch").predict(model, rows)
            sent = of_tensors(rows, lambda tensor: tensor.numpy())
            verification = compare(expected, scaffold.predict(sent)["predictions"], TOLERANCE)
            assert verification, verification.difference


def of_tensors(rows: Any, function: Callable[[Any], Any]) -> Any:
    """A function of one tensor, or of each tensor of a dict."""
    if isinstance(rows, dict):
        return {name: function(tensor) for name, tensor in rows.items()}
    return function(rows)


@pytest.mark.sweep
@FORMATS
def test_a_script_that_defines_its_model(tmp_path: Path, format: str | None) -> None:
    made = scripts.run(tmp_path, scripts.PYTORCH, *filter(None, [format]))
    with closing(made.scaffold) as scaffold:
        assert (scaffold.directory / "src" / "model" / "session_code.py").exists() == (
            format is None
        )
        assert (verification := made.compare(scaffold.predict(made.rows)["predictions"])), (
            verification.difference
        )


@pytest.mark.sweep
@FORMATS
def test_convolutions_of_the_owners_package(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str | None
) -> None:
    for name, text in PACKAGE.items():
        (tmp_path / "own_residual" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own_residual" / name).write_text(text)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        model, x = __import__("own_residual").Residual(), torch.randn(6, 3, 16, 16)
        model(x)  # moves the batch statistics away from their initial values
        scaffold = make(model, x, format=format)
    copied = scaffold.directory / "src" / "model" / "own_residual"
    assert {path.relative_to(copied).as_posix() for path in copied.rglob("*.py")} == (
        set() if format else set(PACKAGE)
    )
    assert_same(scaffold, model, x, torch.randn(3, 3, 16, 16))
    for name in [name for name in sys.modules if name.startswith("own_residual")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.sweep
@FORMATS
def test_encoders(make: Any, format: str | None) -> None:
    layer = nn.TransformerEncoderLayer(32, 4, 64, activation="gelu", batch_first=True)
    model = nn.TransformerEncoder(layer, 3, norm=nn.LayerNorm(32))
    x = torch.randn(5, 9, 32)
    assert_same(make(model, x, format=format), model, x, torch.randn(8, 9, 32))


@pytest.mark.sweep
@FORMATS
@pytest.mark.parametrize("name", ["Scorer", "Reader"])
def test_named_outputs(nets: Any, make: Any, name: str, format: str | None) -> None:
    """The outputs are dicts of tensors. The reader's hold a named tuple too."""
    model = getattr(nets, name)()
    x = {"ids": torch.randint(0, 20, (4, 7)), "mask": torch.rand(4, 7)}
    assert_same(make(model, x, format=format), model, x)


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("how", ["script", "trace"])
def test_torchscript(nets: Any, make: Any, how: str) -> None:
    plain, x = nets.Convolutions(), torch.randn(5, 1, 8, 8)
    model = torch.jit.script(plain) if how == "script" else torch.jit.trace(plain.eval(), x)
    assert_same(make(model, x), model, x, torch.randn(2, 1, 8, 8))


@pytest.mark.sweep
@pytest.mark.usefixtures("much_memory")
def test_weights_over_two_gigabytes(worker: Any) -> None:
    model = nn.Embedding(1 << 17, 1 << 12 | 1 << 6)  # 2.2 GB
    rows = [[3, (1 << 17) - 1]]
    answer = np.array(predictions(worker(model, rows), rows), dtype=np.float32)
    np.testing.assert_array_equal(answer, in_memory(model, torch.tensor(rows)))


@pytest.mark.sweep
@pytest.mark.skipif(importlib.util.find_spec("lightning") is None, reason="needs lightning")
@pytest.mark.filterwarnings("ignore")  # Lightning's own
def test_lightnings_module_is_taken_out_of_what_has_trained_it() -> None:
    import lightning

    class Net(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, rows: Any) -> Any:
            return self.layer(rows)

        def training_step(self, batch: Any, _: int) -> Any:
            return self(batch).sum()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", **quiet)
    hook, net, compiled = by_name("pytorch"), Net(), torch.compile(nn.Linear(4, 3))
    assert hook.recognises(trainer)
    with pytest.raises(ModelError, match="this Trainer has no module yet: call its fit first"):
        hook.unwrapped(trainer)
    trainer.fit(net, torch.utils.data.DataLoader(torch.ones(4, 4)))
    assert hook.unwrapped(trainer) is net
    fabric = lightning.Fabric(accelerator="cpu")
    for model in (Net(), compiled):
        assert type(hook.unwrapped(fabric.setup(model))) in (Net, nn.Linear)


# ---- numbers that an embedding looks up ----


def looked_up(change: Callable[[Any], Any]) -> Any:
    """A module that looks up what `change` makes of its input."""

    class Words(nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = nn.Embedding(50, 4), nn.Embedding(3, 4)

        def forward(self, ids: Any) -> Any:
            return (self.words(change(ids)) + self.places(torch.arange(3))).sum((1, 2))

    return Words()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda ids: ids, 50),
        (lambda ids: ids.view(-1, 3), 50),
        (lambda ids: ids.long(), 50),
        (lambda ids: ids.clamp(0, 49), None),
        (lambda ids: ids.clamp_(0, 49), None),
        (lambda ids: ids % 50, None),
        (lambda ids: torch.where(ids < 50, ids, 0), None),
    ],
)
def test_the_limit_of_ids_is_known_where_they_are_looked_up_as_they_came(
    change: Callable[[Any], Any], expected: int | None
) -> None:
    rows = np.array([[0, 1, 2], [4, 5, 6]])
    described = by_name("pytorch").describe(looked_up(change), rows).input
    assert described.below == expected  # type: ignore[union-attr]


def test_the_limits_of_several_inputs(nets: Any) -> None:
    sample = {"ids": np.array([[1, 2]]), "mask": np.array([[1.0, 1.0]], np.float32)}
    described: Any = by_name("pytorch").describe(nets.Reader(), sample).input
    assert [part.below for part in described.inputs] == [20, None]


@pytest.mark.parametrize("format", [None, pytest.param("export", marks=pytest.mark.sweep)])
def test_an_id_beyond_the_words_is_a_400(nets: Any, tmp_path: Path, format: str | None) -> None:
    rows = np.array([[1, 2, 3], [4, 5, 6]])
    made = generator.from_model(
        nets.Tokens().eval(), tmp_path / "tokens", sample_input=rows, format=format
    )
    config = Config.read(tmp_path / "tokens" / "config.yaml", {})
    assert config.model.input.below == 50  # type: ignore[union-attr]
    with (
        closing(made),
        pytest.raises(ServingError, match=r"\[0\]\[2\] must be from 0 to 49, it is 50"),
    ):
        made.predict([[1, 2, 50]])
