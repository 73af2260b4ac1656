"""New workers when a file under `src/` changes, for those who edit while the server runs."""

import asyncio
import logging
import os
from pathlib import Path

from ..config import SOURCE
from .pool import Pool

logger = logging.getLogger(__name__)

VARIABLE = "RELOAD"
LOOK_SECONDS = 0.4
IGNORED = ("__pycache__",)

Stamps = dict[str, tuple[int, int]]


def is_wanted() -> bool:
    """Whether the environment asks for it."""
    return os.environ.get(VARIABLE, "").lower() in ("1", "true", "yes")


async def watch(pool: Pool, directory: Path = SOURCE) -> None:
    """Reload the workers whenever files have changed, until this is cancelled.

    Args:
        pool: the workers.
        directory: the files that they read.
    """
    loop = asyncio.get_running_loop()
    loaded = last = await loop.run_in_executor(None, stamps, directory)
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        now = await loop.run_in_executor(None, stamps, directory)
        if now != loaded and now == last:  # an editor may write a file in steps
            changed = sorted(dict(now.items() ^ loaded.items()))
            logger.warning("%s changed; loading the model again", shown(changed))
            loaded = now
            await pool.reload()
        last = now


def stamps(directory: Path) -> Stamps:
    """For each file, its size and when it was changed."""
    found: Stamps = {}
    for place, folders, files in os.walk(directory):
        folders[:] = [name for name in folders if name not in IGNORED and name[0] != "."]
        for name in files:
            path = os.path.join(place, name)
            try:
                status = os.stat(path)
            except OSError:  # it is being replaced
                continue
            found[os.path.relpath(path, directory)] = status.st_mtime_ns, status.st_size
    return found


def shown(changed: list[str]) -> str:
    """The names of files in a message."""
    first = f"src/{changed[0]}"
    if len(changed) == 1:
        return first
    return f"{first} and {len(changed) - 1} more"
