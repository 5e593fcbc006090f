"""ReLU attention against softmax, and with or without the auxiliary rows P (arXiv 2501.01312).

Item 5 of what a reproduction must show. The theory has ReLU attention and keeps P for its proof;
the authors state that P can be removed, and reviewers miss both ablations. Decided here: without P
the loss 1 - |cos| is at most 10 % larger (ours), and softmax is not better than ReLU.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from statformer.experiments._spectral_training import (
    SMALLER,
    answers,
    component_rows,
    fresh,
    mean_score,
    paired,
    recipe_of,
    trained,
    two_seeds,
)
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series
from statformer.runs.intervals import ratio_interval

SPARED = 1.1
PLAIN, SOFTMAX, ROWS = "ReLU", "softmax", "ReLU, auxiliary rows"
VARIANTS: dict[str, dict[str, object]] = {
    PLAIN: {},
    SOFTMAX: {"attention": "softmax"},
    ROWS: {"auxiliary": True},
}


def measure(
    cell: Cell, rng: np.random.Generator, steps_of: dict[str, float] | None = None
) -> Sequence[Row]:
    """Train each variant on the same instances; |cos| per component on fresh ones.

    steps_of   share of the steps that a variant gets
    """
    train_seed, test_seed = two_seeds(rng)
    rows: list[Row] = []
    for name, options in VARIANTS.items():
        recipe = recipe_of("vectors", cell["D"], **options)
        n_steps = round(cell["n_steps"] * (steps_of or {}).get(name, 1.0))
        module = trained(recipe, n_steps, train_seed)
        batch = fresh(recipe, test_seed)
        found = component_rows(answers(recipe, module, batch), batch, "vectors")
        rows += [{"variant": name, **row} for row in found]
    return rows


def holds(table: pd.DataFrame) -> Verdict:
    """Rows can be spared, and softmax is not ahead."""
    loss = 1.0 - table.pivot_table(index=["D", "seed"], columns="variant", values="score")
    spared = ratio_interval([loss[PLAIN].to_numpy()], [loss[ROWS].to_numpy()])
    ahead = paired(table, "variant", SOFTMAX, PLAIN)
    return Verdict.all_of(
        Verdict.below(
            spared.value,
            SPARED,
            interval=(spared.low, spared.high),
            threshold_source="ours",
            what="loss without auxiliary rows / with them",
        ),
        Verdict.below(
            ahead.value,
            0.0,
            interval=(ahead.low, ahead.high),
            threshold_source="ours",
            what="|cos| of softmax minus ReLU",
        ),
    )


def figure(table: pd.DataFrame) -> Chart:
    """|cos| by component and variant."""
    panels = []
    for D, some in table.groupby("D"):
        series = []
        for variant in VARIANTS:
            rows = some[some["variant"] == variant]
            places = sorted(rows["component"].unique())
            found = [mean_score(rows, j) for j in places]
            values = [one.value for one in found]
            low, high = [one.low for one in found], [one.high for one in found]
            series.append(Series(variant, places, values, low, high, style="points"))
        panels.append(Panel(f"D = {D}", "component", "|cos|", series))
    return Chart(panels, "Mean over seeds with 95 % intervals.")


EXPERIMENT = Experiment(
    claim="Auxiliary rows can be spared, and ReLU attention is no worse than softmax.",
    paper="2501.01312",
    source="statement of the authors and reviews; item 5 of what a reproduction must show",
    kind="learnability",
    grid={"D": (3, 5), "n_steps": (16_000,)},
    quick={"D": (3,), "n_steps": (2500,)},
    tiny={"D": (3,), "n_steps": (12,)},
    n_seeds=5,
    quick_seeds=4,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors=SMALLER,
    controls={
        "less training": Control(
            measure=partial(measure, steps_of={PLAIN: 0.1}),
            size="quick",
            says="the plain network trains for a tenth of the steps",
        )
    },
    positive=Control(
        measure=partial(measure, steps_of={SOFTMAX: 0.1, ROWS: 0.1}),
        size="quick",
        says="the two others train for a tenth of the steps",
    ),
    control_size="quick",
    cost="quick 2 min on one core",
)
