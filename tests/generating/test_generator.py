"""From a model in memory to a scaffold: its predictions, what it records, and its errors."""

import contextlib
import errno
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas
import pytest
import scipy.sparse
import yaml
from packaging.requirements import Requirement
from sklearn.cluster import DBSCAN, KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import generator
from generator import ModelError, ScaffoldError, ServingError, SettingError, TargetError
from generator.capture.captured import Captured
from generator.environment.installed import Environment
from generator.layout import SMOKE_TEST
from generator.scaffold import Scaffold
from support.models.objects import Lengths, Sums
from support.rendering.checkouts import ROOT
from support.session.cases import first

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


def version(distribution: str) -> str:
    return metadata.version(distribution)


def distribution(module: str) -> str:
    """The installed distribution of a module: xgboost may be xgboost or xgboost-cpu."""
    (name,) = set(metadata.packages_distributions()[module])
    return name


def pins(scaffold: Scaffold) -> dict[str, str]:
    """The specifiers in requirements.txt, by name. Every line has a comment with its reason."""
    lines = (scaffold.directory / "requirements.txt").read_text().splitlines()
    found = [line for line in lines if not line.startswith(("#", "-"))]
    assert all(re.search(r"  # \S", line) for line in found), found
    parsed = [Requirement(line.split("  #")[0]) for line in found]
    return {item.name: str(item.specifier) or str(item.url) for item in parsed}


def facts(scaffold: Scaffold) -> dict[str, Any]:
    return dict(
        yaml.safe_load((scaffold.directory / "config.yaml").read_text())["model_metadata"]["model"]
    )


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Scaffold]]:
    """Calls generator.from_model with a target in tmp_path; closes its scaffolds at the end."""
    made: list[Scaffold] = []

    def from_model(model: Any, target: Any = None, **settings: Any) -> Scaffold:
        made.append(
            generator.from_model(model, target or tmp_path / f"scaffold{len(made)}", **settings)
        )
        return made[-1]

    yield from_model
    for scaffold in made:
        scaffold.close()


@pytest.fixture
def own_sums(sums: Scaffold, tmp_path: Path) -> Iterator[Scaffold]:
    """A copy of a scaffold, with its model in memory, that the test may edit."""
    made = Scaffold(shutil.copytree(sums.directory, tmp_path / "own_sums"), Sums())
    yield made
    made.close()


@pytest.fixture(scope="session")
def linear() -> LinearRegression:
    """A minimal model: y = 1 + 2 a - b, exactly."""
    rows = np.array([[0, 0], [1, 0], [0, 1], [2, 3]])
    return LinearRegression().fit(rows, 1 + 2 * rows[:, 0] - rows[:, 1])


# ---- twelve kinds of model ----


def pipeline() -> tuple[Any, Any]:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y), X


def column_transformer() -> tuple[Any, Any]:
    """Strings, numbers with missing values, dates and categories, each with its own dtype."""
    count = len(X)
    frame = pandas.DataFrame(
        {
            "city": RANDOM.choice(["Bern", "Zürich", "Genève"], count),
            "size": np.where(np.arange(count) % 7 == 0, np.nan, X[:, 0]),
            "rooms": RANDOM.integers(1, 9, count),
            "built": pandas.Timestamp("1999-12-31T23:59:59")
            + pandas.to_timedelta(np.arange(count), unit="D"),
            "grade": pandas.Categorical(
                RANDOM.choice(["a", "b", "c"], count), categories=["c", "b", "a"]
            ),
            "garden": Y.astype(bool),
        }
    )
    seconds = FunctionTransformer(pandas.DataFrame.astype, kw_args={"dtype": "int64"})
    transformer = ColumnTransformer(
        [
            ("texts", OneHotEncoder(), ["city", "grade"]),
            ("dates", make_pipeline(seconds, StandardScaler()), ["built"]),
        ],
        remainder="passthrough",
    )
    return make_pipeline(transformer, HistGradientBoostingClassifier(max_iter=5)).fit(
        frame, Y
    ), frame


def grid_search() -> tuple[Any, Any]:
    return GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=3).fit(X, X[:, 0] - X[:, 3]), X


def multi_output() -> tuple[Any, Any]:
    return MultiOutputClassifier(LogisticRegression()).fit(X, np.column_stack([Y, 1 - Y])), X


def string_labels() -> tuple[Any, Any]:
    return LogisticRegression().fit(X, np.array(["kein", "größer"])[Y]), X


def text_pipeline() -> tuple[Any, Any]:
    texts = [
        "good film",
        "bad film",
        "très bon",
        "awful",
        'quotes " and \\ too',
        "",
        "new\nline",
        "😀",
    ]
    return make_pipeline(TfidfVectorizer(), MultinomialNB()).fit(
        texts, [1, 0, 1, 0, 1, 0, 1, 1]
    ), texts


def regressor() -> tuple[Any, Any]:
    return RandomForestRegressor(n_estimators=5, random_state=0).fit(X, X[:, 0] * 1e-300), X


def clusterer() -> tuple[Any, Any]:
    return KMeans(3, n_init=1, random_state=0).fit(X.astype(np.float32)), X.astype(np.float32)


def outlier_detector() -> tuple[Any, Any]:
    return IsolationForest(n_estimators=5, random_state=0).fit(X), X


def with_categories() -> tuple[Any, Any]:
    frame = pandas.DataFrame(
        {"a": X[:, 0], "kind": pandas.Categorical(RANDOM.choice(["x", "y", "z"], len(X)))}
    )
    return HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype").fit(
        frame, Y
    ), frame


def xgboost() -> tuple[Any, Any]:
    from xgboost import XGBRegressor

    return make_pipeline(StandardScaler(), XGBRegressor(n_estimators=3, n_jobs=1)).fit(
        X, X[:, 0]
    ), X


def lightgbm() -> tuple[Any, Any]:
    from lightgbm import LGBMClassifier

    model = LGBMClassifier(n_estimators=3, min_child_samples=2, verbose=-1, n_jobs=1)
    return Pipeline([("numbers", FunctionTransformer()), ("model", model)]).fit(X, Y), X


# pandas 3 has other dtypes for these.
TEXTS = str(pandas.Series(["a"]).dtype)
DATES = str(
    (pandas.Timestamp("1999-12-31T23:59:59") + pandas.to_timedelta(np.arange(2), unit="D")).dtype
)
NUMBERS = {"kind": "array", "shape": [4], "dtype": "float64"}
ANY_NUMBERS = {"kind": "array", "shape": [4], "dtype": None}
CASES: dict[Callable[[], tuple[Any, Any]], tuple[Any, dict[str, Any], tuple[str, ...]]] = {
    pipeline: (ANY_NUMBERS, {"kind": "class", "classes": [0, 1], "probabilities": True}, ()),
    column_transformer: (
        {
            "kind": "table",
            "columns": [
                {"name": "city", "type": "string", "dtype": TEXTS},
                {"name": "size", "type": "number", "dtype": "float64"},
                {"name": "rooms", "type": "number", "dtype": "int64"},
                {"name": "built", "type": "string", "dtype": DATES},
                {
                    "name": "grade",
                    "type": "string",
                    "dtype": "category",
                    "categories": ["c", "b", "a"],
                    "categories_dtype": TEXTS,
                },
                {"name": "garden", "type": "boolean", "dtype": "bool"},
            ],
        },
        {"kind": "class", "classes": [0, 1]},
        ("pandas",),
    ),
    grid_search: (ANY_NUMBERS, {"kind": "number", "probabilities": False}, ()),
    multi_output: (NUMBERS, {"kind": "class", "dtype": "int64", "shape": [2]}, ()),
    string_labels: (NUMBERS, {"kind": "class", "classes": ["größer", "kein"]}, ()),
    text_pipeline: ({"kind": "text"}, {"kind": "class", "classes": [0, 1]}, ()),
    regressor: (NUMBERS, {"kind": "number", "dtype": "float64", "shape": []}, ()),
    clusterer: (NUMBERS | {"dtype": "float32"}, {"kind": "cluster", "dtype": "int32"}, ()),
    outlier_detector: (NUMBERS, {"kind": "outlier"}, ()),
    with_categories: (
        {
            "kind": "table",
            "columns": [
                {"name": "a", "type": "number", "dtype": "float64"},
                {
                    "name": "kind",
                    "type": "string",
                    "dtype": "category",
                    "categories": ["x", "y", "z"],
                    "categories_dtype": TEXTS,
                },
            ],
        },
        {"kind": "class"},
        ("pandas",),
    ),
    xgboost: (ANY_NUMBERS, {"kind": "number", "dtype": "float32"}, ("xgboost",)),
    lightgbm: (ANY_NUMBERS, {"kind": "class"}, ("lightgbm",)),
}
# These models do not hold the dtypes of their columns.
WITH_SAMPLE = (column_transformer, clusterer, with_categories)


def equal(expected: Any, served: list[Any]) -> bool:
    """Whether the shapes are equal, and all values to the last bit of the expected dtype."""
    values = np.asarray(expected)
    predictions = np.asarray(served, dtype=values.dtype)
    return values.shape == predictions.shape and bool((values == predictions).all())


BOOSTERS = {
    "xgboost": lambda: import_module("xgboost").XGBClassifier(n_estimators=3, n_jobs=1),
    "lightgbm": lambda: import_module("lightgbm").LGBMClassifier(
        n_estimators=3, min_child_samples=2, verbose=-1
    ),
    "catboost": lambda: import_module("catboost").CatBoostClassifier(
        iterations=3, verbose=False, allow_writing_files=False, thread_count=1
    ),
}


def recorded(scaffold: Scaffold) -> Any:
    """What the scaffold has predicted for its sample."""
    return json.loads((scaffold.directory / SMOKE_TEST).read_text())["response"]["predictions"]


def unknown_rows(named: bool, package: str) -> Any:
    """The warning where the model does not say what answers depend on."""
    if named:
        return pytest.warns(UserWarning, match="the dtypes of the columns .* are not known")
    if package == "xgboost":
        return pytest.warns(UserWarning, match="whether it was fitted on such rows")
    return contextlib.nullcontext()


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("named", "sampled"),
    [
        pytest.param(True, True, id="named columns-with a sample"),
        pytest.param(True, False, id="named columns-without", marks=pytest.mark.sweep),
        pytest.param(False, True, id="arrays-with a sample", marks=pytest.mark.sweep),
        pytest.param(False, False, id="arrays-without"),
    ],
)
@pytest.mark.parametrize("package", BOOSTERS)
def test_an_estimator_of_another_package(
    make: Callable[..., Scaffold], package: str, named: bool, sampled: bool
) -> None:
    """Pickled, as where `framework` asks for that.

    scikit-learn is pinned if it is needed to load. XGBoost's pickle does not name it.
    """
    kind, x = "array", X
    if named:
        kind, x = "table", pandas.DataFrame(X, columns=["sepal length", "b", "c", "d"])
    model = BOOSTERS[package]().fit(x, Y)
    if sampled:
        served = recorded(scaffold := make(model, sample_input=x, framework="sklearn"))
    else:
        with unknown_rows(named, package):
            scaffold = make(model, framework="sklearn")
        served = scaffold.predict(X)["predictions"]
    assert equal(model.predict(x), served)
    assert facts(scaffold)["input"]["kind"] == kind
    assert {distribution(package), "joblib"} <= pins(scaffold).keys()
    assert ("scikit-learn" in pins(scaffold)) == (package != "catboost")


USUAL = (pipeline, column_transformer)


@pytest.mark.parametrize(
    "case",
    [*USUAL, *(pytest.param(case, marks=pytest.mark.sweep) for case in CASES if case not in USUAL)],
    ids=lambda case: case.__name__,
)
def test_predicts_what_the_model_predicts(
    case: Callable[[], tuple[Any, Any]], make: Callable[..., Scaffold]
) -> None:
    model, inputs = case()
    expected_input, expected_output, modules = CASES[case]
    if case in WITH_SAMPLE:
        served = recorded(scaffold := make(model, sample_input=inputs))
    else:
        served = (scaffold := make(model)).predict(inputs)["predictions"]
    assert equal(model.predict(inputs), served)

    found = facts(scaffold)
    assert found["input"] == expected_input
    assert found["output"].items() >= expected_output.items()
    assert found["class"] == f"{type(model).__module__}.{type(model).__qualname__}"
    names = {"scikit-learn", "numpy", "joblib", "orjson", *map(distribution, modules)}
    assert {name: pins(scaffold).get(name) for name in names} == {
        name: f"=={version(name)}" for name in names
    }
    trained = names - {"orjson"} | {"python"}
    assert found["trained_with"].keys() >= trained
    assert all(found["trained_with"][name] == version(name) for name in trained - {"python"})


def test_probabilities_on_request(make: Callable[..., Scaffold]) -> None:
    model, inputs = pipeline()
    response = make(model).predict({"instances": inputs[:5], "probabilities": True})
    assert response == {
        "predictions": model.predict(inputs[:5]).tolist(),
        "probabilities": model.predict_proba(inputs[:5]).tolist(),
    }


@pytest.mark.sweep
def test_rows_as_objects_and_as_lists(make: Callable[..., Scaffold]) -> None:
    frame = pandas.DataFrame({"b": X[:, 0], "a": X[:, 1]})
    model = LogisticRegression().fit(frame, Y)
    scaffold = make(model, sample_input=frame)
    expected = model.predict(frame).tolist()
    assert scaffold.predict(frame)["predictions"] == expected
    assert (
        scaffold.predict([{"a": a, "b": b} for b, a in frame.to_numpy()])["predictions"] == expected
    )
    assert scaffold.predict(frame.to_numpy().tolist())["predictions"] == expected
    assert scaffold.predict(frame.to_numpy())["predictions"] == expected
    with pytest.raises(ServingError, match="400: .*lacks 'b'; the model takes 'b', 'a'"):
        scaffold.predict([{"a": 1}])


# ---- sample_input ----


@pytest.mark.parametrize(
    "sample",
    first(1, [X[:3], X[:3].astype(np.float32), X[:3].tolist(), scipy.sparse.csr_matrix(X[:3])]),
    ids=["array", "float32", "list", "sparse"],
)
def test_a_sample_is_verified_and_recorded(sample: Any, make: Callable[..., Scaffold]) -> None:
    model = RandomForestRegressor(n_estimators=5, random_state=0).fit(X, X[:, 0])
    scaffold = make(model, sample_input=sample)
    kept = json.loads((scaffold.directory / "smoke-test.json").read_text())
    assert kept["response"] == {"predictions": model.predict(sample).tolist()}
    described: dict[str, Any] = {"kind": "array", "shape": [4]}
    if scipy.sparse.issparse(sample):
        sample, described["sparse"] = sample.toarray(), "csr_matrix"
    array = np.asarray(sample)
    assert kept["request"] == {"instances": array.tolist()}
    assert facts(scaffold)["input"] == {**described, "dtype": array.dtype.name}
    assert facts(scaffold)["example"] == kept["request"]["instances"]
    assert facts(scaffold)["rows_independent"] is True and facts(scaffold)["batch_noise"] == 0


def test_a_sample_with_dates_and_missing_values_is_recorded_as_a_client_sends_it(
    make: Callable[..., Scaffold],
) -> None:
    model, frame = column_transformer()
    scaffold = make(model, sample_input=frame[:2])
    kept = json.loads((scaffold.directory / "smoke-test.json").read_text())["request"]["instances"]
    first = kept[0]
    assert (first["built"], first["size"], first["garden"]) == (
        "1999-12-31T23:59:59",
        None,
        bool(frame["garden"][0]),
    )
    assert facts(scaffold)["example"] == kept


def test_refuses_a_sample_that_json_cannot_express(
    make: Callable[..., Scaffold], tmp_path: Path
) -> None:
    model, frame = column_transformer()
    frame = frame[:2].assign(city=[object(), object()])
    message = refused(SettingError, tmp_path, lambda: make(model, sample_input=frame))
    assert message == (
        "the column 'city' of sample_input (object) has no form in JSON: it holds a value of type"
        " object; convert it before the model gets it, in training too"
    )


def test_verify_detects_a_change(own_sums: Scaffold) -> None:
    with contextlib.closing(generator.load(own_sums.directory)) as opened:
        verification = opened.verify()
    assert verification and verification.served == [6.0, 22.0]
    edit(own_sums, "self._model.predict(inputs)", "self._model.predict(inputs + 1)")
    assert own_sums.verify().difference == "predictions[0] should be 6.0, it is 10.0"
    assert not own_sums.verify(np.ones((1, 4)))


def test_a_model_that_keeps_its_rows_is_verified_on_them(make: Callable[..., Scaffold]) -> None:
    """BLAS has another method for an array times itself, which can change the last bits."""
    model = KernelRidge().fit(X, X[:, 0] - X[:, 1] ** 2)
    assert model.X_fit_ is X and make(model, sample_input=X)


def test_verify_needs_something_to_compare_with(make: Callable[..., Scaffold], linear: Any) -> None:
    scaffold = make(linear)
    with pytest.raises(
        ScaffoldError, match="smoke-test.json is missing: make the scaffold with a sample_input"
    ):
        scaffold.verify()
    with pytest.raises(ScaffoldError, match="was opened without its model"):
        generator.load(scaffold.directory).verify([[1, 2]])


def test_a_scaffold_that_predicts_something_else_is_refused(
    linear: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, dump = LinearRegression().fit([[0, 0], [1, 1]], [5, 5]), joblib.dump
    monkeypatch.setattr("joblib.dump", lambda model, path: dump(other, path))
    message = refused(
        ModelError,
        tmp_path,
        lambda: generator.from_model(linear, tmp_path / "rfc", sample_input=[[4, 2]]),
    )
    assert (
        "the scaffold does not predict what the model in memory does: predictions[0] should be "
        in message
    )


@pytest.mark.parametrize(
    "sample",
    [
        X[:, :3],
        X[0],
        [[1, 2]],
        5,
        [],
        np.zeros((0, 4)),
        "text",
        [[1, 2, 3, 4], [1, 2]],
        X[None],
        [[1, 2, 3, "x"]],
        {},
    ],
    ids=[
        "narrow",
        "one row",
        "list",
        "scalar",
        "empty",
        "no rows",
        "text",
        "ragged",
        "deep",
        "texts",
        "dict",
    ],
)
def test_refuses_a_sample_of_another_shape(
    sample: Any, make: Callable[..., Scaffold], tmp_path: Path
) -> None:
    model = RandomForestRegressor(n_estimators=1).fit(X, X[:, 0])
    assert "sample_input" in refused(
        SettingError, tmp_path, lambda: make(model, sample_input=sample)
    )


def test_refuses_a_sample_with_other_columns(make: Callable[..., Scaffold], tmp_path: Path) -> None:
    model = LinearRegression().fit(pandas.DataFrame({"a": [1, 2], "b": [3, 4]}), [1, 2])
    sample = pandas.DataFrame({"b": [1], "a": [2]})
    message = refused(SettingError, tmp_path, lambda: make(model, sample_input=sample))
    assert "['b', 'a']" in message and "['a', 'b']" in message


# ---- settings ----


def test_name_directory_and_python_version(
    linear: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scaffold = generator.from_model(linear, name="Price.v2", python_version="3.12")
    assert scaffold.directory == Path("linear_regression") and scaffold.name == "Price.v2"
    assert (
        "ARG PYTHON_VERSION=3.12" in Path("linear_regression/sklearn-server.Dockerfile").read_text()
    )
    assert scaffold.docker_build_string == (
        "docker build -f linear_regression/sklearn-server.Dockerfile linear_regression"
    )
    assert repr(scaffold) == "Scaffold('linear_regression')"


@pytest.mark.sweep
def test_the_default_directory_is_the_class_in_snake_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = HistGradientBoostingClassifier(max_iter=1).fit(X, Y)
    assert generator.from_model(model).directory == Path("hist_gradient_boosting_classifier")


@pytest.mark.sweep
def test_files_follow_the_umask(linear: Any, make: Callable[..., Scaffold]) -> None:
    previous = os.umask(0o027)
    try:
        scaffold = make(linear)
    finally:
        os.umask(previous)
    assert scaffold.directory.stat().st_mode & 0o777 == 0o750
    assert (scaffold.directory / "src" / "model" / "model.joblib").stat().st_mode & 0o777 == 0o640


def test_given_requirements_are_added_or_replace_pins(
    linear: Any, make: Callable[..., Scaffold]
) -> None:
    lines = ["NumPy>=1.22", "requests[socks]==2.31.0  # for the owner's code", "# why", "", "--pre"]
    scaffold = make(linear, requirements=lines)
    text = (scaffold.directory / "requirements.txt").read_text()
    found = pins(scaffold)
    assert found["NumPy"] == ">=1.22" and found["requests"] == "==2.31.0" and "numpy" not in found
    assert "\n--pre  # given by you\n" in text
    assert "requests[socks]==2.31.0  # given by you: for the owner's code\n" in text
    assert found["scikit-learn"] == f"=={version('scikit-learn')}"


@pytest.mark.sweep
def test_installed_packages_and_names_are_read_once(
    linear: Any, make: Callable[..., Scaffold], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    for owner, name in ((Environment, "__init__"), (Captured, "renamed")):
        real = getattr(owner, name)

        def counted(self: Any, real: Any = real, name: str = name, **settings: Any) -> Any:
            calls.append(name)
            return real(self, **settings)

        monkeypatch.setattr(owner, name, counted)
    make(linear)
    assert sorted(calls) == ["__init__", "renamed"]


def test_data_is_copied(linear: Any, make: Callable[..., Scaffold], tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "a.txt").write_text("a")
    (source / "deep" / "b.txt").write_text("b")
    for data in (source, str(source), [source / "a.txt", source / "deep"]):
        copied = make(linear, data=data).directory / "src" / "data"
        assert (copied / "a.txt").read_text() == "a" and (
            copied / "deep" / "b.txt"
        ).read_text() == "b"
    one = make(linear, data=source / "a.txt").directory / "src" / "data"
    assert sorted(path.name for path in one.iterdir()) == [".gitkeep", "a.txt"]


def is_refused(make: Callable[[], Any], directory: Path, words: str) -> None:
    """A setting is refused, and nothing is written or left."""
    before = sorted(directory.rglob("*"))
    with pytest.raises(SettingError, match=words):
        make()
    assert sorted(directory.rglob("*")) == before


def test_data_that_cannot_be_copied_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "a.txt").write_text("a")
    (source / "deep" / "a.txt").write_text("another")

    def refused(words: str, *data: Path, target: Path = tmp_path / "made") -> None:
        given = list(data) or source
        is_refused(lambda: generator.new(target, data=given), tmp_path, words)

    (source / "deep" / "deep").mkdir()
    same = [source / "a.txt", source / "deep" / "a.txt"]
    refused(r"two files 'a.txt', .*source/a.txt and .*deep/a.txt", *same)
    refused("two files 'deep'", source / "deep", source / "deep" / "deep")
    for link, words in [
        ("..", "link to a directory that holds it"),
        (".", "link to a directory that holds it"),
        ("nowhere", "link to something that does not exist"),
        ("loop", "link to something that does not exist"),
    ]:
        (source / "deep" / "loop").symlink_to(link)
        refused(words)
        (source / "deep" / "loop").unlink()
    os.mkfifo(source / "pipe")
    refused("neither a file nor a directory")
    (source / "pipe").unlink()
    refused("holds target_directory", source, source / "a.txt", target=source / "made")
    refused("holds target_directory", target=source / "deep" / "made")
    refused("holds target_directory", Path("/"), target=tmp_path / "made")


def test_data_may_be_links_and_may_be_where_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "v3"
    (source / "empty").mkdir(parents=True)
    (source / "a.txt").write_text("a")
    (tmp_path / "current").symlink_to("v3")
    (source / "same.txt").symlink_to("a.txt")
    monkeypatch.chdir(source)
    for number, data in enumerate([["."], [tmp_path / "current"], ["a.txt", "a.txt"]]):
        several = [*data, source / "same.txt"] if number < 2 else data
        made = generator.new(tmp_path / f"made{number}", data=several)
        copied = made.directory / "src" / "data"
        found = {path.relative_to(copied).as_posix() for path in copied.rglob("*")}
        expected = {
            0: {"v3", "v3/a.txt", "v3/empty", "v3/same.txt", "same.txt"},
            1: {"current", "current/a.txt", "current/empty", "current/same.txt", "same.txt"},
            2: {"a.txt"},
        }
        assert found == expected[number] | {".gitkeep"}
        assert not any(path.is_symlink() for path in copied.rglob("*"))


@pytest.mark.parametrize("target", ["../made", "no/../made", "link/../made", "../here/no/../made"])
def test_a_target_with_dots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "here" / "link").symlink_to(tmp_path / "elsewhere" / "deep")
    monkeypatch.chdir(tmp_path / "here")
    made = generator.new(target)
    place = {"../made": "made", "link/../made": "elsewhere/made"}.get(target, "here/made")
    assert made.directory.resolve() == tmp_path / place
    assert made.name == "model" and not (tmp_path / "here" / "no").exists()
    assert str(made.directory) in made.docker_build_string
    assert not Path(made.docker_build_string.split()[-1]).is_absolute()


def test_overwrite(linear: Any, make: Callable[..., Scaffold], tmp_path: Path) -> None:
    """A directory that is not a scaffold is replaced. test_replacement.py has scaffolds."""
    target = tmp_path / "rfc"
    target.mkdir()
    (target / "mine.txt").write_text("mine")
    make(linear, target, overwrite=True, name="other")
    assert not (target / "mine.txt").exists() and generator.load(target).name == "other"
    (tmp_path / "rfc" / "config.yaml").rename(tmp_path / "rfc" / ".copier-answers.yml")
    with pytest.raises(ScaffoldError, match="config.yaml cannot be read"):
        make(linear, target, overwrite=True)
    shutil.rmtree(target)
    target.mkdir()
    make(linear, target)  # an empty directory needs no overwrite
    assert [path.name for path in tmp_path.iterdir()] == ["rfc"]


@pytest.mark.sweep
def test_a_target_behind_a_link(linear: Any, make: Callable[..., Scaffold], tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "rfc").symlink_to(tmp_path / "disk")
    scaffold = make(linear, tmp_path / "rfc")
    assert scaffold.directory == tmp_path / "rfc" and (tmp_path / "rfc").is_symlink()
    assert (tmp_path / "disk" / "config.yaml").exists()


@pytest.mark.sweep
def test_parents_are_made(linear: Any, make: Callable[..., Scaffold], tmp_path: Path) -> None:
    assert (make(linear, tmp_path / "a" / "b" / "rfc").directory / "config.yaml").exists()


# ---- an open scaffold ----


def edit(scaffold: Scaffold, old: str, new: str) -> None:
    path = scaffold.directory / "src" / "server" / "inference_model.py"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_the_next_predict_uses_an_edit(own_sums: Scaffold) -> None:
    assert own_sums.predict([[1, 1, 1, 1]]) == {"predictions": [4]}
    edit(own_sums, "return response", 'return {**response, "edited": True}')
    assert own_sums.predict([[1, 1, 1, 1]]) == {"predictions": [4], "edited": True}


def test_a_mistake_in_an_edit_is_one_line_and_can_be_fixed(own_sums: Scaffold) -> None:
    edit(own_sums, "def load(self) -> None:", "def load(self) -> None")
    with pytest.raises(
        ServingError, match=r"inference_model.py cannot be imported: line \d+ of .*expected ':'"
    ):
        own_sums.predict([[1, 1, 1, 1]])
    edit(own_sums, "def load(self) -> None", "def load(self) -> None:")
    assert own_sums.predict([[0, 0, 0, 0]]) == {"predictions": [0]}


@pytest.mark.sweep
def test_a_scaler_that_the_owner_adds(make: Callable[..., Scaffold], tmp_path: Path) -> None:
    """As in the tutorial: load reads a scaler in src/data/, and predict applies it."""
    scaler = StandardScaler().fit(X)
    model = LogisticRegression().fit(scaler.transform(X), Y)
    joblib.dump(scaler, tmp_path / "scaler.joblib")
    scaffold = make(model, requirements=["joblib", "scikit-learn"])
    shutil.move(tmp_path / "scaler.joblib", scaffold.directory / "src" / "data")
    edit(
        scaffold,
        "        self._model = fast_path(joblib.load(model_path(self._config)))\n",
        "        self._scaler = joblib.load(os.path.join('data', 'scaler.joblib'))\n"
        "        self._model = fast_path(joblib.load(model_path(self._config)))\n",
    )
    edit(scaffold, "import joblib  #", "import os\nimport numpy as np\nimport joblib  #")
    edit(
        scaffold,
        '        inputs = self._signature.inputs(request["instances"])\n',
        '        inputs = self._scaler.transform(np.array(request["instances"]))\n',
    )
    assert equal(model.predict(scaler.transform(X)), scaffold.predict(X)["predictions"])


def test_load_opens_a_scaffold(make: Callable[..., Scaffold]) -> None:
    made = make(Sums(), framework="custom", name="price", sample_input=[[3, 1]])
    opened = generator.load(str(made.directory))
    assert opened.name == "price" and opened.docker_build_string == made.docker_build_string
    for _ in range(2):
        assert opened.predict([[3, 1]]) == {"predictions": [4]}
        opened.close()  # ends the worker only


@pytest.mark.sweep
def test_two_scaffolds_are_open_at_once(make: Callable[..., Scaffold], sums: Scaffold) -> None:
    other = make(Lengths(), framework="custom", sample_input=["four"])
    assert sums.predict([[4, 2, 0, 0]]) == {"predictions": [6]}
    assert other.predict(["four"]) == {"predictions": [{"text": "FOUR", "length": 4}]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "config.yaml"),
        pytest.param("model_name: [", "is not YAML", marks=pytest.mark.sweep),
        pytest.param("model_name: 3\n", "model_name|model_metadata", marks=pytest.mark.sweep),
        pytest.param("- a\n", "config.yaml must be a mapping", marks=pytest.mark.sweep),
    ],
)
def test_a_broken_config_is_one_line(
    content: str | None, message: str, linear: Any, make: Callable[..., Scaffold]
) -> None:
    path = make(linear).directory / "config.yaml"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(ScaffoldError, match=message) as raised:
        generator.load(path.parent)
    assert "\n" not in str(raised.value)


def test_load_names_a_directory_that_is_not_a_scaffold(tmp_path: Path) -> None:
    with pytest.raises(ScaffoldError, match="'.*missing' is not a directory"):
        generator.load(tmp_path / "missing")
    with pytest.raises(ScaffoldError, match="is not a scaffold"):
        generator.load(tmp_path)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        pytest.param("missing", "is missing", marks=pytest.mark.sweep),
        pytest.param(
            "truncated", "is not the model that config.yaml records", marks=pytest.mark.sweep
        ),
        ("replaced", "is not the model that config.yaml records"),
    ],
)
def test_a_damaged_model_file_is_never_unpickled(
    damage: str, expected: str, linear: Any, make: Callable[..., Scaffold]
) -> None:
    scaffold = make(linear)
    path = scaffold.directory / "src" / "model" / "model.joblib"
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        joblib.dump(LinearRegression().fit([[1, 2]], [3]), path)
    with pytest.raises(ServingError, match=f"src/model/model.joblib {expected}") as raised:
        scaffold.predict([[1, 1]])
    assert "\n" not in str(raised.value)


# ---- the Docker commands, in a shell ----

PATHS = [
    "test_rfc",
    "with spaces",
    "it's",
    'double"quote',
    "$HOME `id` $(id)",
    "-leading-dash",
    "é-ü-漢",
    "a;b&c|d>e",
    "back\\slash",
    "*",
    "~",
    "#hash",
    "new\nline",
    "git@example.org",
    "github.com",
]


@pytest.fixture(scope="session")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a `docker` that prints its arguments as JSON.

    With `-q` it prints an image's id, and the arguments to standard error.
    """
    directory = tmp_path_factory.mktemp("stub")
    script = f"""#!{sys.executable}
import json, sys
arguments = sys.argv[1:]
print("sha256:0123" if "-q" in arguments else json.dumps(arguments))
if "-q" in arguments:
    print(json.dumps(arguments), file=sys.stderr)
"""
    (directory / "docker").write_text(script)
    (directory / "docker").chmod(0o755)
    return directory


@pytest.mark.parametrize("path", PATHS)
def test_docker_commands_are_quoted_for_a_shell(
    path: str, scaffold: Scaffold, stub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = Path(path)
    if path == "github.com":
        place = place / "inner"
    shutil.copytree(scaffold.directory, place)
    opened = generator.load(place)

    def shell(command: str) -> "subprocess.CompletedProcess[str]":
        environ = os.environ | {"PATH": f"{stub}:{os.environ['PATH']}"}
        return subprocess.run(
            ["sh", "-c", command], env=environ, capture_output=True, text=True, check=True
        )

    build, dash_f, dockerfile, context = json.loads(shell(opened.docker_build_string).stdout)
    assert (build, dash_f) == ("build", "-f")
    assert Path(dockerfile).is_file() and Path(context).samefile(place)
    assert not context.startswith(("-", "github.com/", "git@"))
    named = json.loads(shell(opened.docker_build_string + " -t rfc").stdout)
    assert named == [build, dash_f, dockerfile, context, "-t", "rfc"]
    ran = shell(opened.docker_run_string)
    assert json.loads(ran.stdout) == ["run", "--rm", "-p", "8080:8080", "-t", "sha256:0123"]
    assert json.loads(ran.stderr) == [build, dash_f, dockerfile, context, "-q"]


def test_docker_build_string(
    scaffold: Scaffold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scaffold.directory.parent)
    opened = generator.load("test_rfc")
    assert (
        opened.docker_build_string == "docker build -f test_rfc/sklearn-server.Dockerfile test_rfc"
    )


# ---- bad input: one clear error, which leaves nothing behind ----


def without_address(value: object) -> str:
    """A test's id that is the same in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def refused(kind: type[ScaffoldError], directory: Path, call: Callable[[], Any]) -> str:
    """The message of the error. Its class is exact, it is one line, and it changes no file."""
    before = listing(directory)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn may warn before the error
        with pytest.raises(ScaffoldError) as raised:
            call()
    assert type(raised.value) is kind, raised.value
    message = str(raised.value)
    assert "\n" not in message and len(message) > 20
    assert listing(directory) == before
    return message


def listing(directory: Path) -> dict[str, bytes | None]:
    """Every file below a directory with its content, and every directory with None."""
    found: dict[str, bytes | None] = dict.fromkeys(map(str, directory.rglob("*")))
    files = (path for path in directory.rglob("*") if path.is_file())
    return found | {str(path): path.read_bytes() for path in files}


class NotAModel:
    """A class of no framework."""


def unpicklable() -> Any:
    model = make_pipeline(FunctionTransformer(), LinearRegression()).fit(X, X[:, 0])
    return model.set_params(functiontransformer__func=threading.Lock().acquire)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            LinearRegression,
            "LinearRegression is a class, not a model: pass an instance of it that was trained",
        ),
        ("model.joblib", "model is the string 'model.joblib', not a model: load the model"),
        (
            {"model": 1},
            "model is a dict, whose framework is not known: pass a trained model of one of xgboost,"
            " lightgbm, catboost, sklearn, keras",
        ),
        (None, "model is a NoneType, whose framework is not known"),
        (NotAModel(), "test_generator.NotAModel, whose framework is not known"),
        (
            LinearRegression(),
            "LinearRegression is not fitted: call fit(X, y) before making a scaffold of it",
        ),
        (make_pipeline(StandardScaler(), Ridge()), "Pipeline is not fitted: call fit(X, y)"),
        (GridSearchCV(Ridge(), {"alpha": [1]}), "GridSearchCV is not fitted: call fit(X, y)"),
        (
            DBSCAN().fit(X),
            "DBSCAN has no 'predict', 'transform', 'kneighbors', 'score_samples': name the method",
        ),
        (unpicklable(), "cannot be pickled: model.steps[0][1].func: "),
        (
            unpicklable(),
            "object: leave it out of the state in __getstate__, or replace it with a picklable",
        ),
    ],
    ids=without_address,
)
def test_refuses_what_is_not_a_model(
    model: Any, message: str, make: Callable[..., Scaffold], tmp_path: Path
) -> None:
    assert message in refused(ModelError, tmp_path, lambda: make(model))


def run_python(code: str, *arguments: str, **settings: Any) -> "subprocess.CompletedProcess[str]":
    environ = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=120, **settings
    )


def test_refuses_a_target_that_is_not_empty(
    make: Callable[..., Scaffold], linear: Any, tmp_path: Path
) -> None:
    (tmp_path / "rfc").mkdir()
    (tmp_path / "rfc" / "mine.txt").write_text("mine")
    message = refused(TargetError, tmp_path, lambda: make(linear, tmp_path / "rfc"))
    assert "rfc' holds something already: name another, or pass overwrite=True" in message


def test_refuses_a_target_that_is_a_file(
    make: Callable[..., Scaffold], linear: Any, tmp_path: Path
) -> None:
    (tmp_path / "rfc").write_text("mine")
    message = refused(TargetError, tmp_path, lambda: make(linear, tmp_path / "rfc", overwrite=True))
    assert "rfc' is a file: name a directory that does not exist yet" in message


@pytest.mark.parametrize(
    "path", ["/proc/rfc", "/proc/deep/rfc", "file/rfc", "file/deep/rfc", "x" * 256, "nul\0"]
)
def test_refuses_a_target_that_cannot_be_created(
    path: str, make: Callable[..., Scaffold], linear: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    message = refused(TargetError, tmp_path, lambda: make(linear, tmp_path / path))
    assert repr(str(tmp_path / path)) in message and "name another" in message


@pytest.mark.parametrize("path", [".", "..", ""])
def test_refuses_to_replace_the_working_directory(
    path: str,
    make: Callable[..., Scaffold],
    linear: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    message = refused(
        TargetError, tmp_path, lambda: generator.from_model(linear, path, overwrite=True)
    )
    assert "is where you are: name a directory in it" in message


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "é", "x" * 64, "a\n", None])
def test_refuses_a_bad_name(
    name: Any, make: Callable[..., Scaffold], linear: Any, tmp_path: Path
) -> None:
    message = refused(SettingError, tmp_path, lambda: make(linear, name=name))
    assert message.startswith("name: ") or name is None
    assert str(name).strip() in message


@pytest.mark.parametrize(
    "version", ["", " ", "1 0", "-1", "..", "a/b", "é", "x" * 65, "1\n", 1.1, 2, True]
)
def test_refuses_a_bad_version(
    version: Any, make: Callable[..., Scaffold], linear: Any, tmp_path: Path
) -> None:
    message = refused(SettingError, tmp_path, lambda: make(linear, version=version))
    assert f"version {version!r}: must be a string of 1 to 64 letters" in message


@pytest.mark.parametrize("python_version", ["3.9", "3.14", "", "3", "3.11.7", 3.11])
def test_refuses_a_bad_python_version(
    python_version: Any, make: Callable[..., Scaffold], linear: Any, tmp_path: Path
) -> None:
    message = refused(SettingError, tmp_path, lambda: make(linear, python_version=python_version))
    assert f"python_version {python_version!r} is not one of 3.10, 3.11, 3.12, 3.13" in message


@pytest.mark.parametrize(
    "line", ["foo bar", "==1", "a @", "./x", "-r other.txt", "-e .", "--trusted-host x", "a\nb", 3]
)
def test_refuses_a_bad_requirement(
    line: Any, make: Callable[..., Scaffold], linear: Any, tmp_path: Path
) -> None:
    message = refused(SettingError, tmp_path, lambda: make(linear, requirements=["joblib", line]))
    assert f"requirements: {line!r} is not a" in message and "give" in message


def test_refuses_requirements_in_one_string(
    make: Callable[..., Scaffold], linear: Any, tmp_path: Path
) -> None:
    message = refused(SettingError, tmp_path, lambda: make(linear, requirements="numpy"))
    assert "requirements: 'numpy' is one string: give a list with a string for each line" in message


@pytest.mark.parametrize("server", ["flask", "", None])
def test_refuses_a_bad_server(
    server: Any, make: Callable[..., Scaffold], linear: Any, tmp_path: Path
) -> None:
    message = refused(SettingError, tmp_path, lambda: make(linear, server=server))
    assert "server" in message and str(server) in message


def test_refuses_data_that_does_not_exist(
    make: Callable[..., Scaffold], linear: Any, tmp_path: Path
) -> None:
    message = refused(
        SettingError, tmp_path, lambda: make(linear, data=[ROOT / "README.md", "nowhere.txt"])
    )
    assert "data names 'nowhere.txt', which does not exist" in message


# ---- failures half way ----

FULL = OSError(errno.ENOSPC, "No space left on device")
BREAKS = [
    ("joblib.dump", KeyboardInterrupt()),
    ("joblib.dump", FULL),
    ("generator.writing.prepare.write_facts", Exception("whatever")),
    ("generator.writing.prepare.write_facts", FULL),
    ("generator.running.verification._write_smoke_test", KeyboardInterrupt()),
]


@pytest.mark.parametrize("place", ["not/yet/there", "there"], ids=["new", "overwritten"])
@pytest.mark.parametrize(("step", "error"), BREAKS, ids=str)
def test_a_failure_half_way_leaves_nothing_behind(
    step: str,
    error: BaseException,
    place: str,
    linear: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target, existing = tmp_path / place, place == "there"
    if existing:
        target.mkdir()
        (target / "mine.txt").write_text("mine")

    def broken(*arguments: Any) -> None:
        path = next(argument for argument in arguments if isinstance(argument, Path))
        if path.is_dir():
            path = path / SMOKE_TEST
        path.write_bytes(b"half of it")
        raise error

    before = listing(tmp_path)
    monkeypatch.setattr(step, broken)
    sample, expected = None, type(error)
    if "smoke" in step:
        sample = [[1, 2]]
    if error is FULL:
        expected = TargetError
    with pytest.raises(expected) as raised:
        generator.from_model(linear, target, overwrite=existing, sample_input=sample)
    assert listing(tmp_path) == before
    if error is FULL:
        assert "No space left on device" in str(raised.value) and "\n" not in str(raised.value)


def test_the_old_files_come_back_if_the_new_ones_cannot_be_moved_there(
    linear: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "rfc"
    target.mkdir()
    (target / "mine.txt").write_text("mine")
    before, replace, calls = listing(tmp_path), os.replace, []

    def second_fails(source: Any, destination: Any) -> None:
        calls.append(destination)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        replace(source, destination)

    monkeypatch.setattr("os.replace", second_fails)
    with pytest.raises(TargetError, match="Input/output error"):
        generator.from_model(linear, target, overwrite=True)
    assert len(calls) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"rfc"} and listing(tmp_path) == before


BIG_MODEL = """
    import resource, signal, sys
    import numpy as np
    import generator
    from sklearn.neighbors import KNeighborsRegressor

    rows = np.random.default_rng(0).normal(size=(200_000, 4))
    model = KNeighborsRegressor(algorithm="brute").fit(rows, rows[:, 0])
    if sys.argv[2:]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, 4_000_000))
    try:
        generator.from_model(model, sys.argv[1])
    except generator.TargetError as error:
        print(error)
"""


@pytest.mark.sweep
def test_a_file_over_the_limit_of_its_size(tmp_path: Path) -> None:
    done = run_python(BIG_MODEL, str(tmp_path / "rfc"), "limited")
    assert done.stdout.startswith(
        f"target_directory {str(tmp_path / 'rfc')!r} cannot be written: "
    ), done.stderr
    assert "File too large" in done.stdout and done.stdout.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mounted)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a file system here: {done.stderr.strip()}")
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


@pytest.mark.sweep
def test_a_full_disk(small_disk: Path) -> None:
    done = run_python(BIG_MODEL, str(small_disk / "rfc"))
    assert done.stdout.startswith(
        f"target_directory {str(small_disk / 'rfc')!r} cannot be written: "
    ), done.stderr
    assert "No space left on device" in done.stdout and done.stdout.count("\n") == 1
    assert not list(small_disk.iterdir())


@pytest.mark.sweep
def test_a_frame_has_its_columns_in_their_order_for_a_model_without_names(
    scaffold: Scaffold, forest: Any, iris: Any, tmp_path: Path
) -> None:
    rows = iris[0][::30]
    expected = forest.predict(rows).tolist()
    frame = pandas.DataFrame(rows, columns=["d", "c", "b", "a"])
    assert scaffold.predict(frame)["predictions"] == expected
    twice = frame.set_axis(["a", "a", "b", "b"], axis=1)
    asked = {"instances": twice, "probabilities": True}
    assert scaffold.predict(asked)["predictions"] == expected
    with pytest.raises(ServingError, match="the model takes 4 values a row, this one has 1"):
        scaffold.predict(frame[["a"]])
    with pytest.raises(ServingError, match=r"instances\[0\] must be a list, it is an object"):
        scaffold.predict(frame.to_dict("records"))
    copy = generator.load(shutil.copytree(scaffold.directory, tmp_path / "copy"))
    assert copy.verify(frame, expected=expected)
    copy.close()
