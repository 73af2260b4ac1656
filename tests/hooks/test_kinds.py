"""One model of each kind: made in one call, equal in memory, over HTTP in JSON and in V2, for
`generator.client` in each form that rows have, and for who tries it on the page.
"""

import importlib
from pathlib import Path
from typing import Any

import pytest

import generator
from generator.hooks import DEFINITIONS
from support.models.kinds import KINDS, REFUSED, SAID
from support.rendering.checkouts import ROOT
from support.servers.asking import UsePage, check_client, forms

# Their models are in tests of their own.
ELSEWHERE = {"mlflow"}


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What prints the table of kinds, with images and environments of their own too."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("kinds")


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore:requests will not share a call of predict")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_made_proved_and_served(
    name: str, table: Any, use_page: UsePage, tmp_path: Path
) -> None:
    """from_model compares with the model in memory, and keeps the pair as the smoke test."""
    made = KINDS[name]()
    with (
        table.made_scaffold(made, tmp_path / "made") as (scaffold, _),
        scaffold.serve(port=0) as server,
    ):
        assert scaffold.verify()
        assert table.answered(scaffold, server.url, made) == {
            "memory": "yes",
            "JSON": "yes",
            "V2": "yes" if made.has_json_tensors else "binary alone",
        }
        for given in forms(made.sample):
            check_client(scaffold, server.url, given)
        [[status, problem]] = use_page(server.url, ["predict"])  # the example
        assert status.startswith("Answered") and problem == ""


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's
@pytest.mark.parametrize("name", REFUSED)
def test_a_kind_is_refused_with_a_reason(name: str, tmp_path: Path) -> None:
    made = REFUSED[name]()
    with pytest.raises(generator.ScaffoldError) as error:
        generator.from_model(
            made.model, tmp_path / "made", sample_input=made.sample, **made.settings
        )
    assert isinstance(error.value, (generator.ModelError, generator.SettingError))
    assert SAID[name] in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "made").exists()


def test_no_framework_is_missing_among_the_kinds() -> None:
    labels = {name.partition(":")[0] for name in KINDS}
    others = {"a function", "a method of an object", "an object with a predict"}
    named = {each.label for each in DEFINITIONS if each.name not in ELSEWHERE}
    assert labels - others == named - {"a function, or a method of an object", "another, or none"}
