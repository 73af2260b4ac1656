"""What a worker is given: its threads, and how it keeps its memory."""

import math
from pathlib import Path

import pytest

from common import process
from common.config import Config, Model, Serving


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ({"cpu.max": "what\n"}, math.inf),
        ({}, math.inf),
    ],
)
def test_the_control_groups_share_is_read(files: dict[str, str], expected: float, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert process._quota(tmp_path) == expected


@pytest.mark.parametrize(("share", "most"), [(0.2, 1), (1.5, 2), (math.inf, 10_000)])
def test_no_more_than_that_is_used(share: float, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_quota", lambda: share)
    assert 1 <= process.cores() <= most


def test_what_the_owner_set_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config("model", "sklearn", Serving(), Model())
    assert process._environment(config, None).items() >= process.MALLOC.items()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    given = process._environment(config, None)
    assert given["MALLOC_TRIM_THRESHOLD_"] == "0" and given["OMP_NUM_THREADS"] == "7"
