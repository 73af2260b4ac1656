"""Finds the user's own code that a model needs, and copies it into `src/model/`."""
