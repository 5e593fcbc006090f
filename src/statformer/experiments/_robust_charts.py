"""What the tables of tests class by class say: one number per seed, differences, and pictures."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from statformer.experiments._seeds import over_seeds
from statformer.experiments.base import Verdict
from statformer.plotting.chart import Chart, Panel, Series

STATISTICS = ("clean", "robust", "worst", "std", "range")


def by_seed(table: pd.DataFrame) -> pd.DataFrame:
    """A line per recipe, method and seed: accuracies over all images, and over the classes.

    clean, robust      over all images
    worst, std, range  of the robust accuracies of the classes (std with denominator c)
    """
    lines = []
    for (recipe, method, seed), rows in table.groupby(["recipe", "method", "seed"], sort=False):
        share = rows["n"] / rows["n"].sum()
        robust = rows["robust"]
        lines.append(
            {
                "recipe": recipe,
                "method": method,
                "seed": seed,
                "clean": float((share * rows["clean"]).sum()),
                "robust": float((share * robust).sum()),
                "worst": float(robust.min()),
                "std": float(robust.std(ddof=0)),
                "range": float(robust.max() - robust.min()),
            }
        )
    return pd.DataFrame(lines)


def differences(table: pd.DataFrame, method: str, rival: str, of: str) -> pd.Series:
    """The statistic of `method` minus that of `rival`, seed by seed."""
    found = by_seed(table).pivot_table(index="seed", columns="method", values=of)
    return found[method] - found[rival]


def not_worse(table: pd.DataFrame, method: str, rival: str, of: str, margin: float) -> Verdict:
    """Whether `method` is at most `margin` below `rival`, over seeds."""
    found = over_seeds(differences(table, method, rival, of))
    return Verdict.above(
        found.value,
        -margin,
        threshold_source="ours",
        interval=found.interval,
        what=f"{of} accuracy, {method} minus {rival}",
    )


def class_panels(table: pd.DataFrame, methods: Sequence[str]) -> list[Panel]:
    """Clean against robust accuracy of each class, one panel per recipe, one series per method."""
    panels = []
    for recipe, rows in table.groupby("recipe", sort=False):
        series = []
        for method in methods:
            means = rows[rows["method"] == method].groupby("label")[["clean", "robust"]].mean()
            series.append(
                Series(method, means["clean"].to_list(), means["robust"].to_list(), style="points")
            )
        panels.append(
            Panel(f"{recipe}: a point per class", "clean accuracy", "robust accuracy", series)
        )
    return panels


def method_panel(
    table: pd.DataFrame, methods: Sequence[str], of: str, title: str, label: str
) -> Panel:
    """One statistic of each method, mean over seeds with its interval."""
    found = by_seed(table)
    numbers = [over_seeds(found[found["method"] == method][of]) for method in methods]
    bars = Series(
        label,
        list(range(len(methods))),
        [one.value for one in numbers],
        [one.low for one in numbers],
        [one.high for one in numbers],
        style="points",
    )
    return Panel(title, "", label, [bars], categories=list(methods))


def class_chart(table: pd.DataFrame, methods: Sequence[str], caption: str) -> Chart:
    """Classes of each method, and their worst and their overall accuracy."""
    panels = class_panels(table, methods)
    for recipe, rows in table.groupby("recipe", sort=False):
        panels.append(
            method_panel(rows, methods, "worst", f"{recipe}: worst class", "robust accuracy")
        )
        panels.append(
            method_panel(rows, methods, "robust", f"{recipe}: all classes", "robust accuracy")
        )
    return Chart(panels, caption)
