"""Functions of the model that have no source which could stand alone: pickled by value, for one minor Python version.

The model's file refers to them as `pickled_code.NAME`. The generator copies this module into `src/model/`.
"""

import pickle
from pathlib import Path

with Path(__file__).with_suffix(".pickle").open("rb") as file:
    globals().update(pickle.load(file))
