"""HTTP: connections, their limits, and the fast path of predict requests."""
