"""Output as a page shows it, and as it came."""

import doctest
from difflib import ndiff


def matches(expected: str, printed: str) -> bool:
    """Whether the output is the expected one, in which `...` stands for anything."""
    return doctest.OutputChecker().check_output(
        _trimmed(expected), _trimmed(printed), doctest.ELLIPSIS
    )


def difference(expected: str, printed: str) -> str:
    """The lines of both that differ."""
    return "\n".join(ndiff(_trimmed(expected).splitlines(), _trimmed(printed).splitlines()))


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"
