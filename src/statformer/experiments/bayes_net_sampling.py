"""Rows sampled from the explicit weights follow the maximum-likelihood joint law, and the truth.

Claim (ii) of Cao et al. (arXiv 2501.02547): a fresh sample is generated variable by variable with
the estimated conditionals. Item 2 of what a reproduction must show. The law of a generated row is
the product of what the network says, so that it is computed and not estimated; half the sum of the
errors of the conditionals bounds its distance to the maximum-likelihood law (derived). Against the
truth the distance must fall like N^-1/2; with n drawn rows their frequencies approach the
maximum-likelihood law like n^-1/2.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from jaxtyping import Float

from statformer.constructions.bayes_net import CountingTransformer, as_shares, error_bound
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series
from statformer.reference.bayes_net import Structure, backed_off, joint
from statformer.runs.fits import fit_line
from statformer.tasks.bayes_net import STRUCTURES, BayesNetBatch, BayesNetPrior
from statformer.tasks.stream import TaskStream

Array = np.ndarray
BETA, C = 12.0, 40.0
N_CONTEXT = 400  # rows of context where drawn rows are counted
SLOWEST = -0.4  # of the slope, which is -1/2 in the limit


def measure(cell: Cell, rng: np.random.Generator, harm: str = "") -> Sequence[Row]:
    """Mean total variations over networks: of the law to the truth, and of drawn rows to the law.

    `n` counts context rows where "against" is "truth", drawn rows where it is "likelihood".
    `excess` is the largest distance of the network's law to the likelihood's, minus its bound.
    """
    structure, n_networks = Structure(STRUCTURES[cell["structure"]]), cell["n_networks"]
    lengths = [round(10 ** (2 + k / 4)) for k in range(round(4 * cell["decades"]) + 1)]
    prior = BayesNetPrior(cell["structure"], max(lengths))
    batch = prior.sample(TaskStream(int(rng.integers(2**31)), 0, range(n_networks)))
    truth, drawn, excess = np.zeros(len(lengths)), np.zeros(len(lengths)), -np.inf
    for i in range(n_networks):
        X = batch.X[i].numpy()
        true_law = joint(structure, _true_tables(batch, i, structure))
        for k, n in enumerate(lengths):
            network = _network(structure, X[:n], harm)
            law = _law(network, structure)
            truth[k] += _variation(law, true_law) / n_networks
            likelihood, bound = _likelihood(structure, X[:n])
            excess = max(excess, _variation(law, likelihood) - bound)
        network = _network(structure, X[:N_CONTEXT], harm)
        likelihood, _ = _likelihood(structure, X[:N_CONTEXT])
        rows = network.generate(max(lengths), rng)
        for k, n in enumerate(lengths):
            shares = np.zeros(likelihood.shape)
            np.add.at(shares, tuple(rows[:n].T), 1.0 / n)
            drawn[k] += _variation(shares, likelihood) / n_networks
    distances = {"truth": truth, "likelihood": drawn}
    return [
        {"against": against, "n": n, "tv": float(tv), "excess": float(excess)}
        for against, values in distances.items()
        for n, tv in zip(lengths, values, strict=True)
    ]


def _network(structure: Structure, X: Array, harm: str) -> CountingTransformer:
    if harm:  # the last variable forgets its last parent
        *before, last = structure.parents
        structure = Structure((*before, last[:-1]))
    sharp = BETA, C + BETA * structure.in_degree
    return CountingTransformer(structure, (2,) * len(structure), X, sharp=sharp)


def _law(network: CountingTransformer, structure: Structure) -> Float[Array, "..."]:
    """p of every assignment under `generate`: the product over variables of what is drawn from."""
    v = len(structure)
    cells = np.indices((2,) * v).reshape(v, -1).T
    p = np.ones(len(cells))
    for target in structure.order:
        shares = as_shares(network.conditional(target, cells))
        p *= shares[np.arange(len(cells)), cells[:, target]]
    law: Float[Array, "..."] = p.reshape((2,) * v)
    return law


def _likelihood(structure: Structure, X: Array) -> tuple[Float[Array, "..."], float]:
    """The joint law of the frequencies, backed off where unseen, and 1/2 sum_m of the bounds."""
    sizes, tables, bound = (2,) * len(structure), [], 0.0
    sharp = BETA, C + BETA * structure.in_degree
    for m, parents in enumerate(structure.parents):
        table, worst = np.zeros((2,) * (len(parents) + 1)), 0.0
        for values in np.ndindex(*(2,) * len(parents)):
            table[values] = backed_off(structure, sizes, X, m, values)
            agreement = (X[:, list(parents)] == values).sum(axis=1)
            n, missed = int((agreement == agreement.max()).sum()), len(parents) - agreement.max()
            worst = max(worst, error_bound(n, len(X), *sharp, int(missed)))
        tables.append(table)
        bound += 0.5 * worst
    return joint(structure, tables), bound


def _true_tables(batch: BayesNetBatch, i: int, structure: Structure) -> list[Array]:
    """The drawn tables, one axis per parent: configurations count the first parent fastest."""
    tables = []
    for m, parents in enumerate(structure.parents):
        flat = batch.tables[i, m, : 2 ** len(parents)].double().numpy()
        axes = (*range(len(parents))[::-1], len(parents))
        tables.append(flat.reshape((2,) * len(parents) + (2,)).transpose(axes))
    return tables


def _variation(p: Array, q: Array) -> float:
    return float(0.5 * np.abs(p - q).sum())


def holds(table: pd.DataFrame) -> Verdict:
    """The law is within its bound, and both distances fall with a slope of at most -0.4."""
    verdicts = [
        Verdict.below(
            float(table["excess"].max()),
            1e-10,
            threshold_source="derived",
            what="largest distance of the generated law to the likelihood's - bound",
        )
    ]
    for against, rows in table.groupby("against"):
        x, y = np.log10(rows["n"].to_numpy(float)), np.log10(rows["tv"].to_numpy(float))
        fit = fit_line(x, y, np.random.default_rng(0), rows["seed"].to_numpy())
        verdicts.append(
            Verdict.below(
                fit.slope,
                SLOWEST,
                interval=(fit.low, fit.high),
                threshold_source="derived",
                what=f"slope to the {against} over {fit.decades:.2g} decades",
            )
        )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Both distances over their number of rows."""
    panels = []
    for against, label in (("truth", "context rows"), ("likelihood", "generated rows")):
        series = []
        for name, rows in table[table["against"] == against].groupby("structure"):
            by = rows.groupby("n")["tv"]
            places = [float(x) for x in by.mean().index]
            series.append(
                Series(str(name), places, by.mean().tolist(), by.min().tolist(), by.max().tolist())
            )
        title = f"To the {against}"
        panels.append(Panel(title, label, "total variation", series, log_x=True, log_y=True))
    return Chart(panels, "Bands from the least to the largest seed; slopes of -1/2 are expected.")


EXPERIMENT = Experiment(
    claim="Rows generated by the explicit weights follow the maximum-likelihood joint law, which "
    "approaches the true one as the context grows.",
    paper="2501.02547",
    source="abstract, claim (ii); item 2 of what a reproduction must show; weights are ours",
    kind="existence",
    grid={
        "structure": ("wet grass", "general", "tree", "chain"),
        "decades": (2.5,),
        "n_networks": (10,),
    },
    quick={"structure": ("wet grass", "general"), "decades": (2.0,), "n_networks": (4,)},
    tiny={"structure": ("wet grass",), "decades": (1.5,), "n_networks": (3,)},
    n_seeds=10,
    quick_seeds=5,
    tiny_seeds=6,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="the authors' matrices were not found; ours are derived",
    controls={
        "a parent is missing": Control(
            measure=partial(measure, harm="parent"),
            says="the weights of the last variable lack one of its parents",
        )
    },
    cost="quick 20 s on one core",
)
