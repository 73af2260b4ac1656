"""Logs as JSON lines on standard error: one object a line, with the request's id where there is one."""

import json
import logging
import os
import sys
import warnings
from datetime import datetime, timezone


class JSONFormatter(logging.Formatter):
    """`time`, `level`, `logger`, `message`, and `request_id` and `exception` where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(
                timespec="milliseconds"
            ),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := getattr(record, "request_id", None):
            line["request_id"] = request_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure() -> None:
    """Send every logger's lines to standard error. `LOG_LEVEL` in the environment sets the least level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONFormatter())
    level = os.environ.get("LOG_LEVEL", "INFO").upper()
    known = level in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    logging.basicConfig(handlers=[handler], level=level if known else "INFO", force=True)
    logging.captureWarnings(True)
    warnings.filterwarnings(
        "ignore", message="ORJSONResponse is deprecated"
    )  # KServe's affair, on every request
    logging.getLogger("kserve.trace").setLevel(
        logging.WARNING
    )  # its two lines a request: /metrics has them


def reset_warnings() -> None:
    """Log all warnings but those for developers, by three filters. What `-W` or PYTHONWARNINGS ask for stays.

    scikit-learn sets every filter anew for each tree of a forest, in each call: the dozen that Python and numpy bring
    along take a third of its time.
    """
    if not sys.warnoptions:
        warnings.resetwarnings()
        for category in (DeprecationWarning, PendingDeprecationWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
