"""One network for several K beats EM in error and accuracy, under TGMM's prior (2505.11918).

Item 1 of what a reproduction must show [authors' code, reviews]: l2 error below EM's across d, and
accuracy above it. EM is theirs here: means begun at N(0, I), uniform weights, unit covariance, 100
iterations, one start (their number of restarts was not read). EM with ten k-means++ starts stands
in the figure and is compared in `tgmm_strong_em`; so do our own `AttentionMixture` (which estimates
covariances too) and the answer of knowing nothing. What is compared is the mean over K.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from statformer.experiments._seeds import over_seeds
from statformer.experiments._tgmm_charts import bars
from statformer.experiments._tgmm_estimates import NOT_THE_AUTHORS, rows_of
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart


def measure(
    cell: Cell, rng: np.random.Generator, deaf: bool = False, oracle: bool = False
) -> Sequence[Row]:
    """l2 error, accuracy and log-likelihood of every method, as `rows_of` has them."""
    return rows_of(cell, rng, deaf=deaf, oracle=oracle)


def holds(table: pd.DataFrame) -> Verdict:
    """For each d: TGMM's l2 error is below EM's and its accuracy above, mean over K."""
    verdicts = []
    for d, rows in table.groupby("d"):
        for score, sign in (("l2", -1.0), ("accuracy", 1.0)):
            mean = rows.pivot_table(index="seed", columns="method", values=score)
            gain = over_seeds(sign * (mean["TGMM"] - mean["EM"]))
            name = "EM's l2 error less TGMM's" if sign < 0 else "TGMM's accuracy less EM's"
            verdicts.append(
                Verdict.above(
                    gain.value,
                    0.0,
                    threshold_source="paper",
                    interval=gain.interval,
                    what=f"d={d}: {name}",
                )
            )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Median l2 error (moments rule the mean) and accuracy by method, bars per d."""
    return bars(table, ("median l2", "accuracy"))


EXPERIMENT = Experiment(
    claim="One network for several K has a lower l2 error and a higher accuracy than EM.",
    paper="2505.11918",
    source="item 1 of what a reproduction must show [authors' code, public reviews]",
    kind="learnability",
    grid={
        "d": (2, 4, 8),
        "K": (2, 3, 4),
        "n_instances": (128,),
        "n_steps": (10001,),
    },
    quick={"d": (2, 4), "K": (2, 3, 4), "n_instances": (32,), "n_steps": (0,)},
    tiny={"d": (2,), "K": (2,), "n_instances": (4,), "n_steps": (3,)},
    n_seeds=5,
    quick_seeds=4,
    measure=measure,
    holds=holds,
    figure=figure,
    cost="quick 28 s of one core",
    not_the_authors=NOT_THE_AUTHORS,
    control_size="quick",
    positive=Control(
        measure=partial(measure, oracle=True), says="the truth in the network's place"
    ),
    controls={
        "another's points": Control(
            measure=partial(measure, deaf=True), says="the network reads another instance"
        )
    },
    timeout_minutes=120,
)
