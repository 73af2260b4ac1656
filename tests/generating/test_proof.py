"""What is proved when a scaffold is made, what is warned of, and where reasons stand."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import generator
from generator import ModelError, Scaffold, ServingError, SettingError
from generator.hooks import find
from support.models.proved import Forecaster, Given, Here
from support.models.proved_estimators import Ahead, Process, Untagged, months, numbers
from support.session.cases import first

X = np.arange(8.0).reshape(4, 2)
Y = [0, 1, 0, 1]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Scaffold]]:
    """generator.from_model with a directory of its own; closes the scaffold at the end."""
    with contextlib.ExitStack() as stack:

        def made(model: Any, **settings: Any) -> Scaffold:
            scaffold = generator.from_model(model, tmp_path / "made", **settings)
            return stack.enter_context(contextlib.closing(scaffold))

        yield made
    if not any((tmp_path / "made").glob("*")):
        assert not list(tmp_path.iterdir()), "a failure leaves something behind"


@pytest.mark.sweep
def test_predictions_that_are_a_table(make: Callable[..., Scaffold]) -> None:
    with pytest.warns(UserWarning, match="will not share a call of predict"):
        scaffold = make(Forecaster(), framework="custom", sample_input=X)
    assert scaffold.predict([[1, 2.5]]) == {
        "predictions": [{"ds": "2024-02-01T00:00:00", "yhat": 3.5, "tags": ["a", "b"]}]
    }
    verification = scaffold.verify(X)
    assert verification and str(verification) == "4 predictions, equal to the last bit"


def test_the_reason_of_a_failure_in_the_worker_is_in_the_error(
    make: Callable[..., Scaffold], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match="would not predict elsewhere: ") as raised:
        make(Here(), framework="custom", sample_input=X)
    reason = "predict failed: LookupError: only in the process that has made it"
    assert str(raised.value).endswith(reason)
    with pytest.warns(UserWarning, match="an object does not say what a row is"):
        scaffold = make(Here(), framework="custom")
    with pytest.raises(ServingError) as refused:
        scaffold.predict([[1, 2]])
    assert str(refused.value) == f"the scaffold answered 500: {reason}"
    cause = str(refused.value.__cause__)  # what Python prints above the error
    assert 'src/model/support/models/proved.py", line ' in cause
    assert cause.endswith("LookupError: only in the process\n  that has made it")
    assert "Traceback" in capfd.readouterr().err  # the log is shown all the same


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (None, ModelError, "predict returns None: let it return one prediction a row"),
        ((x for x in X), ModelError, "the model cannot be pickled: "),
        ([1, {"cache": object()}], ModelError, "predictions[1]['cache'] cannot be sent as JSON: a"),
        (
            ZeroDivisionError("by zero"),
            SettingError,
            "the model cannot predict from sample_input: ",
        ),
        (SystemExit(3), SettingError, "the model cannot predict from sample_input: SystemExit: 3"),
    ],
    ids=["None", "a generator", "an object", "an error", "sys.exit"],
)
def test_what_no_client_can_get_is_refused(
    make: Callable[..., Scaffold], given: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as raised:
        make(Given(given), framework="custom", sample_input=X)
    assert type(raised.value) is error and str(raised.value).startswith(message)


def test_ctrl_c_passes(make: Callable[..., Scaffold]) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(Given(KeyboardInterrupt()), framework="custom", sample_input=X)


def test_an_infinite_prediction_is_warned_of(make: Callable[..., Scaffold]) -> None:
    with (
        pytest.warns(UserWarning, match="will not share a call of predict"),
        pytest.warns(UserWarning, match="is infinite, which JSON has no form for: .* null") as all,
    ):
        scaffold = make(Given([1.0, np.inf]), framework="custom", sample_input=X)
    assert {one.filename for one in all} == {__file__}
    assert scaffold.verify(X) and scaffold.predict(X) == {"predictions": [1.0, None]}


@pytest.mark.sweep
def test_an_estimator_that_is_none_is_one_sentence(make: Callable[..., Scaffold]) -> None:
    with pytest.raises(ModelError) as raised:
        make(Untagged().fit(X))
    message = str(raised.value)
    assert message.startswith("Untagged cannot be described as a model of sklearn: AttributeError:")
    assert message.endswith("; if it is none, pass framework='custom'")
    assert make(Untagged().fit(X), framework="custom", sample_input=X).predict(X)


def test_what_has_scikit_learns_interface_without_its_tags_is_none_of_its_models() -> None:
    assert find(Ahead().fit([4.0])).name == "custom"


@pytest.mark.sweep
def test_of_scikit_learns_interface_without_its_tags(make: Callable[..., Scaffold]) -> None:
    with pytest.raises(ModelError, match="Ahead is not fitted: call fit before"):
        make(Ahead())
    scaffold = make(Ahead().fit([4.0, 5.0]), sample_input=[1, 2, 3])
    assert scaffold.framework == "custom"
    assert scaffold.predict([2, 9])["predictions"] == [7.0, 14.0]


# ---- without a sample ----


DAYS = pd.DataFrame({"day": pd.date_range("2024-05-01", periods=4), "b": ["x", "y", "x", "y"]})
DOUBTS: dict[str, tuple[Callable[[], Any], str]] = {
    "columns": (
        lambda: make_pipeline(FunctionTransformer(numbers), LogisticRegression()).fit(DAYS, Y),
        "the dtypes of the columns 'day', 'b' are not known",
    ),
    "an error": (
        lambda: make_pipeline(FunctionTransformer(months), LogisticRegression()).fit(DAYS, Y),
        'it does not predict from {"day": 0, "b": 0}: AttributeError: ',
    ),
}


@pytest.mark.parametrize(("model", "reason"), first(1, DOUBTS.values()), ids=DOUBTS)
def test_without_a_sample_what_is_uncertain_is_warned_of(
    make: Callable[..., Scaffold], model: Callable[[], Any], reason: str
) -> None:
    with pytest.warns(UserWarning) as all:
        make(model())
    said = [str(one.message) for one in all]
    assert len(said) == 1 and reason in said[0] and said[0].endswith(": pass sample_input")
    assert said[0].startswith("requests may be refused, or answered otherwise than in memory")


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("model", "row"),
    [
        (lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y), [0, 1]),
        (lambda: LogisticRegression().fit(pd.DataFrame(X, columns=["a", "b"]), Y), [0, 1]),
        (lambda: make_pipeline(OneHotEncoder(), LogisticRegression()).fit(DAYS[["b"]], Y), ["x"]),
    ],
    ids=["arrays", "columns of numbers", "categories"],
)
def test_without_a_sample_nothing_is_said_where_rows_are_known(
    make: Callable[..., Scaffold], model: Callable[[], Any], row: Any
) -> None:
    """Warnings are errors here."""
    assert make(model()).predict([row]) == {"predictions": [0]}


def test_a_row_of_zeros_is_held_against_the_model_in_memory(
    make: Callable[..., Scaffold],
) -> None:
    with pytest.warns(UserWarning, match=r"because for \[\[0, 0\]\] predictions\[0\] should be "):
        make(Process().fit(X))


# ---- requests ----


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scaffold]:
    model = LogisticRegression().fit(X, Y)
    with contextlib.closing(
        generator.from_model(model, tmp_path_factory.mktemp("proof") / "classifier")
    ) as made:
        yield made


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"instances": X, "probabilites": True}, '"probabilites" is not known: write "probabi'),
        (
            {"instances": X, "probabilities": "false"},
            '"probabilities" must be true or false, it is',
        ),
        ({"instances": [[1, np.float64(5.1)], ["x", 2]]}, "instances[1][0] must be a number or nu"),
        ({"instances": {"a": 1}}, '"instances" must be a list of rows, it is an object'),
        ({"instances": True}, '"instances" must be a list of rows, it is true'),
    ],
)
def test_a_request_is_refused_in_the_words_of_json(
    classifier: Scaffold, request_: Any, message: str
) -> None:
    with pytest.raises(ServingError) as raised:
        classifier.predict(request_)
    assert str(raised.value).startswith(f"the scaffold answered 400: {message}")


@pytest.mark.parametrize("odd", [object(), [[object()]], [[1, 10**5000]], {"instances": [{1: {}}]}])
def test_rows_that_cannot_be_sent_are_one_sentence(classifier: Scaffold, odd: Any) -> None:
    with pytest.raises((SettingError, ServingError)) as raised:
        classifier.predict(odd)
    assert "\n" not in str(raised.value)
