"""MkDocs' hook: `<!-- generated: NAME -->` in a page becomes what the code says.

The site needs no installed scaffold and no framework: the parts are read from the code.
"""

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("docs", "template/src", "")]

from building.parts import PARTS  # noqa: E402

MARK = re.compile(r"^<!-- generated: (?P<name>\S+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """A page with its generated parts.

    Raises:
        PluginError: it names a part that there is not.
    """

    def part(mark: re.Match[str]) -> str:
        if mark["name"] not in PARTS:
            known = ", ".join(PARTS)
            raise PluginError(f"{page.file.src_path}: {mark[0]}: the parts are {known}")
        return PARTS[mark["name"]]()

    return MARK.sub(part, markdown)
