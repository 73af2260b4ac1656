"""Starts the server: reads the configuration, binds the port, starts the workers, serves."""

import logging
import os
import signal
import sys

from .. import logs
from ..config import SOURCE, Config, config_path
from ..errors import ConfigError, LoadError
from ..link import gpus, launch, nvml
from ..link.child import Child
from ..platforms import check_arguments
from .listener import ports

logger = logging.getLogger(__name__)


def main() -> int:
    """Serve the scaffold whose `src/` holds this package.

    Returns:
        The exit status of the process.
    """
    logs.configure()
    # Until the server handles signals itself, SIGTERM interrupts the start like SIGINT. Linux
    # ignores signals to a container's first process that it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    # What a shell starts in the background ignores SIGINT, and would lose SIGTERM with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(SOURCE)
    workers: list[Child] = []
    try:
        check_arguments(sys.argv[1:])
        config = Config.read(config_path())
        version = config.model.version or "unknown"
        logger.info("starting the server of %s, version %s", config.name, version)
        address = os.environ.get("LISTEN_ADDRESS", "")
        with ports(config, address) as (http, grpc):
            for gpu in gpus.of_workers(config.serving, nvml.uuids):
                workers.append(launch.start(config, gpu=gpu))
            # After the workers' start: they import the framework while this process imports more.
            import uvloop

            from .server import serve

            uvloop.run(serve(config, http, grpc, workers))
    except (ConfigError, LoadError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        for worker in workers:  # one that is loading does not see that the server ended
            worker.kill()
    return 0
