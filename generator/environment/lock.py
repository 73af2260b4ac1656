"""`requirements.lock` of a scaffold: what it was made of, and whether somebody has edited it.

Its header has a digest of what it was made of, `requirements.txt` and `wheels/`, so that a later
edit of these is told. The Dockerfile computes the same digest. Another one is of the lock itself.
"""

import hashlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from ..errors import RequirementError
from ..layout import LOCK, REQUIREMENTS, WHEELS

STAMP = "# For Python {version} on {systems}, of {source}\n# and itself {itself}\n"
_STAMP = re.compile(
    r"(?m)^# For Python (?P<version>\S+) on .*, of \w+\n# and itself (?P<itself>\w+)$"
)
_COMMENT = re.compile(rb"(^|[ \t\r]+)#.*")
_HEADER = re.compile(r"(#.*\n)*")


@dataclass(frozen=True)
class Lock:
    """A scaffold's `requirements.lock`.

    Attributes:
        directory: the scaffold's.
        text: the file's.
    """

    directory: Path
    text: str

    @classmethod
    def read(cls, directory: Path) -> "Lock | None":
        """The scaffold's lock; None if it has none.

        Raises:
            RequirementError: it cannot be read.
        """
        try:
            return cls(directory, (directory / LOCK).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise RequirementError(
                f"{directory / LOCK} cannot be read: {getattr(error, 'strerror', None) or error};"
                " remove it and make it again"
            ) from error

    @property
    def is_as_made(self) -> bool:
        """Whether the generator has made it, and nobody has edited it."""
        stamp = _STAMP.search(self.text)
        return stamp is not None and stamp["itself"] == digest_of_packages(self.text)

    def is_for(self, version: str) -> bool:
        """Whether the generator has made it for a version of Python, as in "3.11"."""
        stamp = _STAMP.search(self.text)
        return stamp is not None and stamp["version"] == version

    @property
    def is_current(self) -> bool:
        """Whether it was made of what `requirements.txt` and `wheels/` are now."""
        header = _HEADER.match(self.text)
        return header is not None and source_digest(self.directory) in header[0]

    def check(self) -> None:
        """Refuse a lock that was made of something else.

        Raises:
            RequirementError: it was.
        """
        if not self.is_current:
            raise RequirementError(
                f"{self.directory / LOCK} is not of this {REQUIREMENTS} and {WHEELS}/: renew it"
                f" with `{command(self.directory)}`, or remove it"
            )


def command(directory: Path) -> str:
    """The command that makes the lock."""
    return f"python -m generator lock {shlex.quote(str(directory))}"


def wheels(directory: Path) -> list[Path]:
    """The wheels that are installed from a scaffold's `wheels/`, as the Dockerfile finds them."""
    return sorted((directory / WHEELS).rglob("*.whl"), key=lambda path: path.as_posix())


def source_digest(directory: Path) -> str:
    """The SHA-256 of the lines of `requirements.txt`, without comments, and of the wheels."""
    content = (directory / REQUIREMENTS).read_bytes()
    stripped = (_COMMENT.sub(b"", line).rstrip(b" \t\r") for line in content.split(b"\n"))
    digest = hashlib.sha256(b"".join(line + b"\n" for line in stripped if line))
    for wheel in wheels(directory):
        digest.update(wheel.read_bytes())
    return digest.hexdigest()


def digest_of_packages(text: str) -> str:
    """The SHA-256 of a lock without its header."""
    return hashlib.sha256(_HEADER.sub("", text, count=1).encode()).hexdigest()
