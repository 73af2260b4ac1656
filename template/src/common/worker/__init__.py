"""The worker process: it owns the model and answers requests."""
