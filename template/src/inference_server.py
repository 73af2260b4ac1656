"""The entry point: `python inference_server.py` serves the model. README.md tells the settings."""

import sys

from common.serving.main import main

if __name__ == "__main__":
    sys.exit(main())
