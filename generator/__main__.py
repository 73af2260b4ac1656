"""`python -m generator`, and `scaffold` where it is installed: see `cli.py`."""

import contextlib
import os
import sys

from . import cli


def main() -> int:
    """Run one command, which finds the modules in the working directory, as with `python -m`."""
    with contextlib.suppress(FileNotFoundError):  # the directory has been removed
        here = os.getcwd()
        if not getattr(sys.flags, "safe_path", False) and here not in sys.path:
            sys.path.insert(0, here)
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
