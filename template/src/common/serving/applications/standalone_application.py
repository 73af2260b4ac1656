"""The standalone server's application: our own routes, with CloudEvents, and without KServe."""

from ...config import Config
from ..pool import Pool
from . import fallback_routes
from .cloud_events import Events

VERSION = "0.1.0"  # of the template


class FallbackApplication:
    """Answers as KServe does.

    Args:
        config: the scaffold's configuration.
        pool: the workers.

    Attributes:
        about: what V2 tells of the server.
    """

    def __init__(self, config: Config, pool: Pool) -> None:
        self.about = fallback_routes.about(config.server, VERSION)
        self.application = fallback_routes.application(
            config,
            lambda: pool.ready,
            config.server,
            VERSION,
            Events(config.name, pool).answer,
            lambda: pool.own_routes,
        )
