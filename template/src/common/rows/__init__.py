"""Rows of a request as arrays and tables, as `model.input` of `config.yaml` says.

- `parsed.py`: rows as a body holds them, objects and lists.
- `arrays.py`: numpy arrays of them. `tables.py`: DataFrames of them, of pandas or polars.
- `columns/`: the columns of these DataFrames, and the form of their values in a body.

`signature.py` beside this folder chooses between them.
"""
