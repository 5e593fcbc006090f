"""Small checkpoints that ship with the package, each with a card; loaded without torch."""

from __future__ import annotations

from statformer.weights.reader import WeightsError, read_safetensors
from statformer.weights.store import load_weights

__all__ = ["WeightsError", "load_weights", "read_safetensors"]
