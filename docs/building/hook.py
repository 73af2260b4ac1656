"""MkDocs' hook: `<!-- generated: NAME -->` in a page becomes what the code says.

The site needs no installed scaffold and no framework: the parts are read from the code.
"""

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("docs", "template/src", "")]

from building.parts import PARTS  # noqa: E402

MARK = re.compile(r"^<!-- generated: (?P<name>\S+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page with its generated parts."""
    return MARK.sub(lambda mark: PARTS[mark["name"]](), markdown)
