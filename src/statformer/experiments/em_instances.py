"""More pretraining instances lower the test error, and then no more (arXiv 2502.06007).

The paper's guarantee needs enough pretraining instances [abstract]; their number and a curve were
not found. Here the same number of steps draws from a fixed pool of N instances, so that N alone
varies; the largest pools are not seen once over. Thresholds are ours.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from statformer.experiments._em_networks import (
    NOT_THE_AUTHORS,
    held_out,
    network_error,
    rival_errors,
    small_recipe,
    train,
)
from statformer.experiments._seeds import over_seeds, seed_curve
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series

PLATEAU = 0.005  # what the last enlargement of the pool may still gain


def measure(cell: Cell, rng: np.random.Generator, all_alike: bool = False) -> Row:
    """Test error of a network trained on N instances, and of EM; `all_alike` ignores N."""
    n_instances = 32 if all_alike else cell["n_instances"]
    recipe = small_recipe(n_instances=n_instances, pool=int(rng.integers(2**31)))
    network = train(recipe, cell["n_steps"], rng)
    batch = held_out(recipe, cell["n_tables"])
    rivals = {name: float(e.mean()) for name, e in rival_errors(batch).items()}
    return {"error": float(network_error(network, batch).mean()), **rivals}


def known(cell: Cell, _rng: np.random.Generator) -> Row:
    """The row of a learner whose error is EM's plus 2 / N."""
    batch = held_out(small_recipe(), cell["n_tables"])
    rivals = {name: float(e.mean()) for name, e in rival_errors(batch).items()}
    return {"error": rivals["EM"] + 2.0 / cell["n_instances"], **rivals}


def holds(table: pd.DataFrame) -> Verdict:
    """The largest pool beats the smallest, and the last enlargement gains nearly nothing."""
    errors = table.pivot_table(index="seed", columns="n_instances", values="error")
    smallest, *_, before, largest = sorted(errors.columns)
    gain = over_seeds(errors[smallest] - errors[largest])
    last = over_seeds(errors[before] - errors[largest])
    return Verdict.all_of(
        Verdict.above(
            gain.value,
            0.0,
            threshold_source="derived",
            interval=gain.interval,
            what=f"error at N={smallest} less error at N={largest}:",
        ),
        Verdict.below(
            last.value,
            PLATEAU,
            threshold_source="ours",
            interval=last.interval,
            what=f"error at N={before} less error at N={largest}:",
        ),
    )


def figure(table: pd.DataFrame) -> Chart:
    """Test error over the number of instances."""
    curve = seed_curve(table, "n_instances", "error")
    x = list(curve["x"])
    series = [
        Series("network", x, list(curve["value"]), list(curve["low"]), list(curve["high"])),
        Series("EM", x, [float(table["EM"].mean())] * len(x), style="dashed"),
        Series("oracle", x, [float(table["oracle"].mean())] * len(x), style="dashed"),
    ]
    panel = Panel("Pretraining instances", "instances N", "misclustered share", series, log_x=True)
    return Chart([panel], "Equal steps for every N; band over training seeds.")


EXPERIMENT = Experiment(
    claim="More pretraining instances lower the test error, down to a plateau.",
    paper="2502.06007",
    source="abstract: enough pretraining instances are needed; the check is derived",
    kind="learnability",
    grid={
        "n_instances": (32, 128, 512, 2048, 8192, 32768, 131072),
        "n_steps": (4000,),
        "n_tables": (4000,),
    },
    quick={"n_instances": (32, 256, 2048, 16384), "n_steps": (400,), "n_tables": (1000,)},
    tiny={"n_instances": (32, 256, 2048), "n_steps": (5,), "n_tables": (40,)},
    n_seeds=5,
    quick_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    cost="quick 117 s of one core of a busy machine",
    not_the_authors=NOT_THE_AUTHORS,
    control_size="quick",
    positive=Control(measure=known, says="a learner whose error is EM's plus 2 / N"),
    controls={
        "one size": Control(
            measure=partial(measure, all_alike=True), says="every pool holds 32 instances"
        )
    },
)
