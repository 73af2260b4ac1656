"""Rows in memory: what they are, as `model.input` says it, and as a client writes them."""
