"""KServe's own server for scikit-learn, which KServe's images run.

It is in no package index, only in KServe's repository. Its dependencies are paths in that
repository, so it is installed without them, after packages that replace them.

python kserve_sklearnserver.py MODEL_FILE PORT
"""

import json
import os
import sys
from pathlib import Path

TITLE = "KServe's sklearnserver 0.20"
REQUIREMENTS = ["kserve[storage]==0.20.0", "pandas<3"]  # it takes no later one
ALONE = [
    "sklearnserver @ git+https://github.com/kserve/kserve@v0.20.0#subdirectory=python/sklearnserver"
]
PROTOCOL = "v1"
FRAMEWORKS = ["sklearn"]

QUIET = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"kserve": {"level": "WARNING"}, "uvicorn.access": {"propagate": False}},
}

if __name__ == "__main__":
    file, port = sys.argv[1:]
    Path("logging.json").write_text(json.dumps(QUIET))
    options = ["--model_name", "model", "--model_dir", os.path.dirname(file), "--http_port", port]
    options += ["--enable_grpc", "false", "--log_config_file", "logging.json"]
    os.environ["PYTHONWARNINGS"] = "ignore"  # FastAPI's, at each request
    options += ["--enable_latency_logging", "false"]
    os.execv(sys.executable, [sys.executable, "-m", "sklearnserver", *options])
