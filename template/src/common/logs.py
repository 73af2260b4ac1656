"""Logs as JSON lines on standard error: one object a line, with the request's id if it has one."""

import json
import logging
import os
import sys
import warnings
from datetime import datetime, timezone

from . import current

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class JSONFormatter(logging.Formatter):
    """`time`, `level`, `logger`, `message`, and `request_id` and `exception` if there are any."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(
                timespec="milliseconds"
            ),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := getattr(record, "request_id", None) or current.request_id.get():
            line["request_id"] = request_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure() -> None:
    """Send every logger's lines to standard error, from `LOG_LEVEL` in the environment upwards."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONFormatter())
    level = os.environ.get("LOG_LEVEL", "INFO").upper()
    if level not in LEVELS:
        level = "INFO"
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.captureWarnings(True)
    # KServe causes it on every request.
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")
    # It writes two lines for every request: /metrics has the same.
    logging.getLogger("kserve.trace").setLevel(logging.WARNING)


def reset_warnings() -> None:
    """Log all warnings but those for developers, by three filters. `-W` and PYTHONWARNINGS stay.

    scikit-learn sets every filter again for each tree of a forest, in each call. The dozen filters
    of Python and numpy would take a third of its time.
    """
    if not sys.warnoptions:
        warnings.resetwarnings()
        for category in (DeprecationWarning, PendingDeprecationWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
