"""Runs blocks of Python one after another in one namespace, as the cells of a notebook are run.

A line of standard input is a block in JSON: its name and its source. A line of standard output
answers it in JSON: what the block has printed, and a traceback or null.
"""

import contextlib
import io
import json
import linecache
import os
import sys
import traceback


def main() -> None:
    blocks, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # what a block starts shall not read the blocks
    os.dup2(2, 1)  # what libraries print past sys.stdout
    sys.path[0] = ""  # in place of this file's directory, as in an interactive session
    main_module = vars(sys.modules["__main__"])
    for line in blocks:
        name, source = json.loads(line)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            failure = run(name, source, main_module)
        print(json.dumps([printed.getvalue(), failure]), file=answers, flush=True)


def run(name: str, source: str, namespace: dict[str, object]) -> str | None:
    """Run a block; the traceback of what it raised."""
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    try:
        exec(compile(source, name, "exec", dont_inherit=True), namespace)
    except BaseException:
        return traceback.format_exc()
    return None


if __name__ == "__main__":
    del globals()["__file__"]  # a session has none
    main()
