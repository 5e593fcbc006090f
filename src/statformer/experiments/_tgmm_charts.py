"""Bars of TGMM and its rivals."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from statformer.experiments._seeds import over_seeds
from statformer.experiments._tgmm_estimates import METHODS
from statformer.plotting.chart import Chart, Panel, Series

_LABELS = {"l2": "l2 error", "median l2": "median l2 error"}


def bars(table: pd.DataFrame, scores: Sequence[str], by: str = "d") -> Chart:
    """A panel per score; groups of bars per value of `by`, a colour per method, 95 % over seeds."""
    places = sorted(table[by].unique())
    panels = []
    for score in scores:
        series = []
        for method in METHODS:
            mine = table[table["method"] == method]
            if method == "nothing" and score == "log-likelihood":
                continue
            at, found = [], []
            for i, place in enumerate(places):
                rows = mine[mine[by] == place]
                if len(rows):
                    at.append(float(i))
                    found.append(over_seeds(rows.groupby("seed")[score].mean()))
            if found:
                y, low, high = ([one[j] for one in found] for j in range(3))
                series.append(Series(method, at, y, low, high, style="bars"))
        label = _LABELS.get(score, score)
        names = [f"{by} = {place:g}" for place in places]
        panels.append(Panel(label, "", label, series, categories=names))
    return Chart(panels, "Instances of TGMM's own prior; 95 % over draws of instances.")
