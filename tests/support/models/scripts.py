"""Scripts of an owner. Each makes a model and a scaffold, and saves rows and predictions."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import generator
from generator.hooks import by_name
from generator.running.comparison import Verification, compare
from generator.scaffold import Scaffold
from support.rendering.checkouts import ROOT

SECONDS = 300
KERAS = """
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras
import numpy as np

import generator

keras.utils.set_random_seed(0)
layers = [keras.layers.Dense(8, activation="relu"), keras.layers.Dense(3, activation="softmax")]
model = keras.Sequential(layers)
rows = np.random.default_rng(0).normal(size=(7, 5)).astype("float32")
predictions = model.predict(rows, verbose=0)
generator.from_model(model, "made", sample_input=rows)
np.savez("predicted.npz", rows=rows, predictions=predictions)
"""
# Its model, a layer and a function are its own.
KERAS_SUBCLASSED = """
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras
import numpy as np

import generator

SCALE = 0.5


def bent(inputs):
    return keras.ops.where(inputs > 0, inputs, inputs * SCALE)


class Scaled(keras.layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="random_normal")

    def call(self, inputs):
        return inputs * self.scale


class Net(keras.Model):
    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.hidden, self.scaled = keras.layers.Dense(units, bent), Scaled()
        self.last = keras.layers.Dense(2)

    def call(self, inputs):
        return self.last(self.scaled(self.hidden(inputs)))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


keras.utils.set_random_seed(0)
rows = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
model = Net(units=5)
predictions = model.predict(rows, verbose=0)
generator.from_model(model, "made", sample_input=rows)
np.savez("predicted.npz", rows=rows, predictions=predictions)
"""
# Its model is its own. An argument is the format.
PYTORCH = """
import sys

import numpy as np
import torch
from torch import nn

import generator

WIDTHS = (6, 16, 16)


class Block(nn.Module):
    def __init__(self, wide, out):
        super().__init__()
        self.norm, self.linear = nn.BatchNorm1d(wide), nn.Linear(wide, out)
        self.dropout = nn.Dropout(0.2)

    def forward(self, rows):
        return self.dropout(nn.functional.gelu(self.linear(self.norm(rows))))


class Perceptron(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(*(Block(wide, out) for wide, out in zip(WIDTHS, WIDTHS[1:])))
        self.head = nn.Linear(WIDTHS[-1], 3)

    def forward(self, rows):
        return self.head(self.blocks(rows)).softmax(-1)


torch.manual_seed(0)
model, rows = Perceptron(), torch.randn(64, WIDTHS[0])
optimizer = torch.optim.Adam(model.parameters())
for _ in range(5):
    optimizer.zero_grad()
    nn.functional.nll_loss(model(rows).log(), rows[:, :3].argmax(1)).backward()
    optimizer.step()
generator.from_model(model, "made", sample_input=rows, format=(sys.argv[1:] or [None])[0])
with torch.inference_mode():
    np.savez("predicted.npz", rows=rows, predictions=model.eval()(rows))
"""


@dataclass(frozen=True)
class Made:
    """What a script left.

    Attributes:
        scaffold: its scaffold, opened without the model.
        rows: rows, as the model takes them.
        predictions: what the model in the script's memory predicted for them.
    """

    scaffold: Scaffold
    rows: Any
    predictions: Any

    def compare(self, served: Any) -> Verification:
        """Compare served predictions with the script's, within the framework's tolerance."""
        return compare(self.predictions, served, by_name(self.scaffold.framework).tolerance)


def run(directory: Path, source: str, *arguments: str, **environ: str) -> Made:
    """Run a script, which makes the scaffold `made` and saves `rows` and `predictions`."""
    script = directory / "train.py"
    script.write_text(source)
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": path, **environ},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with np.load(directory / "predicted.npz") as arrays:
        return Made(generator.load(directory / "made"), arrays["rows"], arrays["predictions"])
