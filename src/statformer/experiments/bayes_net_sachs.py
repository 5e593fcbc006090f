"""On the structure of protein signalling, explicit weights track the known-structure count.

The real-world network of Cao et al. (arXiv 2501.02547): 11 proteins with three levels each (Sachs
et al. 2005). They train on synthetic tables over its structure and test on measured rows; numbers
were not found. Here the weights are explicit, and tables are

- "synthetic": drawn from Dirichlet(0.1), as in the authors' code;
- "fitted": those of bnlearn's network of the same proteins, which were estimated from the measured
  rows and come with pgmpy. It lacks one of the 18 edges, PIP3 to Akt. Rows are drawn from it.

The measured rows themselves are in no package that is installed here: pgmpy fetches them from a hub
when asked. So nothing is said about them.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from statformer._extras import MissingExtraError
from statformer.constructions.bayes_net import CountingTransformer
from statformer.estimators.bif import Bif, read_bif
from statformer.experiments._bayes_net_counts import (
    Answers,
    at_least,
    at_most,
    by_seed,
    compare,
    curves,
    draw_networks,
    naive_count,
)
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart
from statformer.reference.bayes_net import Structure
from statformer.tasks.bayes_net import SACHS_NAMES, STRUCTURES, BayesNetBatch, BayesNetPrior

LEVELS = 3
CONTEXTS = (20, 100, 500, 1000)
PARENTS = STRUCTURES["sachs"]
LABELS = {"network": "explicit weights", "known": "known structure", "naive": "all predecessors"}


def measure(
    cell: Cell, rng: np.random.Generator, in_its_place: Answers | None = None
) -> Sequence[Row]:
    """Total variation of the explicit weights and both counts, by node and number of rows."""
    if cell["tables"] == "synthetic":
        prior = BayesNetPrior("sachs", max(CONTEXTS) + 1, n_categories=LEVELS, concentration=0.1)
        batch = draw_networks(prior, cell["n_networks"], rng)
    else:
        batch = _fitted(cell["n_networks"], max(CONTEXTS) + 1, rng)
    return compare(batch, in_its_place or _explicit, CONTEXTS)


def _explicit(batch: BayesNetBatch, n: int) -> Float[np.ndarray, "b v d"]:
    """The two attention layers with the structure in their weights, one pass per variable."""
    laws = np.empty((len(batch.X), len(PARENTS), LEVELS))
    for i, X in enumerate(batch.X.numpy()):
        network = CountingTransformer(Structure(PARENTS), (LEVELS,) * len(PARENTS), X[:n])
        for target in range(len(PARENTS)):
            laws[i, target] = network.conditional(target, X[-1:])[0]
    return laws


def _fitted(n_networks: int, n_rows: int, rng: np.random.Generator) -> BayesNetBatch:
    """Contexts from the one network of pgmpy; its tables in the layout of `BayesNetBatch`."""
    tables = _tables(_bnlearn())
    X = np.zeros((n_networks, n_rows, len(PARENTS)), dtype=np.int64)
    laws = np.full((len(PARENTS), LEVELS**3, LEVELS), 1.0 / LEVELS)
    adjacency = np.zeros((len(PARENTS), len(PARENTS)), dtype=bool)
    for m, parents in enumerate(PARENTS):
        p = tables[m][tuple(np.moveaxis(X[..., list(parents)], -1, 0))]
        below = np.cumsum(p, axis=-1)[..., :-1]
        X[..., m] = (rng.random((n_networks, n_rows, 1)) >= below).sum(-1)
        # A configuration is read with its first parent as the fastest digit.
        k = len(parents)
        turned = tables[m].transpose(*range(k)[::-1], k).reshape(-1, LEVELS)
        laws[m, : len(turned)] = turned
        adjacency[m, list(parents)] = True

    def repeated(one: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(one).expand(n_networks, *one.shape)

    return BayesNetBatch(torch.from_numpy(X), repeated(adjacency), repeated(laws).float())


def _tables(network: Bif) -> list[Float[np.ndarray, "..."]]:
    """One per variable of `PARENTS`, an axis per parent; a parent that is missing does nothing."""
    spelled = {name.lower(): name for name in network.states}
    tables = []
    for m, parents in enumerate(PARENTS):
        name = spelled[SACHS_NAMES[m].lower()]
        of_file = network.parents[name]
        wanted = [spelled[SACHS_NAMES[u].lower()] for u in parents]
        order = [of_file.index(parent) for parent in wanted if parent in of_file]
        table = np.asarray(network.tables[name]).transpose(*order, len(of_file))
        for axis, parent in enumerate(wanted):
            if parent not in of_file:
                table = np.repeat(np.expand_dims(table, axis), LEVELS, axis)
        tables.append(table / table.sum(-1, keepdims=True))
    return tables


def _bnlearn() -> Bif:
    """Raises MissingExtraError without pgmpy."""
    spec = find_spec("pgmpy")
    if spec is None or spec.origin is None:
        raise MissingExtraError("pgmpy is not installed; pip install 'statformer[bench]'")
    packed = Path(spec.origin).parent / "utils" / "example_models" / "sachs.bif.gz"
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sachs.bif"
        path.write_bytes(gzip.decompress(packed.read_bytes()))
        return read_bif(path)


def holds(table: pd.DataFrame) -> Verdict:
    """Equal to the count where it is defined, and below the naive count at every length."""
    verdicts = []
    for tables, rows in table.groupby("tables"):
        apart = float((rows["seen_network"] - rows["seen_known"]).abs().max())
        what = f"{tables}: largest difference to the known count where it is defined"
        verdicts.append(Verdict.below(apart, 1e-6, threshold_source="derived", what=what))
        for n, some in rows.groupby("n_rows"):
            lead = by_seed(some, "naive", "network")
            verdicts.append(at_least(lead, 0.0, f"{tables}: naive - network at {n} rows", "paper"))
        first, last = (
            rows[rows["n_rows"] == n].set_index(["seed", "node"])["network"]
            for n in (min(CONTEXTS), max(CONTEXTS))
        )
        fall = (last - first).rename("fall").reset_index().assign(nothing=0.0)
        what = f"{tables}: error at {max(CONTEXTS)} rows - at {min(CONTEXTS)}"
        verdicts.append(at_most(by_seed(fall, "fall", "nothing"), 0.0, what, "paper"))
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Mean over the nodes, for both kinds of tables."""
    panels = [curves(rows, f"{name} tables", LABELS) for name, rows in table.groupby("tables")]
    return Chart(panels, "Counts score 1 where no row matches; 95 % over seeds.")


EXPERIMENT = Experiment(
    claim="On the structure of protein signalling the explicit weights answer as the count of the "
    "known structure does, and better than the naive count.",
    paper="2501.02547",
    source="the real-world example of the paper; structure and synthetic tables from the authors' "
    "code",
    kind="existence",
    grid={"tables": ("synthetic", "fitted"), "n_networks": (200,)},
    quick={"tables": ("synthetic", "fitted"), "n_networks": (80,)},
    tiny={"tables": ("fitted",), "n_networks": (6,)},
    n_seeds=10,
    quick_seeds=5,
    tiny_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="no measured rows, and explicit weights in the place of trained ones",
    controls={
        "naive": Control(
            measure=partial(measure, in_its_place=naive_count),
            says="the naive count in the place of the explicit weights",
        )
    },
)
