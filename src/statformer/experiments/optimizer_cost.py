"""What Adam++ keeps in memory, and what a step costs, beside AdamW and Prodigy (2412.19444).

Item 7 of what a reproduction must show; neither was published as far as could be found. The claim
is ours and derived: one more copy of the parameters (the start) than AdamW, hence three numbers per
parameter; with `x0_stride=11` 2 + 1/11. Seconds are measured in turns and reported; they decide
nothing, for they depend on what else the machine does (`statformer bench optim --part a` times it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from statformer.benchmarks.optim_methods import OURS
from statformer.benchmarks.optim_run import Make, torch_threads
from statformer.benchmarks.optim_step_time import (
    FOREACH,
    MAXIMUM,
    PRODIGY,
    STRIDE,
    contestants,
    parameters,
    take_turn,
)
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series

DERIVED = {FOREACH: 2.0, OURS: 3.0, MAXIMUM: 4.0, STRIDE: 2.0 + 1.0 / 11.0}
SHOWN = (*DERIVED, "AdaGradPP", PRODIGY)
TOLERANCE = 0.01  # counters and rounding of x0_stride


def measure(
    cell: Cell, rng: np.random.Generator, swapped: Mapping[str, Make] | None = None
) -> Sequence[Row]:
    """Numbers kept per parameter, and the seconds of a step."""
    makes = {**contestants(), **(swapped or {})}
    params = parameters(cell["parameters"], cell["tensors"])
    rows: list[Row] = []
    with torch_threads(1):
        for name in rng.permutation(SHOWN).tolist():
            turn = take_turn(makes[name], params)
            kept = turn.state_bytes / (4 * cell["parameters"])
            rows.append({"method": name, "numbers kept": kept, "seconds": turn.seconds})
    return rows


def holds(table: pd.DataFrame) -> Verdict:
    """No optimizer keeps more or less than derived, to a hundredth."""
    kept = table[table["method"].isin(DERIVED)]
    off = (kept["numbers kept"] - kept["method"].map(DERIVED)).abs().max()
    return Verdict.below(
        float(off),
        TOLERANCE,
        threshold_source="derived",
        what="largest difference to the derived numbers kept per parameter",
    )


def figure(table: pd.DataFrame) -> Chart:
    """Numbers kept, and seconds beside AdamW's."""
    kept = table.groupby("method")["numbers kept"].mean()
    wide = table.pivot_table(index=["parameters", "seed"], columns="method", values="seconds")
    panels = [
        Panel(
            "Memory",
            "",
            "numbers kept per parameter",
            [
                Series(
                    "measured",
                    list(range(len(SHOWN))),
                    [float(kept[name]) for name in SHOWN],
                    style="bars",
                )
            ],
            categories=SHOWN,
        )
    ]
    series = []
    for n, rows in wide.groupby(level="parameters"):
        ratios = rows.div(rows[FOREACH], axis=0).median()
        values = [float(ratios[name]) for name in SHOWN]
        series.append(Series(f"{n:,} parameters", list(range(len(SHOWN))), values, style="points"))
    panels.append(
        Panel(
            "Time of a step",
            "",
            "times AdamW (foreach)",
            series,
            categories=SHOWN,
            rule=1.0,
            rule_label="AdamW",
        )
    )
    return Chart(panels, "Time is the median over rounds, on whatever else the machine was doing.")


EXPERIMENT = Experiment(
    claim="Adam++ keeps three numbers per parameter, one more than AdamW, and 2.09 with every "
    "eleventh coordinate of the start.",
    paper="2412.19444",
    source="derived from the algorithm; item 7 of what a reproduction must show",
    kind="existence",
    grid={"parameters": (10**5, 10**6, 10**7), "tensors": (1, 100)},
    quick={"parameters": (10**5, 10**6), "tensors": (1, 100)},
    tiny={"parameters": (10**5,), "tensors": (1,)},
    n_seeds=9,
    quick_seeds=5,
    measure=measure,
    holds=holds,
    figure=figure,
    controls={
        "one more": Control(
            measure=partial(measure, swapped={OURS: contestants()[MAXIMUM]}),
            size="tiny",
            says="Adam++ keeps the maximum over v as well",
        )
    },
    cost="quick 15 s on one core",
)
