"""The model: its serialized file, and whatever code it needs beside it."""
