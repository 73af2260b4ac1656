"""Writes the parts of the reference that the code itself knows. `hook.py` puts them into pages."""
