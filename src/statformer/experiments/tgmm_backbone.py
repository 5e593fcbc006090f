"""A Transformer beats Mamba-2 at equal depth and width (2505.11918): not decided here.

Item 4 of what a reproduction must show. It needs a Mamba-2 backbone. The maintained package,
`mamba-ssm`, does not build without a CUDA compiler; the `transformers` library carries a version
that runs without, slowly, and would be by far the largest dependency of the project, for one claim.
A backbone written by us would be a rival that nobody vouches for. So the claim stays open.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pandas as pd

from statformer.experiments.base import Cell, Experiment, Row, Verdict


def measure(_cell: Cell, _rng: np.random.Generator) -> Row:
    """Whether a maintained Mamba-2 could be imported here; nothing is trained either way."""
    return {"mamba_ssm": find_spec("mamba_ssm") is not None}


def holds(_table: pd.DataFrame) -> Verdict:
    """Undecided, whatever the table holds."""
    return Verdict(
        "undecided",
        "not measured",
        "Transformer's l2 error below Mamba-2's",
        "paper",
        "no small maintained Mamba-2 runs on a processor: mamba-ssm needs CUDA, transformers is "
        "too large a dependency for one claim",
    )


EXPERIMENT = Experiment(
    claim="A Transformer backbone has a lower error than Mamba-2 at equal depth and width.",
    paper="2505.11918",
    source="item 4 of what a reproduction must show [public reviews]",
    kind="learnability",
    grid={"d": (4,)},
    quick={"d": (4,)},
    tiny={"d": (4,)},
    n_seeds=1,
    quick_seeds=1,
    measure=measure,
    holds=holds,
    not_the_authors="not run: no maintained Mamba-2 for a processor",
    cost="nothing",
)
