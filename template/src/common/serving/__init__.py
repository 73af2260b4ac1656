"""The server process: HTTP, the routes, the metrics and the pool of workers."""
