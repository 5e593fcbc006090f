"""Accuracy out of distribution, near 0.5 or nearly 1, for a head fitted on some samples."""

from __future__ import annotations

import pandas as pd

from statformer.experiments._modalities import METHODS
from statformer.experiments._modalities_curves import at_end, method_series
from statformer.experiments._seeds import over_seeds
from statformer.experiments.base import Verdict
from statformer.plotting.chart import Chart, Panel

NEAR_CHANCE, NEARLY_ONE = 0.6, 0.9


def decide(table: pd.DataFrame, column: str) -> Verdict:
    """Single-modal at most `NEAR_CHANCE` and multi-modal at least `NEARLY_ONE`, at the end."""
    accuracy = at_end(table, column)
    single, multi = (over_seeds(accuracy[method]) for method in METHODS)
    return Verdict.all_of(
        Verdict.below(
            single.value,
            NEAR_CHANCE,
            threshold_source="ours",
            interval=single.interval,
            what="OOD accuracy, single",
        ),
        Verdict.above(
            multi.value,
            NEARLY_ONE,
            threshold_source="ours",
            interval=multi.interval,
            what="OOD accuracy, multi",
        ),
    )


def draw(table: pd.DataFrame, column: str, head: str) -> Chart:
    """Both accuracies over the epochs."""
    panel = Panel(
        f"Accuracy out of distribution, head fitted on {head}",
        "epoch",
        "accuracy",
        method_series(table, column),
        rule=NEAR_CHANCE,
        rule_label="near chance (ours)",
    )
    return Chart([panel], "Mean over seeds with 95 % intervals.")
