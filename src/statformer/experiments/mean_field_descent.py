"""Along the flow the objective falls at the rate of the energy law, and nothing leaves its bounds.

arXiv 2410.23610: dQ/dtau = -(1/ML) sum |G|^2 (one displayed line of the paper drops the sign), and
Lemma C.4, |T(H, t)| <= |H| exp(1 + A + A^2) with A^2 the mean squared norm of the particles; |.| is
the largest norm of a token. Two bounds are derived in our reading, and sharper:

    mean squared norm of the particles <= (2 / lambda) Q(tau = 0),
    |T(H, t)| <= |H| exp(1/2 mean |V| + 1/2 mean |W1| |W2|),   |V| the spectral norm,

the latter for the verified pair, because a softmax takes convex combinations of tokens and
Huberised relu does not lengthen. The paper has no numerical check; the tolerance of 5 % for the
finite differences, task, sizes and step are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from statformer.experiments._mean_field import PENALTY, Track, cloud, network, sequences, train
from statformer.experiments.base import Cell, Control, Experiment, Row, ThresholdSource, Verdict
from statformer.nn.mean_field import MeanFieldTransformer
from statformer.nn.mean_field_encoders import Encoder, PulledBack
from statformer.plotting.chart import Chart, Panel, Series

RUNS, EVERY, STEP = 4, 25, 0.1


@dataclass(frozen=True)
class NotCarriedBack:
    """A planted fault: the adjoint passes the encoder unchanged."""

    encoder: Encoder

    @property
    def names(self) -> tuple[str, str]:
        """Those of the encoder."""
        return self.encoder.names

    def mean(self, T: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """As it is."""
        return self.encoder.mean(T, first, second)

    def pull_back(self, T: Tensor, P: Tensor, first: Tensor, second: Tensor) -> PulledBack:
        """Nothing through the tokens."""
        found = self.encoder.pull_back(T, P, first, second)
        return PulledBack(torch.zeros_like(found.tokens), found.weights)


def measure(
    cell: Cell,
    rng: np.random.Generator,
    *,
    step: float = STEP,
    carried: bool = True,
) -> Sequence[Row]:
    """Every 25 steps: the largest deviations since the last time, and each bound's use."""
    task = sequences(rng)
    net = network(cloud(rng, RUNS, cell["depth"], cell["width"]))
    if not carried:
        net.attention = NotCarriedBack(net.attention)
        net.feed_forward = None if net.feed_forward is None else NotCarriedBack(net.feed_forward)
    first: Tensor | None = None
    rows = []
    for block in range(cell["n_steps"] // EVERY):
        track = train(net, task, EVERY, step=step)
        first = track.objective[0] if first is None else first
        falls, law = _slopes(track, step)
        rows.append(
            {
                "tau": step * EVERY * (block + 1),
                "risk": float(track.risk[-1].mean()),
                "objective": float(track.objective[-1].mean()),
                "rise": float((-falls).max()),
                "off_law": float((falls / law - 1.0).abs().max()),
                "norm_use": float((track.square[-1] / (2.0 / PENALTY * first)).max()),
                **growth(net, task.H, track.square[-1]),
            }
        )
    return rows


def _slopes(track: Track, step: float) -> tuple[Tensor, Tensor]:
    """-dQ/dtau by finite differences, and by the energy law at both ends of the step."""
    falls = -track.objective.diff(dim=0) / step
    return falls, 0.5 * (track.dissipation[1:] + track.dissipation[:-1])


@torch.no_grad()
def growth(net: MeanFieldTransformer, H: Tensor, square: Tensor) -> dict[str, float]:
    """The largest |T(H, t)| / |H| over sequences and t, over each of the two bounds."""
    lengths = torch.stack([T.norm(dim=-1).amax(-1) for T in net.path(H)])  # "steps b n"
    grown = (lengths / lengths[:1]).amax((0, 2))
    norms = [
        torch.linalg.matrix_norm(weight, 2) for weight in (net.V, net.W1, net.W2)
    ]  # each "b l j"
    sharp = 0.5 * (norms[0].mean((1, 2)) + (norms[1] * norms[2]).mean((1, 2)))
    A = square.sqrt()
    return {
        "log_growth": float(grown.log().max()),
        "lemma_use": float((grown.log() / (1.0 + A + square)).max()),
        "growth_use": float((grown.log() / sharp).max()),
    }


def holds(table: pd.DataFrame) -> Verdict:
    """Every inequality at every logged time, in all runs."""
    checks: list[tuple[str, float, ThresholdSource, str]] = [
        ("rise", 0.0, "derived", "largest rise of Q per time"),
        ("off_law", 0.05, "ours", "deviation from the energy law"),
        ("norm_use", 1.0, "derived", "mean |beta|² / its bound"),
        ("lemma_use", 1.0, "paper", "log growth / Lemma C.4's"),
        ("growth_use", 1.0, "derived", "log growth / the sharper bound's"),
    ]
    return Verdict.all_of(
        *(
            Verdict.below(float(table[name].max()), threshold, threshold_source=source, what=what)
            for name, threshold, source, what in checks
        )
    )


def figure(table: pd.DataFrame) -> Chart:
    """Risk and objective over time, and how much of each bound is used."""
    means = table.groupby("tau").mean(numeric_only=True)
    largest = table.groupby("tau").max(numeric_only=True)
    falling = [
        Series(label, list(means.index), means[name].to_list())
        for name, label in (("objective", "objective Q"), ("risk", "risk R"))
    ]
    uses = [
        Series(label, list(largest.index), largest[name].to_list())
        for name, label in (
            ("norm_use", "mean |β|²"),
            ("growth_use", "growth, sharper bound"),
            ("lemma_use", "growth, Lemma C.4"),
        )
    ]
    uses.append(
        Series("deviation from the energy law", list(largest.index), largest["off_law"].to_list())
    )
    return Chart(
        [
            Panel("The flow", "training time τ", "mean over runs and seeds", falling),
            Panel(
                "Share of each bound that is used",
                "training time τ",
                "largest share",
                uses,
                log_y=True,
                rule=1.0,
                rule_label="bound",
            ),
        ],
        "Shares are the largest over runs, seeds and what happened since the point before.",
    )


EXPERIMENT = Experiment(
    claim="The objective never rises and falls as the energy law says; particles and hidden states "
    "stay within their bounds.",
    paper="2410.23610",
    source="the energy law and Lemma C.4, read in full; two sharper bounds are derived",
    kind="learnability",
    grid={"depth": (4, 16), "width": (16, 64), "n_steps": (2000,)},
    quick={"depth": (4, 8), "width": (16,), "n_steps": (1000,)},
    tiny={"depth": (2,), "width": (4,), "n_steps": (200,)},
    n_seeds=4,
    quick_seeds=2,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="the paper has no such experiment: task, sizes, λ, step and τ are ours",
    controls={
        "large steps": Control(measure=partial(measure, step=20.0), says="steps of 20"),
        "adjoint not carried": Control(
            measure=partial(measure, carried=False), says="p passes each layer unchanged"
        ),
    },
    cost="quick 22 s on one core",
)
