"""Modules of PyTorch that can be made again from their arguments, or not.

Scaffolds get a copy of this file: it imports nothing of the tests.
"""

from typing import Any

import torch
from torch import nn


class Tied(nn.Module):
    """Two layers with the same weights, and a buffer that no state_dict holds."""

    def __init__(self, size: int, activation: str = "tanh") -> None:
        super().__init__()
        self.size, self.activation, self.scale = size, activation, 1.0
        self.inner = nn.Linear(size, size)
        self.outer = nn.Linear(size, size)
        self.outer.weight = self.inner.weight
        self.register_buffer("offset", torch.ones(size), persistent=False)

    def forward(self, rows: Any) -> Any:
        return self.outer(getattr(torch, self.activation)(self.inner(rows))) + self.offset


class Forgets(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(size, size)

    def forward(self, rows: Any) -> Any:
        return self.layer(rows)
