"""Rows of a request as arrays and tables, as `model.input` of `config.yaml` says.

- `parsed.py`: rows as a body holds them, objects and lists.
- `arrays.py`: numpy arrays of them. `tables.py`: pandas DataFrames of them.

`signature.py` beside this folder chooses between them.
"""
