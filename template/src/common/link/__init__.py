"""The link between the server and a worker: frames over a Unix socket pair."""
