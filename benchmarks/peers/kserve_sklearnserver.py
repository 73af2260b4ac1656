"""KServe's own server for scikit-learn, which KServe's images run.

It is in no package index, only in KServe's repository. Its dependencies are paths in that
repository, so it is installed without them, after packages that replace them.

python kserve_sklearnserver.py MODEL_FILE PORT
"""

import os
import sys

TITLE = "KServe's sklearnserver 0.20"
REQUIREMENTS = ["kserve[storage]==0.20.0"]
ALONE = [
    "sklearnserver @ git+https://github.com/kserve/kserve@v0.20.0#subdirectory=python/sklearnserver"
]
PROTOCOL = "v1"
FRAMEWORKS = ["sklearn"]

if __name__ == "__main__":
    file, port = sys.argv[1:]
    options = ["--model_name", "model", "--model_dir", os.path.dirname(file), "--http_port", port]
    os.execv(
        sys.executable, [sys.executable, "-m", "sklearnserver", *options, "--enable_grpc", "false"]
    )
