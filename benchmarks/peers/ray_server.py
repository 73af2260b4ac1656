"""Ray Serve with one replica, the HAProxy ingress and the throughput setting.

With `@serve.batch`, and without it: a batch waits for further requests.

Source: Ray Serve's documentation, "Throughput optimization".

python ray_server.py MODEL_FILE PORT
"""

import os
import signal
import sys
from typing import Any

TITLE = "Ray Serve"
REQUIREMENTS = ["ray[serve]==2.60.0"]
PROTOCOL = "v1"
VARIANTS = {"batching": {"BATCHING": "1"}, "no batching": {}}

SETTINGS = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
QUIET = {"enable_access_log": False}


def serve(file: str, port: int) -> None:
    import predictor
    import ray
    from ray import serve
    from starlette.requests import Request

    batching = "BATCHING" in os.environ

    @serve.deployment(max_ongoing_requests=1024, logging_config=QUIET)
    class Model:
        """A model in a file."""

        def __init__(self) -> None:
            self._predict = predictor.load(file)

        @serve.batch(max_batch_size=256, batch_wait_timeout_s=0.001)
        async def shared(self, batch: list[Any]) -> list[Any]:
            return predictor.merged(batch, self._predict)

        async def __call__(self, request: Request) -> dict[str, Any]:
            rows = (await request.json())["instances"]
            predictions = await self.shared(rows) if batching else self._predict(rows)
            return {"predictions": predictions.tolist()}

    ray.init(include_dashboard=False, log_to_driver=False, _temp_dir=os.getcwd())
    serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config=QUIET)
    serve.run(Model.bind(), route_prefix="/")


if __name__ == "__main__":
    os.environ |= SETTINGS
    serve(sys.argv[1], int(sys.argv[2]))
    signal.pause()
