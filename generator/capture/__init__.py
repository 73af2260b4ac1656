"""The owner's own code: found, followed, and copied into `src/model/`."""
