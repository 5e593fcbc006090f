"""Training runs of one cell: several optimizers from the same start, on the same batches.

The tasks are those of `statformer bench optim`: logistic regression and a convolutional net on
scikit-learn's digits, a language model of characters. They are far smaller than the paper's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from statformer.benchmarks.optim_digits import digits_network, digits_regression
from statformer.benchmarks.optim_language import python_text
from statformer.benchmarks.optim_methods import adamw
from statformer.benchmarks.optim_run import COSINE, Make, train
from statformer.benchmarks.optim_settings import RATES
from statformer.benchmarks.optim_tasks import Task
from statformer.experiments.base import Row
from statformer.plotting.chart import Chart, Panel, Series
from statformer.runs.intervals import Interval, mean_interval

TASKS: Mapping[str, Callable[[int], Task]] = {
    "logistic regression": digits_regression,
    "convolutional net": digits_network,
    "language model": python_text,
}
TUNED = "AdamW, best rate"
SMALLER = (
    "8 x 8 digits and help texts in place of CIFAR-10 and OpenWebText, and networks of 10^3 to "
    "10^5 parameters; the authors' settings were not found"
)


def adamw_rates() -> dict[str, Make]:
    """AdamW at five rates; `best_rate` keeps the one that ends lowest, seed by seed."""
    return {f"AdamW, {rate:g}": adamw(rate) for rate in RATES}


def compare(
    task: Task, methods: Mapping[str, Make], rng: np.random.Generator, schedule: str = COSINE
) -> list[Row]:
    """A row per optimizer: mean loss before and after training, on training and held-out data.

    A run that diverges has the loss infinity.
    """
    seed = int(rng.integers(2**31))
    rows: list[Row] = []
    for name, make in methods.items():
        curve = train(task, make, schedule, seed, n_points=1)
        final, test = (x if np.isfinite(x) else float("inf") for x in curve.final)
        row = {"method": name, "initial": curve.initial.train, "train": final, "test": test}
        rows.append(row)
    return rows


def best_rate(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The table with AdamW's rates replaced by the one of least training loss, run by run.

    The rate is chosen after the fact for every single run, which no user could do.
    """
    is_rate = table["method"].str.startswith("AdamW, ")
    rates = table[is_rate]
    best = rates.loc[rates.groupby([*by, "seed"])["train"].idxmin()].assign(method=TUNED)
    return pd.concat([table[~is_rate], best], ignore_index=True)


def gaps(rows: pd.DataFrame, method: str, rival: str, of: str = "train") -> Interval:
    """(loss of method - loss of rival) / (initial - loss of rival), paired by seed."""
    pair = rows[rows["method"].isin([method, rival])]
    wide = pair.pivot_table(index="seed", columns="method", values=of, dropna=False)
    initial = pair.groupby("seed")["initial"].first()
    ratio = (wide[method] - wide[rival]) / (initial - wide[rival]).mean()
    if not np.isfinite(ratio).all():
        return Interval(np.inf, np.inf, np.inf, len(ratio))
    return mean_interval([ratio.to_numpy()])


def spreads(rows: pd.DataFrame) -> Interval:
    """(largest - least final training loss) / (initial - least), over settings, by seed."""
    found = []
    for _, one in rows.groupby("seed"):
        least = one["train"].min()
        found.append((one["train"].max() - least) / (one["initial"].iloc[0] - least))
    if not np.isfinite(found).all():
        return Interval(np.inf, np.inf, np.inf, len(found))
    return mean_interval([np.array(found)])


def sweep_chart(
    table: pd.DataFrame, axes: Mapping[str, str], x_label: str, caption: str, limit: float
) -> Chart:
    """Final loss as a share of the descent, over a setting, one panel per task.

    axes   methods that were swept, and the names they bear in the picture
    """
    panels = []
    for task, rows in table.groupby("task"):
        least = rows[rows["method"] == next(iter(axes))].groupby("seed")["train"].min()
        descent = rows.groupby("seed")["initial"].first() - least
        series = []
        for method, label in axes.items():
            some = rows[rows["method"] == method].copy()
            some["behind"] = (some["train"] - some["seed"].map(least)) / some["seed"].map(descent)
            by = some.replace(np.inf, np.nan).groupby("setting")["behind"]
            series.append(
                Series(
                    label,
                    [float(x) for x in by.mean().index],
                    by.mean().to_list(),
                    by.min().to_list(),
                    by.max().to_list(),
                )
            )
        panels.append(
            Panel(
                str(task).capitalize(),
                x_label,
                "behind the best, share of descent",
                series,
                log_x=True,
                rule=limit,
                rule_label=f"{limit:.0%}",
            )
        )
    return Chart(panels, caption)
