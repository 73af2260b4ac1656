"""The model and its facts: prepared, and written into a scaffold."""
