"""A fast server written with FastAPI: uvicorn on uvloop and httptools, orjson, no access log.

The model is called in the event loop: a call takes less time than a switch to a thread.

python fastapi_server.py MODEL_FILE PORT
"""

import sys

import orjson
import predictor
import uvicorn
from fastapi import FastAPI, Request, Response

TITLE = "FastAPI by hand"
REQUIREMENTS = ["fastapi==0.165.0", "uvicorn[standard]==0.54.0", "orjson==3.13.0"]
PROTOCOL = "v1"


def application(file: str) -> FastAPI:
    app = FastAPI()
    model = predictor.load(file)

    @app.post("/v1/models/model:predict")
    async def predict(request: Request) -> Response:
        rows = orjson.loads(await request.body())["instances"]
        body = orjson.dumps({"predictions": model(rows)}, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(body, media_type="application/json")

    return app


if __name__ == "__main__":
    uvicorn.run(
        application(sys.argv[1]), port=int(sys.argv[2]), access_log=False, log_level="warning"
    )
