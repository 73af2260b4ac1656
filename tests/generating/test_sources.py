"""`from_file`: files, MLflow models, MLServer's settings, and what is none of these."""

import contextlib
import importlib
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import yaml
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression

import generator
from generator import ScaffoldError, SettingError
from generator.hooks import find as find_hook
from generator.sources import find
from generator.sources import mlflow as mlflow_source
from generator.sources.loaded import Loaded
from support.packages.late import imported_late

pandas = imported_late("pandas")
X = np.arange(12.0).reshape(6, 2)
LABELS = [0, 1, 0, 1, 0, 1]
Read = Callable[..., Loaded]


@pytest.fixture
def read() -> Iterator[Read]:
    """Reads a source, whose code stays importable until the end of the test."""
    with contextlib.ExitStack() as stack:
        yield lambda source, ask=lambda: None: stack.enter_context(find.read(source, ask))


def refused() -> None:
    raise SettingError("not trusted")


def write_mlflow(place: Path, flavors: dict[str, Any], **document: Any) -> Path:
    """Write the `MLmodel` of an MLflow model, as MLflow 3 does."""
    place.mkdir(exist_ok=True, parents=True)
    (place / "MLmodel").write_text(yaml.safe_dump({"flavors": flavors, **document}))
    return place


COLUMNS = [
    {"type": "double", "name": "a", "required": True},
    {"type": "long", "name": "b", "required": True},
]
EXAMPLE = {"columns": ["a", "b"], "data": [[1, 0], [2.5, 1]]}
INFO = {"artifact_path": "input_example.json", "type": "dataframe", "pandas_orient": "split"}


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    """A pipeline with a function of its own, in `code/`, as `mlflow.sklearn` writes it."""
    place = write_mlflow(
        tmp_path / "logged",
        {
            "sklearn": {
                "pickled_model": "model.pkl",
                "serialization_format": "cloudpickle",
                "code": "code",
            },
            "python_function": {"loader_module": "mlflow.sklearn", "code": "code"},
        },
        signature={"inputs": json.dumps(COLUMNS)},
        saved_input_example_info=INFO,
    )
    (place / "input_example.json").write_text(json.dumps(EXAMPLE))
    (place / "requirements.txt").write_text("mlflow==3.17.2\nscikit-learn==0.1\ntqdm==4.70.1\n")
    (place / "code").mkdir()
    (place / "code" / "own_steps.py").write_text(
        "from pathlib import Path\n\n\n"
        "def doubled(rows):\n"
        "    return rows * float((Path(__file__).parent / 'factor.txt').read_text())\n"
    )
    (place / "code" / "factor.txt").write_text("2.0")
    sys.path.insert(0, str(place / "code"))
    try:
        from own_steps import doubled  # type: ignore[import-not-found]
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer

        frame = pandas.DataFrame({"a": X[:, 0], "b": X[:, 1].astype("int64")})
        model = make_pipeline(FunctionTransformer(doubled), LinearRegression()).fit(frame, X[:, 0])
        (place / "model.pkl").write_bytes(pickle.dumps(model))
    finally:
        sys.path.remove(str(place / "code"))
        del sys.modules["own_steps"]
    return place


# ---- MLflow ----


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore:the model was made with scikit-learn 0.1:UserWarning")
def test_a_model_of_mlflows_is_served_as_what_it_is(logged: Path, tmp_path: Path) -> None:
    scaffold = generator.from_file(logged, tmp_path / "served", trust=True)
    model = scaffold.directory / "src" / "model"
    assert scaffold.framework == "sklearn"
    assert (model / "own_steps.py").exists() and (model / "factor.txt").read_text() == "2.0"
    proof = json.loads((scaffold.directory / "smoke-test.json").read_text())
    assert proof["request"]["instances"] == [{"a": 1.0, "b": 0}, {"a": 2.5, "b": 1}]
    pins = (scaffold.directory / "requirements.txt").read_text()
    assert "mlflow" not in pins and "tqdm" not in pins and "scikit-learn==0.1" not in pins
    assert str(logged / "code") not in sys.path and "own_steps" not in sys.modules
    shutil.rmtree(logged)
    assert scaffold.verify()
    scaffold.close()


def test_code_beside_a_model_is_asked_for_and_is_its_own(
    logged: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingError, match="not trusted"):
        read(logged, refused)
    monkeypatch.setitem(sys.modules, "own_steps", sys)
    with pytest.raises(ScaffoldError, match="brings a module 'own_steps' .* imported already"):
        read(logged)


def test_the_versions_of_the_model_are_compared(logged: Path, read: Read) -> None:
    with pytest.warns(UserWarning, match="made with scikit-learn 0.1, and is loaded and pinned"):
        loaded = read(logged)
    assert [path.name for path in loaded.code] == ["factor.txt", "own_steps.py"]
    assert loaded.sample.dtypes.astype(str).to_dict() == {"a": "float64", "b": "int64"}


@pytest.mark.parametrize(
    ("info", "content", "columns", "expected"),
    [
        ({"type": "ndarray"}, {"inputs": [[1, 2]]}, [{"tensor-spec": {"dtype": "float32"}}], "f4"),
        ({"type": "ndarray"}, [[1, 2]], [], "i8"),
        ({"type": "json_object"}, ["a", "b"], [], None),
        ({"type": "sparse_matrix_csr"}, {}, [], None),
    ],
)
def test_an_input_example(
    info: dict[str, str],
    content: Any,
    columns: list[Any],
    expected: str | None,
    tmp_path: Path,
    read: Read,
) -> None:
    place = write_mlflow(
        tmp_path / "logged",
        {"sklearn": {"pickled_model": "model.pkl"}},
        signature={"inputs": json.dumps(columns)},
        saved_input_example_info={"artifact_path": "example.json", **info},
    )
    joblib.dump(LinearRegression().fit(X, X[:, 0]), place / "model.pkl")
    (place / "example.json").write_text(json.dumps(content))
    sample = read(place / "MLmodel").sample
    if expected is None:
        assert sample == (content or None)
    else:
        assert sample.dtype == np.dtype(expected) and sample.shape == (1, 2)


def test_refused_models_of_mlflows(tmp_path: Path, read: Read) -> None:
    place = tmp_path / "logged"
    for flavors, message in [
        ({}, "has the flavors , known are sklearn, xgboost, "),
        ({"spark": {}}, "has the flavors spark, known are .*, python_function"),
        ({"sklearn": {"pickled_model": "gone.pkl"}}, "gone.pkl.* can load: FileNotFoundError"),
        ({"xgboost": {"data": "m", "model_class": "os.system"}}, "'os.system', which is not xgb"),
        ({"xgboost": {}}, "does not hold a model that xgboost can load: KeyError: 'data'"),
        ({"sklearn": "no"}, "has no flavors"),
    ]:
        with pytest.raises(ScaffoldError, match=message) as raised:
            read(write_mlflow(place, flavors))
        assert "\n" not in str(raised.value)
    (place / "MLmodel").write_text("flavors: [")
    with pytest.raises(ScaffoldError, match="is not YAML"):
        read(place)


def test_an_address_needs_mlflow(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(SettingError, match=r"'models:/iris/1' .* pip install mlflow-skinny"):
        read("models:/iris/1")


# ---- MLServer ----


def settings(place: Path, **document: Any) -> Path:
    place.mkdir(exist_ok=True)
    (place / "model-settings.json").write_text(json.dumps(document))
    return place


@pytest.mark.parametrize("uri", [None, "./model.joblib", "."])
def test_a_directory_of_mlservers(uri: str | None, tmp_path: Path, read: Read) -> None:
    model = LinearRegression().fit(X, X[:, 0])
    parameters = {} if uri is None else {"parameters": {"uri": uri}}
    implementation = "mlserver_sklearn.SKLearnModel"
    place = settings(tmp_path / "m", name="iris", implementation=implementation, **parameters)
    joblib.dump(model, place / "model.joblib")
    loaded = read(place / "model-settings.json")
    assert loaded.name == "iris" and loaded.model.predict(X).tolist() == model.predict(X).tolist()


def test_mlserver_with_an_mlflow_model(tmp_path: Path, read: Read) -> None:
    place = write_mlflow(tmp_path / "m", {"sklearn": {"pickled_model": "model.pkl"}})
    joblib.dump(LinearRegression().fit(X, X[:, 0]), place / "model.pkl")
    implementation, uri = "mlserver_mlflow.MLflowRuntime", {"uri": "../m"}
    loaded = read(
        settings(tmp_path / "s", name="wine", implementation=implementation, parameters=uri)
    )
    assert loaded.name == "wine" and isinstance(loaded.model, LinearRegression)


def test_refused_settings_of_mlservers(tmp_path: Path, read: Read) -> None:
    for document, message in [
        ({"implementation": "mine.Model"}, "'mine.Model', known are mlserver_sklearn.SKLearnModel"),
        ({"implementation": "mlserver_sklearn.SKLearnModel"}, "would look for model.joblib or"),
        (
            {"implementation": "mlserver_mlflow.MLflowRuntime", "parameters": {"uri": "gone"}},
            "gone' is no MLflow model",
        ),
    ]:
        with pytest.raises(ScaffoldError, match=message):
            read(settings(tmp_path / "m", **document))
    (tmp_path / "m" / "model-settings.json").write_text("{")
    with pytest.raises(ScaffoldError, match="is not JSON"):
        read(tmp_path / "m")


# ---- files, and what is none ----


def test_what_the_caller_gives_goes_before_what_the_source_says() -> None:
    loaded = Loaded("model", "sample", ["A_b==1", "c"], name="iris")
    given = {"requirements": ["a-b==2"], "name": None, "sample_input": "mine"}
    assert loaded.arguments(given) == {
        "requirements": ["c", "a-b==2"],
        "name": "iris",
        "sample_input": "mine",
    }


def test_refused_sources(tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps(LinearRegression().fit(X, X[:, 0]))
    (tmp_path / "half.pkl").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.joblib").touch()
    (tmp_path / "versions" / "12").mkdir(parents=True)
    (tmp_path / "versions" / "12" / "saved_model.pb").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "scaffold").mkdir()
    (tmp_path / "scaffold" / ".copier-answers.yml").touch()
    (tmp_path / "broken.pt2").write_text("no")
    for source, message in [
        ("half.pkl", "'half.pkl' does not hold a model that joblib or pickle can load: "),
        (
            "empty.joblib",
            "'empty.joblib' does not hold a model that joblib or pickle can load: EOF",
        ),
        ("folder", "'folder' is a directory that holds no model: known are an MLflow model"),
        ("folder/gone.keras", "'folder/gone.keras' does not exist"),
        ("gone.joblib", "'gone.joblib' does not exist"),
        ("versions", "'versions' holds SavedModels in '12': name the directory of one"),
        ("scaffold", "'scaffold' is a scaffold already"),
    ]:
        with pytest.raises(ScaffoldError, match=message) as raised:
            read(source)
        assert "\n" not in str(raised.value)


def test_a_repository_that_is_not_there(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(SettingError, match="'org/name' does not exist; .* huggingface_hub"):
        read("org/name")


class Doubling(RegressorMixin, BaseEstimator):
    def predict(self, rows: Any) -> Any:
        return rows * 2


class Writes:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.write_text, (Path("ran"), "")


def test_no_code_runs_without_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    joblib.dump(Writes(), tmp_path / "model.joblib")
    joblib.dump(Writes(), write_mlflow(tmp_path / "m", {"sklearn": {"pickled_model": "p"}}) / "p")
    for source in ("model.joblib", "m"):
        with pytest.raises(SettingError, match=f"'{source}' runs the code in it: pass trust=True"):
            generator.from_file(source, "served")
        assert not (tmp_path / "ran").exists()
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").touch()  # a graph, which is a program
    with pytest.raises(SettingError, match="'saved' runs the code in it: pass trust=True"):
        generator.from_file("saved", "served")
    with pytest.raises(ScaffoldError):
        generator.from_file("model.joblib", "served", trust=True)
    assert (tmp_path / "ran").exists()


def test_skops_asks_for_types_that_it_does_not_know(tmp_path: Path, read: Read) -> None:
    from skops import io

    io.dump(LinearRegression().fit(X, X[:, 0]), tmp_path / "known.skops")
    assert read(tmp_path / "known.skops", refused).format == "skops"
    io.dump(Doubling(), tmp_path / "own.skops")
    with pytest.raises(SettingError, match="not trusted"):
        read(tmp_path / "own.skops", refused)
    assert isinstance(read(tmp_path / "own.skops").model, Doubling)


# ---- with MLflow itself ----


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow with a store of files."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    mlflow = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri(f"file://{tmp_path}/store")
    yield mlflow
    mlflow.set_tracking_uri(None)


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore")
def test_addresses_of_a_registry(mlflow: Any, tmp_path: Path) -> None:
    model = LinearRegression().fit(X, X[:, 0])
    with mlflow.start_run() as run:
        import mlflow.sklearn as flavor

        flavor.log_model(
            model,
            name="model",
            input_example=X[:2],
            registered_model_name="lines",
            pip_requirements=["scikit-learn"],
        )
    mlflow.MlflowClient().set_registered_model_alias("lines", "champion", 1)
    for address in ("models:/lines/1", "models:/lines@champion", f"runs:/{run.info.run_id}/model"):
        place = tmp_path / address.replace("/", "_").replace(":", "_")
        scaffold = generator.from_file(address, place, trust=True)
        assert scaffold.predict(X[:2].tolist())["predictions"] == model.predict(X[:2]).tolist()
        assert scaffold.name == ("lines" if address.startswith("models") else "model")
        scaffold.close()
    with pytest.raises(ScaffoldError, match="'models:/gone/1' cannot be fetched with MLflow"):
        generator.from_file("models:/gone/1", tmp_path / "no", trust=True)
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    with pytest.raises(ScaffoldError, match="whose registry is http://127.0.0.1:9"):
        generator.from_file("models:/lines/1", tmp_path / "no", trust=True)


def saved_xgboost(mlflow: Any, place: str) -> Any:
    from xgboost import XGBClassifier

    model = XGBClassifier(n_estimators=2).fit(X, LABELS)
    importlib.import_module("mlflow.xgboost").save_model(model, place, pip_requirements=[])
    return model


def saved_lightgbm(mlflow: Any, place: str) -> Any:
    from lightgbm import LGBMRegressor

    model = LGBMRegressor(n_estimators=2, min_child_samples=1, verbose=-1).fit(X, X[:, 0])
    importlib.import_module("mlflow.lightgbm").save_model(model, place, pip_requirements=[])
    return model


def saved_catboost(mlflow: Any, place: str) -> Any:
    from catboost import CatBoostClassifier

    model = CatBoostClassifier(iterations=2, verbose=False, allow_writing_files=False)
    model.fit(X, LABELS)
    importlib.import_module("mlflow.catboost").save_model(model, place, pip_requirements=[])
    return model


def saved_keras(mlflow: Any, place: str) -> Any:
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    importlib.import_module("mlflow.keras").save_model(model, place, pip_requirements=[])
    return model


def saved_pytorch(mlflow: Any, place: str) -> Any:
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(2, 1)
    importlib.import_module("mlflow.pytorch").save_model(
        model, place, pip_requirements=[], serialization_format="pickle"
    )
    return model


@pytest.mark.sweep
@pytest.mark.parametrize("place", ["tf2model", "data/model"])
def test_a_saved_model_in_mlflows_flavor(place: str, tmp_path: Path, read: Read) -> None:
    """It is served by its signature, if it has one: of a module, or of Keras 2."""
    tf = pytest.importorskip("tensorflow")
    module, logged = tf.Module(), tmp_path / "logged"
    keys = {"saved_model_dir": place} if place == "tf2model" else {"data": "data"}
    write_mlflow(logged, {"tensorflow": keys})
    tf.saved_model.save(module, str(logged / place))
    flavor = {"loader_module": "mlflow.tensorflow"}
    assert mlflow_source._tensorflow(logged, keys, lambda: None) is None  # noqa: SLF001
    module.f = tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec([None, 2])])
    tf.saved_model.save(module, str(logged / place), signatures=module.f)
    write_mlflow(logged, {"tensorflow": keys, "python_function": flavor})
    with pytest.raises(SettingError, match="not trusted"):
        read(logged, refused)
    loaded = read(logged)
    assert find_hook(loaded.model).name == "tensorflow" and loaded.framework is None


def saved_statsmodels(mlflow: Any, place: str) -> Any:
    from statsmodels.api import OLS

    model = OLS(X[:, 0], X).fit()
    importlib.import_module("mlflow.statsmodels").save_model(model, place, pip_requirements=[])
    return model


def answers(model: Any, rows: Any) -> Any:
    """What a model predicts, whatever its framework."""
    if hasattr(model, "forward"):
        import torch

        return model(torch.as_tensor(rows, dtype=torch.float32)).detach().numpy()
    return np.asarray(model.predict(rows))


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "save",
    [
        saved_xgboost,
        saved_lightgbm,
        saved_catboost,
        saved_keras,
        saved_pytorch,
        saved_statsmodels,
    ],
)
def test_a_flavor_is_loaded_as_what_it_is(
    save: Callable[[Any, str], Any], mlflow: Any, tmp_path: Path, read: Read
) -> None:
    model = save(mlflow, str(tmp_path / "saved"))
    loaded = read(tmp_path / "saved")
    assert type(loaded.model) is type(model) and loaded.framework is None
    assert np.array_equal(answers(loaded.model, X), answers(model, X))


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore")
def test_boosters_of_mlservers(tmp_path: Path, read: Read) -> None:
    from catboost import CatBoostClassifier
    from lightgbm import LGBMRegressor
    from xgboost import XGBClassifier, XGBRegressor

    catboost = CatBoostClassifier(iterations=2, verbose=False, allow_writing_files=False)
    lightgbm = LGBMRegressor(n_estimators=2, min_child_samples=1, verbose=-1).fit(X, X[:, 0])
    models = {
        "mlserver_xgboost.XGBoostModel": (
            XGBClassifier(n_estimators=2).fit(X, LABELS),
            "model.json",
        ),
        "mlserver_xgboost.XGBoostModel ": (
            XGBRegressor(n_estimators=2).fit(X, X[:, 0]),
            "model.ubj",
        ),
        "mlserver_catboost.CatboostModel": (catboost.fit(X, LABELS), "model.cbm"),
        "mlserver_lightgbm.LightGBMModel": (lightgbm.booster_, "model.bst"),
    }
    for number, (implementation, (model, file)) in enumerate(models.items()):
        place = settings(tmp_path / str(number), implementation=implementation.strip())
        model.save_model(str(place / file))
        loaded = read(place, refused).model
        assert type(loaded) is type(model)
        assert np.array_equal(loaded.predict(X), model.predict(X))


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore")
def test_a_file_in_hdf5(tmp_path: Path, read: Read) -> None:
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.save(tmp_path / "model.h5")
    with pytest.raises(SettingError, match="not trusted"):
        read(tmp_path / "model.h5", refused)
    assert np.array_equal(answers(read(tmp_path / "model.h5").model, X), answers(model, X))


SESSION = """
import pickle, joblib

class Steps:
    class First:
        def predict(self, rows):
            return rows

joblib.dump({"steps": [Steps.First()]}, "nested.joblib")
with open("model.pkl", "wb") as file:
    pickle.dump(Steps(), file)
with open("earlier.pkl", "wb") as file:
    pickle.dump(Steps(), file, protocol=2)
with open("function.pkl", "wb") as file:
    pickle.dump(Steps.First.predict, file)
"""


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("nested.joblib", "Steps.First"),
        ("model.pkl", "Steps"),
        ("earlier.pkl", "Steps"),
        ("function.pkl", "Steps.First.predict"),
    ],
)
def test_a_file_that_needs_its_session(file: str, name: str, read: Read, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", SESSION], cwd=tmp_path, check=True)
    with pytest.raises(ScaffoldError) as raised:
        read(tmp_path / file)
    assert str(raised.value) == (
        f"SOURCE {str(tmp_path / file)!r} needs {name!r}, which only the program or notebook that"
        " saved it defines: call generator.from_model(model, DIRECTORY) there"
    )


def test_a_module_that_lacks_something_is_no_session(read: Read, tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"cjson\nThing\n.")
    with pytest.raises(ScaffoldError, match="does not hold a model .*'json' has no attribute"):
        read(tmp_path / "model.pkl")
