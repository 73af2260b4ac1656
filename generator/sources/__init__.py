"""Models from a file, a directory or a registry."""
