"""Fast adversarial training guided by the classes, for any torch classifier; needs torch."""

from __future__ import annotations

from statformer.robust.alarm import OverfittingWarning
from statformer.robust.batches import ImageBatches
from statformer.robust.trainer import FastAdversarialTrainer

__all__ = ["FastAdversarialTrainer", "ImageBatches", "OverfittingWarning"]
