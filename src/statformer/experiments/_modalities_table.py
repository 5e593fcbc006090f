"""The paper's Table 1 beside ours: rows, words and the figure of what ColoredMNIST gave."""

from __future__ import annotations

from itertools import product

import pandas as pd

from statformer.experiments._seeds import over_seeds
from statformer.plotting.chart import Chart, Panel, Series

WIDTH, TAU, CROP = 20, 0.2, 0.08  # of the embedding, of the loss, of a view
PAPER = {
    ("single", "train"): 0.8843,
    ("single", "test"): 0.1268,
    ("multi", "train"): 0.8777,
    ("multi", "test"): 0.8213,
}


def default_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the settings that decide."""
    of_us = (table["width"] == WIDTH) & (table["tau"] == TAU) & (table["crop"] == CROP)
    return table[of_us]


def words(rows: pd.DataFrame) -> str:
    """Accuracies in per cent with intervals over seeds, beside those of the paper."""
    said = []
    for (method, part), theirs in PAPER.items():
        found = over_seeds(rows.loc[rows["method"] == method, part])
        said.append(
            f"{method} {part} {100 * found.value:.1f} % [{100 * found.low:.1f}, "
            f"{100 * found.high:.1f}] (paper {100 * theirs:.2f})"
        )
    return ", ".join(said)


def table_figure(table: pd.DataFrame) -> Chart:
    """Table 1 as bars beside the paper's numbers, and the test accuracy in every setting."""
    panels = [_beside_the_paper(default_rows(table)), _what_is_known(default_rows(table))]
    settings = list(product(*(sorted(set(table[axis])) for axis in ("width", "tau", "crop"))))
    if len(settings) > 1:
        panels.append(_every_setting(table, settings))
    return Chart(panels, "Mean over seeds with 95 % intervals.")


def _bars(label: str, values: list[pd.Series]) -> Series:
    found = [over_seeds(one) for one in values]
    return Series(
        label,
        list(range(len(found))),
        [one.value for one in found],
        [one.low for one in found],
        [one.high for one in found],
        style="bars",
    )


def _beside_the_paper(rows: pd.DataFrame) -> Panel:
    ours = _bars("here", [rows.loc[rows["method"] == method, part] for method, part in PAPER])
    theirs = Series("paper", list(range(len(PAPER))), list(PAPER.values()), style="bars")
    names = [f"{method}, {part}" for method, part in PAPER]
    return Panel(
        "ColoredMNIST, test colours swapped", "", "accuracy", [ours, theirs], categories=names
    )


def _what_is_known(rows: pd.DataFrame) -> Panel:
    series = [
        _bars(
            f"{method}-modal",
            [rows.loc[rows["method"] == method, part] for part in ("digit", "color")],
        )
        for method in ("single", "multi")
    ]
    return Panel(
        "What a head can read off",
        "",
        "test accuracy",
        series,
        categories=["the digit shown", "the colour"],
    )


def _every_setting(table: pd.DataFrame, settings: list[tuple[float, ...]]) -> Panel:
    series = []
    for method in ("single", "multi"):
        values = []
        for width, tau, crop in settings:
            here = (table["width"] == width) & (table["tau"] == tau) & (table["crop"] == crop)
            values.append(table.loc[here & (table["method"] == method), "test"])
        series.append(_bars(f"{method}-modal", values))
    return Panel(
        "Settings: width of embedding, temperature, smallest crop",
        "",
        "test accuracy",
        series,
        categories=[f"{width:g}, {tau:g}, {crop:g}" for width, tau, crop in settings],
    )
