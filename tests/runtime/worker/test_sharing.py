"""An answer never depends on who else asks: requests that arrive together, held against alone."""

import contextlib
import logging
import random
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.bodies import json_encode
from common.config import Config
from common.errors import ConfigError, InvalidInput
from common.link.frames import Kind, Request
from common.schema import ArrayInput, Column, JsonInput, ModelInput, TableInput, TextInput
from common.signature import Signature
from common.worker.flow import Flow
from common.worker.independence import Tolerance
from common.worker.sharing import (
    EVERY,
    FIRST,
    FIRST_UNKNOWN,
    MOST_CHECKED,
    Sharing,
    fixed_size,
    of_config,
)
from support.models.neighbours import CASES, Draws, First, Served, Two, numbers
from support.servers.flows import ask


def stress(flow: Flow, alone: Flow, rows: list[Any], calls: int, most: int = 2) -> tuple[int, int]:
    """Post random rows, eight requests at once.

    Args:
        flow: answers them together.
        alone: answers each alone.
        rows: what clients send, up to `most` in a request.
        calls: how often.

    Returns:
        How many answers there were, and how many of them differ.
    """
    chance, known, asked, wrong = random.Random(1), {}, 0, 0  # type: ignore[var-annotated]
    for _ in range(calls):
        bodies = [
            {"instances": [chance.choice(rows) for _ in range(chance.randint(1, most))]}
            for _ in range(8)
        ]
        for body, answer in zip(bodies, ask(None, *bodies, flow=flow), strict=True):
            if (key := repr(body)) not in known:
                [known[key]] = ask(None, body, flow=alone)
            asked += 1
            wrong += answer != known[key]
    return asked, wrong


@pytest.mark.parametrize("name", CASES)
def test_an_answer_is_that_of_the_request_alone(name: str) -> None:
    case = CASES[name]
    flow, alone = case.served().flow(True), case.served().flow(limit=1)
    assert stress(flow, alone, case.rows, 25, case.most) == (200, 0)


def test_nothing_is_shared_before_it_is_known() -> None:
    served = CASES["3 z-scores"].served()
    assert stress(served.flow(), served.flow(limit=1), numbers(2), 2) == (16, 0)
    assert served.sizes[0] <= 2, "a request was answered from a shared call"


# ---- proved, then shared ----


class Doubles:
    def predict(self, X: Any) -> Any:
        return 2 * X[:, 0]


class Forgets(Doubles):
    """Rows are independent until a number is large."""

    def predict(self, X: Any) -> Any:
        if X.max() > 1000:
            return X[:, 0] - X.mean()
        return super().predict(X)


def bodies(*firsts: float) -> list[dict[str, Any]]:
    return [{"instances": [[first, 0.5]]} for first in firsts]


PAIR = bodies(1.5, 2.5)


@pytest.mark.parametrize(("independent", "first"), [(True, FIRST), (None, FIRST_UNKNOWN)])
def test_the_first_calls_of_a_likeness_are_checked(independent: bool | None, first: int) -> None:
    served = Served(Doubles(), ArrayInput((2,), "float64"))
    flow = served.flow(independent)
    for _ in range(first + 3):
        ask(None, *PAIR, flow=flow)
    assert served.sizes == [1, 1, 2] * first + [2] * 3
    ask(None, *[{"instances": [[0.5, 0.5], [1, 2]]}] * 2, flow=flow)
    assert served.sizes[-3:] == [2, 2, 4], "equal bodies prove nothing for others"


def test_one_call_in_a_thousand_is_checked_after() -> None:
    served = Served(Doubles(), ArrayInput((2,), "float64"))
    flow = served.flow(True)
    for _ in range(EVERY):
        ask(None, *PAIR, flow=flow)
    assert served.sizes[-4:] == [2, 1, 1, 2]


def test_a_check_takes_few_requests_at_once() -> None:
    served = Served(Doubles(), ArrayInput((2,), "float64"))
    flow = served.flow(True)
    for _ in range(FIRST // 2):
        ask(None, *bodies(*np.arange(40.0)), flow=flow)
    pieces = [[1] * size + [size] for size in (MOST_CHECKED, MOST_CHECKED, 40 - 2 * MOST_CHECKED)]
    checked = [size for piece in pieces for size in piece]
    assert served.sizes == [*checked, *checked, *checked[: 2 * MOST_CHECKED + 2], 8, 40]


def test_one_difference_ends_sharing_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    served = Served(Forgets(), ArrayInput((2,), "float64"))
    flow = served.flow(True)
    for _ in range(3):
        ask(None, *PAIR, flow=flow)
    answers = ask(None, *bodies(2000.5, 3.5), flow=flow)
    assert [answer["predictions"] for _, answer in answers] == [[1000.0], [7.0]]
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "model.rows_independent: false in config.yaml" in record.getMessage()
    assert "predictions[0] is 1000" in record.getMessage() and flow.max_batch_size == 1
    served.sizes.clear()
    ask(None, *PAIR, flow=flow)
    assert served.sizes == [1, 1]


def test_the_statistics_count_an_end_of_sharing_once() -> None:
    flow = CASES["1 a tuple of outputs"].served().flow(True)
    frames = [Request(n, Kind.JSON, "", json_encode(body)) for n, body in enumerate(PAIR, 1)]
    ended = []
    for _ in range(2):
        found = [stats for _, stats in flow.answer([flow.open(frame) for frame in frames])]
        ended.append(sum(stats.ended for stats in found if stats))
        assert sum(stats.requests for stats in found if stats) == 2
    assert ended == [1, 0]


def test_false_shares_nothing() -> None:
    served = Served(Doubles(), ArrayInput((2,), "float64"))
    ask(None, *PAIR, flow=served.flow(False))
    assert served.sizes == [1, 1]


def test_a_request_that_fails_alone_gets_its_own_error_while_others_are_checked() -> None:
    served = Served(Doubles(), ArrayInput((2,), "float64"))
    flow = served.flow(True)
    good, bad, other = ask(None, PAIR[0], {"instances": [["x", 1]]}, PAIR[1], flow=flow)
    assert good == (200, {"predictions": [3.0]}) and other == (200, {"predictions": [5.0]})
    assert bad[0] == 400 and "must be a number or null" in bad[1]["error"]
    assert flow.max_batch_size == 256 and served.sizes == [1, 1, 1, 2]


def test_a_key_that_was_never_compared_is_checked_first() -> None:
    class Notes(Served):
        def predict(self, request: dict[str, Any]) -> dict[str, Any]:
            response = super().predict(request)
            if max(response["predictions"]) > 100:
                response["note"] = "large"
            return response

    served = Notes(Doubles(), ArrayInput((2,), "float64"))
    flow = served.flow(True)
    for _ in range(FIRST):
        ask(None, *PAIR, flow=flow)
    large, small = ask(None, *bodies(200.5, 1.5), flow=flow)
    assert large[1] == {"predictions": [401.0], "note": "large"}
    assert small[1] == {"predictions": [3.0]}


def test_a_list_under_a_key_of_the_owners_ends_sharing_with_a_cure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Sure(Served):
        def predict(self, request: dict[str, Any]) -> dict[str, Any]:
            response = super().predict(request)
            return {**response, "sure": np.ones(len(response["predictions"]))}

    flow = Sure(Doubles(), ArrayInput((2,), "float64")).flow(True)
    for _ in range(FIRST + 1):
        ask(None, *PAIR, flow=flow)
    assert flow.max_batch_size == 1
    assert "put one entry a row into predictions or probabilities, or add it in" in caplog.text


def test_an_owner_may_return_the_same_array_each_time() -> None:
    class Reuses(Served):
        buffer = np.zeros(64)

        def predict(self, request: dict[str, Any]) -> dict[str, Any]:
            rows = np.array(request["instances"])
            self.buffer[: len(rows)] = rows[:, 0]
            return {"predictions": self.buffer[: len(rows)]}

    flow = Reuses(None).flow(True)
    for _ in range(FIRST + 2):
        answers = ask(None, *PAIR, flow=flow)
        assert [answer["predictions"] for _, answer in answers] == [[1.5], [2.5]]
    assert flow.max_batch_size == 256


# ---- dependence, noise, random numbers ----


class Noisy:
    """The last bits depend on the number of rows, as a library's order of addition does."""

    def __init__(self, noise: float) -> None:
        self.noise = noise

    def predict(self, X: Any) -> Any:
        return X[:, 0] * (1 + self.noise * (len(X) > 1))


class Leaks:
    """Other rows change the last bits."""

    def predict(self, X: Any) -> Any:
        return X[:, 0] + 1e-13 * X.mean()


class Panics:
    def predict(self, X: Any) -> Any:
        if len(X) > 1:
            raise SystemExit("as a panic in Rust")
        return X[:, 0]


class Rolls:
    def __init__(self) -> None:
        self.random = np.random.default_rng(0)

    def predict(self, X: Any) -> Any:
        return X[:, 0] + self.random.normal(size=len(X))


class Names:
    def predict(self, X: Any) -> Any:
        return ["alone" if len(X) == 1 else "with others" for _ in X]


@pytest.mark.parametrize(
    ("model", "tolerance", "noise", "reason"),
    [
        (Doubles(), None, 0.0, None),
        (Noisy(1e-12), None, 1e-12, None),
        (Noisy(1e-6), None, None, "for a request alone"),
        (Noisy(1e-6), 1e-5, 1e-6, None),
        (Noisy(1e-12), 0.0, None, "for a request alone"),
        (Leaks(), None, 0.0, "among copies of its rows"),
        (Leaks(), 1.0, 0.0, "among copies of its rows"),
        (Rolls(), None, 0.0, "two answers for the same rows"),
        (Draws(), None, None, "for a request alone"),
        (Names(), 1.0, None, "for a request alone"),
        (Panics(), None, 0.0, "predict fails for rows of several requests"),
        (Two(), None, 0.0, "'predictions' of its response cannot be cut by rows, it is a tuple"),
    ],
)
def test_dependence_is_told_from_noise(
    model: Any, tolerance: float | None, noise: float | None, reason: str | None
) -> None:
    flow = Served(model, ArrayInput((2,), "float64")).flow(tolerance=Tolerance(tolerance))
    found = flow.try_rows({"instances": [[1.5, 2], [2.5, 1], [3.25, 0], [1.5, 2]]})
    assert found is not None and (reason or "None") in str(found.reason)
    if noise is not None:
        assert found.noise == pytest.approx(noise, rel=0.01)


@pytest.mark.parametrize("name", CASES)
def test_a_trial_finds_the_cases(name: str) -> None:
    case = CASES[name]
    found = case.served().flow().try_rows({"instances": case.rows[:8]})
    assert found is not None
    assert (found.reason is None) == name.startswith(("5", "6")), found


# ---- calls of one size ----


class Sized:
    """Its last bits depend on how many rows a call has, as BLAS's do."""

    def predict(self, X: Any) -> Any:
        return X[:, 0] * (1 + 1e-14 * len(X))


def fixed(model: Any, size: int) -> tuple[Served, Flow]:
    served = Served(model, ArrayInput((2,), "float64"))
    sharing = Sharing(size, served.signature.likeness, True, Tolerance(0.0), first=2)
    return served, Flow(served, sharing, fixed_size=size)


def test_with_a_fixed_size_no_number_depends_on_how_many_asked() -> None:
    served, flow = fixed(Sized(), 4)
    rows = [[1.5, 0], [2.5, 0], [7.1, 0], [9.3, 0], [1.1, 0], [6.7, 0]]
    expected = [row[0] * (1 + 4e-14) for row in rows]
    for _ in range(3):
        for count in range(1, 7):
            single = [{"instances": [row]} for row in rows[:count]]
            answers = ask(None, *single, {"instances": rows[:count]}, flow=flow)
            assert [answer["predictions"] for _, answer in answers[:-1]] == [
                [number] for number in expected[:count]
            ]
            assert answers[-1][1]["predictions"] == expected[:count]
    assert set(served.sizes) == {4} and flow.max_batch_size == 4


def test_with_a_fixed_size_arrays_and_lists_are_joined() -> None:
    served, flow = fixed(First(), 2)
    rows = [[float(number), 0.5] for number in range(5)]
    assert ask(None, {"instances": rows}, flow=flow) == [
        (200, {"predictions": ["0.0", "1.0", "2.0", "3.0", "4.0"]})
    ]
    assert ask(None, {"instances": np.array(rows)}, kind=Kind.MSGPACK, flow=flow)[0][0] == 200
    assert served.sizes == [2] * 6


def test_a_difference_in_one_bit_ends_a_fixed_size(caplog: pytest.LogCaptureFixture) -> None:
    _, flow = fixed(Leaks(), 4)
    for _ in range(3):
        first, other = ask(None, *PAIR, flow=flow)
    assert first[1]["predictions"] == [1.5 + 1e-13] and flow.max_batch_size == 1
    assert "rows_independent: false" in caplog.text


def test_what_cannot_be_cut_gets_no_fixed_size() -> None:
    _, flow = fixed(Two(), 4)
    assert ask(None, *PAIR, flow=flow)[0] == (200, {"predictions": [[2.0], [0.5]]})
    assert flow.max_batch_size == 1


def test_equal_rows_prove_nothing() -> None:
    assert Served(Two()).flow().try_rows({"instances": [[1, 2], [1, 2]]}) is None


# ---- like with like ----

CELLS: list[Any] = [0, 1, 5, -3, 255, 256, 2**53 + 1, 2**63, -(2**63), 2**70, True, False, None]
CELLS += [0.5, 5.0, -0.0, 1e300, "a", "7", "2024-05-01T10:00:00Z"]
NUMBERS = (None, "float64", "float32", "int64", "uint8", "Int64", "Float32", "datetime64[ns]")
DTYPES = dict.fromkeys(NUMBERS, "number")
DTYPES |= {"str": "string", "bool": "boolean", "boolean": "boolean", "object": "any"}
DTYPES |= {"datetime64[ns]": "string", "Sparse[int64, 0]": "number"}


def forms() -> list[ModelInput | None]:
    arrays: list[ModelInput | None] = [
        ArrayInput(shape, dtype)
        for shape in ((2,), (None,), None)
        for dtype in (None, "float64", "float32", "float16", "int64", "uint8", "bool", "string")
    ]
    tables = [
        TableInput((Column("a", kind, dtype), Column("b", "number", "int64")))
        for dtype, kind in [*DTYPES.items(), (None, "any"), ("category", "any")]
    ]
    return [*arrays, *tables, None]


@pytest.mark.filterwarnings("ignore:.* encountered in cast")
@pytest.mark.parametrize("described", forms(), ids=repr)
def test_rows_of_one_likeness_come_out_together_as_alone(described: ModelInput | None) -> None:
    signature = Signature(described)
    chance = random.Random(repr(described))
    seen: dict[Any, list[Any]] = {}
    compared = 0
    for _ in range(200):
        cells = [*chance.sample(CELLS, 4), True, 1, "2024-05-01"]
        rows: list[Any] = [
            [chance.choice(cells), chance.choice(cells)] for _ in range(chance.randint(1, 2))
        ]
        if isinstance(described, TableInput) and chance.random() < 0.5:
            rows = [dict(zip("ab", row, strict=True)) for row in rows]
        with contextlib.suppress(InvalidInput):
            alone = signature.inputs(rows)
            key = signature.likeness(rows)
            for other in seen.setdefault(key, [])[-5:]:
                if key is not None:
                    assert_beside(signature, alone, rows, other)
                    compared += 1
            seen[key].append(rows)
    assert compared or any(word in repr(described) for word in ("string", "category", "Sparse"))


def assert_beside(signature: Signature, alone: Any, rows: Any, other: Any) -> None:
    """Rows come out after others as they do alone."""
    together = signature.inputs([*other, *rows])
    if isinstance(together, pd.DataFrame):
        beside = together.iloc[len(other) :].reset_index(drop=True)
        pd.testing.assert_frame_equal(beside, alone)
    else:
        assert together.dtype == alone.dtype and together.shape[1:] == alone.shape[1:]
        assert repr(together[len(other) :].tolist()) == repr(alone.tolist())


def test_what_is_compared_by_cells_has_bounds() -> None:
    likeness = Signature(JsonInput()).likeness
    assert likeness([{"a": 1, "b": ["x", 2]}]) == likeness([{"a": 7, "b": ["y", 5]}])
    assert likeness([{"a": 1}]) != likeness([{"a": 1.5}])
    assert likeness([{"a": [1]}]) != likeness([{"a": [1, 2]}])
    assert likeness([{"a": 1}]) != likeness([{"b": 1}])
    assert likeness([{"a": 1}]) != likeness([{"a": 2**63}])
    assert likeness([[1] * 2000]) is None
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    assert likeness([deep]) is None
    assert Signature(TextInput()).likeness(["a"]) == Signature(TextInput()).likeness(["b", "c"])


# ---- config.yaml ----


def config(fixed_batch_size: int = 0, **facts: Any) -> Config:
    serving = {"max_batch_size": 16, "fixed_batch_size": fixed_batch_size}
    metadata = {"framework": "custom", "serving": serving, "model": facts}
    return Config.from_document({"model_name": "model", "model_metadata": metadata})


@pytest.mark.parametrize(
    ("facts", "size", "fixed_rows"),
    [
        ({}, 16, 0),
        ({"rows_independent": None}, 16, 0),
        ({"rows_independent": True}, 16, 0),
        ({"rows_independent": False}, 1, 0),
        ({"rows_independent": True, "fixed_batch_size": 8}, 8, 8),
        ({"rows_independent": True, "fixed_batch_size": 32}, 16, 32),
        ({"fixed_batch_size": 8}, 16, 0),
    ],
)
def test_config_yaml_says_what_is_shared(
    facts: dict[str, Any], size: int, fixed_rows: int, caplog: pytest.LogCaptureFixture
) -> None:
    read = config(**facts)
    assert Config.from_document(read.as_document()) == read
    assert of_config(read).max_batch_size == size and fixed_size(read) == fixed_rows
    unused = bool(facts.get("fixed_batch_size")) and not fixed_rows
    assert ("fixed_batch_size in config.yaml is not used" in caplog.text) == unused


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"rows_independent": "yes"}, "model.rows_independent must be true, false or null"),
        ({"rows_independent": 1}, "model.rows_independent must be true, false or null"),
        ({"tolerance": True}, "model.tolerance must be a number from 0 to 1, or null"),
        ({"tolerance": -1e-3}, "model.tolerance must be a number from 0 to 1, or null"),
        ({"tolerance": "a lot"}, "model.tolerance must be a number from 0 to 1, or null"),
        ({"batch_noise": 2}, "model.batch_noise must be a number from 0 to 1, or null"),
    ],
)
def test_a_fact_of_another_kind_is_refused(facts: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**facts)


@pytest.mark.parametrize(("tolerance", "expected"), [(0, 0.0), ("1e-5", 1e-5), (1.0e-5, 1e-5)])
def test_a_tolerance_may_be_written_as_yaml_takes_for_a_text(
    tolerance: Any, expected: float
) -> None:
    assert config(tolerance=tolerance).model.tolerance == expected
