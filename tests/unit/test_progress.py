"""Steps are told in a terminal, and nowhere else but in a notebook."""

import os
import pty
import subprocess
import sys

import pytest

from support.rendering.checkouts import ROOT

STEPS = """
import sys, threading, time, warnings
from generator import progress
from generator.progress import step

progress.WORTH_TELLING = 0.2
with step("Making"):
    with step("Rendering the files"):
        pass
    with step("Proving"):
        time.sleep(0.3)
    with step("Warning"):
        assert sys.stderr is sys.__stderr__
        print("careful", file=sys.stderr)
    other = threading.Thread(target=lambda: step("Hidden").__enter__())
    other.start()
    other.join()
try:
    with step("Failing"):
        raise KeyError
except KeyError:
    print("over", file=sys.stderr)
assert "write" not in vars(sys.stderr) and "IPython" not in sys.modules
"""


def in_terminal(code: str) -> str:
    """What a program writes to its standard error, which is a terminal."""
    leading, following = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=following, text=True
    )
    os.close(following)
    written = b""
    try:
        while chunk := os.read(leading, 4096):
            written += chunk
    except OSError:  # Linux's word for its end
        pass
    os.close(leading)
    assert done.returncode == 0 and done.stdout == "", written
    return written.decode().replace("\r\n", "\n")


def test_a_terminal_has_a_line_for_each_step() -> None:
    lines = in_terminal(STEPS).splitlines()
    told = [line.partition(": ")[0] for line in lines]
    assert told == [
        "Making",
        "  Rendering the files",
        "  Proving",
        "  Warning",
        "careful",
        "Making",
        "Failing",
        "over",
    ]
    assert [line for line in lines if line.endswith(" s")] == [lines[2], lines[5]]


def test_nothing_is_told_elsewhere() -> None:
    done = subprocess.run([sys.executable, "-c", STEPS], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "careful\nover\n")


@pytest.mark.parametrize("broken", ["sys.stderr = None", "sys.stderr.close()"])
def test_work_goes_on_without_standard_error(broken: str) -> None:
    code = f"import sys\nfrom generator.progress import step\n{broken}\n"
    code += "with step('Making'): print('made')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "made\n"
