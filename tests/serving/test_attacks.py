"""Attacks on a server: what each attacker sees, while a client asks for readiness all the while.

`benchmarks/safety/` has the attacks, and prints what they take of time and memory.
"""

import importlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from support.rendering.checkouts import ROOT

pytestmark = pytest.mark.sweep

SAFETY = ROOT / "benchmarks" / "safety"
# What attackers may see. 503 is no failure: others have the room.
SEEN = {
    "heads": {"431"},
    "line": {"414"},
    "pipelined": {"200"},
    "garbage": {"200"},
    "uploads": {"408", "503"},
    "silence": {"408", "closed"},
    "trickle": {"408"},
    "connections": {"closed"},
    "deaf": {"closed"},
    "rows": {"200"},
    "digits": {"200"},
    "v2_rows": {"200"},
    "empty_lists": {"400"},
    "values": {"400"},
    "maps": {"400"},
    "tensors": {"400"},
    "bombs": {"413"},
    "events": {"400", "404", "501"},
    "beside": {"200", "400"},
    "one_row": {"200", "400"},
    "messages": {"OK", "UNAVAILABLE"},
}


@pytest.fixture(scope="module")
def attacks() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SAFETY))
        yield importlib.import_module("attacks")


@pytest.fixture(scope="module")
def attacked(attacks: Any) -> Iterator[tuple[Any, int, Any]]:
    with attacks.served() as server:
        yield server


def test_every_attack_is_tried(attacks: Any) -> None:
    assert attacks.ATTACKS.keys() == SEEN.keys()


@pytest.mark.usefixtures("much_memory")
@pytest.mark.parametrize("name", SEEN)
def test_an_attack_harms_nobody(attacks: Any, attacked: tuple[Any, int, Any], name: str) -> None:
    target, pid, is_right = attacked
    _, attack = attacks.ATTACKS[name]
    with attacks.watched(f"http://{target.host}:{target.port}", pid) as seen:
        found = attack(target)
        time.sleep(0.5)  # for the last health checks
    answers = {answer for answer in found if not answer.startswith("a wait")}
    assert answers and answers <= SEEN[name]
    assert seen.checks and not seen.failed
    assert is_right()
