"""Means over independent seeds, with Student's interval: few seeds make wide intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student


class OverSeeds(NamedTuple):
    """The mean over seeds and its 95 % interval; the ends are NaN with a single seed."""

    value: float
    low: float
    high: float

    @property
    def interval(self) -> tuple[float, float]:
        """The two ends, as `Verdict.below` takes them."""
        return self.low, self.high


def over_seeds(values: Sequence[float] | pd.Series) -> OverSeeds:
    """mean +- t_{.975, s - 1} sd / sqrt(s) of one number per seed, s seeds.

    Raises ValueError without a seed.
    """
    x = np.asarray(values, dtype=np.float64)
    if not len(x):
        raise ValueError("values is empty; pass one number per seed")
    mean = float(x.mean())
    if len(x) == 1:
        return OverSeeds(mean, float("nan"), float("nan"))
    half = float(student.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return OverSeeds(mean, mean - half, mean + half)


def seed_curve(table: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """One line per value of column x: "x", "value", "low", "high" of column y over the seeds."""
    lines = []
    for place, rows in table.groupby(x, sort=True):
        found = over_seeds(rows.groupby("seed")[y].mean())
        lines.append({"x": place, "value": found.value, "low": found.low, "high": found.high})
    return pd.DataFrame(lines)
