"""Pipelines for texts, and those of transformers for images."""
