"""A second layer that starts large has the phase boundary of one that is held where it starts.

arXiv 2410.19139 (abstract): with a large v0 the second layer stays essentially constant. Then it
must not matter for the boundary n SNR^4 = c whether it is trained: asked is that c is within a
twentieth of that of v = +-v0 held fixed, v0 = 1. How far the same v0 is from +-1/m, which differs
in size, is told beside it. This experiment was made after `trained_head_fixed` had failed and
after one look at two seeds; the threshold is ours.
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

HEADS = ("large", "fixed", "held")

EXPERIMENT = Experiment(
    claim="Training a second layer that starts large does not move the boundary between benign and "
    "harmful overfitting.",
    paper="2410.19139",
    source="abstract, the large regime; the comparison and its threshold are ours",
    kind="mechanism",
    grid=GRID,
    quick=QUICK,
    tiny=TINY,
    n_seeds=20,
    quick_seeds=6,
    tiny_seeds=3,
    measure=partial(measure_heads, heads=HEADS),
    holds=partial(within, head="large", other="held", factor=1.05, aside="fixed"),
    figure=boundaries,
    not_the_authors="sizes and scales were not found",
    controls={
        "weaker signal": Control(
            measure=partial(measure_heads, heads=HEADS, last_strength=0.9),
            says="the held layer sees a signal of 0.9 of its length",
        ),
    },
    cost="quick 10 s on one core",
)
