"""JAX and Flax: a scaffold gives what `jax.jit` computes, for any number of rows."""

import functools
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import generator
from common.config import Config
from generator import ModelError, ServingError, SettingError
from generator.errors import ScaffoldWarning
from generator.hooks import by_name, find
from support.packages.late import imported_late
from support.servers import v2_client
from support.servers.flows import ask
from support.servers.unrendered import flow_of

NO_JAX = "jax and flax are only installed on Python 3.11 and later"
jax, jnp = imported_late("jax", NO_JAX), imported_late("jax.numpy", NO_JAX)

HOOK = by_name("jax")
RNG = np.random.default_rng(0)
ROWS, FIRST, SECOND = (RNG.normal(size=size) for size in ((6, 4), (4, 8), (8, 3)))


def layers(dtype: str = "float32") -> list[Any]:
    return [jnp.asarray(FIRST, dtype), jnp.asarray(SECOND, dtype)]


def apply(parameters: Any, rows: Any) -> Any:
    for weights in parameters:
        rows = jnp.tanh(rows @ weights)
    return rows


def network(dtype: str = "float32") -> Any:
    return functools.partial(apply, layers(dtype))


def in_numpy(rows: Any) -> Any:
    """What the network computes, in float64 and without JAX."""
    return np.tanh(np.tanh(np.asarray(rows) @ FIRST) @ SECOND)


def asked(
    model: Any, sample: Any, rows: Any, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """The predictions for rows, without a scaffold; the message where they are refused."""
    HOOK.check(model)
    _, flow = flow_of("jax", model, sample, directory, monkeypatch)
    [(_, answer)] = ask(None, {"instances": rows}, flow=flow)
    return answer.get("predictions", answer.get("error"))


def recorded(directory: Path) -> Any:
    """`model` of a scaffold's config.yaml."""
    return Config.read(directory / "config.yaml", {}).model


# ---- a scaffold ----


def test_which_models_are_taken() -> None:
    weights = layers()[0]
    pytree = dataclass(Pytree)
    jax.tree_util.register_dataclass(pytree)
    taken = [network(), jax.jit(np.sum), jax.tree_util.Partial(apply, layers()), pytree(weights)]
    assert [find(model).name for model in taken] == ["jax"] * 4
    others = [apply, functools.partial(apply, [FIRST]), lambda rows: rows @ weights]
    assert [find(model).name for model in others] == ["function"] * 3
    with pytest.raises(SettingError, match="needs a sample_input: its program is traced"):
        HOOK.converted(network(), None, None)


class Pytree:
    weights: Any

    def __call__(self, rows: Any) -> Any:
        return rows @ self.weights


@pytest.mark.sweep
def test_a_scaffold_holds_a_program_and_its_arrays(tmp_path: Path) -> None:
    with closing(generator.from_model(network(), tmp_path / "net", sample_input=ROWS)) as scaffold:
        answer = scaffold.predict(ROWS[:3])["predictions"]
        np.testing.assert_allclose(answer, in_numpy(ROWS[:3]), rtol=1e-5, atol=1e-6)
    facts = recorded(scaffold.directory)
    assert (facts.file, facts.rows_independent, facts.settings) == ("model", True, None)
    assert (facts.input.shape, facts.input.dtype) == ((4,), "float32")
    assert (facts.output.shape, facts.output.dtype) == ((3,), "float32")
    place = scaffold.directory / "src" / "model"
    assert {path.name for path in place.iterdir()} == {"__init__.py", "model"}
    with np.load(place / "model" / "parameters.npz", allow_pickle=False) as saved:
        assert [saved[name].shape for name in saved.files] == [(4, 8), (8, 3)]
    requirements = (scaffold.directory / "requirements.txt").read_text()
    assert "\njax==" in requirements and "\njaxlib==" in requirements


@pytest.mark.sweep
def test_modules_of_flax(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module is served in evaluation mode, and stays as it was."""
    nnx = pytest.importorskip("flax.nnx")
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(
        nnx.Linear(4, 8, rngs=rngs), nnx.BatchNorm(8, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
    )
    assert find(model) is find(nnx.jit(model)) is HOOK
    count = int(model.layers[2].rngs.count[...])
    answer = asked(model, ROWS, ROWS.tolist(), tmp_path, monkeypatch)
    assert not model.layers[2].deterministic and not model.layers[1].use_running_average
    assert int(model.layers[2].rngs.count[...]) == count
    model.eval()
    np.testing.assert_allclose(answer, model(np.float32(ROWS)), rtol=1e-5, atol=1e-6)


@pytest.mark.sweep
def test_linen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    linen = pytest.importorskip("flax.linen")
    model = linen.Dense(3)
    variables = model.init(jax.random.key(0), ROWS)
    with pytest.raises(ModelError, match=r"no parameters in it: pass model\.bind\(variables\)"):
        HOOK.check(model)
    expected = model.apply(variables, np.float32(ROWS))
    for name, each in {
        "bound": model.bind(variables),
        "partial": functools.partial(model.apply, variables),
    }.items():
        (tmp_path / name).mkdir()
        answer = asked(each, ROWS, ROWS.tolist(), tmp_path / name, monkeypatch)
        np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-6)


# ---- rows and outputs ----


@pytest.mark.sweep
def test_several_inputs_and_named_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(words: Any, ids: Any, mask: Any, scale: Any = 2) -> Any:
        found = words[ids] * mask[..., None]
        return {"sum": found.sum(1) * scale, "pair": (ids[:, 0], mask > 0)}

    model = functools.partial(read, layers()[0])
    sample = {"ids": [[1, 2], [3, 0]], "mask": np.ones((2, 2))}
    [answer] = asked(model, sample, [{"ids": [1, 2], "mask": [1, 0]}], tmp_path, monkeypatch)
    np.testing.assert_allclose(answer["sum"], FIRST[1] * 2, rtol=1e-6)
    assert answer["pair"] == [1, [True, False]]


@pytest.mark.sweep
def test_a_function_of_one_dict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = jax.jit(lambda batch: batch["a"] + batch["b"])
    sample = {"a": np.ones((2, 3)), "b": np.ones((2, 3))}
    rows = [{"a": [1, 2, 3], "b": [4, 5, 6]}]
    assert asked(model, sample, rows, tmp_path, monkeypatch) == [[5, 7, 9]]


@pytest.mark.sweep
def test_whole_numbers_are_never_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, sample = functools.partial(lambda words, ids: words[ids], layers()[0]), [[1, 2], [3, 0]]
    (tmp_path / "large").mkdir()
    answer = asked(model, sample, [[2**32 + 1, 1]], tmp_path / "large", monkeypatch)
    assert answer == "instances must hold values of int32, it holds values of int64"
    (tmp_path / "fraction").mkdir()
    answer = asked(model, sample, [[1.5, 1]], tmp_path / "fraction", monkeypatch)
    assert answer == "instances must hold values of int32, it holds values of float64"


@pytest.mark.sweep
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_floats_of_16_bits(dtype: str, tmp_path: Path) -> None:
    sample = jnp.asarray(ROWS, dtype)
    made = generator.from_model(network(dtype), tmp_path / "half", sample_input=sample)
    with closing(made) as scaffold:
        facts = recorded(scaffold.directory)
        assert facts.input.dtype == facts.output.dtype == dtype
        answer = scaffold.predict(ROWS)["predictions"]
        np.testing.assert_allclose(answer, in_numpy(ROWS), rtol=0.05, atol=0.05)


@pytest.mark.sweep
def test_float64(tmp_path: Path) -> None:
    jax.config.update("jax_enable_x64", True)
    try:
        model = network("float64")
        made = generator.from_model(model, tmp_path / "wide", sample_input=ROWS)
        with closing(made) as scaffold:
            assert recorded(scaffold.directory).settings == {"x64": True}
            answer = scaffold.predict(ROWS)["predictions"]
            np.testing.assert_allclose(answer, in_numpy(ROWS), rtol=1e-12)
    finally:
        jax.config.update("jax_enable_x64", False)


@pytest.mark.sweep
def test_rows_that_are_mixed_share_nothing(tmp_path: Path) -> None:
    """No copies are put beside them either, to fill up a power of two."""
    model = jax.jit(lambda rows: rows / rows.sum(axis=0))
    with (
        pytest.warns(ScaffoldWarning, match="requests will not share a call of predict"),
        closing(generator.from_model(model, tmp_path / "mixed", sample_input=ROWS)) as scaffold,
    ):
        assert recorded(scaffold.directory).rows_independent is False
        answer = scaffold.predict(ROWS[:3])["predictions"]
        np.testing.assert_allclose(answer, ROWS[:3] / ROWS[:3].sum(axis=0), rtol=1e-5)


@pytest.mark.sweep
def test_a_program_for_one_row(tmp_path: Path) -> None:
    model = jax.jit(lambda rows: jnp.stack([rows[at] * 2 for at in range(rows.shape[0])]))
    with pytest.raises(ModelError, match="takes one row only.*two rows or more"):
        generator.from_model(model, tmp_path / "one", sample_input=ROWS[:1])
    with (
        pytest.warns(ScaffoldWarning, match="called once a row, which is slower, because"),
        closing(generator.from_model(model, tmp_path / "one", sample_input=ROWS)) as scaffold,
    ):
        answer = scaffold.predict(ROWS[:3])["predictions"]
        np.testing.assert_allclose(answer, ROWS[:3] * 2, rtol=1e-6)


@pytest.mark.sweep
def test_an_output_that_is_not_one_entry_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = jax.jit(lambda rows: {"mean": rows.mean(), "twice": rows * 2})
    answer = asked(model, np.ones((3, 2)), [[1, 2], [3, 5]], tmp_path, monkeypatch)
    assert answer == [{"mean": 1.5, "twice": [2, 4]}, {"mean": 4, "twice": [6, 10]}]


@pytest.mark.sweep
def test_keys_of_random_numbers_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = functools.partial(
        lambda key, rows: rows + jax.random.normal(key, (4,)), jax.random.key(3)
    )
    answer = asked(model, ROWS, ROWS.tolist(), tmp_path, monkeypatch)
    np.testing.assert_allclose(answer, model(np.float32(ROWS)), rtol=1e-5, atol=1e-6)


@pytest.mark.sweep
def test_what_cannot_be_traced_is_told(tmp_path: Path) -> None:
    def model(weights: Any, rows: Any) -> Any:
        return rows * 2 if float(rows.sum()) > 0 else weights

    with pytest.raises(
        ModelError, match="cannot predict from sample_input|ConcretizationTypeError"
    ):
        generator.from_model(
            functools.partial(model, layers()[0]), tmp_path / "refused", sample_input=ROWS
        )
    with pytest.raises(SettingError, match="the same number of rows"):
        HOOK.converted(network(), None, {"a": ROWS, "b": ROWS[:2]})
    with pytest.raises(SettingError, match="format 'export' is none of jax's"):
        HOOK.converted(network(), "export", ROWS)


# ---- over HTTP, and elsewhere ----


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    directory = tmp_path_factory.mktemp("jax") / "net"
    with closing(generator.from_model(network(), directory, sample_input=ROWS)) as scaffold:
        yield scaffold


@pytest.mark.sweep
def test_over_http(served: Any) -> None:
    rows = ROWS[:3].tolist()
    with served.serve(port=0) as server, httpx.Client(timeout=60) as client:
        answer = client.post(server.predict_url, json={"instances": rows}).json()["predictions"]
        np.testing.assert_allclose(answer, in_numpy(rows), rtol=1e-5, atol=1e-6)
        url = server.predict_url.replace("/v1/", "/v2/").replace(":predict", "")
        metadata = client.get(url).json()
        answer = client.post(f"{url}/infer", json=v2_client.request(metadata, rows)).json()
        v2_client.check(metadata, answer)
        [tensor] = answer["outputs"]
        np.testing.assert_allclose(
            np.reshape(tensor["data"], (3, 3)), in_numpy(rows), rtol=1e-5, atol=1e-6
        )


@pytest.mark.sweep
def test_another_function_replaces_it(served: Any) -> None:
    served.replace_model(jax.jit(lambda rows: rows[:, :3] * 2), sample_input=ROWS)
    answer = served.predict(ROWS[:2])["predictions"]
    np.testing.assert_allclose(answer, ROWS[:2, :3] * 2, rtol=1e-6)
    with pytest.raises(ServingError, match="takes 4 values a row, this one has 2"):
        served.predict([[1, 2]])


@pytest.mark.sweep
def test_in_an_isolated_environment(served: Any) -> None:
    assert served.verify(environment="isolated")
