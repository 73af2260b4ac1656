"""Turns a trained model in memory into a directory of plain files that serves it.

import generator
scaffold = generator.from_model(model, target_directory="test_rfc")
scaffold.predict([[0, 0, 0, 0]])
"""

from .clients import AsyncClient, Client, async_client, client
from .create import from_model, new
from .create_from import from_file
from .errors import (
    ModelError,
    RequirementError,
    ScaffoldError,
    ScaffoldWarning,
    ServingError,
    SettingError,
    TargetError,
    TemplateError,
    UpdateError,
)
from .rendering.render import own_version
from .rendering.update import Update
from .running.comparison import Verification
from .running.server import Server
from .scaffold import Scaffold, load


def __getattr__(name: str) -> str:
    if name == "__version__":
        return own_version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AsyncClient",
    "Client",
    "ModelError",
    "RequirementError",
    "Scaffold",
    "ScaffoldError",
    "ScaffoldWarning",
    "Server",
    "ServingError",
    "SettingError",
    "TargetError",
    "TemplateError",
    "Update",
    "UpdateError",
    "Verification",
    "async_client",
    "client",
    "from_file",
    "from_model",
    "load",
    "new",
]
