"""What a container's first process collects: what lost its parent, and nothing of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[3] / "template" / "src"
# A process that what loses its parent is left to, as to a container's first.
PROGRAM = """
import ctypes, os, subprocess, sys, time
from common.link.child import Child, reap_orphans

PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
orphan = int(subprocess.run(
    ["sh", "-c", "sleep 0.2 >&2 & echo $!"], stdout=subprocess.PIPE, start_new_session=True
).stdout)

def state(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return None

def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)

own = subprocess.Popen(["sh", "-c", "exit 3"])
child = Child(["sh", "-c", "exit 4"], 4096)
until(lambda: {state(orphan), state(own.pid), state(child.pid)} == {"Z"})
for _ in range(3):
    reap_orphans()
assert (own.wait(), child.wait()) == (3, 4)
until(lambda: reap_orphans() or state(orphan) is None)
reap_orphans()  # there is no process at all
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone leaves orphans to such a process")
def test_orphans_are_collected_and_own_children_are_not() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=SOURCE, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
