"""The columns of a table: the JSON form of each one's values, and what makes it from these.

- `formats.py`: the form in words and as a JSON schema. `cells.py` and `times.py` read values of it.
- `pandas_columns.py` and `polars_columns.py`: a column of either library, in the dtype of training.
  The former asks `number_columns.py`, `time_columns.py` and `arrow_columns.py`.
"""
