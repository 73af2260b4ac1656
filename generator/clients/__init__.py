"""Clients of a server: they answer as `Scaffold.predict` does, over HTTP.

`talk.py` says what is sent and what is read, `blocking.py` and `asynchronous.py` send it.
"""

from .asynchronous import AsyncClient, async_client
from .blocking import Client, client

__all__ = ["AsyncClient", "Client", "async_client", "client"]
