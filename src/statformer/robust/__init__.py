"""Fast adversarial training guided by the classes, for any torch classifier; needs torch."""

from __future__ import annotations

from statformer.robust.alarm import OverfittingWarning
from statformer.robust.batches import ImageBatches
from statformer.robust.evaluation import evaluate_robustness
from statformer.robust.suspicions import RobustnessWarning
from statformer.robust.table import RobustnessTable
from statformer.robust.trainer import FastAdversarialTrainer

__all__ = [
    "FastAdversarialTrainer",
    "ImageBatches",
    "OverfittingWarning",
    "RobustnessTable",
    "RobustnessWarning",
    "evaluate_robustness",
]
