"""Functions and classes of the model that source alone cannot rebuild. They are pickled by value.

The model's file refers to them as `pickled_code.NAME`. Their pickle is bound to the minor version
of Python that wrote it. The generator copies this module into `src/model/`.
"""

import pickle
from pathlib import Path

with Path(__file__).with_suffix(".pickle").open("rb") as file:
    globals().update(pickle.load(file))
