"""`async def` hooks in a worker's event loop, without a server."""

import asyncio
import contextlib
import contextvars
import functools
import json
import logging
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from common import Context, InvalidInput, route
from common.bodies import json_encode
from common.errors import LoadError
from common.link.frames import CREDIT, Kind, Request, Response, Stats
from common.logs import JSONFormatter
from common.model_file import MODEL_DIRECTORY  # noqa: F401
from common.worker.flow import Flow
from common.worker.lifecycle import Lifecycle
from common.worker.recovery import Stuck
from common.worker.streams import Streams
from support.servers.flows import proved

Request_ = dict[str, Any]
