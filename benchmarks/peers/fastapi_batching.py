"""The fast server of `fastapi_server.py`, with micro-batching by hand.

python fastapi_batching.py MODEL_FILE PORT
"""

import os
import sys

import orjson
import predictor
import uvicorn
from batching import Batcher
from fastapi import FastAPI, Request, Response

TITLE = "FastAPI, batching by hand"
REQUIREMENTS = ["fastapi==0.165.0", "uvicorn[standard]==0.54.0", "orjson==3.13.0"]
PROTOCOL = "v1"
VARIANTS = {"": {}, "in a thread": {"THREAD": "1"}}


def application(file: str) -> FastAPI:
    app = FastAPI()
    batcher = Batcher(predictor.load(file), thread="THREAD" in os.environ)

    @app.post("/v1/models/model:predict")
    async def predict(request: Request) -> Response:
        rows = orjson.loads(await request.body())["instances"]
        predictions = await batcher.predict(rows)
        body = orjson.dumps({"predictions": predictions}, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(body, media_type="application/json")

    return app


if __name__ == "__main__":
    uvicorn.run(
        application(sys.argv[1]), port=int(sys.argv[2]), access_log=False, log_level="warning"
    )
