"""The health check of earlier Dockerfiles and compose.yaml, whose owners may have edited it.

`python -m common.health` exits with 0 if the server is ready. `health.sh` says the same in a
fraction of the time.
"""

import sys
from http.client import HTTPConnection, HTTPException

from .config import Config, config_path
from .errors import ConfigError

TIMEOUT_SECONDS = 4


def main() -> int:
    """Ask the model's own route, not through a proxy; returns the exit status of the process."""
    try:
        config = Config.read(config_path())
        connection = HTTPConnection("127.0.0.1", config.serving.http_port, timeout=TIMEOUT_SECONDS)
        connection.request("GET", f"/v1/models/{config.name}")
        status = connection.getresponse().status
    except (ConfigError, OSError, HTTPException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"the server answered {status}")
    return int(status != 200)


if __name__ == "__main__":
    sys.exit(main())
