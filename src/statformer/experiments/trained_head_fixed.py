"""A second layer that starts large has nearly the phase boundary of one fixed at +-1/m.

arXiv 2410.19139 (abstract): with a large v0 the second layer stays essentially constant; so the
network behaves like those of earlier work, which fix v at +-1/m (Kou et al., arXiv 2303.04145).
Asked is that the constants c of n SNR^4 = c on both boundaries differ by less than a quarter, in
either direction. The ratio of a small v0 to a fixed one is told beside it and decides nothing: no
claim about it was found. The threshold is ours, set before this file was written. That v0 = 1 and
1/m = 0.05 differ in size too is told apart by `trained_head_held`.
"""

from __future__ import annotations

from functools import partial

from statformer.experiments._head_pairs import (
    GRID,
    QUICK,
    TINY,
    boundaries,
    measure_heads,
    within,
)
from statformer.experiments.base import Control, Experiment

HEADS = ("large", "small", "fixed")

EXPERIMENT = Experiment(
    claim="A second layer that starts large has the boundary n SNR^4 = c of one fixed at +-1/m, "
    "with nearly its c.",
    paper="2410.19139",
    source="abstract, the large regime; the comparison and its threshold are ours",
    kind="learnability",
    grid=GRID,
    quick=QUICK,
    tiny=TINY,
    n_seeds=20,
    quick_seeds=8,
    tiny_seeds=2,
    measure=partial(measure_heads, heads=HEADS),
    holds=partial(within, head="large", other="fixed", factor=1.25, aside="small"),
    figure=boundaries,
    not_the_authors="sizes and scales were not found",
    controls={
        "weaker signal": Control(
            measure=partial(measure_heads, heads=HEADS, last_strength=0.7),
            says="the fixed layer sees a signal of 0.7 of its length",
        ),
    },
    positive=Control(
        measure=partial(measure_heads, heads=("large", "small", "held"), last_name="fixed"),
        says="the fixed layer is as large as the trained one",
    ),
    cost="quick 18 s on one core",
)
